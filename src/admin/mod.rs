//! `/metrics`, `/healthz` and `/readyz`: a small HTTP server on a thread and runtime of its
//! own, so that a scrape never delays a request and still answers when the others are busy.
//!
//! It serves operators only. A peer that is an agent's source is closed without an answer;
//! the nft table refuses such connections before, and the dialler never connects to the
//! gateway's own addresses, so this is the third door and not the first.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use crate::metrics::{AdminRefusal, CONTENT_TYPE as METRICS_TYPE, Metrics};

/// Connections at a time; a scraper needs one.
const CONNECTIONS: usize = 64;
/// Longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// Pause after a failed accept, which is a lack of descriptors nearly always.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server needs to know, and how long it waits.
pub struct Settings {
    /// Why the gateway is not ready, one line each; none when it is.
    pub ready: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Whether this address, never in v4-mapped form, is an agent's source.
    pub is_agent: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Brings gauges and mirrored counters up to date; called before each scrape.
    pub refresh: Box<dyn Fn() + Send + Sync>,
    /// A request's head must be there within this time.
    pub header_timeout: Duration,
    /// A connection is over after this time.
    pub timeout: Duration,
}

impl Default for Settings {
    /// Always ready, no agents, nothing to refresh; 5 s for a head, 30 s for a connection.
    fn default() -> Self {
        Self {
            ready: Box::new(Vec::new),
            is_agent: Box::new(|_| false),
            refresh: Box::new(|| ()),
            header_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

/// The running server; it ends when this is dropped.
pub struct Admin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, closes all connections and waits for the thread, which takes no
    /// longer than the closures of [`Settings`] do.
    pub fn shutdown(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metrics and health server panicked");
        }
    }
}

/// Starts the server on a bound socket.
///
/// # Errors
/// Of the socket, the runtime or the thread; all before anything is served.
pub fn spawn(
    listener: std::net::TcpListener,
    settings: Settings,
    metrics: Arc<Metrics>,
) -> io::Result<Admin> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel();
    let server = Arc::new(Server { settings, metrics });
    let serve = async move {
        tokio::select! {
            () = accept(listener, server) => {}
            // Also when the sender is dropped.
            _ = stopped => {}
        }
    };
    let run = move || {
        runtime.block_on(serve);
        runtime.shutdown_background();
    };
    let thread = thread::Builder::new().name("admin".to_owned()).spawn(run)?;
    Ok(Admin {
        address,
        stop: Some(stop),
        thread: Some(thread),
    })
}

struct Server {
    settings: Settings,
    metrics: Arc<Metrics>,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the metrics and health server cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if (server.settings.is_agent)(peer.ip().to_canonical()) {
            tracing::debug!(%peer, "an agent reached for the metrics and health server");
            server.metrics.state.admin_refused(AdminRefusal::Agent);
            continue;
        }
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            server.metrics.state.admin_refused(AdminRefusal::Limit);
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            connection(stream, server).await;
            drop(permit);
        });
    }
}

/// One request a connection: nothing idle keeps a place, and scrapes are rare.
async fn connection(stream: TcpStream, server: Arc<Server>) {
    let timeout = server.settings.timeout;
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false);
    let service = service_fn(move |request| {
        let response = server.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = builder.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(timeout, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a metrics or health request failed"),
        Err(_) => tracing::debug!("a metrics or health request took too long"),
    }
}

impl Server {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                (self.settings.refresh)();
                let mut response = text(StatusCode::OK, self.metrics.encode());
                let kind = HeaderValue::from_static(METRICS_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match (self.settings.ready)() {
                reasons if reasons.is_empty() => text(StatusCode::OK, "ready\n"),
                reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there is /metrics, /healthz and /readyz\n",
            ),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;

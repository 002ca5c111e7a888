//! The server that stands for the internet: HTTPS on loopback, with a CA of its own.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsAcceptor;

use crate::ca::{CertificateAuthority, LeafSettings, Leaves};
use crate::name::Host;

/// Preferred, so that the transcript reads the same everywhere; any other does.
const PORT: u16 = 8443;

/// A running server; it ends with the process.
pub(super) struct Server {
    pub(super) port: u16,
    /// The certificate of its CA, as PEM.
    pub(super) ca: String,
    requests: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it arrived.
struct Seen {
    path: String,
    text: String,
}

impl Server {
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let ca = CertificateAuthority::in_memory().map_err(io::Error::other)?;
        let server = Self {
            port: listener.local_addr()?.port(),
            ca: ca.root_pem(),
            requests: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tls = runtime.block_on(tls(ca, name))?;
        let requests = server.requests.clone();
        thread::spawn(move || runtime.block_on(serve(listener, tls, requests)));
        Ok(server)
    }

    /// What arrived for this path: the request line and what authenticates it.
    pub(super) fn received(&self, path: &str) -> String {
        let requests = self.requests.lock();
        let seen = requests.iter().find(|seen| seen.path == path);
        seen.map(|seen| seen.text.clone()).unwrap_or_default()
    }
}

async fn tls(ca: CertificateAuthority, name: &str) -> io::Result<TlsAcceptor> {
    let leaves = Leaves::new(Arc::new(ca), LeafSettings::default()).map_err(io::Error::other)?;
    let host = Host::from_config(name).map_err(io::Error::other)?;
    let leaf = leaves.leaf(&host).await.map_err(io::Error::other)?;
    let resolver = SingleCertAndKey::from(leaf);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, requests: Arc<Mutex<Vec<Seen>>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, requests) = (tls.clone(), requests.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let answer = service_fn(move |request| {
                requests.lock().push(Seen::of(&request));
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER)))) }
            });
            // A connection that fails has failed the step that it was for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

const ANSWER: &[u8] = b"hello from the server\n";

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        let path = request.uri().path().to_owned();
        let mut text = format!("{} {path}", request.method());
        if let Some(value) = request.headers().get(http::header::AUTHORIZATION) {
            text.push_str("\nauthorization: ");
            text.push_str(value.to_str().unwrap_or("(not text)"));
        }
        Self { path, text }
    }
}

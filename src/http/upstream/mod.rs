//! Step 10, dial: a verified connection for exactly this key, from the pool or new.

pub mod connection;
pub mod exchange;
pub mod expectation;
pub mod key;
pub mod outgoing;
pub mod pool;
mod reach;
pub mod response;
pub mod upload;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Method, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::connection::{Facts, Http1, Http2};
pub use self::connection::{Hold, Switched};
pub use self::key::{Key, Parts};
pub use self::outgoing::{Extras, Outgoing};
use self::pool::{Pool, PoolSettings, Pooled, Together};
use self::reach::Whom;
use super::body::Body;
use super::h1::HeadLimits;
use super::h2::{Drive, Peer, Stopped};
use super::io::{BoxStream, WriteDeadline};
use super::raw::Protocol;
use super::redact::Agentward;
use super::websocket::Offer;
use crate::credential::Remembered;
use crate::error::{Reason, Refusal};
use crate::metrics::{self, Metrics};
use crate::name::{AgentName, Authority};
use crate::net::dial::{Dialled, Dialler};
use crate::net::limits::{LimitReached, Share, Shares};
use crate::net::lookups::Asker;
use crate::tls::{UpstreamTls, Versions};

/// Bounds of the way to servers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of the pool.
    pub pool: PoolSettings,
    /// Of response heads.
    pub head_limits: HeadLimits,
    /// Interim responses to one request.
    pub interim_responses: usize,
    /// HTTP/2 control frames beyond what the server's messages call for.
    pub control_frames: u32,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// From the end of the request to the head of the response.
    pub first_byte: Duration,
    /// Between two bytes of the request's body.
    pub body: Duration,
    /// For the server to answer an expectation of 100.
    pub expect: Duration,
    /// Until the server takes a byte.
    pub write: Duration,
}

/// Sends allowed requests.
pub struct Upstreams {
    dialler: Arc<Dialler>,
    remembered: Remembered,
    pool: Arc<Pool>,
    limits: Shares,
    settings: Settings,
    metrics: Arc<Metrics>,
}

/// A response's head, and how it was come by.
#[derive(Debug)]
pub struct Arrived {
    /// The body streams from the server.
    pub response: Response<Body>,
    /// The address connected to.
    pub peer: SocketAddr,
    /// Of the server's leg.
    pub protocol: Protocol,
    /// Whether the connection served an earlier request.
    pub reused: bool,
    /// Time to a new connection, resolving and TLS included.
    pub connect: Option<Duration>,
    /// From then to the head.
    pub first_byte: Duration,
}

/// A request to be sent, with all it takes but its body.
#[derive(Clone, Copy)]
pub struct Exchange<'a, 'r> {
    /// From whom, and whether a rule writes the host's name.
    pub asker: Asker<'a>,
    /// Whom a new connection believes; its profile is in the key.
    pub tls: &'a UpstreamTls,
    /// What the connection must have been made for.
    pub key: &'a Key,
    /// What is sent.
    pub outgoing: &'a Outgoing,
    /// Who gets interim responses.
    pub agentward: Agentward<'a, 'r>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// The server closed a reused connection before any byte of a response: it may or may
    /// not have seen the request.
    Stale,
    /// The server says that it has not looked at the request.
    Unprocessed,
    /// For good.
    Refused(Refusal),
}

/// Where an HTTP/1 connection goes back to.
pub struct Lease {
    pool: Arc<Pool>,
    key: Key,
    reused: bool,
    keep: bool,
}

impl Lease {
    fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }
}

impl Upstreams {
    /// With an empty pool.
    #[must_use]
    pub fn new(
        dialler: Arc<Dialler>,
        remembered: Remembered,
        limits: Shares,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            dialler,
            remembered,
            pool: Arc::new(Pool::new(settings.pool)),
            limits,
            settings,
            metrics,
        }
    }

    /// Idle HTTP/1 connections and HTTP/2 connections.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.pool.counts()
    }

    /// Closes what is too old or idle for too long; to be called every few seconds.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// How many names have addresses that are remembered, about.
    #[must_use]
    pub fn names(&self) -> u64 {
        self.dialler.remembered()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        self.pool.clear();
    }

    /// Sends a request and waits for the head of the response. It is sent a second time only
    /// where the first certainly had no effect: the server said so, or the method is
    /// idempotent and the body at hand (RFC 9110 §9.2.2).
    ///
    /// # Errors
    /// A refusal that names what failed on the way.
    pub async fn send(&self, exchange: Exchange<'_, '_>, body: Body) -> Result<Arrived, Refusal> {
        let outgoing = exchange.outgoing;
        let again = body.replay();
        let harmless = match self.attempt(exchange, body, true).await {
            Ok(arrived) => return Ok(arrived),
            Err(Failure::Refused(refusal)) => return Err(refusal),
            Err(Failure::Unprocessed) => true,
            Err(Failure::Stale) => is_idempotent(&outgoing.method),
        };
        let Some(body) = again.filter(|_| harmless) else {
            return Err(closed());
        };
        outgoing.passed.reset();
        match self.attempt(exchange, body, false).await {
            Ok(arrived) => Ok(arrived),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(Failure::Stale | Failure::Unprocessed) => Err(closed()),
        }
    }

    /// A connection for TLS that stays the agent's own: to the name, as it is looked up here.
    ///
    /// # Errors
    /// A refusal that names what failed on the way.
    pub async fn splice(
        &self,
        asker: Asker<'_>,
        authority: &Authority,
    ) -> Result<(WriteDeadline<TcpStream>, SocketAddr, Hold), Refusal> {
        let permit = self.permit(asker.agent)?;
        let Dialled { stream, peer } = self.dialler.dial(asker, authority).await?;
        let open = self.metrics.upstream.create(metrics::Protocol::Spliced);
        let stream = WriteDeadline::new(stream, self.settings.write);
        Ok((stream, peer.addr(), Hold { permit, open }))
    }

    /// Asks for a WebSocket, on a connection that is made for it, speaks HTTP/1 and is never
    /// pooled. Where the server does not agree, its answer is one like any other.
    ///
    /// # Errors
    /// As [`Upstreams::send`]; and a 101 that does not answer the offer.
    pub async fn upgrade(
        &self,
        exchange: Exchange<'_, '_>,
        offer: &Offer,
    ) -> Result<(Arrived, Option<Switched>), Refusal> {
        let Exchange {
            asker,
            key,
            outgoing,
            agentward,
            ..
        } = exchange;
        let started = Instant::now();
        let permit = self.permit(asker.agent)?;
        let whom = Whom::of(exchange);
        let (stream, facts) = self.reach(whom, Versions::Http1).await?;
        let connected = Instant::now();
        let peer = facts.peer.addr();
        let connection = self.http1(stream.io, facts, permit);
        let lease = self.lease(key, false);
        let settings = &self.settings;
        let asked = exchange::upgrade(connection, lease, outgoing, offer, agentward, settings);
        let (response, switched) = asked.await.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Stale | Failure::Unprocessed => closed(),
        })?;
        let arrived = Arrived {
            response,
            peer,
            protocol: Protocol::Http11,
            reused: false,
            connect: Some(connected.duration_since(started)),
            first_byte: connected.elapsed(),
        };
        Ok((arrived, switched))
    }

    async fn attempt(
        &self,
        exchange: Exchange<'_, '_>,
        body: Body,
        reuse: bool,
    ) -> Result<Arrived, Failure> {
        let Exchange {
            key,
            outgoing,
            agentward,
            ..
        } = exchange;
        let started = Instant::now();
        let whom = Whom::of(exchange);
        let connection = self.connection(whom, reuse, started).await;
        let (connection, taken) = connection.map_err(Failure::Refused)?;
        let (connected, reused) = match taken {
            Some(taken) => (taken, true),
            None => (Instant::now(), false),
        };
        let settings = &self.settings;
        let (peer, protocol, response) = match connection {
            Pooled::Http1(_) if outgoing.is_grpc() => return Err(Failure::Refused(no_http2())),
            Pooled::Http1(connection) => {
                let peer = connection.rest.facts.peer.addr();
                let lease = self.lease(key, reused);
                let sent = exchange::http1(connection, lease, outgoing, body, agentward, settings);
                (peer, Protocol::Http11, sent.await?)
            }
            Pooled::Http2(stream) => {
                let peer = stream.connection().facts.peer.addr();
                let sent = exchange::http2(stream, outgoing, body, agentward, settings);
                (peer, Protocol::Http2, sent.await?)
            }
        };
        Ok(Arrived {
            response,
            peer,
            protocol,
            reused,
            connect: (!reused).then(|| connected.duration_since(started)),
            first_byte: connected.elapsed(),
        })
    }

    /// A pooled connection, and when it was taken; or a new one.
    async fn connection(
        &self,
        whom: Whom<'_>,
        reuse: bool,
        now: Instant,
    ) -> Result<(Pooled, Option<Instant>), Refusal> {
        let key = whom.key;
        if !reuse {
            return Ok((Box::pin(self.dial(whom)).await?, None));
        }
        let lock = match self.reusable(key, now) {
            Ok(pooled) => return Ok((pooled, Some(now))),
            Err(None) => return Ok((Box::pin(self.dial(whom)).await?, None)),
            Err(Some(lock)) => lock,
        };
        // Whoever waited here may find an HTTP/2 connection that another request dialled;
        // where the server turned out to speak HTTP/1, or not at all, all dial at once.
        let together = timeout(self.settings.handshake, lock.lock()).await;
        let now = Instant::now();
        match self.reusable(key, now) {
            Ok(pooled) => return Ok((pooled, Some(now))),
            Err(Some(_)) => {}
            Err(None) => drop(together),
        }
        let dialled = Box::pin(self.dial(whom)).await;
        if dialled.is_err() {
            self.pool.dial_failed(key);
        }
        Ok((dialled?, None))
    }

    /// A pooled connection whose address the policy still permits.
    fn reusable(&self, key: &Key, now: Instant) -> Result<Pooled, Together> {
        loop {
            let pooled = self.pool.checkout(key, now)?;
            let (peer, protocol) = match &pooled {
                Pooled::Http1(connection) => {
                    (&connection.rest.facts.peer, metrics::Protocol::Http1)
                }
                Pooled::Http2(stream) => {
                    (&stream.connection().facts.peer, metrics::Protocol::Http2)
                }
            };
            if self.dialler.recheck(peer) {
                self.metrics.upstream.reuse(protocol);
                return Ok(pooled);
            }
            if let Pooled::Http2(stream) = &pooled {
                stream.connection().close();
            }
        }
    }

    /// A new connection, verified for the key's name. Callers box it: handshakes are large
    /// and rare, and should not make every request's future as large.
    async fn dial(&self, whom: Whom<'_>) -> Result<Pooled, Refusal> {
        let key = whom.key;
        let permit = self.permit(whom.asker.agent)?;
        let (stream, facts) = self.reach(whom, Versions::All).await?;
        if stream.h2 {
            self.http2(key, stream.io, facts, permit).await
        } else {
            self.pool.is_http1(key);
            Ok(Pooled::Http1(self.http1(stream.io, facts, permit)))
        }
    }

    fn http1(&self, stream: BoxStream, facts: Facts, permit: Share) -> Http1 {
        let open = self.metrics.upstream.create(metrics::Protocol::Http1);
        Http1::new(stream, facts, Hold { permit, open })
    }

    fn lease(&self, key: &Key, reused: bool) -> Lease {
        Lease {
            pool: self.pool.clone(),
            key: key.clone(),
            reused,
            keep: false,
        }
    }

    async fn http2(
        &self,
        key: &Key,
        stream: BoxStream,
        facts: Facts,
        permit: Share,
    ) -> Result<Pooled, Refusal> {
        let failed = |error: h2::Error| {
            Refusal::new(
                Reason::UpstreamMalformed,
                format!("HTTP/2 with the server failed: {error}"),
            )
        };
        let most = self.settings.control_frames;
        let (stream, mut drive) = Drive::new(stream, Peer::Server, most);
        let (send, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Until the server has said how many it takes: a stream too many would wait
            // behind one that may never end.
            .initial_max_send_streams(1)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(
                self.settings
                    .head_limits
                    .bytes
                    .try_into()
                    .unwrap_or(u32::MAX),
            )
            .handshake(stream)
            .await
            .map_err(failed)?;
        drive.begin();
        let metrics = self.metrics.clone();
        let closed = Arc::new(AtomicBool::new(false));
        let hold = Hold {
            permit,
            open: self.metrics.upstream.create(metrics::Protocol::Http2),
        };
        let done = closed.clone();
        tokio::spawn(async move {
            let _hold = hold;
            let ended = poll_fn(|cx| drive.poll(cx, |cx| Pin::new(&mut connection).poll(cx)));
            // Dropped, and what waits for an answer on it fails.
            match ended.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection to a server ended");
                }
                Err(Stopped::Write(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection to a server takes nothing");
                }
                Err(Stopped::Excess) => metrics.state.limit_reached("limits.control_frames"),
            }
            done.store(true, Relaxed);
        });
        let connection = Arc::new(Http2::new(send, STREAMS as usize, facts, closed));
        let stream = connection.stream();
        self.pool.share(key, connection);
        Ok(Pooled::Http2(stream))
    }

    /// A share of the limits, making room among idle connections if need be.
    fn permit(&self, agent: &AgentName) -> Result<Share, Refusal> {
        let reached = match self.limits.take(agent) {
            Ok(permit) => return Ok(permit),
            Err(reached) => reached,
        };
        match reached {
            LimitReached::All => self.pool.evict_idle(|_| true),
            LimitReached::Agent => self
                .pool
                .evict_idle(|owner| owner.is_none_or(|owner| owner == agent)),
        }
        self.limits.take(agent).map_err(|reached| {
            let limit = match reached {
                LimitReached::All => "limits.upstream_connections",
                LimitReached::Agent => "limits.upstream_connections_per_agent",
            };
            self.metrics.state.limit_reached(limit);
            Refusal::new(
                Reason::UpstreamLimit,
                "as many connections to servers are open as the gateway allows; try again shortly",
            )
        })
    }
}

/// Flow-control windows: enough for bulk at 50 ms and 80 Mbit/s a stream, and bounded in memory.
///
/// The connection's window is that of all its streams together: agents that read nothing
/// fill the windows of their own streams and leave the others theirs. More streams than
/// this go on further connections.
const STREAM_WINDOW: u32 = 512 << 10;
const STREAMS: u32 = 64;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// Bytes of one stream that wait to be sent.
const SEND_BUFFER: usize = 256 << 10;

/// gRPC says how a call ended in trailers of HTTP/2, which HTTP/1 clients rarely see.
fn no_http2() -> Refusal {
    Refusal::new(
        Reason::NoHttp2,
        "gRPC needs HTTP/2, and the server speaks HTTP/1 only",
    )
}

fn closed() -> Refusal {
    Refusal::new(
        Reason::UpstreamClosed,
        "the server closed the connection before it answered; send the request again if that is harmless",
    )
}

/// Methods whose repetition changes nothing (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

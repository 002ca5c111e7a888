//! Steps 2 to 4 of a connection: sniff, admit, handshake; then its requests are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::drain::Drain;
use super::{Gateway, outcome, serve, splice};
use crate::ca::MintError;
use crate::error::{Reason, Refusal};
use crate::http::canonical::Settled;
use crate::http::io::{BoxStream, WriteDeadline};
use crate::http::socket::Socket;
use crate::metrics::{ActiveConnection, Handshake, Side, TrustSign};
use crate::name::{AgentName, ClientAddr, Host, Origin};
use crate::net::limits::Share;
use crate::net::sniff::{Hello, Sniff, Sniffer};
use crate::policy::Admission;
use crate::policy::Scheme;
use crate::tls;

/// A redirected connection before its first byte.
pub struct Arrival {
    pub(super) gateway: Arc<Gateway>,
    pub(super) agent: AgentName,
    pub(super) client: ClientAddr,
    pub(super) origin: Origin,
    pub(super) permit: Share,
    pub(super) active: ActiveConnection,
}

/// A connection whose requests are served.
pub struct Connection {
    pub(super) gateway: Arc<Gateway>,
    pub(super) client: ClientAddr,
    pub(super) origin: Origin,
    /// What every request on it must repeat.
    pub(super) settled: Settled,
    /// `1.2` or `1.3`; absent on clear connections.
    pub(super) tls_version: Option<&'static str>,
    /// Whether a request came; its records then say all there is to say.
    pub(super) has_served: AtomicBool,
    /// Hears when the gateway goes away.
    pub(super) drain: Drain,
    _permit: Share,
    _active: ActiveConnection,
}

/// What was negotiated in the handshake.
struct Secured {
    stream: TlsStream<Socket>,
    h2: bool,
}

/// Runs a connection to its end; refused ones leave a record and a count.
pub async fn run(arrival: Arrival, stream: TcpStream, drain: Drain) {
    let gateway = arrival.gateway.clone();
    let _panics = outcome::CountPanic(&gateway.metrics);
    let (agent, client, origin) = (arrival.agent.clone(), arrival.client, arrival.origin);
    if let Err((refusal, name)) = intercept(arrival, stream, drain).await {
        outcome::connection_refused(&gateway, (&agent, client, Some(origin)), name, &refusal);
    }
}

async fn intercept(
    arrival: Arrival,
    mut stream: TcpStream,
    drain: Drain,
) -> Result<(), (Refusal, Option<Host>)> {
    let started = Instant::now();
    let (bytes, sniffed) = sniff(&arrival, &mut stream)
        .await
        .map_err(|refusal| (refusal, None))?;
    match sniffed {
        Sniff::Http => {
            let stream = Socket::new(bytes, stream);
            clear(arrival, stream, drain).await;
            Ok(())
        }
        Sniff::Tls(hello) => {
            let name = hello.name.clone();
            let served = secure(arrival, hello, bytes, stream, started, drain).await;
            served.map_err(|refusal| (refusal, name))
        }
        Sniff::BadHello(what) => {
            let refusal = Refusal::new(Reason::BadHello, format!("the ClientHello {what}"));
            Err((refuse_hello(stream, refusal).await, None))
        }
        Sniff::Unknown | Sniff::More => Err((
            Refusal::new(
                Reason::UnknownProtocol,
                "only TLS and HTTP/1 pass this gateway",
            ),
            None,
        )),
    }
}

/// Reads until it is known what the agent speaks.
async fn sniff(arrival: &Arrival, stream: &mut TcpStream) -> Result<(Bytes, Sniff), Refusal> {
    let settings = &arrival.gateway.settings;
    let mut sniffer = Sniffer::new(settings.hello_bytes);
    let mut bytes = BytesMut::with_capacity(2048);
    let reading = async {
        loop {
            let count = stream.read_buf(&mut bytes).await.unwrap_or(0);
            let sniffed = sniffer.sniff(&bytes);
            if count == 0 || !matches!(sniffed, Sniff::More) {
                return sniffed;
            }
        }
    };
    match timeout(settings.timeouts.hello, reading).await {
        Ok(sniffed) => Ok((bytes.freeze(), sniffed)),
        Err(_) => Err(Refusal::new(
            Reason::HandshakeTimeout,
            format!(
                "no whole ClientHello or request came within {} s",
                settings.timeouts.hello.as_secs_f32()
            ),
        )),
    }
}

/// Steps 3 and 4 of a TLS connection, then its requests.
async fn secure(
    arrival: Arrival,
    hello: Hello,
    bytes: Bytes,
    stream: TcpStream,
    started: Instant,
    drain: Drain,
) -> Result<(), Refusal> {
    let name = hello.name.as_ref();
    let admission = admit(&arrival, name);
    if let Admission::Splice(spliced) = admission {
        Box::pin(splice::run(arrival, spliced, &hello, bytes, stream)).await;
        return Ok(());
    }
    let (config, page) = match certify(&arrival, name, admission).await {
        Ok(certified) => certified,
        Err(refusal) => return Err(refuse_hello(stream, refusal).await),
    };
    let stream = Socket::new(bytes, stream);
    // Boxed, so that a connection past its handshake is small.
    let secured = Box::pin(handshake(&arrival, config, stream, name)).await;
    let result = match &secured {
        Ok(_) => Handshake::Complete,
        Err(_) => Handshake::Failed,
    };
    let tls = &arrival.gateway.metrics.tls;
    tls.handshake(Side::Agent, result, started.elapsed());
    let Secured { stream, h2 } = secured?;
    let name = hello
        .name
        .unwrap_or_else(|| Host::from(arrival.origin.0.ip()));
    let version = tls_version(&stream);
    let connection = Arc::new(arrival.settle(Scheme::Https, Some(name), version, drain));
    let limit = connection.gateway.settings.timeouts.write;
    let stream: BoxStream = Box::new(WriteDeadline::new(stream, limit));
    if h2 {
        serve::http2(connection.clone(), stream).await?;
    } else {
        serve::http1(connection.clone(), stream).await;
    }
    // Refused requests have their records; without any, the connection needs one.
    match page {
        Some(refusal) if !connection.has_served.load(Relaxed) => Err(refusal),
        Some(_) | None => Ok(()),
    }
}

/// A clear connection: what it names is checked with each request.
async fn clear(arrival: Arrival, stream: Socket, drain: Drain) {
    let connection = Arc::new(arrival.settle(Scheme::Http, None, None, drain));
    let limit = connection.gateway.settings.timeouts.write;
    let stream = Box::new(WriteDeadline::new(stream, limit));
    serve::http1(connection, stream).await;
}

impl Arrival {
    fn settle(
        self,
        scheme: Scheme,
        name: Option<Host>,
        tls_version: Option<&'static str>,
        drain: Drain,
    ) -> Connection {
        Connection {
            settled: Settled {
                scheme,
                name,
                port: self.origin.0.port(),
            },
            tls_version,
            has_served: AtomicBool::new(false),
            drain,
            gateway: self.gateway,
            client: self.client,
            origin: self.origin,
            _permit: self.permit,
            _active: self.active,
        }
    }
}

/// Step 3, admit: by name and port alone.
fn admit(arrival: &Arrival, name: Option<&Host>) -> Admission {
    let policy = &arrival.gateway.active().policy;
    policy.admit(&arrival.agent, Scheme::Https, name, arrival.origin)
}

/// What no rule covers still gets a certificate, so that the agent can read why (the refusal
/// comes with it); without a name there is nobody to answer as.
async fn certify(
    arrival: &Arrival,
    name: Option<&Host>,
    admission: Admission,
) -> Result<(Arc<rustls::ServerConfig>, Option<Refusal>), Refusal> {
    let literal = Host::from(arrival.origin.0.ip());
    let host = name.unwrap_or(&literal);
    let page = match admission {
        // Nothing spliced gets here.
        Admission::Intercept | Admission::Splice(_) => None,
        Admission::Page(refusal) => Some(refusal),
        Admission::Refuse(refusal) => return Err(refusal),
    };
    let leaf = leaf(arrival, host, page.is_some()).await?;
    let agent_tls = &arrival.gateway.agent_tls;
    let config = match name {
        Some(_) => agent_tls.config(leaf, true),
        None => agent_tls.nameless_config(leaf, true),
    };
    Ok((config, page))
}

/// The certificate for exactly this name, from the cache of allowed or of refused names.
async fn leaf(
    arrival: &Arrival,
    name: &Host,
    refused: bool,
) -> Result<Arc<rustls::sign::CertifiedKey>, Refusal> {
    let leaves = &arrival.gateway.leaves;
    let minted = if refused {
        leaves.refused_leaf(&arrival.agent, name).await
    } else {
        leaves.leaf(name).await.map_err(MintError::from)
    };
    minted.map_err(|error| match error {
        MintError::Limit => Refusal::new(
            Reason::MintLimit,
            "too many connections to names that no rule allows; no page is made for this one",
        ),
        MintError::Ca(error) => {
            tracing::error!(%error, host = %name, "cannot mint a leaf");
            Refusal::new(
                Reason::Internal,
                "the gateway cannot make a certificate for this name",
            )
        }
    })
}

async fn handshake(
    arrival: &Arrival,
    config: Arc<rustls::ServerConfig>,
    stream: Socket,
    sniffed: Option<&Host>,
) -> Result<Secured, Refusal> {
    let limit = arrival.gateway.settings.timeouts.handshake;
    let accepted = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if let Some(sign) = tls::agent::distrust(&error) {
                distrusted(arrival, sniffed, sign);
            }
            return Err(Refusal::new(
                Reason::HandshakeFailed,
                format!("TLS handshake: {error}"),
            ));
        }
        Err(_) => {
            return Err(Refusal::new(
                Reason::HandshakeTimeout,
                format!(
                    "the TLS handshake took longer than {} s",
                    limit.as_secs_f32()
                ),
            ));
        }
    };
    let session = stream.get_ref().1;
    let reported = session
        .server_name()
        .and_then(|name| Host::from_sni(name.as_bytes()).ok());
    if reported.as_ref() != sniffed {
        // Two parsers that disagree on the name: the connection is worth nothing.
        return Err(Refusal::new(
            Reason::BadHello,
            "the ClientHello names its server ambiguously",
        ));
    }
    arrival.gateway.trust.trusted(&arrival.agent);
    let h2 = session.alpn_protocol() == Some(b"h2");
    Ok(Secured { stream, h2 })
}

/// Counts and explains a client that does not accept its certificate.
fn distrusted(arrival: &Arrival, name: Option<&Host>, sign: TrustSign) {
    let (gateway, agent) = (&arrival.gateway, &arrival.agent);
    gateway.metrics.agent(agent).trust_failure(sign);
    let literal = Host::from(arrival.origin.0.ip());
    gateway
        .trust
        .distrusted(agent, name.unwrap_or(&literal), sign);
}

fn tls_version(stream: &TlsStream<Socket>) -> Option<&'static str> {
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => Some("1.2"),
        Some(rustls::ProtocolVersion::TLSv1_3) => Some("1.3"),
        Some(_) | None => None,
    }
}

/// Says no to a ClientHello with the alert of the reason; the refusal goes on to the record.
pub(super) async fn refuse_hello(mut stream: TcpStream, refusal: Refusal) -> Refusal {
    // Seven bytes into an empty send buffer: this neither blocks nor matters if it fails.
    let _ = stream
        .write_all(&tls::alert_record(refusal.reason.alert()))
        .await;
    let _ = stream.shutdown().await;
    refusal
}

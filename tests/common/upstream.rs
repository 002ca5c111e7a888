//! Servers of the internet that keep what they receive.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::events::Events;
use super::wire::{Answer, Fields, Request};
use super::world::{Pair, SERVER};
use super::{Ns, TestCa};

/// One connection as a server saw it.
#[derive(Clone, Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// The name in the ClientHello; `None` without TLS.
    pub sni: Option<String>,
    /// The protocol agreed on; `None` without TLS.
    pub alpn: Option<String>,
    /// The certificate that the client showed, as DER.
    pub client_certificate: Option<Vec<u8>>,
    /// Why the handshake failed.
    pub handshake_error: Option<String>,
    /// Every byte received, after decryption where there is TLS.
    pub bytes: Vec<u8>,
    /// Whether it ended, well or not.
    pub closed: bool,
}

/// A server. It ends with its namespace.
#[derive(Clone)]
pub struct Upstream {
    connections: Events<Connection>,
    requests: Events<Request>,
}

type Script = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;
type Handler =
    Arc<dyn Fn(Stream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> + Send + Sync>;

impl Upstream {
    /// An HTTPS server on port 443 of [`SERVER`], for HTTP/1 and HTTP/2.
    pub fn start(
        ns: &Ns,
        ca: &TestCa,
        names: &[&str],
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::https(ns, SERVER, 443, ca.server(names), script)
    }

    /// An HTTPS server with TLS settings of its own.
    pub fn https(
        ns: &Ns,
        addresses: Pair,
        port: u16,
        tls: ServerConfig,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(ns, addresses, port, Some(tls), Arc::new(script))
    }

    /// A server without TLS: HTTP/1 in clear.
    pub fn http(
        ns: &Ns,
        addresses: Pair,
        port: u16,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(ns, addresses, port, None, Arc::new(script))
    }

    /// Takes every connection and every byte and never answers: what an attacker would have
    /// got, a ClientHello included.
    pub fn recorder(ns: &Ns, addresses: Pair, port: u16) -> Self {
        Self::custom(ns, addresses, port, None, |mut stream| async move {
            tokio::io::copy(&mut stream, &mut tokio::io::sink())
                .await
                .map(|_| ())
        })
    }

    /// A server with a script on the level of bytes. `handler` gets every connection after
    /// its handshake; what it reads is recorded.
    pub fn custom<F>(
        ns: &Ns,
        addresses: Pair,
        port: u16,
        tls: Option<ServerConfig>,
        handler: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let upstream = Self::new();
        upstream.serve(
            ns,
            addresses,
            port,
            tls,
            Arc::new(move |stream| Box::pin(handler(stream))),
        );
        upstream
    }

    fn scripted(
        ns: &Ns,
        addresses: Pair,
        port: u16,
        tls: Option<ServerConfig>,
        script: Script,
    ) -> Self {
        let upstream = Self::new();
        let requests = upstream.requests.clone();
        let handler: Handler = Arc::new(move |stream: Stream| {
            let (requests, script) = (requests.clone(), Arc::clone(&script));
            if stream.alpn.as_deref() == Some("h2") {
                Box::pin(serve_h2(stream, requests, script))
            } else {
                Box::pin(serve_h1(stream, requests, script))
            }
        });
        upstream.serve(ns, addresses, port, tls, handler);
        upstream
    }

    fn new() -> Self {
        Self {
            connections: Events::new(),
            requests: Events::new(),
        }
    }

    fn serve(
        &self,
        ns: &Ns,
        addresses: Pair,
        port: u16,
        tls: Option<ServerConfig>,
        handler: Handler,
    ) {
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        for address in addresses {
            let address = SocketAddr::from((address, port));
            let listener = ns.block_on(async move { TcpListener::bind(address).await });
            let listener = listener.unwrap_or_else(|error| panic!("{address}: {error}"));
            let (connections, tls, handler) =
                (self.connections.clone(), tls.clone(), Arc::clone(&handler));
            ns.spawn_task(async move {
                while let Ok((stream, peer)) = listener.accept().await {
                    let task = connection(
                        stream,
                        peer,
                        tls.clone(),
                        connections.clone(),
                        Arc::clone(&handler),
                    );
                    tokio::spawn(task);
                }
            });
        }
    }

    /// All connections so far.
    pub fn connections(&self) -> Vec<Connection> {
        self.connections.all()
    }

    /// All whole requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.all()
    }

    /// Waits until there are `count` whole requests, and returns all there are then.
    pub fn wait_requests(&self, count: usize) -> Vec<Request> {
        self.requests.wait_count(count)
    }

    /// Waits until there are `count` connections, and returns all there are then.
    pub fn wait_connections(&self, count: usize) -> Vec<Connection> {
        self.connections.wait_count(count)
    }

    /// Bytes that all connections together have received.
    pub fn received(&self) -> usize {
        self.connections
            .wait(|seen| Some(total(seen)))
            .unwrap_or_default()
    }

    /// Waits until all connections together have received so many bytes.
    pub fn wait_received(&self, bytes: usize) {
        let enough = |seen: &[Connection]| (total(seen) >= bytes).then_some(());
        let waited = self.connections.wait(enough);
        assert!(waited.is_some(), "{} of {bytes} bytes", self.received());
    }

    /// Waits until a connection has what is looked for.
    pub fn wait_connection(&self, what: &str, wanted: impl Fn(&Connection) -> bool) -> Connection {
        let found =
            |seen: &[Connection]| seen.iter().find(|connection| wanted(connection)).cloned();
        self.connections
            .wait(found)
            .unwrap_or_else(|| panic!("no connection with {what} among {:#?}", self.connections()))
    }
}

fn total(connections: &[Connection]) -> usize {
    connections.iter().map(|one| one.bytes.len()).sum()
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections: Events<Connection>,
    handler: Handler,
) {
    // What a server sends goes at once, also while the last of it was not acknowledged.
    let _ = stream.set_nodelay(true);
    let record = Connection {
        peer,
        local: stream
            .local_addr()
            .unwrap_or(SocketAddr::from((IpAddr::from([0; 4]), 0))),
        sni: None,
        alpn: None,
        client_certificate: None,
        handshake_error: None,
        bytes: Vec::new(),
        closed: false,
    };
    let mut index = 0;
    connections.update(|seen| {
        index = seen.len();
        seen.push(record);
    });
    let handshake = handshake(stream, tls, index, connections.clone()).await;
    match handshake {
        // What a handler fails with is for the test to see in what was recorded.
        Ok(stream) => drop(handler(stream).await),
        Err(error) => {
            connections.update(|seen| seen[index].handshake_error = Some(error.to_string()));
        }
    }
    connections.update(|seen| seen[index].closed = true);
}

async fn handshake(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    index: usize,
    connections: Events<Connection>,
) -> io::Result<Stream> {
    let Some(tls) = tls else {
        return Ok(Stream::new(Box::new(stream), index, connections));
    };
    let tls = tls.accept(stream).await?;
    let (_, session) = tls.get_ref();
    let alpn = session
        .alpn_protocol()
        .map(|alpn| String::from_utf8_lossy(alpn).into_owned());
    let sni = session.server_name().map(str::to_owned);
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let shown = shown.map(|certificate| certificate.to_vec());
    connections.update(|seen| {
        seen[index].client_certificate.clone_from(&shown);
        seen[index].alpn.clone_from(&alpn);
        seen[index].sni.clone_from(&sni);
    });
    let mut stream = Stream::new(Box::new(tls), index, connections);
    (stream.alpn, stream.sni) = (alpn, sni);
    Ok(stream)
}

/// Both directions of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection whose every byte read is recorded.
pub struct Stream {
    io: Box<dyn Io>,
    connections: Events<Connection>,
    /// Which connection of the server it is, counted from 0.
    pub index: usize,
    pub sni: Option<String>,
    pub alpn: Option<String>,
}

impl Stream {
    fn new(io: Box<dyn Io>, index: usize, connections: Events<Connection>) -> Self {
        Self {
            io,
            connections,
            index,
            sni: None,
            alpn: None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled()[before..].to_vec();
        self.connections
            .update(|seen| seen[self.index].bytes.extend_from_slice(&read));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

async fn serve_h1(mut stream: Stream, requests: Events<Request>, script: Script) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while let Some((mut request, length)) = Request::parse(&buffer) {
            buffer.drain(..length);
            request.sni.clone_from(&stream.sni);
            request.connection = stream.index;
            requests.push(request.clone());
            let answer = script(&request);
            stream.write_all(&answer.to_h1()).await?;
            stream.flush().await?;
            if answer.close {
                return stream.shutdown().await;
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn serve_h2(stream: Stream, requests: Events<Request>, script: Script) -> io::Result<()> {
    let (index, sni) = (stream.index, stream.sni.clone());
    let mut connection = h2::server::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        let (requests, script) = (requests.clone(), Arc::clone(&script));
        let sni = sni.clone();
        tokio::spawn(async move {
            let mut request = receive_h2(request).await?;
            (request.sni, request.connection) = (sni, index);
            requests.push(request.clone());
            send_h2(&script(&request), respond)?;
            Ok::<_, h2::Error>(())
        });
    }
    Ok(())
}

async fn receive_h2(request: http::Request<h2::RecvStream>) -> Result<Request, h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Request {
        version: "HTTP/2".into(),
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        authority: head.uri.authority().map(ToString::to_string),
        headers: fields(&head.headers),
        body,
        trailers: trailers.as_ref().map(fields).unwrap_or_default(),
        ..Request::default()
    })
}

fn send_h2(
    answer: &Answer,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) -> Result<(), h2::Error> {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let ends = answer.body.is_empty() && answer.trailers.is_empty();
    let mut stream = respond.send_response(response.body(()).unwrap(), ends)?;
    if ends {
        return Ok(());
    }
    let mut pieces = answer.pieces().peekable();
    if pieces.peek().is_none() {
        stream.send_data(bytes::Bytes::new(), answer.trailers.is_empty())?;
    }
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none() && answer.trailers.is_empty();
        stream.send_data(piece.to_vec().into(), last)?;
    }
    if !answer.trailers.is_empty() {
        stream.send_trailers(header_map(&answer.trailers))?;
    }
    Ok(())
}

/// Names and values of a header map, in order.
pub fn fields(map: &http::HeaderMap) -> Fields {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

/// The reverse of [`fields`].
pub fn header_map(fields: &Fields) -> http::HeaderMap {
    let pair = |(name, value): &(String, String)| {
        (
            name.parse::<http::HeaderName>().unwrap(),
            value.parse::<http::HeaderValue>().unwrap(),
        )
    };
    fields.iter().map(pair).collect()
}

//! What an agent does: connect, talk TLS, HTTP/1 byte by byte, HTTP/2.
//!
//! Futures here are for [`super::Ns::block_on`] of the agent's namespace.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

use super::upstream::fields;
use super::wire::{self, Fields, Response};
use super::within;

/// How a client greets: what it trusts, which name it sends, which protocols it offers.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts this CA alone and offers these protocols (none: no ALPN extension).
    pub fn new(ca_pem: &str, alpn: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            config: Arc::new(config),
        }
    }

    /// Sends no `server_name` extension.
    pub fn without_sni(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.enable_sni = false;
        Self {
            config: Arc::new(config),
        }
    }

    /// Connects to `address` and greets whatever answers there as `name`.
    pub async fn connect(
        &self,
        address: (IpAddr, u16),
        name: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = tcp(address).await?;
        self.greet(stream, name).await
    }

    /// The handshake on a connection that is there.
    pub async fn greet<S>(&self, stream: S, name: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        within("TLS handshake", connector.connect(name, stream)).await
    }
}

/// A TCP connection.
pub async fn tcp(address: (IpAddr, u16)) -> io::Result<TcpStream> {
    within("TCP connect", TcpStream::connect(SocketAddr::from(address))).await
}

/// An HTTP/1 connection on which responses are read one after the other.
pub struct H1<S> {
    pub stream: S,
    buffer: Vec<u8>,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> H1<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("send", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Reads the next response whole. 1xx responses are responses of their own.
    pub async fn response(&mut self) -> io::Result<Response> {
        self.next(false).await
    }

    /// Reads the next response, to a HEAD: it has no body.
    pub async fn head_response(&mut self) -> io::Result<Response> {
        self.next(true).await
    }

    /// Sends a request and reads its response.
    pub async fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<Response> {
        self.send(bytes).await?;
        self.response().await
    }

    /// Reads until `needle` is there; returns all up to and with it.
    pub async fn read_until(&mut self, needle: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = wire::find(&self.buffer, needle) {
                return Ok(self.buffer.drain(..at + needle.len()).collect());
            }
            if self.ended {
                return Err(self.unexpected_end());
            }
            self.fill().await?;
        }
    }

    /// Reads until the other side closes, and returns what came.
    pub async fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        while !self.ended {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn next(&mut self, bodiless: bool) -> io::Result<Response> {
        loop {
            if let Some((response, length)) =
                Response::parse_part(&self.buffer, bodiless, self.ended)
            {
                self.buffer.drain(..length);
                return Ok(response);
            }
            if self.ended {
                return Err(self.unexpected_end());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let read = within("read", self.stream.read_buf(&mut self.buffer)).await;
        match read {
            Ok(length) => self.ended = length == 0,
            // A TLS connection closed without a close_notify has ended as well.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Bytes read and not yet returned.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn unexpected_end(&self) -> io::Error {
        let rest = String::from_utf8_lossy(&self.buffer);
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the connection ended after {rest:?}"),
        )
    }
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub struct H2 {
    pub sender: h2::client::SendRequest<bytes::Bytes>,
}

impl H2 {
    /// Greets with HTTP/2; the connection lives on a task of its own.
    pub async fn new<S>(stream: S) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = within("HTTP/2 greeting", h2::client::handshake(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// `GET https://AUTHORITY/PATH`.
    pub async fn get(&self, url: &str) -> Result<Response, h2::Error> {
        self.request(http::Request::get(url).body(()).unwrap(), b"", &Vec::new())
            .await
    }

    /// Sends a request with body and trailers and reads its response.
    pub async fn request(
        &self,
        request: http::Request<()>,
        body: &[u8],
        trailers: &Fields,
    ) -> Result<Response, h2::Error> {
        let mut sender = within("HTTP/2 stream", self.sender.clone().ready()).await?;
        let (response, mut stream) =
            sender.send_request(request, body.is_empty() && trailers.is_empty())?;
        if !body.is_empty() {
            stream.send_data(bytes::Bytes::copy_from_slice(body), trailers.is_empty())?;
        }
        if !trailers.is_empty() {
            stream.send_trailers(super::upstream::header_map(trailers))?;
        }
        within("HTTP/2 response", receive(response)).await
    }
}

async fn receive(response: h2::client::ResponseFuture) -> Result<Response, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Response {
        status: head.status.as_u16(),
        headers: fields(&head.headers),
        body,
        trailers: trailers.as_ref().map(fields).unwrap_or_default(),
    })
}

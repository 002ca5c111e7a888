//! A gateway with two agents and four servers' names, and blocking clients for them.
//!
//! Alice is whatever comes over IPv4 and Bob whatever comes over IPv6, so an agent is chosen
//! by the address that is dialled. `good.test` may speak HTTP/2; `h1.test` speaks HTTP/1.

use std::io;
use std::net::IpAddr;

use tokio::sync::watch;

use crate::common::client::{self, H1, H2, Tls};
use crate::common::upstream::{Io, Stream};
use crate::common::wire::{Fields, Response};
use crate::common::world::{OTHER, Pair, SERVER};
use crate::common::{Answer, GatewayProcess, Ns, Request, Upstream, World, within};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Alice = 0,
    Bob = 1,
}

pub use Who::{Alice, Bob};

pub use crate::seen::{reason, record, wait_metric, wait_reason, well_framed_targets};

/// Both agents may do everything at the two servers.
pub const ANYTHING: &str = r#"
[[rule]]
name = "anything"
agents = ["alice", "bob"]
hosts = ["good.test", "h1.test", "hole.test"]
"#;

/// `portreeve.toml` with keys of the top level and tables added.
pub fn config(top: &str, tables: &str) -> String {
    format!(
        r#"
rules = "rules"
{top}
[listen]
transparent = "[::]:8443"
dns = "[::]:8053"
admin = "127.0.0.1:9464"
[redirect]
interfaces = ["lan0"]
ports = [80, 443, 8444]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"good.test" = ["203.0.113.10", "2001:db8:1::10"]
"h1.test" = ["203.0.113.11", "2001:db8:1::11"]
"hole.test" = ["203.0.113.12"]
[[agent]]
name = "alice"
sources = ["10.0.1.0/24"]
[[agent]]
name = "bob"
sources = ["fd00:1::/64"]
{tables}
"#
    )
}

/// A gateway with these tables and [`ANYTHING`] allowed.
pub fn start<'w>(world: &'w World, tables: &str) -> GatewayProcess<'w> {
    world.gateway_process(&config("", tables), &[("rules.toml", ANYTHING)])
}

/// A script that says which request it answers.
pub fn echo(request: &Request) -> Answer {
    Answer::ok(format!("{} {}", request.method, request.target))
}

/// `good.test`, for HTTP/1 and HTTP/2.
pub fn good(world: &World) -> Upstream {
    Upstream::start(&world.internet, &world.ca, &["good.test"], echo)
}

/// `h1.test`, for HTTP/1 only.
pub fn h1(world: &World, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Upstream {
    Upstream::https(&world.internet, OTHER, 443, h1_tls(world), script)
}

/// `h1.test` with a script on the level of bytes.
pub fn h1_custom<F>(
    world: &World,
    handler: impl Fn(Stream) -> F + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Upstream::custom(&world.internet, OTHER, 443, Some(h1_tls(world)), handler)
}

fn h1_tls(world: &World) -> rustls::ServerConfig {
    let mut tls = world.ca.server(&["h1.test"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

/// Opened once; whoever waits for it, before or after, goes on.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// `h1.test` that answers a path with `hold` in it only once the gate is open.
pub fn holding(world: &World, gate: &Gate) -> Upstream {
    use tokio::io::AsyncReadExt;
    let gate = gate.clone();
    h1_custom(world, move |mut stream| {
        let gate = gate.clone();
        async move {
            let mut buffer = Vec::new();
            while let Some(request) = next_request(&mut stream, &mut buffer).await? {
                if request.target.contains("hold") {
                    tokio::select! {
                        () = gate.passed() => {}
                        // The end, since nothing else comes while an answer is awaited.
                        read = stream.read_buf(&mut buffer) => return read.map(drop),
                    }
                }
                write(&mut stream, &echo(&request).to_h1()).await?;
            }
            Ok(())
        }
    })
}

/// Reads the next request of a connection; `None` at its end.
pub async fn next_request(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Request>> {
    use tokio::io::AsyncReadExt;
    loop {
        if let Some((request, length)) = Request::parse(buffer) {
            buffer.drain(..length);
            return Ok(Some(request));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Writes and flushes.
pub async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// The agents' namespace, and the CA they trust.
pub struct Agents<'w> {
    pub ns: &'w Ns,
    pub ca: String,
}

impl<'w> Agents<'w> {
    pub fn new(world: &'w World, gateway: &GatewayProcess<'_>) -> Self {
        Self {
            ns: &world.agent,
            ca: gateway.ca_pem(),
        }
    }

    /// HTTP/1 over TLS to a name.
    pub fn h1(&self, who: Who, name: &'static str) -> Client<'w> {
        self.try_h1(who, name).unwrap()
    }

    /// As [`Agents::h1`], where the handshake may fail.
    pub fn try_h1(&self, who: Who, name: &'static str) -> io::Result<Client<'w>> {
        self.h1_at((SERVER[who as usize], 443), name)
    }

    /// HTTP/1 over TLS to a name, sent to whatever address.
    pub fn h1_at(&self, address: (IpAddr, u16), name: &'static str) -> io::Result<Client<'w>> {
        let tls = Tls::new(&self.ca, &["http/1.1"]);
        let stream = self
            .ns
            .block_on(async move { tls.connect(address, name).await })?;
        Ok(self.client(Box::new(stream), name))
    }

    /// Plain TCP to a port of a server's address.
    pub fn tcp(&self, who: Who, port: u16) -> Client<'w> {
        self.tcp_at((SERVER[who as usize], port))
    }

    fn tcp_at(&self, address: (IpAddr, u16)) -> Client<'w> {
        let stream = self.ns.block_on(client::tcp(address)).unwrap();
        self.client(Box::new(stream), "good.test")
    }

    /// TLS with these protocols and nothing said yet.
    pub fn tls(&self, who: Who, name: &'static str, alpn: &[&str]) -> io::Result<Client<'w>> {
        let (tls, address) = (Tls::new(&self.ca, alpn), (SERVER[who as usize], 443));
        let stream = self
            .ns
            .block_on(async move { tls.connect(address, name).await })?;
        Ok(self.client(Box::new(stream), name))
    }

    /// HTTP/2 to a name.
    pub fn h2(&self, who: Who, name: &'static str) -> Client2<'w> {
        let (tls, address) = (Tls::new(&self.ca, &["h2"]), (SERVER[who as usize], 443));
        let h2 = self.ns.block_on(async move {
            let stream = tls.connect(address, name).await.unwrap();
            H2::new(stream).await.unwrap()
        });
        Client2 {
            ns: self.ns,
            h2,
            name,
        }
    }

    fn client(&self, stream: Box<dyn Io>, name: &'static str) -> Client<'w> {
        Client {
            ns: self.ns,
            h1: Some(H1::new(stream)),
            name,
        }
    }
}

/// A connection of an agent, byte by byte.
pub struct Client<'w> {
    ns: &'w Ns,
    h1: Option<H1<Box<dyn Io>>>,
    name: &'static str,
}

impl Client<'_> {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref().to_vec();
        self.act(|mut h1| async move { (h1.send(bytes).await, h1) })
    }

    pub fn response(&mut self) -> io::Result<Response> {
        self.act(|mut h1| async move { (h1.response().await, h1) })
    }

    /// Sends, whether or not all is taken, and reads an answer.
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<Response> {
        let _ = self.send(bytes);
        self.response()
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        let name = self.name;
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: {name}\r\n\r\n"))
    }

    pub fn post(&mut self, path: &str, body: &str) -> io::Result<Response> {
        let (name, length) = (self.name, body.len());
        self.exchange(format!(
            "POST {path} HTTP/1.1\r\nhost: {name}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Reads up to and with `needle`.
    pub fn read_until(&mut self, needle: &'static [u8]) -> io::Result<Vec<u8>> {
        self.act(move |mut h1| async move { (h1.read_until(needle).await, h1) })
    }

    /// Reads exactly so many bytes, past what [`Client::response`] may have read already.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        use tokio::io::AsyncReadExt;
        self.act(move |mut h1| async move {
            let mut bytes = vec![0; count];
            let read = within("read", h1.stream.read_exact(&mut bytes)).await;
            (read.map(|_| bytes), h1)
        })
    }

    /// Waits until the other side closes; what came before, if anything.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let read = self.act(|mut h1| async move { (h1.read_to_close().await, h1) });
        match read {
            Ok(bytes) => bytes,
            // A reset is a close, too.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends no more.
    pub fn finish(&mut self) {
        use tokio::io::AsyncWriteExt;
        let _ = self.act(|mut h1| async move { (h1.stream.shutdown().await, h1) });
    }

    fn act<T, F>(&mut self, action: impl FnOnce(H1<Box<dyn Io>>) -> F) -> T
    where
        F: Future<Output = (T, H1<Box<dyn Io>>)> + Send + 'static,
        T: Send + 'static,
    {
        let h1 = self.h1.take().expect("an earlier action ended");
        let (result, h1) = self.ns.block_on(action(h1));
        self.h1 = Some(h1);
        result
    }
}

/// An HTTP/2 connection of an agent.
pub struct Client2<'w> {
    pub ns: &'w Ns,
    pub h2: H2,
    pub name: &'static str,
}

impl Client2<'_> {
    pub fn get(&self, path: &str) -> Result<Response, h2::Error> {
        self.request("GET", path, &Vec::new(), b"")
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &Fields,
        body: &[u8],
    ) -> Result<Response, h2::Error> {
        let uri = http::Uri::builder()
            .scheme("https")
            .authority(self.name)
            .path_and_query(path)
            .build()
            .unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value.as_bytes());
        }
        let request = request.body(()).unwrap();
        let (h2, body) = (self.h2.clone(), body.to_vec());
        self.ns
            .block_on(async move { h2.request(request, &body, &Vec::new()).await })
    }
}

/// The addresses of `good.test`, for servers of other kinds.
pub const GOOD: Pair = SERVER;

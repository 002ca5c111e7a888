//! A WebSocket client and server, frame by frame, that smooth nothing over.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::common::client::Tls;
use crate::common::upstream::{Io, Stream};
use crate::common::wire::{Request, Response};
use crate::common::world::SERVER;
use crate::common::{GatewayProcess, Upstream, World};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const FIN: u8 = 0x80;

/// Of RFC 6455 §1.3, with its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const SECRET: &str = "canary-7d41f0a98c2e29b3";

/// As [`crate::common::within`], for messages of 16 MiB on a machine that is busy.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let guard = std::time::Duration::from_secs(240);
    let result = tokio::time::timeout(guard, future).await;
    result.unwrap_or_else(|_| panic!("{what}: nothing happened within {guard:?}"))
}

/// A frame as it arrived: its first byte, and its payload without the mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub u8, pub Vec<u8>);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.1[..self.1.len().min(200)];
        write!(f, "{:#x} {} {}", self.0, self.1.len(), start.escape_ascii())
    }
}

impl Frame {
    /// A close frame's code and reason.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.0, FIN | CLOSE, "{self:?}");
        let code = u16::from_be_bytes([self.1[0], self.1[1]]);
        (code, String::from_utf8_lossy(&self.1[2..]).into_owned())
    }
}

/// The bytes of a frame.
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    let length = payload.len();
    if let Ok(length @ ..=125) = u8::try_from(length) {
        bytes.push(masked | length);
    } else if let Ok(length) = u16::try_from(length) {
        bytes.push(masked | 126);
        bytes.extend(length.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend((length as u64).to_be_bytes());
    }
    let Some(key) = mask else {
        bytes.extend(payload);
        return bytes;
    };
    bytes.extend(key);
    let masked = payload.iter().zip(key.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// One end of a WebSocket.
pub struct Ws<S> {
    pub stream: S,
    buffer: Vec<u8>,
    mask: Option<[u8; 4]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ws<S> {
    /// The server's end, once it has agreed.
    pub fn server(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            mask: None,
        }
    }

    pub async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let bytes = frame(first, payload, self.mask);
        self.raw(&bytes).await
    }

    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("send", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// The next frame; `None` at the end, well or not.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = parse(&self.buffer, self.mask.is_some()) {
                self.buffer.drain(..used);
                return Some(frame);
            }
            let read = within("a frame", self.stream.read_buf(&mut self.buffer)).await;
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads until `needle` is there.
    pub async fn rest_until(mut self, needle: &[u8]) -> Vec<u8> {
        while crate::common::wire::find(&self.buffer, needle).is_none() {
            let read = within("an answer", self.stream.read_buf(&mut self.buffer)).await;
            assert!(read.unwrap() > 0, "{}", self.buffer.escape_ascii());
        }
        self.buffer
    }

    /// What came and is no whole frame, once the other side has gone.
    pub async fn rest(mut self) -> Vec<u8> {
        let read = async |ws: &mut Self| ws.stream.read_buf(&mut ws.buffer).await;
        while within("the end", read(&mut self)).await.unwrap_or(0) > 0 {}
        self.buffer
    }
}

/// `client`: who reads; what it reads is not masked.
fn parse(bytes: &[u8], client: bool) -> Option<(Frame, usize)> {
    let second = *bytes.get(1)?;
    assert_eq!(second & 0x80 == 0, client, "only clients mask");
    let (length, mut at) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
            4,
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            (usize::try_from(length).unwrap(), 10)
        }
        short => (usize::from(short), 2),
    };
    let mut key = [0; 4];
    if !client {
        key.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let payload = bytes.get(at..at + length)?;
    let payload = payload.iter().zip(key.iter().cycle());
    let payload = payload.map(|(byte, key)| byte ^ key).collect();
    Some((Frame(bytes[0], payload), at + length))
}

/// What a server answers to a request for a WebSocket.
pub fn switching(lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{lines}\r\n"
    )
}

/// A server at [`SERVER`] under these names, over HTTP/1: `script` gets the first request of
/// each connection, and what came behind it.
pub fn server<F>(
    world: &World,
    script: impl Fn(Request, Vec<u8>, Stream) -> F + Clone + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut tls = world.ca.server(&["ws.test", "plain.test"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Upstream::custom(
        &world.internet,
        SERVER,
        443,
        Some(tls),
        move |mut stream| {
            let script = script.clone();
            async move {
                let mut buffer = Vec::new();
                let (request, used) = loop {
                    if let Some(parsed) = Request::parse(&buffer) {
                        break parsed;
                    }
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                };
                buffer.drain(..used);
                script(request, buffer, stream).await
            }
        },
    )
}

/// Agrees, whatever was asked.
pub async fn accept(mut stream: Stream) -> io::Result<Ws<Stream>> {
    stream.write_all(switching("").as_bytes()).await?;
    stream.flush().await?;
    Ok(Ws::server(stream))
}

/// Sends every frame back, pings as pongs, until the close frame.
pub async fn echo(stream: Stream) -> io::Result<()> {
    let mut ws = accept(stream).await?;
    while let Some(Frame(first, payload)) = ws.next().await {
        let back = if first == FIN | PING {
            FIN | PONG
        } else {
            first
        };
        ws.send(back, &payload).await?;
        if first == FIN | CLOSE {
            break;
        }
    }
    Ok(())
}

pub const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24"]
[upstream.resolve]
"ws.test" = ["203.0.113.10"]
"plain.test" = ["203.0.113.10"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

pub const RULES: &str = r#"
[[credential]]
name = "api"
secret = { file = "../canary" }
hosts = ["ws.test"]
attach = { bearer = true }
[[rule]]
name = "get-only"
agents = ["builder"]
hosts = ["plain.test"]
methods = ["GET"]
paths = ["/get-only"]
[[rule]]
name = "plain"
agents = ["builder"]
hosts = ["plain.test"]
[[rule]]
name = "api"
agents = ["builder"]
hosts = ["ws.test"]
credential = "api"
dlp = "strict"
"#;

/// A gateway with more of `portreeve.toml`.
pub fn gateway<'w>(world: &'w World, tables: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(&format!("{CONFIG}{tables}"))
        .rule("rules.toml", RULES)
        .secret("canary", SECRET)
        .start()
}

/// An agent of the gateway.
#[derive(Clone)]
pub struct Agent {
    tls: Tls,
}

impl Agent {
    pub fn new(gateway: &GatewayProcess<'_>) -> Self {
        Self {
            tls: Tls::new(&gateway.ca_pem(), &["http/1.1"]),
        }
    }

    pub async fn connect(&self, host: &str) -> Box<dyn Io> {
        Box::new(self.tls.connect((SERVER[0], 443), host).await.unwrap())
    }

    /// Sends exactly this, and reads the head of the answer.
    pub async fn ask(&self, host: &str, text: &[u8]) -> (Response, Ws<Box<dyn Io>>) {
        let stream = self.connect(host).await;
        let mut ws = Ws {
            stream,
            buffer: Vec::new(),
            mask: Some([7, 0, 255, 90]),
        };
        ws.raw(text).await.unwrap();
        let end = loop {
            if let Some(at) = crate::common::wire::find(&ws.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            let read = within("a head", ws.stream.read_buf(&mut ws.buffer)).await;
            assert!(read.unwrap() > 0, "no answer");
        };
        let head: Vec<u8> = ws.buffer.drain(..end).collect();
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let response = Response {
            status: status.parse().unwrap(),
            headers: fields.map(|(a, b)| (a.into(), b.into())).collect(),
            body: Vec::new(),
            trailers: Vec::new(),
        };
        (response, ws)
    }

    /// A WebSocket at `path` of `host`.
    pub async fn open(&self, host: &str, path: &str) -> Ws<Box<dyn Io>> {
        let (response, ws) = self.ask(host, wish(host, path, "").as_bytes()).await;
        assert_eq!(response.status, 101);
        ws
    }
}

/// A request for a WebSocket, with further lines.
pub fn wish(host: &str, path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
    )
}

/// The record of the only request to `path`.
pub fn record(gateway: &GatewayProcess<'_>, path: &str) -> Value {
    let of_path =
        |record: &Value| record["portreeve.record.kind"] == "request" && record["url.path"] == path;
    gateway.wait_records(1, of_path).remove(0)
}

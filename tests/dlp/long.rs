//! Long bodies with a secret in their last bytes: the server gets neither all of it nor an
//! end of the body, and the gateway keeps nothing.

use std::time::Duration;

use super::common::upstream::{Connection, Stream};
use super::common::wire;
use super::*;
use portreeve::dlp::engine::TELLING;
use tokio::io::AsyncReadExt;

const LONG: usize = 25 << 20;
/// What the gateway may need more than before, for buffers of connections and streams.
const MEMORY_KIB: u64 = 16 << 10;
/// Types and flags of HTTP/2 frames (RFC 9113 §6).
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

fn clean() -> String {
    let line = "{\"role\": \"user\", \"content\": \"nothing to see in this line\"}\n";
    line.repeat(LONG / line.len())
}

/// A server that reads, slowly or not, and never answers.
fn reader(world: &World, h2: bool, slow: bool) -> Upstream {
    let mut tls = world.ca.server(&["good.test"]);
    if !h2 {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let read = move |stream: Stream| async move {
        if h2 {
            return read_h2(stream, slow).await.map_err(std::io::Error::other);
        }
        read_h1(stream, slow).await
    };
    Upstream::custom(&world.internet, SERVER, 443, Some(tls), read)
}

/// Lets a slow server wait after every 64 KiB.
struct Pace {
    slow: bool,
    read: usize,
}

impl Pace {
    async fn after(&mut self, bytes: usize) {
        self.read += bytes;
        if self.slow && self.read >= 64 << 10 {
            self.read = 0;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn read_h1(mut stream: Stream, slow: bool) -> std::io::Result<()> {
    let mut pace = Pace { slow, read: 0 };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        pace.after(read).await;
    }
}

async fn read_h2(stream: Stream, slow: bool) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(async move {
            let mut pace = Pace { slow, read: 0 };
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                pace.after(data.len()).await;
            }
            drop(respond);
        });
    }
    Ok(())
}

/// What an HTTP/2 connection received: type, flags and payload of each whole frame.
fn frames(bytes: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut rest = bytes
        .strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, next)) = after.split_at_checked(length) else {
            break;
        };
        frames.push((*kind, *flags, payload));
        rest = next;
    }
    frames
}

pub fn peak(lab: &Lab<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.gateway.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let words = peak.unwrap().split_whitespace();
    words.flat_map(str::parse).next().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks,
    H2Length,
    H2,
}

/// Uploads `clean` and `token`, of which the last byte goes once the server has `clean`.
fn upload(lab: &Lab<'_>, framing: Framing, clean: &str, token: &str) {
    let length = clean.len() + token.len();
    let (most, last) = token.split_at(token.len() - 1);
    let head = "POST /long HTTP/1.1\r\nhost: good.test\r\n";
    match framing {
        Framing::Length => {
            let first = format!("{head}content-length: {length}\r\n\r\n{clean}{most}");
            lab.send_after(first.into(), clean.len(), last.into());
        }
        Framing::Chunks => {
            let mut first = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
            for data in format!("{clean}{most}").as_bytes().chunks(50_000) {
                write!(first, "{:x}\r\n", data.len()).unwrap();
                first.extend_from_slice(data);
                first.extend_from_slice(b"\r\n");
            }
            let rest = format!("1\r\n{last}\r\n0\r\n\r\n");
            lab.send_after(first, clean.len(), rest.into());
        }
        Framing::H2Length => upload_h2(lab, Some(length), clean, (most, last)),
        Framing::H2 => upload_h2(lab, None, clean, (most, last)),
    }
}

fn upload_h2(lab: &Lab<'_>, length: Option<usize>, clean: &str, (most, last): (&str, &str)) {
    let mut request = http::Request::post("https://good.test/long");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    let (trust, request) = (lab.trust_h2.clone(), request.body(()).unwrap());
    let (first, last) = (format!("{clean}{most}"), last.to_owned());
    let before = lab.server.received();
    let (response, mut stream) = lab.world.agent.block_on(async move {
        let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
        let mut h2 = H2::new(stream).await.unwrap().sender.ready().await.unwrap();
        let (response, mut stream) = h2.send_request(request, false).unwrap();
        stream.send_data(first.into(), false).unwrap();
        (response, stream)
    });
    lab.server.wait_received(before + clean.len());
    lab.world.agent.block_on(async move {
        stream.send_data(last.into(), true).unwrap();
        // The gateway resets the stream, or answers.
        let _ = response.await;
    });
}

/// The server has the clean part of the last upload, nothing of the token and no end.
fn broken_off(lab: &Lab<'_>, h2: bool, framing: Framing, clean: &str, token: &str) {
    let reset = |bytes: &[u8]| {
        let mut frames = frames(bytes).into_iter().rev();
        let last = frames.find(|(kind, ..)| [DATA, RST_STREAM].contains(kind));
        last.is_some_and(|(kind, ..)| kind == RST_STREAM)
    };
    let peer = lab.server.connections().pop().unwrap().peer;
    let ended = |one: &Connection| if h2 { reset(&one.bytes) } else { one.closed };
    let connection = lab
        .server
        .wait_connection("its end", |one| one.peer == peer && ended(one));
    let bytes = &connection.bytes;
    assert!(bytes.len() >= clean.len(), "{framing:?}: {}", bytes.len());
    assert_eq!(
        memchr::memmem::find(bytes, &token.as_bytes()[..12]),
        None,
        "{framing:?}"
    );
    if h2 {
        let data = frames(bytes);
        let ended = |(kind, flags, _): &&(u8, u8, &[u8])| *kind == DATA && flags & END_STREAM != 0;
        assert_eq!(data.iter().filter(ended).count(), 0, "{framing:?}");
        return;
    }
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "{framing:?}");
    if matches!(framing, Framing::Length | Framing::H2Length) {
        let head = wire::find(bytes, b"\r\n\r\n").unwrap() + 4;
        // Too few bytes to tell that a token begins do not wait, wherever reads cut it.
        let gone = bytes.len() - head - clean.len();
        assert!(gone < TELLING, "{framing:?}: {gone}");
    }
}

#[test]
fn the_last_bytes_of_25_mib_never_arrive() {
    inside(|| {
        let clean = clean();
        let token = github();
        for (h2, [slow, fast]) in [
            (false, [Framing::Length, Framing::H2]),
            (false, [Framing::H2Length, Framing::Chunks]),
            (true, [Framing::Chunks, Framing::H2Length]),
            (true, [Framing::H2, Framing::Length]),
        ] {
            for (slow, framing) in [(true, slow), (false, fast)] {
                let world = World::new();
                let lab = Lab::with_server(&world, reader(&world, h2, slow));
                // Everything that is made once is there.
                upload(&lab, framing, &clean[..LONG / 16], &token);
                lab.detected(1);
                let before = peak(&lab);
                upload(&lab, framing, &clean, &token);
                let record = lab.detected(2);
                assert!(detections(&record).starts_with("github-token block "));
                broken_off(&lab, h2, framing, &clean, &token);
                let grown = peak(&lab) - before;
                assert!(grown < MEMORY_KIB, "{framing:?}: {grown} KiB more");
            }
        }
    });
}

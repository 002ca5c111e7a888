//! What clients of object stores and of forms send: parts of objects, uploads in pieces that
//! are framed once more inside of their body, files in forms. All of it on a rule that scans.

use std::io;
use std::ops::Range;
use std::time::Duration;

use crate::agent::{Agent, Dial};
use crate::bench::{Bench, Received, Setup, last};
use crate::bulk::piece;
use crate::common::events::Events;
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;

/// More than is held: it streams.
const LENGTH: usize = 5 * 64 * 1024;

/// The agent's own signature: no credential is attached here.
const SIGNATURE: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=of-the-agent/20260101/eu-central-1/s3/aws4_request, \
     SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00ff",
);

/// Which parts are asked for, and how they are answered.
const RANGES: [(&str, &str, Range<usize>); 3] = [
    ("bytes=1000-1999", "bytes 1000-1999/327680", 1000..2000),
    ("bytes=-500", "bytes 327180-327679/327680", 327_180..LENGTH),
    ("bytes=70000-", "bytes 70000-327679/327680", 70_000..LENGTH),
];

const SCANNED: Setup = Setup {
    config: "",
    rules: "",
    all: "dlp = \"default\"\n",
    streams: 250,
    goes_away: false,
    handshake: Duration::ZERO,
    env: &[],
};

fn object() -> Vec<u8> {
    (0..5).flat_map(piece).collect()
}

/// Two parts in one answer (RFC 9110 section 14.6).
fn two_parts() -> Vec<u8> {
    let object = object();
    let part = |range: Range<usize>, data: &[u8]| {
        let (first, last) = (range.start, range.end - 1);
        let head = format!("\r\n--=_x\r\nContent-Range: bytes {first}-{last}/{LENGTH}\r\n\r\n");
        [head.as_bytes(), data].concat()
    };
    let (one, two) = (part(0..1, &object[..1]), part(100..200, &object[100..200]));
    [one, two, b"\r\n--=_x--\r\n".to_vec()].concat()
}

/// As an object store does: takes what is put, and gives the object or parts of it.
async fn store(mut call: Call, seen: Events<Received>) -> io::Result<()> {
    if call.header("expect").is_some() {
        call.interim(100, &[]).await?;
    }
    let got = Received::of(&mut call).await?;
    seen.push(got.clone());
    let length = LENGTH.to_string();
    match got.method.as_str() {
        "HEAD" => {
            let fields = [("content-length", length.as_str()), ("etag", "\"9b2c\"")];
            call.answer(200, &fields, Framing::Nothing).await?;
            return call.end(&[]).await;
        }
        "DELETE" => {
            call.answer(204, &[], Framing::Nothing).await?;
            return call.end(&[]).await;
        }
        "PUT" | "POST" => return call.reply(200, &[("etag", "\"9b2c\"")], b"").await,
        _ => {}
    }
    let whole = [("accept-ranges", "bytes"), ("etag", "\"9b2c\"")];
    let is_current = got.header("if-range").is_none_or(|tag| tag == "\"9b2c\"");
    let Some(wanted) = got.header("range").filter(|_| is_current) else {
        return call.reply(200, &whole, &object()).await;
    };
    if wanted == "bytes=0-0,100-199" {
        let kind = ("content-type", "multipart/byteranges; boundary==_x");
        return call.reply(206, &[kind, whole[1]], &two_parts()).await;
    }
    let part = RANGES.iter().find(|(range, ..)| *range == wanted);
    let Some((_, range, part)) = part else {
        let all = [("content-range", "bytes */327680")];
        return call.reply(416, &all, b"").await;
    };
    let fields = [("content-range", *range), whole[1]];
    call.reply(206, &fields, &object()[part.clone()]).await
}

fn with_store<F>(behaviour: impl Fn(Dial, Events<Received>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let seen = Events::new();
    let sink = seen.clone();
    let bench = Bench::with(&SCANNED, move |call| store(call, sink.clone()));
    bench.each(|dial| behaviour(dial, seen.clone()));
}

/// RFC 9110 section 14: a range is between the agent and the server, and so is a 416.
#[test]
fn ranges_pass() {
    inside(|| {
        with_store(|dial, seen| async move {
            let mut agent = dial.connect().await;
            for (wanted, answered, part) in RANGES {
                let headers = [("range", wanted), ("if-range", "\"9b2c\"")];
                let (head, body) = agent
                    .exchange("GET", "/object", &headers, b"")
                    .await
                    .unwrap();
                assert_eq!(head.status, 206, "{wanted}");
                assert_eq!(head.header("content-range"), Some(answered));
                assert_eq!(head.header("etag"), Some("\"9b2c\""));
                let length = part.len().to_string();
                assert_eq!(head.header("content-length"), Some(length.as_str()));
                assert!(body == object()[part], "{wanted}");
                let got = last(&seen);
                assert_eq!(got.header("range"), Some(wanted));
                assert_eq!(got.header("if-range"), Some("\"9b2c\""));
            }
            let several = [("range", "bytes=0-0,100-199")];
            let (head, body) = agent
                .exchange("GET", "/object", &several, b"")
                .await
                .unwrap();
            assert_eq!(head.status, 206);
            let kind = Some("multipart/byteranges; boundary==_x");
            assert_eq!(head.header("content-type"), kind);
            assert_eq!(body, two_parts());
            let old = [("range", "bytes=-500"), ("if-range", "\"old\"")];
            let (head, body) = agent.exchange("GET", "/object", &old, b"").await.unwrap();
            assert_eq!(head.status, 200);
            assert_eq!(head.header("accept-ranges"), Some("bytes"));
            assert!(body == object());
            let beyond = [("range", "bytes=400000-")];
            let (head, _) = agent
                .exchange("GET", "/object", &beyond, b"")
                .await
                .unwrap();
            assert_eq!(head.status, 416);
            assert_eq!(head.header("content-range"), Some("bytes */327680"));
        });
    });
}

/// A body as `aws-chunked` makes it of the object: in pieces, with a checksum behind them.
fn aws_chunked() -> Vec<u8> {
    let mut body = Vec::new();
    for piece in object().chunks(64 * 1024) {
        body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        body.extend(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
    body
}

async fn put(agent: &mut Agent, target: &str, headers: &[(&str, &str)], framing: Framing) {
    let expecting = [headers, &[("expect", "100-continue"), SIGNATURE]].concat();
    agent.ask("PUT", target, &expecting, framing).await.unwrap();
    assert_eq!(agent.interim().await.unwrap().status, 100);
    for piece in aws_chunked().chunks(100_000) {
        agent.send(piece).await.unwrap();
    }
    agent.end(&[]).await.unwrap();
    let head = agent.head().await.unwrap();
    assert_eq!((head.status, head.header("etag")), (200, Some("\"9b2c\"")));
    assert!(agent.rest().await.unwrap().is_empty());
}

/// Signed by the agent itself: what a signature covers must not change by an octet.
#[test]
fn object_stores_get_what_was_signed() {
    const TARGET: &str = "/bucket/a%20key+and%2Bmore?partNumber=1&uploadId=a%2Bb%3D%3D";
    const SENT: [(&str, &str); 6] = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-decoded-content-length", "327680"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ];
    inside(|| {
        with_store(|dial, seen| async move {
            let mut agent = dial.connect().await;
            let length = aws_chunked().len();
            for framing in [Framing::Length(length), Framing::Chunked] {
                put(&mut agent, TARGET, &SENT, framing).await;
                let got = last(&seen);
                assert_eq!((got.method.as_str(), got.target.as_str()), ("PUT", TARGET));
                assert_eq!(got.authority, dial.host);
                for (name, value) in [&SENT[..], &[SIGNATURE]].concat() {
                    assert_eq!(got.header(name), Some(value), "{name}");
                }
                let declared = match framing {
                    Framing::Length(length) => Some(length.to_string()),
                    _ => None,
                };
                assert_eq!(got.header("content-length"), declared.as_deref());
                assert!(got.body == aws_chunked(), "{framing:?}");
            }
            let signed = [SIGNATURE];
            let (head, _) = agent.exchange("HEAD", TARGET, &signed, b"").await.unwrap();
            assert_eq!(
                (head.status, head.header("content-length")),
                (200, Some("327680"))
            );
            let (head, _) = agent
                .exchange("DELETE", TARGET, &signed, b"")
                .await
                .unwrap();
            assert_eq!(head.status, 204);
            assert_eq!(last(&seen).header(SIGNATURE.0), Some(SIGNATURE.1));
        });
    });
}

/// Files and fields of a form (RFC 7578), as they are: also where the boundary is cut.
#[test]
fn forms_pass() {
    inside(|| {
        with_store(|dial, seen| async move {
            let kind = (
                "content-type",
                "multipart/form-data; boundary=\"--- x : y\"",
            );
            let start = "----- x : y\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n\
                batch\r\n----- x : y\r\nContent-Disposition: form-data; name=\"file\"; \
                filename=\"Gr\u{fc}\u{df}e.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n";
            let end = b"\r\n----- x : y--\r\n";
            for file in [&object()[..100], &object()] {
                let body = [start.as_bytes(), file, end].concat();
                for framing in [Framing::Length(body.len()), Framing::Chunked] {
                    let mut agent = dial.connect().await;
                    agent.ask("POST", "/files", &[kind], framing).await.unwrap();
                    for piece in body.chunks(body.len() / 7) {
                        agent.send(piece).await.unwrap();
                    }
                    agent.end(&[]).await.unwrap();
                    assert_eq!(agent.head().await.unwrap().status, 200);
                    let got = last(&seen);
                    assert_eq!(got.header(kind.0), Some(kind.1));
                    assert!(got.body == body, "{framing:?} {}", file.len());
                }
            }
        });
    });
}

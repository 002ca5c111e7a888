//! The pure parts of the way of a request, each by itself, on one core.
//!
//! `cargo bench --bench parts`; what a whole request costs is measured by `benches/compare/run`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Method, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use portreeve::audit::{Draft, Record};
use portreeve::ca::{CertificateAuthority, LeafSettings, Leaves};
use portreeve::config::{Env, load};
use portreeve::credential::Store;
use portreeve::credential::echo::{Found, Needles, Scan};
use portreeve::credential::sigv4::{Head, Payload};
use portreeve::error::Verdict;
use portreeve::http::body::BodyError;
use portreeve::http::canonical::{HeadBounds, Settled, canonical};
use portreeve::http::h1::{ChunkDecoder, ChunkEvent, HeadLimits, parse_request, parse_response};
use portreeve::http::raw::RawHead;
use portreeve::http::redact::Echo;
use portreeve::metrics::Metrics;
use portreeve::name::{Authority, CredentialName, Host};
use portreeve::policy::{Decision, Policy, Request, Scheme};

/// As an agent's client sends it.
const REQUEST: &[u8] = b"POST /v1/messages?beta=true HTTP/1.1\r\n\
    host: api.example.com\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip, deflate, br\r\n\
    content-type: application/json\r\n\
    user-agent: client/1.2.3 (linux; x86_64)\r\n\
    x-request-timeout: 600\r\n\
    x-api-key: placeholder\r\n\
    content-length: 4096\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    content-type: application/json\r\n\
    content-length: 1024\r\n\
    cache-control: no-store\r\n\
    request-id: req_0123456789abcdef\r\n\
    server: example\r\n\
    vary: Accept-Encoding\r\n\r\n";

fn head() -> RawHead {
    let (head, _) = parse_request(REQUEST, &HeadLimits::default())
        .unwrap()
        .unwrap();
    RawHead::from_h1(head)
}

fn settled() -> Settled {
    Settled {
        scheme: Scheme::Https,
        name: Some(Host::parse(b"api.example.com").unwrap()),
        port: 443,
    }
}

const BOUNDS: HeadBounds = HeadBounds {
    bytes: 64 << 10,
    fields: 128,
    uri: 16 << 10,
};

fn request() -> Request {
    canonical(head(), &settled(), BOUNDS).unwrap()
}

fn heads(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut group = criterion.benchmark_group("head");
    group.bench_function("request", |bench| {
        bench.iter(|| parse_request(black_box(REQUEST), &limits));
    });
    group.bench_function("response", |bench| {
        bench.iter(|| parse_response(black_box(RESPONSE), &limits, &Method::POST));
    });
    let settled = settled();
    group.bench_function("canonical", |bench| {
        bench.iter_batched(
            head,
            |head| canonical(head, &settled, BOUNDS),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    let mut body = Vec::new();
    for _ in 0..64 {
        body.extend_from_slice(b"400\r\n");
        body.extend_from_slice(&[b'x'; 1024]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut group = criterion.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("64 of 1 KiB", |bench| {
        bench.iter_batched(
            || {
                (
                    ChunkDecoder::new(HeadLimits::default()),
                    BytesMut::from(&body[..]),
                )
            },
            |(mut decoder, mut buf)| {
                let mut length = 0;
                while let Some(ChunkEvent::Data(data)) = decoder.decode(&mut buf).unwrap() {
                    length += data.len();
                }
                length
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A policy of so many rules, the last of which allows the request. Half of them are about
/// other hosts, as they are where many services are configured; half are about this one.
fn policy(rules: usize) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for at in 1..rules {
        let host = if at % 2 == 0 {
            "api.example.com".to_owned()
        } else {
            format!("host-{at}.example.org")
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "[[rule]]\nname = \"r{at}\"\nhosts = [\"{host}\"]\nmethods = [\"POST\"]\npaths = [\"/v1/other/{at}\", \"/v1/more/{at}/**\"]\n"
        );
    }
    text.push_str(
        "[[rule]]\nname = \"last\"\nhosts = [\"api.example.com\"]\npaths = [\"/v1/messages\"]\n",
    );
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/a.toml"), text).unwrap();
    let file = folder.path().join("portreeve.toml");
    fs::write(&file, "rules = \"rules\"\n").unwrap();
    let loaded = load(
        Some(&file),
        &Env::fixed(folder.path(), [("STATE_DIRECTORY", "/state")]),
    )
    .unwrap_or_else(|findings| panic!("{findings}"));
    loaded.policy(1)
}

fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    let agent = portreeve::name::AgentName::new("default");
    for count in [1, 100, 10_000] {
        let policy = policy(count);
        assert!(matches!(
            policy.decide(&agent, request()),
            Decision::Allow(_)
        ));
        group.bench_function(count.to_string(), |bench| {
            bench.iter_batched(
                request,
                |request| policy.decide(&agent, request),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// So many secrets of the usual length.
fn secrets(count: u64) -> Vec<(CredentialName, String)> {
    let secret = |at: u64| {
        let digits = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let name = CredentialName::new(&format!("c{at}"));
        (name, format!("sk-{digits:016x}abcdefghijklmnopqrstuvwxyz"))
    };
    (0..count).map(secret).collect()
}

fn needles(secrets: &[(CredentialName, String)]) -> Arc<Needles> {
    let pairs = secrets
        .iter()
        .map(|(name, secret)| (name, secret.as_bytes()));
    Arc::new(Needles::new(pairs).unwrap().unwrap())
}

/// Clean text, of the kind that servers send: prose, JSON that repeats itself, noise.
fn texts(size: usize) -> [(&'static str, Bytes); 3] {
    let prose = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let json = "{\"id\":\"req_011CSHoEeqs5C35K2UUqR7Fy\",\"usage\":{\"input_tokens\":2095},\"path\":\"\\u003c/a%20b\"},\n";
    let mut state = 1_u64;
    let noise = (0..size).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let fill = |text: &str| Bytes::from(text.repeat(size / text.len() + 1)).slice(..size);
    [
        ("prose", fill(&prose)),
        ("JSON", fill(json)),
        ("noise", noise.collect()),
    ]
}

fn echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    for (what, size) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
        group.throughput(Throughput::Bytes(size as u64));
        let short = vec![(CredentialName::new("short"), "hunter2".to_owned())];
        for (which, secrets) in [
            ("1 secret", secrets(1)),
            ("10 secrets", secrets(10)),
            (
                "10 secrets and one of 7 bytes",
                [secrets(10), short].concat(),
            ),
        ] {
            let needles = needles(&secrets);
            for (kind, body) in texts(size) {
                group.bench_function(format!("{what} of {kind}, {which}"), |bench| {
                    bench.iter(|| {
                        let mut scan = Scan::new(needles.clone(), false);
                        let mut found = Found::new();
                        scan.pass(body.clone(), true, &mut found)
                    });
                });
            }
        }
    }
    group.finish();
}

/// A body that comes in reads of 16 KiB.
struct Reads(Bytes);

impl http_body::Body for Reads {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let count = self.0.len().min(16 << 10);
        let piece = self.0.split_to(count);
        Poll::Ready((count > 0).then(|| Ok(Frame::data(piece))))
    }
}

/// All that passes of a response.
fn passes(echo: &Echo, coding: &'static str, body: &Bytes, recode: bool) -> usize {
    let mut response = Response::new(Reads(body.clone()));
    let value = HeaderValue::from_static(coding);
    response.headers_mut().insert(CONTENT_ENCODING, value);
    let mut body = echo.response(response, recode).into_body();
    let mut context = Context::from_waker(Waker::noop());
    let mut passed = 0;
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        passed += frame.unwrap().into_data().unwrap().len();
    }
    passed
}

/// 1 MiB of prose, compressed: what decoding takes by itself, and what passing it takes.
fn coded(criterion: &mut Criterion) {
    let [(_, text), ..] = texts(1 << 20);
    let echo = Echo::new(
        Some(needles(&secrets(10))),
        1 << 30,
        Arc::new(Metrics::new()),
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).unwrap();
    let gzip = Bytes::from(gzip.finish().unwrap());
    let zstd = Bytes::from(zstd::encode_all(&text[..], 3).unwrap());
    let mut group = criterion.benchmark_group("coded");
    group.throughput(Throughput::Bytes(text.len() as u64));
    let mut room = vec![0; 32 << 10];
    group.bench_function("gzip, decoded only", |bench| {
        bench.iter(|| {
            let mut inflate = flate2::Decompress::new_gzip(15);
            for mut piece in gzip.chunks(16 << 10) {
                while !piece.is_empty() {
                    let before = inflate.total_in();
                    let none = flate2::FlushDecompress::None;
                    inflate.decompress(piece, &mut room, none).unwrap();
                    let read = usize::try_from(inflate.total_in() - before).unwrap();
                    piece = &piece[read..];
                }
            }
            inflate.total_out()
        });
    });
    group.bench_function("zstd, decoded only", |bench| {
        bench.iter(|| {
            let mut context = zstd_safe::DCtx::create();
            let (mut input, mut total) = (zstd_safe::InBuffer::around(&zstd), 0);
            while input.pos() < zstd.len() {
                let mut output = zstd_safe::OutBuffer::around(&mut room[..]);
                context.decompress_stream(&mut output, &mut input).unwrap();
                total += output.pos();
            }
            total
        });
    });
    for (coding, body) in [("gzip", &gzip), ("zstd", &zstd)] {
        for (way, recode) in [("passed beside", false), ("recoded", true)] {
            group.bench_function(format!("{coding}, {way}"), |bench| {
                bench.iter(|| passes(&echo, coding, body, recode));
            });
        }
    }
    group.finish();
}

/// A credential for each way of attaching.
fn credentials() -> String {
    let mut text = String::new();
    for (name, attach) in [
        ("header", "{ header = \"x-api-key\" }"),
        ("basic", "{ basic = \"git\" }"),
        ("query", "{ query = \"key\" }"),
        (
            "sigv4",
            "{ sigv4 = true, key_id = \"AKIAIOSFODNN7EXAMPLE\", region = \"eu-central-1\", service = \"s3\" }",
        ),
    ] {
        let _ = write!(
            text,
            "[[credential]]\nname = \"{name}\"\nsecret = {{ file = \"../key\" }}\nhosts = [\"api.example.com\"]\nattach = {attach}\n"
        );
    }
    text
}

/// What is done for a request between its rule and its way to the server.
fn attach(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/a.toml"), credentials()).unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "sk-0123456789abcdefghijklmnopqrstuvwxyz").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let file = folder.path().join("portreeve.toml");
    fs::write(&file, "rules = \"rules\"\n").unwrap();
    let loaded = load(
        Some(&file),
        &Env::fixed(folder.path(), [("STATE_DIRECTORY", "/state")]),
    )
    .unwrap();
    let (store, problems) = Store::load(loaded.credentials, None);
    assert!(problems.is_empty());
    let request = request();
    let mut group = criterion.benchmark_group("attach");
    for name in ["header", "basic", "query", "sigv4"] {
        let credential = CredentialName::new(name);
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || request.headers.clone(),
                |mut headers| {
                    let attachment = store.attachment(&credential, &request.authority, true);
                    let mut attachment = attachment.unwrap();
                    attachment.settle(&request, store.guard()).unwrap();
                    if let Some(signing) = &attachment.signing {
                        let mut head = Head {
                            method: request.method.as_str(),
                            host: "api.example.com",
                            target: request.target.as_str(),
                            headers: &mut headers,
                        };
                        let now = SystemTime::now();
                        signing.sign(&mut head, Payload::Held(b"{}"), now).unwrap();
                    }
                    for (name, value) in attachment.headers {
                        headers.insert(name, value);
                    }
                    let mut target = request.target.path().to_owned();
                    for pair in &attachment.query {
                        pair.append_to(&mut target);
                    }
                    (headers, target)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn leaf(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ca = Arc::new(CertificateAuthority::in_memory().unwrap());
    let leaves = Leaves::new(ca, LeafSettings::default()).unwrap();
    let mut number = 0_u64;
    let mut group = criterion.benchmark_group("leaf");
    group.bench_function("new", |bench| {
        bench.iter(|| {
            number += 1;
            let host = Host::parse(format!("n{number}.example.com").as_bytes()).unwrap();
            runtime.block_on(leaves.leaf(&host)).unwrap()
        });
    });
    let host = Host::parse(b"known.example.com").unwrap();
    group.bench_function("cached", |bench| {
        bench.iter(|| runtime.block_on(leaves.leaf(&host)).unwrap());
    });
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let time = SystemTime::now();
    let record = Record {
        time: Some(time),
        id: Some(portreeve::audit::id_at(time)),
        agent: Some(portreeve::name::AgentName::new("builder")),
        verdict: Some(Verdict::Allow),
        generation: Some(1),
        server: Authority::parse(b"api.example.com", 443).ok(),
        tls_version: Some("1.3"),
        version: Some(Version::HTTP_11),
        upstream_version: Some(Version::HTTP_2),
        upstream_reused: Some(true),
        method: Some(Method::POST),
        scheme: Some("https"),
        path: Some("/v1/messages".to_owned()),
        status: Some(StatusCode::OK),
        request_bytes: Some(4096),
        response_bytes: Some(1024),
        duration: Some(Duration::from_micros(1234)),
        first_byte_duration: Some(Duration::from_micros(990)),
        ..Record::default()
    };
    let (mut draft, mut lines) = (Draft::default(), Vec::with_capacity(2048));
    criterion.bench_function("record", |bench| {
        bench.iter(|| {
            lines.clear();
            draft.write(&record);
            draft.append(7, &mut lines);
            lines.len()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = heads, chunks, rules, attach, echo, coded, leaf, record
}
criterion_main!(benches);

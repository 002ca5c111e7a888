//! The targets, each with what must hold of every input.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use futures_util::FutureExt;
use hickory_proto::op::Message;
use http::{HeaderMap, Method};
use portreeve::config::{self, Env, Loaded};
use portreeve::dns::{self, Answer, Answers, Transport, Verdict};
use portreeve::http::h1::{
    self, BodyFraming, ChunkDecoder, ChunkEvent, Framing, HeadLimits, Hops, Persist, RequestOut,
    RequestTarget, ResponseOut,
};
use portreeve::name::{AgentName, Authority, Host};
use portreeve::net::sniff::{Sniff, Sniffer, sniff};
use portreeve::policy::path::{PathPattern, Target};
use portreeve::policy::{Decision, Request, Scheme};

use crate::rows::seeds;
use crate::run;

const REQUESTS: &str = include_str!("../hostile/http1_requests.txt");
const CHUNKS: &str = include_str!("../hostile/http1_chunks.txt");
const RESPONSES: &str = include_str!("../hostile/http1_responses.txt");
const NAMES: &str = include_str!("../hostile/names.txt");
const PATHS: &str = include_str!("../hostile/paths.txt");
const QUERIES: &str = include_str!("../hostile/dns.txt");

const HTTP_WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "Host: h1.test\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: content-length\r\n",
    "Expect: 100-continue\r\n",
    "Trailer: x\r\n",
    "TE: trailers\r\n",
    "Upgrade: h2c\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    " chunked",
    ", ",
];

/// The hello of an ordinary client for this name.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    use rustls::crypto::aws_lc_rs;
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let roots = rustls::RootCertStore::empty();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same, in records of one byte each.
fn in_pieces(hello: &[u8]) -> Vec<u8> {
    hello[5..]
        .iter()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect()
}

#[test]
fn sniffing() {
    const MAX: usize = 4096;
    let whole = hello("good.test", &["h2", "http/1.1"]);
    let mut all = vec![
        in_pieces(&whole),
        whole,
        hello("10.0.0.1", &[]),
        hello("a.test", &["x"]),
    ];
    all.push(b"GET / HTTP/1.1\r\n".to_vec());
    all.push(b"SSH-2.0-x\r\n".to_vec());
    run(
        "sniff",
        &all,
        &["\x16\x03\x01", "\0\0", "good.test"],
        |input| {
            let verdict = sniff(input, MAX);
            if let Sniff::Tls(hello) = &verdict
                && let Some(name) = &hello.name
            {
                assert_eq!(Host::from_sni(name.text().as_bytes()).as_ref(), Ok(name));
            }
            // However it comes, the verdict is the same.
            let mut sniffer = Sniffer::new(MAX);
            let mut end = 0;
            let pieces = loop {
                end = (end + 1 + end / 2).min(input.len());
                let verdict = sniffer.sniff(&input[..end]);
                if end == input.len() || !matches!(verdict, Sniff::More) {
                    break verdict;
                }
            };
            assert_eq!(
                format!("{pieces:?}"),
                format!("{:?}", sniff(&input[..end], MAX))
            );
        },
    );
}

/// How often a field of this name stands at the start of a line.
fn lines_of(head: &[u8], name: &str) -> usize {
    let lines = head.split(|byte| *byte == b'\n');
    let has = |line: &&[u8]| {
        line.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    lines.filter(has).count()
}

fn assert_clean(headers: &HeaderMap) {
    for value in headers.values() {
        let bad = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(bad));
    }
}

/// Nothing is said twice about where the body ends.
fn assert_one_framing(head: &[u8], framing: Framing) {
    let (length, coding) = (
        lines_of(head, "content-length:"),
        lines_of(head, "transfer-encoding:"),
    );
    match framing {
        Framing::Chunked => assert_eq!((length, coding), (0, 1)),
        Framing::Length(_) => assert_eq!((length, coding), (1, 0)),
        Framing::None | Framing::UntilClose | Framing::Tunnel => assert!(length + coding <= 1),
    }
}

fn written(framing: Framing) -> BodyFraming {
    match framing {
        Framing::Length(length) => BodyFraming::Length(length),
        Framing::Chunked => BodyFraming::Chunked,
        Framing::None | Framing::UntilClose | Framing::Tunnel => BodyFraming::None,
    }
}

#[test]
fn request_heads() {
    let limits = HeadLimits::default();
    let all = seeds(REQUESTS, "{H}", b"host: h1.test\r\n");
    run("request head", &all, HTTP_WORDS, |input| {
        let Ok(Some((head, length))) = h1::parse_request(input, &limits) else {
            return;
        };
        let bytes = &input[..length];
        assert!(matches!(
            h1::parse_request(&bytes[..length - 1], &limits),
            Ok(None)
        ));
        assert_one_framing(bytes, head.framing);
        assert_clean(&head.headers);
        assert!(
            !head
                .method
                .as_str()
                .contains(|c: char| !c.is_ascii_graphic())
        );
        let (RequestTarget::Origin(target) | RequestTarget::Absolute { path: target, .. }) =
            &head.target
        else {
            return;
        };
        let Ok(host) = head.host.to_str() else {
            return;
        };
        let mut out = BytesMut::new();
        let request = RequestOut {
            method: &head.method,
            target,
            host,
            headers: &head.headers,
            framing: written(head.framing),
            hops: Hops::default(),
        };
        if h1::encode_request(&mut out, &request).is_err() {
            return;
        }
        let (again, end) = h1::parse_request(&out, &limits).unwrap().unwrap();
        assert_eq!(end, out.len());
        assert_eq!(again.target, RequestTarget::Origin(target.clone()));
        assert_eq!((&again.method, &again.host), (&head.method, &head.host));
        assert_eq!(again.headers, head.headers);
        assert_eq!(again.framing, head.framing);
    });
}

#[test]
fn response_heads() {
    let limits = HeadLimits::default();
    let all = seeds(RESPONSES, "{H}", b"");
    run("response head", &all, HTTP_WORDS, |input| {
        for method in [Method::GET, Method::HEAD] {
            let Ok(Some((head, length))) = h1::parse_response(input, &limits, &method) else {
                continue;
            };
            let bytes = &input[..length];
            let less = h1::parse_response(&bytes[..length - 1], &limits, &method);
            assert!(matches!(less, Ok(None)));
            assert_clean(&head.headers);
            if method == Method::GET {
                assert_one_framing(bytes, head.framing);
            }
            let mut out = BytesMut::new();
            let response = ResponseOut {
                status: head.status,
                headers: &head.headers,
                framing: written(head.framing),
                hops: Hops {
                    persist: Persist::Close,
                    ..Hops::default()
                },
            };
            if h1::encode_response(&mut out, &response).is_err() {
                continue;
            }
            let (again, end) = h1::parse_response(&out, &limits, &method).unwrap().unwrap();
            assert_eq!(end, out.len());
            assert_eq!(again.status, head.status);
            assert_eq!(again.headers, head.headers);
        }
    });
}

/// Data and trailers, or that it is no whole body.
fn dechunk(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, HeaderMap)>, String> {
    let mut decoder = ChunkDecoder::new(HeadLimits::default());
    let mut buffer = BytesMut::new();
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(event) = decoder.decode(&mut buffer).map_err(|e| e.to_string())? {
            match event {
                ChunkEvent::Data(piece) => data.extend_from_slice(&piece),
                ChunkEvent::Trailers(map) => trailers = map,
                ChunkEvent::End => return Ok(Some((data, trailers))),
            }
        }
    }
    Ok(None)
}

#[test]
fn chunked_bodies() {
    let all = seeds(CHUNKS, "{H}", b"");
    run("chunks", &all, HTTP_WORDS, |input| {
        let whole = dechunk(&[input]);
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(dechunk(&single), whole, "byte by byte it is another body");
        let Ok(Some((data, trailers))) = whole else {
            return;
        };
        assert!(data.len() < input.len());
        assert_clean(&trailers);
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
        ] {
            assert!(!trailers.contains_key(name));
        }
        let mut again = Vec::new();
        if !data.is_empty() {
            again.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            again.extend_from_slice(&data);
            again.extend_from_slice(b"\r\n");
        }
        again.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(dechunk(&[&again]).unwrap().unwrap().0, data);
    });
}

/// What a server may make of a segment that decodes once more than it should.
fn decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// No reading of an accepted path climbs, or has an empty segment, a backslash or a control.
fn assert_no_climbing(path: &str) {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..3 {
        let segments: Vec<&[u8]> = text.split(|byte| *byte == b'/').collect();
        let last = segments.len() - 1;
        for (number, segment) in segments.iter().enumerate() {
            let name = segment.split(|byte| *byte == b';').next().unwrap();
            assert!(!matches!(name, b"." | b".."), "{path}");
            let edge = number == 0 || number == last;
            assert!(edge || !name.is_empty(), "{path}");
        }
        assert!(
            !text.contains(&b'\\') && !text.iter().any(u8::is_ascii_control),
            "{path}"
        );
        text = decoded(&text);
    }
}

#[test]
fn paths() {
    let pattern = PathPattern::parse("/pub/**").unwrap();
    let all = seeds(PATHS, "{H}", b"");
    let words = [
        "..", "%2e", "%2F", "%5c", "%25", "/", "//", ";", "?", "/pub/", "%00", "%c0%ae",
    ];
    run("path", &all, &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let Ok(target) = Target::parse(text) else {
            return;
        };
        assert_eq!(target.as_str(), text);
        assert_eq!(Target::parse(target.as_str()).as_ref(), Ok(&target));
        if !target.is_asterisk() && !target.has_encoded_slash() {
            assert_no_climbing(target.path());
        }
        if pattern.matches(&target) {
            assert!(pattern.matches_any_reading(&target));
            assert!(is_below_pub(&target), "{text}");
        }
    });
}

/// `/pub/**` means the segments as they decode.
fn is_below_pub(target: &Target) -> bool {
    let path = decoded(target.path().as_bytes());
    path == b"/pub" || path.starts_with(b"/pub/")
}

#[test]
fn hosts() {
    let all = seeds(NAMES, "{H}", b"");
    let words = [
        "good.test",
        ".",
        "xn--",
        ":443",
        "[::1]",
        "@",
        "127.0.0.1",
        "0x7f",
        "\u{3002}",
    ];
    run("host", &all, &words, |input| {
        for parsed in [Host::parse(input), Host::from_sni(input)]
            .into_iter()
            .flatten()
        {
            if let Some(name) = parsed.name() {
                assert_eq!(Host::parse(name.as_bytes()), Ok(parsed.clone()), "{name}");
                let plain =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
                assert!(name.bytes().all(plain), "{name}");
                assert!(name.len() <= 253 && name.split('.').all(|l| (1..=63).contains(&l.len())));
                assert!(name.parse::<IpAddr>().is_err(), "{name}");
            }
        }
        if let Ok(authority) = Authority::parse(input, 443) {
            let field = authority.to_field(443);
            assert_eq!(Authority::parse(field.as_bytes(), 443), Ok(authority));
        }
    });
}

/// Answers every name, and keeps what it was asked.
#[derive(Default)]
struct Keeping {
    asked: parking_lot::Mutex<Vec<Host>>,
    counted: AtomicUsize,
}

impl Answers for Keeping {
    async fn answer(&self, _: IpAddr, name: &Host, _: bool) -> Answer {
        self.asked.lock().push(name.clone());
        Answer::Addresses(vec![Ipv4Addr::new(192, 0, 2, 1).into(); 40], 60)
    }

    fn count(&self, _: Verdict) {
        self.counted.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn dns_messages() {
    let all = seeds(QUERIES, "{id}", b"\x12\x34");
    let settings = dns::Settings::default();
    let words = [
        "\0\x01\0\x01",
        "\x04good\x04test\0",
        "\0\0\x29",
        "\x01\0\0\x01",
    ];
    run("dns", &all, &words, |input| {
        for transport in [Transport::Udp, Transport::Tcp] {
            let answers = Keeping::default();
            let client = Ipv4Addr::LOCALHOST.into();
            let reply = dns::reply(&answers, &settings, client, transport, input);
            let reply = reply.now_or_never().unwrap();
            assert_eq!(answers.counted.load(Ordering::Relaxed), 1);
            let asked = answers.asked.lock();
            assert!(asked.len() <= 1 && asked.iter().all(|name| name.name().is_some()));
            let Some(reply) = reply else { continue };
            assert_eq!(reply[..2], input[..2]);
            assert!(reply[2] & 0x80 != 0, "a reply is a response");
            assert!(transport == Transport::Tcp || reply.len() <= 1232);
            Message::from_vec(&reply).unwrap();
        }
    });
}

const RULES: &str = r#"
[[rule]]
name = "no"
hosts = ["good.test"]
paths = ["/pub/private/**"]
action = "deny"
reason = "private"
[[rule]]
name = "open"
hosts = ["good.test", "*.wild.test"]
methods = ["GET", "POST"]
paths = ["/pub/**"]
query = { v = "1" }
"#;

/// A folder with these two files, loaded.
fn load(portreeve: &[u8], rules: &[u8]) -> Result<Loaded, config::Findings> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(folder.path().join("portreeve.toml"), portreeve).unwrap();
    std::fs::write(folder.path().join("rules/a.toml"), rules).unwrap();
    let env = Env::fixed(folder.path(), [("STATE_DIRECTORY", "/state")]);
    config::load(Some(&folder.path().join("portreeve.toml")), &env)
}

#[test]
fn rule_matches() {
    let policy = load(b"rules = \"rules\"", RULES.as_bytes())
        .unwrap()
        .policy(1);
    let agent = AgentName::new("default");
    let mut all = vec![
        b"GET good.test /pub/a?v=1".to_vec(),
        b"POST a.wild.test /pub/?v=1&w=2".to_vec(),
        b"GET wild.test /pub/a?v=1".to_vec(),
        b"GET good.test /pub/private/a?v=1".to_vec(),
        b"GET good.test /pub/%70rivate/a?%76=1".to_vec(),
    ];
    for path in seeds(PATHS, "{H}", b"") {
        all.push([b"GET good.test ", &path[..], b"?v=1"].concat());
    }
    let words = [
        "good.test",
        ".wild.test",
        "/pub/",
        "/private/",
        "v=1",
        "&v=2",
        "%31",
        "GET",
        ";",
    ];
    let allowed = RefCell::new(0_u64);
    run("rule match", &all, &words, |input| {
        let text = String::from_utf8_lossy(input);
        let mut parts = text.splitn(3, ' ');
        let [method, host, target] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let (Ok(method), Ok(authority), Ok(target)) = (
            Method::from_bytes(method.as_bytes()),
            Authority::parse(host.as_bytes(), 443),
            Target::parse(target),
        ) else {
            return;
        };
        let request = Request {
            scheme: Scheme::Https,
            method: method.clone(),
            authority: authority.clone(),
            target: target.clone(),
            headers: HeaderMap::new(),
        };
        if let Decision::Allow(_) = policy.decide(&agent, request) {
            *allowed.borrow_mut() += 1;
            assert!(method == Method::GET || method == Method::POST);
            assert_eq!(authority.port, 443);
            let name = authority.host.name().unwrap();
            let wild = name
                .strip_suffix(".wild.test")
                .is_some_and(|rest| !rest.is_empty());
            assert!(name == "good.test" || wild, "{name}");
            assert!(is_below_pub(&target), "{text}");
            let segments = decoded(target.path().as_bytes());
            let private = segments == b"/pub/private" || segments.starts_with(b"/pub/private/");
            assert!(name != "good.test" || !private, "{text}");
        }
    });
    assert!(*allowed.borrow() > 0, "nothing is ever allowed");
}

#[test]
fn configurations() {
    const BOX: &str = include_str!("../config/examples/portreeve.toml");
    let all: Vec<Vec<u8>> = [BOX, RULES, "rules = \"rules\"\n", "[[rule]]\n[[agent]]\n"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
    let words = [
        "[[rule]]\n",
        "[limits]\n",
        " = ",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "1s",
        "é",
        "\0",
    ];
    run("config", &all, &words, |input| {
        for (portreeve, rules) in [(input, &b""[..]), (b"rules = \"rules\"", input)] {
            match load(portreeve, rules) {
                Ok(loaded) => drop(loaded.warnings.to_string()),
                Err(findings) => assert!(findings.has_errors() && !findings.to_string().is_empty()),
            }
        }
    });
}

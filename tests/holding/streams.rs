//! I7 over HTTP/2: what the framing layer of a library would not let an agent send.

use crate::common::{World, inside};
use crate::frames::{Block, HEADERS, Raw, request};
use crate::lab::{Agents, Alice, config, echo, good, h1};

const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/open"]
"#;

/// Fields that a request in HTTP/2 may not have (RFC 9113 section 8.2).
const BAD_FIELDS: [(&[u8], &[u8]); 20] = [
    (b"connection", b"close"),
    (b"keep-alive", b"1"),
    (b"proxy-connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"websocket"),
    (b"te", b"gzip"),
    (b"te", b"trailers, chunked"),
    (b"X-Upper", b"1"),
    (b"transfer-encoding ", b"chunked"),
    (b"x:y", b"1"),
    (b"x y", b"1"),
    (b"", b"1"),
    (b"x\r\ntransfer-encoding", b"chunked"),
    (b"x", b"1\r\ntransfer-encoding: chunked"),
    (b"x", b"1\nhost: other.test"),
    (b"x", b"1\0"),
    (b"host", b"other.test"),
    (b"content-length", b"+5"),
    (b":path", b"/denied"),
    (b":protocol", b"websocket"),
];

const METHOD: (&[u8], &[u8]) = (b":method", b"POST");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"https");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"good.test");
const PATH: (&[u8], &[u8]) = (b":path", b"/open");

/// Pseudo-fields that are missing, doubled, late or not what they should be.
const BAD_HEADS: [Block<'static>; 16] = [
    &[SCHEME, AUTHORITY, PATH],
    &[METHOD, AUTHORITY, PATH],
    &[METHOD, SCHEME, PATH],
    &[METHOD, SCHEME, AUTHORITY],
    &[METHOD, SCHEME, AUTHORITY, PATH, PATH],
    &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
    &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
    &[METHOD, SCHEME, AUTHORITY, (b"x", b"1"), PATH],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"open")],
    &[
        METHOD,
        SCHEME,
        AUTHORITY,
        (b":path", b"/open HTTP/1.1\r\nx: y"),
    ],
    &[
        METHOD,
        SCHEME,
        AUTHORITY,
        (b":path", b"https://good.test/open"),
    ],
    &[METHOD, SCHEME, (b":authority", b"user@good.test"), PATH],
    &[METHOD, SCHEME, (b":authority", b"other.test"), PATH],
    &[METHOD, (b":scheme", b"http"), AUTHORITY, PATH],
    &[
        (b":method", b"GET /denied HTTP/1.1\r\n"),
        SCHEME,
        AUTHORITY,
        PATH,
    ],
];

/// Whether a stream was answered with 200: the index of `:status: 200` in the static table.
fn is_ok(raw: &mut Raw<'_>, stream: u32) -> bool {
    let fate = raw.fate(stream);
    fate.is_some_and(|frame| frame.kind == HEADERS && frame.payload.first() == Some(&0x88))
}

#[test]
fn i7_an_h2_head_with_two_readings_is_refused() {
    inside(|| {
        let world = World::new();
        let (server, other) = (good(&world), h1(&world, echo));
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let fields = BAD_FIELDS.map(|field| request(b"/open", &[field]));
        let heads = BAD_HEADS.map(<[_]>::to_vec);
        for head in fields.iter().chain(&heads) {
            let mut raw = Raw::new(&agents, Alice, "good.test");
            raw.headers(1, head, true);
            let text = head
                .iter()
                .map(|(name, value)| (name.escape_ascii(), value.escape_ascii()));
            let text: Vec<_> = text
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            assert!(!is_ok(&mut raw, 1), "{text:#?}");
            assert!(server.connections().is_empty(), "{text:#?}");
        }
        assert!(other.connections().is_empty());
        let mut raw = Raw::new(&agents, Alice, "good.test");
        raw.headers(1, &request(b"/open", &[(b"te", b"trailers")]), true);
        assert!(is_ok(&mut raw, 1), "the good one passes");
    });
}

#[test]
fn i7_an_h2_body_of_another_length_than_declared_never_ends_well() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        for body in [&b"hell"[..], b"hello!", b""] {
            let mut raw = Raw::new(&agents, Alice, "good.test");
            let head = request(b"/open", &[(b"content-length", b"5")]);
            raw.headers(1, &head, false);
            raw.data(1, body, true);
            assert!(!is_ok(&mut raw, 1), "{body:?}");
        }
        let mut raw = Raw::new(&agents, Alice, "good.test");
        raw.headers(1, &request(b"/open", &[(b"content-length", b"5")]), false);
        raw.data(1, b"hello", true);
        assert!(is_ok(&mut raw, 1));
        let bodies: Vec<_> = server.requests().into_iter().map(|r| r.body).collect();
        assert_eq!(bodies, [b"hello"]);
    });
}

#[test]
fn i7_streams_of_one_connection_are_judged_by_themselves() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let mut raw = Raw::new(&agents, Alice, "good.test");
        // The denied one begins while the allowed one is not done, and ends first.
        raw.headers(1, &request(b"/open", &[]), false);
        raw.data(1, b"hel", false);
        raw.headers(3, &request(b"/denied", &[]), true);
        assert!(!is_ok(&mut raw, 3));
        raw.data(1, b"lo", true);
        assert!(is_ok(&mut raw, 1));
        let seen: Vec<_> = server
            .requests()
            .into_iter()
            .map(|r| (r.target, r.body))
            .collect();
        assert_eq!(seen, [("/open".to_owned(), b"hello".to_vec())]);
    });
}

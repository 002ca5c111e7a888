//! I7 over HTTP/2: what the framing layer of a library would not let an agent send.

use crate::common::{World, inside};
use crate::frames::{HEADERS, Raw, request};
use crate::lab::{Agents, Alice, config, good};

const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/open"]
"#;

/// Whether a stream was answered with 200: the index of `:status: 200` in the static table.
fn is_ok(raw: &mut Raw<'_>, stream: u32) -> bool {
    let fate = raw.fate(stream);
    fate.is_some_and(|frame| frame.kind == HEADERS && frame.payload.first() == Some(&0x88))
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

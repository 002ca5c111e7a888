//! I7: what was decided is what is sent, octet by octet, over every pair of protocols.

use std::fmt::Write;

use crate::common::wire::{Fields, Response};
use crate::common::{Request, Upstream, World, inside};
use crate::lab::{Agents, Alice, config, echo, good, h1};

/// Odd, legal, and different from each other to somebody.
const TARGETS: [&str; 20] = [
    "/",
    "/?",
    "/%41",
    "/A",
    "/a;p=1",
    "/a:b",
    "/a@b",
    "/*",
    "/a*b",
    "/a/",
    "/caf%C3%A9",
    "/caf%c3%a9",
    "/a'b(c)!$&+,=~_-.",
    "/100%25",
    "/a%2Fb",
    "/a%3Fb",
    "/a?b?c/d//e/../f",
    "/a?x=%20&y=+&x=%2B&=&&z",
    "/a?q=[1]{2}|3^`4`\\",
    "/a...b/..c",
];

const RULES: &str = r#"
[[rule]]
name = "anything"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]
encoded_slash = true
"#;

/// Values that a second parser or a tidy one would change.
fn odd_fields() -> Fields {
    let fields = [
        ("x-odd", "a  b,, c;\"q\\\"\" ,"),
        ("x-utf8", "caf\u{e9} \u{1f980}"),
        ("x-empty", ""),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("accept", "*/*;q=0.1, text/html"),
        ("content-type", "application/x; charset=\"utf-8\""),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    fields.map(own).to_vec()
}

/// Both servers, as the agent's two protocols reach them.
fn on_every_pair(ask: impl Fn(&Agents<'_>, bool, &'static str, &Upstream)) {
    let world = World::new();
    let servers = [good(&world), h1(&world, echo)];
    let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
    let agents = Agents::new(&world, &gateway);
    for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
        for over_h2 in [false, true] {
            ask(&agents, over_h2, name, server);
        }
    }
    for (server, version) in servers.iter().zip(["HTTP/2", "HTTP/1.1"]) {
        let versions = server.requests().into_iter().map(|r| r.version);
        assert!(versions.into_iter().all(|v| v == version));
    }
}

/// One request and what the server received for it.
fn send(
    (agents, over_h2, name, server): (&Agents<'_>, bool, &'static str, &Upstream),
    (method, target, fields, body): (&str, &str, &Fields, &[u8]),
) -> (Response, Request) {
    let before = server.requests().len();
    let response = if over_h2 {
        agents
            .h2(Alice, name)
            .request(method, target, fields, body)
            .unwrap()
    } else {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {name}\r\n");
        for (name, value) in fields {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
        let bytes = [head.as_bytes(), body].concat();
        agents.h1(Alice, name).exchange(bytes).unwrap()
    };
    let requests = server.requests();
    let sent = requests.get(before).cloned().unwrap_or_default();
    assert!(requests.len() <= before + 1, "{target}: {requests:#?}");
    (response, sent)
}

#[test]
fn i7_the_target_that_was_decided_on_is_sent_octet_by_octet() {
    inside(|| {
        let long = format!("/a?{}", "q=%2e%2E&".repeat(1700));
        on_every_pair(|agents, over_h2, name, server| {
            for target in TARGETS.into_iter().chain([long.as_str()]) {
                let way = (agents, over_h2, name, server);
                let (response, sent) = send(way, ("GET", target, &Vec::new(), b""));
                assert_eq!(response.status, 200, "{target}: {}", response.text());
                assert_eq!(sent.target, target, "h2 {over_h2} to {name}");
            }
        });
    });
}

#[test]
fn i7_method_fields_and_body_are_sent_as_they_came() {
    inside(|| {
        let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        on_every_pair(|agents, over_h2, name, server| {
            for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
                let way = (agents, over_h2, name, server);
                let (response, sent) = send(way, (method, "/m", &odd_fields(), &body));
                assert_eq!(response.status, 200, "{method}: {}", response.text());
                assert_eq!(sent.method, method);
                assert!(sent.body == body, "{method} h2 {over_h2} to {name}");
                for (field, _) in odd_fields() {
                    let of_field = |(key, _): &&(String, String)| *key == field;
                    let odd = odd_fields();
                    let expected: Vec<_> = odd.iter().filter(of_field).map(|f| &f.1).collect();
                    assert_eq!(sent.header_all(&field), expected, "{field} to {name}");
                }
                assert_eq!(sent.sni.as_deref(), Some(name));
                let host = sent.authority.as_deref().or(sent.header("host"));
                assert_eq!(host, Some(name));
            }
        });
    });
}

#[test]
fn i7_what_two_servers_read_differently_is_sent_to_none() {
    inside(|| {
        let ambiguous = [
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/.%2E;x/b",
            "/a//b",
            "/a/;/b",
            "/a%00b",
            "/a%0d%0ab",
            "/a%5Cb",
            "/a%252e%252e/b",
            "/a%zz",
            "/a%",
            "/%ff",
        ];
        on_every_pair(|agents, over_h2, name, server| {
            let before = server.requests().len();
            for target in ambiguous {
                let way = (agents, over_h2, name, server);
                let (response, _) = send(way, ("GET", target, &Vec::new(), b""));
                assert_eq!(response.status, 400, "{target} h2 {over_h2}");
            }
            assert_eq!(server.requests().len(), before);
            let way = (agents, over_h2, name, server);
            assert_eq!(send(way, ("GET", "/a", &Vec::new(), b"")).0.status, 200);
        });
    });
}

//! I7: no request hides in another. HTTP/1, byte by byte.

use crate::common::{World, inside};
use crate::lab::{Agents, Alice, config, echo, good, h1, well_framed_targets};

/// `/denied` is what attackers try to reach.
const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/open"]
"#;

/// A request that must never be seen as one.
const HIDDEN: &str = "GET /denied HTTP/1.1\r\nhost: h1.test\r\n\r\n";

/// Heads that are refused before anything is sent; `{H}` is the Host line.
const BAD_HEADS: [&str; 48] = [
    // Framing with two readings.
    "POST /open HTTP/1.1\r\n{H}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 5, 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: +5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: -5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 05\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 0x5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 5 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length:\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content-length: 18446744073709551621\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}content_length: 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding:\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer_encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.0\r\n{H}transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /open HTTP/1.1\r\n{H}connection: content-length\r\ncontent-length: 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\n{H}connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    // Lines with two readings.
    "GET /open HTTP/1.1\n{H}\r\n",
    "GET /open HTTP/1.1\r\n{H}x: y\n\r\n",
    "GET /open HTTP/1.1\r\n{H}x: y\rz: w\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}x: y\r\n folded\r\n\r\n",
    "GET /open HTTP/1.1\r\n folded: yes\r\n{H}\r\n",
    "GET /open HTTP/1.1\r\n{H}x: a\0b\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}x: a\x01b\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}x : y\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}: y\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}no colon\r\n\r\n",
    "GET /open HTTP/1.1\r\n{H}{H}\r\n",
    "GET /open HTTP/1.1\r\n\r\n",
    "GET http://h1.test/open HTTP/1.1\r\nhost: good.test\r\n\r\n",
    "GET  /open HTTP/1.1\r\n{H}\r\n",
    "GET\t/open\tHTTP/1.1\r\n{H}\r\n",
    "GET /open HTTP/1.2\r\n{H}\r\n",
    "GET /open HTTP/2.0\r\n{H}\r\n",
    "GET /open http/1.1\r\n{H}\r\n",
    "GET /open\r\n{H}\r\n",
];

/// Bodies that go wrong after their request was allowed: the chunks after a good head.
const BAD_CHUNKS: [&str; 13] = [
    "5;ext=1\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\ntransfer-encoding : x\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\n\r\n",
];

#[test]
fn i7_a_head_with_two_readings_is_refused_and_the_connection_closed() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        for bad in BAD_HEADS {
            let mut client = agents.h1(Alice, "h1.test");
            let bytes = bad.replace("{H}", "host: h1.test\r\n") + HIDDEN;
            let response = client.exchange(&bytes).unwrap();
            assert_eq!(response.status, 400, "{bad:?}: {}", response.text());
            assert_eq!(response.header("connection"), Some("close"), "{bad:?}");
            assert!(client.read_to_close().is_empty(), "{bad:?}");
        }
        assert!(
            server.connections().is_empty(),
            "{server:#?}",
            server = server.connections()
        );
        gateway.wait_records(BAD_HEADS.len(), |r| r["http.response.status_code"] == 400);
        // The plain one among them would have passed.
        let mut client = agents.h1(Alice, "h1.test");
        assert_eq!(client.get("/open").unwrap().status, 200);
    });
}

#[test]
fn i7_a_body_with_two_readings_never_ends_well_at_the_server() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        for name in ["good.test", "h1.test"] {
            for bad in BAD_CHUNKS {
                let mut client = agents.h1(Alice, name);
                let head = format!(
                    "POST /open HTTP/1.1\r\nhost: {name}\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                let response = client.exchange(head + bad + HIDDEN).unwrap();
                assert_eq!(response.status, 400, "{bad:?}: {}", response.text());
                assert!(client.read_to_close().is_empty(), "{bad:?}");
            }
        }
        for server in &servers {
            assert!(server.requests().is_empty(), "{:#?}", server.requests());
        }
        assert!(well_framed_targets(&servers[1]).is_empty());
    });
}

#[test]
fn i7_a_request_in_a_body_stays_a_body() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            let mut client = agents.h1(Alice, name);
            for method in ["GET", "POST", "DELETE"] {
                let host = format!("{method} /open HTTP/1.1\r\nhost: {name}\r\n");
                let length = HIDDEN.len();
                for rest in [
                    format!("content-length: {length}\r\n\r\n{HIDDEN}"),
                    format!("transfer-encoding: chunked\r\n\r\n{chunk}"),
                ] {
                    let response = client.exchange(host.clone() + &rest).unwrap();
                    assert_eq!(response.text(), format!("{method} /open"));
                }
            }
            let requests = server.requests();
            assert_eq!(requests.len(), 6, "{name}");
            for request in requests {
                assert_eq!(
                    (request.target.as_str(), request.body.as_slice()),
                    ("/open", HIDDEN.as_bytes())
                );
            }
        }
        assert_eq!(well_framed_targets(&servers[1]).len(), 6);
    });
}

#[test]
fn i7_a_pipelined_request_is_judged_by_itself() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        let open = "POST /open HTTP/1.1\r\nhost: h1.test\r\ncontent-length: 5\r\n\r\nhello";
        client.send(format!("{open}{HIDDEN}{open}")).unwrap();
        let statuses = [(); 3].map(|()| client.response().unwrap().status);
        assert_eq!(statuses, [200, 403, 200]);
        assert_eq!(well_framed_targets(&server), ["/open", "/open"]);
    });
}

#[test]
fn i7_a_request_of_http_0_9_gets_nothing() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        let response = client.exchange("GET /open\r\n\r\n").unwrap();
        assert_eq!(response.status, 400);
        client.read_to_close();
        assert!(server.connections().is_empty());
    });
}

//! I9: every deadline, with a short configured value. Asserted is that it ends, and why;
//! never when.

use tokio::io::AsyncWriteExt;

use crate::common::client::Tls;
use crate::common::world::THIRD;
use crate::common::{World, inside};
use crate::frames::{HEADERS, RST_STREAM, Raw, get, request};
use crate::lab::{
    Agents, Alice, Bob, Gate, echo, good, h1, h1_custom, holding, next_request, reason, start,
    wait_metric, wait_reason, well_framed_targets, write,
};

/// Short enough for a test; whatever else takes place has the usual time.
fn short(name: &str) -> String {
    format!("[timeouts]\n{name} = \"100ms\"\n")
}

#[test]
fn i9_hello() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = start(&world, &short("hello"));
        let agents = Agents::new(&world, &gateway);
        let beginnings: [&[u8]; 4] = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GE"];
        for beginning in beginnings {
            let mut client = agents.tcp(Alice, 443);
            client.send(beginning).unwrap();
            client.read_to_close();
        }
        let records = wait_reason(&gateway, 4, "handshake_timeout");
        assert!(
            records
                .iter()
                .all(|r| r["portreeve.record.kind"] == "connection")
        );
        let labels = [("reason", "handshake_timeout")];
        wait_metric(
            &gateway,
            "portreeve_connections_refused_total",
            &labels,
            |n| n >= 4.0,
        );
        assert!(server.connections().is_empty());
        assert_eq!(agents.h1(Bob, "good.test").get("/").unwrap().status, 200);
    });
}

#[test]
fn i9_handshake() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = start(&world, &short("handshake"));
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.tcp(Alice, 443);
        client.send(client_hello("good.test")).unwrap();
        // The gateway answers, the agent does not go on.
        assert_eq!(client.read_exact(1).unwrap(), [22]);
        client.read_to_close();
        let records = wait_reason(&gateway, 1, "handshake_timeout");
        assert_eq!(records[0]["tls.client.server_name"], "good.test");
        assert!(server.connections().is_empty());
    });
}

/// The first flight of a real client.
fn client_hello(name: &'static str) -> Vec<u8> {
    let ca = crate::common::TestCa::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async move {
        use tokio::io::AsyncReadExt;
        let (near, mut far) = tokio::io::duplex(65_536);
        let tls = Tls::new(ca.pem(), &["http/1.1"]);
        let greeting = tokio::spawn(async move { drop(tls.greet(near, name).await) });
        let mut head = [0; 5];
        far.read_exact(&mut head).await.unwrap();
        let length = u16::from_be_bytes([head[3], head[4]]);
        let mut body = vec![0; length.into()];
        far.read_exact(&mut body).await.unwrap();
        greeting.abort();
        [&head[..], &body].concat()
    })
}

#[test]
fn i9_head_and_idle() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = start(&world, "[timeouts]\nhead = \"100ms\"\nidle = \"100ms\"\n");
        let agents = Agents::new(&world, &gateway);
        let mut slow = agents.h1(Alice, "good.test");
        let response = slow
            .exchange("GET /slow HTTP/1.1\r\nhost: good.test\r\nx: ")
            .unwrap();
        assert_eq!(response.status, 408);
        assert_eq!(response.header("connection"), Some("close"));
        slow.read_to_close();
        wait_reason(&gateway, 1, "request_timeout");
        // Between requests there is nothing to be told: the connection just ends.
        let mut idle = agents.h1(Alice, "good.test");
        assert_eq!(idle.get("/before").unwrap().status, 200);
        assert!(idle.read_to_close().is_empty());
        assert!(agents.h1(Alice, "good.test").read_to_close().is_empty());
        let mut h2 = Raw::new(&agents, Alice, "good.test");
        assert!(h2.fate(1).is_none());
        let seen: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(seen, ["/before"]);
        wait_metric(&gateway, "portreeve_connections_active", &[], |n| n < 1.0);
    });
}

#[test]
fn i9_body() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let tables = short("body") + "[limits]\nhold_bytes = \"8B\"\n";
        let gateway = start(&world, &tables);
        let agents = Agents::new(&world, &gateway);
        for name in ["good.test", "h1.test"] {
            // Held, streamed by length, streamed in chunks.
            for rest in [
                "content-length: 8\r\n\r\nhel",
                "content-length: 100\r\n\r\nhel",
                "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n",
            ] {
                let head = format!("POST /stalled HTTP/1.1\r\nhost: {name}\r\n");
                let mut client = agents.h1(Alice, name);
                let response = client.exchange(head + rest).unwrap();
                assert_eq!(response.status, 408, "{rest:?}: {}", response.text());
                client.read_to_close();
            }
            let mut raw = Raw::new(&agents, Alice, name);
            let mut head = request(b"/stalled", &[]);
            head[2] = (b":authority", name.as_bytes());
            raw.headers(1, &head, false);
            raw.data(1, b"hel", false);
            assert_eq!(raw.fate(1).unwrap().kind, HEADERS);
            assert_eq!(agents.h1(Bob, name).get("/bob").unwrap().status, 200);
        }
        wait_reason(&gateway, 8, "request_timeout");
        for server in servers {
            let seen: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
            assert_eq!(seen, ["/bob"]);
        }
    });
}

#[test]
fn i9_connect() {
    inside(|| {
        let world = World::new();
        good(&world);
        let [v4, _] = THIRD;
        world.internet.nft(&format!(
            "table inet hole {{\nchain arrivals {{\ntype filter hook input priority 0\n\
             ip daddr {v4} drop\n}}\n}}\n"
        ));
        let gateway = start(&world, &short("connect"));
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "hole.test");
        assert_eq!(client.get("/hole").unwrap().status, 504);
        assert_eq!(reason(&gateway, "/hole"), "connect_timeout");
        assert_eq!(agents.h1(Bob, "good.test").get("/").unwrap().status, 200);
    });
}

#[test]
fn i9_first_byte() {
    inside(|| {
        let world = World::new();
        let server = holding(&world, &Gate::new());
        let gateway = start(&world, &short("first_byte"));
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "h1.test");
        assert_eq!(client.get("/hold").unwrap().status, 504);
        assert_eq!(reason(&gateway, "/hold"), "upstream_timeout");
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        // It was sent once, and its connection is not used again.
        assert_eq!(client.get("/next").unwrap().status, 200);
        assert_eq!(well_framed_targets(&server), ["/hold", "/bob", "/next"]);
        let first = server.wait_connection("an end", |connection| connection.closed);
        assert!(first.bytes.starts_with(b"GET /hold"));
    });
}

#[test]
fn i9_response() {
    inside(|| {
        let world = World::new();
        h1_custom(&world, |mut stream| async move {
            let mut buffer = Vec::new();
            next_request(&mut stream, &mut buffer).await?;
            let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
            write(&mut stream, half.as_bytes()).await?;
            std::future::pending().await
        });
        let gateway = start(&world, &short("response"));
        let agents = Agents::new(&world, &gateway);
        assert!(agents.h1(Alice, "h1.test").get("/one").is_err());
        assert_eq!(reason(&gateway, "/one"), "upstream_timeout");
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        raw.headers(1, &get("h1.test", "/two"), true);
        while raw.fate(1).unwrap().kind != RST_STREAM {}
        assert_eq!(reason(&gateway, "/two"), "upstream_timeout");
    });
}

#[test]
fn i9_write_to_an_agent_that_does_not_read() {
    inside(|| {
        let world = World::new();
        let server = h1_custom(&world, |mut stream| async move {
            let mut buffer = Vec::new();
            next_request(&mut stream, &mut buffer).await?;
            write(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&vec![b'x'; 65_536]).await?;
            }
        });
        let gateway = start(&world, &short("write"));
        let agents = Agents::new(&world, &gateway);
        let mut deaf = agents.h1(Alice, "h1.test");
        deaf.send("GET /one HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        assert_eq!(reason(&gateway, "/one"), "agent_closed");
        // HTTP/2 says it with a window that never grows.
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        raw.headers(1, &get("h1.test", "/two"), true);
        while raw.fate(1).unwrap().kind != RST_STREAM {}
        assert_eq!(reason(&gateway, "/two"), "agent_closed");
        // And the server is told that nobody listens any more.
        for _ in 0..2 {
            server.wait_connection("an end", |connection| connection.closed);
        }
        drop(deaf);
    });
}

#[test]
fn i9_write_to_a_server_that_does_not_read() {
    inside(|| {
        let world = World::new();
        h1_custom(&world, |stream| async move {
            let _kept = stream;
            std::future::pending().await
        });
        let gateway = start(
            &world,
            "[timeouts]\nwrite = \"100ms\"\nfirst_byte = \"100ms\"\n",
        );
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "h1.test");
        let body = "x".repeat(16 << 20);
        let head = format!(
            "POST /deaf HTTP/1.1\r\nhost: h1.test\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let response = client.exchange(head + &body);
        let refused = response
            .as_ref()
            .map_or(true, |response| response.status >= 502);
        assert!(refused, "{response:?}");
        assert_eq!(reason(&gateway, "/deaf"), "upstream_timeout");
    });
}

//! I9: every limit, reached with a small configured value: it refuses that agent's work and
//! nobody else's, and it is counted.

use crate::common::{Answer, GatewayProcess, World, inside};
use crate::frames::{HEADERS, RST_STREAM, Raw, get};
use crate::lab::{
    Agents, Alice, Bob, Client, Gate, echo, good, h1, holding, reason, start, wait_metric,
    wait_reason, well_framed_targets,
};

fn refused(gateway: &GatewayProcess<'_>, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    gateway.metric("portreeve_refusals_total", &labels)
        + gateway.metric("portreeve_connections_refused_total", &labels)
}

/// Alice's request is refused with this status and reason, on both protocols where there is
/// one; Bob is still served.
fn refuses(
    (gateway, agents): (&GatewayProcess<'_>, &Agents<'_>),
    (status, reason): (u16, &str),
    requests: &[&str],
) {
    let before = refused(gateway, reason);
    for request in requests {
        let mut client = agents.h1(Alice, "h1.test");
        let response = client.exchange(request).unwrap();
        assert_eq!(response.status, status, "{}", response.text());
        assert!(client.read_to_close().is_empty());
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
    }
    let records = wait_reason(gateway, requests.len(), reason);
    assert!(
        records
            .iter()
            .all(|record| record["portreeve.agent"] == "alice")
    );
    assert!(refused(gateway, reason) - before >= 0.9);
}

#[test]
fn i9_connections_per_agent() {
    inside(|| {
        let world = World::new();
        h1(&world, echo);
        let gateway = start(&world, "[limits]\nconnections_per_agent = 2\n");
        let agents = Agents::new(&world, &gateway);
        let mut held = [(); 2].map(|()| agents.h1(Alice, "h1.test"));
        for _ in 0..3 {
            assert!(agents.try_h1(Alice, "h1.test").is_err());
        }
        let mut bob = agents.h1(Bob, "h1.test");
        assert_eq!(bob.get("/").unwrap().status, 200);
        for client in &mut held {
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        wait_metric(
            &gateway,
            "portreeve_connections_refused_total",
            &[("reason", "connection_limit")],
            |n| n >= 3.0,
        );
        drop(held);
        wait_metric(&gateway, "portreeve_connections_active", &[], |n| n < 2.0);
        assert_eq!(agents.h1(Alice, "h1.test").get("/").unwrap().status, 200);
    });
}

#[test]
fn i9_connections() {
    inside(|| {
        let world = World::new();
        h1(&world, echo);
        let tables = "[limits]\nconnections = 3\nconnections_per_agent = 2\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let mut held: Vec<Client<'_>> = [Alice, Alice, Bob]
            .map(|who| agents.h1(who, "h1.test"))
            .into();
        // Bob has one to go by his own limit, but there is none left.
        assert!(agents.try_h1(Bob, "h1.test").is_err());
        assert_eq!(held[2].get("/").unwrap().status, 200);
        drop(held);
        wait_metric(&gateway, "portreeve_connections_active", &[], |n| n < 1.0);
        assert_eq!(agents.h1(Bob, "h1.test").get("/").unwrap().status, 200);
        assert!(refused(&gateway, "connection_limit") >= 1.0);
    });
}

#[test]
fn i9_head_bytes_head_fields_and_uri_bytes() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let tables = "[limits]\nhead_bytes = \"1KiB\"\nhead_fields = 8\nuri_bytes = \"100B\"\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let way = (&gateway, &agents);
        let head = "GET / HTTP/1.1\r\nhost: h1.test\r\n";
        let long = format!("{head}x: {}\r\n\r\n", "a".repeat(1100));
        let endless = format!("{head}x: {}", "a".repeat(1100));
        let many = format!("{head}{}\r\n", "x: 1\r\n".repeat(9));
        refuses(way, (431, "head_too_large"), &[&long, &endless, &many]);
        let target = format!("GET /{} HTTP/1.1\r\nhost: h1.test\r\n\r\n", "a".repeat(100));
        refuses(way, (414, "uri_too_long"), &[&target]);
        assert!(
            server
                .requests()
                .iter()
                .all(|request| request.target == "/bob")
        );
    });
}

#[test]
fn i9_head_limits_of_http2() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let tables = "[limits]\nhead_bytes = \"1KiB\"\nhead_fields = 8\nuri_bytes = \"100B\"\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let client = agents.h2(Alice, "good.test");
        let field = |value: &str| ("x".to_owned(), value.to_owned());
        let many = vec![field("1"); 9];
        assert_eq!(
            client.request("GET", "/many", &many, b"").unwrap().status,
            431
        );
        assert_eq!(reason(&gateway, "/many"), "head_too_large");
        let target = format!("/{}", "a".repeat(100));
        assert_eq!(client.get(&target).unwrap().status, 414);
        let long = vec![field(&"a".repeat(1100))];
        assert_eq!(
            client.request("GET", "/long", &long, b"").unwrap().status,
            431
        );
        assert_eq!(client.get("/good").unwrap().status, 200);
        assert_eq!(agents.h2(Bob, "good.test").get("/bob").unwrap().status, 200);
        let seen: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(seen, ["/good", "/bob"]);
        wait_reason(&gateway, 2, "head_too_large");
    });
}

#[test]
fn i9_body_bytes_declared_and_streamed() {
    inside(|| {
        let world = World::new();
        let (server, second) = (h1(&world, echo), good(&world));
        let gateway = start(
            &world,
            "[limits]\nbody_bytes = \"1KiB\"\nhold_bytes = \"512B\"\n",
        );
        let head = "POST /big HTTP/1.1\r\nhost: h1.test\r\n";
        let body = "a".repeat(1025);
        let declared = format!("{head}content-length: 1025\r\n\r\n{body}");
        let streamed =
            format!("{head}transfer-encoding: chunked\r\n\r\n401\r\n{body}\r\n0\r\n\r\n");
        let agents = Agents::new(&world, &gateway);
        refuses(
            (&gateway, &agents),
            (413, "body_too_large"),
            &[&declared, &streamed],
        );
        // Before a byte of it, and not to its end.
        assert!(
            well_framed_targets(&server)
                .iter()
                .all(|target| target == "/bob")
        );
        let client = agents.h2(Alice, "good.test");
        let length = vec![("content-length".to_owned(), "1025".to_owned())];
        for fields in [vec![], length] {
            let big = client.request("POST", "/big", &fields, body.as_bytes());
            assert_eq!(big.unwrap().status, 413);
        }
        let fits = client.request("POST", "/fits", &Vec::new(), &body.as_bytes()[..1024]);
        assert_eq!(fits.unwrap().status, 200);
        let seen: Vec<_> = second.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(seen, ["/fits"]);
    });
}

#[test]
fn i9_streams() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let gateway = start(&world, "[limits]\nstreams = 2\n");
        let agents = Agents::new(&world, &gateway);
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        for stream in [1, 3] {
            raw.headers(stream, &get("h1.test", "/hold"), true);
        }
        server.wait_connections(2);
        raw.headers(5, &get("h1.test", "/third"), true);
        let fate = raw.fate(5).unwrap();
        let refused_stream = 7_u32.to_be_bytes();
        assert_eq!(
            (fate.kind, &fate.payload[..]),
            (RST_STREAM, &refused_stream[..])
        );
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        gate.open();
        let mut answered = Vec::new();
        while answered.len() < 2 {
            let frame = raw.next().unwrap();
            answered.extend((frame.kind == HEADERS).then_some(frame.stream));
        }
        answered.sort_unstable();
        assert_eq!(answered, [1, 3]);
        raw.headers(7, &get("h1.test", "/fourth"), true);
        assert_eq!(raw.fate(7).unwrap().kind, HEADERS);
        let targets = well_framed_targets(&server);
        assert!(!targets.contains(&"/third".to_owned()), "{targets:?}");
    });
}

#[test]
fn i9_upstream_connections_per_agent() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let gateway = start(&world, "[limits]\nupstream_connections_per_agent = 1\n");
        let agents = Agents::new(&world, &gateway);
        let mut first = agents.h1(Alice, "h1.test");
        first
            .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        server.wait_connection("a request", |connection| !connection.bytes.is_empty());
        let mut second = agents.h1(Alice, "h1.test");
        assert_eq!(second.get("/second").unwrap().status, 503);
        assert_eq!(reason(&gateway, "/second"), "upstream_limit");
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        let limit = [("limit", "limits.upstream_connections_per_agent")];
        assert!(gateway.metric("portreeve_limit_reached_total", &limit) >= 1.0);
        gate.open();
        assert_eq!(first.response().unwrap().status, 200);
        assert_eq!(second.get("/again").unwrap().status, 200);
        assert!(!well_framed_targets(&server).contains(&"/second".to_owned()));
    });
}

#[test]
fn i9_refused_leaves_per_second() {
    inside(|| {
        let world = World::new();
        h1(&world, echo);
        let gateway = start(&world, "[limits]\nrefused_leaves_per_second = 1\n");
        let agents = Agents::new(&world, &gateway);
        // A burst is granted; it ends.
        let refused_one = (0..1000).any(|number| {
            let name = format!("name-{number}.test").leak();
            agents.try_h1(Alice, name).is_err()
        });
        assert!(refused_one, "1000 refused names got a leaf");
        wait_reason(&gateway, 1, "mint_limit");
        assert!(refused(&gateway, "mint_limit") >= 1.0);
        // Not others, and not what is allowed.
        assert_eq!(agents.h1(Bob, "bob.test").get("/").unwrap().status, 403);
        assert_eq!(agents.h1(Alice, "h1.test").get("/").unwrap().status, 200);
    });
}

#[test]
fn i9_interim_responses() {
    inside(|| {
        let world = World::new();
        h1(&world, |request| {
            let count = request.target[1..].parse().unwrap_or(0);
            let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count);
            Answer::raw(interim + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        });
        let gateway = start(&world, "[limits]\ninterim_responses = 2\n");
        let agents = Agents::new(&world, &gateway);
        for (count, status) in [(2, 200), (3, 502)] {
            let mut client = agents.h1(Alice, "h1.test");
            let path = format!("/{count}");
            assert_eq!(client.get(&path).unwrap().status, 103);
            assert_eq!(client.response().unwrap().status, 103);
            assert_eq!(client.response().unwrap().status, status);
        }
        assert_eq!(reason(&gateway, "/3"), "upstream_malformed");
        assert!(refused(&gateway, "upstream_malformed") >= 1.0);
        assert_eq!(agents.h1(Bob, "h1.test").get("/0").unwrap().status, 200);
    });
}

#[test]
fn i9_audit_queue() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let gateway = start(&world, "[audit]\nqueue = 2\n");
        let agents = Agents::new(&world, &gateway);
        let mut held = [(); 2].map(|()| agents.h1(Alice, "h1.test"));
        for client in &mut held {
            client
                .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
                .unwrap();
        }
        server.wait_connections(2);
        let mut third = agents.h1(Alice, "h1.test");
        let response = third.get("/third").unwrap();
        assert_eq!(response.status, 503);
        assert!(
            response.text().contains("urn:portreeve:audit_full"),
            "{}",
            response.text()
        );
        let labels = [("reason", "audit_full")];
        wait_metric(&gateway, "portreeve_refusals_total", &labels, |n| n >= 1.0);
        assert!(gateway.metric("portreeve_audit_refused_total", &[]) >= 1.0);
        gate.open();
        for client in &mut held {
            assert_eq!(client.response().unwrap().status, 200);
        }
        wait_metric(&gateway, "portreeve_audit_reserved_records", &[], |n| {
            n < 1.0
        });
        wait_metric(&gateway, "portreeve_audit_queued_records", &[], |n| n < 1.0);
        assert_eq!(third.get("/again").unwrap().status, 200);
        assert!(!well_framed_targets(&server).contains(&"/third".to_owned()));
    });
}

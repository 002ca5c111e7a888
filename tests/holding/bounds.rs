//! I9, where a limit is not told by one request alone: what runs, is held, is kept and is
//! recorded at a time.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::world::OTHER;
use crate::common::{Answer, GatewayProcess, Upstream, World, inside};
use crate::frames::{GOAWAY, RST_STREAM, Raw, SETTINGS, frame, get};
use crate::lab::{
    Agents, Alice, Bob, GOOD, Gate, Who, config, echo, good, h1, holding, reason, start,
    wait_metric, wait_reason, well_framed_targets,
};
use crate::name_server::NameServer;

fn limit_reached(limit: &'static str) -> [(&'static str, &'static str); 1] {
    [("limit", limit)]
}

/// Frame types (RFC 9113 §6.7, §6.3, §6.9).
const PING: u8 = 6;
const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;

const HOLD: &str = "GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n";

const REACHED: &str = "portreeve_limit_reached_total";

#[test]
fn i9_requests_per_agent() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let gateway = start(&world, "[limits]\nrequests_per_agent = 1\n");
        let agents = Agents::new(&world, &gateway);
        let mut first = agents.h1(Alice, "h1.test");
        first
            .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        server.wait_connection("a request", |connection| !connection.bytes.is_empty());
        let mut second = agents.h1(Alice, "h1.test");
        assert_eq!(second.get("/second").unwrap().status, 429);
        assert_eq!(reason(&gateway, "/second"), "request_limit");
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        let limit = limit_reached("limits.requests_per_agent");
        assert!(gateway.metric(REACHED, &limit) >= 1.0);
        gate.open();
        assert_eq!(first.response().unwrap().status, 200);
        assert_eq!(
            agents.h1(Alice, "h1.test").get("/third").unwrap().status,
            200
        );
        assert!(!well_framed_targets(&server).contains(&"/second".to_owned()));
    });
}

/// How many requests wait for their agent's share.
fn waiting(gateway: &GatewayProcess<'_>, count: f64) {
    wait_metric(gateway, "portreeve_requests_waiting", &[], |n| {
        (n - count).abs() < 0.5
    });
}

#[test]
fn i9_request_share() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let tables =
            "[limits]\nrequests_per_agent = 1\n[timeouts]\nrequest_share = \"1h\"\nhead = \"1s\"\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let [mut first, mut second] = [(); 2].map(|()| agents.h1(Alice, "h1.test"));
        first.send(HOLD).unwrap();
        server.wait_connection("a request", |connection| !connection.bytes.is_empty());
        second
            .send("GET /second HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        waiting(&gateway, 1.0);
        assert_eq!(well_framed_targets(&server), ["/hold"]);
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        // Another deadline, longer than the default of this one, passes meanwhile.
        let unfinished = agents.h1(Bob, "h1.test").exchange("GET /slow HTTP/1.1\r\n");
        assert_eq!(unfinished.unwrap().status, 408);
        waiting(&gateway, 1.0);
        gate.open();
        assert_eq!(first.response().unwrap().status, 200);
        assert_eq!(second.response().unwrap().status, 200);
        waiting(&gateway, 0.0);
        assert!(gateway.metric("portreeve_request_waits_total", &[]) > 0.5);
        let limit = limit_reached("limits.requests_per_agent");
        assert!(gateway.metric(REACHED, &limit) < 0.5, "none was refused");
    });
}

/// What waits for its own agent's share keeps nothing from others: neither by many streams
/// nor by many connections can an agent take the places of the audit log.
#[test]
fn i9_a_request_that_waits_for_its_share_holds_no_place_in_the_log() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let tables = "[limits]\nrequests_per_agent = 1\n[timeouts]\nrequest_share = \"1h\"\n\
                      [audit]\nqueue = 2\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let mut first = agents.h1(Alice, "h1.test");
        first.send(HOLD).unwrap();
        server.wait_connection("a request", |connection| !connection.bytes.is_empty());
        let mut streams = Raw::new(&agents, Alice, "h1.test");
        for stream in [1, 3, 5, 7] {
            streams.headers(stream, &get("h1.test", "/waits"), true);
        }
        waiting(&gateway, 4.0);
        let reserved = gateway.metric("portreeve_audit_reserved_records", &[]);
        assert!(reserved < 1.5, "{reserved} places are held");
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        assert!(gateway.metric("portreeve_audit_refused_total", &[]) < 0.5);
        gate.open();
        assert_eq!(first.response().unwrap().status, 200);
        waiting(&gateway, 0.0);
    });
}

/// Two bodies of 3 KiB, of which Alice's stays unfinished: the second is refused.
fn holds_one(tables: &str, second: Who, limit: &'static str) {
    let world = World::new();
    let server = h1(&world, echo);
    let gateway = start(
        &world,
        &format!("[limits]\nhold_bytes = \"4KiB\"\n{tables}"),
    );
    let agents = Agents::new(&world, &gateway);
    let head = "POST /held HTTP/1.1\r\nhost: h1.test\r\ncontent-length: 3072\r\n\r\n";
    let mut first = agents.h1(Alice, "h1.test");
    first.send(format!("{head}begun")).unwrap();
    wait_metric(&gateway, "portreeve_audit_reserved_records", &[], |n| {
        n >= 1.0
    });
    let body = "x".repeat(3072);
    let mut refused = agents.h1(second, "h1.test");
    assert_eq!(refused.post("/refused", &body).unwrap().status, 503);
    assert_eq!(reason(&gateway, "/refused"), "hold_limit");
    assert!(gateway.metric(REACHED, &limit_reached(limit)) >= 1.0);
    assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
    first.send(&body[5..]).unwrap();
    assert_eq!(first.response().unwrap().status, 200);
    // The next one on a connection begins when what the one before held is given back.
    assert_eq!(first.get("/next").unwrap().status, 200);
    let again = agents.h1(second, "h1.test").post("/again", &body);
    assert_eq!(again.unwrap().status, 200);
    assert!(!well_framed_targets(&server).contains(&"/refused".to_owned()));
}

#[test]
fn i9_held_bytes() {
    let tables = "held_bytes = \"5KiB\"\nheld_bytes_per_agent = \"5KiB\"\n";
    inside(|| holds_one(tables, Bob, "limits.held_bytes"));
}

#[test]
fn i9_held_bytes_per_agent() {
    let tables = "held_bytes = \"8KiB\"\nheld_bytes_per_agent = \"5KiB\"\n";
    inside(|| holds_one(tables, Alice, "limits.held_bytes_per_agent"));
}

#[test]
fn i9_hold_and_resolve() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        // A name server that takes every question and answers none.
        let _silent = world.internet.block_on(async {
            let address = "203.0.113.2:53".parse::<std::net::SocketAddr>().unwrap();
            tokio::net::UdpSocket::bind(address).await.unwrap()
        });
        let tables = "[timeouts]\nhold = \"100ms\"\nresolve = \"100ms\"\n";
        let text = config("", tables).replace(
            "[upstream]\n",
            "[upstream]\nnameservers = [\"203.0.113.2\"]\n",
        );
        let rules = "[[rule]]\nname = \"all\"\nagents = [\"alice\", \"bob\"]\nhosts = [\"h1.test\", \"silent.test\"]\n";
        let gateway = world.gateway_process(&text, &[("rules.toml", rules)]);
        let agents = Agents::new(&world, &gateway);
        let head = "POST /held HTTP/1.1\r\nhost: h1.test\r\ncontent-length: 100\r\n\r\nbegun";
        let mut slow = agents.h1(Alice, "h1.test");
        assert_eq!(slow.exchange(head).unwrap().status, 408);
        assert_eq!(reason(&gateway, "/held"), "request_timeout");
        let mut unresolved = agents.h1(Alice, "silent.test");
        assert!(unresolved.get("/name").unwrap().status >= 502);
        assert_eq!(reason(&gateway, "/name"), "resolver_failed");
        assert_eq!(agents.h1(Bob, "h1.test").get("/bob").unwrap().status, 200);
        assert_eq!(well_framed_targets(&server), ["/bob"]);
    });
}

#[test]
fn i9_hello_bytes() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = start(&world, "[limits]\nhello_bytes = \"1KiB\"\n");
        let agents = Agents::new(&world, &gateway);
        // A record of 2 KiB with a ClientHello that goes on.
        let mut hello = b"\x16\x03\x01\x08\x00\x01\x00\x10\x00\x03\x03".to_vec();
        hello.resize(2048, 0);
        let mut client = agents.tcp(Alice, 443);
        client.send(hello).unwrap();
        client.read_to_close();
        wait_reason(&gateway, 1, "bad_hello");
        let labels = [("reason", "bad_hello")];
        wait_metric(
            &gateway,
            "portreeve_connections_refused_total",
            &labels,
            |n| n >= 1.0,
        );
        assert!(server.connections().is_empty());
    });
}

#[test]
fn i9_upstream_connections() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let tables = "[limits]\nupstream_connections = 1\nupstream_connections_per_agent = 1\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let mut first = agents.h1(Alice, "h1.test");
        first
            .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        server.wait_connection("a request", |connection| !connection.bytes.is_empty());
        let mut second = agents.h1(Bob, "h1.test");
        assert_eq!(second.get("/second").unwrap().status, 503);
        assert_eq!(reason(&gateway, "/second"), "upstream_limit");
        let limit = limit_reached("limits.upstream_connections");
        assert!(gateway.metric(REACHED, &limit) >= 1.0);
        gate.open();
        assert_eq!(first.response().unwrap().status, 200);
        let idle = [("protocol", "1.1")];
        wait_metric(
            &gateway,
            "portreeve_upstream_connections_idle",
            &idle,
            |n| n >= 1.0,
        );
        // The one connection makes room, though not to every request that finds none.
        let guard = Instant::now() + Duration::from_secs(60);
        while second.get("/again").unwrap().status != 200 {
            assert!(Instant::now() < guard, "an idle connection makes no room");
        }
        assert!(!well_framed_targets(&server).contains(&"/second".to_owned()));
    });
}

#[test]
fn i9_idle_upstream_connections_beyond_the_limit_are_closed() {
    for limit in ["upstream_idle", "upstream_idle_per_key"] {
        inside(|| {
            let world = World::new();
            let gate = Gate::new();
            let server = holding(&world, &gate);
            let gateway = start(&world, &format!("[limits]\n{limit} = 1\n"));
            let agents = Agents::new(&world, &gateway);
            let mut clients = [(); 3].map(|()| agents.h1(Alice, "h1.test"));
            for client in &mut clients {
                client
                    .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
                    .unwrap();
            }
            server.wait_connections(3);
            gate.open();
            for client in &mut clients {
                assert_eq!(client.response().unwrap().status, 200);
            }
            let open = [("protocol", "1.1")];
            wait_metric(
                &gateway,
                "portreeve_upstream_connections_open",
                &open,
                |n| n < 1.5,
            );
            assert_eq!(clients[0].get("/next").unwrap().status, 200);
            assert_eq!(server.connections().len(), 3, "one was kept");
        });
    }
}

/// With 32 kept, each request of 96 connections at a time made a connection of its own.
#[test]
fn connections_of_a_burst_are_kept_for_the_next() {
    inside(|| {
        const BURST: usize = 96;
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut clients = [(); BURST].map(|()| agents.h1(Alice, "h1.test"));
        for client in &mut clients {
            client.send(HOLD).unwrap();
        }
        server.wait_connections(BURST);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().unwrap().status, 200);
        }
        let idle = [("protocol", "1.1")];
        let family = "portreeve_upstream_connections_idle";
        wait_metric(&gateway, family, &idle, |n| n > 95.5);
        assert_eq!(clients[0].get("/next").unwrap().status, 200);
        assert_eq!(server.connections().len(), BURST);
    });
}

#[test]
fn i9_caches_of_leaves_and_of_names() {
    inside(|| {
        const NAMES: usize = 300;
        let world = World::new();
        let tls = world.ca.server(&["*.many.test"]);
        let server = Upstream::https(&world.internet, OTHER, 443, tls, |_| Answer::ok("fine"));
        let name_server = NameServer::with_ttl(&world.internet, 3600, |_, v6| {
            let address = OTHER[0];
            (!v6).then_some(address).into_iter().collect()
        });
        let tables = "[limits]\nleaves = 20\nresolved_names = 20\nlookups_per_second = 100000\n";
        let text = config("", tables).replace(
            "[upstream]\n",
            "[upstream]\nnameservers = [\"203.0.113.2\"]\n",
        );
        let rules = "[[rule]]\nname = \"many\"\nagents = [\"alice\"]\nhosts = [\"*.many.test\"]\n";
        let gateway = world.gateway_process(&text, &[("rules.toml", rules)]);
        let agents = Agents::new(&world, &gateway);
        for number in 0..NAMES {
            let name = format!("n{number}.many.test").leak();
            assert_eq!(agents.h1(Alice, name).get("/").unwrap().status, 200);
        }
        let entries = [("names", "allowed")];
        // It evicts in batches.
        wait_metric(&gateway, "portreeve_leaf_cache_entries", &entries, |n| {
            n < 100.0
        });
        wait_metric(&gateway, "portreeve_resolver_cache_entries", &[], |n| {
            n < 100.0
        });
        assert_eq!(server.requests().len(), NAMES);
        let asked: HashSet<String> = name_server
            .asked()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(asked.len(), NAMES);
    });
}

#[test]
fn i9_decoded_bytes() {
    const RULES: &str = r#"
[[credential]]
name = "key"
secret = { env = "KEY" }
hosts = ["h1.test"]
attach = { bearer = true }
[[rule]]
name = "keyed"
agents = ["alice"]
hosts = ["h1.test"]
credential = "key"
"#;
    inside(|| {
        let world = World::new();
        h1(&world, |request| {
            let length = request.target[1..].parse().unwrap();
            let mut packed = GzEncoder::new(Vec::new(), Compression::best());
            packed.write_all(&vec![b'x'; length]).unwrap();
            Answer::ok(packed.finish().unwrap()).header("content-encoding", "gzip")
        });
        let tables = "[limits]\ndecoded_bytes = \"1MiB\"\n";
        let gateway = world
            .gateway_builder(&config("", tables))
            .rule("rules.toml", RULES)
            .env("KEY", "a-key-that-nobody-echoes")
            .start();
        let agents = Agents::new(&world, &gateway);
        let fits = agents.h1(Alice, "h1.test").get("/1000000").unwrap();
        assert_eq!(fits.status, 200);
        // 64 MiB in 64 KiB: its end never comes.
        assert!(agents.h1(Alice, "h1.test").get("/67108864").is_err());
        let limit = limit_reached("limits.decoded_bytes");
        wait_metric(&gateway, REACHED, &limit, |n| n >= 1.0);
        assert_eq!(reason(&gateway, "/67108864"), "undecodable");
    });
}

#[test]
fn i9_records_of_refused_connections() {
    inside(|| {
        const KNOCKS: u32 = 50;
        let world = World::new();
        h1(&world, echo);
        let tables = "[limits]\nrefused_connection_records_per_second = 1\n\
                      connections_per_agent = 1\n";
        let gateway = start(&world, tables);
        let agents = Agents::new(&world, &gateway);
        let _held = agents.h1(Alice, "h1.test");
        for _ in 0..KNOCKS {
            assert!(agents.try_h1(Alice, "h1.test").is_err());
        }
        let limit = limit_reached("limits.refused_connection_records_per_second");
        wait_metric(&gateway, REACHED, &limit, |n| n >= 1.0);
        let refused = [("reason", "connection_limit")];
        wait_metric(
            &gateway,
            "portreeve_connections_refused_total",
            &refused,
            |n| n >= f64::from(KNOCKS),
        );
        let recorded = wait_reason(&gateway, 1, "connection_limit").len();
        let counted = gateway.metric(REACHED, &limit);
        assert!(counted + 0.5 >= f64::from(KNOCKS) - f64::from(u32::try_from(recorded).unwrap()));
        assert_eq!(agents.h1(Bob, "h1.test").get("/").unwrap().status, 200);
    });
}

#[test]
fn i9_what_a_name_may_say() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let tables = "[limits]\nlookup_name_bits = 100\n";
        let rules = "[[rule]]\nname = \"wild\"\nagents = [\"alice\"]\nhosts = [\"*.h1.test\"]\n";
        let gateway = world.gateway_process(&config("", tables), &[("rules.toml", rules)]);
        let agents = Agents::new(&world, &gateway);
        let telling = "mzxw6ytboi2dknrtgq4tqmrqgeydcmjs.h1.test";
        let mut client = agents.h1(Alice, telling);
        assert_eq!(client.get("/telling").unwrap().status, 403);
        assert_eq!(reason(&gateway, "/telling"), "name_entropy");
        let limit = limit_reached("limits.lookup_name_bits");
        assert!(gateway.metric(REACHED, &limit) >= 1.0);
        assert!(server.connections().is_empty());
    });
}

#[test]
fn i9_control_frames() {
    inside(|| {
        let world = World::new();
        good(&world);
        h1(&world, echo);
        let gateway = start(&world, "[limits]\ncontrol_frames = 100\n");
        let agents = Agents::new(&world, &gateway);
        let mut raw = Raw::new(&agents, Alice, "good.test");
        raw.0.send(frame(PING, 0, 0, &[0; 8]).repeat(300)).unwrap();
        let mut pongs = 0;
        let end = loop {
            let next = raw.next().unwrap();
            match next.kind {
                PING => pongs += 1,
                GOAWAY => break next,
                _ => {}
            }
        };
        // ENHANCE_YOUR_CALM (RFC 9113 §7).
        assert_eq!(end.payload[4..8], 11_u32.to_be_bytes());
        assert!(pongs <= 200, "{pongs}");
        assert!(raw.next().is_err());
        let records = wait_reason(&gateway, 1, "rate_limited");
        assert_eq!(records[0]["portreeve.agent"], "alice");
        let limit = limit_reached("limits.control_frames");
        assert!(gateway.metric(REACHED, &limit) >= 1.0);
        // Another connection, even of the same agent, goes on.
        assert_eq!(agents.h2(Alice, "good.test").get("/").unwrap().status, 200);
        assert_eq!(agents.h1(Bob, "h1.test").get("/").unwrap().status, 200);
    });
}

/// What an HTTP/2 server may send without end, after its SETTINGS.
#[test]
fn i9_a_flooding_server_is_left() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    inside(|| {
        let world = World::new();
        let mut tls = world.ca.server(&["good.test"]);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let floods: [Vec<u8>; 6] = [
            frame(PING, 0, 0, &[0; 8]),
            frame(SETTINGS, 0, 0, &[]),
            frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()),
            frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
            frame(200, 0, 0, b"unknown"),
        ];
        let count = floods.len();
        let server = Upstream::custom(&world.internet, GOOD, 443, Some(tls), move |mut stream| {
            let flood = floods[stream.index % floods.len()].repeat(100);
            async move {
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
                let mut seen = [0; 4096];
                // Until the gateway closes; whatever it sends is read.
                loop {
                    stream.write_all(&flood).await?;
                    stream.flush().await?;
                    let read = tokio::select! {
                        biased;
                        read = stream.read(&mut seen) => read?,
                        () = std::future::ready(()) => 1,
                    };
                    if read == 0 {
                        return Ok(());
                    }
                }
            }
        });
        h1(&world, echo);
        let gateway = start(&world, "[limits]\ncontrol_frames = 1000\n");
        let agents = Agents::new(&world, &gateway);
        for number in 0..count {
            let response = agents.h1(Alice, "good.test").get("/").unwrap();
            assert!(response.status >= 502, "{number}: {}", response.text());
            assert_eq!(agents.h1(Bob, "h1.test").get("/").unwrap().status, 200);
            // It is gone, not kept for the next request.
            server.wait_connections(number + 1);
        }
        let limit = limit_reached("limits.control_frames");
        wait_metric(&gateway, REACHED, &limit, |n| n >= 4.0);
    });
}

//! I10: what is neither TLS nor HTTP is closed, and never passed on because it was not
//! understood.

use crate::common::Upstream;
use crate::common::{World, inside};
use crate::lab::{ANYTHING, Agents, Alice, GOOD, config, good, wait_reason};

/// Clear openings that are no HTTP/1.
const OPENINGS: [&[u8]; 9] = [
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"\xde\xad\xbe\xef\x00\x01\x02\x03\xff\xfe\xfd\xfc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", // SSLv2
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",             // PostgreSQL asks for TLS
    b"\x05\x01\x00",                                 // SOCKS 5
    b"*1\r\n$4\r\nPING\r\n",
    b"get / HTTP/1.1\r\nhost: good.test\r\n\r\n",
    b"\x13BitTorrent protocol",
];

/// Both ports of `good.test`, where everything is recorded.
fn recorders(world: &World) -> [Upstream; 2] {
    [80, 443].map(|port| Upstream::recorder(&world.internet, GOOD, port))
}

const CLEAR: &str = "schemes = [\"https\", \"http\"]\nports = [80, 443]\n";

#[test]
fn i10_unknown_protocols_are_closed() {
    inside(|| {
        let world = World::new();
        let servers = recorders(&world);
        let rules = format!("{ANYTHING}{CLEAR}");
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", &rules)]);
        let agents = Agents::new(&world, &gateway);
        for opening in OPENINGS {
            for port in [80, 443] {
                let mut client = agents.tcp(Alice, port);
                client.send(opening).unwrap();
                let answer = client.read_to_close();
                assert!(answer.is_empty(), "{}", answer.escape_ascii());
            }
        }
        wait_reason(&gateway, 2 * OPENINGS.len(), "unknown_protocol");
        assert!(servers.iter().all(|server| server.connections().is_empty()));
        let labels = [("reason", "unknown_protocol")];
        let refused = gateway.metric("portreeve_connections_refused_total", &labels);
        assert!((refused - 18.0).abs() < 0.5, "{refused}");
    });
}

#[test]
fn i10_a_protocol_where_the_server_speaks_first_ends_in_silence() {
    inside(|| {
        let world = World::new();
        let servers = recorders(&world);
        let tables = "[timeouts]\nhello = \"50ms\"\n";
        let gateway = world.gateway_process(&config("", tables), &[("rules.toml", ANYTHING)]);
        let agents = Agents::new(&world, &gateway);
        assert!(agents.tcp(Alice, 443).read_to_close().is_empty());
        wait_reason(&gateway, 1, "handshake_timeout");
        assert!(servers.iter().all(|server| server.connections().is_empty()));
    });
}

#[test]
fn i10_unknown_protocols_inside_tls_are_closed() {
    inside(|| {
        let world = World::new();
        let servers = recorders(&world);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", ANYTHING)]);
        let agents = Agents::new(&world, &gateway);
        for alpn in [&["http/1.1"][..], &[]] {
            for opening in OPENINGS {
                let mut client = agents.tls(Alice, "good.test", alpn).unwrap();
                client.send(opening).unwrap();
                // Some cannot be told from a slow head: the agent ends those.
                client.finish();
                let answer = client.read_to_close();
                let refused = answer.starts_with(b"HTTP/1.1 4") || answer.is_empty();
                assert!(refused, "{}", answer.escape_ascii());
            }
        }
        // HTTP/2 agreed on, and then something else.
        let mut client = agents.tls(Alice, "good.test", &["h2"]).unwrap();
        client
            .send("GET / HTTP/1.1\r\nhost: good.test\r\n\r\n")
            .unwrap();
        client.read_to_close();
        assert!(servers.iter().all(|server| server.connections().is_empty()));
    });
}

#[test]
fn i10_an_unknown_alpn_gets_no_handshake() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", ANYTHING)]);
        let agents = Agents::new(&world, &gateway);
        for alpn in [&["foo"][..], &["foo", "bar"], &["h3"], &["postgresql"]] {
            assert!(agents.tls(Alice, "good.test", alpn).is_err(), "{alpn:?}");
        }
        wait_reason(&gateway, 4, "handshake_failed");
        assert!(server.connections().is_empty());
        // Among others, those that are known are chosen.
        let mut client = agents
            .tls(Alice, "good.test", &["foo", "http/1.1"])
            .unwrap();
        assert_eq!(client.get("/").unwrap().status, 200);
    });
}

//! `tls = "splice"`: undecrypted, to the name as the gateway resolves it, and nowhere else.

use tokio::io::AsyncWriteExt;

use crate::common::client::{H1, Tls, tcp};
use crate::common::world::{ATTACKER, OTHER, SERVER};
use crate::common::{Answer, GatewayProcess, TestCa, Upstream, World, inside};

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24"]
[upstream.resolve]
"pinned.test" = ["203.0.113.10"]
"inside.test" = ["127.0.0.1"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

const RULES: &str = r#"
[[rule]]
name = "pinned"
agents = ["builder"]
hosts = ["pinned.test", "inside.test"]
tls = "splice"
"#;

fn gateway<'w>(world: &'w World, tables: &str) -> GatewayProcess<'w> {
    world.gateway_process(&format!("{CONFIG}{tables}"), &[("rules.toml", RULES)])
}

/// A server whose CA nobody but its client knows.
fn pinned(world: &World) -> (Upstream, TestCa) {
    let ca = TestCa::new();
    let server = Upstream::https(
        &world.internet,
        SERVER,
        443,
        ca.server(&["pinned.test"]),
        |request| Answer::ok(format!("pinned {}", request.target)),
    );
    (server, ca)
}

/// Wherever the agent aims, the one that was resolved gets the connection, and the agent sees
/// its certificate.
#[test]
fn i3_a_spliced_name_reaches_only_what_it_resolves_to() {
    inside(|| {
        let world = World::new();
        let (server, ca) = pinned(&world);
        let attacker = Upstream::recorder(&world.internet, ATTACKER, 443);
        let gateway = gateway(&world, "");
        let tls = Tls::new(ca.pem(), &["http/1.1"]);
        for address in [SERVER[0], ATTACKER[0], OTHER[0]] {
            let tls = tls.clone();
            world.agent.block_on(async move {
                // The handshake fails with any certificate but the server's own.
                let stream = tls.connect((address, 443), "pinned.test").await.unwrap();
                let mut h1 = H1::new(stream);
                let get = "GET /whither HTTP/1.1\r\nhost: pinned.test\r\nconnection: close\r\n\r\n";
                let response = h1.exchange(get).await.unwrap();
                assert_eq!(response.text(), "pinned /whither");
            });
        }
        assert_eq!(server.wait_requests(3).len(), 3);
        assert!(attacker.connections().is_empty());
        let records =
            gateway.wait_records(3, |record| record["portreeve.record.kind"] == "connection");
        for record in records {
            assert_eq!(record["portreeve.verdict"], "splice");
            assert_eq!(record["portreeve.rule"], "pinned");
            assert_eq!(record["server.address"], "pinned.test");
            assert_eq!(record["network.peer.address"], SERVER[0].to_string());
            assert_eq!(record["http.request.method"], serde_json::Value::Null);
            for key in ["http.request.body.size", "http.response.body.size"] {
                assert!(record[key].as_u64().unwrap() > 100, "{record}");
            }
        }
        let spliced = [("rule", "pinned"), ("verdict", "splice")];
        assert_eq!(
            gateway.metric("portreeve_rule_requests_total", &spliced),
            3.0
        );
        let bytes = gateway.metric("portreeve_spliced_bytes_total", &[("direction", "request")]);
        assert!(bytes > 300.0);
        assert_eq!(gateway.metric("portreeve_leaf_mints_total", &[]), 0.0);
    });
}

#[test]
fn what_may_be_for_another_name_is_not_spliced() {
    inside(|| {
        let world = World::new();
        let (server, ca) = pinned(&world);
        let gateway = gateway(&world, "");
        let tls = Tls::new(ca.pem(), &[]);
        world.agent.block_on(async move {
            let ech = hello("pinned.test", [0xfe, 0x0d]);
            assert_eq!(answer(&ech).await, [21, 3, 3, 0, 2, 2, 49]);
            // Without a name there is nothing to resolve.
            let nameless = tls.without_sni();
            assert!(
                nameless
                    .connect((SERVER[0], 443), "pinned.test")
                    .await
                    .is_err()
            );
            // I8: a spliced name leads into no forbidden network.
            let inside = hello("inside.test", [0, 43]);
            assert_eq!(answer(&inside).await, [21, 3, 3, 0, 2, 2, 49]);
            // Clear HTTP has no rule here.
            let mut h1 = H1::new(tcp((SERVER[0], 80)).await.unwrap());
            let response = h1
                .exchange("GET / HTTP/1.1\r\nhost: pinned.test\r\n\r\n")
                .await;
            assert_eq!(response.unwrap().status, 403);
        });
        for reason in ["encrypted_hello", "no_server_name", "forbidden_network"] {
            let records = gateway.wait_records(1, |record| record["portreeve.reason"] == reason);
            assert_eq!(records[0]["portreeve.verdict"], "deny", "{reason}");
        }
        assert!(server.connections().is_empty());
    });
}

/// A ClientHello with this name and one more, empty extension.
fn hello(name: &str, extension: [u8; 2]) -> Vec<u8> {
    let of = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let mut entry = vec![0];
    entry.extend(of(name.len()));
    entry.extend(name.as_bytes());
    let mut extensions = vec![0, 0];
    extensions.extend(of(entry.len() + 2));
    extensions.extend(of(entry.len()));
    extensions.extend(entry);
    extensions.extend(extension);
    extensions.extend([0, 0]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(of(extensions.len()));
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(of(body.len()));
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(of(message.len()));
    record.extend(message);
    record
}

async fn answer(hello: &[u8]) -> Vec<u8> {
    let mut stream = tcp((SERVER[0], 443)).await.unwrap();
    stream.write_all(hello).await.unwrap();
    H1::new(stream).read_to_close().await.unwrap()
}

#[test]
fn too_many_bytes_end_a_spliced_connection() {
    inside(|| {
        let world = World::new();
        let (_server, ca) = pinned(&world);
        let gateway = gateway(&world, "[limits]\nsplice_bytes = \"64KiB\"\n");
        let tls = Tls::new(ca.pem(), &["http/1.1"]);
        world.agent.block_on(async move {
            let stream = tls.connect((SERVER[0], 443), "pinned.test").await.unwrap();
            let mut large = H1::new(stream);
            let head = "POST / HTTP/1.1\r\nhost: pinned.test\r\ncontent-length: 1000000\r\n\r\n";
            let _ = large.send(head).await;
            let _ = large.send(vec![b'x'; 1_000_000]).await;
            assert!(large.response().await.is_err());
        });
        let ended = |record: &serde_json::Value| record["portreeve.reason"] == "splice_too_large";
        let records = gateway.wait_records(1, ended);
        assert_eq!(records[0]["portreeve.verdict"], "splice");
        let reached = [("limit", "limits.splice_bytes")];
        assert_eq!(
            gateway.metric("portreeve_limit_reached_total", &reached),
            1.0
        );
    });
}

#[test]
fn what_is_idle_ends() {
    inside(|| {
        let world = World::new();
        let (_server, ca) = pinned(&world);
        let gateway = gateway(&world, "[timeouts]\ntunnel = \"500ms\"\n");
        let tls = Tls::new(ca.pem(), &["http/1.1"]);
        world.agent.block_on(async move {
            // On a busy machine the handshake itself may take as long.
            if let Ok(stream) = tls.connect((SERVER[0], 443), "pinned.test").await {
                let _ = H1::new(stream).read_to_close().await;
            }
        });
        let ended = |record: &serde_json::Value| record["portreeve.reason"] == "idle_timeout";
        let records = gateway.wait_records(1, ended);
        assert_eq!(records[0]["portreeve.verdict"], "splice");
    });
}

/// However much passes.
#[test]
fn a_long_life_ends() {
    inside(|| {
        let world = World::new();
        let (_server, ca) = pinned(&world);
        let gateway = gateway(&world, "[timeouts]\ntunnel_life = \"2s\"\n");
        let tls = Tls::new(ca.pem(), &["http/1.1"]);
        world.agent.block_on(async move {
            // On a busy machine the handshake itself may take as long.
            if let Ok(stream) = tls.connect((SERVER[0], 443), "pinned.test").await {
                let mut busy = H1::new(stream);
                let get = "GET / HTTP/1.1\r\nhost: pinned.test\r\n\r\n";
                while busy.exchange(get).await.is_ok() {}
            }
        });
        let expired = |record: &serde_json::Value| record["portreeve.reason"] == "tunnel_expired";
        let records = gateway.wait_records(1, expired);
        assert_eq!(records[0]["portreeve.verdict"], "splice");
        let reached = [("limit", "timeouts.tunnel_life")];
        let family = "portreeve_limit_reached_total";
        assert_eq!(gateway.metric(family, &reached), 1.0);
    });
}

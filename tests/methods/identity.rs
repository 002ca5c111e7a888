//! `upstream_identity`: a valid certificate alone does not get a credential.

use crate::common::pki;
use crate::common::world::OTHER;
use crate::common::{Answer, GatewayProcess, TestCa, Upstream, World, inside};
use crate::{CONFIG, NAMES, assert_refused, contains, received, send, server};

const CANARY: &str = "canary-3f2c1e77";

fn rules(identity: &str) -> String {
    format!(
        r#"
[[credential]]
name = "api"
secret = {{ file = "../canary" }}
hosts = ["api.good.test"]
attach = {{ bearer = true }}
upstream_identity = {identity}
[[rule]]
name = "api"
agents = ["builder"]
hosts = ["api.good.test"]
credential = "api"
"#
    )
}

/// Both CAs are trusted; the name leads to `address`.
fn config(address: &str) -> String {
    CONFIG
        .replace(
            r#"["upstream-ca.pem"]"#,
            r#"["upstream-ca.pem", "second-ca.pem"]"#,
        )
        .replace(
            r#""api.good.test" = ["203.0.113.10", "2001:db8:1::10"]"#,
            &format!(r#""api.good.test" = ["{address}"]"#),
        )
}

fn get(world: &World, gateway: &GatewayProcess<'_>) -> crate::common::wire::Response {
    let request = "GET / HTTP/1.1\r\nhost: api.good.test\r\n\r\n";
    send(world, gateway, "api.good.test", request)
}

fn start<'w>(world: &'w World, second: &TestCa, rules: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(&config("203.0.113.10"))
        .rule("rules.toml", rules)
        .secret("canary", CANARY)
        .secret("second-ca.pem", second.pem())
        .start()
}

#[test]
fn an_impostor_with_a_valid_certificate_gets_nothing() {
    inside(|| {
        let world = World::new();
        let second = TestCa::new();
        let first = server(&world, |_| Answer::ok("first"));
        let mut tls = second.server(&NAMES);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let impostor =
            Upstream::https(&world.internet, OTHER, 443, tls, |_| Answer::ok("impostor"));
        let mut gateway = start(&world, &second, &rules("\"remember\""));
        assert_eq!(get(&world, &gateway).text(), "first");
        let move_to = |gateway: &mut GatewayProcess<'_>, address: &str| {
            gateway.terminate();
            std::fs::write(gateway.folder().join("portreeve.toml"), config(address)).unwrap();
            gateway.start();
        };
        move_to(&mut gateway, "203.0.113.11");
        let refused = get(&world, &gateway);
        assert_refused(&refused, 502, "upstream_identity");
        assert!(refused.text().contains("`api`"), "{}", refused.text());
        assert!(
            received(&impostor).is_empty(),
            "not a byte after the handshake"
        );
        assert!(impostor.requests().is_empty());
        move_to(&mut gateway, "203.0.113.10");
        assert_eq!(get(&world, &gateway).text(), "first");
        assert!(contains(&received(&first), CANARY));
    });
}

#[test]
fn servers_by_the_keys_of_their_issuers() {
    inside(|| {
        let world = World::new();
        let second = TestCa::new();
        let server = server(&world, |_| Answer::ok("first"));
        let pin = |ca: &TestCa| format!("[{:?}]", pki::pin(ca.pem()));
        let gateway = start(&world, &second, &rules(&pin(&second)));
        assert_refused(&get(&world, &gateway), 502, "upstream_identity");
        assert!(received(&server).is_empty());
        gateway.write_rule("rules.toml", &rules(&pin(&world.ca)));
        gateway.reload();
        assert_eq!(get(&world, &gateway).text(), "first");
        // A connection that is there is not one for a credential that asks for more.
        gateway.write_rule("rules.toml", &rules(&pin(&second)));
        gateway.reload();
        assert_refused(&get(&world, &gateway), 502, "upstream_identity");
        assert_eq!(server.requests().len(), 1);
    });
}

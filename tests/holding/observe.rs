//! Observe mode: a denial of step 6 is recorded and let through without a credential; all
//! else still refuses.

use crate::common::world::ATTACKER;
use crate::common::{Upstream, World, inside};
use crate::lab::{Agents, Alice, config, echo, good, h1, record};

const RULES: &str = r#"
[[credential]]
name = "key"
secret = { file = "../key" }
hosts = ["good.test"]
attach = { bearer = true }
[[rule]]
name = "never"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/never"]
action = "deny"
reason = "never"
[[rule]]
name = "with-key"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/allowed"]
credential = "key"
"#;

#[test]
fn observe_lets_a_denial_through_without_credential_and_records_it() {
    inside(|| {
        let world = World::new();
        let (server, other) = (good(&world), h1(&world, echo));
        let builder = world.gateway_builder(&config("mode = \"observe\"", ""));
        let builder = builder.rule("rules.toml", RULES).secret("key", "the-key");
        let gateway = builder.start();
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "good.test");
        for path in ["/allowed", "/other", "/never"] {
            assert_eq!(client.get(path).unwrap().status, 200, "{path}");
        }
        assert_eq!(
            agents.h2(Alice, "h1.test").get("/unknown").unwrap().status,
            200
        );
        let keys = server.requests();
        let keys: Vec<_> = keys.iter().map(|r| r.header("authorization")).collect();
        assert_eq!(keys, [Some("Bearer the-key"), None, None]);
        assert_eq!(other.requests()[0].header("authorization"), None);
        for (path, verdict, reason) in [
            ("/allowed", "allow", None),
            ("/other", "observe", Some("no_rule")),
            ("/never", "observe", Some("denied_by_rule")),
            ("/unknown", "observe", Some("no_rule")),
        ] {
            let record = record(&gateway, path);
            assert_eq!(record["portreeve.verdict"], verdict, "{path}");
            assert_eq!(record["portreeve.reason"].as_str(), reason, "{path}");
            let credential = (path == "/allowed").then_some("key");
            assert_eq!(record["portreeve.credential"].as_str(), credential);
        }
        assert!(gateway.metric("portreeve_enforcing", &[]) < 0.5);
        let labels = [("agent", "alice"), ("verdict", "observe")];
        assert!(gateway.metric("portreeve_agent_requests_total", &labels) > 2.5);
    });
}

#[test]
fn observe_refuses_all_that_is_no_decision_of_a_rule() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let attacker = Upstream::recorder(&world.internet, ATTACKER, 443);
        let tables = "[limits]\nbody_bytes = \"8B\"\n";
        let gateway = world.gateway_process(&config("mode = \"observe\"", tables), &[]);
        let agents = Agents::new(&world, &gateway);
        let host = "HTTP/1.1\r\nhost: good.test\r\n";
        for (request, status) in [
            (format!("GET /a/../b {host}\r\n"), 400),
            (format!("GET /a {host}{host}\r\n"), 400),
            ("GET /a HTTP/1.1\r\nhost: h1.test\r\n\r\n".to_owned(), 421),
            (format!("CONNECT good.test:443 {host}\r\n"), 405),
            (
                format!("POST /a {host}content-length: 9\r\n\r\n123456789"),
                413,
            ),
        ] {
            let response = agents.h1(Alice, "good.test").exchange(&request).unwrap();
            assert_eq!(response.status, status, "{request:?}");
        }
        agents
            .tcp(Alice, 443)
            .exchange("SSH-2.0-x\r\n")
            .unwrap_err();
        // The address that the agent dialled plays no part in this mode either.
        let mut spoofed = agents.h1_at((ATTACKER[0], 443), "good.test").unwrap();
        assert_eq!(spoofed.get("/spoofed").unwrap().status, 200);
        assert!(attacker.connections().is_empty());
        let seen: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(seen, ["/spoofed"]);
    });
}

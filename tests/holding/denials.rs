//! I12: no denial without a reason that the agent can read and the operator can find.

use serde_json::Value;

use crate::common::world::SERVER;
use crate::common::{GatewayProcess, World, inside};
use crate::lab::{Agents, Alice, Bob, config, echo, good, h1, wait_reason};

const RULES: &str = r#"
[[rule]]
name = "no-admin"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/admin/**"]
action = "deny"
reason = "ask the operator for admin access"
[[rule]]
name = "reading"
agents = ["alice"]
hosts = ["good.test", "h1.test", "hole.test"]
methods = ["GET", "POST"]
paths = ["/open", "/**"]
schemes = ["https", "http"]
"#;

fn start(world: &World) -> GatewayProcess<'_> {
    world.gateway_process(&config("", ""), &[("rules.toml", RULES)])
}

/// The record that a refusal page names.
fn record_of(gateway: &GatewayProcess<'_>, id: &str) -> Value {
    let records = gateway.wait_records(1, |record| record["portreeve.record.id"] == id);
    assert_eq!(records.len(), 1, "{records:#?}");
    records[0].clone()
}

/// Requests of Alice to `good.test`, each refused with this status and reason.
fn cases() -> Vec<(String, u16, &'static str)> {
    let host = "HTTP/1.1\r\nhost: good.test\r\n";
    vec![
        (format!("DELETE /open {host}\r\n"), 403, "no_rule"),
        (format!("GET /admin/x {host}\r\n"), 403, "denied_by_rule"),
        (format!("GET /a/../b {host}\r\n"), 400, "bad_path"),
        (format!("GET /open {host}{host}\r\n"), 400, "malformed"),
        (
            "GET /open HTTP/1.1\r\nhost: other.test\r\n\r\n".into(),
            421,
            "misdirected",
        ),
        (
            format!("CONNECT good.test:443 {host}\r\n"),
            405,
            "bad_method",
        ),
        (format!("TRACE /open {host}\r\n"), 405, "bad_method"),
        (
            format!("GET /open {host}expect: magic\r\n\r\n"),
            417,
            "bad_expectation",
        ),
        (
            format!("GET /open {host}connection: upgrade\r\nupgrade: websocket\r\n\r\n"),
            501,
            "upgrade_refused",
        ),
        (
            format!("GET /{} {host}\r\n", "a".repeat(20_000)),
            414,
            "uri_too_long",
        ),
        (
            format!("GET /open {host}x: {}\r\n\r\n", "a".repeat(70_000)),
            431,
            "head_too_large",
        ),
    ]
}

#[test]
fn i12_every_denial_has_a_page_and_its_record() {
    inside(|| {
        let world = World::new();
        let (server, plain) = (good(&world), h1(&world, echo));
        let gateway = start(&world);
        let agents = Agents::new(&world, &gateway);
        for (request, status, reason) in cases() {
            let mut client = agents.h1(Alice, "good.test");
            let response = client.exchange(&request).unwrap();
            assert_eq!(response.status, status, "{reason}: {}", response.text());
            assert_eq!(
                response.header("content-type"),
                Some("application/problem+json")
            );
            let proxy_status = response.header("proxy-status").unwrap();
            assert!(
                proxy_status.ends_with(&format!("details={reason}")),
                "{proxy_status}"
            );
            let page: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(page["type"], format!("urn:portreeve:{reason}"));
            assert_eq!(page["status"], status);
            let record = record_of(&gateway, page["record"].as_str().unwrap());
            assert_eq!(record["portreeve.reason"], reason);
            assert_eq!(record["portreeve.verdict"], "deny");
            assert_eq!(record["portreeve.agent"], "alice");
            assert_eq!(record["portreeve.sentence"], page["detail"]);
            assert_eq!(record["http.response.status_code"], status);
        }
        assert!(server.connections().is_empty() && plain.connections().is_empty());
    });
}

#[test]
fn i12_the_page_says_what_would_be_allowed() {
    inside(|| {
        let world = World::new();
        good(&world);
        let gateway = start(&world);
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "good.test");
        let request = "DELETE /open HTTP/1.1\r\nhost: good.test\r\n\r\n";
        let page = client.exchange(request).unwrap().text();
        assert!(
            page.contains("DELETE") && page.contains("good.test"),
            "{page}"
        );
        let page = client.get("/admin/x").unwrap().text();
        assert!(page.contains("ask the operator for admin access"), "{page}");
        // A name that no rule knows has its page, too, and an agent that none names.
        let page = agents.h1(Alice, "evil.test").get("/").unwrap();
        assert_eq!(page.status, 403);
        assert!(page.text().contains("evil.test"), "{}", page.text());
        let page = agents.h1(Bob, "good.test").get("/open").unwrap();
        assert_eq!(page.status, 403);
        let mut clear = agents.tcp(Alice, 80);
        let page = clear
            .exchange("GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n")
            .unwrap();
        assert_eq!(page.status, 403);
        wait_reason(&gateway, 4, "no_rule");
    });
}

#[test]
fn i12_git_gets_text_and_grpc_gets_trailers_only() {
    inside(|| {
        let world = World::new();
        good(&world);
        let gateway = start(&world);
        let agents = Agents::new(&world, &gateway);
        let mut client = agents.h1(Alice, "good.test");
        let request =
            "GET /admin/git HTTP/1.1\r\nhost: good.test\r\nuser-agent: git/2.47.0\r\n\r\n";
        let response = client.exchange(request).unwrap();
        assert_eq!(response.status, 403);
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let text = response.text();
        let id = text
            .split("record ")
            .nth(1)
            .unwrap()
            .trim_end_matches(")\n");
        assert_eq!(record_of(&gateway, id)["url.path"], "/admin/git");

        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let fields = fields.map(own).to_vec();
        let h2 = agents.h2(Alice, "good.test");
        let response = h2.request("POST", "/admin/Call", &fields, b"").unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("grpc-status"), Some("7"));
        let message = response.header("grpc-message").unwrap();
        assert!(message.contains("ask the operator"), "{message}");
        assert!(response.body.is_empty() && response.trailers.is_empty());
        let of_call = |record: &Value| record["url.path"] == "/admin/Call";
        assert_eq!(
            gateway.wait_records(1, of_call)[0]["portreeve.verdict"],
            "deny"
        );
    });
}

#[test]
fn i12_failures_on_the_way_have_a_page_and_a_record() {
    inside(|| {
        let world = World::new();
        // h1.test has a certificate for another name, hole.test listens nowhere.
        let tls = world.ca.server(&["good.test"]);
        let other = crate::common::world::OTHER;
        crate::common::Upstream::https(&world.internet, other, 443, tls, echo);
        let gateway = start(&world);
        let agents = Agents::new(&world, &gateway);
        for (name, reason) in [
            ("h1.test", "upstream_certificate"),
            ("hole.test", "connect_failed"),
        ] {
            let response = agents.h1(Alice, name).get("/open").unwrap();
            assert_eq!(response.status, 502, "{}", response.text());
            let page: Value = serde_json::from_slice(&response.body).unwrap();
            let record = record_of(&gateway, page["record"].as_str().unwrap());
            assert_eq!(record["portreeve.reason"], reason);
            // The rules allowed it: what failed is not their verdict.
            assert_eq!(record["portreeve.verdict"], "allow");
            assert!(
                !response.text().contains("203.0.113."),
                "{}",
                response.text()
            );
        }
    });
}

#[test]
fn i12_refused_connections_leave_records() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = start(&world);
        let agents = Agents::new(&world, &gateway);
        agents
            .tcp(Alice, 443)
            .exchange("SSH-2.0-x\r\n")
            .unwrap_err();
        let mut garbled = agents.tcp(Alice, 443);
        garbled
            .send(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00")
            .unwrap();
        // A fatal alert, decode_error (RFC 8446 section 6).
        assert_eq!(garbled.read_to_close(), b"\x15\x03\x03\x00\x02\x02\x32");
        let tls = crate::common::client::Tls::new(&agents.ca, &[]).without_sni();
        let nameless = async move { tls.connect((SERVER[0], 443), "good.test").await.map(drop) };
        agents.ns.block_on(nameless).unwrap_err();
        let stranger = crate::common::client::Tls::new(world.ca.pem(), &[]);
        let distrust = async move {
            stranger
                .connect((SERVER[0], 443), "good.test")
                .await
                .map(drop)
        };
        agents.ns.block_on(distrust).unwrap_err();
        for reason in [
            "unknown_protocol",
            "bad_hello",
            "no_server_name",
            "handshake_failed",
        ] {
            let records = wait_reason(&gateway, 1, reason);
            assert_eq!(records.len(), 1, "{records:#?}");
            assert_eq!(records[0]["portreeve.record.kind"], "connection");
            assert_eq!(records[0]["portreeve.agent"], "alice");
            assert_eq!(records[0]["portreeve.origin"], "203.0.113.10:443");
            let labels = [("reason", reason)];
            assert!(gateway.metric("portreeve_connections_refused_total", &labels) >= 1.0);
        }
        assert!(
            gateway.metric(
                "portreeve_client_trust_failures_total",
                &[("agent", "alice")]
            ) >= 1.0
        );
        assert!(server.connections().is_empty());
    });
}

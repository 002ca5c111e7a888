//! Several credentials on one rule, and credentials with limits of their own.

use crate::common::{Answer, World, inside};
use crate::{CONFIG, assert_refused, send, server};

const RULES: &str = r#"
[[credential]]
name = "key"
secret = { file = "../one" }
hosts = ["api.good.test"]
attach = { header = "x-api-key" }
[[credential]]
name = "user"
secret = { file = "../two" }
hosts = ["api.good.test"]
attach = { query = "user" }
[[credential]]
name = "read"
secret = { file = "../one" }
hosts = ["api.good.test"]
attach = { bearer = true }
methods = ["GET"]
paths = ["/limited/**"]
[[credential]]
name = "write"
secret = { file = "../two" }
hosts = ["api.good.test"]
attach = { bearer = true }
methods = ["POST"]
[[rule]]
name = "limited"
agents = ["builder"]
hosts = ["api.good.test"]
paths = ["/limited/**"]
credential = ["read", "write"]
[[rule]]
name = "both"
agents = ["builder"]
hosts = ["api.good.test"]
credential = ["key", "user"]
"#;

#[test]
fn all_that_a_rule_names_and_each_within_its_limits() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", RULES)
            .secret("one", "canary-one")
            .secret("two", "canary-two")
            .start();
        let host = "api.good.test";
        let ask = |method: &str, path: &str| {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            send(&world, &gateway, host, request)
        };
        assert_eq!(ask("GET", "/a").status, 200);
        assert_eq!(ask("GET", "/limited/a").status, 200);
        assert_eq!(ask("POST", "/limited/a").status, 200);
        let refused = ask("DELETE", "/limited/a");
        assert_refused(&refused, 403, "denied_by_rule");
        let seen = server.requests();
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[0].target, "/a?user=canary-two");
        assert_eq!(seen[0].header("x-api-key"), Some("canary-one"));
        assert_eq!(seen[1].header("authorization"), Some("Bearer canary-one"));
        assert_eq!(seen[2].header("authorization"), Some("Bearer canary-two"));
        let records = gateway.wait_records(1, |it| it["portreeve.credential"] == "key, user");
        assert_eq!(records.len(), 1);
    });
}

//! I2: the port of the connection is the port of the request, of the rule, and the one dialled.

use crate::common::world::{OTHER, SERVER};
use crate::common::{Answer, Upstream, inside};
use crate::town::{
    Agent, Config, RULES, Town, assert_refused, assert_untouched, get, get_h2, start,
};

const ODD: &str = r#"
[[rule]]
name   = "odd"
agents = ["builder"]
hosts  = ["odd.test"]
ports  = [8443]
"#;

#[test]
fn i2_a_port_is_of_the_rule_and_of_the_connection() {
    inside(|| {
        let town = Town::new();
        let world = &town.world;
        let tls = world.ca.server(&["odd.test", "good.test"]);
        let odd = Upstream::https(&world.internet, OTHER, 8443, tls, |_| Answer::ok("odd"));
        let tls = world.ca.server(&["good.test"]);
        let hidden = Upstream::https(&world.internet, SERVER, 8443, tls, |_| Answer::ok("hidden"));
        let config = Config {
            ports: vec![80, 443, 8443],
            ..Config::default().with("odd.test", &OTHER)
        };
        let gateway = start(world, &config, &format!("{RULES}{ODD}"));
        let agent = Agent::new(world, &gateway);
        for address in SERVER {
            // Its rule has 443 alone; that the agent dialled 8443 does not change that.
            let response = agent.https((address, 8443), "good.test", get("good.test:8443", "/"));
            assert_refused(&response, 403, "no_rule");
            let response = agent.https((address, 443), "odd.test", get("odd.test", "/"));
            assert_refused(&response, 403, "no_rule");
            for (port, sni, host) in [
                (8443, "good.test", "good.test"),
                (8443, "good.test", "good.test:443"),
                (8443, "odd.test", "odd.test"),
                (443, "good.test", "good.test:8443"),
                (443, "good.test", "good.test:80"),
            ] {
                let response = agent.https((address, port), sni, get(host, "/"));
                assert_refused(&response, 421, "misdirected");
                let request = get_h2(&format!("https://{host}/"));
                let response = &agent.h2((address, port), sni, vec![request])[0];
                assert_refused(response, 421, "misdirected");
            }
            // Clear HTTP has a port of its own, too.
            let response = agent.http((address, 80), get("clear.test:443", "/"));
            assert_refused(&response, 421, "misdirected");
            let response = agent.http((address, 8443), get("clear.test:8443", "/"));
            assert_refused(&response, 403, "no_rule");
        }
        let response = agent.https((SERVER[0], 8443), "odd.test", get("odd.test:8443", "/"));
        assert_eq!((response.status, response.text()), (200, "odd".into()));
        let seen = odd.requests();
        let host = seen[0].authority.as_deref().or(seen[0].header("host"));
        assert_eq!((seen.len(), host), (1, Some("odd.test:8443")));
        assert_untouched(world, &hidden, SERVER, 8443);
        town.assert_untouched();
    });
}

//! I4: where a credential goes, and what of the agent's cannot take it elsewhere.

use crate::common::world::{OTHER, SERVER};
use crate::common::{Answer, Upstream, inside};
use crate::town::{
    Agent, CANARY, Config, RULES, Town, assert_refused, assert_untouched, get, get_h2, received,
    start,
};

/// The plain-HTTP steal: the same host by its port without TLS.
#[test]
fn i4_a_credential_never_goes_over_clear_http() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for address in SERVER {
            let response = agent.http((address, 80), get("good.test", "/"));
            assert_refused(&response, 403, "no_rule");
            let response = agent.http((address, 80), get("good.test:443", "/"));
            assert_refused(&response, 421, "misdirected");
            let absolute = "GET https://good.test/ HTTP/1.1\r\nhost: good.test\r\n\r\n";
            let response = agent.http((address, 80), absolute);
            assert_refused(&response, 400, "malformed");
            // TLS to the port that is for clear HTTP is no way around it.
            let response = agent.https((address, 80), "good.test", get("good.test:80", "/"));
            assert_refused(&response, 403, "no_rule");
        }
        town.assert_untouched();
    });
}

#[test]
fn i4_a_clear_rule_for_the_same_host_goes_without_the_credential() {
    inside(|| {
        let town = Town::new();
        let rule = "[[rule]]\nname = \"good-clear\"\nagents = [\"builder\"]\n\
                    hosts = [\"good.test\"]\nschemes = [\"http\"]\nports = [80]\n";
        let gateway = start(&town.world, &Config::default(), &format!("{RULES}{rule}"));
        let agent = Agent::new(&town.world, &gateway);
        // First over TLS, so that there is a connection with the credential to be confused with.
        let response = agent.https((SERVER[0], 443), "good.test", get("good.test", "/"));
        assert_eq!(response.status, 200);
        for address in SERVER {
            let response = agent.http((address, 80), get("good.test", "/clear"));
            assert_eq!(response.status, 200);
        }
        let seen = town.good_clear.requests();
        assert_eq!(seen.len(), 2);
        assert!(
            seen.iter()
                .all(|request| request.header("x-api-key").is_none())
        );
        assert!(!received(&town.good_clear).contains(CANARY));
        town.assert_evil_untouched();
    });
}

/// What the operator writes cannot send it elsewhere either: such a config does not start.
#[test]
fn i4_a_rule_cannot_give_a_credential_to_another_host_or_to_clear_http() {
    inside(|| {
        let town = Town::new();
        let mut gateway = town.start();
        gateway.kill();
        for (rule, word) in [
            ("hosts = [\"plain.test\"]", "plain.test"),
            ("hosts = [\"good.test\", \"plain.test\"]", "plain.test"),
            ("hosts = [\"*.good.test\"]", "*.good.test"),
            ("any_host = true", "any host"),
            (
                "hosts = [\"good.test\"]\nschemes = [\"http\"]",
                "clear HTTP",
            ),
            (
                "hosts = [\"good.test\"]\nschemes = [\"https\", \"http\"]",
                "clear HTTP",
            ),
            ("hosts = [\"good.test\"]\nshare_upstream = true", "share"),
        ] {
            let text = format!(
                "[[rule]]\nname = \"more\"\nagents = [\"builder\"]\ncredential = \"canary\"\n{rule}\n"
            );
            gateway.write_rule("more.toml", &text);
            let output = gateway.command(&["run"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{rule}\n{said}");
            assert!(said.contains("more.toml") && said.contains(word), "{said}");
        }
        town.assert_untouched();
    });
}

#[test]
fn i4_only_the_hosts_of_a_credential_receive_it() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for name in ["good.test", "plain.test", "sub.wild.test"] {
            for to in [(SERVER[0], 443), (OTHER[1], 443)] {
                assert_eq!(agent.https(to, name, get(name, "/")).status, 200);
                let request = get_h2(&format!("https://{name}/"));
                assert_eq!(agent.h2(to, name, vec![request])[0].status, 200);
            }
        }
        assert_eq!(
            agent.http((OTHER[0], 80), get("clear.test", "/")).status,
            200
        );
        let good = town.good.requests();
        assert_eq!(good.len(), 4);
        assert!(
            good.iter()
                .all(|request| request.header_all("x-api-key") == [CANARY])
        );
        assert_eq!(
            (town.plain.requests().len(), town.clear.requests().len()),
            (8, 1)
        );
        for other in [&town.plain, &town.clear] {
            assert!(!received(other).contains(CANARY));
        }
        town.assert_evil_untouched();
    });
}

/// A credential follows no redirect, for the gateway follows none.
#[test]
fn i4_a_redirect_is_for_the_agent_to_follow() {
    inside(|| {
        let town = Town::new();
        let world = &town.world;
        let third = crate::common::world::THIRD;
        let tls = world.ca.server(&["moved.test"]);
        let moved = Upstream::https(&world.internet, third, 443, tls, |request| {
            let status = request.target[1..].parse().unwrap();
            Answer::ok("")
                .status(status)
                .header("location", "https://evil.test/")
        });
        let rules = RULES.replace("\"good.test\"", "\"moved.test\"");
        let config = Config::default().with("moved.test", &third);
        let gateway = start(world, &config, &rules);
        let agent = Agent::new(world, &gateway);
        for status in [301, 302, 303, 307, 308] {
            let path = format!("/{status}");
            let h1 = agent.https((third[0], 443), "moved.test", get("moved.test", &path));
            let request = get_h2(&format!("https://moved.test{path}"));
            let h2 = agent
                .h2((third[0], 443), "moved.test", vec![request])
                .remove(0);
            for response in [h1, h2] {
                assert_eq!(response.status, status);
                assert_eq!(response.header("location"), Some("https://evil.test/"));
            }
        }
        let seen = moved.requests();
        assert_eq!(seen.len(), 10);
        assert!(
            seen.iter()
                .all(|request| request.header_all("x-api-key") == [CANARY])
        );
        assert_untouched(world, &town.good, SERVER, 443);
        town.assert_evil_untouched();
    });
}

//! I1: without a rule nothing gets out, and a config with errors changes nothing.

use std::fs;
use std::io::ErrorKind::ConnectionRefused;

use crate::common::world::SERVER;
use crate::common::{client, inside};
use crate::town::{
    Agent, CANARY, Config, RULES, Town, assert_refused, assert_untouched, get, get_h2, start,
};

/// Every way out that the town's rules would have opened.
fn nothing_gets_out(town: &Town, agent: &Agent<'_>) {
    for address in SERVER {
        for name in ["good.test", "plain.test", "sub.wild.test", "evil.test"] {
            let response = agent.https((address, 443), name, get(name, "/"));
            assert_refused(&response, 403, "no_rule");
            let request = get_h2(&format!("https://{name}/"));
            let response = &agent.h2((address, 443), name, vec![request])[0];
            assert_refused(response, 403, "no_rule");
        }
        let response = agent.http((address, 80), get("clear.test", "/"));
        assert_refused(&response, 403, "no_rule");
    }
    assert_eq!(town.world.leaked(), 0);
}

#[test]
fn i1_without_rules_nothing_gets_out() {
    inside(|| {
        let town = Town::new();
        let config = Config::default().to_string();
        for files in [
            &[][..],
            &[("empty.toml", "")],
            &[(".hidden.toml", RULES)],
            &[("rules.txt", RULES)],
        ] {
            let gateway = town.world.gateway_process(&config, files);
            assert!(gateway.wait_log("there is no rule").contains("refused"));
            nothing_gets_out(&town, &Agent::new(&town.world, &gateway));
        }
        // No folder, and none named.
        let config = config.replacen("rules = \"rules\"\n", "", 1);
        let builder = town.world.gateway_builder(&config);
        fs::remove_dir(town.world.path("gateway").join("rules")).unwrap();
        let gateway = builder.start();
        gateway.wait_log("there is no folder");
        nothing_gets_out(&town, &Agent::new(&town.world, &gateway));
        town.assert_untouched();
    });
}

/// What must not start, and a word of what it says.
const BROKEN: [(&str, &str); 7] = [
    ("[[rule]\nname = \"any\"", "broken.toml"),
    (
        "[[rule]]\nname = \"any\"\nagents = [\"builder\"]\nhosts = []",
        "hosts",
    ),
    ("[[rule]]\nname = \"any\"\nagents = [\"builder\"]", "hosts"),
    (
        "[[rule]]\nname = \"any\"\nagents = [\"builder\"]\nany_host = true\nhots = []",
        "hots",
    ),
    (
        "[[rule]]\nname = \"any\"\nagents = [\"nobody\"]\nany_host = true",
        "nobody",
    ),
    ("[[rule]]\nname = \"any\"\nany_host = true", "agents"),
    (
        "[[rule]]\nname = \"good\"\nagents = [\"builder\"]\nany_host = true",
        "good",
    ),
];

#[test]
fn i1_a_config_with_errors_does_not_start() {
    inside(|| {
        let town = Town::new();
        let mut gateway = town.start();
        gateway.kill();
        for (text, word) in BROKEN {
            gateway.write_rule("broken.toml", text);
            let output = gateway.command(&["run"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{text}\n{said}");
            assert!(
                said.contains("broken.toml") && said.contains(word),
                "{said}"
            );
        }
        fs::remove_dir_all(gateway.folder().join("rules")).unwrap();
        let output = gateway.command(&["run"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("there is no folder"), "{said}");
        for address in SERVER {
            for port in [443, 80] {
                let dialled = town
                    .world
                    .agent
                    .block_on(async move { client::tcp((address, port)).await });
                assert_eq!(dialled.unwrap_err().kind(), ConnectionRefused);
            }
        }
        town.assert_untouched();
    });
}

#[test]
fn i1_a_failed_reload_keeps_the_last_good_rules_and_says_so() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let to = (SERVER[0], 443);
        let as_before = || {
            let response = agent.https(to, "good.test", get("good.test", "/"));
            assert_eq!(response.status, 200);
            let response = agent.https(to, "evil.test", get("evil.test", "/"));
            assert_refused(&response, 403, "no_rule");
        };
        as_before();
        let rejected = |label| gateway.metric("portreeve_reloads_total", &[("result", label)]);
        for (index, (text, word)) in BROKEN.into_iter().enumerate() {
            gateway.write_rule("broken.toml", text);
            gateway.reload();
            gateway.wait_log("the old rules stay in force");
            gateway.wait_log(word);
            let records = gateway.wait_records(index + 1, |record| {
                record.to_string().contains("the old rules stay in force")
            });
            assert_eq!(records.len(), index + 1);
            as_before();
        }
        fs::remove_dir_all(gateway.folder().join("rules")).unwrap();
        gateway.reload();
        as_before();
        assert_eq!((rejected("rejected"), rejected("applied")), (8.0, 0.0));
        let seen = town.good.requests();
        assert_eq!(seen.len(), 9);
        assert!(
            seen.iter()
                .all(|request| request.header_all("x-api-key") == [CANARY])
        );
        town.assert_evil_untouched();
    });
}

/// A connection that is open has no older rights than any other.
#[test]
fn i1_a_reload_without_rules_holds_for_the_next_request_of_open_connections() {
    inside(|| {
        let town = Town::new();
        let gateway = start(&town.world, &Config::default(), RULES);
        let agent = Agent::new(&town.world, &gateway);
        let tls = agent.h1.clone();
        let mut open = town.world.agent.block_on(async move {
            let stream = tls.connect((SERVER[0], 443), "good.test").await.unwrap();
            let mut h1 = client::H1::new(stream);
            let response = h1.exchange(get("good.test", "/before")).await.unwrap();
            assert_eq!(response.status, 200);
            h1
        });
        gateway.write_rule("town.toml", "");
        gateway.reload();
        let response = town
            .world
            .agent
            .block_on(async move { open.exchange(get("good.test", "/after")).await.unwrap() });
        assert_refused(&response, 403, "no_rule");
        let targets: Vec<String> = town
            .good
            .requests()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert_eq!(targets, ["/before"]);
        assert_untouched(&town.world, &town.clear, crate::common::world::OTHER, 80);
    });
}

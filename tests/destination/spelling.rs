//! I2: a name has one form, whatever its spelling; wildcards and literal addresses mean what
//! they say.

use std::io;
use std::net::IpAddr;

use rustls::{AlertDescription, Error};

use crate::common::client::H1;
use crate::common::world::{ATTACKER, OTHER, SERVER, THIRD};
use crate::common::{Answer, Request, Upstream, inside};
use crate::town::{Agent, CANARY, Config, RULES, Town, assert_refused, get, get_h2, start};

fn host(request: &Request) -> Option<&str> {
    request.authority.as_deref().or(request.header("host"))
}

#[test]
fn i2_case_and_the_trailing_dot_change_nothing() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let to = (SERVER[0], 443);
        let mut count = 0;
        for (sni, written) in [
            ("GOOD.TEST", "good.test"),
            ("good.test", "GOOD.TEST"),
            ("good.test", "good.test."),
            ("Good.Test", "gOOD.tEST.:443"),
        ] {
            let h1 = agent.https(to, sni, get(written, "/"));
            assert_eq!(h1.status, 200, "{sni} {written}");
            let h2 = &agent.h2(to, sni, vec![get_h2(&format!("https://{written}/"))])[0];
            assert_eq!(h2.status, 200, "{sni} {written}");
            count += 2;
        }
        let seen = town.good.requests();
        assert_eq!(seen.len(), count);
        for request in &seen {
            assert_eq!(host(request), Some("good.test"));
            assert_eq!(request.sni.as_deref(), Some("good.test"));
            assert_eq!(request.header_all("x-api-key"), [CANARY]);
        }
        // The same holds of a name that no rule allows.
        for written in ["EVIL.test", "evil.test.", "Evil.Test.:443"] {
            let response = agent.https(to, "EVIL.TEST", get(written, "/"));
            assert_refused(&response, 403, "no_rule");
        }
        town.assert_evil_untouched();
    });
}

#[test]
fn i2_a_wildcard_is_one_or_more_labels_under_its_name() {
    inside(|| {
        let town = Town::new();
        let names = [
            "a.b.wild.test",
            "wild.test",
            "evilwild.test",
            "sub.wild.test.evil.test",
        ];
        let config = names
            .iter()
            .fold(Config::default(), |config, name| config.with(name, &OTHER));
        let gateway = start(&town.world, &config, RULES);
        let agent = Agent::new(&town.world, &gateway);
        let to = (OTHER[0], 443);
        for name in &names[1..] {
            let response = agent.https(to, name, get(name, "/"));
            assert_refused(&response, 403, "no_rule");
        }
        // Its certificate covers one label, so the server does not prove this name.
        let response = agent.https(to, "a.b.wild.test", get("a.b.wild.test", "/"));
        assert_refused(&response, 502, "upstream_certificate");
        let response = agent.https(to, "sub.wild.test", get("sub.wild.test", "/in"));
        assert_eq!(response.status, 200);
        let seen = town.plain.requests();
        assert_eq!(seen.len(), 1);
        assert_eq!(host(&seen[0]), Some("sub.wild.test"));
        town.assert_evil_untouched();
    });
}

#[test]
fn i2_without_sni_only_a_rule_for_the_literal_address_admits() {
    inside(|| {
        let town = Town::new();
        let world = &town.world;
        let literal: Vec<String> = THIRD.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = literal.iter().map(String::as_str).collect();
        let tls = world.ca.server(&names);
        let third = Upstream::https(&world.internet, THIRD, 443, tls, |_| Answer::ok("3"));
        let rule =
            format!("[[rule]]\nname = \"literal\"\nagents = [\"builder\"]\nhosts = {literal:?}\n");
        let gateway = start(world, &Config::default(), &format!("{RULES}{rule}"));
        let agent = Agent::new(world, &gateway);
        let nameless = agent.h1.without_sni();
        for address in THIRD {
            let (tls, name) = (nameless.clone(), address.to_string());
            let response = world.agent.block_on(async move {
                let stream = tls.connect((address, 443), &name).await.unwrap();
                let host = match address {
                    IpAddr::V4(_) => name,
                    IpAddr::V6(_) => format!("[{name}]"),
                };
                let mut h1 = H1::new(stream);
                let other = h1.exchange(get("good.test", "/")).await.unwrap();
                assert_refused(&other, 421, "misdirected");
                h1.exchange(get(&host, "/")).await.unwrap()
            });
            assert_eq!(response.status, 200);
        }
        assert_eq!(third.requests().len(), 2);
        for address in SERVER.into_iter().chain(ATTACKER) {
            let tls = nameless.clone();
            let error = world
                .agent
                .block_on(async move { tls.connect((address, 443), "good.test").await })
                .unwrap_err();
            assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName));
        }
        // An address in the authority of a connection that has a name is another host.
        let response = agent.https((SERVER[0], 443), "good.test", get(names[0], "/"));
        assert_refused(&response, 421, "misdirected");
        town.assert_untouched();
    });
}

/// The alert with which a handshake was refused.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

//! I8: answers that change, and answers that mix.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use crate::common::world::SERVER;
use crate::common::{Answer, DEADLINE, Upstream, World, inside};
use crate::name_server::NameServer;
use crate::town::{Agent, Config, assert_refused, assert_untouched, get, reason, start};

const RULE: &str =
    "[[rule]]\nname = \"turning\"\nagents = [\"builder\"]\nhosts = [\"turning.test\"]\n";
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
];

/// HTTP/1.1 alone, and a new connection for each request: each is dialled anew.
fn server(world: &World) -> Upstream {
    let mut tls = world.ca.server(&["turning.test"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Upstream::https(&world.internet, SERVER, 443, tls, |_| {
        let mut answer = Answer::ok("").header("connection", "close");
        answer.close = true;
        answer
    })
}

/// DNS rebinding: a public address first, loopback after.
#[test]
fn i8_an_answer_that_turns_to_loopback_is_refused() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let trap = Upstream::recorder(&world.gateway, LOOPBACK, 443);
        let turned = Arc::new(AtomicBool::new(false));
        let seen = turned.clone();
        let names = NameServer::start(&world.internet, move |_, v6| {
            let addresses = if seen.load(SeqCst) { LOOPBACK } else { SERVER };
            vec![addresses[usize::from(v6)]]
        });
        let gateway = start(&world, &Config::default(), RULE);
        let agent = Agent::new(&world, &gateway);
        let ask = || agent.https((SERVER[0], 443), "turning.test", get("turning.test", "/"));
        assert_eq!(ask().status, 200);
        turned.store(true, SeqCst);
        // The first answer is kept for a moment, whatever its TTL; then the next is judged.
        let deadline = Instant::now() + DEADLINE;
        let response = loop {
            let response = ask();
            if response.status != 200 {
                break response;
            }
            assert!(Instant::now() < deadline, "the gateway never asked again");
        };
        assert_refused(&response, 403, "forbidden_network");
        assert_refused(&ask(), 403, "forbidden_network");
        assert!(names.asked().len() >= 4, "{:?}", names.asked());
        for connection in server.connections() {
            assert!(SERVER.contains(&connection.local.ip()));
        }
        assert_untouched(&world, &trap, LOOPBACK, 443);
        assert_eq!(world.leaked(), 0);
    });
}

/// What is looked up is judged address by address; a public one beside does not help the rest.
#[test]
fn i8_of_a_mixed_answer_only_the_public_address_is_dialled() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let trap = Upstream::recorder(&world.gateway, LOOPBACK, 443);
        let _names = NameServer::start(&world.internet, |_, v6| {
            if v6 {
                vec![LOOPBACK[1]]
            } else {
                vec![LOOPBACK[0], SERVER[0], "10.0.1.1".parse().unwrap()]
            }
        });
        let gateway = start(&world, &Config::default(), RULE);
        let agent = Agent::new(&world, &gateway);
        for count in 1..=5 {
            let response = agent.https((SERVER[1], 443), "turning.test", get("turning.test", "/"));
            assert_eq!((response.status, reason(&response)), (200, None));
            assert_eq!(server.requests().len(), count);
        }
        assert_untouched(&world, &trap, LOOPBACK, 443);
    });
}

/// Names that are aliases, each with what it leads to: the last name has the addresses.
const ALIASES: &[(&str, &str)] = &[
    ("public.alias.test", "cdn.other.test"),
    ("cdn.other.test", "edge.other.test"),
    ("edge.other.test", "public.other.test"),
    ("loopback.alias.test", "hop.other.test"),
    ("hop.other.test", "loopback.other.test"),
    ("metadata.alias.test", "metadata.google.internal"),
    ("circle.alias.test", "round.other.test"),
    ("round.other.test", "circle.alias.test"),
    ("nowhere.alias.test", "nothing.other.test"),
];

/// The alias is the name that was allowed, and whose certificate is asked for; the addresses at
/// the end of its chain are judged like its own.
#[test]
fn i8_canonical_names_lead_into_no_forbidden_network() {
    inside(|| {
        let world = World::new();
        let mut tls = world.ca.server(&["public.alias.test"]);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server = Upstream::https(&world.internet, SERVER, 443, tls, |_| Answer::ok("public"));
        let trap = Upstream::recorder(&world.gateway, LOOPBACK, 443);
        let _names = NameServer::with_aliases(&world.internet, 0, ALIASES, |name, v6| match name {
            "public.other.test" => vec![SERVER[usize::from(v6)]],
            "loopback.other.test" => vec![LOOPBACK[usize::from(v6)]],
            "metadata.google.internal" => vec!["169.254.169.254".parse().unwrap()],
            _ => Vec::new(),
        });
        let rule = RULE.replace("turning.test", "*.alias.test");
        let gateway = start(&world, &Config::default(), &rule);
        let agent = Agent::new(&world, &gateway);
        for (label, refused) in [
            ("public", None),
            ("loopback", Some((403, "forbidden_network"))),
            ("metadata", Some((403, "forbidden_network"))),
            ("circle", Some((502, "name_not_found"))),
            ("nowhere", Some((502, "name_not_found"))),
        ] {
            let host = format!("{label}.alias.test");
            let response = agent.https((SERVER[0], 443), &host, get(&host, "/"));
            match refused {
                None => assert_eq!((response.status, reason(&response)), (200, None)),
                Some((status, why)) => assert_refused(&response, status, why),
            }
        }
        // What is at the end of a chain is no name that a rule has.
        let host = "public.other.test";
        let response = agent.https((SERVER[0], 443), host, get(host, "/"));
        assert_refused(&response, 403, "no_rule");
        let hosts: Vec<_> = server
            .requests()
            .iter()
            .map(|request| request.header("host").map(str::to_owned))
            .collect();
        assert_eq!(hosts, [Some("public.alias.test".to_owned())]);
        assert_untouched(&world, &trap, LOOPBACK, 443);
        assert_eq!(world.leaked(), 0);
    });
}

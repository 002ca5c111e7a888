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

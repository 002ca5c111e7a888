//! I3: the address that an agent dialled decides nothing; the gateway looks the name up.

use crate::common::inside;
use crate::common::world::ATTACKER;
use crate::town::{Agent, CANARY, Town, get, get_h2, received};

/// The spoofed-address attack: name and `Host` are allowed, the address is the attacker's.
#[test]
fn i3_an_allowed_name_toward_the_attackers_address_reaches_the_real_server() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for address in ATTACKER {
            let to = (address, 443);
            let h1 = agent.https(to, "good.test", get("good.test", "/h1"));
            assert_eq!((h1.status, h1.text()), (200, "hello /h1".into()));
            let h2 = &agent.h2(to, "good.test", vec![get_h2("https://good.test/h2")])[0];
            assert_eq!((h2.status, h2.text()), (200, "hello /h2".into()));
            let plain = agent.https(to, "plain.test", get("plain.test", "/"));
            assert_eq!(plain.status, 200);
            let under = agent.https(to, "sub.wild.test", get("sub.wild.test", "/"));
            assert_eq!(under.status, 200);
            let clear = agent.http((address, 80), get("clear.test", "/"));
            assert_eq!(clear.status, 200);
        }
        let seen = town.good.requests();
        assert_eq!(seen.len(), 4);
        for request in &seen {
            assert_eq!(request.header_all("x-api-key"), [CANARY]);
            assert_eq!(request.sni.as_deref(), Some("good.test"));
        }
        assert_eq!(town.plain.requests().len(), 4);
        assert_eq!(town.clear.requests().len(), 2);
        for other in [&town.plain, &town.clear, &town.evil[0], &town.evil[1]] {
            assert!(!received(other).contains(CANARY));
        }
        town.assert_evil_untouched();
    });
}

/// What a spoofed address brings about must not wait in the pool for someone else either.
#[test]
fn i3_after_a_spoofed_address_the_next_request_goes_to_the_real_server_as_well() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for address in ATTACKER.into_iter().chain(crate::common::world::SERVER) {
            for _ in 0..3 {
                let to = (address, 443);
                let response = agent.https(to, "good.test", get("good.test", "/"));
                assert_eq!(response.status, 200);
            }
        }
        assert_eq!(town.good.requests().len(), 12);
        town.assert_evil_untouched();
    });
}

/// A record says where the agent wanted to go and where the request went.
#[test]
fn i3_the_record_shows_the_spoofed_origin_and_the_address_dialled() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let response = agent.https((ATTACKER[0], 443), "good.test", get("good.test", "/seen"));
        assert_eq!(response.status, 200);
        let record = &gateway.wait_records(1, |record| record["url.path"] == "/seen")[0];
        let text = record.to_string();
        assert!(text.contains("203.0.113.66"), "{text}");
        assert!(
            text.contains("203.0.113.10") || text.contains("2001:db8:1::10"),
            "{text}"
        );
    });
}

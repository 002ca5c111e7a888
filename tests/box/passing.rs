//! What gets through, and what is told to those who do not.

use crate::common::client::{H1, tcp};
use crate::common::world::{ATTACKER, OTHER, SERVER};
use crate::common::{Answer, Upstream, World, inside};
use crate::{SECRET, assert_works, clear_server, gateway, get, server};

#[test]
fn an_allowed_request_arrives_with_the_credential() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        assert_works(&world, &gateway, &server);
        // The server saw the gateway, and nothing of the agent but its request.
        for connection in server.connections() {
            assert!(
                connection.peer.ip() == crate::common::world::GATEWAY_OUTSIDE[0]
                    || connection.peer.ip() == crate::common::world::GATEWAY_OUTSIDE[1],
                "{}",
                connection.peer
            );
            assert_eq!(connection.sni.as_deref(), Some("good.test"));
        }
        let records = gateway.wait_records(2, |record| record["portreeve.verdict"] == "allow");
        for record in records {
            assert_eq!(record["portreeve.rule"], "good", "{record:#}");
            assert!(!record.to_string().contains(SECRET), "{record:#}");
        }
        assert_eq!(world.leaked(), 0);
    });
}

/// The origin is where the redirect found the connection; only names decide where it goes.
#[test]
fn i3_the_address_that_an_agent_dials_is_not_where_its_request_goes() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let attacker = Upstream::recorder(&world.internet, ATTACKER, 443);
        let gateway = gateway(&world);
        for address in ATTACKER {
            let response = get(&world, &gateway, address, "good.test", "/allowed");
            assert_eq!(response.text(), "from the server", "{address}");
        }
        let requests = server.wait_requests(2);
        assert!(
            requests
                .iter()
                .all(|request| request.header("x-api-key") == Some(SECRET))
        );
        assert!(attacker.connections().is_empty());
        assert_eq!(world.leaked(), 0);
    });
}

#[test]
fn a_denied_host_and_a_denied_path_get_their_page() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        for address in SERVER {
            let host = get(&world, &gateway, address, "bad.test", "/allowed");
            let path = get(&world, &gateway, address, "good.test", "/other");
            for (response, says) in [(host, "bad.test"), (path, "good.test")] {
                assert_eq!(response.status, 403, "{address}");
                assert_eq!(
                    response.header("content-type"),
                    Some("application/problem+json")
                );
                let page: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
                let detail = page["detail"].as_str().unwrap();
                assert!(detail.contains(says), "{detail}");
                assert!(!response.text().contains(SECRET));
            }
        }
        let denied = gateway.wait_records(4, |record| record["portreeve.verdict"] == "deny");
        assert_eq!(denied.len(), 4);
        assert!(server.connections().is_empty());
        assert_eq!(world.leaked(), 0);
    });
}

#[test]
fn clear_http_passes_where_a_rule_says_so_and_without_credentials() {
    inside(|| {
        let world = World::new();
        let clear = clear_server(&world);
        let good = Upstream::http(&world.internet, SERVER, 80, |_| Answer::ok("stolen"));
        let _gateway = gateway(&world);
        for (address, name, status) in OTHER
            .map(|address| (address, "clear.test", 200))
            .into_iter()
            .chain(SERVER.map(|address| (address, "good.test", 403)))
        {
            let request = format!("GET /allowed HTTP/1.1\r\nHost: {name}\r\n\r\n");
            let response = world.agent.block_on(async move {
                let stream = tcp((address, 80)).await.unwrap();
                H1::new(stream).exchange(request).await.unwrap()
            });
            assert_eq!(response.status, status, "{address} {name}");
        }
        let requests = clear.wait_requests(2);
        assert!(
            requests
                .iter()
                .all(|request| request.header("x-api-key").is_none())
        );
        assert!(good.connections().is_empty());
    });
}

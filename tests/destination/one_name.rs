//! I2: the name of the connection is the name of every request on it.

use crate::common::world::SERVER;
use crate::common::{Request, inside};
use crate::town::{Agent, CANARY, Town, assert_refused, get, get_h2, received};

fn targets(requests: &[Request]) -> Vec<&str> {
    requests
        .iter()
        .map(|request| request.target.as_str())
        .collect()
}

#[test]
fn i2_the_first_h1_request_names_the_host_of_the_handshake() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for address in SERVER {
            for (sni, host) in [
                ("good.test", "evil.test"),
                ("plain.test", "good.test"),
                ("good.test", "plain.test"),
                ("sub.wild.test", "other.wild.test"),
                ("evil.test", "good.test"),
                ("good.test", "203.0.113.10"),
            ] {
                let response = agent.https((address, 443), sni, get(host, "/"));
                assert_refused(&response, 421, "misdirected");
            }
        }
        town.assert_untouched();
    });
}

/// The second-request switch: what the first request was allowed says nothing of the others.
#[test]
fn i2_every_h1_request_of_a_connection_is_checked() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let requests = [
            get("good.test", "/1"),
            get("evil.test", "/2"),
            get("plain.test", "/3"),
            get("good.test", "/4"),
            get("good.test:8443", "/5"),
            get("good.test:443", "/6"),
        ];
        let to = (SERVER[0], 443);
        for responses in [
            agent.https_each(to, "good.test", &requests),
            agent.https_pipelined(to, "good.test", &requests),
        ] {
            let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
            assert_eq!(statuses, [200, 421, 421, 200, 421, 200]);
        }
        let seen = town.good.requests();
        assert_eq!(targets(&seen), ["/1", "/4", "/6", "/1", "/4", "/6"]);
        assert!(seen.iter().all(|request| {
            request.authority.as_deref().or(request.header("host")) == Some("good.test")
        }));
        assert!(town.plain.connections().is_empty());
        town.assert_evil_untouched();
    });
}

/// The stream mix: 60 streams at once, of which every third is for the name of the handshake.
#[test]
fn i2_every_stream_of_an_h2_connection_is_checked() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let hosts = ["good.test", "plain.test", "evil.test"];
        let requests: Vec<_> = (0..60)
            .map(|index| get_h2(&format!("https://{}/{index}", hosts[index % 3])))
            .collect();
        let responses = agent.h2((SERVER[1], 443), "good.test", requests);
        for (index, response) in responses.iter().enumerate() {
            if index % 3 == 0 {
                assert_eq!(response.status, 200, "{index}");
                assert_eq!(response.text(), format!("hello /{index}"));
            } else {
                assert_refused(response, 421, "misdirected");
            }
        }
        let seen = town.good.requests();
        assert_eq!(seen.len(), 20);
        for request in &seen {
            let index: usize = request.target[1..].parse().unwrap();
            assert_eq!(index % 3, 0);
            assert_eq!(request.header_all("x-api-key"), [CANARY]);
        }
        assert!(!received(&town.plain).contains(CANARY));
        assert!(town.plain.connections().is_empty());
        town.assert_evil_untouched();
    });
}

#[test]
fn i2_an_h1_request_names_one_host_once() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let both_evil = "GET https://evil.test/ HTTP/1.1\r\nhost: evil.test\r\n\r\n";
        let response = agent.https((SERVER[0], 443), "good.test", both_evil);
        assert_refused(&response, 421, "misdirected");
        for request in [
            "GET https://evil.test/ HTTP/1.1\r\nhost: good.test\r\n\r\n",
            "GET https://good.test/ HTTP/1.1\r\nhost: evil.test\r\n\r\n",
            "GET https://good.test@evil.test/ HTTP/1.1\r\nhost: good.test\r\n\r\n",
            "GET http://good.test/ HTTP/1.1\r\nhost: good.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: good.test\r\nhost: evil.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: evil.test\r\nhost: good.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: good.test\r\nHost: good.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: good.test, evil.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost:\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : good.test\r\n\r\n",
            "GET / HTTP/1.1\r\naccept: */*\r\n\r\n",
            "GET / HTTP/1.0\r\naccept: */*\r\n\r\n",
        ] {
            let response = agent.https((SERVER[0], 443), "good.test", request);
            assert_refused(&response, 400, "malformed");
        }
        for method in ["CONNECT evil.test:443", "CONNECT good.test:443"] {
            let request = format!("{method} HTTP/1.1\r\nhost: good.test\r\n\r\n");
            let response = agent.https((SERVER[0], 443), "good.test", request);
            assert!(matches!(response.status, 400 | 405), "{}", response.status);
        }
        town.assert_untouched();
    });
}

#[test]
fn i2_an_h2_request_names_one_host_once() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let build = |url: &str, hosts: &[&str]| {
            let request = http::Request::get(url);
            let with_hosts = hosts
                .iter()
                .fold(request, |request, host| request.header("host", *host));
            with_hosts.body(()).unwrap()
        };
        let refused = vec![
            build("https://good.test/", &["evil.test"]),
            build("https://evil.test/", &["good.test"]),
            build("https://good.test/", &["good.test", "evil.test"]),
            build("https://good.test/", &["good.test", "good.test"]),
            build("https://good.test@evil.test/", &[]),
            build("https://evil.test@good.test/", &[]),
            build("http://good.test/", &[]),
        ];
        for response in agent.h2((SERVER[0], 443), "good.test", refused) {
            assert_refused(&response, 400, "malformed");
        }
        town.assert_untouched();
    });
}

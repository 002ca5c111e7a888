//! I4: what an agent sends beside the credential, and to get at it.

use crate::common::client::H2;
use crate::common::world::{OTHER, SERVER};
use crate::common::{Request, inside};
use crate::town::{
    Agent, CANARY, Config, RULES, Town, assert_refused, assert_untouched, get, received, start,
};

/// What the agent would authenticate with, were it let.
const FOREIGN: &str = "foreign-3b9e";

const AUTHENTICATORS: [&str; 8] = [
    "authorization",
    "Authorization",
    "cookie",
    "x-api-key",
    "X-API-KEY",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
];

/// A request over HTTP/1 and over HTTP/2 with these fields; all must succeed.
fn send(town: &Town, agent: &Agent<'_>, path: &str, fields: &[(&str, &str)]) {
    let mut h1 = format!("GET {path} HTTP/1.1\r\nhost: good.test\r\n");
    let mut h2 = http::Request::get(format!("https://good.test{path}"));
    for (name, value) in fields {
        h1.push_str(&format!("{name}: {value}\r\n"));
        // What belongs to a connection is malformed in HTTP/2 (RFC 9113 section 8.2.2).
        if !["connection", "proxy-connection", "keep-alive"].contains(name) {
            h2 = h2.header(*name, *value);
        }
    }
    h1.push_str("\r\n");
    let to = (SERVER[0], 443);
    let before = town.good.requests().len();
    assert_eq!(agent.https(to, "good.test", h1).status, 200);
    let response = &agent.h2(to, "good.test", vec![h2.body(()).unwrap()])[0];
    assert_eq!(response.status, 200);
    let seen = town.good.requests();
    assert_eq!(seen.len(), before + 2);
    for request in &seen[before..] {
        assert_eq!(request.header_all("x-api-key"), [CANARY], "{request:#?}");
    }
}

fn names(request: &Request) -> Vec<String> {
    let names = request.headers.iter().map(|(name, _)| name.to_lowercase());
    names.collect()
}

#[test]
fn i4_foreign_authenticators_fall_out_and_exactly_one_credential_is_sent() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for name in AUTHENTICATORS {
            send(&town, &agent, "/", &[(name, FOREIGN)]);
            send(&town, &agent, "/", &[(name, FOREIGN), (name, FOREIGN)]);
        }
        let all: Vec<_> = AUTHENTICATORS.iter().map(|name| (*name, FOREIGN)).collect();
        send(&town, &agent, "/", &all);
        for query in [
            "key",
            "access_token",
            "KEY",
            "%6bey",
            "a=1&key",
            "a=1;access_token",
            "%256bey",
        ] {
            send(&town, &agent, &format!("/?{query}={FOREIGN}"), &[]);
        }
        assert!(!received(&town.good).contains(FOREIGN));
        // Nothing else fell out with them.
        send(&town, &agent, "/kept?a=1&monkey=2", &[("x-kept", "kept")]);
        let last = town.good.requests().pop().unwrap();
        assert_eq!(last.target, "/kept?a=1&monkey=2");
        assert_eq!(last.header("x-kept"), Some("kept"));
    });
}

#[test]
fn i4_a_rule_may_refuse_foreign_authenticators() {
    inside(|| {
        let town = Town::new();
        let refusing = "credential = \"canary\"\nforeign_credentials = \"refuse\"";
        let rules = RULES.replace("credential = \"canary\"", refusing);
        let gateway = start(&town.world, &Config::default(), &rules);
        let agent = Agent::new(&town.world, &gateway);
        let to = (SERVER[0], 443);
        for name in AUTHENTICATORS {
            let request = format!("GET / HTTP/1.1\r\nhost: good.test\r\n{name}: {FOREIGN}\r\n\r\n");
            let response = agent.https(to, "good.test", request);
            assert_refused(&response, 403, "foreign_credential");
            assert!(!response.text().contains(FOREIGN));
            let request = http::Request::get("https://good.test/").header(name, FOREIGN);
            let response = &agent.h2(to, "good.test", vec![request.body(()).unwrap()])[0];
            assert_refused(response, 403, "foreign_credential");
        }
        for query in ["key=x", "access_token=x", "a=1&key=x", "%6Bey=x"] {
            let response = agent.https(to, "good.test", get("good.test", &format!("/?{query}")));
            assert_refused(&response, 403, "foreign_credential");
        }
        town.assert_untouched();
    });
}

/// A field that `Connection` names goes no further: but what the gateway attaches is not the
/// agent's to name.
#[test]
fn i4_connection_cannot_strip_the_attached_credential() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for value in [
            "x-api-key",
            "X-Api-Key, authorization",
            "keep-alive, x-api-key",
            "x-api-key, x-named",
        ] {
            send(&town, &agent, "/", &[("connection", value)]);
            send(
                &town,
                &agent,
                "/",
                &[("connection", value), ("x-api-key", FOREIGN)],
            );
            send(&town, &agent, "/", &[("proxy-connection", value)]);
        }
        let named = [("connection", "x-named"), ("x-named", FOREIGN)];
        let mut request = String::from("GET /named HTTP/1.1\r\nhost: good.test\r\n");
        for (name, value) in named {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        assert_eq!(
            agent.https((SERVER[0], 443), "good.test", request).status,
            200
        );
        assert!(!received(&town.good).contains(FOREIGN));
        for request in town.good.requests() {
            let names = names(&request);
            assert!(!names.contains(&"proxy-connection".to_owned()), "{names:?}");
            assert_eq!(request.header_all("x-api-key"), [CANARY]);
        }
    });
}

#[test]
fn i4_overrides_and_what_tells_of_the_way_are_absent_upstream() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let unwanted = [
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-anything",
            "proxy-authorization",
            "proxy-authenticate",
            "keep-alive",
        ];
        let fields = unwanted.map(|name| (name, FOREIGN));
        send(&town, &agent, "/", &fields);
        send(&town, &agent, "/", &[]);
        assert!(!received(&town.good).contains(FOREIGN));
        // Nor does the gateway add any of them, or tell who asks.
        for request in town.good.requests() {
            for name in names(&request) {
                assert!(!unwanted.contains(&name.as_str()), "{name}");
            }
            let shown = format!("{request:?}");
            assert!(
                !shown.contains("10.0.1.2") && !shown.contains("portreeve"),
                "{shown}"
            );
        }
        // Without a credential the same holds.
        let mut request = String::from("GET / HTTP/1.1\r\nhost: plain.test\r\n");
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        assert_eq!(
            agent.https((OTHER[0], 443), "plain.test", request).status,
            200
        );
        assert!(!received(&town.plain).contains(FOREIGN));
    });
}

/// Trailers come after what was checked, and are checked as well.
#[test]
fn i4_trailers_carry_no_authenticator() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let to = (SERVER[0], 443);
        let names = [
            "x-api-key",
            "authorization",
            "cookie",
            "host",
            "x-forwarded-for",
        ];
        let mut h1 = String::from(
            "POST / HTTP/1.1\r\nhost: good.test\r\ntransfer-encoding: chunked\r\n\
             trailer: x-api-key, authorization, cookie, x-fine\r\n\r\n2\r\nhi\r\n0\r\n",
        );
        for name in names {
            h1.push_str(&format!("{name}: {FOREIGN}\r\n"));
        }
        h1.push_str("\r\n");
        agent.https(to, "good.test", h1);
        let trailers: Vec<_> = names
            .iter()
            .filter(|name| **name != "host")
            .map(|name| ((*name).to_owned(), FOREIGN.to_owned()))
            .collect();
        let tls = agent.h2.clone();
        let response = town.world.agent.block_on(async move {
            let h2 = H2::new(tls.connect(to, "good.test").await.unwrap())
                .await
                .unwrap();
            let request = http::Request::post("https://good.test/").body(()).unwrap();
            h2.request(request, b"hi", &trailers).await.unwrap()
        });
        assert_eq!(response.status, 200);
        assert!(!received(&town.good).contains(FOREIGN));
        for request in town.good.requests() {
            assert_eq!(request.header_all("x-api-key"), [CANARY]);
        }
        assert_untouched(&town.world, &town.plain, OTHER, 443);
    });
}

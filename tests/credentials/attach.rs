//! What servers get, and where it must not be seen.

use crate::common::{Answer, World, inside};
use crate::forms::assert_clean;
use crate::{COOKIE, RULES, SECRET, gateway, get, get_h2, server};

/// The secret as it stands in a query.
const ENCODED: &str = "canary-7d%2F41%2Bf0%3D8c%26%2229";

#[test]
fn query_keys_and_cookies_arrive_in_place_of_the_agents() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request| {
            Answer::ok(format!("{} {:?}", request.target, request.header("cookie")))
        });
        let gateway = gateway(&world, RULES);
        for path in ["/a", "/a?b=c&key=mine&%4bey=x", "/a?b=c;key=x&d"] {
            let response = get(&world, &gateway, "maps.good.test", path, "")
                .pop()
                .unwrap();
            assert_clean(path, &response.body, SECRET);
            assert!(!response.text().contains(ENCODED), "{}", response.text());
        }
        get_h2(&world, &gateway, "maps.good.test", "/h2?x=%41").unwrap();
        let line = "cookie: session=mine; other=1\r\n";
        let response = get(&world, &gateway, "shop.good.test", "/", line)
            .pop()
            .unwrap();
        assert!(!response.text().contains(COOKIE));
        let targets: Vec<_> = server.requests().into_iter().map(|it| it.target).collect();
        let expected = [
            format!("/a?key={ENCODED}"),
            format!("/a?b=c&key={ENCODED}"),
            format!("/a?d&key={ENCODED}"),
            format!("/h2?x=%41&key={ENCODED}"),
            "/".to_owned(),
        ];
        assert_eq!(targets, expected);
        let cookie = server.requests()[4].header_all("cookie").join("|");
        assert_eq!(cookie, format!("session={COOKIE}"));
    });
}

#[test]
fn i5_the_gateway_itself_shows_no_secret() {
    inside(|| {
        let world = World::new();
        // HTTP/2 toward the server: its library logs what it does at this level.
        let _server = server(&world, |request| {
            let value = request.header("authorization").unwrap_or(&request.target);
            Answer::ok(value.to_owned()).header("x-echo", value)
        });
        let gateway = world
            .gateway_builder(crate::CONFIG)
            .rule(
                "rules.toml",
                &RULES.replace(r#"{ file = "../canary" }"#, r#"{ env = "CANARY" }"#),
            )
            .env("CANARY", SECRET)
            .env("PORTREEVE_LOG", "trace")
            .secret("cookie", COOKIE)
            .start();
        for host in [
            "api.good.test",
            "git.good.test",
            "maps.good.test",
            "shop.good.test",
        ] {
            for path in ["/", "/?q=1"] {
                let responses = get(&world, &gateway, host, path, "");
                assert_clean(host, format!("{responses:?}").as_bytes(), SECRET);
            }
        }
        gateway.wait_records(8, |record| record["portreeve.record.kind"] == "request");
        let pid = gateway.pid();
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let records = format!("{:?}", gateway.audit_records());
        for (what, text) in [
            ("log", gateway.log().into_bytes()),
            ("audit", records.into_bytes()),
            ("metrics", gateway.metrics().into_bytes()),
            ("command line", command),
        ] {
            for secret in [SECRET, COOKIE] {
                assert_clean(what, &text, secret);
            }
        }
    });
}

//! Stand-ins: swapped in their place, refused anywhere else, and never worth anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::client::{H2, Tls};
use crate::common::world::SERVER;
use crate::common::{Answer, GatewayProcess, Upstream, World, inside};
use crate::{CONFIG, NAMES, assert_refused, contains, received, send, server};

const SECRET: &str = "real-canary-5d1f\"08a7&c3";
const OTHER: &str = "other-canary-b2e94";

const RULES: &str = r#"
[[credential]]
name = "api"
secret = { file = "../canary" }
hosts = ["api.good.test"]
[credential.attach]
placeholder = ["header:authorization", "basic:password", "query:key", "json:auth.key", "form:client_secret"]
like = "sk-test-[A-Za-z0-9]{40}"
[[credential]]
name = "other"
secret = { file = "../other" }
hosts = ["api.good.test"]
attach = { placeholder = ["header:x-other"] }
[[rule]]
name = "other"
agents = ["builder"]
hosts = ["api.good.test"]
paths = ["/other/**"]
credential = "other"
dlp = "strict"
[[rule]]
name = "api"
agents = ["builder"]
hosts = ["api.good.test"]
credential = "api"
dlp = "strict"
[[rule]]
name = "plain"
agents = ["builder"]
hosts = ["plain.good.test"]
"#;

fn gateway<'w>(world: &'w World, rules: &str) -> GatewayProcess<'w> {
    gateway_with(world, rules, SECRET)
}

fn gateway_with<'w>(world: &'w World, rules: &str, secret: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", rules)
        .secret("canary", secret)
        .secret("other", OTHER)
        .start()
}

fn stand_in(gateway: &GatewayProcess<'_>, name: &str) -> String {
    let output = gateway.command(&["credential", "placeholder", name]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Every byte as `%XX`.
pub fn percent(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |all, byte| all + &format!("%{byte:02x}"))
}

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn get(target: &str, host: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n")
}

fn post(host: &str, kind: &str, body: &str) -> String {
    format!(
        "POST /post HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(host: &str, kind: &str, chunks: &[&str]) -> String {
    let mut request = format!(
        "POST /post HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    request + "0\r\n\r\n"
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn in_its_place_a_stand_in_becomes_the_secret() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = gateway(&world, RULES);
        let token = stand_in(&gateway, "api");
        assert!(
            token.starts_with("sk-test-") && token.len() == 48,
            "{token}"
        );
        assert_eq!(stand_in(&gateway, "api"), token, "it stays the same");
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        let long = format!(
            r#"{{"pad":"{}","auth":{{"key":"{token}"}}}}"#,
            "x".repeat(300_000)
        );
        let (one, two) = long.split_at(long.len() - 30);
        let host = "api.good.test";
        for request in [
            get("/h", host, &format!("authorization: Bearer {token}\r\n")),
            get(
                "/b",
                host,
                &format!("authorization: Basic {}\r\n", basic("git", &token)),
            ),
            get(&format!("/q?a=%41&key={token}"), host, ""),
            post(
                host,
                json,
                &format!(r#"{{"auth":{{"key":"{token}"}},"a":1}}"#),
            ),
            post(host, form, &format!("a=b&client_secret={token}")),
            chunked(host, json, &[one, two]),
            chunked(
                host,
                form,
                &["client_sec", "ret=", &token[..9], &token[9..], "&c"],
            ),
            get("/none", host, "authorization: Bearer something-else\r\n"),
        ] {
            let response = send(&world, &gateway, host, request);
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let seen = server.requests();
        assert_eq!(
            seen[0].header("authorization"),
            Some(&*format!("Bearer {SECRET}"))
        );
        let expected = format!("Basic {}", basic("git", SECRET));
        assert_eq!(seen[1].header("authorization"), Some(&*expected));
        assert_eq!(seen[2].target, "/q?a=%41&key=real-canary-5d1f%2208a7%26c3");
        let body = |index: usize| String::from_utf8(seen[index].body.clone()).unwrap();
        let escaped = SECRET.replace('"', "\\\"");
        assert_eq!(
            body(3),
            format!(r#"{{"auth":{{"key":"{escaped}"}},"a":1}}"#)
        );
        assert_eq!(
            seen[3].header("content-length"),
            Some(&*seen[3].body.len().to_string())
        );
        assert_eq!(
            body(4),
            "a=b&client_secret=real%2Dcanary%2D5d1f%2208a7%26c3"
        );
        assert_eq!(body(5), long.replace(&token, &escaped));
        assert_eq!(body(6), "client_secret=real%2Dcanary%2D5d1f%2208a7%26c3&c");
        // What is no stand-in is a foreign credential, as ever.
        assert_eq!(seen[7].header("authorization"), None);
        assert!(
            !contains(&received(&server), &token),
            "no stand-in goes anywhere"
        );
        let records = gateway.wait_records(8, |record| record["portreeve.credential"] == "api");
        assert!(!format!("{records:?}").contains(SECRET));
    });
}

#[test]
fn over_http2_too() {
    inside(|| {
        let world = World::new();
        let server = Upstream::start(&world.internet, &world.ca, &NAMES, |_| Answer::ok("fine"));
        let gateway = gateway(&world, RULES);
        let token = stand_in(&gateway, "api");
        let tls = Tls::new(&gateway.ca_pem(), &["h2"]);
        let body = format!(r#"{{"auth":{{"key":"{token}"}}}}"#);
        let sent = body.clone();
        let status = world.agent.block_on(async move {
            let stream = tls
                .connect((SERVER[0], 443), "api.good.test")
                .await
                .unwrap();
            let h2 = H2::new(stream).await.unwrap();
            let request = http::Request::post("https://api.good.test/")
                .header("content-type", "application/json")
                .body(())
                .unwrap();
            let response = h2.request(request, sent.as_bytes(), &Vec::new()).await;
            response.unwrap().status
        });
        assert_eq!(status, 200);
        let seen = server.requests();
        let escaped = SECRET.replace('"', "\\\"");
        let expected = body.replace(&token, &escaped);
        assert_eq!(String::from_utf8_lossy(&seen[0].body), expected);
    });
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn anywhere_else_it_is_refused_and_no_server_sees_a_thing() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = gateway(&world, RULES);
        let (token, other) = (stand_in(&gateway, "api"), stand_in(&gateway, "other"));
        let (api, plain) = ("api.good.test", "plain.good.test");
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        let bearer = format!("authorization: Bearer {token}\r\n");
        let hex = percent(&token);
        let twice = hex.replace('%', "%25");
        let member = format!(r#"{{"auth":{{"key":"{token}"}}}}"#);
        let cases: Vec<(&'static str, String)> = vec![
            // To a host that it is not for.
            (plain, get("/", plain, &bearer)),
            (plain, get(&format!("/?key={token}"), plain, "")),
            (plain, get(&format!("/{token}"), plain, "")),
            (plain, post(plain, json, &member)),
            (
                plain,
                chunked(plain, "text/plain", &[&token[..20], &token[20..]]),
            ),
            // On a rule with another credential, and swapped with the other's.
            (api, get("/other/", api, &bearer)),
            (api, get("/other/", api, &format!("x-other: {token}\r\n"))),
            (
                api,
                get("/", api, &format!("authorization: Bearer {other}\r\n")),
            ),
            // In another place.
            (api, get("/", api, &format!("x-api-key: {token}\r\n"))),
            (api, get("/", api, &format!("cookie: a={token}\r\n"))),
            (api, get("/", api, &format!("{bearer}{bearer}"))),
            (api, get("/", api, &format!("{bearer}x-copy: {token}\r\n"))),
            (
                api,
                get(
                    "/",
                    api,
                    &format!("authorization: Basic {}\r\n", basic(&token, "x")),
                ),
            ),
            (
                api,
                get(
                    "/",
                    api,
                    &format!("authorization: Bearer {}\r\n", STANDARD.encode(&token)),
                ),
            ),
            (api, get(&format!("/?keys={token}"), api, "")),
            (api, get(&format!("/?key={token}&key={token}"), api, "")),
            (api, get(&format!("/?note={hex}"), api, "")),
            (api, get(&format!("/?note={twice}"), api, "")),
            (api, get(&format!("/?key={twice}"), api, "")),
            (api, post(api, json, &format!(r#"{{"key":"{token}"}}"#))),
            (
                api,
                post(api, json, &format!(r#"{{"auth":{{"key":"x {token}"}}}}"#)),
            ),
            (api, post(api, "text/plain", &member)),
            (api, post(api, form, &format!("secret={token}"))),
            (api, post(api, form, &format!("client_secret={twice}"))),
        ];
        for (index, (host, request)) in cases.into_iter().enumerate() {
            let shown = request.clone();
            let response = send(&world, &gateway, host, request);
            if response.status == 200 {
                // Encoded out of sight: it goes, and is worth nothing.
                assert!(shown.contains("%25"), "{index}: {shown}");
            } else {
                assert_refused(&response, 403, "placeholder_misplaced");
            }
        }
        let bytes = received(&server);
        for secret in [
            "real-canary",
            "real%2Dcanary",
            OTHER,
            &STANDARD.encode(SECRET)[..20],
        ] {
            assert!(!contains(&bytes, secret), "{secret}");
        }
        assert!(!contains(&bytes, &token) || contains(&bytes, "plain.good.test"));
        let records = gateway.wait_records(20, |record| {
            record["portreeve.reason"] == "placeholder_misplaced"
        });
        assert!(
            records
                .iter()
                .all(|record| record["portreeve.verdict"] == "deny")
        );
    });
}

#[test]
fn i9_stand_ins_without_end_do_not_become_secrets_without_end() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = gateway_with(&world, RULES, &"long-".repeat(400));
        let pair = format!("client_secret={}&", stand_in(&gateway, "api"));
        let (host, form) = ("api.good.test", "application/x-www-form-urlencoded");
        let few = post(host, form, &pair.repeat(5));
        assert_eq!(send(&world, &gateway, host, few).status, 200);
        let many = pair.repeat(2000);
        for request in [post(host, form, &many), chunked(host, form, &[&many])] {
            let response = send(&world, &gateway, host, request);
            assert_eq!(response.status, 403, "{}", response.text());
            assert!(
                response.text().contains("so many stand-ins"),
                "{}",
                response.text()
            );
        }
        let seen = server.requests();
        assert!(seen.iter().all(|request| request.body.len() < 20_000));
    });
}

#[test]
fn what_is_guessed_or_replayed_is_worth_nothing() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request| {
            Answer::ok(request.header("authorization").unwrap_or("none").to_owned())
        });
        let mut gateway = gateway(&world, RULES);
        let token = stand_in(&gateway, "api");
        let host = "api.good.test";
        // Close, but not it.
        let near = format!("{}x", &token[..token.len() - 1]);
        let near = if near == token {
            token.replace("sk-test-", "sk-live-")
        } else {
            near
        };
        let lines = format!("authorization: Bearer {near}\r\n");
        send(&world, &gateway, host, get("/guess", host, &lines));
        // The right one, sent back by the server: what comes back is masked.
        let lines = format!("authorization: Bearer {token}\r\n");
        let response = send(&world, &gateway, host, get("/echo", host, &lines));
        assert_eq!(
            response.text(),
            format!("Bearer {}", "*".repeat(SECRET.len()))
        );
        // Another installation makes others, and does not take these.
        gateway.terminate();
        std::fs::remove_file(gateway.state().join("placeholder.key")).unwrap();
        gateway.start();
        assert_ne!(stand_in(&gateway, "api"), token);
        send(&world, &gateway, host, get("/replay", host, &lines));
        let seen = server.requests();
        let values: Vec<_> = seen.iter().map(|it| it.header("authorization")).collect();
        assert_eq!(values, [None, Some(&*format!("Bearer {SECRET}")), None]);
    });
}

//! OAuth 2.0: the token endpoint counts grants and says when tokens end.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::client::{H1, Tls};
use crate::common::upstream::Upstream;
use crate::common::world::{OTHER, SERVER};
use crate::common::{Answer, Request, TestCa, World, inside};
use crate::{
    API, CONFIG, LOGIN, api, authorizations, get, get_until, login, rules, send, sentence, until,
};

const CLIENT: &str = "secret = { file = \"../client\" }\n\
    attach = { oauth2 = { token_url = \"https://login.good.test/token\", client_id = \"cli ent\", scopes = [\"a\", \"b\"] } }\n";
const CLIENT_SECRET: &str = "canary/client+secret";

/// Grants `token-N-canary` for so many seconds.
fn grants(seconds: u64) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |_| {
        let number = count.fetch_add(1, SeqCst) + 1;
        Answer::ok(format!(
            "{{\"access_token\":\"token-{number}-canary\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}"
        ))
    }
}

fn json(status: u16, body: &str) -> Answer {
    Answer::ok(body).status(status)
}

#[test]
fn one_grant_serves_many_requests_and_nothing_of_it_reaches_the_agent() {
    inside(|| {
        let world = World::new();
        let login = login(&world, grants(3600));
        let server = api(&world, |request| {
            let authorization = request.header("authorization").unwrap().to_owned();
            Answer::ok(format!("{authorization} {CLIENT_SECRET}"))
        });
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(CLIENT))
            .secret("client", CLIENT_SECRET)
            .start();
        let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
        let texts = world.agent.block_on(async move {
            let one = |tls: Tls| async move {
                let stream = tls.connect((SERVER[0], 443), API).await.unwrap();
                let request = format!("GET /a HTTP/1.1\r\nhost: {API}\r\n\r\n");
                H1::new(stream).exchange(request).await.unwrap().text()
            };
            let all: Vec<_> = (0..20).map(|_| tokio::spawn(one(tls.clone()))).collect();
            let mut texts = Vec::new();
            for task in all {
                texts.push(task.await.unwrap());
            }
            texts
        });
        for text in texts {
            assert!(!text.contains("token-1"), "{text}");
            assert!(!text.contains(CLIENT_SECRET), "{text}");
        }
        let expected = vec!["Bearer token-1-canary".to_owned(); 20];
        assert_eq!(authorizations(&server), expected);
        let asked = login.requests();
        assert_eq!(asked.len(), 1, "one grant for all of them");
        assert_eq!(
            (asked[0].method.as_str(), asked[0].target.as_str()),
            ("POST", "/token")
        );
        let body = String::from_utf8(asked[0].body.clone()).unwrap();
        assert_eq!(body, "grant_type=client_credentials&scope=a%20b");
        let pair = STANDARD.encode("cli%20ent:canary%2Fclient%2Bsecret");
        assert_eq!(
            asked[0].header("authorization"),
            Some(&*format!("Basic {pair}"))
        );
        assert_eq!(asked[0].sni.as_deref(), Some(LOGIN));
    });
}

#[test]
fn a_token_is_replaced_before_it_ends() {
    inside(|| {
        let world = World::new();
        let login = login(&world, grants(6));
        let server = api(&world, |_| Answer::ok("token-1-canary"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(CLIENT))
            .secret("client", CLIENT_SECRET)
            .start();
        // Without any request of an agent.
        login.wait_requests(2);
        get_until(&world, &gateway, "the second token", |response| {
            assert_eq!(response.status, 200);
            // The first is no longer attached, and is still kept from the agent.
            assert!(!response.text().contains("token-1"));
            authorizations(&server).last().unwrap() != "Bearer token-1-canary"
        });
    });
}

#[test]
fn a_token_that_a_server_refuses_is_replaced_once_and_the_request_sent_again() {
    inside(|| {
        let world = World::new();
        let login = login(&world, grants(3600));
        let good = Arc::new(AtomicUsize::new(2));
        let wanted = Arc::clone(&good);
        let server = api(&world, move |request| {
            let token = format!("Bearer token-{}-canary", wanted.load(SeqCst));
            if request.header("authorization") == Some(&*token) {
                return Answer::ok(format!("got {} token-2-canary", request.body.len()));
            }
            json(401, "who?")
        });
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(CLIENT))
            .secret("client", CLIENT_SECRET)
            .start();
        until("the first token", || {
            let fetched = [("credential", "api"), ("result", "fetched")];
            let count = gateway.metric("portreeve_credential_refreshes_total", &fetched);
            (count > 0.5).then_some(())
        })
        .unwrap();
        // What is not at hand any more is not sent again.
        let chunked = format!(
            "POST /a HTTP/1.1\r\nhost: {API}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        assert_eq!(send(&world, &gateway, chunked).status, 401);
        assert_eq!(login.requests().len(), 1);
        let posted = format!("POST /a HTTP/1.1\r\nhost: {API}\r\ncontent-length: 3\r\n\r\nabc");
        let response = send(&world, &gateway, posted.clone());
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with("got 3 "), "{}", response.text());
        assert!(!response.text().contains("token-2"), "{}", response.text());
        let received = [1, 1, 2].map(|number| format!("Bearer token-{number}-canary"));
        assert_eq!(authorizations(&server), received);
        assert_eq!(login.requests().len(), 2);
        // A server that refuses every token does not make the gateway ask for ever more.
        good.store(99, SeqCst);
        for _ in 0..3 {
            assert_eq!(send(&world, &gateway, posted.clone()).status, 401);
        }
        assert_eq!(login.requests().len(), 2);
    });
}

#[test]
fn a_refresh_token_that_is_replaced_is_kept_over_a_restart() {
    const REFRESH: &str = "secret = { file = \"../first\" }\n\
        attach = { oauth2 = { token_url = \"https://login.good.test/token\", client_id = \"app\", grant = \"refresh_token\", client_secret = { file = \"../client\" }, client_auth = \"body\" }, header = \"x-token\", format = \"Token {secret}\" }\n";
    inside(|| {
        let world = World::new();
        let count = AtomicUsize::new(0);
        let login = login(&world, move |request| {
            let number = count.fetch_add(1, SeqCst);
            let body = String::from_utf8(request.body.clone()).unwrap();
            // Each refresh token is good once.
            if !body.contains(&format!("refresh_token=canary-{number}&")) {
                return json(400, "{\"error\":\"invalid_grant\"}");
            }
            let next = number + 1;
            Answer::ok(format!(
                "{{\"access_token\":\"access-{next}\",\"expires_in\":\"3600\",\"refresh_token\":\"canary-{next}\"}}"
            ))
        });
        let server = api(&world, |_| Answer::ok("canary-0 canary-1 access-1"));
        let mut gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(REFRESH))
            .secret("first", "canary-0\n")
            .secret("client", "hush-hush")
            .start();
        let text = get(&world, &gateway).text();
        assert!(
            !text.contains("canary-") && !text.contains("access-1"),
            "{text}"
        );
        assert_eq!(
            server.requests()[0].header("x-token"),
            Some("Token access-1")
        );
        let body = String::from_utf8(login.requests()[0].body.clone()).unwrap();
        assert_eq!(
            body,
            "grant_type=refresh_token&refresh_token=canary-0&client_id=app&client_secret=hush-hush"
        );
        let kept = fs::read_to_string(gateway.state().join("refresh-tokens/api")).unwrap();
        assert!(kept.ends_with("\ncanary-1"), "{kept}");
        gateway.kill();
        gateway.start();
        assert_eq!(get(&world, &gateway).status, 200);
        assert_eq!(
            server.requests()[1].header("x-token"),
            Some("Token access-2")
        );
        assert!(!gateway.log().contains("canary-"));
    });
}

#[test]
fn refusals_of_the_token_endpoint_are_sentences_with_a_remedy() {
    inside(|| {
        let world = World::new();
        let answers = [
            json(
                401,
                "{\"error\":\"invalid_client\",\"error_description\":\"canary/client+secret\"}",
            ),
            json(400, "{\"error\":\"invalid_request\"}")
                .header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            Answer::ok("<html>"),
        ];
        let turn = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&turn);
        let _login = login(&world, move |_| answers[now.load(SeqCst)].clone());
        let _server = api(&world, |_| Answer::ok("fine"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(CLIENT))
            .secret("client", CLIENT_SECRET)
            .start();
        let refuses = "the server that makes its token refuses to";
        for (number, brief, logged) in [
            (
                0,
                refuses,
                "credential `api`: no token: login.good.test answers `invalid_client`: see whether `client_id`, `client_auth` and the secret are right",
            ),
            (
                1,
                "the clock of the gateway is wrong",
                " s ahead: set the clock",
            ),
            (
                2,
                refuses,
                "sent an answer without a token: see whether the URL is that of its token endpoint",
            ),
        ] {
            turn.store(number, SeqCst);
            gateway.wait_log(logged);
            let refused = get_until(&world, &gateway, brief, |response| {
                assert_eq!(response.status, 503);
                response.text().contains(brief)
            });
            assert_eq!(
                sentence(&refused),
                format!(
                    "the credential `api` is not available: {brief}; ask the operator of the gateway"
                )
            );
        }
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
    });
}

#[test]
fn i8_a_token_url_in_a_forbidden_network_or_with_a_wrong_certificate_gets_no_secret() {
    inside(|| {
        let world = World::new();
        let stranger = TestCa::new().server(&[LOGIN]);
        let wrong = Upstream::https(&world.internet, OTHER, 443, stranger, |_| Answer::ok("{}"));
        let _server = api(&world, |_| Answer::ok("fine"));
        let mut all = rules(CLIENT);
        all.push_str(
            &rules(CLIENT)
                .replace("\"api\"", "\"inside\"")
                .replace(LOGIN, "inside.good.test"),
        );
        let gateway = world
            .gateway_builder(CONFIG)
            .rule(
                "rules.toml",
                &all.replace(
                    "credential = \"inside\"\n",
                    "credential = \"inside\"\npaths = [\"/inside\"]\n",
                ),
            )
            .secret("client", CLIENT_SECRET)
            .start();
        let line = gateway.wait_log("credential `api`: no token from login.good.test");
        assert!(line.contains("certificate"), "{line}");
        let line = gateway.wait_log("credential `inside`: no token from inside.good.test");
        assert!(line.contains("resolves only to"), "{line}");
        wrong.wait_connections(1);
        assert!(wrong.requests().is_empty());
        assert_eq!(get(&world, &gateway).status, 503);
    });
}

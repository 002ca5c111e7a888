//! Files that change.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::common::{Answer, World, inside};
use crate::errors::session;
use crate::{CONFIG, api, authorizations, get, get_until, rules, sentence, swap_secret};

const FILE: &str = "secret = { file = \"../canary\" }\nrefresh = \"100ms\"\n\
                    attach = { bearer = true }\n";
const ONE: &str = "canary-one-5f1d";
const TWO: &str = "canary-two-b7a3";

#[test]
fn a_file_is_read_again_when_it_changes_and_the_old_secret_is_still_redacted() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |request| {
            let authorization = request.header("authorization").unwrap();
            Answer::ok(format!("{authorization} and {ONE} or {TWO}"))
        });
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(FILE))
            .secret("canary", ONE)
            .start();
        assert!(!get(&world, &gateway).text().contains(ONE));
        assert_eq!(authorizations(&server), [format!("Bearer {ONE}")]);
        swap_secret(&gateway, "canary", &format!("{TWO}\n"), 0o600);
        gateway.wait_log("a new value is in force");
        let response = get(&world, &gateway).text();
        assert!(
            !response.contains(ONE) && !response.contains(TWO),
            "{response}"
        );
        assert_eq!(authorizations(&server)[1], format!("Bearer {TWO}"));
        let fetched = [("credential", "api"), ("result", "fetched")];
        assert!(gateway.metric("portreeve_credential_refreshes_total", &fetched) >= 2.0);
    });
}

#[test]
fn a_file_that_others_may_read_is_not_taken_and_the_last_secret_is_used_on() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |_| Answer::ok("fine"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(FILE))
            .secret("canary", ONE)
            .start();
        swap_secret(&gateway, "canary", TWO, 0o644);
        let line = gateway.wait_log("its last value is used on for now");
        assert!(
            line.contains("credential `api`: `") && line.contains("has mode 0644"),
            "{line}"
        );
        assert!(line.contains("run `chmod 0600 "), "{line}");
        assert_eq!(get(&world, &gateway).status, 200);
        assert_eq!(authorizations(&server), [format!("Bearer {ONE}")]);
        let listed = gateway.command(&["credential", "list"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        for part in [
            "api: from file ",
            "for api.good.test; stale, ",
            ", fingerprint ",
            "0644",
        ] {
            assert!(listed.contains(part), "{part}: {listed}");
        }
        assert!(!listed.contains("canary-"), "{listed}");
        let name = [("credential", "api")];
        assert!(gateway.metric("portreeve_credential_stale", &name) > 0.5);
        assert!(gateway.metric("portreeve_credential_unavailable", &name) < 0.5);
        // What was loose is taken once it is not.
        swap_secret(&gateway, "canary", TWO, 0o600);
        gateway.wait_log("credential `api` is at hand");
        get(&world, &gateway);
        assert_eq!(authorizations(&server)[1], format!("Bearer {TWO}"));
        assert!(gateway.metric("portreeve_credential_stale", &name) < 0.5);
    });
}

#[test]
fn a_file_that_stays_away_ends_in_503_and_its_return_ends_that() {
    inside(|| {
        let world = World::new();
        let _server = api(&world, |_| Answer::ok("fine"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule(
                "rules.toml",
                &rules(&format!("{FILE}stale_for = \"200ms\"\n")),
            )
            .secret("canary", ONE)
            .start();
        assert_eq!(get(&world, &gateway).status, 200);
        std::fs::remove_file(gateway.folder().join("canary")).unwrap();
        let refused = get_until(&world, &gateway, "503", |response| response.status == 503);
        assert_eq!(
            sentence(&refused),
            "the credential `api` is not available: the file of its secret is missing; \
             ask the operator of the gateway"
        );
        let name = [("credential", "api")];
        assert!(gateway.metric("portreeve_credential_unavailable", &name) > 0.5);
        swap_secret(&gateway, "canary", TWO, 0o600);
        get_until(&world, &gateway, "200", |response| response.status == 200);
    });
}

/// The time in so many seconds.
pub fn after(seconds: i64) -> String {
    let time = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    time.format(&Rfc3339).unwrap()
}

#[test]
fn a_key_that_ends_by_itself_ends_in_503_and_the_next_one_is_taken() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |_| Answer::ok("fine"));
        let lines = "secret = { file = \"../canary\" }\nrefresh = \"100ms\"\n\
                     attach = { sigv4 = true, region = \"a\", service = \"s3\" }\n";
        let until = |seconds| session("ASIA", &after(seconds));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(lines))
            .secret("canary", &until(3600))
            .start();
        assert_eq!(get(&world, &gateway).status, 200);
        swap_secret(&gateway, "canary", &until(2), 0o600);
        let line = gateway.wait_log("credential `api`: the AWS key expired at ");
        assert!(
            line.contains("put a new one where it is read from"),
            "{line}"
        );
        let response = get(&world, &gateway);
        assert_eq!(response.status, 503, "{}", response.text());
        assert!(sentence(&response).contains("`api` is not available: its AWS key has expired"));
        swap_secret(&gateway, "canary", &until(3600), 0o600);
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert!(!gateway.log().contains("canary-"), "{}", gateway.log());
        assert!(authorizations(&server)[0].starts_with("AWS4-HMAC-SHA256 "));
    });
}

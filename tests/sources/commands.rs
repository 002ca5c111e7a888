//! Secrets that a program prints, and the commands that tell of credentials.

use crate::common::{Answer, World, inside};
use crate::errors::session;
use crate::local::after;
use crate::{CONFIG, api, authorizations, get, get_until, rules, sentence, swap_secret};

const ONE: &str = "canary-one-5f1d";
const TWO: &str = "canary-two-b7a3";

#[test]
fn a_command_is_run_again_its_value_used_on_and_then_refused() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |_| Answer::ok(format!("{ONE} {TWO}")));
        let path = world.path("gateway").join("canary");
        let source = format!(
            "secret = {{ command = [\"/bin/cat\", \"{}\"] }}\nrefresh = \"100ms\"\n\
             stale_for = \"300ms\"\nattach = {{ header = \"x-api-key\" }}\n",
            path.display()
        );
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(&source))
            .secret("canary", ONE)
            .start();
        // The first request may come before the command has ended: it waits.
        let response = get(&world, &gateway);
        assert_eq!(response.status, 200, "{}", gateway.log());
        assert!(!response.text().contains(ONE));
        swap_secret(&gateway, "canary", TWO, 0o600);
        get_until(&world, &gateway, "the new key", |response| {
            assert!(!response.text().contains(ONE) && response.status == 200);
            server.requests().last().unwrap().header("x-api-key") == Some(TWO)
        });
        assert!(authorizations(&server).iter().all(|it| it == "none"));
        std::fs::remove_file(&path).unwrap();
        let refused = get_until(&world, &gateway, "503", |response| response.status == 503);
        assert_eq!(
            sentence(&refused),
            "the credential `api` is not available: the command that prints its secret failed; \
             ask the operator of the gateway"
        );
        let line = gateway.wait_log("rules that attach it answer 503");
        assert!(
            line.contains("credential `api`: `/bin/cat` ended with exit status: 1"),
            "{line}"
        );
        swap_secret(&gateway, "canary", ONE, 0o600);
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert!(!gateway.log().contains("canary-"), "{}", gateway.log());
    });
}

#[test]
fn a_program_is_asked_again_before_the_key_it_printed_ends() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |_| Answer::ok("fine"));
        let path = world.path("gateway").join("canary");
        let source = format!(
            "secret = {{ command = [\"/bin/cat\", \"{}\"] }}\nrefresh = \"1h\"\n\
             attach = {{ sigv4 = true, region = \"a\", service = \"s3\" }}\n",
            path.display()
        );
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(&source))
            .secret("canary", &session("ASIAONE", &after(12)))
            .start();
        assert_eq!(get(&world, &gateway).status, 200, "{}", gateway.log());
        let signed = |id: &str| {
            let last = authorizations(&server).pop().unwrap();
            last.contains(&format!(" Credential={id}/"))
        };
        assert!(signed("ASIAONE"));
        swap_secret(&gateway, "canary", &session("ASIATWO", &after(3600)), 0o600);
        get_until(&world, &gateway, "the new key", |response| {
            assert_eq!(response.status, 200, "at no moment is there none");
            signed("ASIATWO")
        });
    });
}

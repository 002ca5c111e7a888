//! Every error of a credential is a sentence with its name and the remedy: in `check`, in
//! `credential test`, in the log, and, without what is the operator's alone, in the 503.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::common::world::THIRD;
use crate::common::{Answer, Request, Upstream, World, inside};
use crate::signed::key;
use crate::{API, CONFIG, LOGIN, api, login, send, sentence};

/// A credential that cannot be had.
struct Case {
    name: &'static str,
    /// Its lines.
    lines: String,
    /// What the operator reads, with the remedy.
    told: [&'static str; 2],
    /// What the agent reads.
    brief: &'static str,
}

fn app(api: &str, key: &str) -> String {
    format!(
        "secret = {{ file = \"../{key}\" }}\nattach = {{ github_app = {{ app_id = \"1\", installation_id = 2, api = \"https://{LOGIN}/{api}\" }} }}\n"
    )
}

fn vault(token: &str, address: &str) -> String {
    format!(
        "secret = {{ vault = {{ address = \"http://{address}\", path = \"secret/data/app\", field = \"key\", token = {{ file = \"../{token}\" }} }} }}\nattach = {{ bearer = true }}\n"
    )
}

fn bearer(secret: &str) -> String {
    format!("secret = {secret}\nattach = {{ bearer = true }}\n")
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let case = |name, lines, told, brief| Case {
        name,
        lines,
        told,
        brief,
    };
    let [vault_address, _] = THIRD;
    let vault_address = format!("{vault_address}:8200");
    vec![
        case(
            "missing",
            bearer("{ file = \"../missing\" }"),
            ["missing` cannot be read", "put it there, with mode 0600"],
            "the file of its secret is missing",
        ),
        case(
            "loose",
            bearer("{ file = \"../loose\" }"),
            ["has mode 0644", "run `chmod 0600 "],
            "the file of its secret is open to others than its owner",
        ),
        case(
            "empty",
            bearer("{ file = \"../empty\" }"),
            ["the secret is empty", "put it where it is read from"],
            "its secret is empty",
        ),
        case(
            "unset",
            bearer("{ env = \"NO_SUCH_VARIABLE\" }"),
            ["`NO_SUCH_VARIABLE` is not set", "set it where the gateway is started"],
            "the environment variable of its secret is not set",
        ),
        case(
            "program",
            bearer("{ command = [\"/bin/false\"] }"),
            ["`/bin/false` ended with exit status: 1", "run it by hand"],
            "the command that prints its secret failed",
        ),
        case(
            "denied",
            vault("token", &vault_address),
            ["denies reading `secret/data/app`", "give its token a policy with `read` there"],
            "the vault denies access to it",
        ),
        case(
            "away",
            vault("token", "127.0.0.1:1"),
            ["does not answer", "see whether it is up"],
            "the vault cannot be reached",
        ),
        case(
            "expired",
            "secret = { file = \"../account\" }\nattach = { gcp_service_account = { scopes = [\"a\"] } }\n"
                .to_owned(),
            ["`invalid_grant`", "is expired or revoked: get a new one"],
            "the server that makes its token refuses to",
        ),
        case(
            "skew",
            app("skew", "key"),
            ["whose clock is", "set the clock (`timedatectl set-ntp true`)"],
            "the clock of the gateway is wrong",
        ),
        case(
            "wrong-kind",
            app("app", "ec"),
            ["the secret is no RSA key", "generate a private key in the app's settings"],
            "its key is of the wrong kind",
        ),
        case(
            "no-key",
            "secret = { file = \"../text\" }\nattach = { client_certificate = \"../chain\" }\n".to_owned(),
            ["the secret is no private key", "it must be a PEM block"],
            "the secret is no private key",
        ),
        case(
            "no-aws-key",
            "secret = { file = \"../text\" }\nattach = { sigv4 = true }\n".to_owned(),
            ["the secret is no AWS key", "with its id as `key_id`"],
            "the secret is no AWS key",
        ),
        case(
            "old-aws-key",
            "secret = { file = \"../session\" }\nattach = { sigv4 = true }\n".to_owned(),
            ["the AWS key expired at 2020-01-01", "put a new one where it is read from"],
            "its AWS key has expired",
        ),
        case(
            "old-certificate",
            "secret = { file = \"../own-key\" }\nattach = { client_certificate = \"../old\" }\n".to_owned(),
            ["/old` expired at 2020-01-01", "put a new one there"],
            "its certificate has expired",
        ),
        case(
            "early-certificate",
            "secret = { file = \"../own-key\" }\nattach = { client_certificate = \"../early\" }\n".to_owned(),
            ["/early` is valid from 2090-01-01", "set the clock (`timedatectl set-ntp true`)"],
            "its certificate is not valid yet",
        ),
        case(
            "line",
            bearer("{ file = \"../lines\" }"),
            ["is a line end", "it must be printable ASCII on one line"],
            "byte 13 of the secret is a line end",
        ),
    ]
}

/// A certificate for `key`, valid from one year to another.
fn certificate(key: &rcgen::KeyPair, years: [i32; 2]) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let [from, to] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
    (params.not_before, params.not_after) = (from, to);
    params.self_signed(key).unwrap().pem()
}

/// A key for a session, as a `credential_process` prints it.
pub fn session(id: &str, end: &str) -> String {
    json!({
        "Version": 1,
        "AccessKeyId": id,
        "SecretAccessKey": "canary-key",
        "SessionToken": "canary-session",
        "Expiration": end,
    })
    .to_string()
}

/// Answers for the servers that make tokens.
fn refuse(request: &Request) -> Answer {
    if request.target.starts_with("/skew") {
        let past = OffsetDateTime::from(SystemTime::now() - Duration::from_secs(3600));
        let date = past.format(&Rfc2822).unwrap().replace("+0000", "GMT");
        let words = Answer::ok("{\"message\":\"canary\"}").status(401);
        return words.header("date", &date);
    }
    Answer::ok("{\"error\":\"invalid_grant\",\"error_description\":\"canary\"}").status(400)
}

#[test]
#[allow(clippy::too_many_lines, reason = "each place in which errors are read")]
fn each_error_names_the_credential_and_the_remedy_wherever_it_is_read() {
    inside(|| {
        let world = World::new();
        let server = api(&world, |_| Answer::ok("fine"));
        let _login = login(&world, refuse);
        let _vault = Upstream::http(&world.internet, THIRD, 8200, |_| {
            Answer::ok("{\"errors\":[\"canary: permission denied\"]}").status(403)
        });
        let (_, pem) = key();
        let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let own = rcgen::KeyPair::generate().unwrap();
        let account = json!({
            "client_email": "robot@project.example",
            "private_key": pem,
            "token_uri": format!("https://{LOGIN}/expired"),
        });
        let mut rules = String::new();
        for Case { name, lines, .. } in cases() {
            rules.push_str(&format!(
                "[[credential]]\nname = \"{name}\"\nhosts = [\"{API}\"]\n{lines}\
                 [[rule]]\nname = \"{name}\"\nagents = [\"builder\"]\nhosts = [\"{API}\"]\n\
                 paths = [\"/{name}\"]\ncredential = \"{name}\"\n"
            ));
        }
        let builder = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules)
            .secret("empty", "\n")
            .secret("token", "canary-token")
            .secret("key", &pem)
            .secret("ec", &ec)
            .secret("account", &account.to_string())
            .secret("text", "canary-text")
            .secret("session", &session("ASIA", "2020-01-01T00:00:00Z"))
            .secret("own-key", &own.serialize_pem())
            .secret("old", &certificate(&own, [2019, 2020]))
            .secret("early", &certificate(&own, [2090, 2099]))
            .secret("lines", "canary-lines\nmore")
            .secret("chain", world.ca.pem());
        let loose = world.path("gateway").join("loose");
        fs::write(&loose, "canary-loose").unwrap();
        fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
        let gateway = builder.start();
        let output = gateway.command(&["check", "--credentials"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let checked = String::from_utf8(output.stdout).unwrap();
        let plain = gateway.command(&["check"]);
        let plain = String::from_utf8(plain.stdout).unwrap();
        assert!(
            !plain.contains("credential `"),
            "no secret is read: {plain}"
        );
        for Case {
            name, told, brief, ..
        } in cases()
        {
            let named = format!("credential `{name}`");
            let request = format!("GET /{name} HTTP/1.1\r\nhost: {API}\r\n\r\n");
            let response = send(&world, &gateway, request);
            assert_eq!(response.status, 503, "{name}: {}", response.text());
            let refusal = sentence(&response);
            let line = gateway.wait_log(&format!("{named}: "));
            let output = gateway.command(&["credential", "test", name]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let tested = String::from_utf8(output.stdout).unwrap();
            let of_check = checked.lines().find(|line| line.contains(&named));
            let of_check = of_check.unwrap_or_else(|| panic!("{name}: {checked}"));
            for (place, text) in [("check", of_check), ("log", &line), ("test", &tested)] {
                for part in told {
                    assert!(text.contains(part), "{place} of {name}: {part} in {text}");
                }
            }
            let whole = format!("the {named} is not available: {brief}");
            assert!(refusal.starts_with(&whole), "{refusal}");
            assert!(
                refusal.ends_with("; ask the operator of the gateway"),
                "{refusal}"
            );
            assert!(tested.starts_with(&format!("{name}: from ")), "{tested}");
            assert!(tested.contains("gateway: last said absent"), "{tested}");
            let folder = gateway.folder().display().to_string();
            assert!(!refusal.contains(&folder), "{refusal}");
        }
        let all = format!("{checked}{}", gateway.log());
        // Secrets stand beside the folder of the rules, and are shown there.
        for told in ["canary", "BEGIN PRIVATE", "rules/.."] {
            assert!(!all.contains(told), "{told}: {all}");
        }
        assert!(server.requests().is_empty());
    });
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_test_tells_what_can_be_had_and_no_value() {
    inside(|| {
        let world = World::new();
        let _server = api(&world, |_| Answer::ok("fine"));
        let asked = login(&world, |_| {
            Answer::ok("{\"access_token\":\"token-canary\",\"expires_in\":3600}")
        });
        let oauth2 = |grant: &str| {
            format!(
                "secret = {{ file = \"../canary\" }}\nattach = {{ oauth2 = {{ token_url = \"https://{LOGIN}/token\", client_id = \"a\"{grant} }} }}\n"
            )
        };
        let mut rules = String::new();
        for (name, lines) in [
            ("file", bearer("{ file = \"../canary\" }")),
            ("variable", bearer("{ env = \"CANARY\" }")),
            ("token", oauth2("")),
            ("refreshed", oauth2(", grant = \"refresh_token\"")),
            (
                "stand-in",
                "secret = { file = \"../canary\" }\nattach = { placeholder = [\"header:x\"] }\n"
                    .to_owned(),
            ),
        ] {
            rules.push_str(&format!(
                "[[credential]]\nname = \"{name}\"\nhosts = [\"{API}\"]\n{lines}\
                 [[rule]]\nname = \"{name}\"\nagents = [\"builder\"]\nhosts = [\"{API}\"]\n\
                 paths = [\"/{name}\"]\ncredential = \"{name}\"\n"
            ));
        }
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules)
            .secret("canary", "secret-canary")
            .env("CANARY", "secret-canary")
            .start();
        asked.wait_requests(2);
        gateway.wait_log("credential `refreshed` is at hand");
        gateway.wait_log("credential `token` is at hand");
        let grants = asked.requests().len();
        for (name, told) in [
            (
                "file",
                &[
                    "from file ",
                    "last said fresh, obtained ",
                    "now: it can be had, fingerprint ",
                ][..],
            ),
            (
                "variable",
                &["environment variable CANARY", "now: it can be had"],
            ),
            (
                "token",
                &[
                    "last said fresh",
                    "now: it can be had, fingerprint ",
                    "valid for 3600 s",
                ],
            ),
            (
                "refreshed",
                &[
                    "last said fresh",
                    "now: not tried, because a server may replace",
                ],
            ),
            ("stand-in", &["now: it can be had"]),
        ] {
            let output = gateway.command(&["credential", "test", name]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{text}");
            for part in told {
                assert!(text.contains(part), "{name}: {part} in {text}");
            }
            assert!(text.contains(&format!("for {API}")), "{text}");
            assert!(
                !text.contains("canary\n") && !text.contains("secret-canary"),
                "{text}"
            );
            assert!(!text.contains("token-canary"), "{text}");
        }
        // The same value has the same mark, and is told apart from others.
        let output = gateway.command(&["credential", "test", "file"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let marks: Vec<_> = text
            .split("fingerprint ")
            .skip(1)
            .map(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap())
            .collect();
        assert_eq!(marks.len(), 2, "{text}");
        assert_eq!(marks[0], marks[1]);
        // A refresh token was spent by the gateway alone.
        assert_eq!(asked.requests().len(), grants + 1);
        assert!(
            gateway
                .command(&["check", "--credentials"])
                .status
                .success()
        );
        let output = gateway.command(&["credential", "test", "nobody"]);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("no credential is called `nobody`"), "{text}");
    });
}

//! What a right configuration means.

use std::time::Duration;

use portreeve::config::{self, Ca, DeniedNames, Env, WhenUnwritable};
use portreeve::credential::{Attach, Source};
use portreeve::dlp;
use portreeve::policy::Mode;
use portreeve::policy::rule::{
    Action, Agents, Cookies, Dlp, ForeignCredentials, HostPattern, Hosts, Methods,
};
use portreeve::tls::Trust;

use crate::Folder;

#[test]
fn without_any_file_the_defaults_hold_and_nothing_is_allowed() {
    let folder = Folder::new(&[]);
    let loaded = config::load(None, &folder.env()).unwrap();
    assert!(loaded.rules.is_empty() && loaded.credentials.is_empty() && loaded.agents.is_empty());
    assert_eq!(loaded.mode, Mode::Enforce);
    let config = &loaded.config;
    assert_eq!(config.rules, None);
    assert_eq!(config.state_dir.to_str(), Some("/state"));
    assert_eq!(config.listen.transparent.to_string(), "[::]:8443");
    assert_eq!(config.audit.file.to_str(), Some("/state/audit.jsonl"));
    assert_eq!(config.audit.when_unwritable, WhenUnwritable::Deny);
    assert_eq!(
        config.ca,
        Ca::Made {
            folder: "/state/ca".into()
        }
    );
    assert_eq!(loaded.policy(7).generation(), 7);
    assert!(loaded.policy(7).rules().is_empty());
}

#[test]
fn i1_an_empty_rules_file_allows_nothing() {
    let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", "")]);
    let loaded = folder.load().unwrap();
    assert!(loaded.rules.is_empty());
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn i1_one_error_anywhere_means_no_rule_at_all() {
    let rule = "[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\n";
    for (portreeve, rules) in [("mode = \"x\"", rule), ("", "[[rule]]\n"), ("", "x")] {
        let folder = Folder::new(&[
            ("portreeve.toml", portreeve),
            ("rules/a.toml", rule),
            ("rules/b.toml", rules),
        ]);
        assert!(folder.load().is_err());
    }
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let folder = Folder::new(&[
        (
            "etc/portreeve.toml",
            "rules = \"../policy\"\nstate_dir = \"../state\"\n\
             [upstream]\ntrust = [\"roots.pem\"]\n\
             [ca]\ncertificate = \"ca.pem\"\nkey = \"/abs/ca.key\"\n",
        ),
        (
            "policy/a.toml",
            "[[credential]]\nname = \"k\"\nsecret = { file = \"secrets/k\" }\nhosts = [\"a.test\"]\n\
             attach = { bearer = true }\n\
             [[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\ncredential = \"k\"\n",
        ),
    ]);
    let loaded = config::load(Some(&folder.path("etc/portreeve.toml")), &folder.env()).unwrap();
    let etc = folder.path("etc");
    let config = &loaded.config;
    // Shown the short way.
    assert_eq!(config.rules, Some(folder.path("policy")));
    assert_eq!(config.state_dir, folder.path("state"));
    assert_eq!(config.audit.file, folder.path("state/audit.jsonl"));
    assert_eq!(
        config.upstream.trust,
        Trust::Pem(vec![etc.join("roots.pem")])
    );
    let Ca::Own {
        certificate,
        key,
        chain,
    } = &config.ca
    else {
        panic!("{:?}", config.ca)
    };
    assert_eq!(
        (certificate, key.to_str(), chain),
        (&etc.join("ca.pem"), Some("/abs/ca.key"), &None)
    );
    let policy = folder.path("policy");
    assert_eq!(
        loaded.credentials[0].source,
        Source::File(policy.join("secrets/k"))
    );
    assert_eq!(
        &*loaded.rules[0].place.file,
        policy.join("a.toml").to_str().unwrap()
    );
}

#[test]
fn a_rule_that_says_nothing_has_its_requests_scanned() {
    let rule = "[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\non_limit = \"alert\"\n";
    let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", rule)]);
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.rules[0].dlp, Dlp::Default);
}

#[test]
fn rules_files_come_in_byte_order_of_name_and_nothing_else_is_read() {
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\n");
    let folder = Folder::new(&[
        ("portreeve.toml", ""),
        ("rules/b.toml", &rule("third")),
        ("rules/B.toml", &rule("second")),
        ("rules/10.toml", &rule("first")),
        ("rules/é.toml", &rule("fourth")),
        ("rules/README", "x"),
        ("rules/a.toml.bak", "x"),
        ("rules/.hidden.toml", "x"),
        ("rules/dlp/a.toml", "x"),
    ]);
    let loaded = folder.load().unwrap();
    let names: Vec<_> = loaded.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third", "fourth"]);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_rule_says_no_more_than_is_written() {
    let folder = Folder::new(&[
        ("portreeve.toml", ""),
        (
            "rules/a.toml",
            "\n  [[rule]]\nname = \"a\"\nhosts = [\"A.test\", \"*.b.test\"]\n",
        ),
    ]);
    let rule = &folder.load().unwrap().rules[0];
    assert_eq!((rule.place.line, rule.place.column), (2, 3));
    assert_eq!(rule.agents, Agents::Any);
    let Hosts::These(hosts) = &rule.hosts else {
        panic!("{:?}", rule.hosts)
    };
    assert!(matches!(&hosts[0], HostPattern::Exact(host) if host.text() == "a.test"));
    assert!(matches!(&hosts[1], HostPattern::Under(host) if host.text() == "b.test"));
    assert!(rule.schemes.https && !rule.schemes.http);
    assert_eq!(rule.ports, [443]);
    assert_eq!(rule.methods, Methods::Known);
    assert_eq!(rule.paths, None);
    assert_eq!(rule.action, Action::Allow);
    assert_eq!(rule.cookies, Cookies::Pass);
    assert!(!rule.encoded_slash && !rule.query_only && !rule.share_upstream && !rule.record_query);
    assert!(rule.query.is_empty() && rule.headers.is_empty() && rule.credentials.is_empty());
    assert!(rule.set_headers.is_empty() && rule.remove_headers.is_empty());
}

#[test]
fn a_rule_says_everything_that_is_written() {
    let folder = Folder::new(&[
        (
            "portreeve.toml",
            "[[agent]]\nname = \"builder\"\nsources = [\"10.0.0.0/8\"]\n",
        ),
        (
            "rules/a.toml",
            r#"
[[credential]]
name = "key"
secret = { systemd = "key" }
hosts = ["a.test"]
attach = { header = "X-Token", format = "Token {secret}" }
[[rule]]
name = "a"
agents = ["builder"]
hosts = ["a.test"]
ports = [443, 80]
methods = ["GET", "PROPFIND"]
paths = ["/a/*", "/b/**"]
encoded_slash = true
query = { service = "git-upload-pack" }
query_only = true
headers = { X-Team = "red" }
credential = "key"
foreign_credentials = "refuse"
set_headers = { x-agent = "{agent}" }
remove_headers = ["Authorization"]
record_query = true
dlp = "strict"
on_limit = "alert"
tls = "intercept"
[[rule]]
name = "b"
agents = ["any"]
any_host = true
schemes = ["http", "https"]
action = "deny"
reason = "use a.test"
"#,
        ),
    ]);
    let loaded = folder.load().unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let [a, b] = loaded.rules.as_slice() else {
        panic!()
    };
    assert!(matches!(&a.agents, Agents::These(names) if names[0].as_str() == "builder"));
    assert_eq!(a.ports, [443, 80]);
    assert!(matches!(&a.methods, Methods::These(methods) if methods.len() == 2));
    assert_eq!(a.paths.as_ref().map(Vec::len), Some(2));
    assert!(a.encoded_slash && a.query_only && a.record_query);
    assert_eq!(
        a.query,
        [("service".to_owned(), "git-upload-pack".to_owned())]
    );
    assert_eq!(a.headers[0].0, "x-team");
    assert_eq!(a.foreign_credentials, ForeignCredentials::Refuse);
    assert_eq!(a.cookies, Cookies::Drop);
    assert_eq!(
        a.set_headers[0].1.render(&loaded.agents[0].name, &a.name),
        "builder"
    );
    assert_eq!(a.remove_headers[0], "authorization");
    assert_eq!(b.agents, Agents::Any);
    assert_eq!(b.hosts, Hosts::Any);
    assert_eq!(b.ports, [443, 80]);
    assert_eq!(
        b.action,
        Action::Deny {
            reason: "use a.test".into()
        }
    );
    let credential = &loaded.credentials[0];
    assert_eq!(a.credentials, std::slice::from_ref(&credential.name));
    assert_eq!(credential.source, Source::Systemd("key".into()));
    assert_eq!(
        credential.attach,
        Attach::Header {
            name: "x-token".parse().unwrap(),
            format: "Token {secret}".into()
        }
    );
}

const A_BOX: &str = r#"
mode = "observe"
[listen]
transparent = "10.0.0.1:1"
dns = "off"
admin = "off"
[redirect]
interfaces = ["lan0"]
ports = [443]
[upstream]
allow_networks = ["127.0.0.1", "10.0.0.0/8"]
resolve = { "Git.internal" = ["10.0.0.5", "fd00::5"] }
nameservers = ["9.9.9.9"]
own_addresses = ["203.0.113.7"]
[dns]
placeholder = ["fd00::1"]
denied = "refused"
[limits]
connections = 10
hold_bytes = "0B"
head_bytes = "2KiB"
body_bytes = "1GB"
[timeouts]
hello = "1m30s"
[audit]
file = "/log/a.jsonl"
queue = 5
when_unwritable = "continue"
"#;

#[test]
fn a_box_says_everything_that_is_written() {
    let folder = Folder::new(&[("portreeve.toml", A_BOX)]);
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.mode, Mode::Observe);
    let config = loaded.config;
    assert_eq!(config.listen.transparent.to_string(), "10.0.0.1:1");
    assert_eq!((config.listen.dns, config.listen.admin), (None, None));
    assert_eq!(
        (config.redirect.interfaces, config.redirect.ports),
        (vec!["lan0".into()], vec![443])
    );
    let networks: Vec<_> = config
        .upstream
        .allow_networks
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["127.0.0.1/32", "10.0.0.0/8"]);
    let (host, addresses) = config.upstream.resolve.first_key_value().unwrap();
    assert_eq!((host.text().as_ref(), addresses.len()), ("git.internal", 2));
    assert_eq!(config.upstream.nameservers[0].to_string(), "9.9.9.9:53");
    assert_eq!(config.upstream.own_addresses[0].to_string(), "203.0.113.7");
    assert_eq!(config.dns.placeholder_v4, None);
    assert_eq!(config.dns.placeholder_v6.unwrap().to_string(), "fd00::1");
    assert_eq!(config.dns.denied, DeniedNames::Refused);
    let limits = config.limits;
    // The defaults of parts shrink with their whole.
    assert_eq!((limits.connections, limits.connections_per_agent), (10, 10));
    assert_eq!(
        (limits.hold_bytes, limits.head_bytes, limits.uri_bytes),
        (0, 2048, 2048)
    );
    assert_eq!(limits.body_bytes, Some(1_000_000_000));
    assert_eq!(config.timeouts.hello, Duration::from_secs(90));
    assert_eq!(config.audit.file.to_str(), Some("/log/a.jsonl"));
    assert_eq!(config.audit.queue, 5);
    assert_eq!(config.audit.when_unwritable, WhenUnwritable::Continue);
}

#[test]
fn a_reload_takes_the_policy_and_tells_what_needs_a_restart() {
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\nhosts = [\"a.test\"]\n");
    let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", &rule("one"))]);
    let running = folder.load().unwrap().config;
    let file = folder.path("portreeve.toml");

    folder.write("portreeve.toml", "mode = \"observe\"\n");
    folder.write("rules/a.toml", rule("two"));
    let loaded = config::reload(Some(&file), &folder.env(), &running).unwrap();
    assert_eq!(loaded.rules[0].name.as_str(), "two");
    assert_eq!(loaded.mode, Mode::Observe);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);

    folder.write(
        "portreeve.toml",
        "[limits]\nstreams = 7\n[audit]\nqueue = 7\n",
    );
    let loaded = config::reload(Some(&file), &folder.env(), &running).unwrap();
    let messages: Vec<_> = loaded
        .warnings
        .iter()
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].starts_with("[limits]") && messages[1].starts_with("[audit]"));

    folder.write("rules/a.toml", "[[rule]]\n");
    assert!(config::reload(Some(&file), &folder.env(), &running).is_err());
}

#[test]
fn check_says_how_it_went() {
    use portreeve::cli::check::{Options, Outcome, run};
    let rule = "[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\n";
    let check = |rules: &str, json: bool| {
        let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", rules)]);
        let mut out = Vec::new();
        let file = folder.path("portreeve.toml");
        let options = Options {
            json,
            ..Options::default()
        };
        let outcome = run(Some(&file), &folder.env(), options, &mut out).unwrap();
        (outcome, folder.neutral(&String::from_utf8(out).unwrap()))
    };
    let (outcome, text) = check(rule, false);
    assert_eq!(
        (outcome.exit_code(), text.as_str()),
        (0, "ok: 1 rule, 0 credentials, 0 agents\n")
    );
    let (outcome, text) = check(&format!("{rule}ports = [1]\n"), false);
    assert_eq!(outcome, Outcome::Warnings);
    assert_eq!(outcome.exit_code(), 1);
    assert!(
        text.starts_with("rules/a.toml:4:10: warning: port 1"),
        "{text}"
    );
    assert!(
        text.ends_with("\n1 warning: 1 rule, 0 credentials, 0 agents\n"),
        "{text}"
    );
    let (outcome, text) = check("[[rule]]\n", false);
    assert_eq!(outcome.exit_code(), 2);
    assert!(text.ends_with("\n2 errors\n"), "{text}");

    let (_, text) = check("[[rule]]\nname = \"a\"\n", true);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["usable"], false);
    assert_eq!(report["summary"], serde_json::Value::Null);
    let finding = &report["findings"][0];
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["place"]["file"], "rules/a.toml");
    assert_eq!(
        (
            finding["place"]["line"].as_u64(),
            finding["place"]["column"].as_u64()
        ),
        (Some(1), Some(1))
    );
    let (_, text) = check(rule, true);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["summary"]["rules"], 1);
}

#[test]
fn the_environment_is_the_process_only_where_asked() {
    // Nothing here depends on the machine: no file of it is found.
    let folder = Folder::new(&[]);
    let env = Env::fixed(&folder.path("."), []);
    assert_eq!(env.config_file(None), None);
}

#[test]
fn a_shipped_detector_can_be_adjusted_without_its_shapes() {
    let folder = Folder::new(&[
        ("portreeve.toml", "dlp = \"detectors\"\n"),
        (
            "detectors/a.toml",
            r#"
[[adjust]]
detector = "own"
strict = "alert"
[[adjust]]
detector = "aws-access-key-id"
default = "redact"
allow_to = ["keys.example.test", "*.aws.test"]
"#,
        ),
        // Whichever file comes first.
        (
            "detectors/b.toml",
            "[[detector]]\nname = \"own\"\ntitle = \"Own\"\nshapes = ['own_[a-z0-9]{20}']\n",
        ),
    ]);
    let all = config::detectors(Some(&folder.path("portreeve.toml")), &folder.env()).unwrap();
    let of = |name: &str| all.iter().find(|detector| &*detector.name == name).unwrap();
    let aws = of("aws-access-key-id");
    assert_eq!(
        (aws.default, aws.strict),
        (dlp::Action::Redact, dlp::Action::Redact)
    );
    let homes: Vec<_> = aws
        .allow_to
        .iter()
        .map(|home| (home.host.to_string(), home.under))
        .collect();
    for home in [
        ("amazonaws.com", true),
        ("keys.example.test", false),
        ("aws.test", true),
    ] {
        assert!(homes.contains(&(home.0.to_owned(), home.1)), "{homes:?}");
    }
    assert!(!aws.shapes.is_empty());
    let own = of("own");
    assert_eq!(
        (own.default, own.strict),
        (dlp::Action::Block, dlp::Action::Alert)
    );
}

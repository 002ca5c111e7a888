//! What is told at the end: to people, to machines, and as rules.

use std::fs;

use serde_json::Value;

use crate::common::{World, inside};
use crate::jail::{Jail, shown};
use crate::reach::{CREDENTIAL, jail, run, server};

/// Asks for what a rule allows, what none does, in several ways, and what one forbids.
const SCRIPT: &str = "
    ask() { curl -sS -o answer -w '%{http_code}\\n' \"$@\"; cat answer; echo; }
    ask https://good.test/a
    ask -X POST -d x https://other.test/b/c
    ask -X DELETE https://other.test/d
    ask http://other.test/in/clear
    ask https://good.test/private
    ask https://other.test:8443/port
";
const FORBIDDEN: &str = r#"
[[rule]]
name = "private"
hosts = ["good.test"]
paths = ["/private"]
action = "deny"
reason = "that is private"
"#;

fn with_forbidden(jail: Jail) -> Jail {
    fs::write(jail.path("config/rules/0.toml"), FORBIDDEN).unwrap();
    jail
}

/// The last line, as it is for machines.
fn last_line(said: &str) -> Value {
    let line = said.trim_end().lines().last().unwrap();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn a_denied_host_comes_with_the_rule_that_would_have_allowed_it() {
    inside(|| {
        let world = World::new();
        let _server = server(&world);
        let jail = with_forbidden(jail(&world)).flag("--json");
        let output = run(&world, &jail, &["sh", "-c", SCRIPT]);
        let told = last_line(&shown(&output));
        assert_eq!((&told["requests"], &told["denied"]), (&6.into(), &5.into()));
        assert_eq!(told["credentials"]["token"], 1);
        let denials = told["denials"].as_array().unwrap();
        let hosts: Vec<_> = denials
            .iter()
            .map(|denial| {
                let rule = denial["rule"].as_str().unwrap_or_default();
                let text = |key: &str| denial[key].as_str().unwrap().to_owned();
                (text("scheme"), text("host"), text("reason"), rule)
            })
            .collect();
        let [good, clear, other, port] = &hosts[..] else {
            panic!("{hosts:?}")
        };
        assert_eq!(
            (&*good.1, &*good.2, good.3),
            ("good.test", "denied_by_rule", "")
        );
        assert_eq!(
            (&*clear.0, &*clear.1, &*clear.2),
            ("http", "other.test", "no_rule")
        );
        assert_eq!(
            (&*other.0, &*other.1, &*other.2),
            ("https", "other.test", "no_rule")
        );
        assert_eq!((&*port.1, &*port.2), ("other.test", "no_rule"));
        assert!(port.3.contains("\nports = [8443]\n"), "{}", port.3);
        assert!(fs::metadata(told["records"].as_str().unwrap()).is_ok());
        // With these rules no request lacks one any more.
        let rules = [clear.3, other.3, port.3].join("\n");
        fs::write(jail.path("config/rules/1.toml"), rules).unwrap();
        let said = shown(&run(&world, &jail, &["sh", "-c", SCRIPT]));
        let reasons: Vec<_> = last_line(&said)["denials"]
            .as_array()
            .unwrap()
            .iter()
            .map(|denial| denial["reason"].as_str().unwrap().to_owned())
            .collect();
        // There is no such server, which is not the rules' affair.
        assert!(!reasons.contains(&"no_rule".to_owned()), "{said}");
        assert!(said.contains("that is private"), "{said}");
    });
}

#[test]
fn learned_rules_allow_just_what_was_asked_for() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let jail = jail(&world);
        let learned = jail.path("learned.toml");
        let jail = jail.option("--learn", &learned);
        let script = "curl -sS https://good.test/a; curl -sS -X POST -d x https://other.test/b/c";
        let output = run(&world, &jail, &["sh", "-c", script]);
        let rules = fs::read_to_string(&learned).unwrap_or_else(|_| panic!("{}", shown(&output)));
        assert_eq!(
            rules,
            r#"# What one run of a command asked for, by `portreeve exec --learn`.

[[rule]]
name = "good-test"
hosts = ["good.test"]
methods = ["GET"]
paths = ["/a"]
credential = "token"

[[rule]]
name = "other-test"
hosts = ["other.test"]
methods = ["POST"]
paths = ["/b/c"]
"#
        );
        assert_eq!(server.requests().len(), 1);
        // A file that is there is nobody's to overwrite.
        let output = run(&world, &jail, &["true"]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        // They are rules, and enough for the same again.
        fs::rename(&learned, jail.path("config/rules/test.toml")).unwrap();
        fs::write(jail.path("config/rules/credential.toml"), CREDENTIAL).unwrap();
        let said = shown(&run(&world, &jail, &["sh", "-c", script]));
        assert!(said.contains("served /a"), "{said}");
        assert!(!said.contains("no rule allows"), "{said}");
    });
}

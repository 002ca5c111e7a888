//! Rules that can never match.

use proptest::prelude::*;

use crate::name::AgentName;
use crate::policy::fixture::{denying, methods, pairs, paths, rule};
use crate::policy::method;
use crate::policy::path::{PathPattern, Target};
use crate::policy::rule::{Agents, Hosts, Rule, Schemes};
use crate::policy::shadow::unreachable_rules;

type Change = fn(&mut Rule);

/// Whether the second of two default rules, each changed, is found dead.
fn dead(earlier: Change, later: Change) -> bool {
    let mut first = rule("first", &["good.test"]);
    earlier(&mut first);
    let mut second = rule("second", &["good.test"]);
    later(&mut second);
    match unreachable_rules(&[first, second]).as_slice() {
        [] => false,
        [(1, 0)] => true,
        other => panic!("{other:?}"),
    }
}

fn hosts(rule: &mut Rule, texts: &[&str]) {
    rule.hosts = super::super::fixture::rule("", texts).hosts;
}

fn deny(rule: &mut Rule) {
    *rule = denying(rule.clone(), "no");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_rule_is_dead_only_if_the_earlier_takes_all_of_it() {
    // As it is written, and with the two rules exchanged.
    let table: &[(Change, Change, bool, bool)] = &[
        (|_| {}, |_| {}, true, true),
        (|_| {}, |r| hosts(r, &["other.test"]), false, false),
        (|r| hosts(r, &["*.test"]), |_| {}, true, false),
        (
            |r| hosts(r, &["*.test"]),
            |r| hosts(r, &["*.good.test", "a.b.test"]),
            true,
            false,
        ),
        (|r| hosts(r, &["*.good.test"]), |_| {}, false, false),
        (|r| hosts(r, &["a.test", "good.test"]), |_| {}, true, false),
        (|r| r.hosts = Hosts::Any, |_| {}, true, false),
        (
            |r| r.hosts = Hosts::Any,
            |r| hosts(r, &["*.test"]),
            true,
            false,
        ),
        (
            |r| r.hosts = Hosts::Any,
            |r| hosts(r, &["192.0.2.1"]),
            false,
            false,
        ),
        (
            |r| r.hosts = Hosts::Any,
            |r| r.hosts = Hosts::Any,
            true,
            true,
        ),
        (
            |_| {},
            |r| r.agents = Agents::These(vec![AgentName::new("a")]),
            true,
            false,
        ),
        (
            |r| r.agents = Agents::These(vec![AgentName::new("a"), AgentName::new("b")]),
            |r| r.agents = Agents::These(vec![AgentName::new("b")]),
            true,
            false,
        ),
        (
            |r| {
                r.schemes = Schemes {
                    https: true,
                    http: true,
                }
            },
            |_| {},
            true,
            false,
        ),
        (|r| r.ports = vec![443, 8443], |_| {}, true, false),
        (|_| {}, |r| r.methods = methods(&["GET"]), true, false),
        (|_| {}, |r| r.methods = methods(&["FOO"]), false, false),
        (deny, |r| r.methods = methods(&["FOO"]), true, false),
        (|r| r.methods = methods(method::KNOWN), |_| {}, true, true),
        (|_| {}, |r| r.paths = paths(&["/a"]), true, false),
        (|r| r.paths = paths(&["/**"]), |_| {}, true, true),
        (
            |r| r.paths = paths(&["/a/**"]),
            |r| r.paths = paths(&["/a", "/a/*/b"]),
            true,
            false,
        ),
        (
            |r| r.paths = paths(&["/a", "/b"]),
            |r| r.paths = paths(&["/b"]),
            true,
            false,
        ),
        (|_| {}, |r| r.query = pairs(&[("a", "1")]), true, false),
        (|_| {}, |r| r.query_only = true, true, false),
        (
            |r| r.query = pairs(&[("a", "1")]),
            |r| r.query = pairs(&[("a", "2")]),
            false,
            false,
        ),
        (
            |r| {
                r.query = pairs(&[("a", "1")]);
                r.query_only = true;
            },
            |r| {
                r.query = pairs(&[("a", "1"), ("b", "2")]);
                r.query_only = true;
            },
            false,
            false,
        ),
        (
            |_| {},
            |r| r.headers = vec![("x".parse().unwrap(), "1".parse().unwrap())],
            true,
            false,
        ),
        (|r| r.encoded_slash = true, |_| {}, true, false),
        // A deny rule needs no `encoded_slash`, and wants none that it does not write.
        (deny, |r| r.encoded_slash = true, true, true),
        (
            |_| {},
            |r| {
                deny(r);
                r.paths = paths(&["/a%2Fb"]);
            },
            false,
            false,
        ),
        // The mistake worth finding: what is allowed first cannot be denied later.
        (
            |_| {},
            |r| {
                deny(r);
                r.paths = paths(&["/admin/**"]);
            },
            true,
            false,
        ),
    ];
    for (row, &(one, other, forward, backward)) in table.iter().enumerate() {
        assert_eq!(dead(one, other), forward, "row {row}");
        assert_eq!(dead(other, one), backward, "row {row}, exchanged");
    }
}

#[test]
fn the_first_cause_is_named_and_thousands_of_rules_are_fine() {
    let mut rules: Vec<Rule> = (0..10_000)
        .map(|number| rule("r", &[&format!("h{number}.test")]))
        .collect();
    assert_eq!(unreachable_rules(&rules), []);
    rules.push(rule("dead", &["h7.test"]));
    rules.push(rule("dead", &["h7.test", "h9.test"]));
    rules.push(rule("dead", &["h7.test"]));
    assert_eq!(unreachable_rules(&rules), [(10_000, 7), (10_002, 7)]);
}

fn pattern() -> impl Strategy<Value = PathPattern> {
    let segment = proptest::sample::select(vec!["a", "b", "*"]);
    let end = proptest::sample::select(vec!["", "/", "/**"]);
    (proptest::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let text = format!("/{}", segments.join("/"));
        let text = match (segments.is_empty(), end) {
            (true, "/**") => "/**".to_owned(),
            (true, _) => text,
            (false, end) => text + end,
        };
        PathPattern::parse(&text).unwrap()
    })
}

/// Every path over three letters, one of which no pattern names, longer than any pattern.
fn small_paths() -> Vec<Target> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..5 {
        longest = longest
            .iter()
            .flat_map(|path| ["a", "b", "z"].map(|segment| format!("{path}/{segment}")))
            .collect();
        all.extend(longest.clone());
    }
    let slashed = all.iter().map(|path| format!("{path}/"));
    let plain = all.iter().filter(|path| !path.is_empty()).cloned();
    plain
        .chain(slashed)
        .map(|path| Target::parse(&path).unwrap())
        .collect()
}

#[test]
fn containment_of_patterns_agrees_with_trying_all_small_paths() {
    let paths = small_paths();
    proptest!(|(wide in pattern(), narrow in pattern())| {
        let tried = paths.iter().all(|path| !narrow.matches(path) || wide.matches(path));
        prop_assert_eq!(wide.covers(&narrow), tried, "{} over {}", wide, narrow);
    });
}

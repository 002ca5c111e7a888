//! Who is admitted, who may resolve what.

use std::net::SocketAddr;

use super::{builder, policy};
use crate::error::Reason;
use crate::name::{AgentName, Host, Origin};
use crate::policy::agents::{Agents, UNKNOWN};
use crate::policy::fixture::{denying, request, rule};
use crate::policy::rule::{Agents as RuleAgents, Hosts, Rule, Schemes, Tls};
use crate::policy::{Admission, Decision, Mode, Policy, Scheme, shadow};

fn host(text: &str) -> Host {
    Host::from_config(text).unwrap()
}

fn origin(text: &str) -> Origin {
    Origin(text.parse::<SocketAddr>().unwrap())
}

/// What becomes of a TLS connection: admitted, or why not and with which answer.
fn tls(
    policy: &Policy,
    agent: &str,
    name: Option<&str>,
    to: &str,
) -> Result<(), (Reason, &'static str)> {
    let name = name.map(host);
    match policy.admit(
        &AgentName::new(agent),
        Scheme::Https,
        name.as_ref(),
        origin(to),
    ) {
        Admission::Intercept => Ok(()),
        Admission::Splice(spliced) => panic!("{spliced:?}"),
        Admission::Page(refusal) => Err((refusal.reason, "page")),
        Admission::Refuse(refusal) => Err((refusal.reason, "alert")),
    }
}

#[test]
fn names_are_admitted_by_allow_and_deny_rules_of_agent_and_port() {
    let mut other = rule("other", &["other.test"]);
    other.agents = RuleAgents::These(vec![AgentName::new("tester")]);
    let mut clear = rule("clear", &["clear.test"]);
    clear.schemes = Schemes {
        https: false,
        http: true,
    };
    clear.ports = vec![80];
    let mut high = rule("high", &["high.test"]);
    high.ports = vec![8443, 9443];
    let denied = denying(rule("denied", &["denied.test"]), "no");
    let policy = policy(vec![
        rule("good", &["good.test", "*.wild.test"]),
        denied,
        other,
        clear,
        high,
    ]);
    for (name, port, admitted) in [
        ("good.test", 443, true),
        ("good.test", 80, false),
        ("good.test", 8443, false),
        ("a.b.wild.test", 443, true),
        ("wild.test", 443, false),
        ("denied.test", 443, true),
        ("other.test", 443, false),
        ("clear.test", 443, false),
        ("clear.test", 80, false),
        ("high.test", 9443, true),
        ("high.test", 443, false),
        ("evil.test", 443, false),
    ] {
        // The origin's address says nothing (I3).
        let got = tls(
            &policy,
            "builder",
            Some(name),
            &format!("192.0.2.66:{port}"),
        );
        let expected = if admitted {
            Ok(())
        } else {
            Err((Reason::NoRule, "page"))
        };
        assert_eq!(got, expected, "{name}:{port}");
    }
}

#[test]
fn without_a_name_only_a_literal_address_is_admitted() {
    let mut any = rule("any", &[]);
    any.hosts = Hosts::Any;
    let policy = policy(vec![rule("literal", &["192.0.2.1", "2001:db8::1"]), any]);
    let nameless = Err((Reason::NoServerName, "alert"));
    for (to, expected) in [
        ("192.0.2.1:443", Ok(())),
        ("[::ffff:192.0.2.1]:443", Ok(())),
        ("[2001:db8::1]:443", Ok(())),
        ("192.0.2.1:80", nameless),
        ("192.0.2.2:443", nameless),
        ("[2001:db8::2]:443", nameless),
    ] {
        assert_eq!(tls(&policy, "builder", None, to), expected, "{to}");
    }
    // In clear the name is still to come.
    let clear = policy.admit(&builder(), Scheme::Http, None, origin("192.0.2.2:80"));
    assert_eq!(clear, Admission::Intercept);
}

#[test]
fn unknown_is_admitted_nowhere_in_no_mode() {
    let mut any = rule("any", &["192.0.2.1"]);
    any.hosts = Hosts::Any;
    let mut named = rule("named", &["good.test", "192.0.2.1"]);
    named.agents = RuleAgents::These(vec![AgentName::new(UNKNOWN)]);
    for mode in [Mode::Enforce, Mode::Observe] {
        let policy = Policy::new(1, mode, Agents::none(), vec![any.clone(), named.clone()]);
        let to = "192.0.2.1:443";
        assert_eq!(
            tls(&policy, UNKNOWN, Some("good.test"), to),
            Err((Reason::UnknownAgent, "page"))
        );
        assert_eq!(
            tls(&policy, UNKNOWN, None, to),
            Err((Reason::UnknownAgent, "alert"))
        );
        let clear = policy.admit(&AgentName::new(UNKNOWN), Scheme::Http, None, origin(to));
        assert!(
            matches!(clear, Admission::Page(refusal) if refusal.reason == Reason::UnknownAgent)
        );
        assert!(!policy.may_resolve(&AgentName::new(UNKNOWN), &host("good.test")));
    }
}

#[test]
fn observe_mode_admits_names_but_not_the_nameless() {
    let policy = Policy::new(1, Mode::Observe, Agents::none(), Vec::new());
    assert_eq!(
        tls(&policy, "builder", Some("evil.test"), "192.0.2.1:443"),
        Ok(())
    );
    assert_eq!(
        tls(&policy, "builder", None, "192.0.2.1:443"),
        Err((Reason::NoServerName, "alert"))
    );
}

#[test]
fn i1_deny_all_admits_nothing() {
    let policy = Policy::deny_all();
    assert_eq!(policy.generation(), 0);
    assert_eq!(
        policy.agent("192.0.2.9".parse().unwrap()).as_str(),
        "default"
    );
    assert_eq!(
        tls(&policy, "default", Some("good.test"), "192.0.2.1:443"),
        Err((Reason::NoRule, "page"))
    );
    assert!(!policy.may_resolve(&AgentName::new("default"), &host("good.test")));
}

#[test]
fn only_exact_names_of_own_allow_rules_resolve() {
    let mut other = rule("other", &["other.test"]);
    other.agents = RuleAgents::These(vec![AgentName::new("tester")]);
    let mut any = rule("any", &[]);
    any.hosts = Hosts::Any;
    let denied = denying(rule("denied", &["denied.test"]), "no");
    let policy = policy(vec![
        denied,
        rule("good", &["good.test", "*.wild.test", "192.0.2.1"]),
        other,
        any,
    ]);
    for (name, expected) in [
        ("good.test", true),
        ("a.good.test", false),
        ("a.wild.test", false),
        ("wild.test", false),
        ("denied.test", false),
        ("other.test", false),
        ("192.0.2.1", false),
        ("evil.test", false),
    ] {
        assert_eq!(
            policy.may_resolve(&builder(), &host(name)),
            expected,
            "{name}"
        );
    }
    assert!(policy.may_resolve(&AgentName::new("tester"), &host("other.test")));
}

#[test]
fn the_first_rule_about_a_name_decides_whether_it_is_spliced() {
    let splicing = |name: &str| Rule {
        tls: Tls::Splice,
        ..rule(name, &["pinned.test"])
    };
    let agent = AgentName::new("default");
    let admit = |rules: Vec<Rule>, mode, scheme| {
        let policy = Policy::new(1, mode, Agents::none(), rules);
        policy.admit(
            &agent,
            scheme,
            Some(&host("pinned.test")),
            origin("203.0.113.9:443"),
        )
    };
    for mode in [Mode::Enforce, Mode::Observe] {
        let rules = vec![splicing("splice"), rule("other", &["pinned.test"])];
        match admit(rules, mode, Scheme::Https) {
            Admission::Splice(spliced) => {
                assert_eq!(spliced.rule().name.as_str(), "splice");
                assert_eq!(spliced.authority().to_string(), "pinned.test:443");
            }
            other => panic!("{other:?}"),
        }
    }
    let later = vec![rule("other", &["pinned.test"]), splicing("splice")];
    let admitted = admit(later.clone(), Mode::Enforce, Scheme::Https);
    assert_eq!(admitted, Admission::Intercept);
    let clear = admit(vec![splicing("splice")], Mode::Enforce, Scheme::Http);
    assert!(matches!(clear, Admission::Page(_)), "{clear:?}");
    // Whichever is later is dead.
    assert_eq!(shadow::unreachable_rules(&later), [(1, 0)]);
    let earlier: Vec<_> = later.into_iter().rev().collect();
    assert_eq!(shadow::unreachable_rules(&earlier), [(1, 0)]);
    // No request is allowed by it.
    let policy = Policy::new(1, Mode::Enforce, Agents::none(), vec![splicing("splice")]);
    let get = request("GET", "pinned.test", "/");
    assert!(matches!(policy.decide(&agent, get), Decision::Deny(_)));
}

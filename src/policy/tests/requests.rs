//! What rules mean on requests.

use http::{HeaderName, HeaderValue};

use super::{builder, policy, verdict};
use crate::error::Reason;
use crate::name::{AgentName, CredentialName};
use crate::policy::agents::{Agents, UNKNOWN};
use crate::policy::fixture::{denying, methods, pairs, paths, request, rule};
use crate::policy::rule::{Agents as RuleAgents, Hosts, Rule, Schemes};
use crate::policy::{Decision, Mode, Policy, Scheme};

const NO_RULE: Result<String, Reason> = Err(Reason::NoRule);
const DENIED: Result<String, Reason> = Err(Reason::DeniedByRule);

#[expect(clippy::unnecessary_wraps, reason = "as `verdict` gives it")]
fn by(rule: &str) -> Result<String, Reason> {
    Ok(rule.to_owned())
}

/// Whether the one rule allows this, `rule` being the default one for `good.test`, changed.
fn allows(change: impl Fn(&mut Rule), method: &str, target: &str) -> bool {
    let mut changed = rule("r", &["good.test"]);
    change(&mut changed);
    verdict(&policy(vec![changed]), request(method, "good.test", target)) == by("r")
}

/// Whether the one rule denies this where all else is allowed.
fn denies(change: impl Fn(&mut Rule), method: &str, target: &str) -> bool {
    let mut changed = denying(rule("d", &["good.test"]), "no");
    change(&mut changed);
    let mut rest = rule("rest", &["good.test"]);
    rest.encoded_slash = true;
    rest.methods = methods(&["GET", "POST", "FOO"]);
    verdict(
        &policy(vec![changed, rest]),
        request(method, "good.test", target),
    ) == DENIED
}

#[test]
fn i1_no_rule_no_way_out() {
    for policy in [Policy::deny_all(), policy(Vec::new())] {
        assert_eq!(verdict(&policy, request("GET", "good.test", "/")), NO_RULE);
    }
}

#[test]
fn i2_host_scheme_and_port_must_be_those_of_the_rule() {
    let mut any = rule("any", &[]);
    any.hosts = Hosts::Any;
    any.ports = vec![9443];
    let mut clear = rule("clear", &["good.test"]);
    clear.schemes = Schemes {
        https: false,
        http: true,
    };
    clear.ports = vec![80, 443];
    let policy = policy(vec![
        rule("tls", &["good.test", "*.wild.test", "192.0.2.1"]),
        clear,
        any,
    ]);
    for (authority, expected) in [
        ("good.test", by("tls")),
        ("good.test:80", NO_RULE),
        ("good.test:8443", NO_RULE),
        ("good.test:9443", by("any")),
        ("a.good.test", NO_RULE),
        ("xgood.test", NO_RULE),
        ("a.wild.test", by("tls")),
        ("a.b.wild.test", by("tls")),
        ("wild.test", NO_RULE),
        ("xwild.test", NO_RULE),
        ("192.0.2.1", by("tls")),
        ("192.0.2.1:9443", NO_RULE),
        ("[2001:db8::1]:9443", NO_RULE),
    ] {
        assert_eq!(
            verdict(&policy, request("GET", authority, "/")),
            expected,
            "{authority}"
        );
    }
    let mut plain = request("GET", "good.test:80", "/");
    plain.scheme = Scheme::Http;
    assert_eq!(verdict(&policy, plain.clone()), by("clear"));
    plain.authority.port = 8080;
    assert_eq!(verdict(&policy, plain), NO_RULE);
}

#[test]
fn agents_are_those_of_the_rule_and_never_unknown() {
    let mut named = rule("named", &["good.test"]);
    named.agents = RuleAgents::These(vec![AgentName::new("tester"), AgentName::new(UNKNOWN)]);
    let policy = policy(vec![named, rule("all", &["all.test"])]);
    let who = |agent: &str, host: &str| match policy
        .decide(&AgentName::new(agent), request("GET", host, "/"))
    {
        Decision::Allow(_) => None,
        Decision::Deny(denied) => Some(denied.refusal.reason),
    };
    assert_eq!(who("tester", "good.test"), None);
    assert_eq!(who("builder", "good.test"), Some(Reason::NoRule));
    assert_eq!(who("builder", "all.test"), None);
    assert_eq!(who(UNKNOWN, "good.test"), Some(Reason::UnknownAgent));
    assert_eq!(who(UNKNOWN, "all.test"), Some(Reason::UnknownAgent));
}

#[test]
fn the_first_match_wins() {
    let mut messages = rule("messages", &["good.test"]);
    messages.paths = paths(&["/v1/messages"]);
    let mut files = denying(rule("files", &["*.test"]), "no files");
    files.paths = paths(&["/v1/files/**"]);
    let policy = policy(vec![
        messages,
        files,
        rule("wide", &["good.test", "good.test"]),
        denying(rule("late", &["good.test"]), "too late"),
    ]);
    for (target, expected) in [
        ("/v1/messages", by("messages")),
        ("/v1/messages/x", by("wide")),
        ("/v1/files/x", DENIED),
        ("/", by("wide")),
    ] {
        assert_eq!(
            verdict(&policy, request("POST", "good.test", target)),
            expected,
            "{target}"
        );
    }
}

#[test]
fn methods_are_exact() {
    let known = |method| allows(|_| {}, method, "/");
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND", "QUERY"] {
        assert!(known(method), "{method}");
    }
    for method in ["CONNECT", "TRACE", "PRI", "FOO", "get"] {
        assert!(!known(method), "{method}");
    }
    let only_get = |method| allows(|rule| rule.methods = methods(&["GET"]), method, "/");
    assert!(only_get("GET"));
    assert!(!only_get("HEAD"));
    // An operator may name an unregistered method, but not one that is never passed on.
    let odd = |method| {
        allows(
            |rule| rule.methods = methods(&["FOO", "TRACE"]),
            method,
            "/",
        )
    };
    assert!(odd("FOO"));
    assert!(!odd("TRACE"));
    // Without methods a deny rule means every method.
    assert!(denies(|_| {}, "FOO", "/"));
    assert!(!denies(|rule| rule.methods = methods(&["GET"]), "FOO", "/"));
}

#[test]
fn what_is_never_passed_on_is_refused_in_every_mode() {
    for mode in [Mode::Enforce, Mode::Observe] {
        let policy = Policy::new(1, mode, Agents::none(), vec![rule("r", &["good.test"])]);
        for (method, target, reason) in [
            ("CONNECT", "/", Reason::BadMethod),
            ("TRACE", "/", Reason::BadMethod),
            ("GET", "*", Reason::BadPath),
        ] {
            assert_eq!(
                verdict(&policy, request(method, "good.test", target)),
                Err(reason)
            );
        }
        assert_eq!(
            verdict(&policy, request("OPTIONS", "good.test", "*")),
            by("r")
        );
    }
}

#[test]
fn an_encoded_slash_needs_a_rule_that_says_so() {
    let with = |rule: &mut Rule| {
        rule.paths = paths(&["/projects/*"]);
        rule.encoded_slash = true;
    };
    let without = |rule: &mut Rule| rule.paths = paths(&["/projects/*"]);
    assert!(allows(with, "GET", "/projects/a%2Fb"));
    assert!(allows(with, "GET", "/projects/a"));
    assert!(!allows(with, "GET", "/projects/a/b"));
    assert!(!allows(without, "GET", "/projects/a%2Fb"));
    assert!(!allows(|_| {}, "GET", "/projects/a%2Fb"));
    // A deny rule matches by both readings and needs no such word.
    assert!(denies(without, "GET", "/projects/a%2Fb"));
    assert!(denies(
        |rule| rule.paths = paths(&["/projects/a/b"]),
        "GET",
        "/projects/a%2Fb"
    ));
    assert!(denies(
        |rule| rule.paths = paths(&["/projects/**"]),
        "GET",
        "/projects%2Fa;x"
    ));
}

#[test]
fn queries_are_matched_strictly_by_allow_rules() {
    let fetch = |rule: &mut Rule| rule.query = pairs(&[("service", "git-upload-pack")]);
    let only = |rule: &mut Rule| {
        rule.query = pairs(&[("service", "git-upload-pack"), ("q", "a b")]);
        rule.query_only = true;
    };
    for (query, expected) in [
        ("service=git-upload-pack", true),
        ("x=1&service=git-upload-pack&x=2", true),
        ("%73ervice=git%2Dupload-pack", true),
        ("service=git-upload-pack&note=a;b", true),
        ("", false),
        ("service", false),
        ("service=git-receive-pack", false),
        ("Service=git-upload-pack", false),
        ("service=git-upload-pack&service=git-upload-pack", false),
        ("service=git-upload-pack&%73ervice=git-receive-pack", false),
        ("service=git-receive-pack&service=git-upload-pack", false),
        // Some servers split on `;` too.
        (
            "x=1;service=git-receive-pack&service=git-upload-pack",
            false,
        ),
        ("service=git-upload-pack;service=git-receive-pack", false),
    ] {
        assert_eq!(
            allows(fetch, "GET", &format!("/?{query}")),
            expected,
            "{query}"
        );
    }
    for (query, expected) in [
        ("service=git-upload-pack&q=a+b", true),
        ("q=a%20b&service=git-upload-pack&", true),
        ("service=git-upload-pack&q=a%2Bb", false),
        ("service=git-upload-pack&q=a+b&x", false),
        ("service=git-upload-pack", false),
    ] {
        assert_eq!(
            allows(only, "GET", &format!("/?{query}")),
            expected,
            "{query}"
        );
    }
    assert!(allows(|rule| rule.query_only = true, "GET", "/"));
    assert!(allows(|rule| rule.query_only = true, "GET", "/?"));
    assert!(!allows(|rule| rule.query_only = true, "GET", "/?x"));
    assert!(!allows(fetch, "GET", "/"));
    let odd = |rule: &mut Rule| rule.query = pairs(&[("a;b", "1")]);
    assert!(allows(odd, "GET", "/?a;b=1"));
    assert!(!allows(odd, "GET", "/?a;b=1&a;b=2"));
}

#[test]
fn queries_are_matched_widely_by_deny_rules() {
    let push = |rule: &mut Rule| rule.query = pairs(&[("service", "git receive")]);
    for (query, expected) in [
        ("service=git+receive", true),
        ("service=git%20receive", true),
        ("service=x&service=git+receive", true),
        ("service=git+receive&service=x", true),
        ("a=b;service=git+receive;c", true),
        ("service=git%2Breceive", false),
        ("service=x", false),
        ("", false),
    ] {
        assert_eq!(
            denies(push, "GET", &format!("/?{query}")),
            expected,
            "{query}"
        );
    }
    // A server may keep the plus.
    assert!(denies(
        |rule| rule.query = pairs(&[("a", "b+c")]),
        "GET",
        "/?a=b+c"
    ));
}

#[test]
fn headers_are_once_for_allow_rules_and_any_for_deny_rules() {
    let name = HeaderName::from_static("x-version");
    let set = |rule: &mut Rule| {
        rule.headers = vec![(name.clone(), HeaderValue::from_static("2"))];
    };
    let mut allowing = rule("r", &["good.test"]);
    set(&mut allowing);
    let mut refusing = denying(rule("d", &["good.test"]), "no");
    set(&mut refusing);
    let allowing = policy(vec![allowing]);
    let refusing = policy(vec![refusing, rule("rest", &["good.test"])]);
    for (values, allowed, denied) in [
        (&[][..], false, false),
        (&["2"][..], true, true),
        (&["1"], false, false),
        (&["2", "2"], false, true),
        (&["1", "2"], false, true),
        (&["2 "], false, false),
    ] {
        let mut request = request("GET", "good.test", "/");
        for value in values {
            request
                .headers
                .append(&name, HeaderValue::from_static(value));
        }
        let got = verdict(&allowing, request.clone());
        assert_eq!(got, if allowed { by("r") } else { NO_RULE }, "{values:?}");
        let got = verdict(&refusing, request);
        assert_eq!(got, if denied { DENIED } else { by("rest") }, "{values:?}");
    }
}

#[test]
fn observe_mode_lets_through_without_a_rule() {
    let mut credentialed = rule("r", &["good.test"]);
    credentialed.methods = methods(&["GET"]);
    credentialed.credentials = vec![CredentialName::new("secret")];
    let mut denied = denying(rule("d", &["good.test"]), "no");
    denied.methods = methods(&["PUT"]);
    let policy = Policy::new(7, Mode::Observe, Agents::none(), vec![credentialed, denied]);
    for (method, authority, observed) in [
        ("GET", "good.test", None),
        ("POST", "good.test", Some(Reason::NoRule)),
        ("PUT", "good.test", Some(Reason::DeniedByRule)),
        ("GET", "evil.test", Some(Reason::NoRule)),
    ] {
        let Decision::Allow(allowed) = policy.decide(&builder(), request(method, authority, "/"))
        else {
            panic!("{method} {authority} is let through");
        };
        assert_eq!(allowed.observed().map(|refusal| refusal.reason), observed);
        assert_eq!(
            allowed.rule().is_none(),
            observed.is_some(),
            "{method} {authority}"
        );
    }
}

#[test]
fn i7_an_allowed_request_goes_out_as_it_was_decided() {
    let mut tolerant = rule("r", &["good.test"]);
    tolerant.encoded_slash = true;
    let policy = policy(vec![tolerant]);
    let target = "/a%2fb;x=%7e/%C3%a9?q=a+b&q=%41";
    let Decision::Allow(mut allowed) =
        policy.decide(&builder(), request("PROPFIND", "good.test", target))
    else {
        panic!("the rule allows everything");
    };
    assert_eq!(allowed.request().target.as_str(), target);
    allowed
        .headers_mut()
        .insert("x-api-key", HeaderValue::from_static("v"));
    assert!(allowed.set_query(Some("a b")).is_err());
    assert_eq!(allowed.request().target.as_str(), target);
    allowed.set_query(Some("q=a+b")).unwrap();
    let sent = allowed.into_request();
    assert_eq!(sent.target.as_str(), "/a%2fb;x=%7e/%C3%a9?q=a+b");
    assert_eq!(sent.method.as_str(), "PROPFIND");
    assert_eq!(sent.authority.to_string(), "good.test:443");
    assert_eq!(sent.headers.len(), 1);
}

#[test]
fn a_denial_carries_its_rule() {
    let policy = policy(vec![denying(rule("d", &["good.test"]), "no")]);
    let Decision::Deny(denied) = policy.decide(&builder(), request("GET", "good.test", "/a"))
    else {
        panic!("the rule denies everything");
    };
    assert_eq!(denied.rule.unwrap().name.as_str(), "d");
}

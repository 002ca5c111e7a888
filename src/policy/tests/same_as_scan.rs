//! The index finds what a scan over all rules finds, and looks at few of them.

use std::sync::Arc;

use proptest::prelude::*;

use super::policy;
use crate::name::{AgentName, Host};
use crate::policy::fixture::{denying, methods, pairs, paths, request, rule};
use crate::policy::index::Index;
use crate::policy::matching::miss;
use crate::policy::method;
use crate::policy::rule::{Agents, Hosts, Rule, Schemes};
use crate::policy::shadow::unreachable_rules;
use crate::policy::{Decision, Policy, Request, Scheme};

const HOSTS: [&str; 7] = [
    "test",
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "xa.test",
    "192.0.2.1",
    "other.example",
];
const PATTERNS: [&str; 8] = [
    "a.test",
    "b.a.test",
    "*.test",
    "*.a.test",
    "*.b.a.test",
    "192.0.2.1",
    "other.example",
    "*.example",
];
const AGENTS: [&str; 3] = ["builder", "tester", "unknown"];
const METHODS: [&str; 3] = ["GET", "POST", "FOO"];
const PATHS: [&str; 6] = ["/**", "/a", "/a/**", "/*", "/a/*", "/*/b"];
const TARGETS: [&str; 9] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a;x/b",
    "/a%2Fb",
    "/a?k=1",
    "/a?k=1&k=2",
    "/a/b?k=2&j",
];

fn any_rule() -> impl Strategy<Value = Rule> {
    let hosts = proptest::option::weighted(
        0.9,
        proptest::collection::vec(proptest::sample::select(&PATTERNS[..]), 1..3),
    );
    let agents = proptest::option::of(proptest::sample::select(&AGENTS[..]));
    let schemes = (any::<bool>(), any::<bool>());
    let port = proptest::sample::select(vec![vec![443], vec![80, 443], vec![80]]);
    let methods_ = proptest::option::of(proptest::sample::select(&METHODS[..]));
    let paths_ = proptest::option::of(proptest::sample::select(&PATHS[..]));
    let query = proptest::option::weighted(0.3, proptest::sample::select(vec!["1", "2"]));
    let flags = (
        any::<bool>(),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.3),
    );
    (hosts, agents, schemes, port, methods_, paths_, query, flags).prop_map(
        |(hosts, agents, (https, http), ports, method, path, query, (slash, only, deny))| {
            let mut made = rule("r", hosts.as_deref().unwrap_or(&[]));
            if hosts.is_none() {
                made.hosts = Hosts::Any;
            }
            if let Some(agent) = agents {
                made.agents = Agents::These(vec![AgentName::new(agent)]);
            }
            made.schemes = Schemes {
                https: https || !http,
                http,
            };
            made.ports = ports;
            made.methods = method.map_or(made.methods, |method| methods(&[method]));
            made.paths = path.and_then(|path| paths(&[path]));
            made.query = query.map_or(Vec::new(), |value| pairs(&[("k", value)]));
            made.encoded_slash = slash;
            made.query_only = only;
            if deny { denying(made, "no") } else { made }
        },
    )
}

fn any_request() -> impl Strategy<Value = (AgentName, Request)> {
    let parts = (
        proptest::sample::select(&AGENTS[..]),
        proptest::sample::select(&METHODS[..]),
        proptest::sample::select(&HOSTS[..]),
        proptest::sample::select(&TARGETS[..]),
        proptest::sample::select(vec![Scheme::Https, Scheme::Https, Scheme::Http]),
        proptest::sample::select(vec![443, 443, 80]),
    );
    parts.prop_map(|(agent, method, host, target, scheme, port)| {
        let mut made = request(method, &format!("{host}:{port}"), target);
        made.scheme = scheme;
        (AgentName::new(agent), made)
    })
}

/// The number of the first rule that matches, found without the index.
fn scan(rules: &[Arc<Rule>], agent: &AgentName, request: &Request) -> Option<usize> {
    rules.iter().position(|rule| {
        rule.hosts.contains(&request.authority.host) && miss(rule, agent, request).is_none()
    })
}

fn number(policy: &Policy, rule: &Arc<Rule>) -> Option<usize> {
    policy
        .rules()
        .iter()
        .position(|other| Arc::ptr_eq(other, rule))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn decisions_are_those_of_a_scan(
        rules in proptest::collection::vec(any_rule(), 0..12),
        requests in proptest::collection::vec(any_request(), 1..12),
    ) {
        let dead: Vec<usize> = unreachable_rules(&rules).into_iter().map(|(dead, _)| dead).collect();
        let policy = policy(rules);
        for (agent, request) in requests {
            let first = scan(policy.rules(), &agent, &request);
            let plain = method::is_known(&request.method)
                && !request.target.as_str().contains([';', '%', '&']);
            match policy.decide(&agent, request) {
                Decision::Allow(allowed) => {
                    prop_assert_eq!(number(&policy, allowed.rule().unwrap()), first);
                }
                Decision::Deny(denied) => {
                    let by = denied.rule.and_then(|rule| number(&policy, &rule));
                    prop_assert_eq!(by, first);
                }
            }
            // A rule found dead takes no request that is plainly spelled.
            if let Some(first) = first {
                prop_assert!(!plain || !dead.contains(&first), "{} of {:?}", first, dead);
            }
        }
    }

    #[test]
    fn candidates_are_those_of_a_scan(
        rules in proptest::collection::vec(any_rule(), 0..12),
        host in proptest::sample::select(&HOSTS[..]),
    ) {
        let host = Host::from_config(host).unwrap();
        let index = Index::new(rules.iter());
        let found: Vec<usize> = index.candidates(&host).collect();
        let expected: Vec<usize> = (0..rules.len())
            .filter(|&number| rules[number].hosts.contains(&host))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn rules_for_other_hosts_are_not_looked_at() {
    let mut rules: Vec<Rule> = (0..10_000)
        .map(|number| {
            rule(
                "r",
                &[&format!("h{number}.test"), &format!("*.w{number}.test")],
            )
        })
        .collect();
    rules.push(rule("wild", &["*.test"]));
    let index = Index::new(rules.iter());
    let examined = |host: &str| index.candidates(&Host::from_config(host).unwrap()).count();
    assert_eq!(examined("h77.test"), 2);
    assert_eq!(examined("a.b.w77.test"), 2);
    assert_eq!(examined("evil.test"), 1);
    assert_eq!(examined("evil.example"), 0);
}

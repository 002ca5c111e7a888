//! Rules and requests for tests.

use http::{HeaderMap, Method};

use super::path::{PathPattern, Target};
use super::request::{Request, Scheme};
use super::rule::{
    Action, Agents, Cookies, Dlp, ForeignCredentials, HostPattern, Hosts, Methods, OnLimit, Place,
    Rule, Schemes, Tls,
};
use crate::name::{Authority, Host, RuleName};

/// An allow rule with the defaults of the config for these hosts (`*.` for wildcards).
pub(crate) fn rule(name: &str, hosts: &[&str]) -> Rule {
    Rule {
        name: RuleName::new(name),
        place: Place {
            file: "rules/test.toml".into(),
            line: 1,
            column: 1,
        },
        agents: Agents::Any,
        hosts: Hosts::These(hosts.iter().map(|text| host_pattern(text)).collect()),
        schemes: Schemes {
            https: true,
            http: false,
        },
        ports: vec![443],
        methods: Methods::Known,
        paths: None,
        encoded_slash: false,
        query: Vec::new(),
        query_only: false,
        headers: Vec::new(),
        action: Action::Allow,
        credentials: Vec::new(),
        foreign_credentials: ForeignCredentials::Strip,
        set_headers: Vec::new(),
        remove_headers: Vec::new(),
        cookies: Cookies::Pass,
        share_upstream: false,
        record_query: false,
        echo_recode: false,
        dlp: Dlp::Default,
        websocket: true,
        tls: Tls::Intercept,
        on_limit: OnLimit::Deny,
    }
}

/// The same rule, denying.
pub(crate) fn denying(rule: Rule, reason: &str) -> Rule {
    Rule {
        action: Action::Deny {
            reason: reason.to_owned(),
        },
        ..rule
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the field of a rule takes it")]
pub(crate) fn paths(texts: &[&str]) -> Option<Vec<PathPattern>> {
    Some(
        texts
            .iter()
            .map(|text| PathPattern::parse(text).unwrap())
            .collect(),
    )
}

pub(crate) fn methods(names: &[&str]) -> Methods {
    let parse = |name: &&str| Method::from_bytes(name.as_bytes()).unwrap();
    Methods::These(names.iter().map(parse).collect())
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn host_pattern(text: &str) -> HostPattern {
    match text.strip_prefix("*.") {
        Some(suffix) => HostPattern::Under(Host::from_config(suffix).unwrap()),
        None => HostPattern::Exact(Host::from_config(text).unwrap()),
    }
}

/// A request to `https://authority` without headers.
pub(crate) fn request(method: &str, authority: &str, target: &str) -> Request {
    Request {
        scheme: Scheme::Https,
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        authority: Authority::parse(authority.as_bytes(), 443).unwrap(),
        target: Target::parse(target).unwrap(),
        headers: HeaderMap::new(),
    }
}

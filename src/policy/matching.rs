//! Whether one rule matches one request, and if not, how near it came.
//!
//! Allow rules are matched strictly: what the rule asks for is there exactly once, in one
//! reading. Deny rules are matched widely: by any reading that some server may have, so
//! that no spelling slips past them.

use super::method;
use super::path::Target;
use super::path::query::{Reading, pairs};
use super::request::{Request, Scheme};
use super::rule::{Action, Methods, Rule};
use crate::name::AgentName;

/// What of a rule a request does not meet: the first in this order, which is the order in
/// which rules come nearer to a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Miss {
    /// The agent, the scheme or the port.
    Reach,
    /// The method.
    Method,
    /// The path.
    Path,
    /// `%2F` stands in the path.
    EncodedSlash,
    /// The query.
    Query,
    /// A header.
    Headers,
}

/// What of `rule` the request does not meet; `None` for a match. The host has been matched
/// by whoever chose the rule.
pub(super) fn miss(rule: &Rule, agent: &AgentName, request: &Request) -> Option<Miss> {
    if !reaches(rule, agent, request.scheme, request.authority.port) {
        return Some(Miss::Reach);
    }
    match &rule.action {
        Action::Allow => miss_strictly(rule, request),
        Action::Deny { .. } => miss_widely(rule, request),
    }
}

/// Whether the rule speaks about this agent, scheme and port.
pub(super) fn reaches(rule: &Rule, agent: &AgentName, scheme: Scheme, port: u16) -> bool {
    rule.schemes.contains(scheme) && rule.ports.contains(&port) && rule.agents.contains(agent)
}

fn miss_strictly(rule: &Rule, request: &Request) -> Option<Miss> {
    let target = &request.target;
    let method = match &rule.methods {
        Methods::Known => method::is_known(&request.method),
        Methods::These(methods) => methods.contains(&request.method),
    };
    let path = rule
        .paths
        .as_ref()
        .is_none_or(|paths| paths.iter().any(|path| path.matches(target)));
    let headers = || {
        rule.headers.iter().all(|(name, value)| {
            let mut values = request.headers.get_all(name).iter();
            values.next() == Some(value) && values.next().is_none()
        })
    };
    if !method {
        Some(Miss::Method)
    } else if !path {
        Some(Miss::Path)
    } else if target.has_encoded_slash() && !rule.encoded_slash {
        Some(Miss::EncodedSlash)
    } else if !query_strictly(rule, target) {
        Some(Miss::Query)
    } else if !headers() {
        Some(Miss::Headers)
    } else {
        None
    }
}

fn miss_widely(rule: &Rule, request: &Request) -> Option<Miss> {
    let target = &request.target;
    let method = match &rule.methods {
        Methods::Known => true,
        Methods::These(methods) => methods.contains(&request.method),
    };
    let path = rule
        .paths
        .as_ref()
        .is_none_or(|paths| paths.iter().any(|path| path.matches_any_reading(target)));
    let headers = || {
        rule.headers
            .iter()
            .all(|(name, value)| request.headers.get_all(name).iter().any(|got| got == value))
    };
    if !method {
        Some(Miss::Method)
    } else if !path {
        Some(Miss::Path)
    } else if !query_widely(rule, target) {
        Some(Miss::Query)
    } else if !headers() {
        Some(Miss::Headers)
    } else {
        None
    }
}

/// Each key of the rule is there once, with its value. A key that servers which split on
/// `;` would see a second time is not there once.
fn query_strictly(rule: &Rule, target: &Target) -> bool {
    let query = target.query().unwrap_or_default();
    let [usual, semicolon, ..] = Reading::ALL;
    let once = |wanted: &str, value: &str| {
        let mut found = pairs(query, usual).filter(|(key, _)| **key == *wanted.as_bytes());
        found
            .next()
            .is_some_and(|(_, got)| *got == *value.as_bytes())
            && found.next().is_none()
            && pairs(query, semicolon)
                .filter(|(key, _)| **key == *wanted.as_bytes())
                .count()
                <= 1
    };
    rule.query.iter().all(|(key, value)| once(key, value)) && only_named_keys(rule, query, usual)
}

/// By some reading, each key of the rule is there with its value, however often it is there.
/// `query_only` stays what it says, also here.
fn query_widely(rule: &Rule, target: &Target) -> bool {
    let query = target.query().unwrap_or_default();
    Reading::ALL.into_iter().any(|reading| {
        let there = |wanted: &str, value: &str| {
            pairs(query, reading)
                .any(|(key, got)| *key == *wanted.as_bytes() && *got == *value.as_bytes())
        };
        rule.query.iter().all(|(key, value)| there(key, value))
            && only_named_keys(rule, query, reading)
    })
}

fn only_named_keys(rule: &Rule, query: &str, reading: Reading) -> bool {
    let named = |key: &[u8]| rule.query.iter().any(|(name, _)| name.as_bytes() == key);
    !rule.query_only || pairs(query, reading).all(|(key, _)| named(&key))
}

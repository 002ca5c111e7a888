//! The one sentence of a refusal: what was asked, and what would be allowed instead.
//!
//! An agent chooses the host and the method; a host is canonical and bounded, a method is a
//! token and shown only while short. The path, the query and header values it sent are not
//! repeated. From rules come only those of this agent, a few, and no header value.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;

use super::matching::{Miss, reaches};
use super::path::PathPattern;
use super::request::{Request, Scheme};
use super::rule::{Action, Methods, Rule};
use crate::error::{Reason, Refusal};
use crate::name::{AgentName, Host};

/// Longest method that is repeated; the longest registered one has 17 bytes.
const METHOD_MAX: usize = 20;
/// Most entries after "allowed here".
const ENTRIES_MAX: usize = 6;
/// Most bytes of them.
const ENTRIES_BYTES_MAX: usize = 300;

pub(super) fn unknown_agent() -> Refusal {
    Refusal::new(
        Reason::UnknownAgent,
        "this source address belongs to no configured agent; the operator can add it to the sources of one",
    )
}

pub(super) fn no_server_name() -> Refusal {
    Refusal::new(
        Reason::NoServerName,
        "the ClientHello names no server, and no rule allows this address literally; connect by name",
    )
}

pub(super) fn never_passed(method: &Method) -> Refusal {
    let sentence = format!("{} is never passed on", shown(method));
    Refusal::new(Reason::BadMethod, sentence)
}

pub(super) fn asterisk_without_options() -> Refusal {
    Refusal::new(
        Reason::BadPath,
        "the request target * goes with OPTIONS only",
    )
}

pub(super) fn denied_by(rule: &Rule, reason: &str) -> Refusal {
    let sentence = format!("rule {} denies this: {reason}", rule.name);
    Refusal::new(Reason::DeniedByRule, sentence)
}

/// No rule reaches this host by this scheme and port; `rules` are those about the host.
pub(super) fn no_reach<'r>(
    agent: &AgentName,
    (scheme, host, port): (Scheme, &Host, u16),
    mut rules: impl Iterator<Item = &'r Arc<Rule>>,
) -> Refusal {
    let there = place(scheme, host, port);
    let mut sentence = format!("no rule allows agent {agent} to reach {there}");
    let other = rules.find(|rule| rule.action == Action::Allow && rule.agents.contains(agent));
    if let Some(rule) = other
        && let Some(&port) = rule.ports.first()
    {
        let scheme = if rule.schemes.https {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let _ = write!(sentence, "; allowed is {}", url(scheme, host, port));
    }
    Refusal::new(Reason::NoRule, sentence)
}

/// No rule matches; `rules` are those about the host, and `nearest` is what the nearest
/// allow rule misses.
pub(super) fn no_rule<'r>(
    agent: &AgentName,
    request: &Request,
    nearest: Miss,
    rules: impl Iterator<Item = &'r Arc<Rule>> + Clone,
) -> Refusal {
    let (scheme, host, port) = (
        request.scheme,
        &request.authority.host,
        request.authority.port,
    );
    let method = shown(&request.method);
    let what = match nearest {
        Miss::Reach => return no_reach(agent, (scheme, host, port), rules),
        Miss::Method => method.to_owned(),
        Miss::Path => format!("{method} on this path"),
        Miss::EncodedSlash => format!("{method} with an encoded slash (%2F) in the path"),
        Miss::Query => format!("{method} on this path with this query"),
        Miss::Headers => format!("{method} on this path with these headers"),
    };
    let preposition = if nearest == Miss::Path { "of" } else { "on" };
    let there = place(scheme, host, port);
    let mut sentence = format!("no rule allows {what} {preposition} {there} for agent {agent}");
    let here =
        rules.filter(|rule| rule.action == Action::Allow && reaches(rule, agent, scheme, port));
    let entries = entries(here);
    if !entries.is_empty() {
        let _ = write!(sentence, "; allowed here: {entries}");
    }
    Refusal::new(Reason::NoRule, sentence)
}

fn shown(method: &Method) -> &str {
    match method.as_str() {
        short if short.len() <= METHOD_MAX => short,
        _ => "this method",
    }
}

/// The host alone where scheme and port are the usual ones.
fn place(scheme: Scheme, host: &Host, port: u16) -> String {
    if (scheme, port) == (Scheme::Https, Scheme::Https.default_port()) {
        host.to_string()
    } else {
        url(scheme, host, port)
    }
}

fn url(scheme: Scheme, host: &Host, port: u16) -> String {
    let mut url = format!("{}://{host}", scheme.as_str());
    if port != scheme.default_port() {
        let _ = write!(url, ":{port}");
    }
    url
}

/// `GET /repos/**, POST /graphql and more`: a few of what the rules allow, each once.
fn entries<'r>(rules: impl Iterator<Item = &'r Arc<Rule>>) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut bytes = 0_usize;
    let mut more = "";
    for entry in rules.flat_map(|rule| entries_of(rule)) {
        if shown.contains(&entry) {
            continue;
        }
        bytes = bytes.saturating_add(entry.len());
        if shown.len() == ENTRIES_MAX || bytes > ENTRIES_BYTES_MAX {
            more = if shown.is_empty() { "" } else { " and more" };
            break;
        }
        shown.push(entry);
    }
    shown.join(", ") + more
}

fn entries_of(rule: &Rule) -> impl Iterator<Item = String> {
    let methods = match &rule.methods {
        Methods::Known => "any method on".to_owned(),
        Methods::These(methods) => {
            let names: Vec<_> = methods.iter().map(Method::as_str).collect();
            names.join("|")
        }
    };
    let conditions = conditions(rule);
    let paths = rule.paths.iter().flatten().map(PathPattern::to_string);
    let all = rule.paths.is_none().then(|| "/**".to_owned());
    paths
        .chain(all)
        .map(move |path| format!("{methods} {path}{conditions}"))
}

/// The query as one would send it, if it shows plainly; of headers the names alone.
fn conditions(rule: &Rule) -> String {
    let mut text = String::new();
    for (index, (key, value)) in rule.query.iter().enumerate() {
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        if plain(key) && plain(value) {
            let separator = if index == 0 { '?' } else { '&' };
            let _ = write!(text, "{separator}{key}={value}");
        }
    }
    for (name, _) in &rule.headers {
        let _ = write!(text, " with header {name}");
    }
    text
}

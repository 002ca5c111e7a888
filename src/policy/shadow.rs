//! Rules that can never match, because an earlier one takes everything they could.
//!
//! Judged pairwise and conservatively: what is found is dead, what several earlier rules
//! take only together is not found. A deny rule is judged by what it is written for; that
//! it would still catch odd spellings (`;parameters`, `%2F`, repeated keys, unregistered
//! methods) of what an earlier rule allows does not make it alive, since whoever wrote it
//! expected more.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue, Method};

use super::index::Index;
use super::method;
use super::path::PathPattern;
use super::rule::{Action, Agents, HostPattern, Hosts, Methods, Rule, Tls};

/// For each rule that never matches, its index and that of the first rule because of which;
/// ascending. The cost grows with rules that share a host, not with all pairs.
#[must_use]
pub fn unreachable_rules(rules: &[Rule]) -> Vec<(usize, usize)> {
    let index = Index::new(rules.iter());
    rules
        .iter()
        .enumerate()
        .filter_map(|(number, later)| {
            let covers = |&earlier: &usize| {
                rules
                    .get(earlier)
                    .is_some_and(|earlier| takes_all_of(earlier, later))
            };
            let earlier = |&earlier: &usize| earlier < number;
            let cause = match &later.hosts {
                Hosts::Any => index
                    .any_host()
                    .iter()
                    .copied()
                    .take_while(earlier)
                    .find(covers),
                // Whoever covers all hosts covers the first.
                Hosts::These(patterns) => {
                    let first = patterns.first()?;
                    index.covering(first).take_while(earlier).find(covers)
                }
            };
            Some((number, cause?))
        })
        .collect()
}

/// Whether `earlier` matches whatever `later` is written for. Cheap comparisons first.
fn takes_all_of(earlier: &Rule, later: &Rule) -> bool {
    if Tls::Splice == earlier.tls || Tls::Splice == later.tls {
        // Whichever comes first has the connection, whatever its requests would be.
        return schemes_and_ports(earlier, later)
            && agents(&earlier.agents, &later.agents)
            && hosts(&earlier.hosts, &later.hosts);
    }
    schemes_and_ports(earlier, later)
        && paths(earlier.paths.as_deref(), later.paths.as_deref())
        && agents(&earlier.agents, &later.agents)
        && methods(earlier, later)
        && hosts(&earlier.hosts, &later.hosts)
        && encoded_slashes(earlier, later)
        && queries(earlier, later)
        && headers(&earlier.headers, &later.headers)
}

fn schemes_and_ports(earlier: &Rule, later: &Rule) -> bool {
    (earlier.schemes.https || !later.schemes.https)
        && (earlier.schemes.http || !later.schemes.http)
        && later.ports.iter().all(|port| earlier.ports.contains(port))
}

fn agents(earlier: &Agents, later: &Agents) -> bool {
    match (earlier, later) {
        (Agents::Any, _) => true,
        // Which agents there are is not known here.
        (Agents::These(_), Agents::Any) => false,
        (Agents::These(mine), Agents::These(theirs)) => {
            theirs.iter().all(|agent| mine.contains(agent))
        }
    }
}

fn methods(earlier: &Rule, later: &Rule) -> bool {
    let takes = |method: &Method| match &earlier.methods {
        Methods::Known => is_deny(earlier) || method::is_known(method),
        Methods::These(methods) => methods.contains(method),
    };
    match (&earlier.methods, &later.methods) {
        (Methods::Known, Methods::Known) => true,
        (Methods::These(mine), Methods::Known) => {
            let named: HashSet<&str> = mine.iter().map(Method::as_str).collect();
            method::KNOWN.iter().all(|known| named.contains(known))
        }
        // What is never passed on does not keep a rule alive.
        (_, Methods::These(theirs)) => theirs
            .iter()
            .filter(|method| !method::is_never_passed(method))
            .all(takes),
    }
}

fn hosts(earlier: &Hosts, later: &Hosts) -> bool {
    match (earlier, later) {
        (Hosts::Any, Hosts::Any) => true,
        (Hosts::Any, Hosts::These(theirs)) => theirs.iter().all(|pattern| match pattern {
            HostPattern::Exact(host) => host.name().is_some(),
            HostPattern::Under(_) => true,
        }),
        (Hosts::These(_), Hosts::Any) => false,
        (Hosts::These(mine), Hosts::These(theirs)) => theirs
            .iter()
            .all(|their| mine.iter().any(|my| my.covers(their))),
    }
}

/// Paths with `%2F` are for deny rules and for those that say so.
fn encoded_slashes(earlier: &Rule, later: &Rule) -> bool {
    let written = later
        .paths
        .iter()
        .flatten()
        .any(PathPattern::has_encoded_slash);
    let later_wants = written || (!is_deny(later) && later.encoded_slash);
    is_deny(earlier) || earlier.encoded_slash || !later_wants
}

fn paths(earlier: Option<&[PathPattern]>, later: Option<&[PathPattern]>) -> bool {
    let Some(mine) = earlier else { return true };
    match later {
        None => mine.iter().any(PathPattern::is_everything),
        Some(theirs) => theirs
            .iter()
            .all(|their| mine.iter().any(|my| my.covers(their))),
    }
}

/// The earlier asks for nothing that the later does not ask for too.
fn queries(earlier: &Rule, later: &Rule) -> bool {
    let keys_of_later_named = || {
        later.query_only
            && later
                .query
                .iter()
                .all(|(key, _)| earlier.query.iter().any(|(mine, _)| mine == key))
    };
    earlier.query.iter().all(|pair| later.query.contains(pair))
        && (!earlier.query_only || keys_of_later_named())
}

fn headers(earlier: &[(HeaderName, HeaderValue)], later: &[(HeaderName, HeaderValue)]) -> bool {
    earlier.iter().all(|field| later.contains(field))
}

fn is_deny(rule: &Rule) -> bool {
    match &rule.action {
        Action::Allow => false,
        Action::Deny { .. } => true,
    }
}

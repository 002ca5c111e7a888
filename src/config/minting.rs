//! Places where services make tokens: whoever may ask there with a credential attached can take
//! away a credential of their own, which nothing looks for and no rule limits.
//!
//! Which those are says `token_services`.

use super::token_services::{Endpoint, Where, endpoints as known};
use crate::credential::Spec;
use crate::policy::path::PathPattern;
use crate::policy::rule::{Action, Agents, HostPattern, Hosts, Methods, Rule};

/// A rule that attaches a credential where tokens are made.
pub(super) struct Covered {
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

/// Whether the rule at `index` does, unless one before it denies that.
pub(super) fn covered(rules: &[Rule], index: usize, specs: &[Spec]) -> Option<Covered> {
    let rule = rules.get(index)?;
    let before = rules.get(..index)?;
    let name = rule.credentials.iter().find_map(|name| {
        let spec = specs.iter().find(|spec| spec.name == *name)?;
        let mut all = endpoints(rule, before, spec);
        let first = all.next()?;
        Some((name, first, all.count()))
    });
    let (name, endpoint, more) = name?;
    let more = match more {
        0 => String::new(),
        more => format!(", and {more} more of this kind"),
    };
    let Endpoint {
        service,
        method,
        path,
        does,
    } = endpoint;
    Some(Covered {
        message: format!(
            "rule `{}` attaches `{name}` to {method} {path}, where {} {does}{more}: the agent could take one away",
            rule.name, service.name
        ),
        help:
            "narrow its `methods` or `paths`, or write a rule with `action = \"deny\"` for it first"
                .to_owned(),
    })
}

fn endpoints<'a>(
    rule: &'a Rule,
    before: &'a [Rule],
    spec: &'a Spec,
) -> impl Iterator<Item = Endpoint> + 'a {
    known().filter(move |endpoint| {
        let Ok(path) = PathPattern::parse(endpoint.path) else {
            return false;
        };
        let limits = &spec.limits;
        let method = |methods: &Vec<http::Method>| methods.iter().any(|it| it == endpoint.method);
        let overlaps = |paths: &Vec<PathPattern>| paths.iter().any(|it| it.overlaps(&path));
        rule.action == Action::Allow
            && has_method(rule, endpoint.method)
            && limits.methods.as_ref().is_none_or(method)
            && limits.paths.as_ref().is_none_or(overlaps)
            && reaches(rule, endpoint, &path)
            && !before
                .iter()
                .any(|deny| denies(deny, rule, endpoint, &path))
    })
}

fn has_method(rule: &Rule, wanted: &str) -> bool {
    match &rule.methods {
        Methods::Known => true,
        Methods::These(methods) => methods.iter().any(|it| it == wanted),
    }
}

/// Whether a request that the rule matches may be one that makes a token.
fn reaches(rule: &Rule, endpoint: &Endpoint, path: &PathPattern) -> bool {
    let overlap = |paths: &Vec<PathPattern>| paths.iter().any(|it| it.overlaps(path));
    let named = |paths: &Vec<PathPattern>| paths.iter().any(|it| path.covers(it));
    match endpoint.service.at {
        Where::Anywhere => rule.paths.as_ref().is_some_and(named),
        Where::Hosts(_) | Where::Region(..) => {
            has_host(rule, endpoint) && rule.paths.as_ref().is_none_or(overlap)
        }
    }
}

fn has_host(rule: &Rule, endpoint: &Endpoint) -> bool {
    // A credential goes to exact hosts only.
    let Hosts::These(patterns) = &rule.hosts else {
        return false;
    };
    patterns.iter().any(|pattern| match pattern {
        HostPattern::Exact(host) => match endpoint.service.at {
            Where::Hosts(names) => host.name().is_some_and(|host| names.contains(&host)),
            Where::Region(start, ends) => {
                let rest = host.name().and_then(|name| name.strip_prefix(start));
                let is_region = |end: &&str| {
                    let region = rest.and_then(|rest| rest.strip_suffix(*end));
                    region.is_some_and(|region| !region.is_empty())
                };
                ends.iter().any(is_region)
            }
            Where::Anywhere => true,
        },
        HostPattern::Under(_) => false,
    })
}

/// Whether `deny` takes all of these requests that would come to `rule`.
fn denies(deny: &Rule, rule: &Rule, endpoint: &Endpoint, path: &PathPattern) -> bool {
    let agents = match (&deny.agents, &rule.agents) {
        (Agents::Any, _) => true,
        (Agents::These(_), Agents::Any) => false,
        (Agents::These(denied), Agents::These(allowed)) => {
            allowed.iter().all(|agent| denied.contains(agent))
        }
    };
    let takes = |paths: &Vec<PathPattern>| paths.iter().any(|it| it.covers(path));
    let hosts = match (&deny.hosts, &rule.hosts) {
        (Hosts::Any, _) => true,
        (Hosts::These(denied), Hosts::These(allowed)) => allowed
            .iter()
            .all(|host| denied.iter().any(|deny| deny.covers(host))),
        (Hosts::These(_), Hosts::Any) => false,
    };
    deny.action != Action::Allow
        && deny.query.is_empty()
        && !deny.query_only
        && deny.headers.is_empty()
        && rule.ports.iter().all(|port| deny.ports.contains(port))
        && agents
        && hosts
        && has_method(deny, endpoint.method)
        && deny.paths.as_ref().is_none_or(takes)
}

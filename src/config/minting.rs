//! Places where services make tokens: whoever may ask there with a credential attached can take
//! away a credential of their own, which nothing looks for and no rule limits.
//!
//! Each is named where its service documents it; the list is for the services whose keys agents
//! are commonly given, not for all there are.

use crate::credential::Spec;
use crate::policy::path::PathPattern;
use crate::policy::rule::{Action, Agents, HostPattern, Hosts, Methods, Rule};

/// Requests that a service answers with a token.
#[derive(Debug)]
pub(super) struct Endpoint {
    host: Where,
    method: &'static str,
    path: &'static str,
    /// Whose and what, in a sentence.
    makes: &'static str,
}

#[derive(Debug)]
enum Where {
    /// This host.
    Host(&'static str),
    /// What begins and ends so: one for each region.
    Region(&'static str, &'static str),
    /// Any: whoever has it is at home on hosts of the operator's own. Told only where a rule
    /// names such paths.
    Anywhere,
}

use Where::{Anywhere, Host, Region};

const fn endpoint(
    host: Where,
    method: &'static str,
    path: &'static str,
    makes: &'static str,
) -> Endpoint {
    Endpoint {
        host,
        method,
        path,
        makes,
    }
}

/// Sources: the REST and OAuth references of GitHub and GitLab; the API references of AWS STS and
/// IAM; the IAM Credentials and Security Token Service references of Google Cloud; the Microsoft
/// identity platform; the npm registry, Docker Hub, `OpenAI`, Slack and Stripe API references; the
/// auth methods of Vault's HTTP API; the `TokenRequest` API of Kubernetes; RFC 6749 §3.2.
const KNOWN: &[Endpoint] = &[
    endpoint(
        Host("api.github.com"),
        "POST",
        "/app/installations/*/access_tokens",
        "GitHub makes installation tokens",
    ),
    endpoint(
        Host("api.github.com"),
        "POST",
        "/applications/*/token/scoped",
        "GitHub makes user tokens",
    ),
    endpoint(
        Host("api.github.com"),
        "POST",
        "/repos/*/*/actions/runners/registration-token",
        "GitHub makes registration tokens for runners",
    ),
    endpoint(
        Host("api.github.com"),
        "POST",
        "/orgs/*/actions/runners/registration-token",
        "GitHub makes registration tokens for runners",
    ),
    endpoint(
        Host("api.github.com"),
        "POST",
        "/repos/*/*/keys",
        "GitHub takes deploy keys",
    ),
    endpoint(
        Host("api.github.com"),
        "POST",
        "/user/keys",
        "GitHub takes keys of the user",
    ),
    endpoint(
        Host("github.com"),
        "POST",
        "/login/oauth/access_token",
        "GitHub makes user tokens",
    ),
    endpoint(
        Host("gitlab.com"),
        "POST",
        "/oauth/token",
        "GitLab makes user tokens",
    ),
    endpoint(
        Host("gitlab.com"),
        "POST",
        "/api/v4/user/personal_access_tokens",
        "GitLab makes personal tokens",
    ),
    endpoint(
        Host("gitlab.com"),
        "POST",
        "/api/v4/projects/*/access_tokens",
        "GitLab makes project tokens",
    ),
    endpoint(
        Host("gitlab.com"),
        "POST",
        "/api/v4/groups/*/access_tokens",
        "GitLab makes group tokens",
    ),
    endpoint(
        Host("gitlab.com"),
        "POST",
        "/api/v4/projects/*/deploy_tokens",
        "GitLab makes deploy tokens",
    ),
    endpoint(
        Host("sts.amazonaws.com"),
        "POST",
        "/",
        "AWS STS makes session keys (AssumeRole, GetSessionToken)",
    ),
    endpoint(
        Host("sts.amazonaws.com"),
        "GET",
        "/",
        "AWS STS makes session keys (AssumeRole, GetSessionToken)",
    ),
    endpoint(
        Region("sts.", ".amazonaws.com"),
        "POST",
        "/",
        "AWS STS makes session keys (AssumeRole, GetSessionToken)",
    ),
    endpoint(
        Region("sts.", ".amazonaws.com"),
        "GET",
        "/",
        "AWS STS makes session keys (AssumeRole, GetSessionToken)",
    ),
    endpoint(
        Host("iam.amazonaws.com"),
        "POST",
        "/",
        "AWS IAM makes access keys (CreateAccessKey)",
    ),
    endpoint(
        Host("iamcredentials.googleapis.com"),
        "POST",
        "/v1/projects/*/serviceAccounts/*",
        "Google Cloud makes tokens of service accounts (generateAccessToken, signJwt)",
    ),
    endpoint(
        Host("iam.googleapis.com"),
        "POST",
        "/v1/projects/*/serviceAccounts/*/keys",
        "Google Cloud makes keys of service accounts",
    ),
    endpoint(
        Host("sts.googleapis.com"),
        "POST",
        "/v1/token",
        "Google Cloud exchanges tokens",
    ),
    endpoint(
        Host("oauth2.googleapis.com"),
        "POST",
        "/token",
        "Google makes access tokens",
    ),
    endpoint(
        Host("login.microsoftonline.com"),
        "POST",
        "/*/oauth2/v2.0/token",
        "Microsoft Entra makes access tokens",
    ),
    endpoint(
        Host("login.microsoftonline.com"),
        "POST",
        "/*/oauth2/token",
        "Microsoft Entra makes access tokens",
    ),
    endpoint(
        Host("registry.npmjs.org"),
        "POST",
        "/-/npm/v1/tokens",
        "npm makes access tokens",
    ),
    endpoint(
        Host("hub.docker.com"),
        "POST",
        "/v2/access-tokens",
        "Docker Hub makes personal tokens",
    ),
    endpoint(
        Host("hub.docker.com"),
        "POST",
        "/v2/users/login",
        "Docker Hub makes session tokens",
    ),
    endpoint(
        Host("auth.docker.io"),
        "GET",
        "/token",
        "Docker Hub makes tokens for its registry",
    ),
    endpoint(
        Host("api.openai.com"),
        "POST",
        "/v1/organization/admin_api_keys",
        "OpenAI makes admin keys",
    ),
    endpoint(
        Host("api.openai.com"),
        "POST",
        "/v1/organization/projects/*/service_accounts",
        "OpenAI makes service accounts with keys",
    ),
    endpoint(
        Host("api.openai.com"),
        "POST",
        "/v1/realtime/client_secrets",
        "OpenAI makes client secrets for the Realtime API",
    ),
    endpoint(
        Host("slack.com"),
        "POST",
        "/api/oauth.v2.access",
        "Slack makes access tokens",
    ),
    endpoint(
        Host("api.stripe.com"),
        "POST",
        "/v1/ephemeral_keys",
        "Stripe makes ephemeral keys",
    ),
    endpoint(
        Anywhere,
        "POST",
        "/v1/auth/*/login/**",
        "Vault and OpenBao make tokens",
    ),
    endpoint(
        Anywhere,
        "POST",
        "/v1/auth/token/create/**",
        "Vault and OpenBao make tokens",
    ),
    endpoint(
        Anywhere,
        "POST",
        "/api/v1/namespaces/*/serviceaccounts/*/token",
        "Kubernetes makes tokens of service accounts",
    ),
    endpoint(
        Anywhere,
        "POST",
        "/oauth/token",
        "OAuth servers make access tokens",
    ),
    endpoint(
        Anywhere,
        "POST",
        "/oauth2/token",
        "OAuth servers make access tokens",
    ),
];

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
        method,
        path,
        makes,
        ..
    } = endpoint;
    Some(Covered {
        message: format!(
            "rule `{}` attaches `{name}` to {method} {path}, where {makes}{more}: the agent could take one away",
            rule.name
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
) -> impl Iterator<Item = &'static Endpoint> + 'a {
    KNOWN.iter().filter(move |endpoint| {
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
    match endpoint.host {
        Anywhere => rule.paths.as_ref().is_some_and(named),
        Host(_) | Region(..) => has_host(rule, endpoint) && rule.paths.as_ref().is_none_or(overlap),
    }
}

fn has_host(rule: &Rule, endpoint: &Endpoint) -> bool {
    // A credential goes to exact hosts only.
    let Hosts::These(patterns) = &rule.hosts else {
        return false;
    };
    patterns.iter().any(|pattern| match pattern {
        HostPattern::Exact(host) => match endpoint.host {
            Host(name) => host.name() == Some(name),
            Region(start, end) => host.name().is_some_and(|name| {
                let inner = name.strip_prefix(start).and_then(|it| it.strip_suffix(end));
                inner.is_some_and(|region| !region.is_empty())
            }),
            Anywhere => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_path_reads() {
        for endpoint in KNOWN {
            assert!(PathPattern::parse(endpoint.path).is_ok(), "{endpoint:?}");
        }
    }
}

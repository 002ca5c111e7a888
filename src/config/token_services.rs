//! The services whose APIs are known to make tokens, and by which requests.
//!
//! Most were held against what their services document: the REST and OAuth references of GitHub,
//! GitLab, Bitbucket and Atlassian; the API references of AWS STS, IAM, ECR and IAM Identity Center; the
//! IAM, IAM Credentials and Security Token Service references of Google Cloud; the Microsoft identity
//! platform and Microsoft Graph; the references of Docker Hub, `OpenAI`, Claude's workload identity
//! federation, Slack, Stripe and Cloudflare; the auth methods and engines of Vault's HTTP API; the
//! `TokenRequest` API of Kubernetes; RFC 6749 §3.2. The rest are as commonly known: app manifests and
//! runners, the publishing of packages.
//! The list is for the services whose keys agents are commonly given, not for all there are.

/// Where a service is.
#[derive(Debug)]
pub(super) enum Where {
    /// At these hosts.
    Hosts(&'static [&'static str]),
    /// At hosts that begin and end so, one for each region.
    Region(&'static str, &'static [&'static str]),
    /// Anywhere: whoever has it is at home on hosts of the operator's own. Told only where a rule
    /// names such paths.
    Anywhere,
}

use Where::{Anywhere, Hosts, Region};

/// A service, and the requests that it answers with something that lets others in.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) at: Where,
    /// Each a method, a path pattern, and behind an arrow what the service does.
    requests: &'static [&'static str],
}

/// One of those requests.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) service: &'static Service,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What the service does, as the rest of a sentence.
    pub(super) does: &'static str,
}

/// All that are known.
pub(super) fn endpoints() -> impl Iterator<Item = Endpoint> {
    let of = |service: &'static Service| {
        let parts = move |request: &&'static str| {
            let (request, does) = request.split_once(" -> ")?;
            let (method, path) = request.split_once(' ')?;
            Some(Endpoint {
                service,
                method,
                path,
                does,
            })
        };
        service.requests.iter().filter_map(parts)
    };
    KNOWN.iter().flat_map(of)
}

const AWS: &[&str] = &[".amazonaws.com", ".amazonaws.com.cn"];

const KNOWN: &[Service] = &[
    Service {
        name: "GitHub",
        at: Hosts(&["api.github.com"]),
        requests: &[
            "POST /app/installations/*/access_tokens -> makes installation tokens",
            "POST /app-manifests/*/conversions -> makes apps with their keys",
            "POST /applications/*/token/scoped -> makes user tokens",
            "PATCH /applications/*/token -> makes user tokens",
            "POST /repos/*/*/actions/runners/registration-token -> makes registration tokens for runners",
            "POST /repos/*/*/actions/runners/generate-jitconfig -> makes registrations of runners",
            "POST /orgs/*/actions/runners/registration-token -> makes registration tokens for runners",
            "POST /orgs/*/actions/runners/generate-jitconfig -> makes registrations of runners",
            "POST /repos/*/*/keys -> takes deploy keys",
            "POST /user/keys -> takes keys of the user",
        ],
    },
    Service {
        name: "GitHub",
        at: Hosts(&["github.com"]),
        requests: &["POST /login/oauth/access_token -> makes user tokens"],
    },
    Service {
        name: "GitLab",
        at: Hosts(&["gitlab.com"]),
        requests: &[
            "POST /oauth/token -> makes user tokens",
            "POST /api/v4/user/personal_access_tokens -> makes personal tokens",
            "POST /api/v4/users/*/personal_access_tokens -> makes personal tokens",
            "POST /api/v4/users/*/impersonation_tokens -> makes impersonation tokens",
            "POST /api/v4/personal_access_tokens/*/rotate -> makes personal tokens",
            "POST /api/v4/projects/*/access_tokens -> makes project tokens",
            "POST /api/v4/projects/*/access_tokens/*/rotate -> makes project tokens",
            "POST /api/v4/groups/*/access_tokens -> makes group tokens",
            "POST /api/v4/groups/*/access_tokens/*/rotate -> makes group tokens",
            "POST /api/v4/projects/*/deploy_tokens -> makes deploy tokens",
            "POST /api/v4/groups/*/deploy_tokens -> makes deploy tokens",
            "POST /api/v4/projects/*/triggers -> makes trigger tokens",
            "POST /api/v4/user/runners -> makes registrations of runners",
            "POST /api/v4/projects/*/deploy_keys -> takes deploy keys",
            "POST /api/v4/user/keys -> takes keys of the user",
        ],
    },
    Service {
        name: "Bitbucket",
        at: Hosts(&["bitbucket.org"]),
        requests: &["POST /site/oauth2/access_token -> makes access tokens"],
    },
    Service {
        name: "Bitbucket",
        at: Hosts(&["api.bitbucket.org"]),
        requests: &[
            "POST /2.0/repositories/*/*/deploy-keys -> takes deploy keys",
            "POST /2.0/users/*/ssh-keys -> takes keys of the user",
        ],
    },
    Service {
        name: "Atlassian",
        at: Hosts(&["auth.atlassian.com"]),
        requests: &["POST /oauth/token -> makes access tokens"],
    },
    Service {
        name: "AWS STS",
        at: Hosts(&["sts.amazonaws.com"]),
        requests: STS,
    },
    Service {
        name: "AWS STS",
        at: Region("sts.", AWS),
        requests: STS,
    },
    Service {
        name: "AWS IAM",
        at: Hosts(&["iam.amazonaws.com"]),
        requests: &[
            "POST / -> makes access keys (CreateAccessKey)",
            "GET / -> makes access keys (CreateAccessKey)",
        ],
    },
    Service {
        name: "AWS ECR",
        at: Region("api.ecr.", AWS),
        requests: &["POST / -> makes tokens for its registry (GetAuthorizationToken)"],
    },
    Service {
        name: "AWS IAM Identity Center",
        at: Region("portal.sso.", AWS),
        requests: &["GET /federation/credentials -> makes session keys (GetRoleCredentials)"],
    },
    Service {
        name: "Google Cloud",
        at: Hosts(&["iamcredentials.googleapis.com"]),
        requests: &[
            "POST /v1/projects/*/serviceAccounts/* -> makes tokens of service accounts (generateAccessToken, signJwt)",
        ],
    },
    Service {
        name: "Google Cloud",
        at: Hosts(&["iam.googleapis.com"]),
        requests: &["POST /v1/projects/*/serviceAccounts/*/keys -> makes keys of service accounts"],
    },
    Service {
        name: "Google Cloud",
        at: Hosts(&["sts.googleapis.com"]),
        requests: &["POST /v1/token -> exchanges tokens"],
    },
    Service {
        name: "Google",
        at: Hosts(&["oauth2.googleapis.com"]),
        requests: &["POST /token -> makes access tokens"],
    },
    Service {
        name: "Google",
        at: Hosts(&["www.googleapis.com"]),
        requests: &["POST /oauth2/v4/token -> makes access tokens"],
    },
    Service {
        name: "Microsoft Entra",
        at: Hosts(&["login.microsoftonline.com"]),
        requests: &[
            "POST /*/oauth2/v2.0/token -> makes access tokens",
            "POST /*/oauth2/token -> makes access tokens",
        ],
    },
    Service {
        name: "Microsoft Graph",
        at: Hosts(&["graph.microsoft.com"]),
        requests: &[
            "POST /*/applications/*/addPassword -> makes secrets of applications",
            "POST /*/applications/*/addKey -> takes keys of applications",
            "POST /*/servicePrincipals/*/addPassword -> makes secrets of applications",
            "POST /*/servicePrincipals/*/addKey -> takes keys of applications",
        ],
    },
    Service {
        name: "Docker Hub",
        at: Hosts(&["hub.docker.com"]),
        requests: &[
            "POST /v2/access-tokens -> makes personal tokens",
            "POST /v2/orgs/*/access-tokens -> makes organization tokens",
            "POST /v2/auth/token -> makes session tokens",
            "POST /v2/users/login -> makes session tokens",
        ],
    },
    Service {
        name: "Docker Hub",
        at: Hosts(&["auth.docker.io"]),
        requests: &["GET /token -> makes tokens for its registry"],
    },
    Service {
        name: "OpenAI",
        at: Hosts(&["api.openai.com"]),
        requests: &[
            "POST /v1/organization/admin_api_keys -> makes admin keys",
            "POST /v1/organization/projects/*/service_accounts -> makes service accounts with keys",
            "POST /v1/organization/projects/*/service_accounts/*/api_keys -> makes keys of service accounts",
            "POST /v1/realtime/client_secrets -> makes client secrets for the Realtime API",
            "POST /v1/realtime/sessions -> makes client secrets for the Realtime API",
        ],
    },
    Service {
        name: "Anthropic",
        at: Hosts(&["api.anthropic.com"]),
        requests: &["POST /v1/oauth/token -> exchanges tokens"],
    },
    Service {
        name: "Slack",
        at: Hosts(&["slack.com"]),
        requests: &[
            "POST /api/oauth.v2.access -> makes access tokens",
            "GET /api/oauth.v2.access -> makes access tokens",
            "POST /api/oauth.v2.exchange -> makes access tokens",
            "GET /api/oauth.v2.exchange -> makes access tokens",
            "POST /api/tooling.tokens.rotate -> makes configuration tokens",
            "GET /api/tooling.tokens.rotate -> makes configuration tokens",
        ],
    },
    Service {
        name: "Stripe",
        at: Hosts(&["api.stripe.com"]),
        requests: &["POST /v1/ephemeral_keys -> makes ephemeral keys"],
    },
    Service {
        name: "Cloudflare",
        at: Hosts(&["api.cloudflare.com"]),
        requests: &[
            "POST /client/v4/user/tokens -> makes API tokens",
            "POST /client/v4/accounts/*/tokens -> makes API tokens",
        ],
    },
    Service {
        name: "an npm registry",
        at: Anywhere,
        requests: &["POST /-/npm/v1/tokens -> makes access tokens"],
    },
    Service {
        name: "a Python package index",
        at: Anywhere,
        requests: &["POST /_/oidc/mint-token -> makes upload tokens"],
    },
    Service {
        name: "Vault or OpenBao",
        at: Anywhere,
        requests: &[
            "POST /v1/auth/*/login/** -> makes tokens",
            "POST /v1/auth/token/create/** -> makes tokens",
            "POST /v1/auth/token/create-orphan -> makes tokens",
            "POST /v1/auth/*/role/*/secret-id -> makes secret ids",
            "GET /v1/*/creds/* -> makes credentials of other services",
            "GET /v1/identity/oidc/token/* -> makes identity tokens",
        ],
    },
    Service {
        name: "Kubernetes",
        at: Anywhere,
        requests: &[
            "POST /api/v1/namespaces/*/serviceaccounts/*/token -> makes tokens of service accounts",
        ],
    },
    Service {
        name: "an OAuth server",
        at: Anywhere,
        requests: &[
            "POST /oauth/token -> makes access tokens",
            "POST /oauth2/token -> makes access tokens",
            "POST /oauth/access_token -> makes access tokens",
        ],
    },
];

const STS: &[&str] = &[
    "POST / -> makes session keys (AssumeRole, GetSessionToken)",
    "GET / -> makes session keys (AssumeRole, GetSessionToken)",
];

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::policy::path::PathPattern;

    #[test]
    fn every_known_request_reads() {
        let written: usize = KNOWN.iter().map(|service| service.requests.len()).sum();
        assert_eq!(endpoints().count(), written);
        for endpoint in endpoints() {
            assert!(PathPattern::parse(endpoint.path).is_ok(), "{endpoint:?}");
            let standard = [Method::GET, Method::POST, Method::PATCH];
            assert!(
                standard.iter().any(|it| it == endpoint.method),
                "{endpoint:?}"
            );
        }
    }
}

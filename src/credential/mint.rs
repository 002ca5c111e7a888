//! Tokens that are made of a secret: the secret itself never goes to the credential's hosts.

use std::collections::BTreeMap;

use super::Source;
use crate::name::Authority;

/// How a token is got for the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mint {
    /// At a token endpoint (RFC 6749 §4.4, §6).
    OAuth2(OAuth2),
    /// As an installation of a GitHub App; the secret is its private key.
    GithubApp(GithubApp),
    /// As a Google Cloud service account; the secret is its key file (RFC 7523 §2.1).
    GcpServiceAccount(GcpServiceAccount),
}

/// An `https` URL that is asked for tokens. Dialled as agents' requests are: the address is
/// judged, the certificate verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUrl {
    /// Host and port.
    pub authority: Authority,
    /// Path and query.
    pub target: String,
}

/// What is asked for at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The secret is the client's.
    ClientCredentials,
    /// The secret is a refresh token.
    RefreshToken,
}

/// How the client proves itself (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `Authorization: Basic`
    Basic,
    /// `client_id` and `client_secret` in the form.
    Body,
}

/// A token endpoint and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The endpoint.
    pub token_url: TokenUrl,
    /// What is asked for.
    pub grant: Grant,
    /// Who asks.
    pub client_id: String,
    /// Of a client that refreshes and is not public.
    pub client_secret: Option<Source>,
    /// How it is proved.
    pub client_auth: ClientAuth,
    /// `scope`, in order.
    pub scopes: Vec<String>,
    /// `audience`, which some servers want.
    pub audience: Option<String>,
}

/// An installation of a GitHub App and what its token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GithubApp {
    /// The API: `https://api.github.com`, or that of a GitHub Enterprise Server.
    pub api: TokenUrl,
    /// The app's id or client id.
    pub app_id: String,
    /// The installation's id.
    pub installation_id: u64,
    /// Names of repositories; empty: all of the installation.
    pub repositories: Vec<String>,
    /// `contents = "read"`; empty: all of the installation.
    pub permissions: BTreeMap<String, String>,
}

/// What the token of a service account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpServiceAccount {
    /// `scope`, in order.
    pub scopes: Vec<String>,
}

impl Mint {
    /// Its key in the configuration.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::OAuth2(_) => "oauth2",
            Self::GithubApp(_) => "github_app",
            Self::GcpServiceAccount(_) => "gcp_service_account",
        }
    }

    /// Where else than in the secret something secret is read from.
    pub(super) fn local_sources(&self) -> impl Iterator<Item = &Source> {
        let source = match self {
            Self::OAuth2(oauth2) => oauth2.client_secret.as_ref(),
            Self::GithubApp(_) | Self::GcpServiceAccount(_) => None,
        };
        source.into_iter()
    }
}

//! Secrets: where they come from, the exact hosts they may go to, and how they are attached.
//!
//! A request that a rule allows asks [`Store::attachment`] for header fields and adds what it
//! gets; it never learns which method of attaching that was, and nothing here can be printed
//! that holds a secret. A credential whose secret cannot be had is kept, as unavailable: its
//! own rules answer 503 and all others go on.

mod attach;
mod attachment;
pub mod echo;
mod identity;
mod mint;
mod pins;
pub mod placeholder;
pub mod sigv4;
mod source;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, Method};

use self::placeholder::{Like, Spot};
use crate::name::{CredentialName, Host};
use crate::policy::Request;
use crate::policy::path::PathPattern;
use crate::policy::rule::Place;
use crate::secret::Secret;

pub use attach::QueryPair;
pub use attachment::Attachment;
pub use identity::Identity;
pub use mint::{ClientAuth, GcpServiceAccount, GithubApp, Grant, Mint, OAuth2, TokenUrl};
pub use pins::{Pinned, Pinning, Remembered};
pub use source::{Cause, SECRET_MAX, trimmed};
pub use store::{Fetched, Problem, State, Status, Store};

/// A credential as the operator described it. Holds no secret, only where to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Unique across all files.
    pub name: CredentialName,
    /// Where it is written.
    pub place: Place,
    /// Where the secret is.
    pub source: Source,
    /// The only hosts it may go to, exact, at least one.
    pub hosts: Vec<Host>,
    /// How it is attached.
    pub attach: Attach,
    /// To which requests of those that its rules allow.
    pub limits: Limits,
    /// To which servers that answer for its hosts.
    pub pinning: Pinning,
    /// What is made of the secret and attached in its place.
    pub mint: Option<Mint>,
    /// How often the source is looked at again; what says when it expires is fetched
    /// before that.
    pub refresh: Duration,
    /// How long the last value is used on while no other can be had. One that says when it
    /// expires is never used beyond that.
    pub stale_for: Duration,
}

impl Spec {
    /// Whether the value that is attached comes by a command or over the network, so that
    /// it is not there at once.
    #[must_use]
    pub fn is_fetched(&self) -> bool {
        self.mint.is_some() || !self.source.is_local()
    }

    /// Whether this value can be attached as it says; the value.
    ///
    /// # Errors
    /// Why not.
    pub fn accept(&self, fetched: Fetched) -> Result<Arc<Secret>, Cause> {
        let secret = Arc::new(fetched.secret);
        self.attach.check(&secret)?;
        Ok(secret)
    }

    /// What was fetched, with its end where that is known of it.
    ///
    /// # Errors
    /// It ended already, or has not begun.
    pub fn timed(&self, fetched: Fetched) -> Result<Fetched, Cause> {
        let own = self.attach.lifetime(&fetched.secret, SystemTime::now())?;
        let lifetime = fetched.lifetime.into_iter().chain(own).min();
        Ok(Fetched {
            lifetime,
            ..fetched
        })
    }

    /// The files that a change of what is attached would show in.
    pub fn watched_files(&self) -> impl Iterator<Item = PathBuf> {
        let chain = match &self.attach {
            Attach::ClientCertificate { chain } => Some(chain.clone()),
            _ => None,
        };
        self.source.watched_file().into_iter().chain(chain)
    }

    /// Every place on this machine that some secret of it is read from.
    pub fn local_sources(&self) -> impl Iterator<Item = &Source> {
        let own = self.source.local();
        own.chain(self.mint.iter().flat_map(Mint::local_sources))
    }
}

/// To which requests a credential is attached, beyond what its rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// These methods only.
    pub methods: Option<Vec<Method>>,
    /// These paths only.
    pub paths: Option<Vec<PathPattern>>,
}

impl Limits {
    /// Whether they leave this request in.
    #[must_use]
    pub fn admit(&self, request: &Request) -> bool {
        let method = |methods: &Vec<Method>| methods.contains(&request.method);
        let path = |paths: &Vec<PathPattern>| paths.iter().any(|it| it.matches(&request.target));
        self.methods.as_ref().is_none_or(method) && self.paths.as_ref().is_none_or(path)
    }

    /// Whether no request is left in by both.
    #[must_use]
    pub fn exclude(&self, other: &Self) -> bool {
        match (&self.methods, &other.methods) {
            (Some(one), Some(other)) => !one.iter().any(|method| other.contains(method)),
            (Some(_) | None, _) => false,
        }
    }
}

/// Where a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The content of a file that only its owner may read.
    File(PathBuf),
    /// The value of an environment variable of the gateway.
    Env(String),
    /// A credential that the service manager hands over: a file of this name in
    /// `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    Systemd(String),
    /// What a program writes to its standard output. Never through a shell.
    Command {
        /// The program and its arguments, at least one.
        argv: Vec<String>,
        /// It is killed after this.
        timeout: Duration,
    },
    /// A field of a secret in HashiCorp Vault or OpenBao.
    Vault(Box<Vault>),
}

/// A secret in HashiCorp Vault or OpenBao, and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// Whether it is `https`.
    pub tls: bool,
    /// Its name or address.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The CAs that prove it, in place of those that prove servers.
    pub ca: Option<PathBuf>,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Of the secret, as in the API, without `/v1/`.
    pub path: String,
    /// Of the secret's data.
    pub field: String,
    /// How to log in.
    pub auth: VaultAuth,
}

/// How to log in to a vault. Its secrets are local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAuth {
    /// With this token.
    Token(Source),
    /// `auth/MOUNT/login`
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// Who.
        role_id: String,
        /// With which secret.
        secret_id: Source,
    },
}

impl Source {
    /// Whether it is on this machine and read at once.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::File(_) | Self::Env(_) | Self::Systemd(_) => true,
            Self::Command { .. } | Self::Vault(_) => false,
        }
    }

    /// What is read on this machine to get at the secret.
    pub fn local(&self) -> impl Iterator<Item = &Self> {
        let source = match self {
            Self::File(_) | Self::Env(_) | Self::Systemd(_) => Some(self),
            Self::Command { .. } => None,
            Self::Vault(vault) => Some(match &vault.auth {
                VaultAuth::Token(source) => source,
                VaultAuth::AppRole { secret_id, .. } => secret_id,
            }),
        };
        source.into_iter()
    }
}

/// How a secret becomes a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A field of its own.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value, with `{secret}` where the secret goes.
        format: String,
    },
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer,
    /// `Authorization: Basic …` with the secret as the password (RFC 7617).
    Basic {
        /// The user-id; holds no colon.
        user: String,
    },
    /// A key of the query, in place of any of the same name.
    Query {
        /// The key, not encoded.
        key: String,
    },
    /// A cookie, in place of all others (RFC 6265 §4.2).
    Cookie {
        /// Its name.
        name: String,
    },
    /// In place of a stand-in that the agent holds.
    Placeholder {
        /// Where.
        spots: Vec<Spot>,
        /// What the stand-in looks like; absent: like keys for these hosts, where known.
        like: Option<Like>,
        /// The stand-in; absent until [`placeholder::StandIns::fill`].
        value: Option<String>,
    },
    /// By signing the request anew (AWS Signature Version 4).
    Sigv4 {
        /// The id of the key; absent where it is part of the secret.
        key_id: Option<String>,
        /// Absent: that of the agent's own signature.
        region: Option<String>,
        /// Absent: that of the agent's own signature.
        service: Option<String>,
    },
    /// By a client certificate; the secret is its private key.
    ClientCertificate {
        /// The file with the certificate and those that lead to its CA.
        chain: PathBuf,
    },
}

/// What only one credential of a request can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A header field.
    Field(HeaderName),
    /// A key of the query.
    Key(String),
    /// The certificate of the connection.
    Certificate,
    /// The signature over all the rest.
    Signature,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => write!(f, "the header `{name}`"),
            Self::Key(key) => write!(f, "`{key}` in the query"),
            Self::Certificate => f.write_str("the client certificate"),
            Self::Signature => f.write_str("the signature"),
        }
    }
}

impl Attach {
    /// What stands for the secret in a format.
    pub const PLACEHOLDER: &'static str = "{secret}";

    /// The header field that attaching sets, so that nobody else may.
    #[must_use]
    pub fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Header { name, .. } => Some(name.clone()),
            Self::Bearer | Self::Basic { .. } => Some(http::header::AUTHORIZATION),
            Self::Cookie { .. } => Some(http::header::COOKIE),
            Self::Query { .. }
            | Self::Placeholder { .. }
            | Self::Sigv4 { .. }
            | Self::ClientCertificate { .. } => None,
        }
    }

    /// All that attaching sets, so that nobody else may.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Query { key } => vec![Claim::Key(key.clone())],
            Self::Placeholder { spots, .. } => {
                let keys = spots.iter().filter_map(|spot| match spot {
                    Spot::Query(key) => Some(Claim::Key(key.clone())),
                    _ => None,
                });
                let fields = spots.iter().filter_map(Spot::header).map(Claim::Field);
                fields.chain(keys).collect()
            }
            Self::Sigv4 { .. } => {
                let fields = sigv4::Signer::sets().iter().cloned().map(Claim::Field);
                fields.chain([Claim::Signature]).collect()
            }
            Self::ClientCertificate { .. } => vec![Claim::Certificate],
            Self::Header { .. } | Self::Bearer | Self::Basic { .. } | Self::Cookie { .. } => {
                self.header().into_iter().map(Claim::Field).collect()
            }
        }
    }
}

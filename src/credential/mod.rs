//! Secrets: where they come from, the exact hosts they may go to, and how they are attached.
//!
//! A request that a rule allows asks [`Store::attachment`] for header fields and adds what it
//! gets; it never learns which method of attaching that was, and nothing here can be printed
//! that holds a secret. A credential whose secret cannot be had is kept, as unavailable: its
//! own rules answer 503 and all others go on.

mod attach;
pub mod echo;
mod source;
mod store;

use std::path::PathBuf;

use http::HeaderName;

use crate::name::{CredentialName, Host};
use crate::policy::rule::Place;

pub use attach::QueryPair;
pub use source::{Cause, SECRET_MAX};
pub use store::{Attachment, Problem, Store};

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
            Self::Query { .. } => None,
        }
    }
}

//! TLS settings of both legs: [`agent`] toward agents, [`upstream`] toward servers.
//!
//! There is one cryptographic provider, aws-lc-rs, and it is always passed explicitly; nothing
//! reads or sets the process-wide default. Secrets are never logged: no configuration has a
//! key log.

pub mod agent;
pub mod alert;
mod proof;
#[cfg(test)]
mod test_pki;
pub mod upstream;
mod verdict;
mod verifier;

pub use agent::AgentTls;
pub use alert::alert_record;
pub use proof::{Pin, Proof};
pub use upstream::{Roots, Trust, UpstreamTls, Versions, server_name};

use std::path::PathBuf;

/// Why there are no TLS settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refuses its own settings.
    #[error("the TLS library cannot be set up")]
    Setup(#[from] rustls::Error),
    /// The system has no CA certificates.
    #[error(
        "this system has no CA certificates to verify servers with; install the package \
         ca-certificates, or set upstream.trust (or SSL_CERT_FILE) to a PEM file{}", details(.0)
    )]
    NoSystemRoots(Vec<String>),
    /// A file cannot be read.
    #[error("cannot read {path}, which {key} names")]
    Read {
        /// Of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// How it failed.
        source: std::io::Error,
    },
    /// A file does not parse.
    #[error("{path}, which {key} names, {problem}")]
    Pem {
        /// Of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The rest of the sentence about it.
        problem: &'static str,
    },
    /// The library takes none of the revocation lists.
    #[error("upstream.crl names a list of a kind that is not supported (indirect or partitioned)")]
    BadList,
    /// `trust` is an empty list.
    #[error("upstream.trust names no file, so no server could be verified; name one, or `system`")]
    NoRoots,
}

/// What the search for system certificates complained about, if anything.
fn details(complaints: &[String]) -> String {
    match complaints {
        [] => String::new(),
        some => format!(" ({})", some.join("; ")),
    }
}

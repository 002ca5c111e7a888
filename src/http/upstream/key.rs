//! The pool key: what two requests must share to share an upstream connection (I6).
//!
//! The address policy is one for the whole process and is asked again on every reuse, so it
//! is no part of the key.

use crate::name::{AgentName, Authority, CredentialName};
use crate::policy::Scheme;

/// Compared in full; a hash alone never decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Absent only where the rule says `share_upstream = true`.
    pub agent: Option<AgentName>,
    /// Clear or TLS.
    pub scheme: Scheme,
    /// Host and port that were resolved, dialled and verified.
    pub authority: Authority,
    /// The attached credentials and their generations, client certificates among them.
    pub credentials: Vec<(CredentialName, u64)>,
    /// Which trust settings verified the server.
    pub tls_profile: u64,
}

//! The local CA: minting and caching leaves.
//!
//! [`CertificateAuthority`] is the key that signs, from the state folder or from the operator.
//! [`Leaves`] hands out one leaf per name, all with one key of the process that is never the
//! CA's (I13). Nothing here is written after start; leaves live in memory only.

mod authority;
mod certificate;
mod error;
mod files;
mod intermediate;
mod key;
mod leaves;
mod mint;
mod pem;
#[cfg(test)]
mod tests;

pub use authority::CertificateAuthority;
pub use certificate::CaCertificate;
pub use error::{
    CaError, CertificateProblem, KeyProblem, MintError, MintFault, PemProblem, UnsafePath,
};
pub use intermediate::{Issued, issue_intermediate};
pub use leaves::{LeafSettings, LeafStats, Leaves};

//! What can be wrong with a CA on disk, each with the place and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why there is no usable CA, or no leaf from it.
///
/// `Display` never repeats its source: print the chain.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A system call failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A file or folder that others could read or replace.
    #[error("{path} {problem}")]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and the command that mends it.
        problem: UnsafePath,
    },
    /// The folder holds one half of the CA: made up from two sources, or damaged.
    #[error(
        "{missing} is missing while its other half is there; restore it from a backup, or move \
         {folder} away to have a new CA made (which every agent must then be told to trust)"
    )]
    Incomplete {
        /// The half that is not there.
        missing: PathBuf,
        /// The folder of both.
        folder: PathBuf,
    },
    /// Neither half is there.
    #[error("there is no CA in {folder} yet; `portreeve ca init` makes one")]
    Absent {
        /// Where it would be.
        folder: PathBuf,
    },
    /// A file that is no PEM of the expected kind.
    #[error("{path} {problem}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PemProblem,
    },
    /// A certificate that cannot sign leaves.
    #[error("the certificate in {path} {problem}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// A key that cannot sign leaves.
    #[error("the private key in {path} {problem}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// No leaf could be made.
    #[error(transparent)]
    Mint(#[from] MintFault),
}

/// Why a path may not hold the CA. Displays as the rest of a sentence about the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafePath {
    /// A folder was expected.
    #[error("is not a folder")]
    NotFolder,
    /// A plain file was expected.
    #[error("is not a plain file")]
    NotFile,
    /// Whoever owns the link's folder could point it elsewhere.
    #[error("is a symbolic link; put the file itself there")]
    Symlink,
    /// The folder is open to others.
    #[error("has mode {mode:04o}, so others may get at the CA key; `chmod 0700` it")]
    FolderMode {
        /// The permission bits found.
        mode: u32,
    },
    /// The key is open to others.
    #[error(
        "has mode {mode:04o}, so others may read or replace the CA key; `chmod {remedy:04o}` it, \
         and make a new CA if it may have been read"
    )]
    KeyMode {
        /// The permission bits found.
        mode: u32,
        /// The permission bits to set.
        remedy: u32,
    },
    /// Somebody else could change it at will.
    #[error(
        "belongs to uid {owner}, but this process is uid {user}; run as the owner, or `chown` it"
    )]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Larger than any certificate or key.
    #[error("is larger than {max} bytes, so it is no certificate or key")]
    TooLarge {
        /// The most that is read.
        max: u64,
    },
}

/// What is wrong with a PEM file. Displays as the rest of a sentence about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemProblem {
    /// No block at all, but DER.
    #[error("is DER, not PEM; convert it with `openssl x509` or `openssl pkey -inform DER`")]
    Der,
    /// A block that does not decode.
    #[error("holds a damaged PEM block")]
    Damaged,
    /// No certificate.
    #[error("holds no certificate (no `BEGIN CERTIFICATE` block)")]
    NoCertificate,
    /// More than the one certificate that signs.
    #[error(
        "holds {count} certificates where the one that signs must stand alone; put its issuers \
         into the chain file"
    )]
    SeveralCertificates {
        /// How many.
        count: usize,
    },
    /// No private key.
    #[error("holds no private key (no `BEGIN PRIVATE KEY` block)")]
    NoKey,
    /// More than one private key.
    #[error("holds {count} private keys where one must stand alone")]
    SeveralKeys {
        /// How many.
        count: usize,
    },
    /// A passphrase would be needed.
    #[error(
        "holds an encrypted private key; decrypt it with `openssl pkey -in OLD -out NEW`, and \
         guard it by file mode or as a systemd credential"
    )]
    Encrypted,
}

/// What is wrong with a CA certificate. Displays as the rest of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// Not X.509 (RFC 5280 §4.1).
    #[error("is not a valid X.509 certificate")]
    Malformed,
    /// `basicConstraints` does not say CA (RFC 5280 §4.2.1.9).
    #[error("is not a CA certificate (basicConstraints without CA:TRUE)")]
    NotCa,
    /// `keyUsage` is there, without `keyCertSign` (RFC 5280 §4.2.1.3).
    #[error("may not sign certificates (keyUsage without keyCertSign)")]
    NoCertSign,
    /// `extendedKeyUsage` is there, without server authentication (RFC 5280 §4.2.1.12).
    #[error("may not issue server certificates (extendedKeyUsage without serverAuth)")]
    NoServerAuth,
    /// Its validity is over.
    #[error(
        "expired on {date}; renew it (the gateway's own: move its folder away, then `portreeve ca \
         init`, and have agents trust the new one)"
    )]
    Expired {
        /// When, as `YYYY-MM-DD`.
        date: String,
    },
    /// Its validity has not begun.
    #[error("is not valid before {date}; is this machine's clock right?")]
    NotYetValid {
        /// When, as `YYYY-MM-DD`.
        date: String,
    },
    /// The subject cannot be reproduced octet by octet as the issuer of leaves.
    #[error(
        "has a subject that leaves cannot carry as their issuer; use each kind of attribute at \
         most once (for example one O and one CN), in PrintableString or UTF8String"
    )]
    Subject,
    /// A certificate of the chain file did not issue the one before it.
    #[error(
        "is number {number} there and did not issue the one before it; the chain goes from the \
         issuer of the CA certificate upwards"
    )]
    ChainOrder {
        /// Counted from 1.
        number: usize,
    },
    /// A certificate of the chain file allows fewer CAs below it than there are
    /// (pathLenConstraint, RFC 5280 §4.2.1.9).
    #[error("is number {number} there and its pathlen allows only {allowed} CAs below it")]
    PathLength {
        /// Counted from 1.
        number: usize,
        /// As the certificate says.
        allowed: u32,
    },
    /// Not a root, where one is to sign an intermediate.
    #[error("is no root (it was issued by another CA); give the root and its key")]
    NotRoot,
    /// A root whose pathLenConstraint is 0.
    #[error("allows no CA below it (pathlen 0); make a root without pathlen, or with one of 1")]
    NoIntermediates,
    /// A leaf made for a test was refused by the verifier that agents' TLS libraries resemble.
    #[error("gives no leaf that a client would accept: {cause}")]
    Unusable {
        /// The verifier's word.
        cause: String,
    },
}

/// What is wrong with a CA key. Displays as the rest of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Some other algorithm, or no key at all.
    #[error(
        "is of an unsupported kind; supported are ECDSA P-256 and P-384, RSA of 2048 to 8192 bits, \
         and Ed25519"
    )]
    Unsupported,
    /// Of another pair than the certificate.
    #[error("does not belong to the certificate")]
    Mismatch,
}

/// Why a leaf could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintFault {
    /// The CA itself has expired since it was loaded.
    #[error("the CA certificate has expired; make or load a new one and restart")]
    Expired,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to {0}")]
    Crypto(&'static str),
}

/// Why there is no leaf for a refused name.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// This agent had as many new leaves for refused names as it may just now.
    #[error("too many new names were refused to this agent just now")]
    Limit,
    /// As for allowed names.
    #[error(transparent)]
    Ca(#[from] CaError),
}

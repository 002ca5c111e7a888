//! Client certificates: who the gateway is to a server (RFC 8446 §4.4.2).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Cause;
use crate::secret::Secret;

/// The most bytes of a file with a chain of certificates.
const CHAIN_MAX: u64 = 256 * 1024;

/// A certificate, what leads to its CA, and its key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Reads the chain, and takes `key`, one private key as PEM, for it.
    pub(super) fn load(chain: &Path, key: &Secret) -> Result<Self, Cause> {
        let bad = |what: &'static str| Cause::Certificate {
            path: chain.to_owned(),
            what,
        };
        let unreadable = |error| Cause::Unreadable {
            path: chain.to_owned(),
            error,
        };
        let length = fs::metadata(chain).map_err(unreadable)?.len();
        if length > CHAIN_MAX {
            return Err(bad("is longer than 256 KiB"));
        }
        let pem = fs::read(chain).map_err(unreadable)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|_| bad("holds a damaged PEM block"))?;
        if certificates.is_empty() {
            return Err(bad("holds no certificate (no `BEGIN CERTIFICATE` block)"));
        }
        let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| Cause::NoPrivateKey)?;
        let certified = CertifiedKey::from_der(certificates, key, &default_provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                bad("is for another key: the first certificate must be that of the key")
            }
            rustls::Error::InvalidCertificate(_) => bad("holds a certificate that does not parse"),
            _ => Cause::NoPrivateKey,
        })?;
        Ok(Self(Arc::new(certified)))
    }

    /// How long the certificate is valid.
    ///
    /// # Errors
    /// Not any more, or not yet.
    pub(super) fn lifetime(chain: &Path, now: SystemTime) -> Result<Option<Duration>, Cause> {
        // What does not read is told when it is loaded.
        let pem = fs::read(chain).unwrap_or_default();
        let first = CertificateDer::pem_slice_iter(&pem).next();
        let Some(Ok(first)) = first else {
            return Ok(None);
        };
        let Ok((_, certificate)) = X509Certificate::from_der(&first) else {
            return Ok(None);
        };
        let validity = certificate.validity();
        let (from, to) = (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        );
        let now = OffsetDateTime::from(now);
        let path = chain.display();
        if now < from {
            return Err(Cause::OutOfTime {
                brief: "its certificate is not valid yet",
                detail: format!(
                    "the certificate in `{path}` is valid from {from} on, and here it is {now}: set the clock (`timedatectl set-ntp true`), or wait"
                ),
            });
        }
        let left = Duration::try_from(to - now).ok();
        left.map(Some).ok_or_else(|| Cause::OutOfTime {
            brief: "its certificate has expired",
            detail: format!(
                "the certificate in `{path}` expired at {to}: put a new one there, and its key where that is read from"
            ),
        })
    }

    /// Certificate and key.
    #[must_use]
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.0
    }
}

//! A CA certificate as text and facts, and the checks that it may sign leaves at all.

use std::path::Path;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::error::{CaError, CertificateProblem, PemProblem};
use super::files;
use super::pem;

/// A CA certificate without its key: what may be shown to anybody.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    subject: String,
    fingerprint: String,
    not_before: i64,
    not_after: i64,
    self_issued: bool,
}

impl CaCertificate {
    /// Reads a file with exactly one certificate, which must be a CA's. Its validity in time
    /// is not judged here: one that has expired can still be shown.
    ///
    /// # Errors
    /// [`CaError`] with the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, CaError> {
        let mut found = read_all(path)?;
        match (found.len(), found.pop()) {
            (1, Some(der)) => Self::parse(der).map_err(|problem| wrong(path, problem)),
            (count, _) => Err(CaError::Pem {
                path: path.to_owned(),
                problem: PemProblem::SeveralCertificates { count },
            }),
        }
    }

    /// Reads the operator's CA certificate and its chain file, and gives the one at the top,
    /// which agents must trust. Order and validity are judged when the CA is loaded.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_root(certificate: &Path, chain: &Path) -> Result<Self, CaError> {
        let own = Self::read(certificate)?;
        match read_all(chain)?.pop() {
            Some(der) => Self::parse(der).map_err(|problem| wrong(chain, problem)),
            None => Ok(own),
        }
    }

    /// Takes one certificate apart and checks what RFC 5280 §6.1.4 asks of an issuer.
    pub(super) fn parse(der: CertificateDer<'static>) -> Result<Self, CertificateProblem> {
        let parsed = x509(&der)?;
        check_usage(&parsed)?;
        let validity = parsed.validity();
        Ok(Self {
            subject: parsed.subject().to_string(),
            fingerprint: fingerprint(&der),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            der,
        })
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate as one PEM block.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der).to_string()
    }

    /// The subject in the order of the certificate, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// SHA-256 over the DER, as upper-case hex with colons, like `openssl x509 -fingerprint`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// First second of validity, in Unix time.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second of validity, in Unix time.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether subject and issuer are the same name: a root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.self_issued
    }

    /// Refuses a certificate outside its validity at `now` (Unix seconds).
    pub(super) fn check_time(&self, now: i64) -> Result<(), CertificateProblem> {
        if now > self.not_after {
            let date = date(self.not_after);
            return Err(CertificateProblem::Expired { date });
        }
        if now < self.not_before {
            let date = date(self.not_before);
            return Err(CertificateProblem::NotYetValid { date });
        }
        Ok(())
    }
}

/// Every certificate of a file, at least one.
pub(super) fn read_all(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let bytes = files::read_certificates(path)?;
    pem::certificates(&bytes).map_err(|problem| CaError::Pem {
        path: path.to_owned(),
        problem,
    })
}

/// Parses the certificate, to its last byte.
pub(super) fn x509(der: &[u8]) -> Result<X509Certificate<'_>, CertificateProblem> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) | Err(_) => Err(CertificateProblem::Malformed),
    }
}

/// A DNS name that the certificate's name constraints permit (RFC 5280 §4.2.1.10).
pub(super) fn permitted_name(parsed: &X509Certificate<'_>) -> String {
    let constraints = parsed.name_constraints().ok().flatten();
    let subtrees = constraints.and_then(|found| found.value.permitted_subtrees.as_ref());
    let suffix = subtrees
        .into_iter()
        .flatten()
        .find_map(|tree| match &tree.base {
            GeneralName::DNSName(name) => Some(name.trim_start_matches('.')),
            _ => None,
        });
    match suffix {
        Some(suffix) if !suffix.is_empty() => format!("portreeve-self-test.{suffix}"),
        Some(_) | None => "portreeve-self-test.invalid".to_owned(),
    }
}

fn check_usage(parsed: &X509Certificate<'_>) -> Result<(), CertificateProblem> {
    // An extension that does not parse must not pass for one that is absent.
    let damaged =
        |extension: &ParsedExtension<'_>| matches!(extension, ParsedExtension::ParseError { .. });
    if parsed
        .iter_extensions()
        .any(|found| damaged(found.parsed_extension()))
    {
        return Err(CertificateProblem::Malformed);
    }
    let malformed = |_| CertificateProblem::Malformed;
    if !parsed
        .basic_constraints()
        .map_err(malformed)?
        .is_some_and(|found| found.value.ca)
    {
        return Err(CertificateProblem::NotCa);
    }
    if parsed
        .key_usage()
        .map_err(malformed)?
        .is_some_and(|found| !found.value.key_cert_sign())
    {
        return Err(CertificateProblem::NoCertSign);
    }
    let purposes = parsed.extended_key_usage().map_err(malformed)?;
    if purposes.is_some_and(|found| !found.value.server_auth && !found.value.any) {
        return Err(CertificateProblem::NoServerAuth);
    }
    Ok(())
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    let bytes: Vec<_> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

/// `YYYY-MM-DD` in UTC.
fn date(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(format_description!("[year]-[month]-[day]")).ok())
        .unwrap_or_else(|| format!("second {unix} of Unix time"))
}

pub(super) fn wrong(path: &Path, problem: CertificateProblem) -> CaError {
    CaError::Certificate {
        path: path.to_owned(),
        problem,
    }
}

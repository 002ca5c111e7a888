//! What went wrong with a server's handshake, in a sentence that an agent can read.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use time::OffsetDateTime;
use time::macros::format_description;

use super::agent::rustls_error;
use crate::error::{Reason, Refusal};
use crate::name::Host;

/// Turns the error of a handshake into the refusal that the agent reads. Nothing that the
/// server wrote is quoted: names in its certificate may be internal.
pub(super) fn refusal(host: &Host, error: &io::Error) -> Refusal {
    match rustls_error(error) {
        Some(Error::InvalidCertificate(problem)) => {
            let cause = certificate(problem);
            let sentence = format!("the certificate of {host} {cause}");
            Refusal::new(Reason::UpstreamCertificate, sentence)
        }
        Some(Error::NoCertificatesPresented) => {
            let sentence = format!("{host} presented no certificate");
            Refusal::new(Reason::UpstreamCertificate, sentence)
        }
        Some(problem) => {
            let sentence = format!(
                "the TLS handshake with {host} failed: {}",
                protocol(problem)
            );
            Refusal::new(Reason::UpstreamTls, sentence)
        }
        None => {
            let sentence = format!("the TLS handshake with {host} failed: {}", transport(error));
            Refusal::new(Reason::UpstreamTls, sentence)
        }
    }
}

/// The rest of a sentence that begins "the certificate of HOST".
fn certificate(problem: &CertificateError) -> String {
    use CertificateError as C;
    let plain = match problem {
        C::ExpiredContext { not_after, .. } => {
            return format!("expired on {}", date(*not_after));
        }
        C::NotValidYetContext { not_before, .. } => {
            return format!(
                "is not valid before {} (unless the gateway's clock is wrong)",
                date(*not_before)
            );
        }
        C::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(problem) => path(problem),
            None => "is not acceptable",
        },
        C::Expired => "has expired",
        C::NotValidYet => "is not valid yet",
        C::Revoked => "has been revoked",
        C::UnknownIssuer => {
            "is signed by an issuer that the gateway does not trust, or by itself; the operator \
             can add its CA to upstream.trust"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "is for another name: it does not list this one among its subject alternative names"
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "is not for servers: its extended key usage lacks server authentication"
        }
        C::BadEncoding => "is damaged",
        C::BadSignature => "has a signature that does not verify",
        C::UnhandledCriticalExtension => "has a critical extension that is not understood",
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with an algorithm that is not accepted"
        }
        C::UnknownRevocationStatus
        | C::ExpiredRevocationList
        | C::ExpiredRevocationListContext { .. }
        | C::InvalidOcspResponse => "has an unknown revocation status",
        // The library's enum is open, and holds a deprecated twin of the algorithm error.
        _ => "is not acceptable",
    };
    plain.to_owned()
}

/// What the verifier says beyond the library's own words.
fn path(problem: &webpki::Error) -> &'static str {
    use webpki::Error as W;
    match problem {
        W::CaUsedAsEndEntity => {
            "is a CA certificate (perhaps self-signed) where a server certificate must stand"
        }
        W::EndEntityUsedAsCa => {
            "is not signed by a CA: a certificate in its chain may not sign others"
        }
        W::NameConstraintViolation => "is for a name that its CA may not certify",
        W::PathLenConstraintViolated => "has a longer chain than its CA allows",
        W::EmptyEkuExtension => "is not for servers: its extended key usage is empty",
        W::IssuerNotCrlSigner => "has an unknown revocation status",
        W::CertDistrusted => "has a key that is distrusted",
        W::UnsupportedCertVersion => "is no X.509 version 3 certificate",
        W::UnsupportedCriticalExtension => "has a critical extension that is not understood",
        W::SignatureAlgorithmMismatch => "names two different signature algorithms",
        W::MaximumSignatureChecksExceeded
        | W::MaximumPathBuildCallsExceeded
        | W::MaximumPathDepthExceeded
        | W::MaximumNameConstraintComparisonsExceeded => "has a chain too costly to verify",
        W::ExtensionValueInvalid | W::MalformedExtensions | W::MalformedDnsIdentifier => {
            "is damaged"
        }
        // The library's enum is open.
        _ => "is not acceptable",
    }
}

fn protocol(problem: &Error) -> String {
    match problem {
        Error::AlertReceived(alert) => format!("the server answered with the alert {alert:?}"),
        Error::PeerIncompatible(_) => {
            "it shares no TLS version or algorithm with the gateway (TLS 1.2 or 1.3 is needed)"
                .to_owned()
        }
        Error::NoApplicationProtocol => "it speaks neither HTTP/2 nor HTTP/1.1".to_owned(),
        Error::InvalidMessage(_) => "it does not answer in TLS".to_owned(),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => "it broke the rules of TLS".to_owned(),
        // The library's enum is open; what is left are our own failures.
        _ => "the gateway could not complete it".to_owned(),
    }
}

/// Kinds only: the text of a system error may hold an address.
fn transport(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            "the server reset the connection"
        }
        io::ErrorKind::TimedOut => "the server stopped answering",
        _ => "the connection broke",
    }
}

/// `YYYY-MM-DD` in UTC.
fn date(at: UnixTime) -> String {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(format_description!("[year]-[month]-[day]")).ok())
        .unwrap_or_else(|| "an unknown date".to_owned())
}

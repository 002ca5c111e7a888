//! Verifies servers, and remembers for some minutes which chains it has verified.
//!
//! Connections to one server, or to the many names of one certificate, bring the same chain.
//! That it leads to a trusted CA depends on its octets, on the roots and signature algorithms
//! of this very verifier, which are fixed, and on the time; so a chain of the same octets is
//! not verified twice before the first of its certificates ends. What is a connection's own is
//! checked on each: that the certificate names the host, and that the server holds its key.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Seconds until a chain is verified again in any case.
const REMEMBER: u64 = 600;

/// The library's verifier, and what it has found good.
#[derive(Debug)]
pub(super) struct Verifier {
    library: Arc<WebPkiServerVerifier>,
    /// Absent where revocation lists have a say, which end at times of their own.
    verified: Option<Mutex<Verified>>,
}

impl Verifier {
    /// Remembers up to this many chains; none where `library` has revocation lists.
    pub(super) fn new(library: Arc<WebPkiServerVerifier>, chains: usize, has_lists: bool) -> Self {
        let verified = (!has_lists).then(|| Mutex::new(Verified::new(chains)));
        Self { library, verified }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = || {
            self.library.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        };
        let Some(verified) = &self.verified else {
            return verify();
        };
        let chain = fingerprint(end_entity, intermediates);
        if verified.lock().holds(&chain, now.as_secs()) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let good = verify()?;
        if let Some(end) = end(end_entity, intermediates) {
            let from = now.as_secs();
            let until = end.min(from.saturating_add(REMEMBER));
            verified.lock().note(chain, Span { from, until });
        }
        Ok(good)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.supported_verify_schemes()
    }
}

/// SHA-256 over all certificates in their order.
type Fingerprint = [u8; digest::SHA256_OUTPUT_LEN];

fn fingerprint(first: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for der in std::iter::once(first).chain(rest) {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    let mut fingerprint = Fingerprint::default();
    for (byte, from) in fingerprint.iter_mut().zip(context.finish().as_ref()) {
        *byte = *from;
    }
    fingerprint
}

/// The last second of the certificate that ends first; `None` if one cannot be read.
/// Certificates beside the path count, too: which ones are on it is the library's knowledge.
fn end(first: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Option<u64> {
    let ends = std::iter::once(first).chain(rest).map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()
    });
    ends.min_by_key(|end| end.unwrap_or(0)).flatten()
}

/// Seconds since 1970, both included.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    until: u64,
}

/// Chains in two generations: when the younger is full it becomes the older, whose chains
/// are forgotten unless they were used in between.
#[derive(Debug)]
struct Verified {
    young: HashMap<Fingerprint, Span>,
    old: HashMap<Fingerprint, Span>,
    most: usize,
}

impl Verified {
    fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            most: (most / 2).max(1),
        }
    }

    /// Whether this chain was verified, and that still holds. A clock that was set back to
    /// before it was verified makes that doubtful.
    fn holds(&mut self, chain: &Fingerprint, now: u64) -> bool {
        let span = match self.young.get(chain) {
            Some(span) => *span,
            None => match self.old.remove(chain) {
                Some(span) => {
                    self.note(*chain, span);
                    span
                }
                None => return false,
            },
        };
        (span.from..=span.until).contains(&now)
    }

    fn note(&mut self, chain: Fingerprint, span: Span) {
        if self.young.len() >= self.most && !self.young.contains_key(&chain) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(chain, span);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs::default_provider;
    use time::OffsetDateTime;

    use super::*;
    use crate::tls::test_pki::{Pki, leaf_params, name};

    const DAY: u64 = 24 * 3600;

    fn verifier(pki: &Pki, chains: usize) -> Verifier {
        let mut roots = RootCertStore::empty();
        roots.add(pki.root.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let library = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Verifier::new(library.build().unwrap(), chains, false)
    }

    /// A leaf for good.test that is valid from day 1000 to day 1001.
    fn leaf(pki: &Pki) -> CertificateDer<'static> {
        let at = |day: u64| {
            let seconds = i64::try_from(day * DAY).unwrap();
            OffsetDateTime::from_unix_timestamp(seconds).unwrap()
        };
        let mut params = leaf_params("good.test");
        (params.not_before, params.not_after) = (at(1000), at(1001));
        pki.signed(&params).cert.first().unwrap().clone()
    }

    fn check(
        verifier: &Verifier,
        leaf: &CertificateDer<'_>,
        host: &str,
        at: u64,
    ) -> Result<ServerCertVerified, Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_server_cert(leaf, &[], &name(host), &[], now)
    }

    fn remembered(verifier: &Verifier, leaf: &CertificateDer<'_>, at: u64) -> bool {
        let verified = verifier.verified.as_ref().unwrap();
        verified.lock().holds(&fingerprint(leaf, &[]), at)
    }

    #[test]
    fn i2_a_remembered_chain_still_has_to_name_the_host() {
        let pki = Pki::new();
        let (verifier, leaf) = (verifier(&pki, 8), leaf(&pki));
        let now = 1000 * DAY + 60;
        check(&verifier, &leaf, "other.test", now).unwrap_err();
        assert!(!remembered(&verifier, &leaf, now), "it was not good");
        check(&verifier, &leaf, "good.test", now).unwrap();
        assert!(remembered(&verifier, &leaf, now));
        check(&verifier, &leaf, "good.test", now).unwrap();
        check(&verifier, &leaf, "other.test", now).unwrap_err();
    }

    #[test]
    fn a_remembered_chain_does_not_outlive_its_certificates() {
        let pki = Pki::new();
        let (verifier, leaf) = (verifier(&pki, 8), leaf(&pki));
        let end = 1001 * DAY;
        check(&verifier, &leaf, "good.test", end - 60).unwrap();
        check(&verifier, &leaf, "good.test", end).unwrap();
        check(&verifier, &leaf, "good.test", end + 1).unwrap_err();
        // Nor is it good before it begins, should the clock be set back.
        check(&verifier, &leaf, "good.test", 1000 * DAY - 1).unwrap_err();
        assert!(!remembered(&verifier, &leaf, end - 61));
        // In any case it is verified again after a while.
        let now = 1000 * DAY;
        check(&verifier, &leaf, "good.test", now).unwrap();
        assert!(remembered(&verifier, &leaf, now + REMEMBER));
        assert!(!remembered(&verifier, &leaf, now + REMEMBER + 1));
    }

    #[test]
    fn another_chain_and_another_trust_are_not_what_was_verified() {
        let pki = Pki::new();
        let (verifier, leaf) = (verifier(&pki, 8), leaf(&pki));
        let now = 1000 * DAY + 60;
        check(&verifier, &leaf, "good.test", now).unwrap();
        let mut forged = leaf.to_vec();
        *forged.last_mut().unwrap() ^= 1; // of the signature
        let forged = CertificateDer::from(forged);
        check(&verifier, &forged, "good.test", now).unwrap_err();
        let elsewhere = super::tests::verifier(&Pki::named("Other CA"), 8);
        check(&elsewhere, &leaf, "good.test", now).unwrap_err();
    }

    #[test]
    fn i9_remembered_chains_are_bounded_and_used_ones_stay() {
        let mut verified = Verified::new(8);
        let span = Span { from: 0, until: 1 };
        let chain = |number: u8| [number; 32];
        for number in 0..100 {
            verified.note(chain(number), span);
            assert!(verified.holds(&chain(0), 1), "{number}");
            assert!(verified.young.len() + verified.old.len() <= 8);
        }
        assert!(!verified.holds(&chain(1), 1));
    }
}

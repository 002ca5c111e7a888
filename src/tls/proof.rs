//! The keys that prove a server: its own, and those of the CAs on the way to a trusted one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// How a pin is written.
const PREFIX: &str = "sha256/";

/// SHA-256 of a `SubjectPublicKeyInfo` (RFC 7469 §2.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Of a `SubjectPublicKeyInfo` as DER.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
        let mut pin = [0; 32];
        for (byte, from) in pin.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        Self(pin)
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads `sha256/` and base64, or `sha256//` and base64 as curl writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        // A slash may also be the first digit.
        let read = |text: &str| STANDARD.decode(text).ok()?.try_into().ok().map(Self);
        read(rest).or_else(|| read(rest.strip_prefix('/')?))
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The keys that prove a server.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The server's own.
    pub own: Pin,
    /// Those of its issuers, nearest first.
    pub issuers: Vec<Pin>,
}

impl Proof {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Pin> {
        [&self.own].into_iter().chain(&self.issuers)
    }

    /// What is remembered: its key, and the key it was issued by.
    #[must_use]
    pub fn nearest(&self) -> Vec<Pin> {
        self.all().take(2).copied().collect()
    }
}

/// The path by which `chain`, as a server sent it, was verified. Certificates that it sent
/// beside are none of it, whatever they say.
pub(super) fn proof(chain: &[CertificateDer<'_>], roots: &RootCertStore) -> Option<Proof> {
    let (first, rest) = chain.split_first()?;
    let leaf = EndEntityCert::try_from(first).ok()?;
    let path = leaf
        .verify_for_usage(
            default_provider().signature_verification_algorithms.all,
            &roots.roots,
            rest,
            UnixTime::now(),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .ok()?;
    let mut issuers = Vec::new();
    for certificate in path.intermediate_certificates() {
        issuers.push(Pin::of(&certificate.subject_public_key_info()));
    }
    issuers.push(Pin::of(&sequence(&path.anchor().subject_public_key_info)));
    Some(Proof {
        own: Pin::of(&leaf.subject_public_key_info()),
        issuers,
    })
}

/// Trust anchors hold the content of the sequence alone.
fn sequence(content: &[u8]) -> Vec<u8> {
    let mut der = vec![0x30];
    let length = content.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0);
    let length: Vec<u8> = significant.copied().collect();
    match *length.as_slice() {
        [] => der.push(0),
        [short @ 0..=0x7f] => der.push(short),
        _ => {
            // At most eight bytes.
            der.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            der.extend_from_slice(&length);
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_written_whatever_its_first_digit() {
        for key in 0..=255_u8 {
            let pin = Pin::of(&[key]);
            let text = pin.to_string();
            assert_eq!(Pin::parse(&text), Some(pin));
            assert_eq!(
                Pin::parse(&text.replacen('/', "//", 1)),
                Some(pin),
                "{text}"
            );
        }
        for text in ["", "sha256/", "sha256/AAAA", "sha1/AAAA", "sha256///////"] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }
}

//! The keys that prove a server: its own, and those of the CAs on the way to a trusted one.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Public keys as DER (`SubjectPublicKeyInfo`, RFC 5280 §4.1.2.7): the server's first, then
/// its issuer's, and so on to the trusted CA's.
pub type Keys = Vec<Vec<u8>>;

/// The path by which `chain`, as a server sent it, was verified. Certificates that it sent
/// beside are none of it, whatever they say.
pub(super) fn keys(chain: &[CertificateDer<'_>], roots: &RootCertStore) -> Option<Keys> {
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
    let mut keys = vec![leaf.subject_public_key_info().as_ref().to_vec()];
    for certificate in path.intermediate_certificates() {
        keys.push(certificate.subject_public_key_info().as_ref().to_vec());
    }
    keys.push(sequence(&path.anchor().subject_public_key_info));
    Some(keys)
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

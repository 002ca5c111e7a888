//! PEM blocks (RFC 7468) of certificates and keys, with errors that name what was found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::PemProblem;

/// Every certificate of a file, at least one; anything else in it is passed over.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemProblem> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PemProblem::Damaged)?;
    match found.is_empty() {
        false => Ok(found),
        true if is_der(pem) => Err(PemProblem::Der),
        true => Err(PemProblem::NoCertificate),
    }
}

/// The one private key of a file; parameters and text beside it are passed over.
pub(super) fn private_key(pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, PemProblem> {
    // PKCS#8 says it in the label, OpenSSL's old form in a header that is no base64.
    let encrypted = [
        &b"BEGIN ENCRYPTED PRIVATE KEY"[..],
        b"Proc-Type: 4,ENCRYPTED",
    ];
    if encrypted
        .iter()
        .any(|mark| memchr::memmem::find(pem, mark).is_some())
    {
        return Err(PemProblem::Encrypted);
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem)
        .map(|key| key.map(Zeroizing::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PemProblem::Damaged)?;
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) if is_der(pem) => Err(PemProblem::Der),
        (0, _) => Err(PemProblem::NoKey),
        (count, _) => Err(PemProblem::SeveralKeys { count }),
    }
}

/// One block with lines of 64 characters (RFC 7468 §2), wiped on drop.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Sized once, so that no unwiped copy stays behind in an outgrown allocation.
    let lines = body.len().div_ceil(64);
    let size = body.len() + lines + 2 * (label.len() + "-----BEGIN -----\n".len());
    let mut pem = Zeroizing::new(String::with_capacity(size));
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at.is_multiple_of(64) {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

/// DER certificates and keys are a SEQUENCE.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip_without_growing() {
        for size in [1, 47, 48, 49, 96, 138, 500] {
            let der = vec![7_u8; size];
            let pem = encode("CERTIFICATE", &der);
            assert!(pem.len() <= pem.capacity());
            assert!(pem.lines().all(|line| line.len() <= 64), "{size}");
            let read = certificates(pem.as_bytes()).unwrap();
            assert_eq!(read[0].as_ref(), der.as_slice());
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let key = encode("PRIVATE KEY", b"0 and more");
        let twice = [key.as_bytes(), key.as_bytes()].concat();
        let public = encode("PUBLIC KEY", b"0 and more");
        for (file, problem) in [
            (&b""[..], PemProblem::NoKey),
            (public.as_bytes(), PemProblem::NoKey),
            (b"\x30\x82\x01\x00", PemProblem::Der),
            (twice.as_slice(), PemProblem::SeveralKeys { count: 2 }),
            (b"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n", PemProblem::Damaged),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", PemProblem::Damaged),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                PemProblem::Encrypted,
            ),
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                PemProblem::Encrypted,
            ),
        ] {
            assert_eq!(private_key(file).err(), Some(problem));
        }
        let parameters = encode("EC PARAMETERS", b"curve");
        let with_parameters = [parameters.as_bytes(), key.as_bytes()].concat();
        assert!(private_key(&with_parameters).is_ok());
    }
}

//! One leaf: a certificate for exactly one name, with the process's leaf key.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose,
    PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::authority::{CertificateAuthority, serial};
use super::error::MintFault;
use crate::name::Host;

/// How far back a leaf's validity begins, for agents whose clocks are late.
pub(super) const BACKDATE_SECONDS: i64 = 2 * 3600;
/// How long a leaf is valid, from now.
pub(super) const VALIDITY_SECONDS: i64 = 72 * 3600;
/// The most bytes of a name that are repeated as common name; X.520 allows 64 characters.
const COMMON_NAME_MAX: usize = 63;

/// The key of all leaves of this process; never the CA's (I13), never on disk.
///
/// All these names can be impersonated by the CA anyway, so one key for them loses nothing,
/// and a mint costs one signature instead of a key generation and a signature.
pub(super) struct LeafKey {
    public: Vec<u8>,
    signing: Arc<dyn SigningKey>,
}

impl LeafKey {
    /// A new P-256 key.
    pub(super) fn generate() -> Result<Self, MintFault> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| MintFault::Crypto("make a leaf key"))?;
        let document = pair
            .to_pkcs8v1()
            .map_err(|_| MintFault::Crypto("copy a leaf key"))?;
        let der = PrivatePkcs8KeyDer::from(document.as_ref().to_vec());
        let der = Zeroizing::new(PrivateKeyDer::from(der));
        let signing = any_ecdsa_type(&der).map_err(|_| MintFault::Crypto("read a leaf key"))?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { public, signing })
    }
}

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Signs a leaf for `host` at `now` (Unix seconds): SAN is the one name, or an IP SAN;
/// serverAuth; AKI the CA's SKI; neither basicConstraints nor SKI, which no verifier needs
/// of a leaf. Valid within the CA's own validity.
///
/// # Errors
/// [`MintFault::Expired`] once the CA is.
pub(super) fn mint(
    ca: &CertificateAuthority,
    key: &LeafKey,
    host: &Host,
    now: i64,
) -> Result<CertifiedKey, MintFault> {
    if now > ca.not_after() {
        return Err(MintFault::Expired);
    }
    let text = host.text();
    let mut params = CertificateParams::default();
    params.not_before = instant((now - BACKDATE_SECONDS).max(ca.certificate().not_before()))?;
    params.not_after = instant((now + VALIDITY_SECONDS).min(ca.not_after()))?;
    params.serial_number = Some(serial()?);
    params.subject_alt_names = vec![match host.ip() {
        Some(ip) => SanType::IpAddress(ip),
        None => SanType::DnsName(
            text.as_ref()
                .try_into()
                .map_err(|_| MintFault::Crypto("write a name"))?,
        ),
    }];
    params.distinguished_name = DistinguishedName::new();
    if text.len() <= COMMON_NAME_MAX {
        params
            .distinguished_name
            .push(DnType::CommonName, text.as_ref());
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let signed = params
        .signed_by(key, ca.issuer())
        .map_err(|_| MintFault::Crypto("sign a leaf"))?;
    let mut sent = Vec::with_capacity(1 + ca.chain().len());
    // A copy of the exact size: leaves are kept by the thousand.
    sent.push(CertificateDer::from(signed.der().to_vec()));
    sent.extend_from_slice(ca.chain());
    Ok(CertifiedKey::new(sent, key.signing.clone()))
}

fn instant(unix: i64) -> Result<OffsetDateTime, MintFault> {
    OffsetDateTime::from_unix_timestamp(unix).map_err(|_| MintFault::Crypto("write a date"))
}

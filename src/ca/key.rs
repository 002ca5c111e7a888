//! The CA's private key: it signs leaves and is used for nothing else.
//!
//! It lives inside the cryptographic library, which wipes it when freed. Unlike
//! `rcgen::KeyPair` this type keeps no serialised copy beside it, and has no way out.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256,
};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::PrivateKeyDer;

use super::error::{KeyProblem, MintFault};

/// A private key that can only sign.
pub(super) enum CaKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

impl CaKey {
    /// A new P-256 key with its PKCS#8 form (wiped on drop), for the one write to disk.
    pub(super) fn generate() -> Result<(Self, aws_lc_rs::pkcs8::Document), MintFault> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| MintFault::Crypto("make a key"))?;
        let document = pair
            .to_pkcs8v1()
            .map_err(|_| MintFault::Crypto("write a key"))?;
        Ok((Self::P256(pair), document))
    }

    /// Takes PKCS#8, SEC 1 or PKCS#1, whatever the block's label promised.
    pub(super) fn from_der(key: &PrivateKeyDer<'_>) -> Result<Self, KeyProblem> {
        let der = key.secret_der();
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            return Ok(Self::P256(pair));
        }
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, der) {
            return Ok(Self::P384(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(pair));
        }
        rsa::KeyPair::from_pkcs8(der)
            .or_else(|_| rsa::KeyPair::from_der(der))
            .map(Self::Rsa)
            .map_err(|_| KeyProblem::Unsupported)
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519(_) => &rcgen::PKCS_ED25519,
            Self::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let random = SystemRandom::new();
        let failed = |_| rcgen::Error::RemoteKeyError;
        match self {
            Self::P256(pair) | Self::P384(pair) => Ok(pair
                .sign(&random, message)
                .map_err(failed)?
                .as_ref()
                .to_vec()),
            Self::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

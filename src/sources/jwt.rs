//! JSON Web Tokens signed with RSA and SHA-256 (RFC 7515, RFC 7518 §3.3, RFC 7519).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Why there is no token, as the rest of a sentence about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    #[error("is no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)")]
    NotPem,
    #[error("is an EC key, and an RSA key is needed")]
    Ec,
    #[error("is no RSA key of 2048 to 8192 bits")]
    NotRsa,
}

/// Signs `claims` with the private key in `pem`; `key_id` tells which it is.
pub(super) fn sign(
    pem: &[u8],
    key_id: Option<&str>,
    claims: &Value,
) -> Result<Zeroizing<String>, BadKey> {
    let key = key(pem)?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let (Some(id), Some(header)) = (key_id, header.as_object_mut()) {
        header.insert("kid".to_owned(), id.into());
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut token = Zeroizing::new(format!("{}.{}", encode(&header), encode(claims)));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        token.as_bytes(),
        &mut signature,
    )
    .map_err(|_| BadKey::NotRsa)?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(&signature));
    Ok(token)
}

fn key(pem: &[u8]) -> Result<RsaKeyPair, BadKey> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| BadKey::NotPem)?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(_) => return Err(BadKey::Ec),
        _ => return Err(BadKey::NotPem),
    };
    let key = key.map_err(|_| BadKey::NotRsa)?;
    debug_assert!(!key.public_key().as_ref().is_empty());
    Ok(key)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    }

    #[test]
    fn a_token_verifies_with_the_public_key() {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = key.as_der().unwrap();
        let pem = pem("PRIVATE KEY", pkcs8.as_ref());
        let token = sign(pem.as_bytes(), Some("k1"), &json!({ "iss": "me" })).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(
            parts[0],
            json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" })
        );
        assert_eq!(parts[1], json!({ "iss": "me" }));
    }

    #[test]
    fn keys_of_other_kinds_are_told() {
        let ec = rcgen::KeyPair::generate().unwrap();
        let claims = json!({});
        let sign = |pem: &str| sign(pem.as_bytes(), None, &claims).unwrap_err();
        assert_eq!(sign(&ec.serialize_pem()), BadKey::NotRsa);
        assert_eq!(sign("hunter2"), BadKey::NotPem);
        assert_eq!(sign(&pem("EC PRIVATE KEY", b"x")), BadKey::Ec);
        assert_eq!(sign(&pem("RSA PRIVATE KEY", b"x")), BadKey::NotRsa);
        assert_eq!(sign(&pem("CERTIFICATE", b"x")), BadKey::NotPem);
    }
}

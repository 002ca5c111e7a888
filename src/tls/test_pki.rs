//! A CA, servers' certificates and in-memory handshakes for the tests of this module.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

pub(crate) struct Pki {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("Test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(ca_params(name), key).unwrap();
        Self { root }
    }

    /// A leaf as a good server has it.
    pub(crate) fn leaf(&self, host: &str) -> Arc<CertifiedKey> {
        self.signed(&leaf_params(host))
    }

    pub(crate) fn signed(&self, params: &CertificateParams) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.root).unwrap();
        certified(vec![leaf], key)
    }
}

pub(crate) fn certified(chain: Vec<rcgen::Certificate>, key: KeyPair) -> Arc<CertifiedKey> {
    let chain = chain.into_iter().map(Into::into).collect();
    // Not `from_der`, which would refuse some of the bad certificates.
    let key = any_ecdsa_type(&PrivateKeyDer::from(key)).unwrap();
    Arc::new(CertifiedKey::new(chain, key))
}

pub(crate) fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn leaf_params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![match host.parse() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(host.try_into().unwrap()),
    }];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

pub(crate) fn name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).unwrap()
}

/// A client as agents have them: the CA trusted, all versions, no ALPN.
pub(crate) fn client_config(pki: &Pki) -> ClientConfig {
    client_config_of(pki, rustls::ALL_VERSIONS)
}

pub(crate) fn client_config_of(
    pki: &Pki,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(pki.root.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

//! The CA of the test's own servers.

use std::sync::Arc;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Signs the certificates of servers.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Its certificate and those above it, for an intermediate; servers send them.
    chain: Vec<CertificateDer<'static>>,
}

impl TestCa {
    pub fn new() -> Self {
        let params = ca_params("The test's own CA");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            chain: Vec::new(),
        }
    }

    /// A CA that this one signed, as it should be but for what `spoil` does to it.
    pub fn intermediate(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params("The test's own intermediate");
        spoil(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            pem: certificate.pem(),
            chain: [&[certificate.into()], &self.chain[..]].concat(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The root certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A list, as PEM, that revokes the certificates of these serial numbers.
    pub fn revoking(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A client's certificate and its key, as PEM.
    pub fn client(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap().serialize_pem();
        (self.client_of(name, &key), key)
    }

    /// A certificate of a client that has this key, as PEM.
    pub fn client_of(&self, name: &str, key: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::from_pem(key).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }

    /// Certificate and key of a server of these names, as PEM.
    pub fn pem_pair(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// TLS settings for a server of these names that asks for a certificate of `clients`.
    pub fn server_for_clients(&self, names: &[&str], clients: &Self) -> ServerConfig {
        let (chain, key) = self.pem_pair(names);
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
        let chain: Vec<_> = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(clients.pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// TLS settings for a server of these names, h2 before HTTP/1.1.
    pub fn server(&self, names: &[&str]) -> ServerConfig {
        self.server_with(names, |_| ())
    }

    /// TLS settings with a certificate that is not as it should be.
    pub fn server_with(
        &self,
        names: &[&str],
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> ServerConfig {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        spoil(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [&[leaf.into()], &self.chain[..]].concat();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// TLS settings for a server with this certificate and key, as PEM.
pub fn server_of(certificate: &str, key: &str) -> ServerConfig {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_no_client_auth();
    builder.with_single_cert(chain, key).unwrap()
}

/// The hash of a certificate's public key, as the configuration writes it.
pub fn pin(certificate: &str) -> String {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
    let key = pem.parse_x509().unwrap().public_key().raw.to_vec();
    let hash = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &key);
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    format!("sha256/{hash}")
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params
}

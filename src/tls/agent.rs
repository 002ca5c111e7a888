//! The server side, toward agents.
//!
//! All connections share one ticketer, so that resumption works whichever leaf they get.
//! rustls resumes a session only under the SNI it was made for (RFC 6066 §3); without SNI all
//! sessions would look alike, so those connections get no tickets at all.

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite, default_provider, kx_group};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ServerConfig};

use super::TlsError;
use crate::metrics::TrustSign;

/// HTTP/2 over TLS (RFC 9113 §3.1).
pub const H2: &[u8] = b"h2";
/// HTTP/1.1 (RFC 7301 §6).
pub const HTTP_1_1: &[u8] = b"http/1.1";
/// HTTP/1.0, offered alone by clients that are told to speak nothing newer.
pub const HTTP_1_0: &[u8] = b"http/1.0";

/// Base settings from which each connection's configuration is cloned.
#[derive(Clone, Debug)]
pub struct AgentTls {
    h2: ServerConfig,
    h1: ServerConfig,
    nameless_h2: ServerConfig,
    nameless_h1: ServerConfig,
}

impl AgentTls {
    /// Settings with fresh ticket keys: TLS 1.2 and 1.3, no early data, no client certificates.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when the library gives no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        let base = base(Arc::new(provider()))?;
        let mut named = base.clone();
        named.ticketer = Ticketer::new()?;
        named.send_tls13_tickets = 1;
        Ok(Self {
            h2: with_protocols(&named, &[H2, HTTP_1_1, HTTP_1_0]),
            h1: with_protocols(&named, &[HTTP_1_1, HTTP_1_0]),
            nameless_h2: with_protocols(&base, &[H2, HTTP_1_1, HTTP_1_0]),
            nameless_h1: with_protocols(&base, &[HTTP_1_1, HTTP_1_0]),
        })
    }

    /// The configuration of a connection with SNI that is to get `leaf`.
    ///
    /// ALPN: HTTP/2 where `h2` and the agent offers it, else HTTP/1.1, else HTTP/1.0. An agent
    /// that offers none of them gets the alert `no_application_protocol`; one that sends no
    /// ALPN is taken to speak HTTP/1.1, and then the handshake ends without a protocol.
    #[must_use]
    pub fn config(&self, leaf: Arc<CertifiedKey>, h2: bool) -> Arc<ServerConfig> {
        with_leaf(if h2 { &self.h2 } else { &self.h1 }, leaf)
    }

    /// The same for a connection without SNI: no tickets, no resumption.
    #[must_use]
    pub fn nameless_config(&self, leaf: Arc<CertifiedKey>, h2: bool) -> Arc<ServerConfig> {
        with_leaf(
            if h2 {
                &self.nameless_h2
            } else {
                &self.nameless_h1
            },
            leaf,
        )
    }
}

/// By what an agent says that it does not accept the leaf, if `error` (of a handshake whose
/// ClientHello was whole, so that the certificate has been sent) is such a sign: the CA is not
/// installed there, the client pins its server, or its clock is wrong.
#[must_use]
pub fn distrust(error: &io::Error) -> Option<TrustSign> {
    match rustls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA => Some(TrustSign::UnknownCa),
            AlertDescription::BadCertificate => Some(TrustSign::BadCertificate),
            AlertDescription::UnsupportedCertificate => Some(TrustSign::UnsupportedCertificate),
            AlertDescription::CertificateExpired => Some(TrustSign::CertificateExpired),
            AlertDescription::CertificateUnknown => Some(TrustSign::CertificateUnknown),
            AlertDescription::DecryptError => Some(TrustSign::DecryptError),
            _ => None,
        },
        Some(_) => None,
        None => {
            use io::ErrorKind as Kind;
            let gone = [
                Kind::UnexpectedEof,
                Kind::ConnectionReset,
                Kind::BrokenPipe,
                Kind::ConnectionAborted,
            ];
            gone.contains(&error.kind())
                .then_some(TrustSign::SilentClose)
        }
    }
}

/// The TLS library's error inside what tokio-rustls returns.
pub(super) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What is fast here: AES-128-GCM first (SHA-384 showed as 12 % of a handshake), and no
/// X25519MLKEM768, which rustls would pick whenever the agent lists it. The link between
/// agent and gateway is local; the upstream leg keeps the post-quantum exchange.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            // Leaves are ECDSA, so the RSA suites of TLS 1.2 could never be used.
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    }
}

fn base(provider: Arc<CryptoProvider>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoLeaf));
    config.ignore_client_order = true;
    // Tickets are state enough; a table of sessions would only cost memory and a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn with_protocols(base: &ServerConfig, protocols: &[&[u8]]) -> ServerConfig {
    let mut config = base.clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

fn with_leaf(base: &ServerConfig, leaf: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let mut config = base.clone();
    config.cert_resolver = Arc::new(OneLeaf(leaf));
    Arc::new(config)
}

/// The leaf that was minted for the name which was sniffed; the caller compares that name
/// with the one the library reports.
#[derive(Debug)]
struct OneLeaf(Arc<CertifiedKey>);

impl ResolvesServerCert for OneLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Of the base settings, which serve no connection.
#[derive(Debug)]
struct NoLeaf;

impl ResolvesServerCert for NoLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests;

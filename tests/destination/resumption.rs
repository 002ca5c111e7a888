//! I2: a session resumed is a session for the same name.

use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion, version,
};
use tokio_rustls::TlsConnector;

use crate::common::client::{self, H1};
use crate::common::inside;
use crate::common::wire::Response;
use crate::common::world::SERVER;
use crate::town::{Town, assert_refused, get};

/// Offers the sessions of one name to any other.
#[derive(Default)]
struct Mixed {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl fmt::Debug for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mixed")
    }
}

impl ClientSessionStore for Mixed {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tls13.lock().unwrap().push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop()
    }
}

fn config(ca: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(Mixed::default()));
    Arc::new(config)
}

/// One request for `host` on a connection to `sni`, and whether that was resumed.
fn exchange(
    town: &Town,
    config: &Arc<ClientConfig>,
    sni: &'static str,
    host: &'static str,
) -> (HandshakeKind, Response) {
    let connector = TlsConnector::from(config.clone());
    town.world.agent.block_on(async move {
        let stream = client::tcp((SERVER[0], 443)).await.unwrap();
        let name = ServerName::try_from(sni).unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        let mut h1 = H1::new(stream);
        let response = h1.exchange(get(host, "/")).await.unwrap();
        (kind, response)
    })
}

#[test]
fn i2_a_session_is_not_resumed_under_another_name() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        for version in [&version::TLS13, &version::TLS12] {
            let config = config(&gateway.ca_pem(), version);
            let (kind, response) = exchange(&town, &config, "good.test", "good.test");
            assert_eq!((kind, response.status), (HandshakeKind::Full, 200));
            // The sessions are good, under their own name.
            let (kind, response) = exchange(&town, &config, "good.test", "good.test");
            assert_eq!((kind, response.status), (HandshakeKind::Resumed, 200));
            for sni in ["evil.test", "plain.test"] {
                let (kind, response) = exchange(&town, &config, sni, "good.test");
                assert_eq!(kind, HandshakeKind::Full, "{sni}");
                assert_refused(&response, 421, "misdirected");
                // A ticket for the next round, of the name that is allowed.
                exchange(&town, &config, "good.test", "good.test");
            }
            let (kind, response) = exchange(&town, &config, "evil.test", "evil.test");
            assert_eq!(kind, HandshakeKind::Full);
            assert_refused(&response, 403, "no_rule");
        }
        assert!(town.plain.connections().is_empty());
        town.assert_evil_untouched();
    });
}

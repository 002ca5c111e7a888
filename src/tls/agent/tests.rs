//! Real handshakes with rustls' client over an in-memory pipe.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::test_pki::{Pki, client_config, client_config_of, name};

/// What both ends saw of one handshake.
#[derive(Debug)]
struct Seen {
    version: ProtocolVersion,
    suite: CipherSuite,
    group: Option<NamedGroup>,
    alpn: Option<Vec<u8>>,
    kind: HandshakeKind,
    tickets: u32,
}

/// Shakes hands, echoes one byte (so that the client has read any tickets), and reports; or
/// gives the client's and the server's error.
async fn handshake(
    client: &Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: ServerName<'static>,
) -> Result<Seen, (io::Error, io::Error)> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await?;
        let group = stream.get_ref().1.negotiated_key_exchange_group();
        let group = group.map(rustls::crypto::SupportedKxGroup::name);
        stream.shutdown().await?;
        Ok::<_, io::Error>(group)
    });
    let dial = async {
        let mut stream = TlsConnector::from(client.clone())
            .connect(host, near)
            .await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        assert_eq!(stream.read_u8().await?, 7);
        let session = stream.get_ref().1;
        let seen = Seen {
            version: session.protocol_version().unwrap(),
            suite: session.negotiated_cipher_suite().unwrap().suite(),
            group: None,
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            kind: session.handshake_kind().unwrap(),
            tickets: session.tls13_tickets_received(),
        };
        Ok::<_, io::Error>(seen)
    };
    let (seen, accepted) = (dial.await, accept.await.unwrap());
    match (seen, accepted) {
        (Ok(seen), Ok(group)) => Ok(Seen { group, ..seen }),
        (Err(client), Err(server)) => Err((client, server)),
        (one, other) => panic!("only one side failed: {one:?}, {other:?}"),
    }
}

fn offering(mut config: ClientConfig, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

#[tokio::test]
async fn alpn_follows_the_offer_and_what_is_allowed() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    let leaf = pki.leaf("good.test");
    let both: &[&[u8]] = &[b"http/1.1", b"h2"];
    for (offer, h2, agreed) in [
        (both, true, Some(&b"h2"[..])),
        (both, false, Some(b"http/1.1")),
        (&[b"http/1.1"], true, Some(b"http/1.1")),
        (&[b"h2"], true, Some(b"h2")),
        (&[b"http/1.0"], true, Some(b"http/1.0")),
        (&[b"http/1.0"], false, Some(b"http/1.0")),
        (&[b"http/1.0", b"http/1.1"], true, Some(b"http/1.1")),
        (&[b"spdy/3", b"http/1.1"], true, Some(b"http/1.1")),
        (&[], true, None),
        (&[], false, None),
    ] {
        let client = offering(client_config(&pki), offer);
        let seen = handshake(&client, tls.config(leaf.clone(), h2), name("good.test")).await;
        assert_eq!(seen.unwrap().alpn.as_deref(), agreed, "{offer:?} {h2}");
    }
}

#[tokio::test]
async fn an_offer_without_http_gets_the_alert() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    for (offer, h2) in [(&b"acme-tls/1"[..], true), (b"h2", false)] {
        let client = offering(client_config(&pki), &[offer]);
        let server = tls.config(pki.leaf("good.test"), h2);
        let (client, server) = handshake(&client, server, name("good.test"))
            .await
            .unwrap_err();
        assert_eq!(
            rustls_error(&client),
            Some(&rustls::Error::AlertReceived(
                AlertDescription::NoApplicationProtocol
            ))
        );
        assert_eq!(
            rustls_error(&server),
            Some(&rustls::Error::NoApplicationProtocol)
        );
        assert_eq!(distrust(&server), None);
    }
}

#[tokio::test]
async fn both_versions_use_what_is_fast_and_classical() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    let leaf = pki.leaf("good.test");
    for (versions, version, suite) in [
        (
            &TLS13,
            ProtocolVersion::TLSv1_3,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ),
        (
            &TLS12,
            ProtocolVersion::TLSv1_2,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
    ] {
        // rustls' client lists AES-256 first and X25519MLKEM768 among its groups.
        let client = Arc::new(client_config_of(&pki, &[versions]));
        let server = tls.config(leaf.clone(), true);
        let seen = handshake(&client, server, name("good.test")).await.unwrap();
        assert_eq!((seen.version, seen.suite), (version, suite));
        assert_eq!(seen.group, Some(NamedGroup::X25519));
    }
}

#[tokio::test]
async fn post_quantum_only_clients_are_told_no() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..default_provider()
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = tls.config(pki.leaf("good.test"), true);
    let failed = handshake(&Arc::new(client), server, name("good.test")).await;
    assert_eq!(
        rustls_error(&failed.unwrap_err().0),
        Some(&rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure
        ))
    );
}

#[tokio::test]
async fn resumption_works_across_leaves_and_protocols() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    for version in [&TLS13, &TLS12] {
        let client = Arc::new(client_config_of(&pki, &[version]));
        let mut kinds = Vec::new();
        for h2 in [true, false, true] {
            // Another leaf each time, as after a restart of the cache.
            let server = tls.config(pki.leaf("good.test"), h2);
            let seen = handshake(&client, server, name("good.test")).await.unwrap();
            kinds.push(seen.kind);
        }
        let expected = [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ];
        assert_eq!(kinds, expected, "{version:?}");
    }
}

/// A session store that answers every name with the session of any, as an attacker's would.
#[derive(Debug)]
struct AnyName(Arc<dyn rustls::client::ClientSessionStore>);

impl rustls::client::ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(name("any.test"), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&name("any.test"))
    }

    fn set_tls12_session(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(name("any.test"), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&name("any.test"))
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&name("any.test"));
    }

    fn insert_tls13_ticket(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(name("any.test"), value);
    }

    fn take_tls13_ticket(
        &self,
        _: &ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&name("any.test"))
    }
}

#[tokio::test]
async fn i2_a_session_is_not_resumed_under_another_name() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    for version in [&TLS13, &TLS12] {
        let mut client = client_config_of(&pki, &[version]);
        let inner = rustls::client::ClientSessionMemoryCache::new(64);
        client.resumption = rustls::client::Resumption::store(Arc::new(AnyName(Arc::new(inner))));
        let client = Arc::new(client);
        let mut kinds = Vec::new();
        for host in ["good.test", "good.test", "other.test"] {
            let server = tls.config(pki.leaf(host), true);
            let seen = handshake(&client, server, name(host)).await.unwrap();
            kinds.push(seen.kind);
        }
        // The second handshake shows that the store does offer sessions.
        let expected = [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Full,
        ];
        assert_eq!(kinds, expected, "{version:?}");
    }
}

#[tokio::test]
async fn connections_without_sni_get_no_tickets() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    let leaf = pki.leaf("192.0.2.7");
    for version in [&TLS13, &TLS12] {
        let client = Arc::new(client_config_of(&pki, &[version]));
        for _ in 0..2 {
            let server = tls.nameless_config(leaf.clone(), true);
            let seen = handshake(&client, server, name("192.0.2.7")).await.unwrap();
            assert_eq!(
                (seen.kind, seen.tickets),
                (HandshakeKind::Full, 0),
                "{version:?}"
            );
        }
    }
    let client = Arc::new(client_config(&pki));
    let named = tls.config(pki.leaf("good.test"), true);
    assert_eq!(
        handshake(&client, named, name("good.test"))
            .await
            .unwrap()
            .tickets,
        1
    );
}

#[tokio::test]
async fn a_client_without_the_ca_is_recognised() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    // The second has an older CA of the same name, as after a new one was made.
    for (stranger, alert) in [
        (Pki::named("Other CA"), TrustSign::UnknownCa),
        (Pki::new(), TrustSign::DecryptError),
    ] {
        let client = Arc::new(client_config(&stranger));
        let server = tls.config(pki.leaf("good.test"), true);
        let (_, error) = handshake(&client, server, name("good.test"))
            .await
            .unwrap_err();
        assert_eq!(distrust(&error), Some(alert));
    }
}

#[test]
fn nothing_dangerous_is_on() {
    let (pki, tls) = (Pki::new(), AgentTls::new().unwrap());
    let leaf = pki.leaf("good.test");
    for config in [
        tls.config(leaf.clone(), true),
        tls.nameless_config(leaf, false),
    ] {
        assert_eq!(config.max_early_data_size, 0);
        assert!(!config.enable_secret_extraction);
        assert!(!config.send_half_rtt_data);
        assert!(!config.key_log.will_log("CLIENT_RANDOM"));
        assert!(!config.session_storage.can_cache());
    }
}

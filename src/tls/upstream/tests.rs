//! Verification of servers, with real handshakes against servers of every bad kind.

mod certificates;

use std::io::Write as _;

use proptest::prelude::*;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::test_pki::{Pki, leaf_params};

struct Trusting {
    pki: Pki,
    tls: UpstreamTls,
}

impl Trusting {
    fn new() -> Self {
        let pki = Pki::new();
        let tls = UpstreamTls::new(&Trust::Pem(vec![file(&pki).path().to_owned()])).unwrap();
        Self { pki, tls }
    }
}

fn file(pki: &Pki) -> tempfile::NamedTempFile {
    written(pki.root.pem().as_bytes())
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn host(text: &str) -> Host {
    Host::from_config(text).unwrap()
}

fn serving(leaf: &CertifiedKey, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    serving_of(leaf, protocols, rustls::ALL_VERSIONS)
}

fn serving_of(
    leaf: &CertifiedKey,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(leaf.clone())));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// What the client saw: the protocol and the kind of handshake.
async fn connect(
    tls: &UpstreamTls,
    name: &str,
    server: Arc<ServerConfig>,
) -> Result<(Option<Vec<u8>>, HandshakeKind), Refusal> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_u8(7).await?;
        stream.shutdown().await
    });
    let connected = tls.connect(&host(name), near, Versions::All).await;
    let seen = match connected {
        Ok(mut stream) => {
            assert_eq!(stream.read_u8().await.unwrap(), 7);
            let session = stream.get_ref().1;
            let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
            Ok((alpn, session.handshake_kind().unwrap()))
        }
        Err(refusal) => Err(refusal),
    };
    let _ = accept.await.unwrap();
    seen
}

#[tokio::test]
async fn good_servers_are_verified_by_name_or_address() {
    let Trusting { pki, tls } = Trusting::new();
    for (name, offer, agreed) in [
        (
            "good.test",
            &[b"h2".as_slice(), b"http/1.1"][..],
            Some(&b"h2"[..]),
        ),
        ("good.test", &[b"http/1.1"], Some(b"http/1.1")),
        ("good.test", &[], None),
        ("192.0.2.7", &[b"h2"], Some(b"h2")),
        ("2001:db8::7", &[b"h2"], Some(b"h2")),
        ("under_score.test", &[b"h2"], Some(b"h2")),
    ] {
        let seen = connect(&tls, name, serving(&pki.leaf(name), offer)).await;
        assert_eq!(seen.unwrap().0.as_deref(), agreed, "{name}");
    }
    let mut wildcard = leaf_params("good.test");
    wildcard.subject_alt_names = vec![rcgen::SanType::DnsName("*.good.test".try_into().unwrap())];
    let wildcard = serving(&pki.signed(&wildcard), &[]);
    assert!(connect(&tls, "a.good.test", wildcard.clone()).await.is_ok());
    assert!(connect(&tls, "a.b.good.test", wildcard).await.is_err());
}

#[tokio::test]
async fn sessions_resume_in_both_versions() {
    let Trusting { pki, tls } = Trusting::new();
    for (name, version) in [("three.test", &TLS13), ("two.test", &TLS12)] {
        let server = serving_of(&pki.leaf(name), &[b"h2"], &[version]);
        let first = connect(&tls, name, server.clone()).await.unwrap().1;
        let second = connect(&tls, name, server).await.unwrap().1;
        // The server answers before the client has a chance to miss the ticket.
        assert!(matches!(
            first,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest
        ));
        assert_eq!(second, HandshakeKind::Resumed, "{name}");
    }
}

/// Answers the ClientHello with `answer`, or only hangs up.
async fn answered_with(tls: &UpstreamTls, answer: &'static [u8]) -> Refusal {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let _ = far.read(&mut [0; 16]).await;
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        // Held open until the client has read the answer and gone.
        while far.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    });
    let refusal = tls
        .connect(&host("good.test"), near, Versions::All)
        .await
        .unwrap_err();
    server.await.unwrap();
    refusal
}

#[tokio::test]
async fn other_failures_say_what_the_server_did() {
    let Trusting { tls, .. } = Trusting::new();
    for (answer, words) in [
        (&b""[..], "the server closed the connection"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "it does not answer in TLS",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x28",
            "the server answered with the alert HandshakeFailure",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x46",
            "the server answered with the alert ProtocolVersion",
        ),
    ] {
        let refusal = answered_with(&tls, answer).await;
        assert_eq!(refusal.reason, Reason::UpstreamTls);
        let expected = format!("the TLS handshake with good.test failed: {words}");
        assert!(refusal.sentence.starts_with(&expected), "{refusal}");
    }
    // The text of a system error may hold an address.
    let reset = io::Error::new(io::ErrorKind::ConnectionReset, "10.0.0.5:443 reset");
    let refusal = verdict::refusal(&host("good.test"), &reset);
    assert!(
        refusal
            .sentence
            .ends_with("the server reset the connection"),
        "{refusal}"
    );
}

#[test]
fn i6_profiles_differ_by_what_is_trusted() {
    let (one, two) = (Pki::new(), Pki::new());
    let (a, b) = (file(&one), file(&two));
    let both = written(format!("{}text between\n{}", two.root.pem(), one.root.pem()).as_bytes());
    let profile = |files: &[&tempfile::NamedTempFile]| {
        let paths = files.iter().map(|file| file.path().to_owned()).collect();
        UpstreamTls::new(&Trust::Pem(paths)).unwrap().profile()
    };
    assert_ne!(profile(&[&a]), profile(&[&b]));
    assert_ne!(profile(&[&a]), profile(&[&a, &b]));
    assert_eq!(profile(&[&a, &b]), profile(&[&b, &a]));
    assert_eq!(profile(&[&a, &b]), profile(&[&both, &a]));
}

#[tokio::test]
async fn sessions_are_not_shared_between_trust_settings() {
    let Trusting { pki, tls } = Trusting::new();
    let server = serving(&pki.leaf("good.test"), &[]);
    assert!(connect(&tls, "good.test", server.clone()).await.is_ok());
    let other = UpstreamTls::new(&Trust::Pem(vec![file(&Pki::new()).path().into()])).unwrap();
    let refusal = connect(&other, "good.test", server).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamCertificate);
}

#[test]
fn bad_trust_is_refused_with_place_and_remedy() {
    let missing = tempfile::tempdir().unwrap().path().join("gone.pem");
    let error = UpstreamTls::new(&Trust::Pem(vec![missing])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("gone.pem, which upstream.trust names"),
        "{error}"
    );
    assert!(matches!(error, TlsError::Read { .. }));
    assert!(matches!(
        UpstreamTls::new(&Trust::Pem(Vec::new())),
        Err(TlsError::NoRoots)
    ));
    for (bytes, words) in [
        (&b""[..], "holds no certificate"),
        (
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "holds a damaged PEM",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "not valid X.509",
        ),
    ] {
        let file = written(bytes);
        let error = UpstreamTls::new(&Trust::Pem(vec![file.path().into()])).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let none = system_roots(CertificateResult::default()).unwrap_err();
    assert!(
        none.to_string()
            .contains("install the package ca-certificates"),
        "{none}"
    );
}

#[tokio::test]
async fn i2_a_chain_that_is_known_proves_nothing_without_its_key() {
    let Trusting { pki, tls } = Trusting::new();
    let (good, other) = (pki.leaf("good.test"), pki.leaf("good.test"));
    let thief = CertifiedKey::new(good.cert.clone(), other.key.clone());
    for version in [&TLS13, &TLS12] {
        // Known from here on; resumption would not show the certificate again.
        let server = serving_of(&good, &[], &[version]);
        connect(&tls, "good.test", server).await.unwrap();
        let server = serving_of(&thief, &[], &[version]);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let accepting = tokio::spawn(async move { TlsAcceptor::from(server).accept(far).await });
        let connected = tls.connect(&host("good.test"), near, Versions::All).await;
        let refusal = connected.map(drop).unwrap_err();
        assert_eq!(refusal.reason, Reason::UpstreamCertificate, "{refusal:?}");
        drop(accepting);
    }
}

#[tokio::test]
async fn the_cheaper_cipher_is_offered_first_and_none_is_missing() {
    let Trusting { pki, tls } = Trusting::new();
    for (version, wanted) in [
        (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ] {
        let server = serving_of(&pki.leaf("good.test"), &[], &[version]);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let accepting = tokio::spawn(async move { TlsAcceptor::from(server).accept(far).await });
        let stream = tls.connect(&host("good.test"), near, Versions::All).await;
        let stream = stream.unwrap();
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), wanted);
        accepting.await.unwrap().unwrap();
    }
    let suites = |provider: CryptoProvider| {
        let suites = provider.cipher_suites.into_iter();
        let mut numbers: Vec<u16> = suites.map(|suite| suite.suite().into()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(suites(provider()), suites(default_provider()));
}

#[test]
fn nothing_dangerous_is_on() {
    let mut roots = RootCertStore::empty();
    roots.add(Pki::new().root.der().clone()).unwrap();
    let config = config(Arc::new(roots), Vec::new(), 8, Arc::new(default_provider())).unwrap();
    assert!(!config.enable_early_data && !config.enable_secret_extraction);
    assert!(!config.key_log.will_log("CLIENT_RANDOM") && config.enable_sni);
    assert!(!config.client_auth_cert_resolver.has_certs());
}

proptest! {
    /// Whatever has a canonical form can be verified under it, and under no other.
    #[test]
    fn every_host_is_a_server_name(text in "[a-z0-9_.-]{1,40}|(x[a-z]|[0-9]{1,3})(\\.[0-9a-fx]{1,4}){1,4}") {
        if let Ok(host) = Host::parse(text.as_bytes()) {
            let name = server_name(&host).unwrap();
            prop_assert_eq!(name.to_str(), host.text());
        }
    }
}

/// A list by `issuer` that revokes the certificate with this serial number, and is due for
/// renewal that many days from now.
fn revoking(issuer: &Pki, serial: u64, days: i64) -> tempfile::NamedTempFile {
    let now = time::OffsetDateTime::now_utc();
    let list = rcgen::CertificateRevocationListParams {
        this_update: now - time::Duration::days(30),
        next_update: now + time::Duration::days(days),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: now - time::Duration::days(1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    written(
        list.signed_by(&issuer.root)
            .unwrap()
            .pem()
            .unwrap()
            .as_bytes(),
    )
}

fn numbered(pki: &Pki, serial: u64) -> Arc<CertifiedKey> {
    let mut params = leaf_params("good.test");
    params.serial_number = Some(serial.into());
    pki.signed(&params)
}

#[tokio::test]
async fn i2_what_a_revocation_list_names_is_refused() {
    let (pki, other) = (Pki::new(), Pki::named("Other CA"));
    let roots = file(&pki);
    let trust = Trust::Pem(vec![roots.path().to_owned()]);
    let mut outcomes = Vec::new();
    for (list, serial) in [
        (revoking(&pki, 7, 30), 7),
        (revoking(&pki, 7, 30), 8),
        (revoking(&pki, 7, -1), 8),
        (revoking(&other, 7, 30), 7),
    ] {
        let lists = [list.path().to_owned()];
        let tls = UpstreamTls::with_sessions(&trust, &lists, 1).unwrap();
        let server = serving(&numbered(&pki, serial), &[]);
        let connected = connect(&tls, "good.test", server).await;
        outcomes.push(connected.map(drop).map_err(|refusal| refusal.sentence));
    }
    let revoked = "the certificate of good.test has been revoked".to_owned();
    let stale = "the certificate of good.test has an unknown revocation status".to_owned();
    assert_eq!(outcomes, [Err(revoked), Ok(()), Err(stale), Ok(())]);
}

#[test]
fn a_file_that_is_no_revocation_list_is_an_error() {
    let trust = Trusting::new();
    let root = file(&trust.pki);
    let roots = Trust::Pem(vec![root.path().to_owned()]);
    let damaged = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    for (text, cause) in [
        (trust.pki.root.pem(), "holds no revocation list"),
        (damaged.to_owned(), "not valid X.509"),
    ] {
        let file = written(text.as_bytes());
        let lists = [file.path().to_owned()];
        let error = UpstreamTls::with_sessions(&roots, &lists, 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("upstream.crl") && text.contains(cause),
            "{text}"
        );
    }
}

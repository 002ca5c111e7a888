//! Clients that do not accept their certificate: told apart, counted, explained once. And whom
//! they may trust instead: the root above the gateway's own CA.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::client::{Tls, tcp};
use crate::common::world::SERVER;
use crate::common::{World, inside, within};
use crate::ws::{Agent, FIN, Frame, TEXT, echo, gateway, server};

/// A client that accepts no certificate, and says why.
#[derive(Debug)]
struct Refusing(CertificateError);

impl ServerCertVerifier for Refusing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(self.0.clone().into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("the certificate is refused")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("the certificate is refused")
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

async fn refuse(name: &'static str, error: CertificateError) {
    let config = builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Refusing(error)))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tcp((SERVER[0], 443)).await.unwrap();
    let greeting = connector.connect(name.try_into().unwrap(), stream);
    assert!(within("a refusal", greeting).await.is_err());
}

fn builder() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().unwrap()
}

#[test]
fn distrust_is_explained_once_for_each_host() {
    inside(|| {
        let world = World::new();
        let gateway = gateway(&world, "");
        // It trusts the server's CA and not the gateway's.
        let stranger = Tls::new(world.ca.pem(), &[]);
        let trusting = Agent::new(&gateway);
        let asking = stranger.clone();
        world.agent.block_on(async move {
            for _ in 0..3 {
                let refused = asking.connect((SERVER[0], 443), "ws.test").await;
                assert!(refused.is_err());
            }
        });
        let failed = |record: &serde_json::Value| record["portreeve.reason"] == "handshake_failed";
        gateway.wait_records(3, failed);
        let first = gateway.wait_log("does not trust the CA");
        assert!(
            first.contains("builder") && first.contains("ws.test"),
            "{first}"
        );
        assert!(
            first.contains("unknown_ca") && first.contains("ca export"),
            "{first}"
        );
        world.agent.block_on(async move {
            // Its handshake is over at both ends once there is an answer.
            let get = b"GET / HTTP/1.1\r\nHost: ws.test\r\n\r\n";
            assert_eq!(trusting.ask("ws.test", get).await.0.status, 502);
            // What comes after the certificate is a close without a word.
            let mut silent = tcp((SERVER[0], 443)).await.unwrap();
            silent.write_all(&hello()).await.unwrap();
            let mut first = [0; 5];
            within("the server's hello", silent.read_exact(&mut first))
                .await
                .unwrap();
            assert_eq!(first[0], 22);
        });
        let second = gateway.wait_log("pin its certificate");
        assert!(
            second.contains("plain.test") && second.contains("silent_close"),
            "{second}"
        );
        let count = |sign| {
            let labels = [("agent", "builder"), ("sign", sign)];
            gateway.metric("portreeve_client_trust_failures_total", &labels)
        };
        assert_eq!((count("unknown_ca"), count("silent_close")), (3.0, 1.0));
        let said = gateway.log().matches("does not trust the CA").count();
        assert_eq!(said, 1);
        // Other clients of an agent that trusts the CA: what each says, and what it means.
        let other = || CertificateError::Other(OtherError(Arc::new(std::fmt::Error)));
        for (name, error, sign, words) in [
            (
                "bad.test",
                CertificateError::NotValidForName,
                "bad_certificate",
                "seems to pin its certificate",
            ),
            ("go.test", other(), "certificate_unknown", "seems to pin"),
            (
                "unknown.test",
                CertificateError::UnknownIssuer,
                "unknown_ca",
                "though another of the agent does",
            ),
            (
                "clock.test",
                CertificateError::Expired,
                "certificate_expired",
                "set its clock",
            ),
        ] {
            let before = count(sign);
            world.agent.block_on(refuse(name, error));
            let line = gateway.wait_log(name);
            assert!(line.contains(sign) && line.contains(words), "{line}");
            assert!(line.contains("builder"), "{line}");
            assert_eq!(count(sign), before + 1.0);
        }
    });
}

/// An offline root signs a CA for this gateway; agents that know the root alone are served.
#[test]
fn the_chain_of_an_intermediate_is_served() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let (root, key) = root();
        let folder = world.path("root");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("root.pem"), &root).unwrap();
        let node = world.path("node");
        let own = "[ca]\ncertificate = \"NODE/gateway.pem\"\nchain = \"NODE/root.pem\"\n\
            key = \"NODE/gateway.key\"\n";
        let config = own.replace("NODE", node.to_str().unwrap());
        let builder = world
            .gateway_builder(&format!("{}{config}", crate::ws::CONFIG))
            .rule("rules.toml", crate::ws::RULES)
            .secret("canary", crate::ws::SECRET)
            .secret("root.key", &key);
        let mut issue = std::process::Command::new(env!("CARGO_BIN_EXE_portreeve"));
        issue.args(["ca", "issue-intermediate", "--name", "Gateway 1", "--root"]);
        issue.arg(folder.join("root.pem")).arg("--root-key");
        issue.arg(world.path("gateway/root.key"));
        let issued = issue.arg("--out").arg(&node).output().unwrap();
        assert!(issued.status.success(), "{issued:?}");
        let gateway = builder.start();
        let tls = Tls::new(&root, &[]);
        world.agent.block_on(async move {
            let stream = tls.connect((SERVER[0], 443), "plain.test").await.unwrap();
            let served = stream.get_ref().1.peer_certificates().unwrap();
            assert_eq!(served.len(), 2, "a leaf and the intermediate");
        });
        // What agents are to install is the root.
        assert_eq!(gateway.ca_pem().trim(), root.trim());
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/echo").await;
            ws.send(FIN | TEXT, b"hello").await.unwrap();
            assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, b"hello".into())));
        });
    });
}

/// Certificate and key of an offline root, as PEM.
fn root() -> (String, String) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = "The offline root";
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The ClientHello that a real client sends for `plain.test`.
fn hello() -> Vec<u8> {
    let roots = rustls::RootCertStore::empty();
    let config = builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "plain.test".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

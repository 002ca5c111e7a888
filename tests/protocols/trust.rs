//! Clients that do not accept their certificate: told apart, counted, explained once.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::client::Tls;
use crate::common::world::SERVER;
use crate::common::{World, inside, within};
use crate::ws::{Agent, gateway};

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
            let _ = trusting.connect("ws.test").await;
            // What comes after the certificate is a close without a word.
            let mut silent = crate::common::client::tcp((SERVER[0], 443)).await.unwrap();
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
    });
}

/// The ClientHello that a real client sends for `plain.test`.
fn hello() -> Vec<u8> {
    use std::sync::Arc;
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let name = "plain.test".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

//! Ways to attach a credential beyond a header: what servers get, and what they never get.

// A test may give up.
#![allow(
    clippy::decimal_bitwise_operands,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs
)]

#[path = "methods/certificate.rs"]
mod certificate;
mod common;
#[path = "methods/identity.rs"]
mod identity;
#[path = "methods/messages.rs"]
mod messages;
#[path = "methods/placeholder.rs"]
mod placeholder;
#[path = "methods/several.rs"]
mod several;
#[path = "methods/sigv4.rs"]
mod sigv4;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "protocols/ws.rs"]
mod ws;

use common::client::{H1, Tls};
use common::wire::Response;
use common::world::SERVER;
use common::{Answer, GatewayProcess, Upstream, World};

pub const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
# The test's internet has addresses that are reserved for documentation.
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"api.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"plain.good.test" = ["203.0.113.10", "2001:db8:1::10"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

pub const NAMES: [&str; 2] = ["api.good.test", "plain.good.test"];

/// A server that speaks HTTP/1 only, so that what it received can be searched.
pub fn server(
    world: &World,
    script: impl Fn(&common::Request) -> Answer + Send + Sync + 'static,
) -> Upstream {
    let mut tls = world.ca.server(&NAMES);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Upstream::https(&world.internet, SERVER, 443, tls, script)
}

/// Sends `request` to `host` and reads the response.
pub fn send(
    world: &World,
    gateway: &GatewayProcess<'_>,
    host: &'static str,
    request: impl Into<Vec<u8>>,
) -> Response {
    let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
    let request = request.into();
    world.agent.block_on(async move {
        let stream = tls.connect((SERVER[0], 443), host).await.unwrap();
        let mut h1 = H1::new(stream);
        h1.exchange(request).await.unwrap()
    })
}

/// Everything that a server received, after decryption.
pub fn received(server: &Upstream) -> Vec<u8> {
    let connections = server.connections();
    connections.into_iter().flat_map(|it| it.bytes).collect()
}

pub fn contains(bytes: &[u8], needle: &str) -> bool {
    common::wire::find(bytes, needle.as_bytes()).is_some()
}

pub fn assert_refused(response: &Response, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let kind = format!("urn:portreeve:{reason}");
    assert!(response.text().contains(&kind), "{}", response.text());
}

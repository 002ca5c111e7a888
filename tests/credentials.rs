//! Credentials that the agent never sees: what servers get, and what agents get back.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs
)]

#[path = "credentials/attach.rs"]
mod attach;
mod common;
#[path = "credentials/echo.rs"]
mod echo;
#[path = "credentials/forms.rs"]
mod forms;

use common::client::{H1, H2, Tls};
use common::wire::Response;
use common::world::SERVER;
use common::{Answer, GatewayProcess, Upstream, World};

pub const SECRET: &str = "canary-7d/41+f0=8c&\"29";
pub const COOKIE: &str = "cookie-canary-5b0d3e";
pub const USER: &str = "builder-bot";

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
"git.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"maps.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"shop.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"plain.good.test" = ["203.0.113.10", "2001:db8:1::10"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

pub const RULES: &str = r#"
[[credential]]
name = "api"
secret = { file = "../canary" }
hosts = ["api.good.test"]
attach = { bearer = true }
[[credential]]
name = "git"
secret = { file = "../canary" }
hosts = ["git.good.test"]
attach = { basic = "builder-bot" }
[[credential]]
name = "maps"
secret = { file = "../canary" }
hosts = ["maps.good.test"]
attach = { query = "key" }
[[credential]]
name = "shop"
secret = { file = "../cookie" }
hosts = ["shop.good.test"]
attach = { cookie = "session" }
[[rule]]
name = "maps"
agents = ["builder"]
hosts = ["maps.good.test"]
credential = "maps"
record_query = true
[[rule]]
name = "shop"
agents = ["builder"]
hosts = ["shop.good.test"]
credential = "shop"
[[rule]]
name = "api"
agents = ["builder"]
hosts = ["api.good.test"]
credential = "api"
[[rule]]
name = "git"
agents = ["builder"]
hosts = ["git.good.test"]
credential = "git"
[[rule]]
name = "plain"
agents = ["builder"]
hosts = ["plain.good.test"]
"#;

const NAMES: [&str; 5] = [
    "api.good.test",
    "git.good.test",
    "maps.good.test",
    "plain.good.test",
    "shop.good.test",
];

/// A server for the names of [`CONFIG`].
pub fn server(
    world: &World,
    script: impl Fn(&common::Request) -> Answer + Send + Sync + 'static,
) -> Upstream {
    Upstream::start(&world.internet, &world.ca, &NAMES, script)
}

/// A server that speaks HTTP/1 only.
pub fn server_h1(
    world: &World,
    script: impl Fn(&common::Request) -> Answer + Send + Sync + 'static,
) -> Upstream {
    let mut tls = world.ca.server(&NAMES);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Upstream::https(&world.internet, SERVER, 443, tls, script)
}

pub fn gateway<'w>(world: &'w World, rules: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", rules)
        .secret("canary", SECRET)
        .secret("cookie", COOKIE)
        .start()
}

/// `GET path` of `host` over HTTP/1 with these further header lines; every response up to
/// the final one, or what came before the connection broke off.
pub fn get(
    world: &World,
    gateway: &GatewayProcess<'_>,
    host: &'static str,
    path: &str,
    lines: &str,
) -> Vec<Response> {
    let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n");
    world.agent.block_on(async move {
        let stream = tls.connect((SERVER[0], 443), host).await.unwrap();
        let mut h1 = H1::new(stream);
        h1.send(request).await.unwrap();
        let mut responses = Vec::new();
        while let Ok(response) = h1.response().await {
            let last = response.status >= 200;
            responses.push(response);
            if last {
                break;
            }
        }
        responses
    })
}

/// The bytes that came on the wire after `GET path`, until the connection ended.
pub fn get_raw(
    world: &World,
    gateway: &GatewayProcess<'_>,
    host: &'static str,
    path: &str,
    lines: &str,
) -> Vec<u8> {
    let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n");
    world.agent.block_on(async move {
        let stream = tls.connect((SERVER[0], 443), host).await.unwrap();
        let mut h1 = H1::new(stream);
        h1.send(request).await.unwrap();
        h1.read_to_close().await.unwrap()
    })
}

/// `GET path` of `host` over HTTP/2.
pub fn get_h2(
    world: &World,
    gateway: &GatewayProcess<'_>,
    host: &'static str,
    path: &str,
) -> Result<Response, String> {
    let tls = Tls::new(&gateway.ca_pem(), &["h2"]);
    let url = format!("https://{host}{path}");
    world.agent.block_on(async move {
        let stream = tls.connect((SERVER[0], 443), host).await.unwrap();
        let h2 = H2::new(stream).await.unwrap();
        h2.get(&url).await.map_err(|error| error.to_string())
    })
}

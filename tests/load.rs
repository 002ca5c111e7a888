//! Many connections, many requests, large bodies, many names: nothing fails, nothing stays.
//!
//! Servers and clients here keep nothing, so that what grows is the gateway. Nothing is
//! asserted on how long anything takes.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

#[path = "load/bodies.rs"]
mod bodies;
#[path = "load/gauge.rs"]
mod gauge;
#[path = "load/names.rs"]
mod names;
#[path = "load/parallel.rs"]
mod parallel;
#[path = "load/quiet_server.rs"]
mod quiet_server;

use common::client::Tls;
use common::{GatewayProcess, World};

/// What a server must see on every request that gets there.
const SECRET: &str = "canary-08fa6c71d4";

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
# The test's internet has addresses that are reserved for documentation.
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"good.test" = ["203.0.113.10", "2001:db8:1::10"]
[limits]
refusals_per_second = 100000
refused_leaves_per_second = 100000
refused_leaves = 50
[timeouts]
# So that "back to the baseline" does not mean a minute later.
upstream_idle = "1s"
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

const RULES: &str = r#"
[[credential]]
name   = "good"
secret = { env = "CANARY" }
hosts  = ["good.test"]
attach = { header = "x-api-key" }
[[rule]]
name   = "good"
agents = ["builder"]
hosts  = ["good.test"]
credential = "good"
"#;

fn gateway(world: &World) -> GatewayProcess<'_> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", RULES)
        .env("CANARY", SECRET)
        .start()
}

fn tls(gateway: &GatewayProcess<'_>, alpn: &str) -> Tls {
    Tls::new(&gateway.ca_pem(), &[alpn])
}

//! A gateway box as an operator runs it: forwarding off, the table by `portreeve nft apply`,
//! the real daemon; agents on one side, the internet on the other.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

#[path = "box/failing_closed.rs"]
mod failing_closed;
#[path = "box/memory.rs"]
mod memory;
#[path = "box/passing.rs"]
mod passing;
#[path = "box/refusals.rs"]
mod refusals;
#[path = "box/reload.rs"]
mod reload;
#[path = "box/verify.rs"]
mod verify;

use std::io;
use std::net::IpAddr;

use common::client::{H1, Tls, tcp};
use common::wire::Response;
use common::world::{OTHER, SERVER};
use common::{Answer, GatewayProcess, Upstream, World};

const SECRET: &str = "canary-3c5e8a1f70";

/// `good.test` is allowed with a credential, `clear.test` in clear; `bad.test` resolves to
/// the same server, and no rule allows it.
const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
# The test's internet has addresses that are reserved for documentation.
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"good.test"  = ["203.0.113.10", "2001:db8:1::10"]
"bad.test"   = ["203.0.113.10", "2001:db8:1::10"]
"clear.test" = ["203.0.113.11", "2001:db8:1::11"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

const RULES: &str = r#"
[[credential]]
name   = "canary"
secret = { file = "../canary" }
hosts  = ["good.test"]
attach = { header = "x-api-key" }
[[rule]]
name   = "good"
agents = ["builder"]
hosts  = ["good.test"]
paths  = ["/allowed"]
credential = "canary"
[[rule]]
name    = "clear"
agents  = ["builder"]
hosts   = ["clear.test"]
schemes = ["http"]
ports   = [80]
"#;

/// `good.test` and `bad.test`: whatever gets there is kept.
fn server(world: &World) -> Upstream {
    Upstream::start(
        &world.internet,
        &world.ca,
        &["good.test", "bad.test"],
        |_| Answer::ok("from the server"),
    )
}

/// `clear.test`.
fn clear_server(world: &World) -> Upstream {
    Upstream::http(&world.internet, OTHER, 80, |_| Answer::ok("in clear"))
}

fn gateway(world: &World) -> GatewayProcess<'_> {
    world
        .gateway_builder(CONFIG)
        .secret("canary", SECRET)
        .rule("rules.toml", RULES)
        .start()
}

/// What the agent reads when it asks `address` for a path of a name.
fn get(
    world: &World,
    gateway: &GatewayProcess<'_>,
    address: IpAddr,
    name: &str,
    path: &str,
) -> Response {
    // Not by `ca export`: agents keep their copy while the operator writes bad rules.
    let ca = std::fs::read_to_string(gateway.state().join("ca/ca.pem")).unwrap();
    let tls = Tls::new(&ca, &["http/1.1"]);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let name = name.to_owned();
    world.agent.block_on(async move {
        let stream = tls.connect((address, 443), &name).await.unwrap();
        H1::new(stream).exchange(request).await.unwrap()
    })
}

/// The error with which a connection attempt of the agent ends; none if it succeeds.
fn dial(world: &World, to: (IpAddr, u16)) -> Option<io::ErrorKind> {
    world
        .agent
        .block_on(async move { tcp(to).await.err().map(|error| error.kind()) })
}

/// An allowed request gets through on both families: what is refused otherwise is not
/// refused for want of a working gateway.
fn assert_works(world: &World, gateway: &GatewayProcess<'_>, server: &Upstream) {
    for address in SERVER {
        let before = server.requests().len();
        let response = get(world, gateway, address, "good.test", "/allowed");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "from the server"),
            "{address}"
        );
        let requests = server.wait_requests(before + 1);
        assert_eq!(requests.len(), before + 1);
        assert_eq!(requests[before].header_all("x-api-key"), [SECRET]);
    }
}

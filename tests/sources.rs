//! Secrets that change while the gateway runs, and tokens that it mints.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs
)]

#[path = "sources/commands.rs"]
mod commands;
mod common;
#[path = "sources/errors.rs"]
mod errors;
#[path = "sources/local.rs"]
mod local;
#[path = "sources/signed.rs"]
mod signed;
#[path = "sources/tokens.rs"]
mod tokens;
#[path = "sources/vault.rs"]
mod vault;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::client::{H1, Tls};
use common::wire::Response;
use common::world::{OTHER, SERVER};
use common::{Answer, GatewayProcess, Request, Upstream, World};

/// Where tokens are got in these tests, by another server than the API.
pub const LOGIN: &str = "login.good.test";
pub const API: &str = "api.good.test";

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
"login.good.test" = ["203.0.113.11", "2001:db8:1::11"]
"inside.good.test" = ["10.9.9.9"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

/// One credential with these lines, for everything on [`API`].
pub fn rules(lines: &str) -> String {
    format!(
        "[[credential]]\nname = \"api\"\nhosts = [\"{API}\"]\n{lines}\n\
         [[rule]]\nname = \"api\"\nagents = [\"builder\"]\nhosts = [\"{API}\"]\ncredential = \"api\"\n"
    )
}

/// The API.
pub fn api(world: &World, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Upstream {
    Upstream::start(&world.internet, &world.ca, &[API], script)
}

/// The server for tokens, which is asked over HTTP/1.1.
pub fn login(
    world: &World,
    script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Upstream {
    let tls = world.ca.server(&[LOGIN]);
    Upstream::https(&world.internet, OTHER, 443, tls, script)
}

/// What the API received as the credential, request by request.
pub fn authorizations(server: &Upstream) -> Vec<String> {
    let requests = server.requests();
    let of = |request: &Request| request.header("authorization").unwrap_or("none").to_owned();
    requests.iter().map(of).collect()
}

/// Sends this request of the agent to the API.
pub fn send(world: &World, gateway: &GatewayProcess<'_>, request: String) -> Response {
    let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
    world.agent.block_on(async move {
        let stream = tls.connect((SERVER[0], 443), API).await.unwrap();
        let mut h1 = H1::new(stream);
        h1.send(request).await.unwrap();
        h1.response().await.unwrap()
    })
}

pub fn get(world: &World, gateway: &GatewayProcess<'_>) -> Response {
    send(
        world,
        gateway,
        format!("GET /a HTTP/1.1\r\nhost: {API}\r\n\r\n"),
    )
}

/// Asks again and again until the answer is as wanted.
pub fn get_until(
    world: &World,
    gateway: &GatewayProcess<'_>,
    what: &str,
    wanted: impl Fn(&Response) -> bool,
) -> Response {
    let mut last = None;
    let response = until(what, || {
        let response = get(world, gateway);
        let found = wanted(&response).then(|| response.clone());
        last = Some(response);
        found
    });
    response.unwrap_or_else(|| panic!("{what}: {last:?}\n{}", gateway.log()))
}

/// Tries again and again; `None` where nothing comes of it for a minute.
pub fn until<T>(_what: &str, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Replaces a secret as programs do: a new file takes the place of the old one.
pub fn swap_secret(gateway: &GatewayProcess<'_>, name: &str, value: &str, mode: u32) {
    let (path, new) = (gateway.folder().join(name), gateway.folder().join("new"));
    fs::write(&new, value).unwrap();
    fs::set_permissions(&new, PermissionsExt::from_mode(mode)).unwrap();
    fs::rename(&new, &path).unwrap();
}

/// The sentence of a refusal.
pub fn sentence(response: &Response) -> String {
    let problem: serde_json::Value = serde_json::from_str(&response.text()).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

//! The town of these tests: servers that a rule allows, one that none does, and an agent.

use std::fmt;
use std::net::IpAddr;

use crate::common::client::{H1, H2, Tls};
use crate::common::wire::Response;
use crate::common::world::{ATTACKER, OTHER, Pair, SERVER};
use crate::common::{Answer, GatewayProcess, Request, Upstream, World, client};

/// The secret that must reach `good.test` and nobody else.
pub const CANARY: &str = "canary-7d1f0c9a4be25e38";

/// `good.test` gets the credential, `plain.test` and what is under `wild.test` are allowed
/// without, and of `clear.test` only the port without TLS is.
pub const RULES: &str = r#"
[[credential]]
name   = "canary"
secret = { env = "CANARY" }
hosts  = ["good.test"]
attach = { header = "x-api-key" }
[[rule]]
name   = "good"
agents = ["builder"]
hosts  = ["good.test"]
credential = "canary"
[[rule]]
name   = "plain"
agents = ["builder"]
hosts  = ["plain.test", "*.wild.test"]
[[rule]]
name    = "clear"
agents  = ["builder"]
hosts   = ["clear.test"]
schemes = ["http"]
ports   = [80]
"#;

/// What `portreeve.toml` says; displays as that.
pub struct Config {
    pub ports: Vec<u16>,
    pub allow: Vec<String>,
    pub resolve: Vec<(String, Vec<IpAddr>)>,
    pub nameservers: Vec<IpAddr>,
}

impl Default for Config {
    /// The test's internet has addresses that are reserved for documentation.
    fn default() -> Self {
        let name = |name: &str, addresses: Pair| (name.to_owned(), addresses.to_vec());
        Self {
            ports: vec![80, 443],
            allow: ["203.0.113.0/24", "2001:db8:1::/64"]
                .map(str::to_owned)
                .to_vec(),
            resolve: vec![
                name("good.test", SERVER),
                name("plain.test", OTHER),
                name("clear.test", OTHER),
                name("sub.wild.test", OTHER),
                name("evil.test", ATTACKER),
            ],
            nameservers: vec![IpAddr::from([203, 0, 113, 2])],
        }
    }
}

impl Config {
    /// The same, with this name resolving to these addresses.
    pub fn with(mut self, name: &str, addresses: &[IpAddr]) -> Self {
        self.resolve.push((name.to_owned(), addresses.to_vec()));
        self
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ports,
            allow,
            resolve,
            nameservers,
        } = self;
        let quoted = |addresses: &[IpAddr]| -> Vec<String> {
            addresses.iter().map(ToString::to_string).collect()
        };
        writeln!(f, "rules = \"rules\"\n[redirect]\ninterfaces = [\"lan0\"]")?;
        writeln!(f, "ports = {ports:?}\n[upstream]")?;
        writeln!(
            f,
            "trust = [\"upstream-ca.pem\"]\nallow_networks = {allow:?}"
        )?;
        writeln!(
            f,
            "nameservers = {:?}\n[upstream.resolve]",
            quoted(nameservers)
        )?;
        for (name, addresses) in resolve {
            writeln!(f, "{name:?} = {:?}", quoted(addresses))?;
        }
        // The tests refuse by the hundred; the rates have tests of their own.
        writeln!(f, "[limits]\nrefusals_per_second = 100000")?;
        writeln!(f, "refused_leaves_per_second = 100000")?;
        writeln!(f, "[[agent]]\nname = \"builder\"")?;
        writeln!(f, "sources = [\"10.0.1.0/24\", \"fd00:1::/64\"]")
    }
}

/// The gateway with this config and one file of rules.
pub fn start<'w>(world: &'w World, config: &Config, rules: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(&config.to_string())
        .rule("town.toml", rules)
        .env("CANARY", CANARY)
        .start()
}

/// The servers behind the names of [`Config::default`].
pub struct Town {
    pub world: World,
    /// `good.test`.
    pub good: Upstream,
    /// `plain.test` and `sub.wild.test`.
    pub plain: Upstream,
    /// `clear.test`, without TLS.
    pub clear: Upstream,
    /// Port 80 of `good.test`.
    pub good_clear: Upstream,
    /// `evil.test`, on the ports 443 and 80: takes every byte and says nothing.
    pub evil: [Upstream; 2],
}

impl Town {
    pub fn new() -> Self {
        let world = World::new();
        let (internet, ca) = (&world.internet, &world.ca);
        let tls = ca.server(&["plain.test", "*.wild.test"]);
        let hello = |request: &Request| Answer::ok(format!("hello {}", request.target));
        Self {
            good: Upstream::start(internet, ca, &["good.test"], hello),
            plain: Upstream::https(internet, OTHER, 443, tls, hello),
            clear: Upstream::http(internet, OTHER, 80, hello),
            good_clear: Upstream::http(internet, SERVER, 80, hello),
            evil: [443, 80].map(|port| Upstream::recorder(internet, ATTACKER, port)),
            world,
        }
    }

    /// The gateway as most tests want it.
    pub fn start(&self) -> GatewayProcess<'_> {
        start(&self.world, &Config::default(), RULES)
    }

    /// Nobody got a byte by any way: neither the attacker nor a server that is allowed.
    pub fn assert_untouched(&self) {
        self.assert_evil_untouched();
        for (server, addresses, port) in [
            (&self.good, SERVER, 443),
            (&self.good_clear, SERVER, 80),
            (&self.plain, OTHER, 443),
            (&self.clear, OTHER, 80),
        ] {
            assert_untouched(&self.world, server, addresses, port);
        }
    }

    /// The attacker saw no connection, and no packet of the agent's passed by the gateway.
    pub fn assert_evil_untouched(&self) {
        for (server, port) in self.evil.iter().zip([443, 80]) {
            assert_untouched(&self.world, server, ATTACKER, port);
        }
        assert_eq!(self.world.leaked(), 0);
    }
}

/// Asserts that a server has seen no connection. The gateway's machine can reach it, as the two
/// connections made here show, and they come after all that were made before, since a
/// listener's queue is in order; so this is to be called last.
pub fn assert_untouched(world: &World, server: &Upstream, addresses: Pair, port: u16) {
    let probes = world.gateway.block_on(async move {
        let mut probes = Vec::new();
        for address in addresses {
            let stream = client::tcp((address, port)).await;
            let stream = stream.unwrap_or_else(|error| panic!("{address} {port}: {error}"));
            probes.push(stream.local_addr().unwrap());
        }
        probes
    });
    server.wait_connection("the last probe", |seen| seen.peer == probes[1]);
    server.wait_connection("the first probe", |seen| seen.peer == probes[0]);
    let seen = server.connections();
    assert_eq!(seen.len(), 2, "{addresses:?} port {port} got {seen:#?}");
}

/// An agent that trusts the gateway's CA, and nothing else.
pub struct Agent<'w> {
    world: &'w World,
    pub h1: Tls,
    pub h2: Tls,
}

impl<'w> Agent<'w> {
    pub fn new(world: &'w World, gateway: &GatewayProcess<'_>) -> Self {
        let ca = gateway.ca_pem();
        Self {
            world,
            h1: Tls::new(&ca, &["http/1.1"]),
            h2: Tls::new(&ca, &["h2"]),
        }
    }

    /// One HTTP/1 request over TLS on a connection of its own.
    pub fn https(&self, to: (IpAddr, u16), sni: &str, request: impl AsRef<[u8]>) -> Response {
        self.https_each(to, sni, &[request]).remove(0)
    }

    /// HTTP/1 requests over one TLS connection, each after the last one's answer.
    pub fn https_each(
        &self,
        to: (IpAddr, u16),
        sni: &str,
        requests: &[impl AsRef<[u8]>],
    ) -> Vec<Response> {
        let (tls, sni) = (self.h1.clone(), sni.to_owned());
        let requests: Vec<Vec<u8>> = requests.iter().map(|one| one.as_ref().to_vec()).collect();
        self.world.agent.block_on(async move {
            let mut h1 = H1::new(tls.connect(to, &sni).await.unwrap());
            let mut responses = Vec::new();
            for request in requests {
                responses.push(h1.exchange(request).await.unwrap());
            }
            responses
        })
    }

    /// HTTP/1 requests over one TLS connection, all in one record.
    pub fn https_pipelined(
        &self,
        to: (IpAddr, u16),
        sni: &str,
        requests: &[String],
    ) -> Vec<Response> {
        let (tls, sni) = (self.h1.clone(), sni.to_owned());
        let (bytes, count) = (requests.concat(), requests.len());
        self.world.agent.block_on(async move {
            let mut h1 = H1::new(tls.connect(to, &sni).await.unwrap());
            h1.send(bytes).await.unwrap();
            let mut responses = Vec::new();
            for _ in 0..count {
                responses.push(h1.response().await.unwrap());
            }
            responses
        })
    }

    /// One HTTP/1 request in clear.
    pub fn http(&self, to: (IpAddr, u16), request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref().to_vec();
        self.world.agent.block_on(async move {
            let mut h1 = H1::new(client::tcp(to).await.unwrap());
            h1.exchange(request).await.unwrap()
        })
    }

    /// HTTP/2 requests over one connection, all at once.
    pub fn h2(
        &self,
        to: (IpAddr, u16),
        sni: &str,
        requests: Vec<http::Request<()>>,
    ) -> Vec<Response> {
        let (tls, sni) = (self.h2.clone(), sni.to_owned());
        self.world.agent.block_on(async move {
            let h2 = H2::new(tls.connect(to, &sni).await.unwrap()).await.unwrap();
            let streams: Vec<_> = requests
                .into_iter()
                .map(|request| {
                    let h2 = h2.clone();
                    tokio::spawn(async move { h2.request(request, b"", &Vec::new()).await })
                })
                .collect();
            let mut responses = Vec::new();
            for stream in streams {
                responses.push(stream.await.unwrap().unwrap());
            }
            responses
        })
    }
}

/// `GET path` of `host` in HTTP/1.1.
pub fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// `GET url` in HTTP/2.
pub fn get_h2(url: &str) -> http::Request<()> {
    http::Request::get(url).body(()).unwrap()
}

/// Why the gateway refused: the label in its `Proxy-Status`.
pub fn reason(response: &Response) -> Option<&str> {
    let status = response.header("proxy-status")?;
    status.split("details=").nth(1)
}

/// Asserts on status and reason of a refusal.
#[track_caller]
pub fn assert_refused(response: &Response, status: u16, label: &str) {
    let seen = (response.status, reason(response));
    assert_eq!(seen, (status, Some(label)), "{}", response.text());
}

/// Every byte that a server received and could read, HTTP/2 headers decoded.
pub fn received(server: &Upstream) -> String {
    let raw = server.connections().into_iter().map(|seen| seen.bytes);
    let raw: Vec<String> = raw
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    format!("{raw:?} {:?}", server.requests())
}

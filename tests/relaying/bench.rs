//! A world with one gateway, a server that speaks HTTP/1 and one that speaks HTTP/2, and the
//! four pairs of legs through it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::agent::Dial;
use crate::common::client::Tls;
use crate::common::events::Events;
use crate::common::world::{OTHER, Pair, SERVER};
use crate::common::{GatewayProcess, Upstream, World};
use crate::server::{Call, Script, go_away_h2, serve_h1, serve_h2};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
}

/// What the agent speaks, and what the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legs {
    pub agent: Version,
    pub server: Version,
}

pub const LEGS: [Legs; 4] = [
    legs(Version::H1, Version::H1),
    legs(Version::H1, Version::H2),
    legs(Version::H2, Version::H1),
    legs(Version::H2, Version::H2),
];

pub const fn legs(agent: Version, server: Version) -> Legs {
    Legs { agent, server }
}

impl fmt::Display for Legs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}", self.agent, self.server)
    }
}

const RULES: &str = r#"
[[rule]]
name = "denied"
action = "deny"
reason = "not this one"
hosts = ["h1.test", "h2.test"]
paths = ["/denied"]
"#;

const ALL: &str = r#"
[[rule]]
name = "all"
hosts = ["h1.test", "h2.test"]
"#;

/// How the bench differs from the ordinary.
pub struct Setup {
    /// More of `portreeve.toml`: whole sections.
    pub config: &'static str,
    /// Rule files beside the one that allows all.
    pub rules: &'static str,
    /// More keys of the rule that allows all.
    pub all: &'static str,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS` of the HTTP/2 server.
    pub streams: u32,
    /// Whether the first connection to the HTTP/2 server ends by [`go_away_h2`].
    pub goes_away: bool,
    /// How long the servers take in each handshake.
    pub handshake: Duration,
    /// The gateway's environment.
    pub env: &'static [(&'static str, &'static str)],
}

impl Setup {
    /// What stands in `all.toml`.
    pub fn rules_file(&self) -> String {
        let rules = format!("{RULES}{}{ALL}{}", self.rules, self.all);
        rules.replace("[[rule]]", "[[rule]]\nagents = [\"builder\"]")
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: "",
            rules: "",
            all: "",
            streams: 250,
            goes_away: false,
            handshake: Duration::ZERO,
            env: &[],
        }
    }
}

pub struct Bench {
    pub world: &'static World,
    pub gateway: GatewayProcess<'static>,
    pub h1: Upstream,
    pub h2: Upstream,
    pub tls: [Tls; 2],
}

impl Bench {
    /// With every request answered by `script`.
    pub fn new<F>(script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::with(&Setup::default(), script)
    }

    pub fn with<F>(setup: &Setup, script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        // One a process: `inside` runs each test in its own.
        let world: &'static World = Box::leak(Box::new(World::new()));
        let script: Script = Arc::new(move |call| Box::pin(script(call)));
        let (of_h1, of_h2, streams) = (Arc::clone(&script), script, setup.streams);
        let tls = |name, alpn| tls_of(world, name, alpn, setup.handshake);
        let h1 = serve(world, SERVER, tls("h1.test", "http/1.1"), move |stream| {
            serve_h1(stream, Arc::clone(&of_h1))
        });
        let goes_away = setup.goes_away;
        let h2 = serve(world, OTHER, tls("h2.test", "h2"), move |stream| {
            let script = Arc::clone(&of_h2);
            async move {
                if goes_away && stream.index == 0 {
                    go_away_h2(stream).await
                } else {
                    serve_h2(stream, streams, script).await
                }
            }
        });
        let config = format!(
            "[redirect]\ninterfaces = [\"lan0\"]\n[[agent]]\nname = \"builder\"\n\
             sources = [\"10.0.1.2\", \"fd00:1::2\"]\n\
             [upstream]\nallow_networks = [\"203.0.113.0/24\"]\ntrust = [\"upstream-ca.pem\"]\n\
             resolve = {{ \"h1.test\" = [\"{}\"], \"h2.test\" = [\"{}\"] }}\n{}",
            SERVER[0], OTHER[0], setup.config
        );
        let builder = world
            .gateway_builder(&config)
            .rule("all.toml", &setup.rules_file());
        let variables = setup.env.iter();
        let gateway = variables
            .fold(builder, |builder, (name, value)| builder.env(name, value))
            .start();
        let ca = gateway.ca_pem();
        let tls = [Tls::new(&ca, &["http/1.1"]), Tls::new(&ca, &["h2"])];
        Self {
            world,
            gateway,
            h1,
            h2,
            tls,
        }
    }

    /// How an agent reaches the server of `legs`.
    pub fn dial(&self, legs: Legs) -> Dial {
        let (host, address) = match legs.server {
            Version::H1 => ("h1.test", SERVER[0]),
            Version::H2 => ("h2.test", OTHER[0]),
        };
        let [h1, h2] = &self.tls;
        let tls = match legs.agent {
            Version::H1 => h1.clone(),
            Version::H2 => h2.clone(),
        };
        Dial {
            legs,
            host,
            address,
            tls,
        }
    }

    /// Runs what an agent does.
    pub fn run<T, F>(&self, behaviour: F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.world.agent.block_on(behaviour)
    }

    /// Runs what an agent does on each pair of legs.
    pub fn each<F>(&self, behaviour: impl Fn(Dial) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.some(&LEGS, behaviour);
    }

    /// Runs what an agent does on some pairs of legs.
    pub fn some<F>(&self, all: &[Legs], behaviour: impl Fn(Dial) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for &legs in all {
            println!("{legs}");
            self.run(behaviour(self.dial(legs)));
        }
    }

    pub fn server(&self, version: Version) -> &Upstream {
        match version {
            Version::H1 => &self.h1,
            Version::H2 => &self.h2,
        }
    }
}

fn serve<F>(
    world: &World,
    addresses: Pair,
    tls: ServerConfig,
    handler: impl Fn(crate::common::upstream::Stream) -> F + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Upstream::custom(&world.internet, addresses, 443, Some(tls), handler)
}

fn tls_of(world: &World, name: &'static str, alpn: &str, handshake: Duration) -> ServerConfig {
    let mut tls = world.ca.server(&[name]);
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    tls.cert_resolver = Arc::new(Slow(tls.cert_resolver, handshake));
    tls
}

/// Takes its time to find the certificate.
#[derive(Debug)]
struct Slow(Arc<dyn ResolvesServerCert>, Duration);

impl ResolvesServerCert for Slow {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        std::thread::sleep(self.1);
        self.0.resolve(hello)
    }
}

/// What a server received.
#[derive(Clone, Debug)]
pub struct Received {
    pub version: Version,
    pub method: String,
    pub target: String,
    pub authority: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub connection: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::common::wire::field(&self.headers, name)
    }

    /// Reads a call to its end.
    pub async fn of(call: &mut Call) -> io::Result<Self> {
        let body = call.rest().await?;
        Ok(Self {
            version: call.version,
            method: call.method.clone(),
            target: call.target.clone(),
            authority: call.authority.clone(),
            headers: call.headers.clone(),
            body,
            trailers: call.trailers.clone(),
            connection: call.connection,
        })
    }
}

/// The last of what was received.
pub fn last(seen: &Events<Received>) -> Received {
    seen.all().pop().expect("the server received nothing")
}

/// What a script runs.
pub type Scripted = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A script that keeps what arrives, and answers with method and target.
pub fn keeping(
    headers: &'static [(&'static str, &'static str)],
) -> (Events<Received>, impl Fn(Call) -> Scripted + Send + Sync) {
    let seen = Events::new();
    let sink = seen.clone();
    let script = move |mut call: Call| -> Scripted {
        let sink = sink.clone();
        Box::pin(async move {
            sink.push(Received::of(&mut call).await?);
            let text = format!("{} {}", call.method, call.target);
            call.reply(200, headers, text.as_bytes()).await
        })
    };
    (seen, script)
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let records = self.gateway.audit_records();
            eprintln!("---- the last records ----");
            for record in records.iter().rev().take(4).rev() {
                eprintln!("{record}");
            }
        }
    }
}

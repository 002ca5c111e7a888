//! The way of a connection and of a request (DESIGN section 3), and what they share.
//!
//! Read `accept.rs`, then `connection.rs`, then `request.rs`: three levels, one function each.
//! Every outcome ends in `outcome.rs`. `answers.rs` is the same policy for DNS; `drain.rs` and
//! `reload.rs` change the course while it runs.

mod accept;
mod answers;
pub mod assemble;
mod believed;
mod connection;
mod credentials;
mod drain;
mod echoes;
mod onward;
mod outcome;
mod refusals;
mod reload;
mod request;
mod serve;
mod splice;
mod trust;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

pub use self::accept::serve;
pub use self::answers::DnsAnswers;
pub use self::believed::Believed;
pub use self::drain::{Drain, DrainSignal};
pub use self::echoes::Echoes;
pub use self::refusals::{RecordLimit, RefusalLimit};
pub use self::trust::TrustLog;
use crate::audit::Log;
use crate::ca::Leaves;
use crate::credential::Store;
use crate::dlp::{Detector, Detectors};
use crate::http::canonical::HeadBounds;
use crate::http::h1::HeadLimits;
use crate::http::scan::FingerprintKey;
use crate::http::upstream::Upstreams;
use crate::metrics::Metrics;
use crate::name::{AgentName, Host};
use crate::net::dial::Dialler;
use crate::net::limits::Shares;
use crate::net::lookups::Asker;
use crate::net::own::OwnAddresses;
use crate::policy::Policy;
use crate::sources::{Keeper, Report};
use crate::tls::AgentTls;

/// Bounds of the agent's leg.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a ClientHello.
    pub hello_bytes: usize,
    /// Of request heads.
    pub head_limits: HeadLimits,
    /// Bodies of declared length up to this are held before dialling.
    pub hold_bytes: u64,
    /// Most bytes of a request body.
    pub body_bytes: Option<u64>,
    /// Most bytes that a compressed response body is decoded to, to look for echoes.
    pub decoded_bytes: u64,
    /// Most bytes of a WebSocket message.
    pub message_bytes: Option<u64>,
    /// Most bytes of a spliced connection, both ways.
    pub splice_bytes: Option<u64>,
    /// What a compressed request may decode to where it is scanned.
    pub decoded_request_bytes: u64,
    /// HTTP/2 streams of one connection.
    pub streams: u32,
    /// HTTP/2 control frames beyond what the agent's messages call for.
    pub control_frames: u32,
    /// Deadlines.
    pub timeouts: Timeouts,
}

/// Deadlines of the agent's leg.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the connection to a whole ClientHello or the first bytes of a request.
    pub hello: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// For another request of the agent to end, where as many run as may.
    pub request_share: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two pieces of a request body.
    pub body: Duration,
    /// For a whole body that is held.
    pub hold: Duration,
    /// Between two pieces of a response body.
    pub response: Duration,
    /// Until the agent takes a byte.
    pub write: Duration,
    /// Without a byte either way, on a WebSocket or a spliced connection.
    pub tunnel: Duration,
    /// The whole life of a WebSocket or a spliced connection.
    pub tunnel_life: Duration,
    /// From one side's close frame to the other's; from an agent's end of its own direction to
    /// the head of its answer.
    pub close: Duration,
}

impl Settings {
    fn head_bounds(&self) -> HeadBounds {
        HeadBounds {
            bytes: self.head_limits.bytes,
            fields: self.head_limits.fields,
            uri: self.head_limits.uri,
        }
    }
}

/// What is in force: rules and secrets, always replaced together.
#[derive(Debug)]
pub struct Active {
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// What is attached.
    pub credentials: Store,
    /// Which servers are believed.
    pub believed: Believed,
    /// What must not come back.
    pub echoes: Arc<Echoes>,
    /// What must not leave, the secrets of `credentials` among it.
    pub detectors: Arc<Detectors>,
    /// What `detectors` and `echoes` are made of beside the secrets.
    origin: Arc<Origin>,
}

/// What the configuration brought.
#[derive(Debug)]
struct Origin {
    detectors: Vec<Detector>,
    /// Those of the operator's secrets.
    listed: Vec<Detector>,
    agents: Vec<AgentName>,
}

impl Active {
    /// For whom `host` is looked up, and whether a rule writes it out.
    #[must_use]
    pub fn asker<'a>(&self, agent: &'a AgentName, host: &Host) -> Asker<'a> {
        Asker {
            agent,
            is_written: self.policy.may_resolve(agent, host),
        }
    }
}

/// Everything that connections share.
pub struct Gateway {
    /// Rules and secrets; read through [`Gateway::active`].
    pub active: ArcSwap<Active>,
    /// Held by whoever replaces them.
    replacing: Mutex<()>,
    /// Keeps the secrets fresh.
    pub keeper: Keeper,
    /// What is told of credentials to other commands.
    report: Report,
    /// Handshakes with agents.
    pub agent_tls: AgentTls,
    /// Certificates for them.
    pub leaves: Leaves,
    /// The way to servers.
    pub upstreams: Upstreams,
    /// Resolves and dials; also asked for the answers of DNS.
    pub dialler: Arc<Dialler>,
    /// The log.
    pub audit: Log,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// What must not be an origin.
    pub own_addresses: OwnAddresses,
    /// Connections from agents.
    pub connections: Shares,
    /// Requests that run.
    pub requests: Shares,
    /// KiB of bodies that are held.
    pub held: Shares,
    /// What is known of agents that do not trust the CA.
    pub trust: TrustLog,
    /// Answers to sources that are nobody's.
    pub refusals: RefusalLimit,
    /// Records of connections that are refused as they come.
    pub refused_records: RecordLimit,
    /// Keys the fingerprints of what detectors find.
    pub fingerprints: Arc<FingerprintKey>,
    /// Bounds.
    pub settings: Settings,
    /// Running connections and streams.
    pub tasks: TaskTracker,
}

impl Gateway {
    /// The rules and secrets in force; a request keeps those it began with.
    #[must_use]
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }
}

//! The settings of the box, checked: what the gateway runs on.
//!
//! Plain values with their defaults; each key of `portreeve.toml` is the field of the same name
//! in the struct named like its section, and what is said there is its documentation.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::name::{AgentName, Host};
use crate::tls::Trust;

/// Everything of `portreeve.toml` but `mode` and `[[agent]]`, which belong to the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `rules`: the folder of the rule files, by default `rules` beside the file. `None` when
    /// there is no such folder or no configuration file: then nothing is allowed.
    pub rules: Option<PathBuf>,
    /// `state_dir`: for the CA, the audit log and what else must outlive a restart. By default
    /// `$STATE_DIRECTORY`, else `/var/lib/portreeve` where it can be written, else
    /// `$XDG_STATE_HOME/portreeve`, else `~/.local/state/portreeve`.
    pub state_dir: PathBuf,
    /// `[listen]`
    pub listen: Listen,
    /// `[redirect]`
    pub redirect: Redirect,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[dns]`
    pub dns: Dns,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[audit]`
    pub audit: Audit,
    /// `[ca]`
    pub ca: Ca,
}

/// Where the gateway listens. Port 0 lets the kernel choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Redirected connections, TLS or HTTP/1. Default `[::]:8443`.
    pub transparent: SocketAddr,
    /// Redirected DNS, over UDP and TCP; `"off"` for none. Default `[::]:8053`.
    pub dns: Option<SocketAddr>,
    /// `/metrics`, `/healthz`, `/readyz`; `"off"` for none. Default `127.0.0.1:9464`.
    pub admin: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            transparent: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8443),
            dns: Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8053)),
            admin: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9464)),
        }
    }
}

/// What the packet filter sends to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Interfaces on which agents are. Default none.
    pub interfaces: Vec<String>,
    /// TCP ports that are redirected; a rule for another port never sees a connection.
    /// Default 80 and 443. DNS has its own redirect.
    pub ports: Vec<u16>,
    /// Users of this host, by name or number, whose processes are agents. Default none; for
    /// the topology `uid`.
    pub users: Vec<String>,
    /// TCP ports on loopback that these users may reach all the same. Default none.
    pub local_ports: Vec<u16>,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            ports: vec![80, 443],
            users: Vec::new(),
            local_ports: Vec::new(),
        }
    }
}

/// The way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Whose certificates are believed: `"system"`, the default, or a list of PEM files.
    pub trust: Trust,
    /// PEM files of revocation lists (RFC 5280 §5). What one revokes is refused, and so is all
    /// that an issuer signs whose list has expired; issuers without a list are not affected.
    /// Default none.
    pub crl: Vec<PathBuf>,
    /// Exceptions from the forbidden networks, as networks or addresses. Loopback, metadata
    /// services and the gateway's own addresses are opened by their exact address only; a
    /// network around them does not open them. Default none.
    pub allow_networks: Vec<IpNet>,
    /// Fixed answers, before any resolver; checked against the forbidden networks all the same.
    pub resolve: BTreeMap<Host, Vec<IpAddr>>,
    /// Resolvers to ask, as `address` or `address:port`. Default: those of the system.
    pub nameservers: Vec<SocketAddr>,
    /// Public addresses of this box that none of its interfaces has, such as the one of a
    /// NAT in front. They are forbidden like its own. Default none.
    pub own_addresses: Vec<IpAddr>,
}

/// Answers to agents' DNS questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The IPv4 address of `placeholder`, for names that are not resolved for agents: it need
    /// not be reachable, only routed to the gateway. Default `198.18.0.1`, of the range for
    /// benchmarks (RFC 2544). Without one, such names have no A record.
    pub placeholder_v4: Option<Ipv4Addr>,
    /// The IPv6 address of `placeholder`. Default `100::1`, of the discard prefix (RFC 6666).
    pub placeholder_v6: Option<Ipv6Addr>,
    /// `denied`: what a name that no rule allows is answered with.
    pub denied: DeniedNames,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            placeholder_v4: Some(Ipv4Addr::new(198, 18, 0, 1)),
            placeholder_v6: Some(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)),
            denied: DeniedNames::Placeholder,
        }
    }
}

/// What agents are told about names that no rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedNames {
    /// The placeholder, so that the request arrives and is answered with its refusal.
    Placeholder,
    /// REFUSED (RFC 1035 §4.1.1), without any explanation.
    Refused,
    /// NXDOMAIN, as if there were no such name: clients give up at once and ask nobody else.
    NotFound,
}

/// How much of anything there may be; reaching one refuses that agent's work only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Agents' connections at a time. Default 20000.
    pub connections: usize,
    /// Connections of one agent at a time. Default 2000, or `connections` if that is less.
    pub connections_per_agent: usize,
    /// Requests of one agent that run at a time, on all its connections. Default 4096.
    pub requests_per_agent: usize,
    /// Request bodies of a declared length up to this are held and judged whole before
    /// anything is sent. Default 256KiB.
    pub hold_bytes: usize,
    /// Bytes of bodies that are held at a time, for all agents. Default 256MiB.
    pub held_bytes: usize,
    /// Bytes of bodies that are held at a time for one agent. Default 64MiB, or `held_bytes`
    /// if that is less.
    pub held_bytes_per_agent: usize,
    /// Bytes of a ClientHello. Default 64KiB.
    pub hello_bytes: usize,
    /// Bytes of a request or response head. Default 64KiB.
    pub head_bytes: usize,
    /// Fields of a head. Default 128.
    pub head_fields: usize,
    /// Bytes of a request target. Default 16KiB, or `head_bytes` if that is less.
    pub uri_bytes: usize,
    /// Bytes of a request body. `None` for `"unlimited"`, the default.
    pub body_bytes: Option<u64>,
    /// Bytes of a WebSocket message. `None` for `"unlimited"`, the default.
    pub message_bytes: Option<u64>,
    /// Bytes of a spliced connection, both ways. `None` for `"unlimited"`, the default.
    pub splice_bytes: Option<u64>,
    /// Bytes that a compressed response may decode to where the gateway looks into it for
    /// echoes of credentials; longer ones are cut. Default 1GiB.
    pub decoded_bytes: usize,
    /// What a compressed request may decode to where it is scanned.
    pub decoded_request_bytes: usize,
    /// Streams of one HTTP/2 connection at a time. Default 100.
    pub streams: u32,
    /// HTTP/2 control frames a peer may send at a time beyond those its messages call for; a
    /// tenth as many more each second. Default 10000.
    pub control_frames: u32,
    /// Connections to servers at a time. Default 10000.
    pub upstream_connections: usize,
    /// Connections to servers of one agent at a time. Default 1000, or
    /// `upstream_connections` if that is less.
    pub upstream_connections_per_agent: usize,
    /// Idle connections to servers that are kept for reuse. Default 1024.
    pub upstream_idle: usize,
    /// Of these, to the same server for the same agent and credential. Default 128.
    pub upstream_idle_per_key: usize,
    /// Leaves in the cache. Default 10000.
    pub leaves: usize,
    /// Leaves for refused names in their own cache. Default 1000.
    pub refused_leaves: usize,
    /// Leaves for refused names minted for one agent in a second; ten times as many may come
    /// at once. Default 10.
    pub refused_leaves_per_second: u32,
    /// Connections and refusals in a second that sources outside all agents are answered, all
    /// of them together. Default 50.
    pub refusals_per_second: u32,
    /// 1xx responses before the final one (RFC 9110 §15.2). Default 16.
    pub interim_responses: usize,
    /// Names whose addresses are remembered. Default 10000.
    pub resolved_names: usize,
    /// Names looked up for one agent in a second that are not remembered; ten times as many
    /// may come at once. Default 50.
    pub lookups_per_second: u32,
    /// Bits that a name may say which is looked up and which no rule writes out: the length of
    /// each label times the entropy of its characters. Default 256.
    pub lookup_name_bits: u32,
    /// Connections of one agent that are refused as they come, recorded in a second; further
    /// ones are counted only. Default 10.
    pub refused_connection_records_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_agent: 2_000,
            requests_per_agent: 4_096,
            hold_bytes: 256 * 1024,
            held_bytes: 256 * 1024 * 1024,
            held_bytes_per_agent: 64 * 1024 * 1024,
            hello_bytes: 64 * 1024,
            head_bytes: 64 * 1024,
            head_fields: 128,
            uri_bytes: 16 * 1024,
            body_bytes: None,
            message_bytes: None,
            splice_bytes: None,
            decoded_bytes: 1 << 30,
            decoded_request_bytes: 64 << 20,
            streams: 100,
            control_frames: 10_000,
            upstream_connections: 10_000,
            upstream_connections_per_agent: 1_000,
            upstream_idle: 1_024,
            upstream_idle_per_key: 128,
            leaves: 10_000,
            refused_leaves: 1_000,
            refused_leaves_per_second: 10,
            refusals_per_second: 50,
            interim_responses: 16,
            resolved_names: 10_000,
            lookups_per_second: 50,
            lookup_name_bits: 256,
            refused_connection_records_per_second: 10,
        }
    }
}

/// How long anything may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to a whole ClientHello or the first bytes of HTTP/1. Default 10s.
    pub hello: Duration,
    /// For the TLS handshake with the agent. Default 10s.
    pub handshake: Duration,
    /// For a request head, from its first byte. Default 30s.
    pub head: Duration,
    /// For another request of the agent to end, where as many run as may. Default 250ms.
    pub request_share: Duration,
    /// Between bytes of a request body. Default 60s.
    pub body: Duration,
    /// For a whole body that is held. Default 120s.
    pub hold: Duration,
    /// Between requests of a connection. Default 300s.
    pub idle: Duration,
    /// For the addresses of a name. Default 5s.
    pub resolve: Duration,
    /// For TCP and TLS with a server, each. Default 10s.
    pub connect: Duration,
    /// From the whole request to the head of the response: models think long. Default 600s.
    pub first_byte: Duration,
    /// Between bytes of a response body. Default 600s.
    pub response: Duration,
    /// For a peer to take bytes that wait to be written. Default 60s.
    pub write: Duration,
    /// For a server to answer `Expect: 100-continue`; then the agent is told to go on. Default 1s.
    pub expect: Duration,
    /// Without a byte either way, on a WebSocket or a spliced connection. Default 600s.
    pub tunnel: Duration,
    /// The whole life of a WebSocket or a spliced connection. Default 24h.
    pub tunnel_life: Duration,
    /// From one side's close frame of a WebSocket to the other's; from an agent's end of its
    /// own direction to the head of its answer. Default 10s.
    pub close: Duration,
    /// How long an idle connection to a server is kept. Default 60s.
    pub upstream_idle: Duration,
    /// How long a connection to a server takes new requests. Default 10m.
    pub upstream_age: Duration,
    /// For running requests when the gateway stops. Default 30s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hello: seconds(10),
            handshake: seconds(10),
            head: seconds(30),
            request_share: Duration::from_millis(250),
            body: seconds(60),
            hold: seconds(120),
            idle: seconds(300),
            resolve: seconds(5),
            connect: seconds(10),
            first_byte: seconds(600),
            response: seconds(600),
            write: seconds(60),
            expect: seconds(1),
            tunnel: seconds(600),
            tunnel_life: seconds(86_400),
            close: seconds(10),
            upstream_idle: seconds(60),
            upstream_age: seconds(600),
            drain: seconds(30),
        }
    }
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The log; a relative path is under `state_dir`. Default `audit.jsonl`.
    pub file: PathBuf,
    /// Records that may wait to be written. Every running request holds a place, and none
    /// starts without one. Default 32768.
    pub queue: usize,
    /// What happens to requests while the log cannot be written.
    pub when_unwritable: WhenUnwritable,
}

/// Requests while the audit log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnwritable {
    /// `"deny"`, the default: 503.
    Deny,
    /// `"continue"`: they go on, and records are lost and counted.
    Continue,
}

/// The certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ca {
    /// Made on the first start in this folder, `ca` under `state_dir`. The default.
    Made {
        /// Where.
        folder: PathBuf,
    },
    /// The operator's own: `certificate` and `key`, and a `chain` of intermediates if any.
    Own {
        /// PEM file of the certificate that signs leaves.
        certificate: PathBuf,
        /// PEM file of its key.
        key: PathBuf,
        /// PEM file of the certificates between it and the root.
        chain: Option<PathBuf>,
    },
}

/// `[[agent]]`: a client identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Unique, and none of the built-in names.
    pub name: AgentName,
    /// Its networks; no two agents have the same, the longest prefix wins.
    pub sources: Vec<IpNet>,
    /// The only interface its sources may come from, for the packet filter.
    pub interface: Option<String>,
}

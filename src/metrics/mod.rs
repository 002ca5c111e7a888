//! All metric families in one struct, in a registry of their own.
//!
//! No label value comes from an agent: methods and statuses are folded into fixed sets,
//! agents, rules and credentials are the operator's names, and a family that has
//! [`SERIES`] series sends further names to [`OTHER`]. Requests by agent and requests by
//! rule are two families, never their product.

mod connections;
mod family;
mod requests;
mod state;
mod table;
mod upstream;

use std::sync::Arc;

use prometheus::{Registry, TextEncoder};

pub use self::connections::{
    ActiveConnection, Connections, Handshake, IpFamily, LeafLookup, LeafNames, LeafNumbers, Leaves,
    Side, Tls,
};
pub use self::family::{Label, OTHER, SERIES};
pub use self::requests::{
    AgentMetrics, Counted, Direction, KnownMethod, Requests, RuleMetrics, StatusClass, TrustSign,
};
pub use self::state::{AdminRefusal, Audit, AuditNumbers, Reload, State};
pub use self::table::{Doc, FAMILIES, Kind};
pub use self::upstream::{
    CredentialState, Credentials, Dlp, DnsVerdict, Lookup, Names, OpenUpstream, Protocol, Refresh,
    Upstream,
};
use crate::name::{AgentName, RuleName};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every family of the gateway, by area.
pub struct Metrics {
    /// Connections from agents.
    pub connections: Connections,
    /// Handshakes on both legs.
    pub tls: Tls,
    /// Leaves and the CA.
    pub leaves: Leaves,
    /// Requests.
    pub requests: Requests,
    /// Connections to servers.
    pub upstream: Upstream,
    /// Credentials.
    pub credentials: Credentials,
    /// Detectors.
    pub dlp: Dlp,
    /// DNS.
    pub names: Names,
    /// The audit log.
    pub audit: Audit,
    /// Policy, nft table, limits, defects.
    pub state: State,
    registry: Registry,
}

impl Metrics {
    /// All families; those with fixed labels start at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let builder = family::Builder(&registry);
        Self {
            connections: Connections::new(&builder),
            tls: Tls::new(&builder),
            leaves: Leaves::new(&builder),
            requests: Requests::new(&builder),
            upstream: Upstream::new(&builder),
            credentials: Credentials::new(&builder),
            dlp: Dlp::new(&builder),
            names: Names::new(&builder),
            audit: Audit::new(&builder),
            state: State::new(&builder),
            registry,
        }
    }

    /// The series of an agent.
    #[must_use]
    pub fn agent(&self, name: &AgentName) -> Arc<AgentMetrics> {
        self.requests.agent(name)
    }

    /// The series of a rule, or of requests that no rule matched.
    #[must_use]
    pub fn rule(&self, name: Option<&RuleName>) -> Arc<RuleMetrics> {
        self.requests.rule(name)
    }

    /// Everything in the text exposition format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            // What was written so far is whole lines; a scrape without the rest beats none.
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

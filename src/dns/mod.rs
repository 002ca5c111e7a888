//! The DNS responder: what agents get when they ask for names.
//!
//! It never forwards a query. An allowed name gets its addresses from the gateway's own
//! lookup, every other name a placeholder that leads back to the gateway, where the agent
//! reads why; so a name cannot carry data out. Only A and AAAA have answers: without HTTPS
//! and SVCB records there is no ECH and no HTTP/3 to begin with, and TXT, NULL and the like
//! would be a way in.

mod datagrams;
mod reply;
mod shares;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use reply::{Transport, reply};
pub use tcp::serve_tcp;
pub use udp::serve_udp;

use crate::name::Host;

/// Longer queries are malformed: a question of the longest name with EDNS and a cookie
/// takes a quarter of it.
const QUERY_MAX: usize = 1232;

/// Who decides what a name resolves to.
pub trait Answers: Send + Sync + 'static {
    /// The answer to `client` for `name`: its IPv6 addresses if `v6`, else its IPv4 ones.
    /// Addresses of the other family are left out of the reply.
    fn answer(&self, client: IpAddr, name: &Host, v6: bool) -> impl Future<Output = Answer> + Send;

    /// Called once for every query, or connection that got no further.
    fn count(&self, verdict: Verdict);
}

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, for so many seconds (capped by [`Settings::ttl`]); of none of the
    /// asked family, the name exists without any.
    Addresses(Vec<IpAddr>, u32),
    /// The placeholder.
    Placeholder,
    /// The rcode REFUSED.
    Refused,
    /// The rcode NXDOMAIN.
    NotFound,
}

/// What came of a query, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Answered with addresses.
    Addresses,
    /// Answered with a placeholder.
    Placeholder,
    /// The name has no records of this type (NODATA).
    NoData,
    /// NXDOMAIN: no name that a host can have, a canary, or denied where that is configured.
    NotFound,
    /// REFUSED, NOTIMP or BADVERS.
    Refused,
    /// FORMERR, or nothing for what is no query at all.
    Malformed,
    /// Not looked at: too many at once, in all or of this client.
    Dropped,
}

impl Verdict {
    /// Every verdict, for metrics that start at zero.
    pub const ALL: &'static [Self] = &[
        Self::Addresses,
        Self::Placeholder,
        Self::NoData,
        Self::NotFound,
        Self::Refused,
        Self::Malformed,
        Self::Dropped,
    ];

    /// The word in metrics: `snake_case`, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Placeholder => "placeholder",
            Self::NoData => "no_data",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Dropped => "dropped",
        }
    }
}

/// What the responder answers with, and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The A record of names that are not allowed: any address whose traffic is redirected;
    /// `None` where agents have no IPv4.
    pub placeholder_v4: Option<Ipv4Addr>,
    /// Their AAAA record; `None` where agents have no IPv6.
    pub placeholder_v6: Option<Ipv6Addr>,
    /// Seconds that a placeholder or negative answer holds, and the most for any other: a
    /// changed rule shows that soon.
    pub ttl: u32,
    /// UDP queries in work at once, in all and for one client (one IPv4 address or IPv6 /64).
    pub queries: usize,
    /// See `queries`.
    pub queries_per_client: usize,
    /// TCP connections, in all and of one client.
    pub connections: usize,
    /// See `connections`.
    pub connections_per_client: usize,
    /// Queries on one TCP connection, after which it closes.
    pub queries_per_connection: usize,
    /// How long a TCP connection may take to send a whole query or take a reply.
    pub idle: Duration,
}

impl Default for Settings {
    /// Placeholders from the documentation ranges: nothing real is ever there.
    fn default() -> Self {
        Self {
            placeholder_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            placeholder_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            ttl: 60,
            queries: 1024,
            queries_per_client: 128,
            connections: 256,
            connections_per_client: 32,
            queries_per_connection: 256,
            idle: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests;

//! The one audit entry of a connection or request.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Version};
use uuid::{NoContext, Timestamp, Uuid};

use super::kind::{Gap, Kind};
use crate::error::{Reason, Verdict};
use crate::name::{AgentName, Authority, ClientAddr, CredentialName, Host, Origin, RuleName};

/// One record. Fields are `None` where there is nothing to say; see [`super::KEYS`] for what
/// they mean. Holds no secret: credentials by name, headers not at all.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When the connection or request began; [`super::Slot::write`] fills in now.
    pub time: Option<SystemTime>,
    /// A `UUIDv7`; [`super::Slot::write`] fills one in.
    pub id: Option<Uuid>,
    /// What it is about.
    pub kind: Kind,
    /// From whom.
    pub agent: Option<AgentName>,
    /// What was decided.
    pub verdict: Option<Verdict>,
    /// Why it was refused or failed.
    pub reason: Option<Reason>,
    /// What the agent was told.
    pub sentence: Option<String>,
    /// The rule that decided.
    pub rule: Option<RuleName>,
    /// File and line of that rule.
    pub rule_place: Option<(Arc<str>, u32)>,
    /// The credential that was attached.
    pub credential: Option<CredentialName>,
    /// What was found in it that must not leave.
    pub detections: Vec<Detection>,
    /// Number of the rules in force.
    pub generation: Option<u64>,
    /// Where the connection came from.
    pub client: Option<ClientAddr>,
    /// Where it was going before it was redirected.
    pub origin: Option<Origin>,
    /// Whom the request is for.
    pub server: Option<Authority>,
    /// The server's address actually connected to.
    pub peer: Option<SocketAddr>,
    /// TLS version of the agent's leg, as `1.3`.
    pub tls_version: Option<&'static str>,
    /// The name in the agent's ClientHello.
    pub server_name: Option<Host>,
    /// HTTP version of the agent's leg.
    pub version: Option<Version>,
    /// HTTP version of the server's leg.
    pub upstream_version: Option<Version>,
    /// Whether the connection to the server had been used before.
    pub upstream_reused: Option<bool>,
    /// The method.
    pub method: Option<Method>,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// The path as sent, without the query.
    pub path: Option<String>,
    /// The query as sent; only where the rule asks for it.
    pub query: Option<String>,
    /// What the agent got.
    pub status: Option<StatusCode>,
    /// Bytes of the body passed on to the server.
    pub request_bytes: Option<u64>,
    /// Bytes of the body passed on to the agent.
    pub response_bytes: Option<u64>,
    /// Trailer fields that could not be passed on.
    pub trailers_lost: Option<u64>,
    /// Echoes of credentials that were kept from the agent.
    pub echo_redactions: Option<u64>,
    /// Messages of a WebSocket.
    pub messages: Option<Messages>,
    /// Requests on this connection.
    pub requests: Option<u64>,
    /// From the beginning to the end.
    pub duration: Option<Duration>,
    /// To a connection to the server.
    pub connect_duration: Option<Duration>,
    /// From the request sent to the head of the response.
    pub first_byte_duration: Option<Duration>,
    /// Version of the gateway, in start and stop records.
    pub gateway_version: Option<&'static str>,
    /// What is missing, in gap records.
    pub gap: Option<Gap>,
}

/// A new id of what began at this time: a `UUIDv7`, random but for its millisecond.
#[must_use]
pub fn id_at(time: SystemTime) -> Uuid {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos());
    Uuid::new_v7(time)
}

/// What passed over a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Whole ones, to the server.
    pub request: u64,
    /// Whole ones, to the agent.
    pub response: u64,
    /// The code of the close frame (RFC 6455 §7.4), the server's where both sent one.
    pub close: Option<u16>,
}

/// Something that a detector found: where, and what came of it, never the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The detector's name.
    pub detector: Box<str>,
    /// `block`, `alert`, `redacted`, `allow`.
    pub action: &'static str,
    /// As the agent reads it: "header `x-note`".
    pub place: String,
    /// Tells whether two findings are the same data, to who has both records; keyed, so that
    /// nobody can try values.
    pub fingerprint: String,
}

/// As in records: detector, action, fingerprint, place.
impl Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            detector,
            action,
            place,
            fingerprint,
        } = self;
        write!(f, "{detector} {action} {fingerprint} {place}")
    }
}

impl Record {
    /// An empty record of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// A gap record.
    #[must_use]
    pub(super) fn gap(gap: Gap) -> Self {
        Self {
            gap: Some(gap),
            ..Self::new(Kind::Gap)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_its_time_and_is_no_other() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_000_000_123);
        let (id, other) = (id_at(time), id_at(time));
        assert_ne!(id, other);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.as_u128() >> 80, 1_795_000_000_123);
        assert_eq!(
            id_at(UNIX_EPOCH - Duration::from_secs(1)).as_u128() >> 80,
            0
        );
    }
}

//! The one audit entry of a connection or request.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Version};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use uuid::Uuid;

use super::json::Line;
use super::kind::{Gap, Kind};
use crate::error::{Reason, Verdict};
use crate::name::{AgentName, Authority, ClientAddr, CredentialName, Host, Origin, RuleName};

/// Most bytes of a path or query in a record.
const LONG: usize = 2_048;
/// Most bytes of any other value.
const SHORT: usize = 256;

/// One record. Fields are `None` where there is nothing to say; see [`super::KEYS`] for what
/// they mean. Holds no secret: credentials by name, headers not at all.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When the connection or request began; [`super::Slot::write`] fills in now.
    pub time: Option<SystemTime>,
    /// A `UUIDv7`; [`super::Slot::write`] fills one in.
    pub id: Option<Uuid>,
    /// Given by the log when the record is queued.
    pub sequence: u64,
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
    /// `file:line` of that rule.
    pub rule_place: Option<Arc<str>>,
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

    /// Appends the record and a newline: one line, printable, valid JSON.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        let start = line.len();
        let mut fields = Fields(Line::new(line));
        match fields.all(self) {
            Ok(()) => fields.0.end(),
            Err(error) => {
                // Neither the vector nor our own types can fail; a hole in the sequence would
                // still show it.
                tracing::error!(%error, sequence = self.sequence, "record could not be serialised");
                line.truncate(start);
            }
        }
    }
}

type Wrote = serde_json::Result<()>;

struct Fields<'a>(Line<'a>);

impl Fields<'_> {
    /// The keys in the order of [`super::KEYS`].
    fn all(&mut self, record: &Record) -> Wrote {
        self.head(record)?;
        self.decision(record)?;
        self.network(record)?;
        self.exchange(record)?;
        self.numbers(record)?;
        self.gateway(record)
    }

    fn put(&mut self, key: &str, value: Option<impl Serialize>) -> Wrote {
        value.map_or(Ok(()), |value| self.0.put(key, &value))
    }

    fn text(&mut self, key: &str, text: Option<&str>) -> Wrote {
        self.capped(key, text, SHORT)
    }

    fn capped(&mut self, key: &str, text: Option<&str>, bytes: usize) -> Wrote {
        text.map_or(Ok(()), |text| self.0.text(key, text, bytes))
    }

    /// Addresses: these need neither cap nor allocation.
    fn shown<T: Display>(&mut self, key: &str, value: Option<T>) -> Wrote {
        self.put(key, value.map(Shown))
    }

    fn seconds(&mut self, key: &str, duration: Option<Duration>) -> Wrote {
        self.put(key, duration.map(seconds))
    }

    fn head(&mut self, record: &Record) -> Wrote {
        let time = record.time.map(Rfc3339::new);
        self.text("time", time.as_ref().map(Rfc3339::as_str))?;
        let mut id = Uuid::encode_buffer();
        let id = record
            .id
            .as_ref()
            .map(|uuid| &*uuid.hyphenated().encode_lower(&mut id));
        self.text("portreeve.record.id", id)?;
        self.put("portreeve.record.sequence", Some(record.sequence))?;
        self.text("portreeve.record.kind", Some(record.kind.label()))
    }

    fn decision(&mut self, record: &Record) -> Wrote {
        self.text(
            "portreeve.agent",
            record.agent.as_ref().map(AgentName::as_str),
        )?;
        self.text("portreeve.verdict", record.verdict.map(Verdict::label))?;
        self.text("portreeve.reason", record.reason.map(Reason::label))?;
        self.text("portreeve.sentence", record.sentence.as_deref())?;
        self.text("portreeve.rule", record.rule.as_ref().map(RuleName::as_str))?;
        self.text("portreeve.rule.place", record.rule_place.as_deref())?;
        self.text(
            "portreeve.credential",
            record.credential.as_ref().map(CredentialName::as_str),
        )?;
        let detections: Vec<String> = record.detections.iter().map(Detection::to_string).collect();
        let detections = (!detections.is_empty()).then(|| detections.join("; "));
        self.capped("portreeve.detections", detections.as_deref(), LONG)?;
        self.put("portreeve.policy.generation", record.generation)
    }

    fn network(&mut self, record: &Record) -> Wrote {
        self.shown("client.address", record.client.map(|client| client.0.ip()))?;
        self.put("client.port", record.client.map(|client| client.0.port()))?;
        self.shown("portreeve.origin", record.origin)?;
        let host = record.server.as_ref().map(|server| server.host.text());
        self.text("server.address", host.as_deref())?;
        self.put(
            "server.port",
            record.server.as_ref().map(|server| server.port),
        )?;
        self.shown("network.peer.address", record.peer.map(|peer| peer.ip()))?;
        self.put("network.peer.port", record.peer.map(|peer| peer.port()))?;
        self.text("tls.protocol.version", record.tls_version)?;
        let name = record.server_name.as_ref().map(Host::text);
        self.text("tls.client.server_name", name.as_deref())
    }

    fn exchange(&mut self, record: &Record) -> Wrote {
        self.text("network.protocol.version", record.version.map(version))?;
        let upstream = record.upstream_version.map(version);
        self.text("portreeve.upstream.protocol.version", upstream)?;
        self.put("portreeve.upstream.reused", record.upstream_reused)?;
        self.text(
            "http.request.method",
            record.method.as_ref().map(Method::as_str),
        )?;
        self.text("url.scheme", record.scheme)?;
        self.capped("url.path", record.path.as_deref(), LONG)?;
        self.capped("url.query", record.query.as_deref(), LONG)?;
        self.put(
            "http.response.status_code",
            record.status.map(|status| status.as_u16()),
        )
    }

    fn numbers(&mut self, record: &Record) -> Wrote {
        self.put("http.request.body.size", record.request_bytes)?;
        self.put("http.response.body.size", record.response_bytes)?;
        self.put("portreeve.trailers_lost", record.trailers_lost)?;
        self.put("portreeve.echo_redactions", record.echo_redactions)?;
        let messages = record.messages;
        self.put(
            "portreeve.websocket.request_messages",
            messages.map(|messages| messages.request),
        )?;
        self.put(
            "portreeve.websocket.response_messages",
            messages.map(|messages| messages.response),
        )?;
        self.put(
            "portreeve.websocket.close_code",
            messages.and_then(|messages| messages.close),
        )?;
        self.put("portreeve.requests", record.requests)?;
        self.seconds("portreeve.duration", record.duration)?;
        self.seconds("portreeve.connect.duration", record.connect_duration)?;
        self.seconds("portreeve.first_byte.duration", record.first_byte_duration)
    }

    fn gateway(&mut self, record: &Record) -> Wrote {
        self.text("portreeve.version", record.gateway_version)?;
        let Some(gap) = record.gap else {
            return Ok(());
        };
        self.text("portreeve.gap.cause", Some(gap.cause.label()))?;
        self.put("portreeve.gap.last_sequence", gap.last_sequence)?;
        self.put("portreeve.gap.torn", gap.torn)?;
        self.put("portreeve.gap.lost", gap.lost)
    }
}

/// Serialises by `Display` straight into the output.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Whole microseconds, so that no digits stand there that mean nothing.
#[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

/// As OpenTelemetry writes HTTP versions.
fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "unknown",
    }
}

/// `2026-01-02T03:04:05.678901Z`, always 27 bytes, so that lines sort by time.
struct Rfc3339([u8; 27]);

impl Rfc3339 {
    fn new(time: SystemTime) -> Self {
        // A clock before 1970 or after 9999 shows as 1970; the sequence still orders.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = Self(*b"0000-00-00T00:00:00.000000Z");
        text.digits(0..4, u32::try_from(time.year()).unwrap_or(0));
        text.digits(5..7, u8::from(time.month()).into());
        text.digits(8..10, time.day().into());
        text.digits(11..13, time.hour().into());
        text.digits(14..16, time.minute().into());
        text.digits(17..19, time.second().into());
        text.digits(20..26, since.subsec_micros());
        text
    }

    /// Writes the number right-aligned over the zeros that stand there.
    fn digits(&mut self, place: std::ops::Range<usize>, mut number: u32) {
        for digit in self.0.get_mut(place).into_iter().flatten().rev() {
            // Below ten, so it fits.
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

#[cfg(test)]
mod tests;

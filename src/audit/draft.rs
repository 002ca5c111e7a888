//! A record as it will stand in the file.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, Version};
use time::OffsetDateTime;
use uuid::Uuid;

use super::json::{Line, key};
use super::record::{Detection, Record};
use crate::error::{Reason, Verdict};
use crate::name::{AgentName, CredentialName, Host, RuleName};

/// Most bytes of a path or query in a record.
const LONG: usize = 2_048;
/// Most bytes of any other value.
const SHORT: usize = 256;

/// A line that lacks only its number, which is known no sooner than it is queued: whoever
/// records writes the line, and nothing but a copy is left to do under the queue's lock.
#[derive(Debug, Default)]
pub struct Draft {
    line: Vec<u8>,
    /// Where the number will stand.
    number: usize,
}

impl Draft {
    /// Takes the place of what was written before, in the same memory.
    pub fn write(&mut self, record: &Record) {
        self.line.clear();
        let mut line = Line::new(&mut self.line);
        head(&mut line, record);
        self.number = line.hole(key!("portreeve.record.sequence"));
        line.word(key!("portreeve.record.kind"), Some(record.kind.label()));
        decision(&mut line, record);
        network(&mut line, record);
        exchange(&mut line, record);
        numbers(&mut line, record);
        gateway(&mut line, record);
        line.end();
    }

    /// Appends the line with its number: printable, valid JSON, and a newline.
    pub fn append(&self, sequence: u64, lines: &mut Vec<u8>) {
        let (before, after) = self.line.split_at(self.number);
        lines.reserve(self.line.len() + 20);
        lines.extend_from_slice(before);
        lines.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
        lines.extend_from_slice(after);
    }
}

// The keys in the order of [`super::KEYS`].

fn head(line: &mut Line<'_>, record: &Record) {
    let time = record.time.map(Rfc3339::new);
    line.word(key!("time"), time.as_ref().map(Rfc3339::as_str));
    let mut buffer = Uuid::encode_buffer();
    let id = record.id.as_ref();
    let id = id.map(|uuid| &*uuid.hyphenated().encode_lower(&mut buffer));
    line.word(key!("portreeve.record.id"), id);
}

fn decision(line: &mut Line<'_>, record: &Record) {
    let agent = record.agent.as_ref().map(AgentName::as_str);
    line.text(key!("portreeve.agent"), agent, SHORT);
    line.word(
        key!("portreeve.verdict"),
        record.verdict.map(Verdict::label),
    );
    line.word(key!("portreeve.reason"), record.reason.map(Reason::label));
    line.text(
        key!("portreeve.sentence"),
        record.sentence.as_deref(),
        SHORT,
    );
    let rule = record.rule.as_ref().map(RuleName::as_str);
    line.text(key!("portreeve.rule"), rule, SHORT);
    let place = record.rule_place.as_ref();
    let place = place.map(|(file, line)| (&**file, *line));
    line.place(key!("portreeve.rule.place"), place, SHORT);
    let credential = record.credential.as_ref().map(CredentialName::as_str);
    line.text(key!("portreeve.credential"), credential, SHORT);
    if !record.detections.is_empty() {
        let detections: Vec<String> = record.detections.iter().map(Detection::to_string).collect();
        line.text(
            key!("portreeve.detections"),
            Some(&detections.join("; ")),
            LONG,
        );
    }
    line.number(key!("portreeve.policy.generation"), record.generation);
}

fn network(line: &mut Line<'_>, record: &Record) {
    let client = record.client.map(|client| client.0);
    line.address(key!("client.address"), client.as_ref().map(SocketAddr::ip));
    line.number(key!("client.port"), client.as_ref().map(SocketAddr::port));
    line.endpoint(
        key!("portreeve.origin"),
        record.origin.map(|origin| origin.0),
    );
    let server = record.server.as_ref();
    let host = server.map(|server| server.host.text());
    line.text(key!("server.address"), host.as_deref(), SHORT);
    line.number(key!("server.port"), server.map(|server| server.port));
    let peer = record.peer.as_ref();
    line.address(key!("network.peer.address"), peer.map(SocketAddr::ip));
    line.number(key!("network.peer.port"), peer.map(SocketAddr::port));
    line.word(key!("tls.protocol.version"), record.tls_version);
    let name = record.server_name.as_ref().map(Host::text);
    line.text(key!("tls.client.server_name"), name.as_deref(), SHORT);
}

fn exchange(line: &mut Line<'_>, record: &Record) {
    line.word(
        key!("network.protocol.version"),
        record.version.map(version),
    );
    let upstream = record.upstream_version.map(version);
    line.word(key!("portreeve.upstream.protocol.version"), upstream);
    line.truth(key!("portreeve.upstream.reused"), record.upstream_reused);
    let method = record.method.as_ref().map(Method::as_str);
    line.text(key!("http.request.method"), method, SHORT);
    line.word(key!("url.scheme"), record.scheme);
    line.text(key!("url.path"), record.path.as_deref(), LONG);
    line.text(key!("url.query"), record.query.as_deref(), LONG);
    let status = record.status.map(|status| status.as_u16());
    line.number(key!("http.response.status_code"), status);
}

fn numbers(line: &mut Line<'_>, record: &Record) {
    line.number(key!("http.request.body.size"), record.request_bytes);
    line.number(key!("http.response.body.size"), record.response_bytes);
    line.number(key!("portreeve.trailers_lost"), record.trailers_lost);
    line.number(key!("portreeve.echo_redactions"), record.echo_redactions);
    if let Some(messages) = record.messages {
        let (request, response) = (messages.request, messages.response);
        line.number(key!("portreeve.websocket.request_messages"), Some(request));
        line.number(
            key!("portreeve.websocket.response_messages"),
            Some(response),
        );
        line.number(key!("portreeve.websocket.close_code"), messages.close);
    }
    line.number(key!("portreeve.requests"), record.requests);
    line.seconds(key!("portreeve.duration"), record.duration);
    line.seconds(key!("portreeve.connect.duration"), record.connect_duration);
    line.seconds(
        key!("portreeve.first_byte.duration"),
        record.first_byte_duration,
    );
}

fn gateway(line: &mut Line<'_>, record: &Record) {
    line.word(key!("portreeve.version"), record.gateway_version);
    if let Some(gap) = record.gap {
        line.word(key!("portreeve.gap.cause"), Some(gap.cause.label()));
        line.number(key!("portreeve.gap.last_sequence"), gap.last_sequence);
        line.truth(key!("portreeve.gap.torn"), gap.torn);
        line.number(key!("portreeve.gap.lost"), gap.lost);
    }
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

//! The keys of a record, in the order in which they are written.
//!
//! Keys without the prefix are OpenTelemetry's. A key is left out where there is nothing to
//! say. New keys may appear in any release; a key's meaning does not change.
//!
//! | key | meaning |
//! |---|---|
//! | `time` | RFC 3339, UTC, microseconds: when the connection or request began; else when the record was made |
//! | `portreeve.record.id` | UUIDv7; refusal pages name it |
//! | `portreeve.record.sequence` | one more than the record before it, across restarts; a hole is a lost record |
//! | `portreeve.record.kind` | connection, request, interim, start, stop, gap, reload or rotate |
//! | `portreeve.agent` | the agent's configured name |
//! | `portreeve.verdict` | allow, deny, observe or splice |
//! | `portreeve.reason` | why it was refused or did not run to its end, as in the metrics |
//! | `portreeve.sentence` | what the agent was told, or what the gateway has to say |
//! | `portreeve.rule` | the rule that decided |
//! | `portreeve.rule.place` | where that rule is written, file:line |
//! | `portreeve.credential` | name of the credential that was attached; several with a comma and a space between |
//! | `portreeve.detections` | what was found that must not leave: detector, action, keyed fingerprint and place of each, between `; ` |
//! | `portreeve.policy.generation` | number of the rules in force |
//! | `client.address` | where the connection came from |
//! | `client.port` | its port |
//! | `portreeve.origin` | where the connection was going before it was redirected, address:port |
//! | `server.address` | the host that the request names |
//! | `server.port` | its port |
//! | `network.peer.address` | the server's address actually connected to |
//! | `network.peer.port` | its port |
//! | `tls.protocol.version` | of the agent's leg |
//! | `tls.client.server_name` | the name in the agent's ClientHello |
//! | `network.protocol.version` | HTTP version of the agent's leg |
//! | `portreeve.upstream.protocol.version` | HTTP version of the server's leg |
//! | `portreeve.upstream.reused` | whether the connection to the server had been used before |
//! | `http.request.method` | as sent |
//! | `url.scheme` | http or https |
//! | `url.path` | as sent, without the query |
//! | `url.query` | as sent, and only where the rule asks for it |
//! | `http.response.status_code` | what the agent got |
//! | `http.request.body.size` | bytes passed on to the server |
//! | `http.response.body.size` | bytes passed on to the agent |
//! | `portreeve.trailers_lost` | trailer fields that could not be passed on |
//! | `portreeve.echo_redactions` | echoes of credentials that were kept from the agent |
//! | `portreeve.websocket.request_messages` | whole WebSocket messages passed on to the server |
//! | `portreeve.websocket.response_messages` | whole WebSocket messages passed on to the agent |
//! | `portreeve.websocket.close_code` | code of the close frame (RFC 6455), 1005 for one without; absent where there was none |
//! | `portreeve.requests` | requests on this connection |
//! | `portreeve.duration` | seconds from the beginning to the end |
//! | `portreeve.connect.duration` | seconds to a connection to the server |
//! | `portreeve.first_byte.duration` | seconds from the request sent to the head of the response |
//! | `portreeve.version` | version of the gateway |
//! | `portreeve.gap.cause` | killed, dropped, unfinished or unsynced |
//! | `portreeve.gap.last_sequence` | last record found in the file after a kill |
//! | `portreeve.gap.torn` | whether the file's last line was cut off |
//! | `portreeve.gap.lost` | how many records are missing |

/// Every key that a record can have, and what it means; the same as the table above.
pub const KEYS: &[(&str, &str)] = &[
    (
        "time",
        "RFC 3339, UTC, microseconds: when the connection or request began; else when the record was made",
    ),
    ("portreeve.record.id", "UUIDv7; refusal pages name it"),
    (
        "portreeve.record.sequence",
        "one more than the record before it, across restarts; a hole is a lost record",
    ),
    (
        "portreeve.record.kind",
        "connection, request, interim, start, stop, gap, reload or rotate",
    ),
    ("portreeve.agent", "the agent's configured name"),
    ("portreeve.verdict", "allow, deny, observe or splice"),
    (
        "portreeve.reason",
        "why it was refused or did not run to its end, as in the metrics",
    ),
    (
        "portreeve.sentence",
        "what the agent was told, or what the gateway has to say",
    ),
    ("portreeve.rule", "the rule that decided"),
    (
        "portreeve.rule.place",
        "where that rule is written, file:line",
    ),
    (
        "portreeve.credential",
        "name of the credential that was attached; several with a comma and a space between",
    ),
    (
        "portreeve.detections",
        "what was found that must not leave: detector, action, keyed fingerprint and place of each, between `; `",
    ),
    (
        "portreeve.policy.generation",
        "number of the rules in force",
    ),
    ("client.address", "where the connection came from"),
    ("client.port", "its port"),
    (
        "portreeve.origin",
        "where the connection was going before it was redirected, address:port",
    ),
    ("server.address", "the host that the request names"),
    ("server.port", "its port"),
    (
        "network.peer.address",
        "the server's address actually connected to",
    ),
    ("network.peer.port", "its port"),
    ("tls.protocol.version", "of the agent's leg"),
    (
        "tls.client.server_name",
        "the name in the agent's ClientHello",
    ),
    (
        "network.protocol.version",
        "HTTP version of the agent's leg",
    ),
    (
        "portreeve.upstream.protocol.version",
        "HTTP version of the server's leg",
    ),
    (
        "portreeve.upstream.reused",
        "whether the connection to the server had been used before",
    ),
    ("http.request.method", "as sent"),
    ("url.scheme", "http or https"),
    ("url.path", "as sent, without the query"),
    ("url.query", "as sent, and only where the rule asks for it"),
    ("http.response.status_code", "what the agent got"),
    ("http.request.body.size", "bytes passed on to the server"),
    ("http.response.body.size", "bytes passed on to the agent"),
    (
        "portreeve.trailers_lost",
        "trailer fields that could not be passed on",
    ),
    (
        "portreeve.echo_redactions",
        "echoes of credentials that were kept from the agent",
    ),
    (
        "portreeve.websocket.request_messages",
        "whole WebSocket messages passed on to the server",
    ),
    (
        "portreeve.websocket.response_messages",
        "whole WebSocket messages passed on to the agent",
    ),
    (
        "portreeve.websocket.close_code",
        "code of the close frame (RFC 6455), 1005 for one without; absent where there was none",
    ),
    ("portreeve.requests", "requests on this connection"),
    (
        "portreeve.duration",
        "seconds from the beginning to the end",
    ),
    (
        "portreeve.connect.duration",
        "seconds to a connection to the server",
    ),
    (
        "portreeve.first_byte.duration",
        "seconds from the request sent to the head of the response",
    ),
    ("portreeve.version", "version of the gateway"),
    (
        "portreeve.gap.cause",
        "killed, dropped, unfinished or unsynced",
    ),
    (
        "portreeve.gap.last_sequence",
        "last record found in the file after a kill",
    ),
    (
        "portreeve.gap.torn",
        "whether the file's last line was cut off",
    ),
    ("portreeve.gap.lost", "how many records are missing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_key() {
        let documented: Vec<_> = include_str!("keys.rs")
            .lines()
            .filter(|line| line.starts_with("//! | `"))
            .map(str::to_owned)
            .collect();
        let rows: Vec<_> = KEYS
            .iter()
            .map(|(key, meaning)| format!("//! | `{key}` | {meaning} |"))
            .collect();
        assert_eq!(documented, rows);
    }
}

//! Why something was refused: one enum, and beside it the one mapping to status code,
//! metric label, TLS alert, Proxy-Status error and gRPC code.
//!
//! A new reason is added here and nowhere else; every `match` is exhaustive on purpose.

mod alert;
mod refusal;

use http::StatusCode;

pub use self::refusal::{Refusal, Verdict};

/// Why a connection or request was refused or failed.
///
/// The label is stable: it stands in metrics, records and alerts of operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // Of connections, before any request.
    /// The origin is one of the gateway's own addresses.
    Loop,
    /// The connection was not redirected here.
    NoOrigin,
    /// The gateway, or this agent, has as many connections as it may.
    ConnectionLimit,
    /// Neither TLS nor HTTP/1.
    UnknownProtocol,
    /// The first bytes, the ClientHello or the handshake took too long.
    HandshakeTimeout,
    /// A ClientHello over its limits, or none that parses.
    BadHello,
    /// An `encrypted_client_hello` where the name decides alone: on a spliced connection.
    EncryptedHello,
    /// No `server_name` in the ClientHello, and no rule allows the address literally.
    NoServerName,
    /// The TLS handshake with the agent failed.
    HandshakeFailed,
    /// No more leaves for refused names just now.
    MintLimit,

    // Of requests, before anything was dialled.
    /// The source belongs to no configured agent.
    UnknownAgent,
    /// Bytes that are no HTTP, or HTTP that two parsers could read differently.
    Malformed,
    /// A path or query outside the canonical form.
    BadPath,
    /// The request head has more fields or bytes than allowed.
    HeadTooLarge,
    /// The request target is longer than allowed.
    UriTooLong,
    /// The body is longer than allowed.
    BodyTooLarge,
    /// A WebSocket message is longer than allowed.
    MessageTooLarge,
    /// The request head or body did not arrive in time.
    RequestTimeout,
    /// The authority is not the name and port of the connection.
    Misdirected,
    /// A method that no gateway passes on (CONNECT, TRACE).
    BadMethod,
    /// An expectation other than `100-continue`.
    BadExpectation,
    /// A protocol upgrade that is not passed.
    UpgradeRefused,
    /// No rule allows it.
    NoRule,
    /// A rule denies it.
    DeniedByRule,
    /// The request carries its own authenticator where the rule attaches one.
    ForeignCredential,
    /// A stand-in of a credential where it does not belong.
    PlaceholderMisplaced,
    /// No signature can be made for the request.
    Unsignable,
    /// A detector found what must not leave.
    Detected,
    /// A honeytoken was about to leave: somebody took it.
    Honeytoken,
    /// Too many refusals for this agent just now.
    RateLimited,
    /// As many requests of this agent run as may.
    RequestLimit,
    /// As many bytes of bodies are held as may.
    HoldLimit,
    /// No slot for an audit record.
    AuditFull,
    /// The audit log cannot be written.
    AuditUnwritable,
    /// The gateway is going away.
    Draining,
    /// The secret of the rule's credential is not at hand.
    CredentialUnavailable,

    // Of requests, on the way to the server.
    /// As many upstream connections as allowed.
    UpstreamLimit,
    /// As many names are looked up for this agent as may just now.
    LookupLimit,
    /// The name says more than a name need, and no rule writes it out.
    NameEntropy,
    /// The name has no address.
    NameNotFound,
    /// The resolver failed or did not answer.
    ResolverFailed,
    /// Every address lies in a forbidden network.
    ForbiddenNetwork,
    /// Nobody accepts connections there.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// The server's certificate does not prove the name.
    UpstreamCertificate,
    /// The server is none that the credential may go to.
    UpstreamIdentity,
    /// The TLS handshake with the server failed otherwise.
    UpstreamTls,
    /// The server broke the rules of HTTP.
    UpstreamMalformed,
    /// The server closed or reset before its response was complete.
    UpstreamClosed,
    /// The server sent nothing in time.
    UpstreamTimeout,
    /// A spliced connection has carried as many bytes as one may.
    SpliceTooLarge,
    /// Nothing came either way, on a WebSocket or a spliced connection.
    IdleTimeout,
    /// A WebSocket or a spliced connection has lived as long as one may.
    TunnelExpired,
    /// The request needs HTTP/2 to the server, which speaks HTTP/1 only.
    NoHttp2,
    /// The server's response cannot be looked into for echoes of credentials.
    Undecodable,
    /// A compressed response echoes a credential, and was cut.
    EchoFound,

    // Of the record only: the exchange did not run to its end.
    /// The agent went away or reset the stream.
    AgentClosed,
    /// A defect of the gateway.
    Internal,
}

impl Reason {
    /// Every reason, for metrics that start at zero and for tests.
    pub const ALL: &'static [Self] = &[
        Self::Loop,
        Self::NoOrigin,
        Self::ConnectionLimit,
        Self::UnknownProtocol,
        Self::HandshakeTimeout,
        Self::BadHello,
        Self::EncryptedHello,
        Self::NoServerName,
        Self::HandshakeFailed,
        Self::MintLimit,
        Self::UnknownAgent,
        Self::Malformed,
        Self::BadPath,
        Self::HeadTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::MessageTooLarge,
        Self::RequestTimeout,
        Self::Misdirected,
        Self::BadMethod,
        Self::BadExpectation,
        Self::UpgradeRefused,
        Self::NoRule,
        Self::DeniedByRule,
        Self::ForeignCredential,
        Self::PlaceholderMisplaced,
        Self::Unsignable,
        Self::Detected,
        Self::Honeytoken,
        Self::RateLimited,
        Self::RequestLimit,
        Self::HoldLimit,
        Self::AuditFull,
        Self::AuditUnwritable,
        Self::Draining,
        Self::CredentialUnavailable,
        Self::UpstreamLimit,
        Self::LookupLimit,
        Self::NameEntropy,
        Self::NameNotFound,
        Self::ResolverFailed,
        Self::ForbiddenNetwork,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::UpstreamCertificate,
        Self::UpstreamIdentity,
        Self::UpstreamTls,
        Self::UpstreamMalformed,
        Self::UpstreamClosed,
        Self::UpstreamTimeout,
        Self::SpliceTooLarge,
        Self::IdleTimeout,
        Self::TunnelExpired,
        Self::NoHttp2,
        Self::Undecodable,
        Self::EchoFound,
        Self::AgentClosed,
        Self::Internal,
    ];

    /// The word in metrics and records: `snake_case`, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.facts().0
    }

    /// The response's status (RFC 9110 §15; 421: RFC 9110 §15.5.20).
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().1
    }

    /// The problem's title: the same for every occurrence (RFC 9457 §3.1.3).
    #[must_use]
    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// The `error` parameter of Proxy-Status (RFC 9209 §2.3).
    #[must_use]
    pub fn proxy_error(self) -> &'static str {
        self.facts().3
    }

    /// The gRPC status code: 7 `PERMISSION_DENIED`, 8 `RESOURCE_EXHAUSTED` or 14 `UNAVAILABLE`.
    #[must_use]
    pub fn grpc_status(self) -> u8 {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8,
            status if status.is_server_error() => 14,
            _ => 7,
        }
    }

    /// Whether trying again later, unchanged, may succeed; such answers carry `Retry-After`.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        )
    }

    /// Label, status, title and Proxy-Status error: one row per reason.
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn facts(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const DENIED: &str = "http_request_denied";
        const BAD: &str = "http_request_error";
        const OURS: &str = "proxy_internal_error";
        const LIMIT: &str = "connection_limit_reached";
        const CONFIG: &str = "proxy_configuration_error";
        match self {
            Self::Loop => ("loop", S::FORBIDDEN, "Loop", "proxy_loop_detected"),
            Self::NoOrigin => ("no_origin", S::FORBIDDEN, "Not redirected", DENIED),
            Self::ConnectionLimit => (
                "connection_limit",
                S::SERVICE_UNAVAILABLE,
                "Too many connections",
                LIMIT,
            ),
            Self::UnknownProtocol => (
                "unknown_protocol",
                S::BAD_REQUEST,
                "Neither TLS nor HTTP",
                DENIED,
            ),
            Self::HandshakeTimeout => (
                "handshake_timeout",
                S::REQUEST_TIMEOUT,
                "Handshake timeout",
                BAD,
            ),
            Self::BadHello => ("bad_hello", S::BAD_REQUEST, "Bad ClientHello", BAD),
            Self::EncryptedHello => (
                "encrypted_hello",
                S::FORBIDDEN,
                "Encrypted ClientHello",
                DENIED,
            ),
            Self::NoServerName => ("no_server_name", S::FORBIDDEN, "No server name", DENIED),
            Self::HandshakeFailed => (
                "handshake_failed",
                S::BAD_REQUEST,
                "TLS handshake failed",
                BAD,
            ),
            Self::MintLimit => (
                "mint_limit",
                S::TOO_MANY_REQUESTS,
                "Too many new names",
                LIMIT,
            ),
            Self::UnknownAgent => ("unknown_agent", S::FORBIDDEN, "Unknown agent", DENIED),
            Self::Malformed => ("malformed", S::BAD_REQUEST, "Malformed request", BAD),
            Self::BadPath => ("bad_path", S::BAD_REQUEST, "Ambiguous path", BAD),
            Self::HeadTooLarge => (
                "head_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request head too large",
                BAD,
            ),
            Self::UriTooLong => (
                "uri_too_long",
                S::URI_TOO_LONG,
                "Request target too long",
                BAD,
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                S::PAYLOAD_TOO_LARGE,
                "Request body too large",
                BAD,
            ),
            Self::MessageTooLarge => (
                "message_too_large",
                S::PAYLOAD_TOO_LARGE,
                "WebSocket message too large",
                BAD,
            ),
            Self::RequestTimeout => (
                "request_timeout",
                S::REQUEST_TIMEOUT,
                "Request too slow",
                BAD,
            ),
            Self::Misdirected => (
                "misdirected",
                S::MISDIRECTED_REQUEST,
                "Misdirected request",
                DENIED,
            ),
            Self::BadMethod => (
                "bad_method",
                S::METHOD_NOT_ALLOWED,
                "Method not passed",
                DENIED,
            ),
            Self::BadExpectation => (
                "bad_expectation",
                S::EXPECTATION_FAILED,
                "Unknown expectation",
                BAD,
            ),
            Self::UpgradeRefused => (
                "upgrade_refused",
                S::NOT_IMPLEMENTED,
                "Upgrade not passed",
                DENIED,
            ),
            Self::NoRule => ("no_rule", S::FORBIDDEN, "Not allowed", DENIED),
            Self::DeniedByRule => ("denied_by_rule", S::FORBIDDEN, "Denied by rule", DENIED),
            Self::ForeignCredential => (
                "foreign_credential",
                S::FORBIDDEN,
                "Foreign credential",
                DENIED,
            ),
            Self::PlaceholderMisplaced => (
                "placeholder_misplaced",
                S::FORBIDDEN,
                "Stand-in in the wrong place",
                DENIED,
            ),
            Self::Unsignable => (
                "unsignable",
                S::FORBIDDEN,
                "Request cannot be signed",
                DENIED,
            ),
            Self::Detected => ("detected", S::FORBIDDEN, "Data that must not leave", DENIED),
            Self::Honeytoken => ("honeytoken", S::FORBIDDEN, "Honeytoken", DENIED),
            Self::RateLimited => (
                "rate_limited",
                S::TOO_MANY_REQUESTS,
                "Too many refused requests",
                LIMIT,
            ),
            Self::RequestLimit => (
                "request_limit",
                S::TOO_MANY_REQUESTS,
                "Too many requests at once",
                LIMIT,
            ),
            Self::HoldLimit => (
                "hold_limit",
                S::SERVICE_UNAVAILABLE,
                "Too many bytes held",
                LIMIT,
            ),
            Self::AuditFull => (
                "audit_full",
                S::SERVICE_UNAVAILABLE,
                "Audit log behind",
                OURS,
            ),
            Self::AuditUnwritable => (
                "audit_unwritable",
                S::SERVICE_UNAVAILABLE,
                "Audit log not writable",
                OURS,
            ),
            Self::Draining => ("draining", S::SERVICE_UNAVAILABLE, "Going away", OURS),
            Self::CredentialUnavailable => (
                "credential_unavailable",
                S::SERVICE_UNAVAILABLE,
                "Credential not available",
                CONFIG,
            ),
            Self::UpstreamLimit => (
                "upstream_limit",
                S::SERVICE_UNAVAILABLE,
                "Too many upstream connections",
                LIMIT,
            ),
            Self::LookupLimit => (
                "lookup_limit",
                S::TOO_MANY_REQUESTS,
                "Too many names looked up",
                LIMIT,
            ),
            Self::NameEntropy => ("name_entropy", S::FORBIDDEN, "Name looks like data", DENIED),
            Self::NameNotFound => (
                "name_not_found",
                S::BAD_GATEWAY,
                "Name not found",
                "dns_error",
            ),
            Self::ResolverFailed => (
                "resolver_failed",
                S::BAD_GATEWAY,
                "Resolver failed",
                "dns_error",
            ),
            Self::ForbiddenNetwork => (
                "forbidden_network",
                S::FORBIDDEN,
                "Forbidden network",
                "destination_ip_prohibited",
            ),
            Self::ConnectFailed => (
                "connect_failed",
                S::BAD_GATEWAY,
                "Connection failed",
                "connection_refused",
            ),
            Self::ConnectTimeout => (
                "connect_timeout",
                S::GATEWAY_TIMEOUT,
                "Connection timeout",
                "connection_timeout",
            ),
            Self::UpstreamCertificate => (
                "upstream_certificate",
                S::BAD_GATEWAY,
                "Server certificate not valid",
                "tls_certificate_error",
            ),
            Self::UpstreamIdentity => (
                "upstream_identity",
                S::BAD_GATEWAY,
                "Server not the known one",
                "tls_certificate_error",
            ),
            Self::UpstreamTls => (
                "upstream_tls",
                S::BAD_GATEWAY,
                "TLS with the server failed",
                "tls_protocol_error",
            ),
            Self::UpstreamMalformed => (
                "upstream_malformed",
                S::BAD_GATEWAY,
                "Server response malformed",
                "http_protocol_error",
            ),
            Self::UpstreamClosed => (
                "upstream_closed",
                S::BAD_GATEWAY,
                "Server closed early",
                "connection_terminated",
            ),
            Self::UpstreamTimeout => (
                "upstream_timeout",
                S::GATEWAY_TIMEOUT,
                "Server timeout",
                "http_response_timeout",
            ),
            Self::SpliceTooLarge => (
                "splice_too_large",
                S::PAYLOAD_TOO_LARGE,
                "Spliced connection too large",
                LIMIT,
            ),
            Self::IdleTimeout => (
                "idle_timeout",
                S::GATEWAY_TIMEOUT,
                "Idle for too long",
                "connection_timeout",
            ),
            Self::TunnelExpired => (
                "tunnel_expired",
                S::GATEWAY_TIMEOUT,
                "Open for too long",
                LIMIT,
            ),
            Self::NoHttp2 => (
                "no_http2",
                S::BAD_GATEWAY,
                "Server without HTTP/2",
                "http_protocol_error",
            ),
            Self::Undecodable => (
                "undecodable",
                S::BAD_GATEWAY,
                "Response not decodable",
                "http_response_content_coding",
            ),
            Self::EchoFound => (
                "echo_found",
                S::BAD_GATEWAY,
                "Credential echoed",
                "http_response_incomplete",
            ),
            Self::AgentClosed => (
                "agent_closed",
                S::BAD_REQUEST,
                "Agent went away",
                "connection_terminated",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "Gateway defect",
                "proxy_internal_error",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_all_is_complete() {
        let mut labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
        // `Internal` is the last variant: its number plus one is how many there are.
        assert_eq!(Reason::Internal as usize + 1, Reason::ALL.len());
    }
}

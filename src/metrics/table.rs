//! The table of all families: their names, labels and help, in one place.
//!
//! A family cannot be built without its row here, so the help that Prometheus shows and
//! the table are the same text. Names follow the Prometheus conventions: base units, one
//! prefix, `_total` on counters.

/// One family as documented.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// Full name, with the prefix.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names; the values come from the operator or from fixed sets, never from an agent.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

macro_rules! table {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal)*) => {
        $(pub(super) const $id: Doc = Doc {
            name: concat!("portreeve_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every family, in the order of the table.
        pub const FAMILIES: &[Doc] = &[$($id),*];
    };
}

table! {
    // Connections from agents.
    CONNECTIONS_ACCEPTED: Counter "connections_accepted_total" ["family"]
        "Connections accepted from agents, by address family."
    CONNECTIONS_ACTIVE: Gauge "connections_active" []
        "Connections from agents that are open now."
    CONNECTIONS_REFUSED: Counter "connections_refused_total" ["reason"]
        "Connections closed before any request, by reason."

    SPLICED_BYTES: Counter "spliced_bytes_total" ["direction"]
        "Bytes of connections that passed undecrypted, by direction (request or response), counted at the end."

    // TLS and the CA.
    HANDSHAKES: Counter "tls_handshakes_total" ["side", "result"]
        "TLS handshakes, by side (agent or upstream) and result."
    HANDSHAKE_SECONDS: Histogram "tls_handshake_duration_seconds" ["side"]
        "Duration of successful TLS handshakes, by side."
    TRUST_FAILURES: Counter "client_trust_failures_total" ["agent", "sign"]
        "Handshakes that an agent broke off because it does not trust the CA, or pins a certificate, by the alert that says so (silent_close: none)."
    LEAF_MINTS: Counter "leaf_mints_total" []
        "Leaf certificates minted."
    LEAF_CACHE_ENTRIES: Gauge "leaf_cache_entries" ["names"]
        "Leaf certificates in the cache, for allowed and for refused names."
    LEAF_CACHE_REQUESTS: Counter "leaf_cache_requests_total" ["result"]
        "Look-ups in the leaf cache, by result."
    CA_EXPIRY: Gauge "ca_expiry_timestamp_seconds" []
        "When the certificate that signs leaves expires, in seconds since the epoch."

    // Requests.
    AGENT_REQUESTS: Counter "agent_requests_total" ["agent", "method", "code", "verdict"]
        "Requests, by agent, method, class of the status that the agent got, and verdict."
    RULE_REQUESTS: Counter "rule_requests_total" ["rule", "verdict"]
        "Requests, by the rule that decided (none: no rule matched) and verdict."
    REFUSALS: Counter "refusals_total" ["reason"]
        "Requests refused or failed, by reason."
    REQUEST_SECONDS: Histogram "request_duration_seconds" []
        "Time from the request's head to the end of its response."
    CONNECT_SECONDS: Histogram "connect_duration_seconds" []
        "Time to a connection to the server: look-up, TCP and TLS; requests on a reused one do not count."
    FIRST_BYTE_SECONDS: Histogram "first_byte_duration_seconds" []
        "Time from a request sent to the head of its response."
    BODY_BYTES: Counter "body_bytes_total" ["direction"]
        "Bytes of message bodies passed on, by direction (request or response)."
    REQUEST_WAITS: Counter "request_waits_total" []
        "Requests that waited for another of their agent to end; refused were those counted as limits.requests_per_agent."
    REQUESTS_WAITING: Gauge "requests_waiting" []
        "Requests that wait for another of their agent to end."
    WEBSOCKETS_OPEN: Gauge "websockets_open" []
        "WebSockets that are open now."
    WEBSOCKET_MESSAGES: Counter "websocket_messages_total" ["direction"]
        "Whole WebSocket messages passed on, by direction (request or response), counted at the end."
    TRAILERS_LOST: Counter "trailers_lost_total" []
        "Trailer fields that could not be passed on."
    LIMITS_REACHED: Counter "limit_reached_total" ["limit"]
        "How often a limit was reached, by its name in the configuration."

    // The way to servers.
    UPSTREAM_CREATED: Counter "upstream_connections_created_total" ["protocol"]
        "Connections to servers that were made, by HTTP version."
    UPSTREAM_REUSED: Counter "upstream_connections_reused_total" ["protocol"]
        "Requests that went over a connection made for an earlier one, by HTTP version."
    UPSTREAM_OPEN: Gauge "upstream_connections_open" ["protocol"]
        "Connections to servers that are open now, by HTTP version."
    UPSTREAM_IDLE: Gauge "upstream_connections_idle" ["protocol"]
        "Connections to servers that wait in the pool, by HTTP version."
    CREDENTIALS_ATTACHED: Counter "credentials_attached_total" ["credential"]
        "Requests that a credential was attached to, by its name."
    CREDENTIAL_UNAVAILABLE: Gauge "credential_unavailable" ["credential"]
        "1 while the secret of a credential cannot be had, by its name."
    CREDENTIAL_STALE: Gauge "credential_stale" ["credential"]
        "1 while the source of a credential fails and its last value is used on, by its name."
    CREDENTIAL_OBTAINED: Gauge "credential_obtained_timestamp_seconds" ["credential"]
        "When the value of a credential was last fetched, in seconds since the epoch, by its name."
    CREDENTIAL_REFRESHES: Counter "credential_refreshes_total" ["credential", "result"]
        "Fetches of the secret of a credential that changes, by its name and result (fetched or failed)."
    ECHO_REDACTIONS: Counter "echo_redactions_total" ["credential"]
        "Echoes of a credential found in responses and kept from the agent, by its name."
    DLP_FINDINGS: Counter "dlp_findings_total" ["detector", "action"]
        "What detectors found in requests, by detector and action (block, alert, redacted or allow)."
    DLP_HONEYTOKENS: Counter "dlp_honeytokens_total" ["detector"]
        "Honeytokens that were about to leave, each an alarm, by detector."
    DLP_SCANNED: Counter "dlp_scanned_bytes_total" []
        "Bytes of requests that were scanned by detectors."
    DNS_QUERIES: Counter "dns_queries_total" ["verdict"]
        "DNS queries of agents, by what was answered."
    RESOLVER_LOOKUPS: Counter "resolver_lookups_total" ["result"]
        "Look-ups of server names by the gateway, by result."
    RESOLVER_CACHE_ENTRIES: Gauge "resolver_cache_entries" []
        "Names whose addresses are remembered, about."

    // The audit log.
    AUDIT_RECORDS: Counter "audit_records_total" []
        "Audit records written to the file."
    AUDIT_QUEUED: Gauge "audit_queued_records" []
        "Audit records that wait to be written."
    AUDIT_RESERVED: Gauge "audit_reserved_records" []
        "Places in the audit queue held by connections and requests that still run."
    AUDIT_CAPACITY: Gauge "audit_capacity_records" []
        "Places in the audit queue."
    AUDIT_REFUSED: Counter "audit_refused_total" []
        "Requests refused because the audit queue was full or the log could not be written."
    AUDIT_LOST: Counter "audit_lost_total" []
        "Audit records that were never written."
    AUDIT_ABANDONED: Counter "audit_abandoned_total" []
        "Places in the audit queue given back without a record: each is a defect of the gateway."
    AUDIT_UNWRITABLE: Gauge "audit_unwritable" []
        "1 while the audit log cannot be written."

    // The gateway itself.
    POLICY_GENERATION: Gauge "policy_generation" []
        "Number of the rules and credentials in force; grows with each reload that worked."
    RELOADS: Counter "reloads_total" ["result"]
        "Reloads of rules and credentials, by result."
    LAST_RELOAD_SUCCESSFUL: Gauge "last_reload_successful" []
        "1 if the last reload worked, 0 if it was refused and the older rules are in force."
    LAST_RELOAD: Gauge "last_reload_success_timestamp_seconds" []
        "When rules and credentials were last loaded, in seconds since the epoch."
    ENFORCING: Gauge "enforcing" []
        "1 in enforce mode, 0 in observe mode."
    NFT_TABLE_CORRECT: Gauge "nft_table_correct" []
        "1 if the kernel's nft table was found as it should be and that is not long ago."
    NFT_VERIFIED: Gauge "nft_verified_timestamp_seconds" []
        "When the nft table was last compared, in seconds since the epoch."
    NFT_PACKETS: Counter "nft_packets_total" ["counter"]
        "Packets seen by the named counters of the nft table."
    PANICS: Counter "panics_total" []
        "Tasks that panicked: each is a defect of the gateway."
    ADMIN_REFUSED: Counter "admin_refused_total" ["reason"]
        "Connections to the metrics and health server that were closed unanswered, by reason."
    BUILD_INFO: Gauge "build_info" ["version"]
        "Always 1; the label says which version runs."
}

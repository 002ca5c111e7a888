//! The way to servers: connections, credentials, names.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntGauge};

use super::family::{Builder, ByLabel, Family, Label as _, OTHER, label_values};
use super::requests::Handles;
use super::table;
use crate::name::CredentialName;

label_values! {
    /// The HTTP version of a connection to a server, where it is known.
    Protocol {
        /// HTTP/1.1.
        Http1 = "1.1",
        /// HTTP/2.
        Http2 = "2",
        /// Unknown: it passes undecrypted.
        Spliced = "spliced",
    }
}

label_values! {
    /// What an agent's DNS query was answered with.
    DnsVerdict {
        /// The addresses of an allowed name.
        Addresses = "addresses",
        /// The placeholder address: no query left.
        Placeholder = "placeholder",
        /// No data of this type.
        NoData = "no_data",
        /// No name that a host can have, or a canary.
        NotFound = "not_found",
        /// A kind of query that is not answered.
        Refused = "refused",
        /// No query at all.
        Malformed = "malformed",
        /// Too many at once.
        Dropped = "dropped",
    }
}

label_values! {
    /// How the gateway's own look-up of a name ended.
    Lookup {
        /// With addresses.
        Found = "found",
        /// The name has none.
        NotFound = "not_found",
        /// The resolver failed or did not answer in time.
        Failed = "failed",
    }
}

label_values! {
    /// How fetching the secret of a credential ended.
    Refresh {
        /// With a value.
        Fetched = "fetched",
        /// Without.
        Failed = "failed",
    }
}

/// How a credential is now.
#[derive(Clone, Copy, Debug)]
pub struct CredentialState<'a> {
    /// Which.
    pub name: &'a CredentialName,
    /// It cannot be attached.
    pub unavailable: bool,
    /// It can, but its source fails.
    pub stale: bool,
    /// When its value was last fetched.
    pub obtained: Option<SystemTime>,
}

/// Connections to servers.
pub struct Upstream {
    created: ByLabel<Protocol>,
    reused: ByLabel<Protocol>,
    open: ByLabel<Protocol, IntGauge>,
    idle: ByLabel<Protocol, IntGauge>,
}

/// Counts one connection to a server as open until dropped.
pub struct OpenUpstream(Option<IntGauge>);

impl Drop for OpenUpstream {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}

impl Upstream {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            created: builder.by_label(&table::UPSTREAM_CREATED),
            reused: builder.by_label(&table::UPSTREAM_REUSED),
            open: builder.by_label(&table::UPSTREAM_OPEN),
            idle: builder.by_label(&table::UPSTREAM_IDLE),
        }
    }

    /// Counts a new connection, open until the guard is dropped.
    #[must_use]
    pub fn create(&self, protocol: Protocol) -> OpenUpstream {
        self.created.add(protocol, 1);
        let gauge = self.open.at(protocol).cloned();
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        OpenUpstream(gauge)
    }

    /// Counts a request over a connection made for an earlier one.
    pub fn reuse(&self, protocol: Protocol) {
        self.reused.add(protocol, 1);
    }

    /// How many connections wait in the pool now.
    pub fn refresh_idle(&self, protocol: Protocol, count: usize) {
        if let Some(gauge) = self.idle.at(protocol) {
            gauge.set(count.try_into().unwrap_or(i64::MAX));
        }
    }
}

/// Credentials by name.
pub struct Credentials {
    attached: Family<IntCounter>,
    /// Its series, by the names that were attached.
    counters: Handles<CredentialName, IntCounter>,
    unavailable: Family<IntGauge>,
    stale: Family<IntGauge>,
    obtained: Family<IntGauge>,
    refreshes: Family<IntCounter>,
    redacted: Family<IntCounter>,
}

impl Credentials {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        let attached = builder.named(&table::CREDENTIALS_ATTACHED, 1);
        Self {
            counters: Handles::new(attached.child(&[OTHER])),
            attached,
            unavailable: builder.named(&table::CREDENTIAL_UNAVAILABLE, 1),
            stale: builder.named(&table::CREDENTIAL_STALE, 1),
            obtained: builder.named(&table::CREDENTIAL_OBTAINED, 1),
            refreshes: builder.named(&table::CREDENTIAL_REFRESHES, 2),
            redacted: builder.named(&table::ECHO_REDACTIONS, 1),
        }
    }

    /// Counts a request that the credential was attached to.
    pub fn attach(&self, name: &CredentialName) {
        let make = || self.attached.child(&[name.as_str()]);
        self.counters.find(name, make).inc();
    }

    /// Counts an echo of the credential that was kept from an agent.
    pub fn redact(&self, name: &CredentialName) {
        self.redacted.child(&[name.as_str()]).inc();
    }

    /// Counts a fetch of the credential's secret.
    pub fn fetched(&self, name: &CredentialName, result: Refresh) {
        let labels = [name.as_str(), result.label()];
        self.refreshes.child(&labels).inc();
    }

    /// Says of every configured credential how it is. Those that are not among them any more
    /// disappear.
    pub fn refresh<'a>(&self, all: impl IntoIterator<Item = CredentialState<'a>>) {
        for family in [&self.unavailable, &self.stale, &self.obtained] {
            family.clear();
        }
        for state in all {
            let name = [state.name.as_str()];
            // Several may share one series when the family is full: one missing shows.
            for (family, is) in [
                (&self.unavailable, state.unavailable),
                (&self.stale, state.stale),
            ] {
                let gauge = family.child(&name);
                gauge.set(gauge.get().max(i64::from(is)));
            }
            let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).ok();
            if let Some(obtained) = state.obtained.and_then(since) {
                let seconds = obtained.as_secs().try_into().unwrap_or(i64::MAX);
                self.obtained.child(&name).set(seconds);
            }
            self.attached.child(&name);
            self.redacted.child(&name);
        }
    }
}

/// What detectors find.
pub struct Dlp {
    findings: Family<IntCounter>,
    honeytokens: Family<IntCounter>,
    scanned: IntCounter,
}

impl Dlp {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            findings: builder.named(&table::DLP_FINDINGS, 1),
            honeytokens: builder.named(&table::DLP_HONEYTOKENS, 1),
            scanned: builder.counter(&table::DLP_SCANNED),
        }
    }

    /// Counts a finding of a detector, by the action that follows.
    pub fn found(&self, detector: &str, action: &'static str) {
        self.findings.child(&[detector, action]).inc();
    }

    /// Counts a honeytoken that was about to leave, by its detector.
    pub fn honeytoken(&self, detector: &str) {
        self.honeytokens.child(&[detector]).inc();
    }

    /// Counts bytes that were looked at.
    pub fn scanned(&self, bytes: u64) {
        self.scanned.inc_by(bytes);
    }
}

/// DNS queries of agents, and look-ups of the gateway.
pub struct Names {
    queries: ByLabel<DnsVerdict>,
    lookups: ByLabel<Lookup>,
    remembered: IntGauge,
}

impl Names {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            queries: builder.by_label(&table::DNS_QUERIES),
            lookups: builder.by_label(&table::RESOLVER_LOOKUPS),
            remembered: builder.gauge(&table::RESOLVER_CACHE_ENTRIES),
        }
    }

    /// Counts a query of an agent.
    pub fn query(&self, verdict: DnsVerdict) {
        self.queries.add(verdict, 1);
    }

    /// Takes over how many names the resolver remembers.
    pub fn remembered(&self, names: u64) {
        self.remembered.set(names.try_into().unwrap_or(i64::MAX));
    }

    /// Counts a look-up of the gateway.
    pub fn lookup(&self, result: Lookup) {
        self.lookups.add(result, 1);
    }
}

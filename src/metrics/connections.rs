//! Connections from agents, TLS handshakes, leaves.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Builder, ByLabel, Label, label_values, mirror};
use super::requests::Direction;
use super::table;
use crate::error::Reason;

label_values! {
    /// The address family of a connection.
    IpFamily {
        /// IPv4, also where it arrives as a v4-mapped address.
        V4 = "ipv4",
        /// IPv6.
        V6 = "ipv6",
    }
}

label_values! {
    /// Which of the two legs.
    Side {
        /// Between agent and gateway.
        Agent = "agent",
        /// Between gateway and server.
        Upstream = "upstream",
    }
}

label_values! {
    /// How a handshake ended.
    Handshake {
        /// Complete.
        Complete = "complete",
        /// One side broke it off.
        Failed = "failed",
        /// It took too long.
        Timeout = "timeout",
    }
}

label_values! {
    /// What a look-up in the leaf caches found.
    LeafLookup {
        /// A leaf.
        Hit = "hit",
        /// Nothing: one was minted, another task's minting was awaited, or none was to be had.
        Miss = "miss",
    }
}

label_values! {
    /// Which of the two leaf caches.
    LeafNames {
        /// For names that a rule allows.
        Allowed = "allowed",
        /// For the refusal pages of all other names.
        Refused = "refused",
    }
}

/// The leaf caches' own numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeafNumbers {
    /// Leaves minted since the start.
    pub minted: u64,
    /// Look-ups since the start that found a leaf.
    pub hits: u64,
    /// Look-ups since the start that found none.
    pub misses: u64,
    /// Leaves kept now for names that a rule allows.
    pub allowed: u64,
    /// Leaves kept now for all other names.
    pub refused: u64,
}

/// Connections from agents.
pub struct Connections {
    accepted: ByLabel<IpFamily>,
    active: IntGauge,
    refused: ByLabel<Reason>,
    spliced: ByLabel<Direction>,
}

/// Counts one connection as active until dropped.
pub struct ActiveConnection(IntGauge);

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connections {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            accepted: builder.by_label(&table::CONNECTIONS_ACCEPTED),
            active: builder.gauge(&table::CONNECTIONS_ACTIVE),
            refused: builder.by_label(&table::CONNECTIONS_REFUSED),
            spliced: builder.by_label(&table::SPLICED_BYTES),
        }
    }

    /// Counts an accepted connection, active until the guard is dropped.
    #[must_use]
    pub fn accept(&self, family: IpFamily) -> ActiveConnection {
        self.accepted.add(family, 1);
        self.active.inc();
        ActiveConnection(self.active.clone())
    }

    /// Bytes of a connection passed undecrypted.
    pub fn spliced(&self, direction: Direction, count: u64) {
        self.spliced.add(direction, count);
    }

    /// Counts a connection closed before any request.
    pub fn refuse(&self, reason: Reason) {
        self.refused.add(reason, 1);
    }
}

/// Handshakes on both legs.
pub struct Tls {
    handshakes: Box<[ByLabel<Handshake>]>,
    durations: ByLabel<Side, Histogram>,
}

impl Tls {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            handshakes: builder.by_labels::<Side, Handshake>(&table::HANDSHAKES),
            durations: builder.by_label(&table::HANDSHAKE_SECONDS),
        }
    }

    /// Counts a handshake; the time counts only where it was completed.
    pub fn handshake(&self, side: Side, result: Handshake, took: Duration) {
        if let Some(row) = self.handshakes.get(side.index()) {
            row.add(result, 1);
        }
        if result == Handshake::Complete
            && let Some(histogram) = self.durations.at(side)
        {
            histogram.observe(took.as_secs_f64());
        }
    }
}

/// Leaves and the CA that signs them.
pub struct Leaves {
    mints: IntCounter,
    entries: ByLabel<LeafNames, IntGauge>,
    lookups: ByLabel<LeafLookup>,
    expiry: IntGauge,
}

impl Leaves {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            mints: builder.counter(&table::LEAF_MINTS),
            entries: builder.by_label(&table::LEAF_CACHE_ENTRIES),
            lookups: builder.by_label(&table::LEAF_CACHE_REQUESTS),
            expiry: builder.gauge(&table::CA_EXPIRY),
        }
    }

    /// Takes over what the caches count themselves.
    pub fn refresh(&self, numbers: &LeafNumbers) {
        mirror(&self.mints, numbers.minted);
        let lookups = [
            (LeafLookup::Hit, numbers.hits),
            (LeafLookup::Miss, numbers.misses),
        ];
        for (result, count) in lookups {
            if let Some(counter) = self.lookups.at(result) {
                mirror(counter, count);
            }
        }
        let entries = [
            (LeafNames::Allowed, numbers.allowed),
            (LeafNames::Refused, numbers.refused),
        ];
        for (names, count) in entries {
            if let Some(gauge) = self.entries.at(names) {
                gauge.set(count.try_into().unwrap_or(i64::MAX));
            }
        }
    }

    /// When the signing certificate expires, in seconds since the epoch.
    pub fn ca_expires(&self, unix_seconds: i64) {
        self.expiry.set(unix_seconds);
    }
}

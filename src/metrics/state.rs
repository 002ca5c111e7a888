//! The state of the gateway itself: audit log, policy, nft table, limits, defects.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntGauge};

use super::family::{Builder, ByLabel, Family, label_values, mirror};
use super::table;

label_values! {
    /// How a reload ended.
    Reload {
        /// The new rules are in force.
        Applied = "applied",
        /// The new rules had errors; the older ones are in force.
        Rejected = "rejected",
    }
}

label_values! {
    /// Why the metrics and health server closed a connection unanswered.
    AdminRefusal {
        /// The peer is an agent's source.
        Agent = "agent",
        /// It has as many connections as it may.
        Limit = "limit",
    }
}

/// The audit log's own numbers, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditNumbers {
    /// Records in the file since the start.
    pub written: u64,
    /// Records that wait.
    pub queued: u64,
    /// Places held by what still runs.
    pub reserved: u64,
    /// Places in all.
    pub capacity: u64,
    /// Reservations refused since the start.
    pub refused: u64,
    /// Records never written since the start.
    pub lost: u64,
    /// Places given back without a record since the start.
    pub abandoned: u64,
    /// Whether the last write failed.
    pub unwritable: bool,
}

/// The audit log.
pub struct Audit {
    written: IntCounter,
    queued: IntGauge,
    reserved: IntGauge,
    capacity: IntGauge,
    refused: IntCounter,
    lost: IntCounter,
    abandoned: IntCounter,
    unwritable: IntGauge,
}

impl Audit {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        Self {
            written: builder.counter(&table::AUDIT_RECORDS),
            queued: builder.gauge(&table::AUDIT_QUEUED),
            reserved: builder.gauge(&table::AUDIT_RESERVED),
            capacity: builder.gauge(&table::AUDIT_CAPACITY),
            refused: builder.counter(&table::AUDIT_REFUSED),
            lost: builder.counter(&table::AUDIT_LOST),
            abandoned: builder.counter(&table::AUDIT_ABANDONED),
            unwritable: builder.gauge(&table::AUDIT_UNWRITABLE),
        }
    }

    /// Takes over the log's numbers.
    pub fn refresh(&self, numbers: AuditNumbers) {
        mirror(&self.written, numbers.written);
        set(&self.queued, numbers.queued);
        set(&self.reserved, numbers.reserved);
        set(&self.capacity, numbers.capacity);
        mirror(&self.refused, numbers.refused);
        mirror(&self.lost, numbers.lost);
        mirror(&self.abandoned, numbers.abandoned);
        self.unwritable.set(numbers.unwritable.into());
    }
}

/// What is in force, and whether the kernel agrees.
pub struct State {
    generation: IntGauge,
    reloads: ByLabel<Reload>,
    last_reload_successful: IntGauge,
    last_reload: IntGauge,
    enforcing: IntGauge,
    nft_correct: IntGauge,
    nft_verified: IntGauge,
    nft_packets: Family<IntCounter>,
    limits: Family<IntCounter>,
    panics: IntCounter,
    admin_refused: ByLabel<AdminRefusal>,
}

impl State {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        let build = builder.named::<IntGauge>(&table::BUILD_INFO, 1);
        build.child(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            generation: builder.gauge(&table::POLICY_GENERATION),
            reloads: builder.by_label(&table::RELOADS),
            last_reload_successful: builder.gauge(&table::LAST_RELOAD_SUCCESSFUL),
            last_reload: builder.gauge(&table::LAST_RELOAD),
            enforcing: builder.gauge(&table::ENFORCING),
            nft_correct: builder.gauge(&table::NFT_TABLE_CORRECT),
            nft_verified: builder.gauge(&table::NFT_VERIFIED),
            nft_packets: builder.named(&table::NFT_PACKETS, 1),
            limits: builder.named(&table::LIMITS_REACHED, 1),
            panics: builder.counter(&table::PANICS),
            admin_refused: builder.by_label(&table::ADMIN_REFUSED),
        }
    }

    /// Rules came into force: at the start, or by a reload.
    pub fn policy(&self, generation: u64, enforcing: bool, at: SystemTime) {
        set(&self.generation, generation);
        self.enforcing.set(enforcing.into());
        self.last_reload_successful.set(1);
        set(&self.last_reload, unix_seconds(at));
    }

    /// Counts a reload; the numbers of one that was applied come by [`State::policy`].
    pub fn reload(&self, result: Reload) {
        self.reloads.add(result, 1);
        self.last_reload_successful
            .set((result == Reload::Applied).into());
    }

    /// What the last comparison of the nft table found; `correct` is false also when that
    /// is too long ago.
    pub fn nft(&self, correct: bool, verified: SystemTime) {
        self.nft_correct.set(correct.into());
        set(&self.nft_verified, unix_seconds(verified));
    }

    /// The packets that a named counter of the nft table has seen.
    pub fn nft_packets(&self, counter: &str, packets: u64) {
        mirror(&self.nft_packets.child(&[counter]), packets);
    }

    /// Counts a limit reached. `limit` is its key in the configuration.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limits.child(&[limit]).inc();
    }

    /// Shows these limits from the start, at zero.
    pub fn limits(&self, limits: &[&'static str]) {
        for limit in limits {
            self.limits.child(&[limit]);
        }
    }

    /// Counts a task that panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts a connection to the metrics and health server closed unanswered.
    pub fn admin_refused(&self, reason: AdminRefusal) {
        self.admin_refused.add(reason, 1);
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

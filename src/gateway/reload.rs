//! New rules and secrets while connections run: all of them at once, or none.

use std::sync::Arc;
use std::time::SystemTime;

use super::Gateway;
use super::assemble::active;
use crate::audit::{Kind, Record};
use crate::config::Loaded;
use crate::metrics::Reload;
use crate::policy::Mode;

impl Gateway {
    /// Puts new rules and secrets in force. Requests that run keep those they began with;
    /// the next request of any connection gets the new ones. Pooled connections are kept: a
    /// changed secret has a new generation, and so another key.
    pub fn apply(self: &Arc<Self>, loaded: &Loaded) {
        let replacing = self.replacing.lock();
        let old = self.active();
        let generation = old.policy.generation().saturating_add(1);
        let new = active(loaded, generation, &old.believed, Some(&old));
        let new = match new {
            Ok(new) => new,
            Err(error) => return self.reject(&error.to_string()),
        };
        self.active.store(new.into());
        drop(replacing);
        self.keep_credentials();
        self.metrics.state.reload(Reload::Applied);
        self.show_policy(SystemTime::now());
        tracing::info!(generation, "new rules are in force");
        self.record_reload(generation, None);
    }

    /// Notes that new rules had errors; the old ones stay in force.
    pub fn reject(&self, why: &str) {
        let generation = self.active().policy.generation();
        self.metrics.state.reload(Reload::Rejected);
        tracing::error!(
            generation,
            "the new configuration has errors; the old rules stay in force\n{why}"
        );
        self.record_reload(
            generation,
            Some("the new configuration has errors; the old rules stay in force"),
        );
    }

    pub(super) fn show_policy(&self, at: SystemTime) {
        let active = self.active();
        let enforcing = active.policy.mode() == Mode::Enforce;
        self.metrics
            .state
            .policy(active.policy.generation(), enforcing, at);
        self.show_credentials();
    }

    fn record_reload(&self, generation: u64, failure: Option<&str>) {
        // Without a slot the log itself is in trouble, which it says by its own metrics.
        if let Ok(slot) = self.audit.reserve() {
            slot.write(&mut Record {
                generation: Some(generation),
                sentence: failure.map(ToOwned::to_owned),
                ..Record::new(Kind::Reload)
            });
        }
    }
}

//! Secrets that change while connections run.

use std::sync::Arc;

use super::{Active, Gateway};
use crate::credential::{Cause, State, Store};
use crate::metrics::{CredentialState, Refresh};
use crate::name::CredentialName;
use crate::policy::rule::Rule;
use crate::sources::{Attempt, Publish};

impl Gateway {
    /// Has every secret that may change looked after, from now on and for as long as the
    /// gateway is there.
    pub(super) fn keep_credentials(self: &Arc<Self>) {
        let gateway = Arc::downgrade(self);
        let publish: Publish = Arc::new(move |attempt| {
            if let Some(gateway) = gateway.upgrade() {
                gateway.publish(attempt);
            }
        });
        let active = self.active();
        self.keeper.keep(active.credentials.specs(), &publish);
        self.report.write(&active.credentials);
    }

    /// Puts a fetched secret in force, for all requests that begin from now on.
    fn publish(&self, attempt: Attempt<'_>) {
        let spec = attempt.spec;
        let result = match &attempt.fetched {
            Ok(_) => Refresh::Fetched,
            Err(_) => Refresh::Failed,
        };
        self.metrics.credentials.fetched(&spec.name, result);
        let replacing = self.replacing.lock();
        let old = self.active();
        let cause = attempt.fetched.as_ref().err().map(Cause::in_full);
        let Some(credentials) = old.credentials.with(spec, attempt.fetched) else {
            return;
        };
        let was = state(&old.credentials, &spec.name);
        let is = state(&credentials, &spec.name);
        let active = if credentials.same_values(&old.credentials) {
            Active {
                policy: Arc::clone(&old.policy),
                credentials,
                believed: old.believed.clone(),
                echoes: Arc::clone(&old.echoes),
                detectors: Arc::clone(&old.detectors),
                origin: Arc::clone(&old.origin),
            }
        } else {
            tracing::info!(credential = %spec.name, "a new value is in force");
            Active::new(
                Arc::clone(&old.policy),
                credentials,
                old.believed.clone(),
                Arc::clone(&old.origin),
                Some(&old.echoes),
            )
        };
        self.active.store(Arc::new(active));
        self.report.write(&self.active().credentials);
        drop(replacing);
        tell(&spec.name, was, is, cause.as_deref());
    }

    /// Brings the state of every credential into the metrics.
    pub fn show_credentials(&self) {
        let active = self.active();
        let all = active.credentials.status().map(|status| CredentialState {
            name: &status.spec.name,
            unavailable: status.state == State::Absent,
            stale: status.state == State::Stale,
            obtained: status.obtained,
        });
        self.metrics.credentials.refresh(all);
    }

    /// What is in force once the credentials of this rule were fetched, where one has still to
    /// be waited for.
    pub(super) async fn fetched(
        &self,
        active: &Active,
        rule: Option<&Arc<Rule>>,
    ) -> Option<Arc<Active>> {
        let mut pending: Vec<&CredentialName> = rule?.credentials.iter().collect();
        pending.retain(|name| active.credentials.is_pending(name));
        if pending.is_empty() {
            return None;
        }
        for name in pending {
            self.keeper.attempted(name).await;
        }
        Some(self.active())
    }

    /// What is in force once there is another token than the one of this generation, which a
    /// server did not take.
    pub(super) async fn renewed(&self, name: &CredentialName, refused: u64) -> Option<Arc<Active>> {
        let other = |active: &Arc<Active>| active.credentials.generation(name) != Some(refused);
        let active = Some(self.active()).filter(other);
        if active.is_some() {
            return active;
        }
        self.keeper.renew(name).await;
        Some(self.active()).filter(other)
    }
}

fn state(credentials: &Store, name: &CredentialName) -> Option<State> {
    let mut all = credentials.status();
    all.find(|status| status.spec.name == *name)
        .map(|status| status.state)
}

/// Failures are told when they begin and when they begin to matter; the metrics count all.
fn tell(name: &CredentialName, was: Option<State>, is: Option<State>, cause: Option<&str>) {
    match (is, cause) {
        (Some(State::Stale), Some(cause)) if was != is => {
            tracing::error!(credential = %name, "credential `{name}`: {cause}; its last value is used on for now");
        }
        (Some(State::Absent), Some(cause)) => {
            tracing::error!(credential = %name, "credential `{name}`: {cause}; rules that attach it answer 503 until it is found");
        }
        (_, Some(cause)) => tracing::debug!(credential = %name, "credential `{name}`: {cause}"),
        (Some(State::Fresh), None) if was != is => {
            tracing::info!(credential = %name, "credential `{name}` is at hand");
        }
        (_, None) => {}
    }
}

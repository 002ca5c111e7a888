//! How often a source that belongs to no agent is answered, and how often refusals at the door
//! are recorded.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{Reason, Refusal};
use crate::name::AgentName;
use crate::policy::agents::is_unknown;

/// Connections and refusals of the agent `unknown`, all its sources together.
pub struct RefusalLimit(Option<DefaultDirectRateLimiter>);

impl RefusalLimit {
    /// So many a second; 0 means that unknown sources get no answer at all.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let quota = NonZeroU32::new(per_second).map(Quota::per_second);
        Self(quota.map(RateLimiter::direct))
    }

    /// Passes every configured agent, and `unknown` at the rate.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] beyond it.
    pub fn check(&self, agent: &AgentName) -> Result<(), Refusal> {
        let free = |limiter: &DefaultDirectRateLimiter| limiter.check().is_ok();
        if !is_unknown(agent) || self.0.as_ref().is_some_and(free) {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::RateLimited,
            "this source belongs to no configured agent and asks too often",
        ))
    }
}

/// How many records of connections refused as they come an agent may cause.
pub struct RecordLimit(DefaultKeyedRateLimiter<AgentName>);

impl RecordLimit {
    /// So many a second and agent.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::keyed(Quota::per_second(per_second)))
    }

    /// Whether one more may be written.
    pub fn check(&self, agent: &AgentName) -> bool {
        self.0.check_key(agent).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_agent_are_limited() {
        let limit = RecordLimit::new(1);
        let (a, b) = (AgentName::new("a"), AgentName::new("b"));
        assert!(limit.check(&a));
        assert!((0..100).any(|_| !limit.check(&a)));
        assert!(limit.check(&b));
    }

    #[test]
    fn only_unknown_is_limited() {
        let limit = RefusalLimit::new(1);
        let (known, unknown) = (AgentName::new("builder"), AgentName::new("unknown"));
        assert!(limit.check(&unknown).is_ok());
        assert!((0..100).any(|_| limit.check(&unknown).is_err()));
        assert!((0..100).all(|_| limit.check(&known).is_ok()));
        assert!(RefusalLimit::new(0).check(&unknown).is_err());
    }
}

//! How many connections may be open, in all and for each agent; the same for both legs.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::name::AgentName;

/// Counts open connections.
#[derive(Debug)]
pub struct ConnectionLimits {
    all: Arc<Semaphore>,
    most: usize,
    per_agent: usize,
    agents: Mutex<HashMap<AgentName, Arc<Semaphore>>>,
}

/// The right to one connection, held by it until it is closed.
#[derive(Debug)]
pub struct ConnectionPermit {
    _all: OwnedSemaphorePermit,
    _agent: OwnedSemaphorePermit,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// The one for all agents together.
    All,
    /// This agent's own.
    Agent,
}

impl ConnectionLimits {
    /// Limits in connections.
    #[must_use]
    pub fn new(all: usize, per_agent: usize) -> Self {
        let most = all.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(most)),
            most,
            per_agent: per_agent.min(Semaphore::MAX_PERMITS),
            agents: Mutex::default(),
        }
    }

    /// Takes one, or says which limit is in the way. Agents are configured names, so the
    /// table is bounded by the config.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn take(&self, agent: &AgentName) -> Result<ConnectionPermit, LimitReached> {
        let semaphore = self.of_agent(agent);
        let agent = semaphore
            .try_acquire_owned()
            .map_err(|_| LimitReached::Agent)?;
        let all = self
            .all
            .clone()
            .try_acquire_owned()
            .map_err(|_| LimitReached::All)?;
        Ok(ConnectionPermit {
            _all: all,
            _agent: agent,
        })
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.most.saturating_sub(self.all.available_permits())
    }

    fn of_agent(&self, agent: &AgentName) -> Arc<Semaphore> {
        let mut agents = self.agents.lock();
        if let Some(semaphore) = agents.get(agent) {
            return semaphore.clone();
        }
        let semaphore = Arc::new(Semaphore::new(self.per_agent));
        agents.insert(agent.clone(), semaphore.clone());
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_cannot_take_what_is_another_s() {
        let limits = ConnectionLimits::new(3, 2);
        let (a, b) = (AgentName::new("a"), AgentName::new("b"));
        let held = [limits.take(&a).unwrap(), limits.take(&a).unwrap()];
        assert_eq!(limits.take(&a).unwrap_err(), LimitReached::Agent);
        let _b = limits.take(&b).unwrap();
        assert_eq!(limits.take(&b).unwrap_err(), LimitReached::All);
        assert_eq!(limits.open(), 3);
        drop(held);
        assert_eq!(limits.open(), 1);
        limits.take(&a).unwrap();
    }
}

//! How much of something there may be at a time, in all and for each agent: connections on
//! both legs, running requests, held bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::name::{AgentName, ByName};

/// So many of one agent may wait in any case: few beside what one has of them costs.
const WAITING: usize = 1000;

/// What all agents share, and each agent's part of it.
#[derive(Debug)]
pub struct Shares {
    all: Arc<All>,
    per_agent: usize,
    agents: Mutex<ByName<AgentName, Arc<Agent>>>,
}

#[derive(Debug)]
struct All {
    used: AtomicUsize,
    most: usize,
}

impl All {
    fn take(&self, count: u32) -> Result<(), LimitReached> {
        let more = |used: usize| {
            let used = used.checked_add(count as usize)?;
            (used <= self.most).then_some(used)
        };
        let taken = self.used.fetch_update(Relaxed, Relaxed, more);
        taken.map(drop).map_err(|_| LimitReached::All)
    }

    fn give_back(&self, count: u32) {
        self.used.fetch_sub(count as usize, Relaxed);
    }
}

/// What one agent may have, of what all may.
#[derive(Debug)]
struct Agent {
    all: Arc<All>,
    free: Semaphore,
    /// Who waits for some of it.
    waiting: Semaphore,
}

/// A share in use, given back when dropped.
#[derive(Debug)]
pub struct Share {
    agent: Arc<Agent>,
    count: u32,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.agent.all.give_back(self.count);
        self.agent.free.add_permits(self.count as usize);
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// The one for all agents together.
    All,
    /// This agent's own.
    Agent,
}

impl Shares {
    /// Limits in whatever is counted.
    #[must_use]
    pub fn new(all: usize, per_agent: usize) -> Self {
        Self {
            all: Arc::new(All {
                used: AtomicUsize::new(0),
                most: all,
            }),
            per_agent: per_agent.min(Semaphore::MAX_PERMITS),
            agents: Mutex::default(),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// As [`Shares::take_many`].
    pub fn take(&self, agent: &AgentName) -> Result<Share, LimitReached> {
        self.take_many(agent, 1)
    }

    /// Takes `count`, or says which limit is in the way. Agents are configured names, so the
    /// table is bounded by the config.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn take_many(&self, agent: &AgentName, count: u32) -> Result<Share, LimitReached> {
        let agent = self.of_agent(agent);
        let free = agent.free.try_acquire_many(count);
        let free = free.map_err(|_| LimitReached::Agent)?;
        agent.all.take(count)?;
        // Given back by the share.
        free.forget();
        Ok(Share { agent, count })
    }

    /// As [`Shares::take`], but that so long a share of the agent's is waited for, in the order
    /// of asking: refusing costs nearly as much as serving, and who is refused asks again. No
    /// more wait than an agent has shares, or a thousand where that is more.
    /// `wait` is called where there is a wait; what it returns is kept meanwhile.
    ///
    /// # Errors
    /// As there.
    pub async fn take_within<W>(
        &self,
        agent: &AgentName,
        patience: Duration,
        wait: impl FnOnce() -> W,
    ) -> Result<Share, LimitReached> {
        match self.take(agent) {
            Err(LimitReached::Agent) => {}
            taken => return taken,
        }
        let agent = self.of_agent(agent);
        {
            let Ok(_place) = agent.waiting.try_acquire() else {
                return Err(LimitReached::Agent);
            };
            let _waits = wait();
            let Ok(Ok(free)) = timeout(patience, agent.free.acquire()).await else {
                return Err(LimitReached::Agent);
            };
            agent.all.take(1)?;
            // Given back by the share.
            free.forget();
        }
        Ok(Share { agent, count: 1 })
    }

    /// How much is in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.all.used.load(Relaxed)
    }

    fn of_agent(&self, name: &AgentName) -> Arc<Agent> {
        let mut agents = self.agents.lock();
        if let Some(agent) = agents.get(name) {
            return agent.clone();
        }
        let agent = Arc::new(Agent {
            all: self.all.clone(),
            free: Semaphore::new(self.per_agent),
            waiting: Semaphore::new(self.per_agent.max(WAITING)),
        });
        agents.insert(name.clone(), agent.clone());
        agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_cannot_take_what_is_another_s() {
        let limits = Shares::new(3, 2);
        let (a, b) = (AgentName::new("a"), AgentName::new("b"));
        let held = [limits.take(&a).unwrap(), limits.take(&a).unwrap()];
        assert_eq!(limits.take(&a).unwrap_err(), LimitReached::Agent);
        let _b = limits.take(&b).unwrap();
        assert_eq!(limits.take(&b).unwrap_err(), LimitReached::All);
        assert_eq!(limits.in_use(), 3);
        drop(held);
        assert_eq!(limits.in_use(), 1);
        limits.take(&a).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_waited_for_and_not_for_ever() {
        let limits = Shares::new(3, 1);
        let (a, b) = (AgentName::new("a"), AgentName::new("b"));
        let patience = Duration::from_millis(250);
        let held = limits.take(&a).unwrap();
        let waits = std::cell::Cell::new(0);
        let wait = || waits.set(waits.get() + 1);
        let refused = limits.take_within(&a, patience, wait).await;
        assert_eq!(refused.unwrap_err(), LimitReached::Agent);
        assert_eq!(waits.get(), 1);
        limits.take_within(&b, patience, wait).await.unwrap();
        assert_eq!(waits.get(), 1, "there was no need to");
        let many = (0..WAITING + 5).map(|_| limits.take_within(&a, patience, wait));
        let many = futures_util::future::join_all(many).await;
        assert!(many.iter().all(Result::is_err));
        assert_eq!(waits.get(), 1 + WAITING, "the others were refused at once");
        let later = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (taken, ()) = tokio::join!(limits.take_within(&a, patience, wait), later);
        let taken = taken.unwrap();
        assert_eq!(limits.take(&a).unwrap_err(), LimitReached::Agent);
        drop(taken);
        assert_eq!(limits.in_use(), 0);
    }
}

//! Idle and shared upstream connections by their [`Key`].
//!
//! An HTTP/1 connection is in the pool only between two requests; an HTTP/2 connection
//! stays in it and is shared. Everything taken out is checked again: age, whether the server
//! closed it or sent bytes nobody asked for, and the address against the policy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::{Http1, Http2, StreamGuard};
use super::key::{ByHash, Key};
use crate::name::{AgentName, ByName};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Keys that are remembered for one agent: agents choose names under wildcard rules.
    pub keys_per_agent: usize,
    /// Idle HTTP/1 connections in all.
    pub idle: usize,
    /// Idle HTTP/1 connections of one key.
    pub idle_per_key: usize,
    /// How long a connection may lie idle.
    pub idle_time: Duration,
    /// How old a connection may be when a request starts on it.
    pub max_age: Duration,
}

/// What the last connection of a key agreed on; guides whether to dial alone or in company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// No connection yet.
    Nothing,
    /// The server speaks HTTP/1 only.
    Http1,
    /// The server speaks HTTP/2.
    Http2,
}

/// All pooled connections.
pub struct Pool {
    settings: PoolSettings,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// Of each agent; of `None` are those that agents share.
    agents: ByName<Option<AgentName>, Agent>,
    idle: usize,
    /// When idle connections were last closed to make room.
    evicted: Option<Instant>,
}

/// What one agent has in the pool.
#[derive(Default)]
struct Agent {
    by_key: HashMap<Key, Shelf, ByHash>,
}

struct Shelf {
    idle: Vec<Http1>,
    shared: Vec<Arc<Http2>>,
    known: Known,
    /// Held while dialling where one HTTP/2 connection may serve all who wait.
    dialling: Arc<tokio::sync::Mutex<()>>,
    used: Instant,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            known: Known::Nothing,
            dialling: Arc::default(),
            used: Instant::now(),
        }
    }
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty()
    }

    fn is_busy(&self) -> bool {
        self.shared.iter().any(|connection| connection.is_busy())
    }

    /// Whether something could be closed without harm to a request.
    fn has_unused(&self) -> bool {
        !self.idle.is_empty() || self.shared.iter().any(|connection| !connection.is_busy())
    }
}

impl Agent {
    /// Those of the keys that `wanted` names which were used longest ago, `most` at the most.
    fn oldest(&self, most: usize, wanted: impl Fn(&Shelf) -> bool) -> Vec<Key> {
        let mut ages: Vec<(Instant, &Key)> = self
            .by_key
            .iter()
            .filter(|(_, shelf)| wanted(shelf))
            .map(|(key, shelf)| (shelf.used, key))
            .collect();
        if most < ages.len() {
            ages.select_nth_unstable_by_key(most, |(used, _)| *used);
        }
        let oldest = ages.into_iter().take(most);
        oldest.map(|(_, key)| key.clone()).collect()
    }

    fn idle(&self) -> usize {
        self.by_key.values().map(|shelf| shelf.idle.len()).sum()
    }
}

impl Shelves {
    /// The shelf of a key, made if need be: an agent that has as many as it may loses those
    /// that it used longest ago.
    fn shelf(&mut self, key: &Key, most: usize, now: Instant) -> Option<&mut Shelf> {
        let agent = self.agents.entry(key.agent.clone()).or_default();
        if agent.by_key.len() >= most && !agent.by_key.contains_key(key) {
            // Under a stream that runs the connection would go on and never be used again.
            for oldest in agent.oldest(AT_ONCE, |shelf| !shelf.is_busy()) {
                let gone = agent.by_key.remove(&oldest);
                let idle = gone.map_or(0, |shelf| shelf.idle.len());
                self.idle = self.idle.saturating_sub(idle);
            }
            if agent.by_key.len() >= most {
                return None;
            }
        }
        let shelf = agent.by_key.entry(key.clone()).or_default();
        shelf.used = now;
        Some(shelf)
    }

    /// Closes idle HTTP/1 connections that were used longest ago, of the agent that has most.
    fn close_oldest(&mut self) {
        let Some(agent) = self.agents.values_mut().max_by_key(|agent| agent.idle()) else {
            return;
        };
        for key in agent.oldest(AT_ONCE, |shelf| !shelf.idle.is_empty()) {
            if let Some(shelf) = agent.by_key.get_mut(&key) {
                self.idle = self.idle.saturating_sub(shelf.idle.len());
                shelf.idle.clear();
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(agent) = self.agents.get_mut(&key.agent) {
            agent.by_key.remove(key);
        }
    }

    fn recount(&mut self) {
        self.idle = self.agents.values().map(Agent::idle).sum();
    }
}

/// How many keys or their connections make room at once: each look at all of an agent's keys
/// is to be worth it, and the lock not held for long.
const AT_ONCE: usize = 8;
/// So many keys lose what is idle all at once, where room is needed under a limit.
const FEW: usize = 32;
/// Between two evictions.
const EVICTION_PAUSE: Duration = Duration::from_millis(100);

/// A connection to send on.
pub enum Pooled {
    /// An HTTP/1 connection, for one request.
    Http1(Http1),
    /// A stream of a shared HTTP/2 connection, counted from here on: whoever comes next
    /// finds the room that is really left.
    Http2(StreamGuard),
}

/// None is there. To be held while dialling, where one new connection may serve all who
/// wait for one; absent where each needs its own.
pub type Together = Option<Arc<tokio::sync::Mutex<()>>>;

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        Self {
            settings,
            shelves: Mutex::default(),
        }
    }

    /// Takes the most recently used HTTP/1 connection or shares an HTTP/2 one.
    ///
    /// # Errors
    /// None is there; the caller dials, holding what it is given.
    pub fn checkout(&self, key: &Key, now: Instant) -> Result<Pooled, Together> {
        loop {
            let mut shelves = self.shelves.lock();
            let Some(shelf) = shelves.shelf(key, self.settings.keys_per_agent, now) else {
                return Err(None);
            };
            shelf.shared.retain(|connection| {
                !connection.is_closed() && !self.is_old(connection.born(), now)
            });
            if let Some(connection) = shelf.shared.iter().find(|connection| connection.has_room()) {
                return Ok(Pooled::Http2(connection.stream()));
            }
            let Some(mut connection) = shelf.idle.pop() else {
                let lock = (shelf.known != Known::Http1).then(|| shelf.dialling.clone());
                return Err(lock);
            };
            shelves.idle = shelves.idle.saturating_sub(1);
            drop(shelves);
            let is_old = self.is_old(connection.born(), now);
            if !is_old && connection.is_usable(self.settings.idle_time, now) {
                return Ok(Pooled::Http1(connection));
            }
        }
    }

    /// Puts an HTTP/1 connection back that is between two messages.
    pub fn put_back(&self, key: &Key, mut connection: Http1) {
        let now = Instant::now();
        if self.is_old(connection.born(), now) {
            return;
        }
        connection.idles_from(now);
        let mut shelves = self.shelves.lock();
        if shelves.idle >= self.settings.idle {
            shelves.close_oldest();
        }
        if shelves.idle >= self.settings.idle {
            return;
        }
        let Some(shelf) = shelves.shelf(key, self.settings.keys_per_agent, now) else {
            return;
        };
        shelf.known = Known::Http1;
        if shelf.idle.len() >= self.settings.idle_per_key {
            return;
        }
        shelf.idle.push(connection);
        shelves.idle = shelves.idle.saturating_add(1);
    }

    /// Shares a new HTTP/2 connection.
    pub fn share(&self, key: &Key, connection: Arc<Http2>) {
        let mut shelves = self.shelves.lock();
        if let Some(shelf) = shelves.shelf(key, self.settings.keys_per_agent, Instant::now()) {
            shelf.known = Known::Http2;
            shelf.shared.push(connection);
        }
    }

    /// Remembers that a key's server speaks HTTP/1, so that nobody waits for company.
    pub fn is_http1(&self, key: &Key) {
        let mut shelves = self.shelves.lock();
        if let Some(shelf) = shelves.shelf(key, self.settings.keys_per_agent, Instant::now()) {
            shelf.known = Known::Http1;
        }
    }

    /// A dial failed: those who wait for it try for themselves, all at once, and where
    /// nothing else is known of the key it is forgotten.
    pub fn dial_failed(&self, key: &Key) {
        let mut shelves = self.shelves.lock();
        let agent = shelves.agents.get_mut(&key.agent);
        if let Some(shelf) = agent.and_then(|agent| agent.by_key.get_mut(key)) {
            shelf.known = Known::Http1;
            if shelf.is_empty() && Arc::strong_count(&shelf.dialling) <= 2 {
                shelves.forget(key);
            }
        }
    }

    /// Closes what lay idle for too long and forgets keys that hold nothing.
    pub fn sweep(&self) {
        let mut shelves = self.shelves.lock();
        let (idle_time, now) = (self.settings.idle_time, Instant::now());
        for agent in shelves.agents.values_mut() {
            agent.by_key.retain(|_, shelf| {
                let unused = now.saturating_duration_since(shelf.used) > idle_time;
                shelf.idle.retain_mut(|connection| {
                    connection.is_usable(idle_time, now) && !self.is_old(connection.born(), now)
                });
                shelf.shared.retain(|connection| {
                    let useless = connection.is_closed() || self.is_old(connection.born(), now);
                    !useless && (connection.is_busy() || !unused)
                });
                !shelf.is_empty() || !unused
            });
        }
        shelves.agents.retain(|_, agent| !agent.by_key.is_empty());
        shelves.recount();
    }

    /// Closes idle HTTP/1 connections and unused HTTP/2 ones, to make room under a limit: of
    /// each agent that is `wanted`, those of the half of its keys that was used longest ago, of
    /// few keys all. Not more than ten times a second, as it looks at all of them.
    pub fn evict_idle(&self, wanted: impl Fn(Option<&AgentName>) -> bool) {
        let mut shelves = self.shelves.lock();
        if shelves
            .evicted
            .is_some_and(|last| last.elapsed() < EVICTION_PAUSE)
        {
            return;
        }
        shelves.evicted = Some(Instant::now());
        for (name, agent) in &mut shelves.agents {
            if !wanted(name.as_ref()) {
                continue;
            }
            let keys = agent.by_key.values();
            let half = keys.filter(|shelf| shelf.has_unused()).count().div_ceil(2);
            for key in agent.oldest(half.max(FEW), Shelf::has_unused) {
                if let Some(shelf) = agent.by_key.get_mut(&key) {
                    shelf.idle.clear();
                    shelf.shared.retain(|connection| connection.is_busy());
                }
            }
        }
        shelves.recount();
    }

    /// Closes everything that is idle; used when the gateway goes away.
    pub fn clear(&self) {
        *self.shelves.lock() = Shelves::default();
    }

    /// Idle HTTP/1 connections and shared HTTP/2 connections.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let shelves = self.shelves.lock();
        let keys = shelves
            .agents
            .values()
            .flat_map(|agent| agent.by_key.values());
        let shared = keys.map(|shelf| shelf.shared.len()).sum();
        (shelves.idle, shared)
    }

    fn is_old(&self, born: Instant, now: Instant) -> bool {
        now.saturating_duration_since(born) > self.settings.max_age
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (idle, shared) = self.counts();
        f.debug_struct("Pool")
            .field("idle", &idle)
            .field("shared", &shared)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

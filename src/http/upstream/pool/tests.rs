use tokio::io::DuplexStream;

use super::*;
use crate::http::upstream::Parts;
use crate::http::upstream::connection::{Facts, Hold};
use crate::metrics::{Metrics, Protocol};
use crate::name::{Authority, Host};
use crate::net::forbidden::Networks;
use crate::net::limits::Shares;
use crate::net::own::OwnAddresses;
use crate::policy::Scheme;

/// A pool, and the servers' ends of the connections that were put into it.
struct Bench {
    pool: Pool,
    servers: Vec<DuplexStream>,
}

impl Bench {
    fn new(keys_per_agent: usize, idle: usize) -> Self {
        let pool = Pool::new(PoolSettings {
            keys_per_agent,
            idle,
            idle_per_key: 2,
            idle_time: Duration::from_secs(3600),
            max_age: Duration::from_secs(3600),
        });
        Self {
            pool,
            servers: Vec::new(),
        }
    }

    fn put(&mut self, agent: &str, host: usize) {
        let (near, far) = tokio::io::duplex(64);
        self.servers.push(far);
        let networks = Networks::new(Vec::new(), OwnAddresses::fixed([]));
        let facts = Facts {
            peer: networks.check("192.88.0.1:443".parse().unwrap()).unwrap(),
            born: Instant::now(),
        };
        let hold = Hold {
            permit: Shares::new(1, 1).take(&AgentName::new(agent)).unwrap(),
            open: Metrics::new().upstream.create(Protocol::Http1),
        };
        let connection = Http1::new(Box::new(near), facts, hold);
        self.pool.put_back(&key(agent, host), connection);
    }

    /// Whether there was a connection, which then goes back.
    fn has(&self, agent: &str, host: usize) -> bool {
        let key = key(agent, host);
        match self.pool.checkout(&key, Instant::now()) {
            Ok(Pooled::Http1(connection)) => {
                self.pool.put_back(&key, connection);
                true
            }
            Ok(Pooled::Http2(_)) | Err(_) => false,
        }
    }
}

fn key(agent: &str, host: usize) -> Key {
    Key::from(Parts {
        agent: Some(AgentName::new(agent)),
        scheme: Scheme::Https,
        authority: Authority {
            host: Host::from_config(&format!("host-{host}.test")).unwrap(),
            port: 443,
        },
        credentials: Vec::new(),
        tls_profile: 0,
    })
}

#[tokio::test]
async fn a_burst_of_names_does_not_end_reuse() {
    const KEYS: usize = 20;
    let mut bench = Bench::new(KEYS, 1000);
    bench.put("a", 0);
    bench.put("b", 0);
    for host in 1..200 {
        bench.put("a", host);
        // What is in use stays, and so does what was put in just now.
        assert!(bench.has("a", 0), "after {host}");
        assert!(bench.has("a", host), "{host}");
        let (idle, _) = bench.pool.counts();
        assert!(idle <= KEYS + 1, "{idle}");
    }
    // What another agent does is none of its business.
    assert!(bench.has("b", 0));
}

#[tokio::test]
async fn i9_idle_connections_are_bounded_and_the_oldest_of_whoever_has_most_close() {
    const IDLE: usize = 20;
    let mut bench = Bench::new(1000, IDLE);
    bench.put("b", 0);
    bench.put("b", 1);
    for host in 0..200 {
        bench.put("a", host);
        let (idle, _) = bench.pool.counts();
        assert!(idle <= IDLE, "{idle}");
        assert!(bench.has("a", host), "{host}");
    }
    assert!(bench.has("b", 0) && bench.has("b", 1));
    assert!(!bench.has("a", 0));
    let mut none = Bench::new(1000, 0);
    none.put("a", 0);
    assert!(!none.has("a", 0));
}

#[tokio::test]
async fn room_is_made_among_what_was_used_longest_ago() {
    let mut bench = Bench::new(1000, 1000);
    for host in 0..200 {
        bench.put("a", host);
    }
    bench.put("b", 0);
    let a = AgentName::new("a");
    bench.pool.evict_idle(|owner| owner == Some(&a));
    let left: Vec<usize> = (0..200).filter(|host| bench.has("a", *host)).collect();
    assert_eq!(left, (100..200).collect::<Vec<_>>());
    assert!(bench.has("b", 0));
    assert_eq!(bench.pool.counts(), (101, 0));
    // Where there are few, room is made among all of them.
    let mut few = Bench::new(1000, 1000);
    for host in 0..10 {
        few.put("a", host);
    }
    few.pool.evict_idle(|_| true);
    assert_eq!(few.pool.counts(), (0, 0));
}

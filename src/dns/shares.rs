//! A limit in all, and one for each client, so that one client cannot use it up (I9).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Places to be taken; never more clients are remembered than places are taken.
#[derive(Debug)]
pub(super) struct Shares {
    total: usize,
    per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A place, given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    pub(super) fn new(total: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_client,
            taken: Mutex::default(),
        })
    }

    /// A place for `client`, unless it or all together have as many as they may.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Share> {
        let client = prefix(client);
        let mut taken = self.taken.lock();
        let own = taken.by_client.get(&client).copied().unwrap_or(0);
        if taken.total >= self.total || own >= self.per_client {
            return None;
        }
        taken.total += 1;
        taken.by_client.insert(client, own + 1);
        Some(Share {
            shares: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

/// One machine has as many IPv6 addresses as it likes, but all of one /64.
fn prefix(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_one_client_cannot_take_all() {
        let shares = Shares::new(3, 2);
        let [greedy, same, other] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|ip| ip.parse().unwrap());
        let first = shares.take(greedy);
        let second = shares.take(same);
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(greedy).is_none());
        let third = shares.take(other);
        assert!(third.is_some());
        assert!(shares.take(other).is_none(), "all are taken");
        drop(first);
        assert!(shares.take(greedy).is_some());
        drop((second, third));
        assert!(shares.taken.lock().by_client.is_empty());
    }
}

//! The gateway's own addresses: those of its interfaces, as they come and go, and those
//! that only the operator knows (a public address translated in front of it).

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

/// Even without any event the addresses are read again this often: the kernel drops events
/// when the socket's buffer is full, and a dump may race with a change.
const REREAD_AFTER: Duration = Duration::from_secs(30);
/// Events come in bursts (an interface with many addresses); one dump serves all of them.
const SETTLE: Duration = Duration::from_millis(50);
/// Pauses between attempts to listen again after netlink failed.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// A view of the gateway's own addresses. Clones share it; the last one stops the watch.
#[derive(Clone, Debug)]
pub struct OwnAddresses {
    current: Arc<ArcSwap<HashSet<IpAddr>>>,
    configured: Arc<HashSet<IpAddr>>,
    watch: Option<Arc<Watch>>,
}

/// The background task, which ends with this value.
#[derive(Debug)]
struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl OwnAddresses {
    /// Reads the addresses of all interfaces of this network namespace, and keeps watching
    /// them from a task on the current runtime.
    ///
    /// # Errors
    /// When netlink does not answer: a gateway that does not know its own addresses would
    /// let agents reach its ports through itself.
    pub async fn watch(configured: impl IntoIterator<Item = IpAddr>) -> io::Result<Self> {
        let mut session = Session::open()?;
        let first = session.dump().await?;
        let current = Arc::new(ArcSwap::from_pointee(first));
        let task = tokio::spawn(keep_current(session, Arc::clone(&current)));
        Ok(Self {
            watch: Some(Arc::new(Watch(task))),
            current,
            ..Self::fixed(configured)
        })
    }

    /// Only these addresses, watching nothing: for a process whose connections leave from
    /// another namespace than its own, and for commands that only judge.
    #[must_use]
    pub fn fixed(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let configured = addresses.into_iter().map(|ip| ip.to_canonical()).collect();
        Self {
            current: Arc::default(),
            configured: Arc::new(configured),
            watch: None,
        }
    }

    /// Whether `ip`, IPv4-mapped or not, is the gateway's own.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.configured.contains(&ip) || self.current.load().contains(&ip)
    }

    /// Whether IPv6 may lead anywhere from here: an interface has an address beyond its own
    /// link (RFC 4291 §2.5.6). True where the interfaces are not known.
    pub fn has_ipv6(&self) -> bool {
        self.watch.is_none() || self.current.load().iter().any(leads_beyond_its_link)
    }

    /// As if these were the addresses of all interfaces.
    #[cfg(test)]
    pub(crate) fn of_interfaces(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let current = addresses.into_iter().collect();
        Self {
            current: Arc::new(ArcSwap::from_pointee(current)),
            watch: Some(Arc::new(Watch(tokio::spawn(std::future::pending())))),
            ..Self::fixed([])
        }
    }
}

fn leads_beyond_its_link(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Follows the events for ever. While netlink fails, the last known addresses stay.
async fn keep_current(mut session: Session, current: Arc<ArcSwap<HashSet<IpAddr>>>) {
    let mut pause = RETRY_FIRST;
    loop {
        match follow(&mut session, &current).await {
            Ok(()) => {
                pause = RETRY_FIRST;
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch the interfaces' addresses; will retry");
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(RETRY_LAST);
        match Session::open() {
            Ok(opened) => session = opened,
            Err(error) => tracing::warn!(%error, "cannot open netlink; will retry"),
        }
    }
}

/// Reads the addresses, then waits for the next event.
async fn follow(session: &mut Session, current: &ArcSwap<HashSet<IpAddr>>) -> io::Result<()> {
    let addresses = session.dump().await?;
    if **current.load() != addresses {
        tracing::info!(
            count = addresses.len(),
            "the gateway's own addresses have changed"
        );
        current.store(Arc::new(addresses));
    }
    session.event().await
}

/// A netlink socket that has joined the address groups.
struct Session {
    handle: Handle,
    /// One item for each event, whatever it was.
    events: BoxStream<'static, ()>,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    fn open() -> io::Result<Self> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
        Ok(Self {
            handle,
            events: messages.map(|_| ()).boxed(),
            connection: tokio::spawn(connection),
        })
    }

    /// All addresses of all interfaces, of both families.
    async fn dump(&mut self) -> io::Result<HashSet<IpAddr>> {
        let mut addresses = HashSet::new();
        let mut messages = std::pin::pin!(self.handle.address().get().execute());
        while let Some(message) = messages.next().await {
            addresses.extend(own(&message.map_err(io::Error::other)?));
        }
        // A socket that failed half-way ends the stream as a complete answer does.
        if self.connection.is_finished() || addresses.is_empty() {
            return Err(io::Error::other(
                "netlink gave no complete list of addresses",
            ));
        }
        Ok(addresses)
    }

    /// Returns after an event (all of its burst), or when it is time to read again anyway.
    async fn event(&mut self) -> io::Result<()> {
        match tokio::time::timeout(REREAD_AFTER, self.events.next()).await {
            Err(_elapsed) => return Ok(()),
            Ok(None) => return Err(io::Error::other("the netlink socket has closed")),
            Ok(Some(())) => {}
        }
        let burst = async { while self.events.next().await.is_some() {} };
        // Elapses, unless the socket closed: the next dump will say so.
        let _ = tokio::time::timeout(SETTLE, burst).await;
        Ok(())
    }
}

/// The local address; on a point-to-point interface `Address` is the peer's.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => return Some(ip.to_canonical()),
            AddressAttribute::Address(ip) => address = Some(ip.to_canonical()),
            _ => {}
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn i8_the_gateways_own_addresses_are_known() {
        let public = "198.51.100.7".parse().unwrap();
        let own = OwnAddresses::watch([public]).await.unwrap();
        assert!(own.contains("127.0.0.1".parse().unwrap()));
        assert!(own.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(own.contains(public));
        assert!(!own.contains("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_change_is_taken_over_and_the_watch_ends_with_its_last_owner() {
        let mut session = Session::open().unwrap();
        let addresses = session.dump().await.unwrap();
        let stale = Arc::new(ArcSwap::default());
        let task = tokio::spawn(keep_current(session, Arc::clone(&stale)));
        let own = OwnAddresses {
            current: Arc::clone(&stale),
            configured: Arc::default(),
            watch: Some(Arc::new(Watch(task))),
        };
        while stale.load().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(**stale.load(), addresses);
        let clone = own.clone();
        drop(own);
        drop(clone);
        // The task held the other reference.
        while Arc::strong_count(&stale) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_address_of_the_link_alone_leads_nowhere() {
        let has = |list: &[&str]| {
            let addresses = list.iter().map(|ip| ip.parse().unwrap());
            OwnAddresses::of_interfaces(addresses).has_ipv6()
        };
        assert!(!has(&["127.0.0.1", "::1", "10.0.0.1", "fe80::1"]));
        assert!(has(&["10.0.0.1", "2001:db8::1"]));
        assert!(has(&["::1", "fd00::1"]));
        assert!(OwnAddresses::fixed([]).has_ipv6(), "nobody knows");
    }

    #[test]
    fn the_local_end_of_a_point_to_point_interface_is_own() {
        let mut message = AddressMessage::default();
        let [near, far] = ["10.9.0.1", "10.9.0.2"].map(|ip| ip.parse().unwrap());
        message.attributes.push(AddressAttribute::Address(far));
        assert_eq!(own(&message), Some(far));
        message.attributes.push(AddressAttribute::Local(near));
        assert_eq!(own(&message), Some(near));
    }
}

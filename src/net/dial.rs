//! Dialling: resolve the authority's name here, judge every address, connect (I3, I8).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::forbidden::{Forbidden, Networks, Permitted};
use super::listen;
use super::lookups::Asker;
use super::resolve::Resolver;
use crate::error::{Reason, Refusal};
use crate::name::{Authority, Host};

/// The next address is tried this long after the last one, if that has not failed before
/// (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct DialSettings {
    /// For the connection, all addresses together; resolving has its own limit.
    pub connect_timeout: Duration,
}

/// Makes connections to servers. Clones share the resolver's cache.
#[derive(Clone)]
pub struct Dialler {
    resolver: Resolver,
    networks: Networks,
    settings: DialSettings,
}

/// A connection, tuned, and the permitted address it goes to.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TcpStream,
    /// The address actually connected to.
    pub peer: Permitted,
}

impl Dialler {
    /// A dialler to what `networks` permits.
    #[must_use]
    pub fn new(resolver: Resolver, networks: Networks, settings: DialSettings) -> Self {
        Self {
            resolver,
            networks,
            settings,
        }
    }

    /// How many names are remembered, about.
    #[must_use]
    pub fn remembered(&self) -> u64 {
        self.resolver.cached()
    }

    /// Connects to the first of the permitted addresses that answers, IPv6 and IPv4 in turn.
    ///
    /// # Errors
    /// Those of [`Resolver::lookup`], `ForbiddenNetwork`, `ConnectFailed`, `ConnectTimeout`, or `UpstreamLimit` when this machine has no socket left.
    pub async fn dial(&self, asker: Asker<'_>, authority: &Authority) -> Result<Dialled, Refusal> {
        let addresses = self.permitted(asker, authority).await?;
        let deadline = Instant::now() + self.settings.connect_timeout;
        match timeout_at(deadline, race(&addresses)).await {
            Ok(Ok(dialled)) => Ok(dialled),
            Ok(Err(error)) => Err(connect_failed(authority, &error)),
            Err(_elapsed) => Err(self.timed_out(authority)),
        }
    }

    /// The addresses that [`Dialler::dial`] would try for `host`, for answers to agents.
    ///
    /// # Errors
    /// Those of [`Resolver::lookup`], or `ForbiddenNetwork`.
    pub async fn addresses(&self, asker: Asker<'_>, host: &Host) -> Result<Vec<IpAddr>, Refusal> {
        let authority = Authority {
            host: host.clone(),
            port: 443, // no address is judged by its port
        };
        let permitted = self.permitted(asker, &authority).await?;
        Ok(permitted
            .iter()
            .map(|address| address.addr().ip())
            .collect())
    }

    /// Whether this address may still be used: own addresses change while connections live.
    pub fn recheck(&self, peer: &Permitted) -> bool {
        self.networks.check(peer.addr()).is_ok()
    }

    /// The permitted ones among the addresses of the authority's host, at least one.
    async fn permitted(
        &self,
        asker: Asker<'_>,
        authority: &Authority,
    ) -> Result<Vec<Permitted>, Refusal> {
        let addresses = self.resolver.lookup(asker, &authority.host).await?;
        let mut permitted = Vec::new();
        let mut forbidden = None;
        for ip in interleaved(&addresses) {
            match self.networks.check((ip, authority.port).into()) {
                Ok(address) => permitted.push(address),
                Err(kind) => {
                    tracing::debug!(host = %authority.host, %ip, %kind, "forbidden address");
                    forbidden.get_or_insert(kind);
                }
            }
        }
        match forbidden {
            Some(kind) if permitted.is_empty() => Err(forbidden_network(&authority.host, kind)),
            Some(_) | None => Ok(permitted),
        }
    }

    fn timed_out(&self, authority: &Authority) -> Refusal {
        let limit = self.settings.connect_timeout;
        let sentence =
            format!("{authority} accepted no connection within {limit:?}; try again later");
        Refusal::new(Reason::ConnectTimeout, sentence)
    }
}

/// IPv6 and IPv4 in turn, IPv6 first (RFC 8305 §4), each in the order given.
fn interleaved(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let mut v6 = addresses.iter().copied().filter(IpAddr::is_ipv6);
    let mut v4 = addresses.iter().copied().filter(IpAddr::is_ipv4);
    let mut turn_of_v6 = false;
    std::iter::from_fn(move || {
        turn_of_v6 = !turn_of_v6;
        if turn_of_v6 {
            v6.next().or_else(|| v4.next())
        } else {
            v4.next().or_else(|| v6.next())
        }
    })
}

/// RFC 8305 §5: the next address starts when the last has failed or the stagger is over; the
/// first to connect wins and the others are dropped. Without any success the last error,
/// but a refusal tells more than an address family that this machine does not have.
async fn race(addresses: &[Permitted]) -> io::Result<Dialled> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.spawn(connect(address));
                true
            }
            None => false,
        };
        // Wait for an outcome, or for the turn of the next address.
        let outcome = tokio::select! {
            outcome = attempts.join_next() => outcome,
            () = sleep(STAGGER), if more => continue,
        };
        match outcome {
            Some(Ok(Ok(dialled))) => return Ok(dialled),
            Some(Ok(Err(_))) if last.kind() == io::ErrorKind::ConnectionRefused => {}
            Some(Ok(Err(error))) => last = error,
            Some(Err(panicked)) => last = io::Error::other(panicked),
            None => return Err(last),
        }
    }
}

async fn connect(address: Permitted) -> io::Result<Dialled> {
    let peer = address.addr();
    let socket = if peer.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let stream = socket.connect(peer).await?;
    // Dialling a free port of this machine may, by simultaneous open, reach oneself.
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    listen::tune(&SockRef::from(&stream))?;
    Ok(Dialled {
        stream,
        peer: address,
    })
}

fn forbidden_network(host: &Host, kind: Forbidden) -> Refusal {
    let sentence = if host.ip().is_some() {
        format!("{host} is in {kind}; allow_networks in the config opens exceptions")
    } else {
        format!("{host} resolves only to {kind}; allow_networks in the config opens exceptions")
    };
    Refusal::new(Reason::ForbiddenNetwork, sentence)
}

fn connect_failed(authority: &Authority, error: &io::Error) -> Refusal {
    tracing::debug!(%authority, %error, "cannot connect");
    let out_of_sockets = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::ADDRNOTAVAIL,
        Errno::NOBUFS,
    ];
    if Errno::from_io_error(error).is_some_and(|errno| out_of_sockets.contains(&errno)) {
        let sentence = "the gateway has no socket left for another connection; try again later";
        return Refusal::new(Reason::UpstreamLimit, sentence);
    }
    let sentence = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{authority} refused the connection"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{authority} is unreachable from the gateway")
        }
        io::ErrorKind::TimedOut => format!("{authority} did not answer"),
        _ => format!("the connection to {authority} failed"),
    };
    Refusal::new(Reason::ConnectFailed, sentence)
}

#[cfg(test)]
mod tests;

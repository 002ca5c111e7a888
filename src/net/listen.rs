//! Listening sockets, and accepting that neither spins nor gives up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// How long data may stay unacknowledged, or a peer's window closed, before the connection
/// counts as dead (`TCP_USER_TIMEOUT`). A peer that is alive and merely slow acknowledges.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(120);
/// After this much silence the peer is probed, and again after each interval, until
/// `UNACKNOWLEDGED_MAX` has passed; so a vanished peer is noticed within three minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A listening TCP socket. `[::]` listens for IPv4 too; `backlog` is capped by the kernel's
/// `net.core.somaxconn`.
///
/// # Errors
/// As the kernel says, with the address in the text.
pub fn bind_tcp(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    TcpListener::from_std(std_tcp(address, backlog)?)
}

/// As [`bind_tcp`], where there is no runtime.
///
/// # Errors
/// As there.
pub fn std_tcp(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let listening = || {
        let socket = bound(address, Type::STREAM, Protocol::TCP)?;
        // Connections inherit them from the listener (tcp(7)): once, instead of for each.
        tune(&SockRef::from(&socket))?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    };
    listening().map_err(|error| cannot_listen(address, "TCP", &error))
}

/// A UDP socket. `[::]` receives IPv4 too.
///
/// # Errors
/// As the kernel says, with the address in the text.
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(std_udp(address)?)
}

/// As [`bind_udp`], where there is no runtime.
///
/// # Errors
/// As there.
pub fn std_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let receiving = || Ok(bound(address, Type::DGRAM, Protocol::UDP)?.into());
    receiving().map_err(|error| cannot_listen(address, "UDP", &error))
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let SocketAddr::V6(v6) = address {
        // Said in both directions: net.ipv6.bindv6only may be either.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    if kind == Type::STREAM {
        // A restart need not wait for TIME_WAIT. On UDP it would let a second process
        // of the same user take the port over.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The error of a socket that could not be bound, with its address and a remedy.
pub fn cannot_listen(address: SocketAddr, protocol: &str, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it, and `ss -lnp` shows which",
        io::ErrorKind::PermissionDenied => "; choose a port above 1023",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    let text = format!("cannot listen on {protocol} {address}: {error}{remedy}");
    io::Error::new(error.kind(), text)
}

/// Options of every TCP connection, accepted or dialled: no delay for small writes, and
/// peers that vanish are noticed.
///
/// # Errors
/// As the kernel says; the connection is then best dropped.
pub fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// The next connection. Errors are handed to `on_error` and waited out.
///
/// Cancel-safe: nothing accepted is lost when the future is dropped.
pub async fn accept(
    listener: &TcpListener,
    backoff: &mut Backoff,
    mut on_error: impl FnMut(&io::Error),
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                backoff.reset();
                return accepted;
            }
            Err(error) => {
                on_error(&error);
                if let Some(pause) = backoff.after(&error) {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// How long to wait after a failed accept.
#[derive(Debug, Default)]
pub struct Backoff {
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_secs(1);

    /// No failure yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `None` for an error of the one connection, which is gone with it (accept(2) on Linux
    /// reports pending network errors of the new socket); else an ever longer pause, for the
    /// connection stays in the queue and accept would fail again at once.
    pub fn after(&mut self, error: &io::Error) -> Option<Duration> {
        if of_the_connection(error) {
            return None;
        }
        self.pause = self.pause.saturating_mul(2).clamp(Self::FIRST, Self::LAST);
        Some(self.pause)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.pause = Duration::ZERO;
    }
}

fn of_the_connection(error: &io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else {
        return false;
    };
    [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
    ]
    .contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn exhaustion_backs_off_longer_and_longer() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            let mut backoff = Backoff::new();
            let mut last = Duration::ZERO;
            for _ in 0..20 {
                let pause = backoff.after(&error(errno)).unwrap();
                assert!(pause > last || pause == Backoff::LAST, "{pause:?}");
                last = pause;
            }
            assert_eq!(last, Backoff::LAST);
            backoff.reset();
            assert_eq!(backoff.after(&error(errno)), Some(Backoff::FIRST));
        }
    }

    #[test]
    fn an_aborted_connection_does_not_hold_up_the_next() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.after(&error(Errno::CONNABORTED)), None);
        assert_eq!(backoff.after(&error(Errno::PROTO)), None);
        // An error that no kernel reports still never makes a busy loop.
        assert!(backoff.after(&io::Error::other("new")).is_some());
    }

    #[tokio::test]
    async fn accepted_connections_are_tuned() {
        let listener = bind_tcp("[::]:0".parse().unwrap(), 16).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _dialled = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (stream, peer) = accept(&listener, &mut Backoff::new(), |_| {}).await;
        assert!(peer.ip().to_canonical().is_ipv4(), "dual stack");
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind_udp(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}

//! Where a redirected connection was going, and where it came from.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::name::{ClientAddr, Origin};

/// The address and port this connection was redirected from, or `None` if it was not.
///
/// The kernel keeps it with the connection's NAT entry (`SO_ORIGINAL_DST`), which is seen
/// only from the network namespace that the listener was made in. A connection that is
/// tracked but was dialled here directly reports the socket's own address: that is none too.
/// There is no falling back to the local address when the origin is unknown.
pub fn origin(stream: &TcpStream) -> Option<Origin> {
    let local = canonical(stream.local_addr().ok()?);
    let socket = SockRef::from(stream);
    // By the family on the wire, not of the socket: IPv4 on a dual-stack socket has its
    // entry in the IPv4 table.
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    let original = canonical(original.ok()?.as_socket()?);
    differs(original, local).then_some(Origin(original))
}

/// The peer of this connection.
///
/// # Errors
/// When the connection is already gone.
pub fn client(stream: &TcpStream) -> std::io::Result<ClientAddr> {
    stream.peer_addr().map(client_addr)
}

/// The address of a peer as `accept` or `recv_from` reports it, IPv4-mapped forms unwrapped.
#[must_use]
pub fn client_addr(peer: SocketAddr) -> ClientAddr {
    ClientAddr(canonical(peer))
}

/// Without IPv4-mapping, and without the scope and flow of IPv6, which name no other host.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn differs(original: SocketAddr, local: SocketAddr) -> bool {
    original != local && original.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn accepted(listen: &str, dial: &str) -> TcpStream {
        let listener = TcpListener::bind(listen).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialled = TcpStream::connect((dial, port)).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let expected = canonical(dialled.local_addr().unwrap());
        assert_eq!(client(&stream).unwrap().0, expected);
        assert_eq!(client_addr(peer).0, expected);
        stream
    }

    #[tokio::test]
    async fn a_direct_dial_has_no_origin() {
        assert_eq!(origin(&accepted("127.0.0.1:0", "127.0.0.1").await), None);
        assert_eq!(origin(&accepted("[::1]:0", "::1").await), None);
    }

    #[tokio::test]
    async fn ipv4_on_a_dual_stack_socket_is_ipv4() {
        let stream = accepted("[::]:0", "127.0.0.1").await;
        assert!(client(&stream).unwrap().0.is_ipv4());
        assert_eq!(origin(&stream), None);
    }

    #[test]
    fn the_sockets_own_address_is_no_origin() {
        let own: SocketAddr = "10.0.0.1:8443".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:8443".parse().unwrap();
        assert!(!differs(own, canonical(mapped)));
        assert!(differs("10.0.0.1:443".parse().unwrap(), own));
    }
}

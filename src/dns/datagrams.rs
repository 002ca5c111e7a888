//! A UDP socket whose replies leave from the address the query was sent to.
//!
//! On a wildcard socket the kernel picks a reply's source by its route, which on a machine
//! with several addresses need not be the address that REDIRECT chose; conntrack would not
//! know the reply then, and the agent would not take it. `IP_PKTINFO` says and sets it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The socket, told to report destinations.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
}

/// Whom a datagram came from, and to which address of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// As the socket's family has it: IPv4-mapped on a dual-stack one.
    pub(super) peer: SocketAddr,
    to: Option<Destination>,
}

#[derive(Clone, Copy, Debug)]
enum Destination {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Datagrams {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            // For IPv4 on a dual-stack socket the address comes IPv4-mapped.
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self { socket })
    }

    /// The next datagram: how much of it is in `buffer` (what does not fit is cut off), and
    /// from whom.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
        let receive = || receive(self.socket.as_raw_fd(), buffer);
        self.socket.async_io(Interest::READABLE, receive).await
    }

    pub(super) async fn send(&self, bytes: &[u8], sender: &Sender) -> io::Result<()> {
        let to = SockaddrStorage::from(sender.peer);
        let control = match &sender.to {
            Some(Destination::V4(info)) => Some(ControlMessage::Ipv4PacketInfo(info)),
            Some(Destination::V6(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
            None => None,
        };
        let send = || {
            let fd = self.socket.as_raw_fd();
            let bytes = [IoSlice::new(bytes)];
            sendmsg(fd, &bytes, control.as_slice(), MsgFlags::empty(), Some(&to))?;
            Ok(())
        };
        self.socket.async_io(Interest::WRITABLE, send).await
    }
}

fn receive(fd: i32, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
    let mut control = nix::cmsg_space!(in6_pktinfo);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(fd, &mut buffers, Some(&mut control), flags)?;
    let peer = message.address.and_then(|address| {
        let v4 = address
            .as_sockaddr_in()
            .map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|v6| SocketAddr::V6((*v6).into()))
        })
    });
    let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
    let to = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(destination_v4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => destination_v6(info),
        _ => None,
    });
    Ok((message.bytes, Sender { peer, to }))
}

/// `ipi_spec_dst` is the local address, for a broadcast too. Which interface to leave by
/// stays the routing table's business.
fn destination_v4(info: in_pktinfo) -> Destination {
    Destination::V4(in_pktinfo {
        ipi_ifindex: 0,
        ..info
    })
}

/// Nothing is sent from a multicast address; a link-local one means nothing without its link.
fn destination_v6(info: in6_pktinfo) -> Option<Destination> {
    let ip = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
    if IpAddr::V6(ip).is_multicast() {
        return None;
    }
    let ipi6_ifindex = if ip.is_unicast_link_local() {
        info.ipi6_ifindex
    } else {
        0
    };
    Some(Destination::V6(in6_pktinfo {
        ipi6_ifindex,
        ..info
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply comes from the address that was asked, not from the route's.
    async fn replies_from(bind: &str, client: &str, asked: &str) {
        let server = Datagrams::new(UdpSocket::bind(bind).await.unwrap()).unwrap();
        let port = server.socket.local_addr().unwrap().port();
        let client = UdpSocket::bind(client).await.unwrap();
        let asked: SocketAddr = (asked.parse::<IpAddr>().unwrap(), port).into();
        client.send_to(b"question", asked).await.unwrap();
        let mut buffer = [0; 4];
        let (length, sender) = server.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer, length), (b"ques", 4));
        assert!(sender.to.is_some());
        server.send(b"reply", &sender).await.unwrap();
        let mut buffer = [0; 16];
        let (length, from) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"reply"[..], asked));
    }

    #[tokio::test]
    async fn replies_leave_from_the_address_that_was_asked() {
        replies_from("0.0.0.0:0", "127.0.0.1:0", "127.0.0.77").await;
        replies_from("[::]:0", "127.0.0.1:0", "127.0.0.78").await;
        replies_from("[::]:0", "[::1]:0", "::1").await;
    }
}

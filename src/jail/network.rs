//! The network inside: every address is local, and whatever the table redirects arrives at
//! listeners that the gateway holds.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{LinkUnspec, RouteMessageBuilder};

use super::error::{During, Error};
use super::link::Link;
use crate::net::listen::{std_tcp, std_udp};

/// `lo` is the first interface of every network namespace.
const LOOPBACK: u32 = 1;
/// Where routes to local addresses are (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Attempts to find a port that is free for UDP and TCP alike.
const ATTEMPTS: usize = 16;

/// Where the listeners are; the kernel chose the ports, so that they are in nobody's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Redirected connections.
    pub transparent: u16,
    /// Redirected DNS, over UDP and TCP.
    pub dns: u16,
}

/// The listeners, made inside to be held outside.
pub(super) struct Listeners {
    transparent: TcpListener,
    dns: (UdpSocket, TcpListener),
    pub(super) ports: Ports,
}

impl Listeners {
    /// Listens in the current network namespace.
    pub(super) fn bind() -> Result<Self, Error> {
        let step = "listen inside the jail";
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        // A kernel without IPv6 has IPv4 all the same.
        let (any, transparent) = if let Ok(listener) = std_tcp(any, BACKLOG) {
            (any, listener)
        } else {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            (any, std_tcp(any, BACKLOG).during(step)?)
        };
        let dns = both(any).during(step)?;
        let ports = Ports {
            transparent: transparent.local_addr().during(step)?.port(),
            dns: dns.0.local_addr().during(step)?.port(),
        };
        Ok(Self {
            transparent,
            dns,
            ports,
        })
    }

    /// Hands them over to the gateway.
    pub(super) fn send(self, link: &Link) -> io::Result<()> {
        let (udp, tcp) = &self.dns;
        link.send(
            b"listeners",
            &[self.transparent.as_fd(), udp.as_fd(), tcp.as_fd()],
        )
    }
}

/// UDP and TCP on the same port.
fn both(any: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let attempt = || {
        let udp = std_udp(any)?;
        let tcp = std_tcp(udp.local_addr()?, BACKLOG)?;
        Ok((udp, tcp))
    };
    (1..ATTEMPTS)
        .find_map(|_| attempt().ok())
        .map_or_else(attempt, Ok)
}

/// The sockets that the front sent: connections, DNS over UDP, DNS over TCP. `None` when it
/// is gone.
///
/// # Errors
/// As the kernel says; other descriptors than expected.
pub fn receive(link: &Link) -> io::Result<Option<(TcpListener, UdpSocket, TcpListener)>> {
    let Some((_, descriptors)) = link.receive()? else {
        return Ok(None);
    };
    let descriptors: Result<[OwnedFd; 3], _> = descriptors.try_into();
    let [transparent, udp, tcp] =
        descriptors.map_err(|_| io::Error::other("listeners are missing"))?;
    Ok(Some((transparent.into(), udp.into(), tcp.into())))
}

/// Brings `lo` up and makes every address local.
pub(super) fn arrange() -> Result<(), Error> {
    let step = "set up the network inside the jail";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .during(step)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().during(step)?;
        tokio::spawn(connection);
        let up = LinkUnspec::new_with_index(LOOPBACK).up().build();
        let up = handle.link().set(up).execute().await;
        up.map_err(io::Error::other)
            .map_err(forbidden)
            .where_forbidden(step)?;
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .output_interface(LOOPBACK)
            .table_id(LOCAL_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .build();
        let v4 = handle.route().add(v4).execute().await;
        v4.map_err(io::Error::other).during(step)?;
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .output_interface(LOOPBACK)
            .table_id(LOCAL_TABLE)
            .kind(RouteType::Local)
            .build();
        // Without IPv6 in the kernel there is nothing to redirect, and nothing to leave by.
        let _ = handle.route().add(v6).execute().await;
        Ok(())
    })
}

/// Netlink's errors keep no kind: with namespaces restricted, this is the first call that
/// fails, and for that reason.
fn forbidden(error: io::Error) -> io::Error {
    if error.to_string().contains("Operation not permitted") {
        return io::ErrorKind::PermissionDenied.into();
    }
    error
}

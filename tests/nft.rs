//! The table on a real kernel, in namespaces: what it lets through, what it refuses, what is
//! left when it or the gateway is gone, and what `apply`, `verify` and `remove` do.

// A test may give up.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod common;

#[path = "nft/control.rs"]
mod control;
#[path = "nft/failing_closed.rs"]
mod failing_closed;
#[path = "nft/lifecycle.rs"]
mod lifecycle;
#[path = "nft/namespace.rs"]
mod namespace;
#[path = "nft/redirect.rs"]
mod redirect;
#[path = "nft/refusals.rs"]
mod refusals;
#[path = "nft/sources.rs"]
mod sources;
#[path = "nft/uid.rs"]
mod uid;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use common::events::Events;
use common::{Ns, client};
use portreeve::nft::{Settings, Topology};
use tokio::net::{TcpListener, TcpStream};

/// Stands in for the gateway: keeps the origin of every connection to a port.
fn listen(ns: &Ns, port: u16) -> (Events<SocketAddr>, tokio::task::JoinHandle<()>) {
    let origins = Events::new();
    let sink = origins.clone();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = ns.block_on(async move { TcpListener::bind(any).await.unwrap() });
    let task = ns.spawn_task(async move {
        while let Ok((stream, _)) = listener.accept().await {
            sink.push(origin(&stream).unwrap_or(any));
        }
    });
    (origins, task)
}

/// Where a redirected connection was going.
fn origin(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = socket2::SockRef::from(stream);
    let v4 = socket
        .original_dst_v4()
        .ok()
        .and_then(|address| address.as_socket());
    v4.or_else(|| socket.original_dst_v6().ok()?.as_socket())
}

/// Answers every datagram to a port with `answer`.
fn answer_datagrams(ns: &Ns, address: IpAddr, port: u16, answer: &'static [u8]) {
    let socket = ns.run(move || UdpSocket::bind((address, port)).unwrap());
    socket.set_nonblocking(true).unwrap();
    ns.spawn_task(async move {
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        let mut buffer = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(answer, peer).await;
        }
    });
}

/// The error with which a connection attempt ends; none if it succeeds.
fn dial(ns: &Ns, to: (IpAddr, u16)) -> Option<io::ErrorKind> {
    ns.block_on(async move { client::tcp(to).await.err().map(|error| error.kind()) })
}

/// The error with which a datagram is answered; none if by a datagram.
fn datagram(ns: &Ns, to: (IpAddr, u16)) -> Option<io::ErrorKind> {
    ns.run(move || common::probe::udp(to, b"?").err().map(|error| error.kind()))
}

fn settings() -> Settings {
    Settings {
        interfaces: vec!["lan0".into()],
        ports: vec![80, 443],
        proxy_port: 8443,
        dns_port: 8053,
        admin_port: Some(9464),
        ..Settings::default()
    }
}

/// Applies a table rendered from other settings than the world's.
fn apply(ns: &Ns, topology: Topology, settings: &Settings) {
    let rendered = portreeve::nft::render(topology, settings).unwrap();
    ns.run(move || portreeve::nft::apply(&rendered)).unwrap();
}

//! What an agent might try besides TCP: UDP, ICMP, and posing as a router.
//!
//! These block: they are for [`super::Ns::run`].

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use super::DEADLINE;

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// How a ping was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pong {
    Reply,
    /// Destination unreachable, port unreachable.
    Refused,
}

/// Sends a datagram and waits for what comes back: a datagram, or the error that a refusal
/// becomes.
pub fn udp(to: (IpAddr, u16), payload: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match to.0 {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.connect(to)?;
    socket.send(payload)?;
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Sends a datagram from `source`, an address of this namespace, and waits for nothing.
pub fn udp_from(source: IpAddr, to: (IpAddr, u16)) -> io::Result<()> {
    UdpSocket::bind((source, 0))?.send_to(b"x", to).map(|_| ())
}

/// Starts to connect and waits for nothing. Keep the socket: dropping it sends no more.
pub fn tcp_start(to: (IpAddr, u16)) -> io::Result<Socket> {
    let address = SocketAddr::from(to);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Sends an echo request and waits for what comes back.
pub fn ping(to: IpAddr) -> Pong {
    let mut socket = send_ping(to).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 2048];
    loop {
        let length = socket.read(&mut buffer).expect("an answer to the ping");
        if let Some(pong) = pong(to, &buffer[..length]) {
            return pong;
        }
    }
}

/// Sends an echo request and waits for nothing.
pub fn send_ping(to: IpAddr) -> io::Result<Socket> {
    let (domain, protocol, kind) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let mut packet = [kind, 0, 0, 0, 0, 1, 0, 1];
    if to.is_ipv4() {
        // The kernel fills in the checksum of ICMPv6 alone.
        let sum = packet
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
            .sum::<u32>();
        let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[2..4].copy_from_slice(&(!folded).to_be_bytes());
    }
    socket.send_to(&packet, &SocketAddr::new(to, 0).into())?;
    Ok(socket)
}

fn pong(to: IpAddr, packet: &[u8]) -> Option<Pong> {
    match to {
        // An IPv4 raw socket delivers the IP header, too, here one without options.
        IpAddr::V4(_) => match packet.get(20..)? {
            [0, 0, ..] => Some(Pong::Reply),
            [3, 3, ..] => Some(Pong::Refused),
            _ => None,
        },
        IpAddr::V6(_) => match packet {
            [129, 0, ..] => Some(Pong::Reply),
            [1, 4, ..] => Some(Pong::Refused),
            _ => None,
        },
    }
}

/// Says to all nodes of `interface`: I am a router, for half an hour (RFC 4861 section 4.2).
pub fn advertise_router(interface: &str) {
    let mut packet = [0; 16];
    packet[0] = 134;
    packet[4] = 64;
    packet[6..8].copy_from_slice(&1800_u16.to_be_bytes());
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.set_multicast_hops_v6(255).unwrap();
    let index = if_nametoindex(interface).unwrap();
    socket.set_multicast_if_v6(index).unwrap();
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
    socket.send_to(&packet, &all_nodes.into()).unwrap();
}

/// Calls `call` once on each processor that this thread may use; it is then on the last.
pub fn on_each_processor<T>(call: impl Fn() -> T) -> Vec<T> {
    let this = Pid::from_raw(0);
    let usable = sched_getaffinity(this).unwrap();
    let processors = (0..CpuSet::count()).filter(|&index| usable.is_set(index).unwrap());
    let mut results = Vec::new();
    for index in processors {
        let mut only = CpuSet::new();
        only.set(index).unwrap();
        sched_setaffinity(this, &only).unwrap();
        results.push(call());
    }
    results
}

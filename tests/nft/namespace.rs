//! The rootless topology: one namespace in which every address is local.

use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, PermissionDenied};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use portreeve::nft::Topology;

use crate::common::probe;
use crate::common::world::tool;
use crate::common::{Ns, inside};
use crate::{answer_datagrams, apply, datagram, dial, listen, settings};

const SOMEWHERE: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

fn namespace() -> Ns {
    let ns = Ns::new("exec");
    ns.ip("route add local default dev lo\nroute add local ::/0 dev lo\n");
    apply(&ns, Topology::Namespace, &settings());
    ns
}

fn somewhere() -> [IpAddr; 2] {
    SOMEWHERE.map(|address| address.parse().unwrap())
}

#[test]
fn connections_arrive_with_their_origin() {
    inside(|| {
        let ns = namespace();
        let (origins, _) = listen(&ns, 8443);
        let mut expected = Vec::new();
        for address in somewhere() {
            for port in [80, 443] {
                assert_eq!(dial(&ns, (address, port)), None, "{address} {port}");
                expected.push(SocketAddr::from((address, port)));
            }
        }
        assert_eq!(origins.wait_count(4), expected);
    });
}

#[test]
fn dns_arrives_whatever_the_resolver_loopback_included() {
    inside(|| {
        let ns = namespace();
        let (origins, _) = listen(&ns, 8053);
        // A reply from any other address would not be taken for one.
        for address in LOOPBACK {
            answer_datagrams(&ns, address, 8053, b"answer");
        }
        let stub: IpAddr = "127.0.0.53".parse().unwrap();
        for address in somewhere().into_iter().chain(LOOPBACK).chain([stub]) {
            assert_eq!(datagram(&ns, (address, 53)), None, "{address}");
            assert_eq!(dial(&ns, (address, 53)), None, "{address}");
        }
        assert_eq!(origins.wait_count(5)[4], SocketAddr::from((stub, 53)));
    });
}

#[test]
fn loopback_is_the_agents_own_except_for_the_gateways_ports() {
    inside(|| {
        let ns = namespace();
        let listeners = [443, 5000, 8443, 8053].map(|port| listen(&ns, port).0);
        for address in LOOPBACK {
            assert_eq!(dial(&ns, (address, 443)), None, "{address}");
            assert_eq!(dial(&ns, (address, 5000)), None, "{address}");
            assert_eq!(
                dial(&ns, (address, 8443)),
                Some(ConnectionRefused),
                "{address}"
            );
            assert_eq!(
                dial(&ns, (address, 8053)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
        // By another name it is no loopback.
        for address in somewhere() {
            assert_eq!(
                dial(&ns, (address, 5000)),
                Some(ConnectionRefused),
                "{address}"
            );
            assert_eq!(
                dial(&ns, (address, 8443)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
        assert_eq!(counter(&ns, "direct_dial_refused"), 6);
        assert_eq!(counter(&ns, "tcp_refused"), 2);
        let [web, service, proxy, dns] = listeners;
        assert_eq!(
            (web.wait_count(2).len(), service.wait_count(2).len()),
            (2, 2)
        );
        assert_eq!((proxy.len(), dns.len()), (0, 0));
    });
}

#[test]
fn i11_quic_and_metadata_are_refused_at_once() {
    inside(|| {
        let ns = namespace();
        let (origins, listener) = listen(&ns, 8443);
        answer_datagrams(&ns, Ipv6Addr::UNSPECIFIED.into(), 443, b"answer");
        for address in somewhere() {
            let error = datagram(&ns, (address, 443)).unwrap();
            assert!(
                [ConnectionRefused, PermissionDenied].contains(&error),
                "{address}: {error}"
            );
            assert!(
                ns.run(move || probe::send_ping(address)).is_err(),
                "{address}"
            );
        }
        for address in ["169.254.169.254", "fd00:ec2::254"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(
                dial(&ns, (address, 80)),
                Some(ConnectionRefused),
                "{address}"
            );
            let error = datagram(&ns, (address, 80)).unwrap();
            assert!(
                [ConnectionRefused, HostUnreachable, PermissionDenied].contains(&error),
                "{address}: {error}"
            );
        }
        assert_eq!(counter(&ns, "quic_refused"), 2);
        assert_eq!(counter(&ns, "icmp_refused"), 2);
        assert_eq!(counter(&ns, "metadata_refused"), 4);
        assert_eq!(origins.len(), 0);
        listener.abort();
        let _ = ns.block_on(listener);
        for address in somewhere() {
            assert_eq!(
                dial(&ns, (address, 443)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
    });
}

fn counter(ns: &Ns, name: &str) -> u64 {
    let mut command = Command::new(tool("nft"));
    command.args(["list", "counter", "inet", "portreeve", name]);
    let listing = String::from_utf8(ns.output(command).stdout).unwrap();
    let (_, packets) = listing.split_once("packets ").unwrap();
    packets.split(' ').next().unwrap().parse().unwrap()
}

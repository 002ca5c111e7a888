//! What is refused at once while the gateway is at work.

use std::io::ErrorKind::ConnectionRefused;
use std::net::{IpAddr, UdpSocket};

use crate::common::probe::{self, Pong};
use crate::common::world::{
    ADMIN_PORT, DNS_PORT, GATEWAY, GATEWAY_OUTSIDE, METADATA, PROXY_PORT, SERVER,
};
use crate::common::{Upstream, World, inside};
use crate::{assert_works, dial, gateway, server};

/// A QUIC server, as far as a first datagram can tell: whatever arrives is answered.
fn answer_datagrams(world: &World, address: IpAddr, port: u16) {
    let socket = world
        .internet
        .run(move || UdpSocket::bind((address, port)).unwrap());
    socket.set_nonblocking(true).unwrap();
    world.internet.spawn_task(async move {
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        let mut buffer = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(b"answer", peer).await;
        }
    });
}

fn datagram(world: &World, to: (IpAddr, u16)) -> Option<std::io::ErrorKind> {
    world
        .agent
        .run(move || probe::udp(to, b"?").err().map(|error| error.kind()))
}

#[test]
fn i11_quic_icmp_and_other_ports_are_refused() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let ports = [22, 853, 3128, 8443];
        let others = ports.map(|port| Upstream::recorder(&world.internet, SERVER, port));
        let gateway = gateway(&world);
        assert_works(&world, &gateway, &server);
        for address in SERVER {
            for port in ports {
                assert_eq!(
                    dial(&world, (address, port)),
                    Some(ConnectionRefused),
                    "{address} {port}"
                );
            }
            for port in [443, 123] {
                answer_datagrams(&world, address, port);
                assert_eq!(
                    datagram(&world, (address, port)),
                    Some(ConnectionRefused),
                    "{address} {port}"
                );
            }
            let pong = world.agent.run(move || probe::ping(address));
            assert_eq!(pong, Pong::Refused, "{address}");
        }
        world.settle();
        assert_eq!(world.leaked(), 0);
        assert!(others.iter().all(|other| other.connections().is_empty()));
        let counts = [
            "tcp_refused",
            "quic_refused",
            "other_refused",
            "icmp_refused",
        ];
        assert_eq!(counts.map(|name| world.counter(name)), [8, 2, 2, 2]);
        assert_works(&world, &gateway, &server);
    });
}

#[test]
fn i11_the_gateways_own_ports_are_refused() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        for address in GATEWAY.into_iter().chain(GATEWAY_OUTSIDE) {
            for port in [PROXY_PORT, DNS_PORT, ADMIN_PORT] {
                assert_eq!(
                    dial(&world, (address, port)),
                    Some(ConnectionRefused),
                    "{address} {port}"
                );
            }
            assert_eq!(
                datagram(&world, (address, DNS_PORT)),
                Some(ConnectionRefused)
            );
        }
        assert_eq!(world.counter("direct_dial_refused"), 16);
        // None of them was the gateway's own refusal: it saw nothing. It is there, though.
        assert!(gateway.metric("portreeve_connections_accepted_total", &[]) < 0.5);
        assert_eq!(gateway.admin("/healthz").0, 200);
        assert_works(&world, &gateway, &server);
    });
}

/// Redirected ports of the gateway itself: a loop that must not be one.
#[test]
fn a_redirected_port_of_the_gateway_leads_nowhere() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        for address in GATEWAY.into_iter().chain(GATEWAY_OUTSIDE) {
            assert_eq!(
                dial(&world, (address, 443)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
        assert_works(&world, &gateway, &server);
    });
}

#[test]
fn i11_metadata_addresses_get_no_answer() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let service = Upstream::recorder(&world.internet, METADATA, 80);
        let gateway = gateway(&world);
        for address in METADATA {
            let attempts = world.agent.run(move || {
                let tcp = [80, 443].map(|port| probe::tcp_start((address, port)).unwrap());
                (tcp, probe::send_ping(address).unwrap())
            });
            world.settle();
            drop(attempts);
        }
        assert_works(&world, &gateway, &server);
        let accepted = gateway.metric("portreeve_connections_accepted_total", &[]);
        assert!((accepted - 2.0).abs() < 0.5, "{accepted}");
        assert!(world.counter("metadata_dropped") >= 6);
        assert!(service.connections().is_empty());
        assert_eq!(world.leaked(), 0);
    });
}

//! What gets a prompt refusal, and what is dropped.

use std::io::ErrorKind::ConnectionRefused;
use std::net::SocketAddr;

use crate::common::probe::{self, Pong};
use crate::common::world::{
    ADMIN_PORT, AGENT, DNS_PORT, GATEWAY, GATEWAY_OUTSIDE, METADATA, PROXY_PORT, SERVER,
};
use crate::common::{Upstream, World, inside};
use crate::{answer_datagrams, datagram, dial, listen};

/// Everything but redirected connections, with servers there to answer if it came through.
fn nothing_else_leaves(world: &World) {
    world.apply_table();
    let ports = [22, 853, 8080];
    let servers = ports.map(|port| Upstream::recorder(&world.internet, SERVER, port));
    for address in SERVER {
        for port in ports {
            assert_eq!(
                dial(&world.agent, (address, port)),
                Some(ConnectionRefused),
                "{address} {port}"
            );
        }
        for port in [443, 123] {
            answer_datagrams(&world.internet, address, port, b"answer");
            assert_eq!(
                datagram(&world.agent, (address, port)),
                Some(ConnectionRefused),
                "{address} {port}"
            );
        }
        assert_eq!(
            world.agent.run(move || probe::ping(address)),
            Pong::Refused,
            "{address}"
        );
    }
    world.settle();
    assert_eq!(world.leaked(), 0);
    assert!(servers.iter().all(|server| server.connections().is_empty()));
    let counts = [
        "tcp_refused",
        "quic_refused",
        "other_refused",
        "icmp_refused",
    ];
    assert_eq!(counts.map(|name| world.counter(name)), [6, 2, 2, 2]);
}

#[test]
fn i11_other_ports_quic_and_icmp_are_refused_at_once() {
    inside(|| nothing_else_leaves(&World::new()));
}

/// Another service may need forwarding on: the table holds without the kernel's help.
#[test]
fn i11_with_forwarding_on_the_same_is_refused() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        nothing_else_leaves(&world);
    });
}

#[test]
fn i11_a_direct_dial_of_the_gateways_own_ports_is_refused() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        let listeners = [PROXY_PORT, DNS_PORT, ADMIN_PORT, 22, 443]
            .map(|port| (port, listen(&world.gateway, port).0));
        for address in GATEWAY.into_iter().chain(GATEWAY_OUTSIDE) {
            for (port, _) in &listeners {
                assert_eq!(
                    dial(&world.agent, (address, *port)),
                    Some(ConnectionRefused),
                    "{address} {port}"
                );
            }
            assert_eq!(
                datagram(&world.agent, (address, DNS_PORT)),
                Some(ConnectionRefused),
                "{address}"
            );
            assert_eq!(
                datagram(&world.agent, (address, 161)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
        // Three ports by TCP and one by UDP, and the other two and one, on four addresses.
        assert_eq!(world.counter("direct_dial_refused"), 16);
        assert_eq!(world.counter("box_refused"), 12);
        for (port, (seen, own)) in listeners
            .iter()
            .map(|(port, seen)| (port, (seen, own_addresses(*port))))
        {
            // What the agent could not, the box itself can.
            assert_eq!(dial(&world.gateway, own), None, "{port}");
            assert_eq!(seen.wait_count(1).len(), 1, "{port}");
        }
    });
}

fn own_addresses(port: u16) -> (std::net::IpAddr, u16) {
    (GATEWAY[0], port)
}

#[test]
fn i11_metadata_addresses_are_dropped() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        world.apply_table();
        let (origins, _) = listen(&world.gateway, PROXY_PORT);
        let service = Upstream::recorder(&world.internet, METADATA, 80);
        for address in METADATA {
            let attempts = world.agent.run(move || {
                let tcp = [80, 443, 8080].map(|port| probe::tcp_start((address, port)).unwrap());
                (tcp, probe::send_ping(address).unwrap())
            });
            world.settle();
            drop(attempts);
        }
        assert!(
            world.counter("metadata_dropped") >= 8,
            "{}",
            world.counter("metadata_dropped")
        );
        // The first connection that the gateway sees is this one.
        assert_eq!(dial(&world.agent, (SERVER[0], 443)), None);
        assert_eq!(origins.wait_count(1), [SocketAddr::from((SERVER[0], 443))]);
        assert_eq!(world.leaked(), 0);
        assert!(service.connections().is_empty());
    });
}

#[test]
fn nothing_is_forwarded_to_agents() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        let (seen, _) = listen(&world.agent, 22);
        for address in AGENT {
            assert_eq!(dial(&world.internet, (address, 22)), None, "{address}");
        }
        assert_eq!(seen.wait_count(2).len(), 2);
        world.apply_table();
        for address in AGENT {
            let attempt = world
                .internet
                .run(move || probe::tcp_start((address, 22)).unwrap());
            world.settle();
            drop(attempt);
        }
        assert_eq!(seen.len(), 2);
        assert!(world.counter("forward_refused") >= 2);
    });
}

#[test]
fn the_gateway_answers_an_agents_ping() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        for address in GATEWAY {
            assert_eq!(world.agent.run(move || probe::ping(address)), Pong::Reply);
        }
    });
}

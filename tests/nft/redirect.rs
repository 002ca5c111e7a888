//! What comes to the gateway.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::common::world::{DNS_PORT, GATEWAY, METADATA, PROXY_PORT, SERVER};
use crate::common::{Answer, Upstream, World, inside};
use crate::{answer_datagrams, datagram, dial, listen};

#[test]
fn tcp_to_the_configured_ports_arrives_with_its_origin() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        let (origins, _) = listen(&world.gateway, PROXY_PORT);
        let nowhere: [IpAddr; 2] = [
            "198.51.100.7".parse().unwrap(),
            "2001:db8:ffff::7".parse().unwrap(),
        ];
        let mut expected = Vec::new();
        for address in SERVER.into_iter().chain(nowhere) {
            for port in [80, 443] {
                assert_eq!(
                    dial(&world.agent, (address, port)),
                    None,
                    "{address} {port}"
                );
                expected.push(SocketAddr::from((address, port)));
            }
        }
        let mut seen = origins.wait_count(expected.len());
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        assert_eq!(world.counter("redirected"), 8);
        assert_eq!(world.leaked(), 0);
    });
}

#[test]
fn dns_arrives_whatever_the_resolver() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        let (origins, _) = listen(&world.gateway, DNS_PORT);
        let any = Ipv6Addr::UNSPECIFIED.into();
        answer_datagrams(&world.gateway, any, DNS_PORT, b"answer");
        let mut dialled = Vec::new();
        for address in GATEWAY.into_iter().chain(SERVER).chain(METADATA) {
            assert_eq!(datagram(&world.agent, (address, 53)), None, "{address}");
            assert_eq!(dial(&world.agent, (address, 53)), None, "{address}");
            dialled.push(SocketAddr::from((address, 53)));
        }
        let mut seen = origins.wait_count(dialled.len());
        seen.sort_unstable();
        dialled.sort_unstable();
        assert_eq!(seen, dialled);
        assert_eq!(world.leaked(), 0);
    });
}

#[test]
fn the_gateways_own_traffic_is_left_alone() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        let server = Upstream::http(&world.internet, SERVER, 80, |_| Answer::ok(""));
        for address in SERVER {
            assert_eq!(dial(&world.gateway, (address, 80)), None);
            answer_datagrams(&world.internet, address, 53, b"answer");
            assert_eq!(datagram(&world.gateway, (address, 53)), None);
        }
        assert_eq!(server.wait_connections(2).len(), 2);
    });
}

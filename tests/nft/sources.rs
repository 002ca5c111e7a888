//! Who may speak on an agent's interface: an agent is known by its source address.

use std::net::IpAddr;

use ipnet::IpNet;
use portreeve::nft::{Settings, Topology};

use crate::common::probe::{self, Pong};
use crate::common::world::{GATEWAY, PROXY_PORT, SERVER};
use crate::common::{World, inside};
use crate::{apply, dial, listen, settings};

/// Addresses to add; `nodad` makes one usable at once.
const STRANGERS: [&str; 2] = ["10.0.1.200", "fd00:1::200 nodad"];

fn address(to_add: &str) -> IpAddr {
    to_add.split(' ').next().unwrap().parse().unwrap()
}

fn pinned(sources: &[&str]) -> Settings {
    let sources: Vec<IpNet> = sources.iter().map(|net| net.parse().unwrap()).collect();
    Settings {
        agents: vec![("lan0".into(), sources)],
        ..settings()
    }
}

#[test]
fn other_sources_on_a_pinned_interface_are_dropped() {
    inside(|| {
        let world = World::new();
        let (origins, _) = listen(&world.gateway, PROXY_PORT);
        apply(
            &world.gateway,
            Topology::Box,
            &pinned(&["10.0.1.0/25", "fd00:1::/120"]),
        );
        for address in SERVER {
            assert_eq!(dial(&world.agent, (address, 443)), None, "{address}");
        }
        for (stranger, server) in STRANGERS.into_iter().zip(SERVER) {
            // Never chosen by itself.
            world
                .agent
                .ip(&format!("addr add dev agent0 preferred_lft 0 {stranger}"));
            let before = world.counter("spoofed_dropped");
            let stranger = address(stranger);
            world
                .agent
                .run(move || probe::udp_from(stranger, (server, 53)).unwrap());
            world.settle();
            assert_eq!(world.counter("spoofed_dropped"), before + 1, "{stranger}");
        }
        assert_eq!(origins.wait_count(2).len(), 2);
    });
}

#[test]
fn an_interface_with_sources_of_one_family_is_closed_to_the_other() {
    inside(|| {
        let world = World::new();
        let (_origins, _) = listen(&world.gateway, PROXY_PORT);
        apply(&world.gateway, Topology::Box, &pinned(&["10.0.1.2/32"]));
        assert_eq!(dial(&world.agent, (SERVER[0], 443)), None);
        let attempt = world
            .agent
            .run(|| probe::tcp_start((SERVER[1], 443)).unwrap());
        assert_eq!(world.agent.run(|| probe::ping(GATEWAY[0])), Pong::Reply);
        assert!(world.counter("spoofed_dropped") >= 1);
        drop(attempt);
    });
}

/// Anyone on any source, as far as the table is concerned; all families.
#[test]
fn the_widest_sources_load() {
    inside(|| {
        let world = World::new();
        let (_origins, _) = listen(&world.gateway, PROXY_PORT);
        let everyone = ["0.0.0.0/0", "10.0.1.0/24", "::/0"];
        apply(&world.gateway, Topology::Box, &pinned(&everyone));
        for address in SERVER {
            assert_eq!(dial(&world.agent, (address, 443)), None, "{address}");
        }
    });
}

/// IPv6 has no `rp_filter`: with an address of the internet an agent could otherwise pose as
/// a resolver or a server to the gateway.
#[test]
fn sources_that_are_routed_elsewhere_are_dropped() {
    inside(|| {
        let world = World::new();
        world.gateway.sysctl("net.ipv4.conf.lan0.rp_filter", "0");
        world.apply_table();
        for (source, gateway) in ["203.0.113.77", "2001:db8:1::77 nodad"]
            .into_iter()
            .zip(GATEWAY)
        {
            world.agent.ip(&format!("addr add dev agent0 {source}"));
            let before = world.counter("spoofed_dropped");
            let source = address(source);
            world
                .agent
                .run(move || probe::udp_from(source, (gateway, 53)).unwrap());
            world.settle();
            assert_eq!(world.counter("spoofed_dropped"), before + 1, "{source}");
        }
        assert_eq!(world.counter("dns_redirected"), 0);
    });
}

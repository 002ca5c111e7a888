//! I11: what is left when the gateway is gone, the ruleset is gone, or an agent poses as a
//! router.

use std::io::ErrorKind::ConnectionRefused;
use std::process::Command;

use crate::common::probe;
use crate::common::world::{PROXY_PORT, SERVER};
use crate::common::{Upstream, World, inside};
use crate::{dial, listen};

#[test]
fn i11_without_the_gateway_connections_are_refused() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        world.apply_table();
        let server = Upstream::recorder(&world.internet, SERVER, 443);
        let (_, listener) = listen(&world.gateway, PROXY_PORT);
        for address in SERVER {
            assert_eq!(dial(&world.agent, (address, 443)), None, "{address}");
        }
        listener.abort();
        let _ = world.gateway.block_on(listener);
        for address in SERVER {
            assert_eq!(
                dial(&world.agent, (address, 443)),
                Some(ConnectionRefused),
                "{address}"
            );
        }
        world.settle();
        assert_eq!(world.leaked(), 0);
        assert!(server.connections().is_empty());
    });
}

#[test]
fn i11_without_the_ruleset_nothing_passes() {
    inside(|| {
        let world = World::new();
        world.apply_table();
        let server = Upstream::recorder(&world.internet, SERVER, 443);
        world.flush_ruleset();
        let attempts = SERVER.map(|address| {
            world.agent.run(move || {
                let datagram = probe::udp_from("::".parse().unwrap(), (address, 443));
                let datagram = datagram
                    .or_else(|_| probe::udp_from("0.0.0.0".parse().unwrap(), (address, 443)));
                datagram.unwrap();
                (
                    probe::tcp_start((address, 443)).unwrap(),
                    probe::send_ping(address).unwrap(),
                )
            })
        });
        world.settle();
        assert_eq!(world.leaked(), 0);
        assert!(server.connections().is_empty());
        drop(attempts);
        // The attempts are good ones: only forwarding was missing.
        world.forward(true);
        for address in SERVER {
            assert_eq!(dial(&world.agent, (address, 443)), None);
        }
    });
}

/// The gateway's default routes over the agents' interface.
fn routes_to_agents(world: &World) -> String {
    let mut command = Command::new("ip");
    command.args(["-6", "route", "show", "default", "dev", "lan0"]);
    String::from_utf8(world.gateway.output(command).stdout).unwrap()
}

fn advertise(world: &World) {
    world.agent.run(|| probe::advertise_router("agent0"));
    world.settle();
}

#[test]
fn i11_a_router_advertisement_from_an_agent_changes_nothing() {
    inside(|| {
        let world = World::new();
        // By the kernel's settings as shipped, without the table ...
        advertise(&world);
        assert_eq!(routes_to_agents(&world), "");
        // ... and by the table, without the settings.
        world.gateway.sysctl("net.ipv6.conf.lan0.accept_ra", "1");
        world.apply_table();
        advertise(&world);
        assert_eq!(routes_to_agents(&world), "");
        assert_eq!(world.counter("router_messages_dropped"), 1);
        // Without both, it would have been a default route.
        world.flush_ruleset();
        advertise(&world);
        assert!(
            routes_to_agents(&world).contains("proto ra"),
            "{}",
            routes_to_agents(&world)
        );
    });
}

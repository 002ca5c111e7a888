//! I11: the daemon dead, the ruleset gone, an agent posing as a router.

use std::io::ErrorKind::ConnectionRefused;
use std::process::Command;

use rustix::process::Signal;

use crate::common::client::Tls;
use crate::common::probe;
use crate::common::world::SERVER;
use crate::common::{Upstream, World, inside};
use crate::{assert_works, dial, gateway, server};

/// Every way out that the agent has, tried at once and without waiting for an answer.
fn try_everything(world: &World) {
    for address in SERVER {
        let attempts = world.agent.run(move || {
            let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
            for port in [53, 443, 4433] {
                probe::udp_from(any.parse().unwrap(), (address, port)).unwrap();
            }
            let tcp = [22, 53, 80, 443].map(|port| probe::tcp_start((address, port)).unwrap());
            (tcp, probe::send_ping(address).unwrap())
        });
        world.settle();
        drop(attempts);
    }
}

#[test]
fn i11_with_the_daemon_killed_nothing_passes() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let mut gateway = gateway(&world);
        assert_works(&world, &gateway, &server);
        let (connections, requests) = (server.connections().len(), server.requests().len());
        gateway.kill();
        for address in SERVER {
            for port in [80, 443] {
                assert_eq!(
                    dial(&world, (address, port)),
                    Some(ConnectionRefused),
                    "{address} {port}"
                );
            }
        }
        try_everything(&world);
        assert_eq!(world.leaked(), 0);
        assert_eq!(server.connections().len(), connections);
        assert_eq!(server.requests().len(), requests);
        // It comes back, and all is as before.
        gateway.start();
        assert_works(&world, &gateway, &server);
    });
}

/// Stopped, not dead: connections wait in its backlog, and nothing goes around it.
#[test]
fn i11_with_the_daemon_stopped_connections_wait() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
        gateway.signal(Signal::STOP);
        try_everything(&world);
        assert_eq!(world.leaked(), 0);
        assert!(server.connections().is_empty());
        let waiting = world
            .agent
            .spawn_task(async move { tls.connect((SERVER[0], 443), "good.test").await.is_ok() });
        world.settle();
        assert!(!waiting.is_finished());
        gateway.signal(Signal::CONT);
        let greeted = world.agent.block_on(async move { waiting.await.unwrap() });
        assert!(greeted);
        assert_works(&world, &gateway, &server);
    });
}

#[test]
fn i11_with_the_ruleset_flushed_nothing_passes() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let clear = Upstream::recorder(&world.internet, SERVER, 80);
        let gateway = gateway(&world);
        assert_works(&world, &gateway, &server);
        let connections = server.connections().len();
        world.flush_ruleset();
        try_everything(&world);
        assert_eq!(world.leaked(), 0);
        assert_eq!(server.connections().len(), connections);
        assert!(clear.connections().is_empty());
        // The attempts are good ones: with forwarding on, they arrive.
        world.forward(true);
        try_everything(&world);
        assert!(world.leaked() > 0);
    });
}

/// Where the gateway would send packets for addresses beyond its own networks.
fn default_routes(world: &World) -> String {
    let mut command = Command::new("ip");
    command.args(["-6", "route", "show", "default"]);
    String::from_utf8(world.gateway.output(command).stdout).unwrap()
}

#[test]
fn i11_a_router_advertisement_from_the_agent_changes_nothing() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        let before = default_routes(&world);
        assert!(before.contains("wan0"), "{before}");
        // By the kernel's settings as shipped and the table ...
        world.agent.run(|| probe::advertise_router("agent0"));
        world.settle();
        assert_eq!(default_routes(&world), before);
        assert_works(&world, &gateway, &server);
        // ... by the table, should some service have changed the settings ...
        world.gateway.sysctl("net.ipv6.conf.lan0.accept_ra", "2");
        world.agent.run(|| probe::advertise_router("agent0"));
        world.settle();
        assert_eq!(default_routes(&world), before);
        assert_eq!(world.counter("router_messages_dropped"), 2);
        // ... and by the settings, should one have flushed the ruleset.
        world.gateway.sysctl("net.ipv6.conf.lan0.accept_ra", "0");
        world.flush_ruleset();
        world.agent.run(|| probe::advertise_router("agent0"));
        world.settle();
        assert_eq!(default_routes(&world), before);
        // Without both it would have been a route.
        world.gateway.sysctl("net.ipv6.conf.lan0.accept_ra", "2");
        world.agent.run(|| probe::advertise_router("agent0"));
        world.settle();
        assert!(default_routes(&world).contains("lan0"));
    });
}

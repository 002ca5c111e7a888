//! I6: what keeps two requests off the same connection to a server.

use crate::common::world::{ATTACKER, OTHER, SERVER};
use crate::common::{GatewayProcess, Upstream, World, inside};
use crate::lab::{ANYTHING, Agents, Alice, Bob, config, echo, good, h1, start};

/// Two credentials and none for the same server.
const CREDENTIALS: &str = r#"
[[credential]]
name = "one"
secret = { file = "../one" }
hosts = ["good.test", "h1.test"]
attach = { header = "x-api-key" }
[[credential]]
name = "two"
secret = { file = "../two" }
hosts = ["good.test", "h1.test"]
attach = { header = "x-api-key" }
[[rule]]
name = "with-one"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/one"]
credential = "one"
[[rule]]
name = "with-two"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/two"]
credential = "two"
[[rule]]
name = "without"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/none"]
"#;

fn with_credentials(world: &World) -> GatewayProcess<'_> {
    let builder = world
        .gateway_builder(&config("", ""))
        .rule("rules.toml", CREDENTIALS);
    builder
        .secret("one", "secret-one")
        .secret("two", "secret-two")
        .start()
}

/// On which connections requests to this path came.
fn connections_of(server: &Upstream, path: &str) -> Vec<usize> {
    let requests = server.requests();
    let of_path = requests.iter().filter(|request| request.target == path);
    of_path.map(|request| request.connection).collect()
}

#[test]
fn i6_agents_do_not_share_a_connection() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            for who in [Alice, Bob, Alice, Bob] {
                let path = format!("/{who:?}");
                assert_eq!(agents.h1(who, name).get(&path).unwrap().status, 200);
            }
            let (alice, bob) = (
                connections_of(server, "/Alice"),
                connections_of(server, "/Bob"),
            );
            // Each agent's own connection is used again, the other's is not.
            assert_eq!((alice[0], bob[0]), (alice[1], bob[1]), "{name}");
            assert_ne!(alice[0], bob[0], "{name}");
        }
    });
}

#[test]
fn i6_agents_share_where_the_rule_says_so() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let rules = format!("{ANYTHING}share_upstream = true\n");
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", &rules)]);
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            for who in [Alice, Bob] {
                assert_eq!(agents.h1(who, name).get("/").unwrap().status, 200);
            }
            assert_eq!(connections_of(server, "/"), [0, 0], "{name}");
        }
    });
}

#[test]
fn i6_credentials_do_not_share_a_connection() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = with_credentials(&world);
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            let mut client = agents.h1(Alice, name);
            for path in ["/one", "/two", "/none", "/one", "/two", "/none"] {
                assert_eq!(client.get(path).unwrap().status, 200);
            }
            let mut used = Vec::new();
            for path in ["/one", "/two", "/none"] {
                let of_path = connections_of(server, path);
                assert_eq!(of_path[0], of_path[1], "{name} {path}");
                assert!(!used.contains(&of_path[0]), "{name} {path}: {used:?}");
                used.push(of_path[0]);
            }
        }
    });
}

#[test]
fn i6_a_changed_secret_gets_a_new_connection() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = with_credentials(&world);
        let agents = Agents::new(&world, &gateway);
        let names = ["good.test", "h1.test"];
        let mut clients = names.map(|name| agents.h1(Alice, name));
        let mut ask = || {
            for client in &mut clients {
                assert_eq!(client.get("/one").unwrap().status, 200);
            }
        };
        ask();
        gateway.reload();
        ask();
        gateway.write_secret("one", "secret-new");
        gateway.reload();
        ask();
        for server in servers {
            let requests = server.requests();
            let keys: Vec<_> = requests.iter().map(|r| r.header("x-api-key")).collect();
            let (old, new) = (Some("secret-one"), Some("secret-new"));
            assert_eq!(keys, [old, old, new]);
            // A reload that changes nothing costs no connection.
            assert_eq!(requests[0].connection, requests[1].connection);
            assert_ne!(requests[1].connection, requests[2].connection);
        }
    });
}

#[test]
fn i6_schemes_and_ports_do_not_share_a_connection() {
    inside(|| {
        let world = World::new();
        let tls = || world.ca.server(&["good.test"]);
        let net = &world.internet;
        let servers = [
            Upstream::https(net, SERVER, 443, tls(), echo),
            Upstream::https(net, SERVER, 8444, tls(), echo),
            Upstream::http(net, SERVER, 80, echo),
        ];
        let rules = r#"
[[rule]]
name = "ports"
agents = ["alice"]
hosts = ["good.test"]
schemes = ["https", "http"]
ports = [80, 443, 8444]
"#;
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", rules)]);
        let agents = Agents::new(&world, &gateway);
        for _ in 0..2 {
            agents.h1(Alice, "good.test").get("/443").unwrap();
            let mut other = agents.h1_at((SERVER[0], 8444), "good.test").unwrap();
            let request = "GET /8444 HTTP/1.1\r\nhost: good.test:8444\r\n\r\n";
            assert_eq!(other.exchange(request).unwrap().status, 200);
            assert_eq!(agents.tcp(Alice, 80).get("/80").unwrap().status, 200);
        }
        for (server, path) in servers.iter().zip(["/443", "/8444", "/80"]) {
            let targets: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
            assert_eq!(targets, [path, path]);
            assert_eq!(server.connections().len(), 1, "{path}");
        }
    });
}

#[test]
fn i6_an_allowed_name_at_an_attackers_address_poisons_nothing() {
    inside(|| {
        let world = World::new();
        let (server, plain) = (good(&world), h1(&world, echo));
        // The worst case: it even has a certificate for the name, and agents share.
        let tls = world.ca.server(&["good.test", "h1.test"]);
        let attacker = Upstream::https(&world.internet, ATTACKER, 443, tls, echo);
        let rules = format!("{ANYTHING}share_upstream = true\n");
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", &rules)]);
        let agents = Agents::new(&world, &gateway);
        for name in ["good.test", "h1.test"] {
            let mut alice = agents.h1_at((ATTACKER[0], 443), name).unwrap();
            assert_eq!(alice.get("/alice").unwrap().status, 200);
            let mut bob = agents.h1(Bob, name);
            assert_eq!(bob.get("/bob").unwrap().status, 200);
        }
        assert_eq!(connections_of(&server, "/bob"), [0]);
        assert_eq!(connections_of(&plain, "/bob"), [0]);
        assert_eq!(server.requests().len() + plain.requests().len(), 4);
        assert!(attacker.connections().is_empty());
        assert_ne!(OTHER, ATTACKER);
    });
}

#[test]
fn i6_a_rule_that_a_reload_removes_ends_for_open_connections() {
    inside(|| {
        let world = World::new();
        let (server, plain) = (good(&world), h1(&world, echo));
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut one = agents.h1(Alice, "h1.test");
        let two = agents.h2(Alice, "good.test");
        assert_eq!(one.get("/before").unwrap().status, 200);
        assert_eq!(two.get("/before").unwrap().status, 200);
        gateway.write_rule("rules.toml", "");
        gateway.reload();
        assert_eq!(one.get("/after").unwrap().status, 403);
        assert_eq!(two.get("/after").unwrap().status, 403);
        for server in [server, plain] {
            let targets: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
            assert_eq!(targets, ["/before"]);
        }
    });
}

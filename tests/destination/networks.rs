//! I8: forbidden networks, by fixed answers and by answers of a real name server; and the
//! exceptions that an operator may write.

use std::net::IpAddr;

use crate::common::world::{ADMIN_PORT, AGENT, GATEWAY, GATEWAY_OUTSIDE, METADATA, Pair, SERVER};
use crate::common::{Answer, Ns, Upstream, World, inside};
use crate::name_server::NameServer;
use crate::town::{Agent, Config, assert_refused, assert_untouched, get, get_h2, start};

/// Addresses of the internet's namespace that no gateway should dial, with a server on each.
const FAR: [&str; 24] = [
    // Private, shared, link-local, reserved.
    "10.9.9.9",
    "fc00::9",
    "172.16.0.9",
    "192.168.7.9",
    "100.64.0.9",
    "169.254.7.9",
    "192.0.0.9",
    "198.18.0.9",
    "198.51.100.9",
    "fd77::9",
    "3fff::9",
    // Metadata, beside those that the world has.
    "100.100.100.200",
    "168.63.129.16",
    "169.254.170.2",
    "192.0.0.192",
    "fd20:ce::254",
    // IPv4 in IPv6: NAT64 of loopback, metadata and private, local NAT64, 6to4, Teredo,
    // ISATAP.
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:102",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2600::5efe:7f00:1",
];

/// More spellings of what is near: this machine, and IPv4-mapped addresses.
const NEAR: [&str; 12] = [
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "0.0.0.0",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.1.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "fe80::1",
    "224.0.0.1",
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// All forbidden addresses, those of the world's machines included.
fn forbidden() -> Vec<IpAddr> {
    let own = [AGENT, GATEWAY, GATEWAY_OUTSIDE, METADATA].concat();
    let texts = FAR.iter().chain(&NEAR).map(|text| ip(text));
    own.into_iter().chain(texts).collect()
}

/// Servers where forbidden addresses lead, on the port 443 and on 80.
fn traps(world: &World) -> Vec<(Pair, u16, Upstream)> {
    let mut commands = String::new();
    for text in FAR {
        let length = if ip(text).is_ipv4() { 32 } else { 128 };
        let nodad = if ip(text).is_ipv4() { "" } else { "nodad" };
        commands.push_str(&format!("addr add {text}/{length} dev lo {nodad}\n"));
    }
    world.internet.ip(&commands);
    let far: Vec<IpAddr> = FAR.iter().map(|text| ip(text)).collect();
    let mut places: Vec<(&Ns, Pair)> = vec![
        (&world.gateway, [ip("127.0.0.1"), ip("::1")]),
        (&world.gateway, GATEWAY),
        (&world.gateway, GATEWAY_OUTSIDE),
        (&world.internet, METADATA),
    ];
    places.extend(
        far.chunks(2)
            .map(|pair| (&world.internet, [pair[0], pair[1]])),
    );
    let mut traps = Vec::new();
    for (ns, addresses) in places {
        for port in [443, 80] {
            traps.push((addresses, port, Upstream::recorder(ns, addresses, port)));
        }
    }
    traps
}

fn rules(names: &[String]) -> String {
    format!(
        "[[rule]]\nname = \"all\"\nagents = [\"builder\"]\nhosts = {names:?}\n\
         schemes = [\"https\", \"http\"]\nports = [443, 80]\n"
    )
}

#[test]
fn i8_no_answer_leads_into_a_forbidden_network() {
    inside(|| {
        let world = World::new();
        let traps = traps(&world);
        let addresses = forbidden();
        let (fixed, asked): (Vec<String>, Vec<String>) = (0..addresses.len())
            .map(|index| (format!("fixed{index}.test"), format!("asked{index}.test")))
            .unzip();
        let answers = asked.iter().cloned().zip(addresses.iter().copied());
        let answers: Vec<(String, IpAddr)> = answers.collect();
        let server = NameServer::start(&world.internet, move |name, _| {
            let found = answers.iter().find(|(asked, _)| asked == name);
            found.map(|(_, address)| *address).into_iter().collect()
        });
        // The config takes no IPv4 address written as IPv6; a name server may answer what it likes.
        let config = fixed
            .iter()
            .zip(&addresses)
            .filter(|(_, address)| address.to_canonical() == **address)
            .fold(Config::default(), |config, (name, address)| {
                config.with(name, &[*address])
            });
        let mapped = |index: usize| addresses[index].to_canonical() != addresses[index];
        let names: Vec<_> = fixed.iter().chain(&asked).cloned().collect();
        let gateway = start(&world, &config, &rules(&names));
        let agent = Agent::new(&world, &gateway);
        for (index, name) in names.iter().enumerate() {
            if index < fixed.len() && mapped(index) {
                continue;
            }
            let to = SERVER[index % 2];
            let https = agent.https((to, 443), name, get(name, "/"));
            let h2 = agent.h2((to, 443), name, vec![get_h2(&format!("https://{name}/"))]);
            let http = agent.http((to, 80), get(name, "/"));
            for response in [&https, &h2[0], &http] {
                let address = addresses[index % addresses.len()];
                // A name server's answer of the other family is none at all.
                let label = crate::town::reason(response);
                assert_eq!(
                    (response.status, label),
                    (403, Some("forbidden_network")),
                    "{name} {address}"
                );
                assert!(
                    !response.text().contains(&address.to_string()),
                    "{}",
                    response.text()
                );
            }
        }
        assert!(server.asked().len() >= addresses.len());
        for (addresses, port, trap) in &traps {
            assert_untouched(&world, trap, *addresses, *port);
        }
        assert_eq!(world.leaked(), 0);
    });
}

/// The gateway's own ports, by the address dialled and by a name that resolves there.
#[test]
fn i8_the_admin_port_and_the_proxy_itself_are_out_of_reach() {
    inside(|| {
        let world = World::new();
        let own = [GATEWAY, GATEWAY_OUTSIDE, [ip("127.0.0.1"), ip("::1")]].concat();
        let names: Vec<String> = (0..own.len())
            .map(|index| format!("own{index}.test"))
            .collect();
        let mut config = names
            .iter()
            .zip(&own)
            .fold(Config::default(), |config, (name, address)| {
                config.with(name, &[*address])
            });
        // An operator who redirects and allows even these ports opens nothing.
        config.ports = vec![80, 443, 8443, ADMIN_PORT];
        let rules = format!(
            "[[rule]]\nname = \"own\"\nagents = [\"builder\"]\nhosts = {names:?}\n\
             schemes = [\"https\", \"http\"]\nports = [80, 443, 8443, {ADMIN_PORT}]\n"
        );
        let gateway = start(&world, &config, &rules);
        let agent = Agent::new(&world, &gateway);
        for name in &names {
            for port in [ADMIN_PORT, 8443] {
                let host = format!("{name}:{port}");
                let response = agent.http((SERVER[0], port), get(&host, "/metrics"));
                assert_refused(&response, 403, "forbidden_network");
                let response = agent.https((SERVER[1], port), name, get(&host, "/metrics"));
                assert_refused(&response, 403, "forbidden_network");
            }
        }
        let (status, body) = gateway.admin("/metrics");
        assert_eq!(status, 200);
        assert!(body.contains("portreeve_"));
        // Only this process asked, and only from the gateway itself.
        for address in GATEWAY.into_iter().chain(GATEWAY_OUTSIDE) {
            let outcome = world.agent.block_on(async move {
                let stream = crate::common::client::tcp((address, ADMIN_PORT)).await?;
                let mut h1 = crate::common::client::H1::new(stream);
                h1.exchange(get("admin", "/metrics")).await
            });
            // Refused by the kernel, closed as a loop, or refused with a page: never metrics.
            if let Ok(response) = outcome {
                assert_ne!(response.status, 200, "{address}");
            }
        }
        assert_eq!(world.leaked(), 0);
    });
}

#[test]
fn i8_an_exception_opens_exactly_what_it_names() {
    inside(|| {
        let world = World::new();
        let tls = |name: &str| world.ca.server(&[name]);
        let home = Upstream::https(
            &world.gateway,
            [ip("127.0.0.1"), ip("::1")],
            443,
            tls("home.test"),
            |_| Answer::ok("home"),
        );
        let own = Upstream::recorder(&world.gateway, GATEWAY, 443);
        let private = [ip("10.9.9.9"), ip("fc00::9")];
        world
            .internet
            .ip("addr add 10.9.9.9/32 dev lo\naddr add fc00::9/128 dev lo nodad\n");
        let near = Upstream::https(&world.internet, private, 443, tls("near.test"), |_| {
            Answer::ok("near")
        });
        let metadata = Upstream::recorder(&world.internet, METADATA, 443);
        let mut config = Config::default()
            .with("home.test", &[ip("127.0.0.1")])
            .with("home6.test", &[ip("::1")])
            .with("home2.test", &[ip("127.0.0.2")])
            .with("own.test", &GATEWAY)
            .with("near.test", &private)
            .with("metadata.test", &METADATA);
        // The private networks hold own and metadata addresses; those stay closed.
        let allow = ["127.0.0.1/32", "10.0.0.0/8", "fc00::/7", "169.254.0.0/16"];
        config.allow = allow.map(str::to_owned).to_vec();
        let names = ["home", "home6", "home2", "own", "near", "metadata"];
        let names = names.map(|name| format!("{name}.test"));
        let gateway = start(&world, &config, &rules(&names));
        let agent = Agent::new(&world, &gateway);
        for name in &names {
            let response = agent.https((SERVER[0], 443), name, get(name, "/"));
            if ["home.test", "near.test"].contains(&name.as_str()) {
                assert_eq!(response.status, 200, "{name}");
            } else {
                assert_refused(&response, 403, "forbidden_network");
            }
        }
        assert_eq!((home.requests().len(), near.requests().len()), (1, 1));
        assert!(home.connections()[0].local.is_ipv4());
        assert_untouched(&world, &own, GATEWAY, 443);
        assert_untouched(&world, &metadata, METADATA, 443);
    });
}

//! I8: names that resolve to where nobody may go.

use std::net::IpAddr;
use std::process::Command;

use crate::common::world::tool;
use crate::common::{World, inside};
use crate::lab::{Agents, Alice};
use crate::name_server::NameServer;
use crate::table;

const RULES: &str = r#"
[[rule]]
name = "addresses"
agents = ["alice"]
hosts = ["*.addr.test"]
"#;

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
nameservers = ["203.0.113.2"]
[limits]
lookups_per_second = 100000
[[agent]]
name = "alice"
sources = ["10.0.1.0/24"]
"#;

/// Every connection that the gateway begins, but for those to its own admin server.
const WITNESS: &str = "table inet dials {
    counter begun {
    }
    chain output {
        type filter hook output priority 0
        tcp dport != 9464 tcp flags & (syn | ack) == syn counter name begun
    }
}";

fn begun(world: &World) -> u64 {
    let mut command = Command::new(tool("nft"));
    command.args(["-j", "list", "counter", "inet", "dials", "begun"]);
    let output = world.gateway.output(command);
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = listing["nftables"].as_array().unwrap();
    let mut packets = objects
        .iter()
        .filter_map(|o| o["counter"]["packets"].as_u64());
    packets.next().unwrap()
}

#[test]
fn i8_no_name_leads_into_a_forbidden_network() {
    inside(|| {
        let world = World::new();
        let rows = table("addresses");
        let addresses: Vec<IpAddr> = rows
            .iter()
            .map(|row| std::str::from_utf8(&row.bytes).unwrap().parse().unwrap())
            .collect();
        let answers = addresses.clone();
        NameServer::start(&world.internet, move |name, v6| {
            let number: usize = name[1..].split('.').next().unwrap().parse().unwrap();
            let of_family = answers[number].is_ipv6() == v6;
            of_family.then_some(answers[number]).into_iter().collect()
        });
        let gateway = world.gateway_process(CONFIG, &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        world.gateway.nft(WITNESS);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.expect, "forbidden");
            let name = format!("a{number}.addr.test").leak();
            let response = agents.h1(Alice, name).get("/").unwrap();
            assert_eq!(response.status, 403, "{} {}", row.line, response.text());
            let reason = response.text().contains("urn:portreeve:forbidden_network");
            assert!(reason, "{} {}", row.line, response.text());
        }
        assert_eq!(begun(&world), 0, "the gateway began a connection");
    });
}

//! Three network namespaces in a row: agent, gateway, internet.
//!
//! ```text
//! agent            gateway                    internet
//! agent0 ───────── lan0    wan0 ───────────── net0
//! 10.0.1.2         10.0.1.1   203.0.113.1     203.0.113.2 and servers
//! fd00:1::2        fd00:1::1  2001:db8:1::1   2001:db8:1::2 and servers
//! ```
//!
//! The internet routes back to the agent, so only the gateway keeps them apart: whatever it
//! lets through arrives, is answered, and is counted ([`World::leaked`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve::nft::{self, Rendered, Settings, Topology};
use tempfile::TempDir;

use super::gateway::{Builder, GatewayProcess};
use super::{Ns, TestCa, probe};

/// An IPv4 and an IPv6 address of the same host.
pub type Pair = [IpAddr; 2];

/// The agent.
pub const AGENT: Pair = pair([10, 0, 1, 2], [0xfd00, 1, 0, 0, 0, 0, 0, 2]);
/// The gateway, as the agent sees it.
pub const GATEWAY: Pair = pair([10, 0, 1, 1], [0xfd00, 1, 0, 0, 0, 0, 0, 1]);
/// The gateway, as the internet sees it.
pub const GATEWAY_OUTSIDE: Pair = pair([203, 0, 113, 1], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]);
/// A server: where [`super::Upstream::start`] listens.
pub const SERVER: Pair = server(0x10);
/// A second server.
pub const OTHER: Pair = server(0x11);
/// A third server.
pub const THIRD: Pair = server(0x12);
/// Where an agent might want to carry data.
pub const ATTACKER: Pair = server(0x66);
/// The metadata service of a cloud, answering in the internet's namespace.
pub const METADATA: Pair = pair([169, 254, 169, 254], [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]);

/// Where the gateway listens, unless a test configures other ports.
pub const PROXY_PORT: u16 = 8443;
pub const DNS_PORT: u16 = 8053;
pub const ADMIN_PORT: u16 = 9464;

const fn pair(v4: [u8; 4], v6: [u16; 8]) -> Pair {
    let [a, b, c, d, e, f, g, h] = v6;
    let v4 = Ipv4Addr::new(v4[0], v4[1], v4[2], v4[3]);
    [
        IpAddr::V4(v4),
        IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
    ]
}

/// `203.0.113.10` and `2001:db8:1::10` for `0x10`: both end in the same digits.
const fn server(digits: u8) -> Pair {
    let decimal = digits / 16 * 10 + digits % 16;
    pair(
        [203, 0, 113, decimal],
        [0x2001, 0xdb8, 1, 0, 0, 0, 0, digits as u16],
    )
}

/// The three namespaces, a CA for servers, and a folder for files.
pub struct World {
    pub agent: Ns,
    pub gateway: Ns,
    pub internet: Ns,
    /// Signs the servers of [`super::Upstream`]. The gateway's config reaches it by
    /// `trust = ["upstream-ca.pem"]`.
    pub ca: TestCa,
    folder: TempDir,
}

impl World {
    /// Builds the namespaces, with the gateway's kernel settings as shipped and no table.
    pub fn new() -> Self {
        let world = Self {
            agent: Ns::new("agent"),
            gateway: Ns::new("gateway"),
            internet: Ns::new("internet"),
            ca: TestCa::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        for ns in [&world.agent, &world.gateway, &world.internet] {
            ns.sysctl("net.ipv6.conf.all.disable_ipv6", "0");
            ns.sysctl("net.ipv6.conf.default.disable_ipv6", "0");
        }
        world.connect();
        for (name, value) in shipped_sysctls() {
            world.gateway.sysctl(&name, &value);
        }
        world
    }

    fn connect(&self) {
        // `nodad` and our own link-local addresses: those of the kernel come up to a second
        // after the link does.
        self.gateway.ip(&format!(
            "link add lan0 type veth peer name agent0 netns {agent}
             link add wan0 type veth peer name net0 netns {internet}
             addr add 10.0.1.1/24 dev lan0
             addr add fd00:1::1/64 dev lan0 nodad
             addr add 203.0.113.1/24 dev wan0
             addr add 2001:db8:1::1/64 dev wan0 nodad
             addr add fe80::1/64 dev lan0 nodad
             addr add fe80::1/64 dev wan0 nodad
             link set lan0 addrgenmode none up
             link set wan0 addrgenmode none up
             route add default via 203.0.113.2
             route add ::/0 via 2001:db8:1::2",
            agent = self.agent.id,
            internet = self.internet.id,
        ));
        self.agent.ip("addr add 10.0.1.2/24 dev agent0
             addr add fd00:1::2/64 dev agent0 nodad
             addr add fe80::2/64 dev agent0 nodad
             link set agent0 addrgenmode none up
             route add default via 10.0.1.1
             route add ::/0 via fd00:1::1");
        let mut commands = String::from(
            "addr add 203.0.113.2/24 dev net0
             addr add 2001:db8:1::2/64 dev net0 nodad
             addr add 169.254.169.254/32 dev lo
             addr add fd00:ec2::254/128 dev lo nodad
             addr add fe80::2/64 dev net0 nodad
             link set net0 addrgenmode none up
             route add default via 203.0.113.1
             route add ::/0 via 2001:db8:1::1\n",
        );
        for [v4, v6] in [SERVER, OTHER, THIRD, ATTACKER] {
            commands.push_str(&format!(
                "addr add {v4}/24 dev net0\naddr add {v6}/64 dev net0 nodad\n"
            ));
        }
        self.internet.ip(&commands);
        self.internet.nft(
            "table inet witness {
                counter leaked {
                }
                chain arrivals {
                    type filter hook prerouting priority raw
                    ip saddr 10.0.1.0/24 counter name leaked
                    ip6 saddr fd00:1::/64 counter name leaked
                }
            }",
        );
    }

    /// How many packets with the agent's address the internet has seen: none may arrive
    /// there while a gateway does its work.
    pub fn leaked(&self) -> u64 {
        counter(&self.internet, "witness", "leaked")
    }

    /// Returns when everything that the agent has sent so far was forwarded, refused or
    /// dropped. Packets that one processor has queued do not overtake each other, so pings
    /// on each of them, answered by the gateway and then by the internet, come after all.
    pub fn settle(&self) {
        for (near, far) in GATEWAY.into_iter().zip(SERVER) {
            for (ns, to) in [(&self.agent, near), (&self.gateway, far)] {
                let pongs = ns.run(move || probe::on_each_processor(move || probe::ping(to)));
                assert!(
                    pongs.iter().all(|pong| *pong == probe::Pong::Reply),
                    "{to}: {pongs:?}"
                );
            }
        }
    }

    /// A counter of the gateway's table.
    pub fn counter(&self, name: &str) -> u64 {
        counter(&self.gateway, "portreeve", name)
    }

    /// Switches forwarding on the gateway on or off. Shipped and initially: off.
    pub fn forward(&self, on: bool) {
        let value = if on { "1" } else { "0" };
        self.gateway.sysctl("net.ipv4.ip_forward", value);
        self.gateway.sysctl("net.ipv6.conf.all.forwarding", value);
    }

    /// Applies the forwarding box's table with the library, as `portreeve nft apply` does.
    pub fn apply_table(&self) {
        let rendered = table();
        let snapshot = self.snapshot();
        self.gateway
            .run(move || nft::apply_with_snapshot(&rendered, &snapshot))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Where [`World::apply_table`] leaves its snapshot.
    pub fn snapshot(&self) -> PathBuf {
        self.path("nft-applied.json")
    }

    /// What no operator should do, and some service does.
    pub fn flush_ruleset(&self) {
        self.gateway.nft("flush ruleset\n");
    }

    /// A path in the world's folder, which goes with the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The world's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A gateway to be configured further than [`World::gateway_process`] does.
    pub fn gateway_builder(&self, config: &str) -> Builder<'_> {
        Builder::new(self, config)
    }

    /// Applies the table and starts the real binary with this config and these rule files
    /// (name and text); returns when it says that it is ready.
    pub fn gateway_process(&self, config: &str, rules: &[(&str, &str)]) -> GatewayProcess<'_> {
        let builder = self.gateway_builder(config);
        rules
            .iter()
            .fold(builder, |builder, (name, text)| builder.rule(name, text))
            .start()
    }
}

/// The table for this world's gateway.
pub fn table() -> Rendered {
    let settings = Settings {
        interfaces: vec!["lan0".into()],
        ports: vec![80, 443],
        proxy_port: PROXY_PORT,
        dns_port: DNS_PORT,
        admin_port: Some(ADMIN_PORT),
        ..Settings::default()
    };
    nft::render(Topology::Box, &settings).unwrap()
}

/// A command that ordinary users have no path to.
pub fn tool(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
    paths
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn counter(ns: &Ns, table: &str, name: &str) -> u64 {
    let mut command = Command::new(tool("nft"));
    command.args(["-j", "list", "counter", "inet", table, name]);
    let output = ns.output(command);
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let objects = listing["nftables"].as_array().unwrap();
    objects
        .iter()
        .find_map(|object| object["counter"]["packets"].as_u64())
        .unwrap()
}

/// The settings of `systemd/portreeve.sysctl`.
fn shipped_sysctls() -> Vec<(String, String)> {
    let text = include_str!("../../systemd/portreeve.sysctl");
    let setting = |line: &str| {
        let (name, value) = line.trim_start_matches('-').split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(setting)
        .collect()
}

//! Settings into a template: everything is checked before a byte of it becomes a rule.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Error, Settings, Topology};

const BOX: &str = include_str!("../../nft/box.nft");
const NAMESPACE: &str = include_str!("../../nft/namespace.nft");
const UID: &str = include_str!("../../nft/uid.nft");

/// The longest interface name (`IFNAMSIZ` less its NUL).
const INTERFACE_MAX: usize = 15;
const DNS: u16 = 53;

/// The complete text of a table with settings that passed every check; only [`render`]
/// makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered(String);

impl Rendered {
    /// What `nft -f` reads.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The comments of its rules, each of which names one.
    pub(super) fn rule_names(&self) -> BTreeSet<&str> {
        self.0
            .lines()
            .filter_map(|line| line.split_once(" comment \"")?.1.strip_suffix('"'))
            .collect()
    }
}

/// Puts the settings into the topology's template.
///
/// # Errors
/// [`Error`] naming the first setting that no table can be made from.
pub fn render(topology: Topology, settings: &Settings) -> Result<Rendered, Error> {
    check_ports(settings)?;
    let (template, definitions) = match topology {
        Topology::Box => (BOX, box_definitions(settings)?),
        Topology::Namespace => {
            let mut definitions = namespace_definitions(settings);
            if settings.every_port {
                definitions.insert("ports", braces(EVERY_PORT));
            }
            (NAMESPACE, definitions)
        }
        Topology::Uid => (UID, uid_definitions(settings)?),
    };
    Ok(Rendered(fill(template, &definitions)))
}

/// All but FTP, SSH, Telnet, SMTP, POP3, NNTP, IMAP, mail submission, `MySQL` and VNC.
const EVERY_PORT: [&str; 9] = [
    "1-20",
    "24",
    "26-109",
    "111-118",
    "120-142",
    "144-586",
    "588-3305",
    "3307-5899",
    "5901-65535",
];

type Definitions = BTreeMap<&'static str, String>;

fn namespace_definitions(settings: &Settings) -> Definitions {
    BTreeMap::from([
        ("ports", braces(sorted(&settings.ports))),
        ("proxy_port", settings.proxy_port.to_string()),
        ("dns_port", settings.dns_port.to_string()),
        (
            "gateway_ports",
            braces(sorted(&[settings.proxy_port, settings.dns_port])),
        ),
    ])
}

fn uid_definitions(settings: &Settings) -> Result<Definitions, Error> {
    if settings.users.is_empty() {
        return Err(Error::NoUsers);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    for user in &settings.users {
        if user.is_empty() || !user.bytes().all(plain) {
            return Err(Error::User(user.clone()));
        }
    }
    // A number in quotes would be taken for a name.
    let user = |user: &String| match user.parse::<u32>() {
        Ok(number) => number.to_string(),
        Err(_) => quote(user),
    };
    let users: BTreeSet<String> = settings.users.iter().map(user).collect();
    let mut definitions = namespace_definitions(settings);
    definitions.extend([
        ("users", braces(users)),
        ("local_ports", braces(sorted(&settings.local_ports))),
    ]);
    Ok(definitions)
}

fn box_definitions(settings: &Settings) -> Result<Definitions, Error> {
    let pinned = pinned_sources(&settings.agents);
    let named = settings.agents.iter().map(|(interface, _)| interface);
    let interfaces: BTreeSet<&String> = settings.interfaces.iter().chain(named).collect();
    if interfaces.is_empty() {
        return Err(Error::NoInterfaces);
    }
    for interface in &interfaces {
        check_interface(interface)?;
    }
    let gateway_ports: Vec<u16> = [settings.proxy_port, settings.dns_port]
        .into_iter()
        .chain(settings.admin_port)
        .collect();
    let mut definitions = namespace_definitions(settings);
    definitions.extend([
        ("interfaces", braces(interfaces.into_iter().map(quote))),
        ("gateway_ports", braces(sorted(&gateway_ports))),
        ("pinned", braces(pinned.keys().map(quote))),
        (
            "sources4",
            elements(&pinned, |net| matches!(net, IpNet::V4(_))),
        ),
        (
            "sources6",
            elements(&pinned, |net| matches!(net, IpNet::V6(_))),
        ),
    ]);
    Ok(definitions)
}

/// The sources of each interface all of whose agents have some. An agent without any takes
/// whatever comes over its interface, so that one cannot be pinned.
fn pinned_sources(agents: &[(String, Vec<IpNet>)]) -> BTreeMap<&str, Vec<IpNet>> {
    let mut pinned: BTreeMap<&str, Vec<IpNet>> = BTreeMap::new();
    for (interface, sources) in agents {
        pinned.entry(interface).or_default().extend(sources);
    }
    for (interface, sources) in agents {
        if sources.is_empty() {
            pinned.remove(interface.as_str());
        }
    }
    // The kernel refuses overlapping elements.
    for sources in pinned.values_mut() {
        *sources = IpNet::aggregate(sources);
    }
    pinned
}

/// The elements of `sources4` or `sources6`, by what `family` picks.
fn elements(pinned: &BTreeMap<&str, Vec<IpNet>>, family: fn(&IpNet) -> bool) -> String {
    braces(pinned.iter().flat_map(|(interface, sources)| {
        let sources = sources.iter().filter(move |net| family(net));
        sources.map(move |net| format!("{} . {}", quote(interface), net.trunc()))
    }))
}

/// Only names that cannot mean anything else to `nft`, within quotes or without.
fn check_interface(name: &str) -> Result<(), Error> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    let problem = match name {
        "" => "is empty: give the name that `ip link` shows",
        "." | ".." => "is no interface name: give the one that `ip link` shows",
        "lo" => "is the box's own loopback, no agent's: leave it out",
        _ if name.len() > INTERFACE_MAX => "is longer than the 15 bytes of an interface name",
        _ if name.contains('*') => "has a wildcard: list every interface by its own name",
        _ if !name.bytes().all(plain) => {
            "has a character other than letters, digits and `-_.@`: rename the interface"
        }
        _ => return Ok(()),
    };
    Err(Error::Interface {
        name: name.to_owned(),
        problem,
    })
}

fn check_ports(settings: &Settings) -> Result<(), Error> {
    const PORTS: &str = "`[redirect] ports`: port";
    const PROXY: &str = "`[listen] transparent`: port";
    const RESPONDER: &str = "`[listen] dns`: port";
    let problem = |what, port, problem| Error::Port {
        what,
        port,
        problem,
    };
    if settings.ports.is_empty() && !settings.every_port {
        return Err(Error::NoPorts);
    }
    if settings.ports.contains(&0) {
        return Err(problem(PORTS, 0, "does not exist"));
    }
    if settings.ports.contains(&DNS) {
        return Err(problem(
            PORTS,
            DNS,
            "always goes to the DNS responder: leave it out",
        ));
    }
    for (what, port) in [(PROXY, settings.proxy_port), (RESPONDER, settings.dns_port)] {
        if port == 0 {
            return Err(problem(
                what,
                port,
                "cannot be redirected to: choose a fixed one",
            ));
        }
    }
    if settings.proxy_port == settings.dns_port {
        return Err(problem(
            RESPONDER,
            settings.dns_port,
            "is `transparent`'s, too: choose another",
        ));
    }
    Ok(())
}

/// Replaces the value of each `define NAME = VALUE` line that `definitions` names.
fn fill(template: &str, definitions: &Definitions) -> String {
    let mut text = String::with_capacity(template.len());
    for line in template.lines() {
        let value = line
            .strip_prefix("define ")
            .and_then(|definition| definition.split_once(" = "))
            .and_then(|(name, _)| definitions.get_key_value(name));
        match value {
            Some((name, value)) => text.extend(["define ", name, " = ", value]),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

fn braces(elements: impl IntoIterator<Item = impl ToString>) -> String {
    let elements: Vec<String> = elements
        .into_iter()
        .map(|element| element.to_string())
        .collect();
    if elements.is_empty() {
        "{ }".to_owned()
    } else {
        format!("{{ {} }}", elements.join(", "))
    }
}

fn sorted(ports: &[u16]) -> BTreeSet<u16> {
    ports.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            interfaces: vec!["lan0".into()],
            ports: vec![443, 80],
            proxy_port: 8443,
            dns_port: 8053,
            admin_port: Some(9464),
            users: vec!["65534".into()],
            ..Settings::default()
        }
    }

    fn definition(rendered: &Rendered, name: &str) -> String {
        let prefix = format!("define {name} = ");
        let mut values = rendered
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        let value = values.next().unwrap().to_owned();
        assert_eq!(values.next(), None, "{name} is defined twice");
        value
    }

    #[test]
    fn templates_hold_the_defaults() {
        assert_eq!(render(Topology::Box, &settings()).unwrap().text(), BOX);
        assert_eq!(
            render(Topology::Namespace, &settings()).unwrap().text(),
            NAMESPACE
        );
        assert_eq!(render(Topology::Uid, &settings()).unwrap().text(), UID);
    }

    #[test]
    fn every_definition_is_filled_and_every_rule_is_named_once() {
        let settings = Settings {
            interfaces: vec!["tap1".into()],
            ports: vec![8080],
            every_port: true,
            proxy_port: 1,
            dns_port: 2,
            admin_port: Some(3),
            agents: vec![(
                "tap2".into(),
                vec!["10.0.0.1/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            )],
            users: vec!["agent".into(), "1001".into()],
            local_ports: vec![5432],
        };
        for (topology, template) in [
            (Topology::Box, BOX),
            (Topology::Namespace, NAMESPACE),
            (Topology::Uid, UID),
        ] {
            let rendered = render(topology, &settings).unwrap();
            for (old, new) in template.lines().zip(rendered.text().lines()) {
                assert_eq!(old != new, old.starts_with("define "), "{old}");
            }
            let verdicts = [
                "accept ",
                "return ",
                "drop ",
                "reject ",
                "jump refuse_metadata ",
                "redirect to ",
            ];
            let rules = template
                .lines()
                .filter(|line| {
                    line.starts_with("\t\t")
                        && verdicts.iter().any(|verdict| line.contains(verdict))
                })
                .filter(|line| !line.trim_start().starts_with('#'))
                .count();
            assert_eq!(rendered.rule_names().len(), rules);
        }
    }

    #[test]
    fn an_agent_with_sources_pins_its_interface() {
        let nets = |nets: &[&str]| {
            nets.iter()
                .map(|net| net.parse().unwrap())
                .collect::<Vec<IpNet>>()
        };
        let settings = Settings {
            agents: vec![
                (
                    "tap1".into(),
                    nets(&["10.0.1.7/24", "10.0.1.128/25", "fd00:1::/64"]),
                ),
                ("tap1".into(), nets(&["10.0.9.9/32"])),
                ("tap2".into(), nets(&["10.0.2.0/24"])),
                ("tap2".into(), nets(&[])),
                ("tap3".into(), nets(&[])),
            ],
            ..settings()
        };
        let rendered = render(Topology::Box, &settings).unwrap();
        let of = |name| definition(&rendered, name);
        assert_eq!(of("interfaces"), r#"{ "lan0", "tap1", "tap2", "tap3" }"#);
        assert_eq!(of("pinned"), r#"{ "tap1" }"#);
        assert_eq!(
            of("sources4"),
            r#"{ "tap1" . 10.0.1.0/24, "tap1" . 10.0.9.9/32 }"#
        );
        assert_eq!(of("sources6"), r#"{ "tap1" . fd00:1::/64 }"#);
    }

    #[test]
    fn users_are_numbers_or_plain_names() {
        let with = |users: &[&str]| Settings {
            users: users.iter().map(ToString::to_string).collect(),
            ..settings()
        };
        let rendered = render(Topology::Uid, &with(&["agent", "01001"])).unwrap();
        assert_eq!(definition(&rendered, "users"), r#"{ "agent", 1001 }"#);
        for user in ["", "a b", "a\"", "$ports", "a;b", "*"] {
            let error = render(Topology::Uid, &with(&[user])).unwrap_err();
            assert!(matches!(error, Error::User(_)), "{user}");
        }
        let error = render(Topology::Uid, &with(&[])).unwrap_err();
        assert!(matches!(error, Error::NoUsers));
    }

    #[test]
    fn interface_names_cannot_become_rules() {
        for name in [
            "",
            "..",
            "lo",
            "sixteen-bytes-00",
            "br-*",
            "a\" } accept",
            "a\nb",
            "a b",
            "a;b",
            "$ports",
            "a\\",
            "a/b",
            "\u{fc}ber0",
        ] {
            let in_list = Settings {
                interfaces: vec![name.into()],
                ..settings()
            };
            let of_agent = Settings {
                agents: vec![(name.into(), Vec::new())],
                ..settings()
            };
            for settings in [in_list, of_agent] {
                let error = render(Topology::Box, &settings).unwrap_err();
                assert!(
                    matches!(error, Error::Interface { .. }),
                    "{name:?}: {error}"
                );
            }
        }
        for name in ["lan0", "eth0.100", "br-5f2c", "veth_a@b"] {
            assert!(check_interface(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn settings_that_would_redirect_nothing_are_refused() {
        type Spoil = fn(&mut Settings);
        let cases: [(Spoil, &str); 7] = [
            (|s| s.interfaces.clear(), "no agent interface"),
            (|s| s.ports.clear(), "no port to redirect"),
            (
                |s| s.ports.push(0),
                "`[redirect] ports`: port 0 does not exist",
            ),
            (
                |s| s.ports.push(53),
                "port 53 always goes to the DNS responder",
            ),
            (
                |s| s.proxy_port = 0,
                "`[listen] transparent`: port 0 cannot be",
            ),
            (|s| s.dns_port = 0, "`[listen] dns`: port 0 cannot be"),
            (
                |s| s.dns_port = s.proxy_port,
                "port 8443 is `transparent`'s, too",
            ),
        ];
        for (spoil, message) in cases {
            let mut settings = settings();
            spoil(&mut settings);
            let error = render(Topology::Box, &settings).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}

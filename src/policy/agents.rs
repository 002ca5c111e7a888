//! Which agent a source address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::name::{AgentName, ByName};

/// The agent of every source that no configured agent covers. No rule matches it.
pub const UNKNOWN: &str = "unknown";
/// The agent of every source while no agent is configured.
pub const DEFAULT: &str = "default";
/// Names that no configured agent may have: built-in agents, the word for all agents in a
/// rule, and the metric label for the rest.
pub const RESERVED: [&str; 4] = [UNKNOWN, DEFAULT, "any", "other"];

/// Bits before the IPv4 address in an IPv4-mapped one (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// Whether no configured agent may have this name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether this is the built-in agent that gets refusals only.
#[must_use]
pub fn is_unknown(agent: &AgentName) -> bool {
    agent.as_str() == UNKNOWN
}

/// Why agents cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentsError {
    /// A source that two agents claim alike.
    #[error(
        "agents `{first}` and `{second}` both have the source {prefix}; give it to one of them"
    )]
    SamePrefix {
        /// The source, as a network.
        prefix: IpNet,
        /// Who has it.
        first: AgentName,
        /// Who claims it too.
        second: AgentName,
    },
    /// A name with a meaning of its own.
    #[error("`{name}` is a reserved name; choose another name for the agent")]
    Reserved {
        /// The name.
        name: AgentName,
    },
}

/// Source prefixes to agents: the longest prefix wins.
#[derive(Clone, Debug)]
pub struct Agents {
    v4: Prefixes<Ipv4Addr>,
    v6: Prefixes<Ipv6Addr>,
    /// Who a source is that no prefix covers.
    otherwise: AgentName,
}

/// For each length that occurs, longest first: the networks of that length.
type Prefixes<A> = Vec<(u8, ByName<A, AgentName>)>;

impl Agents {
    /// The configured agents with their sources. Host bits are ignored, IPv4-mapped IPv6
    /// networks are the IPv4 networks they map. An agent may come more than once, or have
    /// no source.
    ///
    /// # Errors
    /// [`AgentsError`] for equal prefixes of different agents and for reserved names.
    pub fn new(agents: Vec<(AgentName, Vec<IpNet>)>) -> Result<Self, AgentsError> {
        if agents.is_empty() {
            return Ok(Self::none());
        }
        let mut table = Self {
            otherwise: AgentName::new(UNKNOWN),
            ..Self::none()
        };
        for (name, sources) in agents {
            if is_reserved(name.as_str()) {
                return Err(AgentsError::Reserved { name });
            }
            for source in sources {
                table.insert(source, &name)?;
            }
        }
        table
            .v4
            .sort_by_key(|&(length, _)| std::cmp::Reverse(length));
        table
            .v6
            .sort_by_key(|&(length, _)| std::cmp::Reverse(length));
        Ok(table)
    }

    /// No configured agent: every source is `default`.
    #[must_use]
    pub fn none() -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
            otherwise: AgentName::new(DEFAULT),
        }
    }

    fn insert(&mut self, source: IpNet, name: &AgentName) -> Result<(), AgentsError> {
        let prefix = unwrap_mapped(source);
        let before = match prefix {
            IpNet::V4(net) => put(&mut self.v4, net.prefix_len(), net.network(), name),
            IpNet::V6(net) => put(&mut self.v6, net.prefix_len(), net.network(), name),
        };
        match before {
            Some(first) if first != *name => Err(AgentsError::SamePrefix {
                prefix,
                first,
                second: name.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an address is a configured source; while none is configured, any address but
    /// loopback may be an agent's.
    #[must_use]
    pub fn may_be_agent(&self, source: IpAddr) -> bool {
        let agent = self.agent(source);
        if agent.as_str() == DEFAULT {
            return !source.to_canonical().is_loopback();
        }
        !is_unknown(agent)
    }

    /// Who sends from this address; IPv4-mapped addresses are unwrapped.
    #[must_use]
    pub fn agent(&self, source: IpAddr) -> &AgentName {
        let found = match source.to_canonical() {
            IpAddr::V4(ip) => self.v4.iter().find_map(|(length, networks)| {
                networks.get(&Ipv4Net::new(ip, *length).ok()?.network())
            }),
            IpAddr::V6(ip) => self.v6.iter().find_map(|(length, networks)| {
                networks.get(&Ipv6Net::new(ip, *length).ok()?.network())
            }),
        };
        found.unwrap_or(&self.otherwise)
    }
}

/// Adds a network; gives back who had it before.
fn put<A: Eq + std::hash::Hash>(
    prefixes: &mut Prefixes<A>,
    length: u8,
    network: A,
    name: &AgentName,
) -> Option<AgentName> {
    if let Some((_, networks)) = prefixes.iter_mut().find(|(known, _)| *known == length) {
        return networks.insert(network, name.clone());
    }
    prefixes.push((length, ByName::from_iter([(network, name.clone())])));
    None
}

fn unwrap_mapped(net: IpNet) -> IpNet {
    let mapped = || {
        let IpNet::V6(v6) = net else { return None };
        let length = v6.prefix_len().checked_sub(MAPPED_BITS)?;
        Ipv4Net::new(v6.network().to_ipv4_mapped()?, length).ok()
    };
    mapped().map_or(net, IpNet::V4).trunc()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(agents: &[(&str, &[&str])]) -> Result<Agents, AgentsError> {
        let parsed = agents.iter().map(|(name, sources)| {
            let sources = sources.iter().map(|source| source.parse().unwrap());
            (AgentName::new(name), sources.collect())
        });
        Agents::new(parsed.collect())
    }

    fn who<'a>(agents: &'a Agents, source: &str) -> &'a str {
        agents.agent(source.parse().unwrap()).as_str()
    }

    #[test]
    fn longest_prefix_wins() {
        let agents = table(&[
            ("wide", &["10.0.0.0/8", "fd00::/16"]),
            ("narrow", &["10.0.1.0/24", "fd00:1::/64"]),
            ("one", &["10.0.1.7/32", "fd00:1::7/128"]),
            ("idle", &[]),
        ])
        .unwrap();
        for (source, name) in [
            ("10.9.9.9", "wide"),
            ("10.0.1.1", "narrow"),
            ("10.0.1.7", "one"),
            ("::ffff:10.0.1.7", "one"),
            ("11.0.0.1", UNKNOWN),
            ("fd00:2::1", "wide"),
            ("fd00:1::1", "narrow"),
            ("fd00:1::7", "one"),
            ("fe80::1", UNKNOWN),
        ] {
            assert_eq!(who(&agents, source), name, "{source}");
        }
    }

    #[test]
    fn mapped_networks_are_ipv4_networks() {
        let agents = table(&[("a", &["::ffff:10.0.0.0/104"]), ("b", &["::/0"])]).unwrap();
        assert_eq!(who(&agents, "10.1.2.3"), "a");
        assert_eq!(who(&agents, "::ffff:10.1.2.3"), "a");
        assert_eq!(who(&agents, "2001:db8::1"), "b");
        // All of IPv6 is not all of IPv4.
        assert_eq!(who(&agents, "11.1.2.3"), UNKNOWN);
    }

    #[test]
    fn without_agents_every_source_is_default() {
        let agents = table(&[]).unwrap();
        assert_eq!(who(&agents, "10.0.0.1"), DEFAULT);
        assert_eq!(who(&agents, "::1"), DEFAULT);
        // One agent that no source reaches is not the same as none.
        assert_eq!(who(&table(&[("a", &[])]).unwrap(), "10.0.0.1"), UNKNOWN);
    }

    #[test]
    fn equal_prefixes_of_different_agents_are_an_error() {
        for (first, second) in [
            ("10.0.1.0/24", "10.0.1.9/24"),
            ("10.0.1.0/24", "::ffff:10.0.1.0/120"),
            ("::/0", "::1/0"),
        ] {
            let error = table(&[("a", &[first]), ("b", &[second])]).unwrap_err();
            assert!(
                error.to_string().contains("agents `a` and `b` both"),
                "{error}"
            );
        }
        assert!(table(&[("a", &["10.0.1.0/24", "10.0.1.0/24"])]).is_ok());
    }

    #[test]
    fn reserved_names_are_refused() {
        for name in RESERVED {
            let error = table(&[(name, &["10.0.0.0/8"])]).unwrap_err();
            assert_eq!(
                error,
                AgentsError::Reserved {
                    name: AgentName::new(name)
                }
            );
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan_over_all_networks(
            nets in proptest::collection::vec((0..4_u32, 0..=32_u8), 0..12),
            source in 0..4_u32,
        ) {
            // Addresses that differ in their first two bits only, so that prefixes nest.
            let address = |top: u32| Ipv4Addr::from(top << 30);
            let mut agents = Vec::new();
            for (index, &(top, length)) in nets.iter().enumerate() {
                let net = Ipv4Net::new(address(top), length).unwrap().trunc();
                if agents.iter().all(|(_, other)| *other != net) {
                    agents.push((AgentName::new(&format!("a{index}")), net));
                }
            }
            let expected = agents
                .iter()
                .filter(|(_, net)| net.contains(&address(source)))
                .max_by_key(|(_, net)| net.prefix_len())
                .map_or(if agents.is_empty() { DEFAULT } else { UNKNOWN }, |(name, _)| name.as_str());
            let configured = agents
                .iter()
                .map(|(name, net)| (name.clone(), vec![IpNet::V4(*net)]))
                .collect();
            let table = Agents::new(configured).unwrap();
            prop_assert_eq!(table.agent(address(source).into()).as_str(), expected);
        }
    }
}

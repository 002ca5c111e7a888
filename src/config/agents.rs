//! `[[agent]]`: unique names, and networks of which each belongs to one agent.

use std::collections::HashMap;

use ipnet::IpNet;
use toml::Spanned;

use super::check::{Check, network, plain_name};
use super::finding::Severity;
use super::gateway_box::interface;
use super::nearest::suggest;
use super::read::Read;
use super::settings::{Agent, Redirect};
use super::units::Complaint;
use super::written;
use crate::name::AgentName;
use crate::policy::agents::is_reserved;
use crate::policy::rule::Place;

/// What is known of the agents before their rules are checked.
#[derive(Debug, Default)]
pub(super) struct Agents {
    pub(super) all: Vec<Agent>,
    /// Every configured name, also of agents that are otherwise wrong.
    pub(super) names: Vec<AgentName>,
    /// Whether a name may be missing because its table could not be read.
    pub(super) incomplete: bool,
}

impl Check<'_> {
    /// Checks every `[[agent]]`.
    pub(super) fn agents(&mut self, written: &Read<written::Box>, redirect: &Redirect) -> Agents {
        let mut agents = Agents {
            incomplete: written.any_damaged("agent"),
            ..Agents::default()
        };
        let mut named: HashMap<AgentName, Place> = HashMap::new();
        let mut owners: HashMap<IpNet, (AgentName, Place)> = HashMap::new();
        for (index, table) in written.value.agent.iter().enumerate() {
            let agent = table.get_ref();
            let damaged = written.is_damaged("agent", index);
            for (key, there) in [
                ("name", agent.name.is_some()),
                ("sources", agent.sources.is_some()),
            ] {
                if !there {
                    self.absent(damaged, table, "agent", key);
                }
            }
            let name = agent.name.as_ref().and_then(|text| {
                let name = self.parse(text, agent_name)?;
                self.unique("agent", &name, text, &mut named);
                agents.names.push(name.clone());
                Some(name)
            });
            let owner = name.clone().unwrap_or_else(|| AgentName::new("?"));
            let sources = self.sources(agent, &owner, &mut owners);
            let interface = self.agent_interface(agent, redirect);
            if let Some(name) = name {
                agents.all.push(Agent {
                    name,
                    sources,
                    interface,
                });
            }
        }
        agents
    }

    /// Tells that a table lacks a key it must have, unless the key was there but wrong.
    pub(super) fn absent<T>(&mut self, damaged: bool, table: &Spanned<T>, kind: &str, key: &str) {
        if !damaged {
            let message = format!("this [[{kind}]] has no `{key}`");
            self.error(table.span(), message, format!("every [[{kind}]] needs one"));
        }
    }

    /// Tells a second use of a name, with the place of the first.
    pub(super) fn unique<N: std::hash::Hash + Eq + Clone + std::fmt::Display>(
        &mut self,
        kind: &str,
        name: &N,
        text: &written::Text,
        named: &mut HashMap<N, Place>,
    ) {
        if let Some(first) = named.get(name).cloned() {
            let message = format!("another {kind} is called `{name}`");
            self.tell(Severity::Error, text.span(), message, |finding| {
                finding
                    .related(first, "the first")
                    .help("names are unique across all files");
            });
        } else {
            named.insert(name.clone(), self.file.place(text.span().start));
        }
    }

    fn sources(
        &mut self,
        agent: &written::Agent,
        owner: &AgentName,
        owners: &mut HashMap<IpNet, (AgentName, Place)>,
    ) -> Vec<IpNet> {
        let Some(list) = &agent.sources else {
            return Vec::new();
        };
        self.not_empty("sources", list);
        let mut sources = Vec::new();
        for text in list.get_ref() {
            let Some(net) = self.parse(text, network) else {
                continue;
            };
            if let Some((other, place)) = owners.get(&net).cloned() {
                let message = format!("`{net}` is already a source of agent `{other}`");
                self.tell(Severity::Error, text.span(), message, |finding| {
                    let help = "of two networks the one with the longer prefix wins; equal ones cannot be told apart";
                    finding.related(place, "it is written").help(help);
                });
                continue;
            }
            owners.insert(net, (owner.clone(), self.file.place(text.span().start)));
            sources.push(net);
        }
        sources
    }

    fn agent_interface(&mut self, agent: &written::Agent, redirect: &Redirect) -> Option<String> {
        let text = agent.interface.as_ref()?;
        let name = self.parse(text, interface)?;
        let known: Vec<_> = redirect.interfaces.iter().map(String::as_str).collect();
        if !known.is_empty() && !known.contains(&name.as_str()) {
            let message = format!("`{name}` is not among the interfaces of [redirect]");
            self.error(text.span(), message, suggest(&name, &known));
        }
        Some(name)
    }
}

fn agent_name(text: &str) -> Result<AgentName, Complaint> {
    let name = plain_name(text)?;
    if is_reserved(name) {
        return Err(Complaint::new(format!(
            "`{name}` is a built-in name that no agent may have"
        ))
        .help("choose another"));
    }
    Ok(AgentName::new(name))
}

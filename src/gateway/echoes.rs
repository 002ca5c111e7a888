//! What to look for in the responses to each agent: made with the rules and secrets that
//! are in force, and shared by agents that may use the same credentials.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::credential::Store;
use crate::credential::echo::Needles;
use crate::error::{Reason, Refusal};
use crate::name::{AgentName, CredentialName};
use crate::policy::Policy;
use crate::policy::rule::Action;

/// `Err`: there is more to look for than can be.
type Made = Result<Option<Arc<Needles>>, ()>;

/// The needles of every agent.
#[derive(Debug)]
pub struct Echoes(HashMap<AgentName, Made>);

impl Echoes {
    /// For these agents.
    pub(super) fn new(
        policy: &Policy,
        agents: impl IntoIterator<Item = AgentName>,
        store: &Store,
    ) -> Self {
        let mut made: HashMap<BTreeSet<&CredentialName>, Made> = HashMap::new();
        let agents = agents.into_iter().map(|agent| {
            let names = credentials(policy, &agent);
            let made = made.entry(names).or_insert_with_key(|names| {
                store.needles(names.iter().copied()).map_err(|error| {
                    tracing::error!(%agent, %error, "the secrets of this agent's credentials are too long to be looked for in responses; its requests are refused");
                })
            });
            (agent, made.clone())
        });
        Self(agents.collect())
    }

    /// What to look for in responses to this agent.
    ///
    /// # Errors
    /// [`Reason::CredentialUnavailable`] where it cannot be looked for.
    pub(super) fn of(&self, agent: &AgentName) -> Result<Option<Arc<Needles>>, Refusal> {
        // Sources that are nobody's have no rule, and so no credential.
        let made = self.0.get(agent).cloned().unwrap_or(Ok(None));
        made.map_err(|()| {
            Refusal::new(
                Reason::CredentialUnavailable,
                "the gateway cannot look for this agent's credentials in responses; ask the operator of the gateway",
            )
        })
    }
}

/// Every credential that some rule may attach for this agent.
fn credentials<'a>(policy: &'a Policy, agent: &AgentName) -> BTreeSet<&'a CredentialName> {
    let rules = policy
        .rules()
        .iter()
        .filter(|rule| rule.action == Action::Allow && rule.agents.contains(agent));
    rules.flat_map(|rule| &rule.credentials).collect()
}

//! What to look for in the responses to each agent: made with the rules and secrets that
//! are in force, and shared by agents that may use the same credentials.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::credential::Store;
use crate::credential::echo::Needles;
use crate::error::{Reason, Refusal};
use crate::name::{AgentName, ByName, CredentialName};
use crate::policy::Policy;
use crate::policy::rule::Action;

/// `Err`: there is more to look for than can be.
type Made = Result<Option<Arc<Needles>>, ()>;

/// The needles of every agent.
#[derive(Debug)]
pub struct Echoes(ByName<AgentName, Made>);

impl Echoes {
    /// For these agents. What looks for what it was `before` then also looks for these.
    pub(super) fn new(
        policy: &Policy,
        agents: impl IntoIterator<Item = AgentName>,
        store: &Store,
        before: Option<&Self>,
    ) -> Self {
        let mut made: HashMap<BTreeSet<&CredentialName>, Made> = HashMap::new();
        // What looks for the same now may not from then on, where rules changed with it.
        let mut replaced: HashMap<*const Needles, (&Arc<Needles>, BTreeSet<&CredentialName>)> =
            HashMap::new();
        let mut all = ByName::default();
        for agent in agents {
            let names = credentials(policy, &agent);
            let old = before.and_then(|before| before.0.get(&agent));
            if let Some(Ok(Some(old))) = old {
                let entry = replaced.entry(Arc::as_ptr(old));
                let (_, wanted) = entry.or_insert_with(|| (old, BTreeSet::new()));
                wanted.extend(&names);
            }
            let made = made.entry(names).or_insert_with_key(|names| {
                store.needles(names.iter().copied()).map_err(|error| {
                    tracing::error!(%agent, %error, "the secrets of this agent's credentials are too long to be looked for in responses; its requests are refused");
                })
            });
            all.insert(agent, made.clone());
        }
        for (old, names) in replaced.into_values() {
            let newer = match made.get(&names) {
                Some(made) => made.clone(),
                None => store.needles(names).map_err(|_| ()),
            };
            if let Ok(Some(newer)) = newer {
                old.replaced_by(&newer);
            }
        }
        Self(all)
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

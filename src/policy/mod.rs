//! Rules to verdicts: pure, without I/O, clock or globals.
//!
//! A [`Policy`] is made from checked rules and never changes; a reload makes another one.
//! It is asked three times: may this name be resolved, may this connection be intercepted
//! ([`Policy::admit`]), may this request go ([`Policy::decide`]). The first rule that
//! matches says so; where none does, the answer is no (I1).

pub mod agents;
mod decision;
mod index;
mod matching;
pub mod method;
pub mod path;
mod request;
pub mod rule;
mod sentence;
pub mod shadow;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

pub use self::decision::{Admission, Allowed, Decision, Denied, Spliced};
pub use self::request::{Request, Scheme};

use self::agents::{Agents, is_unknown};
use self::index::{Candidates, Index};
use self::matching::{Miss, miss, reaches};
use self::rule::{Action, Rule, Tls};
use crate::error::Refusal;
use crate::name::{AgentName, Authority, Host, Origin};

/// What follows from a denial of [`Policy::decide`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The request is refused.
    #[default]
    Enforce,
    /// It goes without credential, and the record shows what would have been. What is
    /// refused for any other reason than missing or denying rules stays refused.
    Observe,
}

/// The rules of one generation.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    mode: Mode,
    agents: Agents,
    rules: Vec<Arc<Rule>>,
    index: Index,
}

impl Policy {
    /// Rules in the order in which they are asked. `generation` tells policies apart in
    /// records and metrics.
    #[must_use]
    pub fn new(generation: u64, mode: Mode, agents: Agents, rules: Vec<Rule>) -> Self {
        let index = Index::new(rules.iter());
        let rules = rules.into_iter().map(Arc::new).collect();
        Self {
            generation,
            mode,
            agents,
            rules,
            index,
        }
    }

    /// What stands in while there is no config: nothing gets out (I1).
    #[must_use]
    pub fn deny_all() -> Self {
        Self::new(0, Mode::Enforce, Agents::none(), Vec::new())
    }

    /// Who sends from this address.
    #[must_use]
    pub fn agent(&self, source: IpAddr) -> &AgentName {
        self.agents.agent(source)
    }

    /// Whether an address is, or may be, an agent's: a configured source; while no agent is
    /// configured, every address but loopback.
    #[must_use]
    pub fn is_agent_source(&self, source: IpAddr) -> bool {
        self.agents.may_be_agent(source)
    }

    /// Which reload this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether denials are enforced.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Admits a connection by its name and origin port alone.
    ///
    /// Without a name (no SNI) only a rule that names the origin's address literally admits,
    /// and that address is the host from there on. In clear HTTP the name comes with the
    /// first request, so that `None` is admitted there and [`Policy::decide`] decides. In
    /// observe mode every name is admitted, for the same reason.
    #[must_use]
    pub fn admit(
        &self,
        agent: &AgentName,
        scheme: Scheme,
        host: Option<&Host>,
        origin: Origin,
    ) -> Admission {
        let port = origin.0.port();
        let Some(host) = host else {
            return self.admit_nameless(agent, scheme, origin);
        };
        if is_unknown(agent) {
            return Admission::Page(sentence::unknown_agent());
        }
        if let Some(spliced) = self.spliced(agent, scheme, host, port) {
            return Admission::Splice(spliced);
        }
        if self.mode == Mode::Observe || self.is_reached(agent, scheme, host, port) {
            return Admission::Intercept;
        }
        let place = (scheme, host, port);
        Admission::Page(sentence::no_reach(agent, place, self.rules_about(host)))
    }

    /// The first rule about this name and port, if it is one that splices.
    fn spliced(
        &self,
        agent: &AgentName,
        scheme: Scheme,
        host: &Host,
        port: u16,
    ) -> Option<Spliced> {
        let mut rules = self.rules_about(host);
        let first = rules.find(|rule| reaches(rule, agent, scheme, port))?;
        let authority = Authority {
            host: host.clone(),
            port,
        };
        (first.tls == Tls::Splice && scheme == Scheme::Https)
            .then(|| Spliced::by(first.clone(), authority, self.generation))
    }

    fn admit_nameless(&self, agent: &AgentName, scheme: Scheme, origin: Origin) -> Admission {
        match scheme {
            Scheme::Http if is_unknown(agent) => Admission::Page(sentence::unknown_agent()),
            Scheme::Http => Admission::Intercept,
            Scheme::Https => {
                let address = Host::from(origin.0.ip().to_canonical());
                if self.is_reached(agent, scheme, &address, origin.0.port()) {
                    Admission::Intercept
                } else if is_unknown(agent) {
                    Admission::Refuse(sentence::unknown_agent())
                } else {
                    Admission::Refuse(sentence::no_server_name())
                }
            }
        }
    }

    /// Whether any rule, be it allow or deny, is about this host and port for this agent.
    fn is_reached(&self, agent: &AgentName, scheme: Scheme, host: &Host, port: u16) -> bool {
        self.rules_about(host)
            .any(|rule| rule.tls == Tls::Intercept && reaches(rule, agent, scheme, port))
    }

    /// Decides on a request by the first rule that matches.
    #[must_use]
    pub fn decide(&self, agent: &AgentName, request: Request) -> Decision {
        if let Some(refusal) = refused_by_form(agent, &request) {
            return deny(refusal, None);
        }
        match self.first_match(agent, &request) {
            Ok(rule) => match &rule.action {
                Action::Allow => Decision::Allow(Allowed::by(Arc::clone(rule), request)),
                Action::Deny { reason } => {
                    self.refuse(sentence::denied_by(rule, reason), Some(rule), request)
                }
            },
            Err(nearest) => {
                let rules = self.rules_about(&request.authority.host);
                let refusal = sentence::no_rule(agent, &request, nearest, rules);
                self.refuse(refusal, None, request)
            }
        }
    }

    /// The first rule that matches, or else what the nearest allow rule misses.
    fn first_match(&self, agent: &AgentName, request: &Request) -> Result<&Arc<Rule>, Miss> {
        let mut nearest = Miss::Reach;
        let about = self.rules_about(&request.authority.host);
        // A rule that splices is about connections, and allows no request.
        for rule in about.filter(|rule| rule.tls == Tls::Intercept) {
            match miss(rule, agent, request) {
                None => return Ok(rule),
                Some(miss) if rule.action == Action::Allow => nearest = nearest.max(miss),
                Some(_) => {}
            }
        }
        Err(nearest)
    }

    fn refuse(&self, refusal: Refusal, rule: Option<&Arc<Rule>>, request: Request) -> Decision {
        match self.mode {
            Mode::Enforce => deny(refusal, rule),
            Mode::Observe => Decision::Allow(Allowed::observing(refusal, request)),
        }
    }

    /// Whether a query for this name may leave: only for an exact host of some allow rule of
    /// this agent. A wildcard would let the agent speak to the domain's name server.
    #[must_use]
    pub fn may_resolve(&self, agent: &AgentName, host: &Host) -> bool {
        host.name().is_some()
            && index::pick(&self.rules, self.index.exact(host).iter().copied())
                .any(|rule| rule.action == Action::Allow && rule.agents.contains(agent))
    }

    /// Whether any allow rule of this agent covers the host, by whatever port; in observe mode
    /// everything may be reached.
    #[must_use]
    pub fn may_reach(&self, agent: &AgentName, host: &Host) -> bool {
        let allows = |rule: &Arc<Rule>| rule.action == Action::Allow && rule.agents.contains(agent);
        !is_unknown(agent) && (self.mode == Mode::Observe || self.rules_about(host).any(allows))
    }

    /// The rules whose hosts cover this one, in their order.
    fn rules_about(&self, host: &Host) -> impl Iterator<Item = &Arc<Rule>> + Clone {
        let candidates: Candidates<'_> = self.index.candidates(host);
        index::pick(&self.rules, candidates)
    }
}

/// What no rule and no mode can let through.
fn refused_by_form(agent: &AgentName, request: &Request) -> Option<Refusal> {
    if is_unknown(agent) {
        Some(sentence::unknown_agent())
    } else if method::is_never_passed(&request.method) {
        Some(sentence::never_passed(&request.method))
    } else if request.target.is_asterisk() && request.method != Method::OPTIONS {
        Some(sentence::asterisk_without_options())
    } else {
        None
    }
}

fn deny(refusal: Refusal, rule: Option<&Arc<Rule>>) -> Decision {
    let rule = rule.map(Arc::clone);
    Decision::Deny(Denied { refusal, rule })
}

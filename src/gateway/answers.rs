//! DNS by the same policy: an allowed exact name gets its addresses, every other name the
//! placeholder, and for that no query leaves.

use std::net::IpAddr;
use std::sync::Arc;

use super::Gateway;
use crate::config::DeniedNames;
use crate::dns::{Answer, Answers, Verdict};
use crate::metrics::DnsVerdict;
use crate::name::{AgentName, Host};
use crate::net::lookups::Asker;
use crate::policy::Policy;

/// Seconds that agents may keep an answer: few, since they dial the gateway whatever it says.
const TTL: u32 = 30;

/// Answers the queries of agents.
pub struct DnsAnswers {
    gateway: Arc<Gateway>,
    denied: DeniedNames,
}

impl DnsAnswers {
    /// By the gateway's policy; `denied` is what becomes of names that no rule allows.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, denied: DeniedNames) -> Self {
        Self { gateway, denied }
    }
}

/// What becomes of a name whose addresses the agent does not get. A name under a wildcard is
/// allowed, only not looked up for agents, so it gets the placeholder in any case.
fn unresolved(policy: &Policy, denied: DeniedNames, agent: &AgentName, name: &Host) -> Answer {
    match denied {
        DeniedNames::Refused if !policy.may_reach(agent, name) => Answer::Refused,
        DeniedNames::NotFound if !policy.may_reach(agent, name) => Answer::NotFound,
        DeniedNames::Refused | DeniedNames::NotFound | DeniedNames::Placeholder => {
            Answer::Placeholder
        }
    }
}

impl Answers for DnsAnswers {
    async fn answer(&self, client: IpAddr, name: &Host, _v6: bool) -> Answer {
        let gateway = &self.gateway;
        let active = gateway.active();
        let agent = active.policy.agent(client);
        if gateway.refusals.check(agent).is_err() {
            return Answer::Refused;
        }
        if !active.policy.may_resolve(agent, name) {
            return unresolved(&active.policy, self.denied, agent, name);
        }
        let asker = Asker {
            agent,
            is_written: true,
        };
        match gateway.dialler.addresses(asker, name).await {
            // The gateway's loopback is not the agent's, and no redirect takes loopback.
            Ok(addresses) if addresses.iter().any(|ip| ip.to_canonical().is_loopback()) => {
                Answer::Placeholder
            }
            Ok(addresses) => Answer::Addresses(addresses, TTL),
            // The request itself will say in a page what is wrong.
            Err(_) => Answer::Placeholder,
        }
    }

    fn count(&self, verdict: Verdict) {
        self.gateway.metrics.names.query(match verdict {
            Verdict::Addresses => DnsVerdict::Addresses,
            Verdict::Placeholder => DnsVerdict::Placeholder,
            Verdict::NoData => DnsVerdict::NoData,
            Verdict::NotFound => DnsVerdict::NotFound,
            Verdict::Refused => DnsVerdict::Refused,
            Verdict::Malformed => DnsVerdict::Malformed,
            Verdict::Dropped => DnsVerdict::Dropped,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;
    use crate::policy::agents::Agents;
    use crate::policy::fixture::{denying, rule};

    fn answer(mode: Mode, denied: DeniedNames, name: &str) -> Answer {
        let rules = vec![
            rule("wild", &["*.good.test"]),
            denying(rule("denied", &["bad.test"]), "no"),
        ];
        let policy = Policy::new(1, mode, Agents::none(), rules);
        let agent = AgentName::new("default");
        let name = Host::from_config(name).unwrap();
        unresolved(&policy, denied, &agent, &name)
    }

    #[test]
    fn denied_names_are_refused_or_not_found_where_the_operator_says_so() {
        use DeniedNames::{NotFound, Placeholder, Refused};
        for name in ["other.test", "bad.test", "good.test"] {
            assert_eq!(answer(Mode::Enforce, Refused, name), Answer::Refused);
            assert_eq!(answer(Mode::Enforce, NotFound, name), Answer::NotFound);
            let placeholder = answer(Mode::Enforce, Placeholder, name);
            assert_eq!(placeholder, Answer::Placeholder);
            // What observe mode lets through must be dialled first.
            assert_eq!(answer(Mode::Observe, Refused, name), Answer::Placeholder);
            assert_eq!(answer(Mode::Observe, NotFound, name), Answer::Placeholder);
        }
        // Allowed, though not looked up for agents.
        for denied in [Refused, NotFound] {
            let wild = answer(Mode::Enforce, denied, "a.good.test");
            assert_eq!(wild, Answer::Placeholder);
        }
    }
}

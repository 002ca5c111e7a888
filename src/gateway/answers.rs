//! DNS by the same policy: an allowed exact name gets its addresses, every other name the
//! placeholder, and for that no query leaves.

use std::net::IpAddr;
use std::sync::Arc;

use super::Gateway;
use crate::dns::{Answer, Answers, Verdict};
use crate::metrics::DnsVerdict;
use crate::name::Host;

/// Seconds that agents may keep an answer: few, since they dial the gateway whatever it says.
const TTL: u32 = 30;

/// Answers the queries of agents.
pub struct DnsAnswers(pub Arc<Gateway>);

impl Answers for DnsAnswers {
    async fn answer(&self, client: IpAddr, name: &Host, _v6: bool) -> Answer {
        let gateway = &self.0;
        let active = gateway.active();
        let agent = active.policy.agent(client);
        if gateway.refusals.check(agent).is_err() {
            return Answer::Refused;
        }
        if !active.policy.may_resolve(agent, name) {
            return Answer::Placeholder;
        }
        match gateway.dialler.addresses(name).await {
            Ok(addresses) => Answer::Addresses(addresses, TTL),
            // The request itself will say in a page what is wrong.
            Err(_) => Answer::Placeholder,
        }
    }

    fn count(&self, verdict: Verdict) {
        self.0.metrics.names.query(match verdict {
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

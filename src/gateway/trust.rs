//! Why an agent breaks its handshake off: said once for each agent and host, with the remedy.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::metrics::{Label as _, TrustSign};
use crate::name::{AgentName, Host};

/// Hosts of one agent that are explained; agents choose names, so there is an end.
const HOSTS: usize = 64;

/// What is known of each agent's trust.
#[derive(Debug, Default)]
pub struct TrustLog(Mutex<HashMap<AgentName, Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whether some handshake of it came to its end.
    trusts: bool,
    told: HashSet<Host>,
}

impl TrustLog {
    /// A handshake came to its end: some client of the agent trusts the CA.
    pub fn trusted(&self, agent: &AgentName) {
        let mut known = self.0.lock();
        // No name is copied for those who are known, which is nearly always.
        if let Some(known) = known.get_mut(agent) {
            known.trusts = true;
        } else {
            known.entry(agent.clone()).or_default().trusts = true;
        }
    }

    /// A handshake for `host` was broken off; logs why, the first time.
    pub fn distrusted(&self, agent: &AgentName, host: &Host, sign: TrustSign) {
        let Some(trusts) = self.first_time(agent, host) else {
            return;
        };
        let explanation = explain(sign, trusts);
        tracing::warn!(%agent, %host, sign = sign.label(), "{explanation}");
    }

    /// Whether the agent trusts the CA elsewhere; `None` where all was said.
    fn first_time(&self, agent: &AgentName, host: &Host) -> Option<bool> {
        let mut known = self.0.lock();
        let known = known.entry(agent.clone()).or_default();
        let is_new = known.told.len() < HOSTS && known.told.insert(host.clone());
        is_new.then_some(known.trusts)
    }
}

/// What the sign means, given whether another client of the agent trusts the CA.
fn explain(sign: TrustSign, trusts: bool) -> &'static str {
    match (sign, trusts) {
        (TrustSign::CertificateExpired, _) => {
            "the client says that the certificate has expired or is not valid yet: set its clock"
        }
        (TrustSign::UnsupportedCertificate, _) => {
            "the client takes no ECDSA P-256 certificate: it is too old for this gateway"
        }
        (TrustSign::DecryptError, _) => {
            "the client trusts another CA of the same name: give it the one that `portreeve ca export` writes"
        }
        (_, false) => {
            "the agent does not trust the CA: install what `portreeve ca export` writes, see ca/README.md"
        }
        (TrustSign::UnknownCa, true) => {
            "this client does not trust the CA, though another of the agent does: give it the CA in its own way (ca/README.md), or, if it pins its server, use `tls = \"splice\"`"
        }
        (
            TrustSign::BadCertificate | TrustSign::CertificateUnknown | TrustSign::SilentClose,
            true,
        ) => {
            "the agent trusts the CA elsewhere, so the client of this host seems to pin its certificate: use `tls = \"splice\"`"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_explained_once_and_not_without_end() {
        let log = TrustLog::default();
        let (one, other) = (AgentName::new("one"), AgentName::new("other"));
        let host = |name: &str| Host::from_config(name).unwrap();
        assert_eq!(log.first_time(&one, &host("a.test")), Some(false));
        assert_eq!(log.first_time(&one, &host("a.test")), None);
        log.trusted(&one);
        assert_eq!(log.first_time(&one, &host("b.test")), Some(true));
        for number in 0..HOSTS {
            log.first_time(&one, &host(&format!("n{number}.test")));
        }
        assert_eq!(log.first_time(&one, &host("late.test")), None);
        assert_eq!(log.first_time(&other, &host("late.test")), Some(false));
    }

    #[test]
    fn the_remedy_depends_on_what_is_known() {
        let of = |sign, trusts| explain(sign, trusts);
        assert!(of(TrustSign::UnknownCa, false).contains("does not trust the CA"));
        assert!(of(TrustSign::BadCertificate, false).contains("ca export"));
        assert!(of(TrustSign::BadCertificate, true).contains("tls = \"splice\""));
        assert!(of(TrustSign::SilentClose, true).contains("pin"));
        assert!(of(TrustSign::CertificateExpired, true).contains("clock"));
    }
}

//! How many names an agent may have looked up, and how much they may say (I9).
//!
//! A query carries its name to whoever serves the domain. A host that a rule writes out is the
//! operator's choice; a name under a wildcard or `any_host` is the agent's, and every new one
//! is a message to that domain's name server, whether it came by DNS, in a ClientHello or in a
//! request. So the limits sit where queries leave, and not where names arrive.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{Reason, Refusal};
use crate::name::{AgentName, Host};

/// Seconds of `per_second` that may come at once: a page load asks for many names.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// On whose behalf a name is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Whose limits count.
    pub agent: &'a AgentName,
    /// Whether a rule writes this very name, so that it says nothing of the agent's.
    pub is_written: bool,
}

/// The limits of every agent.
#[derive(Debug)]
pub struct LookupLimits {
    /// Agents are configured names, so the table is bounded by the config.
    rates: DefaultKeyedRateLimiter<AgentName>,
    name_bits: u32,
}

impl LookupLimits {
    /// So many queries a second and agent (ten times as many at once), and so many bits in a
    /// name that no rule writes out.
    #[must_use]
    pub fn new(per_second: NonZeroU32, name_bits: u32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(per_second.saturating_mul(BURST));
        Self {
            rates: RateLimiter::keyed(quota),
            name_bits,
        }
    }

    /// Whether a query for `host` may leave now; counts it if so.
    ///
    /// # Errors
    /// [`Reason::NameEntropy`] or [`Reason::LookupLimit`].
    pub fn check(&self, asker: Asker<'_>, host: &Host) -> Result<(), Refusal> {
        let name = host.name().unwrap_or_default();
        if !asker.is_written && bits(name) > self.name_bits {
            return Err(Refusal::new(
                Reason::NameEntropy,
                format!(
                    "{host} looks like data in a name, and no rule writes it out; a query for it \
                     does not leave"
                ),
            ));
        }
        self.rates.check_key(asker.agent).map_err(|_| {
            Refusal::new(
                Reason::LookupLimit,
                "too many names that the gateway does not know yet; try again shortly",
            )
        })
    }
}

/// How much a name can say, in bits: the length of each label times its entropy by the
/// frequencies of its characters (Shannon). Words weigh little for being short; what weighs is
/// what fills labels with ever other characters.
fn bits(name: &str) -> u32 {
    let all: f64 = name.split('.').map(label_bits).sum();
    // A name has at most 253 characters of at most eight bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let all = all.round() as u32;
    all
}

fn label_bits(label: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in label.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) * (length / f64::from(*count)).log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT_BITS: u32 = 256;

    fn limits(per_second: u32) -> LookupLimits {
        LookupLimits::new(NonZeroU32::new(per_second).unwrap(), DEFAULT_BITS)
    }

    fn host(name: &str) -> Host {
        Host::from_config(name).unwrap()
    }

    #[test]
    fn names_of_services_pass_and_names_full_of_data_do_not() {
        for name in [
            "good.test",
            "raw.githubusercontent.com",
            "production-artifacts-of-our-company.s3.eu-central-1.amazonaws.com",
            "d2lx4fvp83kg1z.cloudfront.net",
            "frontend-7d9c5b6f4-x2x7k.eu-west1.run.app",
            "da39a3ee5e6b4b0d3255bfef95601890.pages.dev",
            "xn--bcher-kva.example",
        ] {
            assert!(bits(name) <= DEFAULT_BITS, "{name}: {}", bits(name));
        }
        for name in [
            "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpi3dqmzsgq2tmnzygeydc.a.test",
            "c2vjcmv0lxrva2vulw9m.lxrozs1hz2vudc1pbi1h.lxnhbmrib3gtmdey.mzq1njc4owfiy2rl.evil.test",
        ] {
            assert!(bits(name) > DEFAULT_BITS, "{name}: {}", bits(name));
        }
        assert_eq!(bits("aaaaaaaaaaaaaaaa.aaaaaaaa"), 0);
    }

    #[test]
    fn i9_lookups_are_counted_by_agent() {
        let limits = limits(1);
        let (a, b) = (AgentName::new("a"), AgentName::new("b"));
        let asks = |agent, is_written, name: &str| {
            let asker = Asker { agent, is_written };
            limits.check(asker, &host(name)).map_err(|r| r.reason)
        };
        let refused = (0..100).find_map(|_| asks(&a, true, "good.test").err());
        assert_eq!(refused, Some(Reason::LookupLimit));
        assert_eq!(asks(&b, true, "good.test"), Ok(()));
        let dense = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpi3dqmzsgq2tmnzygeydc.a.test";
        assert_eq!(asks(&b, false, dense), Err(Reason::NameEntropy));
        assert_eq!(asks(&b, true, dense), Ok(()));
    }
}

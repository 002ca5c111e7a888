//! Which servers are believed: those of `[upstream]`, but where a rule says for itself.

use std::collections::HashMap;

use crate::config;
use crate::name::RuleName;
use crate::policy::rule::Rule;
use crate::tls::{TlsError, UpstreamTls};

/// TLS toward servers, by rule.
#[derive(Clone, Debug)]
pub struct Believed {
    all: UpstreamTls,
    by_rule: HashMap<RuleName, UpstreamTls>,
}

impl Believed {
    /// Of rules that say nothing for themselves.
    #[must_use]
    pub fn new(all: UpstreamTls) -> Self {
        Self {
            all,
            by_rule: HashMap::new(),
        }
    }

    /// With what the rules now say. One that says what it said before keeps its sessions.
    ///
    /// # Errors
    /// As [`UpstreamTls::with`].
    pub fn of_rules(&self, rules: &[(RuleName, config::Believed)]) -> Result<Self, TlsError> {
        let mut by_rule = HashMap::new();
        for (name, believed) in rules {
            let new = self.all.with(believed.roots.clone(), &believed.pins)?;
            let old = self.by_rule.get(name);
            let same = old.filter(|old| old.profile() == new.profile());
            by_rule.insert(name.clone(), same.cloned().unwrap_or(new));
        }
        Ok(Self {
            all: self.all.clone(),
            by_rule,
        })
    }

    /// Those of a rule.
    #[must_use]
    pub fn by(&self, rule: Option<&Rule>) -> &UpstreamTls {
        rule.filter(|_| !self.by_rule.is_empty())
            .and_then(|rule| self.by_rule.get(&rule.name))
            .unwrap_or(&self.all)
    }
}

//! From a host to the few rules that may speak about it, in the order of the rules.
//!
//! What a lookup costs depends on the labels of the name and on the rules of that host,
//! not on how many rules there are for other hosts.

use std::sync::Arc;

use super::rule::{HostPattern, Hosts, Rule};
use crate::name::{ByName, Host};

/// Where rules are found by host. Every list ascends.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: ByName<Host, Vec<usize>>,
    /// By suffix, without `*.`.
    under: ByName<Box<str>, Vec<usize>>,
    /// `any_host`.
    any: Vec<usize>,
}

impl Index {
    pub(super) fn new<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.enumerate() {
            match &rule.hosts {
                Hosts::Any => index.any.push(number),
                Hosts::These(patterns) => {
                    for pattern in patterns {
                        index.insert(pattern, number);
                    }
                }
            }
        }
        index
    }

    fn insert(&mut self, pattern: &HostPattern, number: usize) {
        match pattern {
            HostPattern::Exact(host) => {
                self.exact.entry(host.clone()).or_default().push(number);
            }
            HostPattern::Under(suffix) => {
                // An address as a suffix matches nothing, so it is in no list.
                if let Some(name) = suffix.name() {
                    self.under.entry(name.into()).or_default().push(number);
                }
            }
        }
    }

    /// The numbers of all rules whose `hosts` cover `host`, ascending, each once.
    pub(super) fn candidates<'i>(&'i self, host: &Host) -> Candidates<'i> {
        let mut lists = Vec::new();
        lists.extend(self.exact.get(host).map(Vec::as_slice));
        if let Some(name) = host.name() {
            let under = suffixes(name).filter_map(|suffix| self.under.get(suffix));
            lists.extend(under.map(Vec::as_slice));
            lists.push(&self.any);
        }
        Candidates { lists }
    }

    /// As [`Index::candidates`], for what a rule covers that names `pattern`: the numbers of
    /// all rules of which one host pattern covers all of `pattern`.
    pub(super) fn covering<'i>(&'i self, pattern: &HostPattern) -> Candidates<'i> {
        match pattern {
            HostPattern::Exact(host) => self.candidates(host),
            HostPattern::Under(suffix) => {
                let name = suffix.name().unwrap_or_default();
                let same = self.under.get(name);
                let wider = suffixes(name).filter_map(|suffix| self.under.get(suffix));
                let lists = same.into_iter().chain(wider).chain([&self.any]);
                Candidates {
                    lists: lists.map(Vec::as_slice).collect(),
                }
            }
        }
    }

    /// The numbers of all rules with `any_host`.
    pub(super) fn any_host(&self) -> &[usize] {
        &self.any
    }

    /// The numbers of all rules that name exactly this host.
    pub(super) fn exact(&self, host: &Host) -> &[usize] {
        self.exact.get(host).map_or(&[], Vec::as_slice)
    }
}

/// `b.c` and `c` for `a.b.c`: what `*.` may stand before.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |rest| Some(rest.split_once('.')?.1)).skip(1)
}

/// Ascending lists merged into one.
#[derive(Clone)]
pub(super) struct Candidates<'i> {
    lists: Vec<&'i [usize]>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = *self.lists.iter().filter_map(|list| list.first()).min()?;
        for list in &mut self.lists {
            // A rule may name a host twice, in one list or in two.
            while let Some((&first, rest)) = list.split_first()
                && first == next
            {
                *list = rest;
            }
        }
        Some(next)
    }
}

/// The rules of these numbers.
pub(super) fn pick(
    rules: &[Arc<Rule>],
    numbers: impl Iterator<Item = usize> + Clone,
) -> impl Iterator<Item = &Arc<Rule>> + Clone {
    numbers.filter_map(|number| rules.get(number))
}

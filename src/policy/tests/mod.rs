//! The policy as a whole: tables of meaning, and properties against naive second opinions.

mod admission;
mod paths;
mod requests;
mod same_as_scan;
mod sentences;
mod shadowed;

use super::agents::Agents;
use super::rule::Rule;
use super::{Decision, Mode, Policy, Request};
use crate::error::Reason;
use crate::name::AgentName;

fn policy(rules: Vec<Rule>) -> Policy {
    Policy::new(1, Mode::Enforce, Agents::none(), rules)
}

fn builder() -> AgentName {
    AgentName::new("builder")
}

/// The allowing rule's name, or why not.
fn verdict(policy: &Policy, request: Request) -> Result<String, Reason> {
    match policy.decide(&builder(), request) {
        Decision::Allow(allowed) => Ok(allowed.rule().unwrap().name.to_string()),
        Decision::Deny(denied) => Err(denied.refusal.reason),
    }
}

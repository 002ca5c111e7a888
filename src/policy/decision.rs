//! What was decided. An [`Allowed`] is evidence: only this module's parent can make one.

use std::sync::Arc;

use http::HeaderMap;

use super::path::TargetError;
use super::request::Request;
use super::rule::Rule;
use crate::error::Refusal;
use crate::name::Authority;

/// On a connection, by its name and port alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Some rule, be it allow or deny, is about this name and port: each request decides.
    Intercept,
    /// A rule passes it through undecrypted.
    Splice(Spliced),
    /// No rule is: the agent gets a page that says so.
    Page(Refusal),
    /// There is no name to answer under: an alert and the end.
    Refuse(Refusal),
}

/// A connection that may pass undecrypted to this name and port, and the only value that is.
#[derive(Clone, Debug)]
pub struct Spliced {
    rule: Arc<Rule>,
    authority: Authority,
    generation: u64,
}

impl Spliced {
    pub(super) fn by(rule: Arc<Rule>, authority: Authority, generation: u64) -> Self {
        Self {
            rule,
            authority,
            generation,
        }
    }

    /// The rule that allows it.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What is dialled.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Of the policy that decided.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The same rule for the same server.
impl PartialEq for Spliced {
    fn eq(&self, other: &Self) -> bool {
        self.rule.name == other.rule.name && self.authority == other.authority
    }
}

impl Eq for Spliced {}

/// On a request.
#[derive(Debug)]
pub enum Decision {
    /// It may go.
    Allow(Allowed),
    /// It may not.
    Deny(Denied),
}

/// A request that may go, and the only value that is forwarded.
///
/// Its method, authority and path cannot be changed any more (I7); header fields and the
/// query can, because steps after the decision remove authenticators and add credentials.
#[derive(Debug)]
pub struct Allowed {
    /// Boxed, as it passes from step to step.
    request: Box<Request>,
    rule: Option<Arc<Rule>>,
    observed: Option<Refusal>,
}

impl Allowed {
    pub(super) fn by(rule: Arc<Rule>, request: Request) -> Self {
        Self {
            request: Box::new(request),
            rule: Some(rule),
            observed: None,
        }
    }

    /// Let through although refused. There is no rule, hence no credential.
    pub(super) fn observing(refusal: Refusal, request: Request) -> Self {
        Self {
            request: Box::new(request),
            rule: None,
            observed: Some(refusal),
        }
    }

    /// What may go.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The rule that allows it; `None` only where a refusal was observed and not enforced.
    #[must_use]
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        self.rule.as_ref()
    }

    /// The refusal that observe mode did not enforce.
    #[must_use]
    pub fn observed(&self) -> Option<&Refusal> {
        self.observed.as_ref()
    }

    /// The header fields, to strip, set and attach.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.request.headers
    }

    /// Replaces the query, which is given as it goes over the wire, without `?`.
    ///
    /// # Errors
    /// [`TargetError`] if it is no query; then nothing has changed.
    pub fn set_query(&mut self, query: Option<&str>) -> Result<(), TargetError> {
        self.request.target = self.request.target.with_query(query)?;
        Ok(())
    }

    /// The request, to be sent.
    #[must_use]
    pub fn into_request(self) -> Request {
        *self.request
    }
}

/// A request that may not go.
#[derive(Debug)]
pub struct Denied {
    /// Why.
    pub refusal: Refusal,
    /// The deny rule, if it was one.
    pub rule: Option<Arc<Rule>>,
}

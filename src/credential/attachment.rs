//! What is attached to one request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::attach::QueryPair;
use super::placeholder::{Guard, Placeholder, Rewriter, Taken};
use super::sigv4::{Signer, Signing};
use super::{Identity, Pinned};
use crate::error::Refusal;
use crate::policy::Request;

/// What to attach to one request.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// Header fields to set, in place of any of the same name; values are sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Keys to put into the query, in place of any of the same name.
    pub query: Vec<QueryPair>,
    /// Changes whenever the attached bytes change, so that it can stand for them in a key.
    pub generation: u64,
    /// The certificate of the connection.
    pub identity: Option<Identity>,
    /// What signs the request, once [`Attachment::settle`] knows for what.
    pub signing: Option<Signing>,
    /// What is asked of the server.
    pub pinned: Vec<Pinned>,
    /// Whether there is a token that another can be got for.
    pub minted: bool,
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) placeholders: Vec<Arc<Placeholder>>,
}

impl Attachment {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }

    /// Attaches what `other` does as well. The configuration has checked that no two set the
    /// same.
    pub fn join(&mut self, other: Self) {
        self.headers.extend(other.headers);
        self.query.extend(other.query);
        self.generation = self.generation.max(other.generation);
        self.identity = self.identity.take().or(other.identity);
        self.signer = self.signer.take().or(other.signer);
        self.pinned.extend(other.pinned);
        self.minted |= other.minted;
        self.placeholders.extend(other.placeholders);
    }

    /// Settles what depends on the request as the agent sent it: which stand-ins are where,
    /// and for what it was signed.
    ///
    /// # Errors
    /// [`Reason::Unsignable`](crate::error::Reason::Unsignable), or a stand-in that is in
    /// the wrong place.
    pub fn settle(&mut self, request: &Request, guard: Option<&Guard>) -> Result<(), Refusal> {
        let mut taken = Taken::default();
        for placeholder in &self.placeholders {
            placeholder.take(request, &mut taken);
        }
        if let Some(guard) = guard {
            guard.head(request, &taken)?;
        }
        self.headers.extend(taken.fields);
        self.query.extend(taken.pairs);
        if let Some(signer) = &self.signer {
            self.signing = Some(signer.signing(request)?);
        }
        Ok(())
    }

    /// Whether a request that a server did not take may be sent with another token: one that
    /// is signed stands as it was signed.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.minted && self.signer.is_none()
    }

    /// What swaps stand-ins in the body of `request`, if any may be there.
    #[must_use]
    pub fn rewriter(&self, request: &Request) -> Option<Rewriter> {
        Rewriter::new(&self.placeholders, &request.headers)
    }

    /// What swaps stand-ins in text messages of a WebSocket, if any may be there.
    #[must_use]
    pub fn message_rewriter(&self) -> Option<Rewriter> {
        Rewriter::of_messages(&self.placeholders)
    }

    /// The keys of the query it sets: nothing else may set them on this request.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.query.iter().map(QueryPair::key)
    }

    /// The names it sets: nothing else may set them on this request.
    pub fn sets(&self) -> impl Iterator<Item = &HeaderName> {
        let signed: &[HeaderName] = match &self.signer {
            Some(_) => Signer::sets(),
            None => &[],
        };
        self.headers.iter().map(|(name, _)| name).chain(signed)
    }
}

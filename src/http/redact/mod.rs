//! Step 11, redact: secrets that a response echoes do not reach the agent (I5).
//!
//! Everything that goes to an agent passes here: interim responses, heads, bodies, trailers,
//! and the gateway's own pages. Looked for is what any rule of the agent may attach, whatever
//! was attached to this request: what one call writes another may read.

mod body;
mod calls;
mod coded;
mod coding;
mod decode;
mod message;
mod recoded;
#[cfg(test)]
mod tests;
mod zstd_frames;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

pub use self::body::Redacting;
pub use self::message::Messages;
use super::responder::Responder;
use crate::credential::echo::{Found, Needles, Scan};
use crate::error::{Reason, Refusal};
use crate::metrics::Metrics;

/// What to look for in the responses to one request, and what was found.
#[derive(Clone, Debug)]
pub struct Echo {
    needles: Option<Arc<Needles>>,
    /// How many bytes a compressed body may decode to.
    budget: u64,
    redactions: Arc<Redactions>,
}

/// How a body is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it is.
    Whole,
    /// As a part of something larger, so that fragments count.
    Part,
    /// Decoded.
    Recode,
}

/// Counts what was found.
struct Redactions {
    count: AtomicU64,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Redactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redactions").field(&self.count).finish()
    }
}

impl Echo {
    /// Looks for `needles`, if there are any; in compressed bodies as long as they decode to
    /// no more than `budget` bytes.
    #[must_use]
    pub fn new(needles: Option<Arc<Needles>>, budget: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            needles,
            budget,
            redactions: Arc::new(Redactions {
                count: AtomicU64::new(0),
                metrics,
            }),
        }
    }

    /// The same, but looking for these; what it finds is counted together.
    #[must_use]
    pub fn looking_for(&self, needles: Option<Arc<Needles>>) -> Self {
        Self {
            needles,
            ..self.clone()
        }
    }

    /// How many echoes were found so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.redactions.count.load(Relaxed)
    }

    /// Asks the server for a response that can be looked at.
    pub fn narrow(&self, headers: &mut HeaderMap) {
        if self.needles.is_some() {
            coding::narrow(headers);
        }
    }

    /// Whether a response can be looked at.
    ///
    /// # Errors
    /// [`Reason::Undecodable`] for a body in a coding that hides what it says.
    pub fn check<B>(&self, response: &Response<B>, method: &Method) -> Result<(), Refusal> {
        if self.needles.is_none() || has_no_body(method, response.status()) {
            return Ok(());
        }
        coding::of(response.headers(), is_part(response.status()))
            .map(|_| ())
            .map_err(|what| Refusal::new(Reason::Undecodable, format!("the server's response is refused because {what}, so the gateway cannot see whether it echoes a credential")))
    }

    /// Masks what is found in a header or trailer section; a field is removed where its
    /// name tells.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let Some(needles) = &self.needles else { return };
        let mut found = Found::new();
        let mut telling: Vec<HeaderName> = Vec::new();
        for (name, value) in headers.iter_mut() {
            if let Some(masked) = mask(needles, value.as_bytes(), &mut found)
                && let Ok(masked) = HeaderValue::from_bytes(&masked)
            {
                *value = masked;
            }
            let before = found.len();
            if mask(needles, name.as_str().as_bytes(), &mut found).is_some() && found.len() > before
            {
                telling.push(name.clone());
            }
        }
        for name in &telling {
            headers.remove(name);
        }
        self.note(needles, &found);
    }

    /// A response on its way to the agent; `recode`: a compressed one is handed on decoded.
    pub fn response<B>(&self, response: Response<B>, recode: bool) -> Response<Redacting<B>> {
        let (mut parts, body) = response.into_parts();
        // Before the fields are masked: what they say of the body must be what was sent.
        let part = is_part(parts.status);
        let content = coding::of(&parts.headers, part);
        let manner = match content {
            _ if part => Manner::Part,
            Ok(content) if recode && self.needles.is_some() && content.is_compressed() => {
                coding::forget(&mut parts.headers);
                Manner::Recode
            }
            Ok(_) | Err(_) => Manner::Whole,
        };
        self.headers(&mut parts.headers);
        let body = Redacting::new(body, self.clone(), content, manner);
        Response::from_parts(parts, body)
    }

    fn over_budget(&self) {
        let state = &self.redactions.metrics.state;
        state.limit_reached("limits.decoded_bytes");
    }

    fn note(&self, needles: &Needles, found: &[u32]) {
        for owner in found {
            if let Some(name) = needles.credential(*owner) {
                self.redactions.metrics.credentials.redact(name);
            }
        }
        self.redactions.count.fetch_add(found.len() as u64, Relaxed);
    }
}

/// The masked bytes, if there was anything to mask.
fn mask(needles: &Arc<Needles>, bytes: &[u8], found: &mut Found) -> Option<bytes::Bytes> {
    // Most fields are short and hold nothing: look before anything is copied.
    if !needles.may_be_in(bytes.len()) || needles.find(bytes).is_empty() {
        return None;
    }
    let mut scan = Scan::new(Arc::clone(needles), false);
    Some(scan.pass(bytes::Bytes::copy_from_slice(bytes), true, found))
}

/// Whether a body is a part of something larger (RFC 9110 §15.3.7).
fn is_part(status: StatusCode) -> bool {
    status == StatusCode::PARTIAL_CONTENT
}

/// Whether a response has no body whatever its head says (RFC 9110 §6.4.1).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The agent's side of a request: its responder, and what must not get there.
#[derive(Clone, Copy)]
pub struct Agentward<'a, 'r> {
    /// Answers.
    pub responder: &'a Responder<'r>,
    /// Looks at interim responses.
    pub echo: &'a Echo,
}

impl Agentward<'_, '_> {
    /// Sends an interim response (1xx).
    pub async fn interim(&self, status: StatusCode, mut headers: HeaderMap) {
        self.echo.headers(&mut headers);
        self.responder.interim(status, &headers).await;
    }
}

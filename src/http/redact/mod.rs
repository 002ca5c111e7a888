//! Step 11, redact: secrets that a response echoes do not reach the agent (I5).
//!
//! Everything that goes to an agent passes here: interim responses, heads, bodies, trailers,
//! and the gateway's own pages. Looked for is what any rule of the agent may attach, whatever
//! was attached to this request: what one call writes another may read.

mod body;
mod coding;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

pub use self::body::Redacting;
use super::responder::Responder;
use crate::credential::echo::{Found, Needles, Scan};
use crate::error::{Reason, Refusal};
use crate::metrics::Metrics;

/// What to look for in the responses to one request, and what was found.
#[derive(Clone, Debug)]
pub struct Echo {
    needles: Option<Arc<Needles>>,
    redactions: Arc<Redactions>,
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
    /// Looks for `needles`, if there are any.
    #[must_use]
    pub fn new(needles: Option<Arc<Needles>>, metrics: Arc<Metrics>) -> Self {
        Self {
            needles,
            redactions: Arc::new(Redactions {
                count: AtomicU64::new(0),
                metrics,
            }),
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
        coding::of(response.headers())
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

    /// A response on its way to the agent.
    pub fn response<B>(&self, response: Response<B>) -> Response<Redacting<B>> {
        let (mut parts, body) = response.into_parts();
        // Before the fields are masked: what they say of the body must be what was sent.
        let coding = coding::of(&parts.headers);
        self.headers(&mut parts.headers);
        let part = parts.status == StatusCode::PARTIAL_CONTENT;
        let body = Redacting::new(body, self.clone(), coding, part);
        Response::from_parts(parts, body)
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
    if needles.find(bytes).is_empty() {
        return None;
    }
    let mut scan = Scan::new(Arc::clone(needles), false);
    Some(scan.pass(bytes::Bytes::copy_from_slice(bytes), true, found))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::CredentialName;

    fn echo() -> Echo {
        let name = CredentialName::new("a");
        let needles = Needles::new([(&name, &b"hunter2-hunter2"[..])]).unwrap();
        Echo::new(needles.map(Arc::new), Arc::new(Metrics::new()))
    }

    #[test]
    fn fields_are_masked_and_telling_names_removed() {
        let echo = echo();
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", "Bearer hunter2-hunter2".parse().unwrap());
        headers.append("x-echo", "b64 aHVudGVyMi1odW50ZXIy".parse().unwrap());
        headers.insert("x-clean", "hunter2".parse().unwrap());
        headers.insert("x-hunter2-hunter2", "1".parse().unwrap());
        echo.headers(&mut headers);
        let values: Vec<_> = headers.get_all("x-echo").iter().collect();
        assert_eq!(
            values,
            ["Bearer ***************", "b64 ********************"]
        );
        assert_eq!(headers["x-clean"], "hunter2");
        assert_eq!(headers.len(), 3);
        assert_eq!(echo.count(), 3);
    }

    #[test]
    fn bodies_in_an_unknown_coding_are_refused() {
        let echo = echo();
        let response = |coding: &'static str| {
            Response::builder()
                .header("content-encoding", coding)
                .body(())
                .unwrap()
        };
        for (coding, fine) in [("identity", true), ("x-rot13", false), ("", true)] {
            let checked = echo.check(&response(coding), &Method::GET);
            assert_eq!(checked.is_ok(), fine, "{coding}");
        }
        assert!(echo.check(&response("x-rot13"), &Method::HEAD).is_ok());
        let nothing = Echo::new(None, Arc::new(Metrics::new()));
        assert!(nothing.check(&response("x-rot13"), &Method::GET).is_ok());
    }
}

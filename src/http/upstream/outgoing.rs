//! A request as it leaves: made only from what the policy allowed.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, PathAndQuery};
use http::{Method, Request, Uri, Version};

use crate::credential::sigv4::{Head, Payload, Signing};
use crate::credential::{Attachment, Identity, Pinned, QueryPair};
use crate::error::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::passing::{Passed, trailer_field};
use crate::http::refusal::Dialect;
use crate::name::Authority;
use crate::policy::Allowed;
use crate::policy::Scheme;

/// What leaves. There is no way to one but through [`Allowed`].
pub struct Outgoing {
    /// As decided.
    pub method: Method,
    /// As decided; also what is dialled and verified.
    pub authority: Authority,
    /// Clear or TLS.
    pub scheme: Scheme,
    /// Path and query, octet for octet as decided, but for stripped and attached query keys.
    pub target: String,
    /// How long that is without what is attached.
    bare: usize,
    /// Stripped, set, and with the credential.
    pub headers: HeaderMap,
    /// Whether the agent takes trailers.
    pub te_trailers: bool,
    /// The trailers the agent announced, as far as they may pass.
    pub trailers: Vec<HeaderName>,
    /// Fields that the rule or the credential sets or removes, so no trailer may bring them.
    pub own: Vec<HeaderName>,
    /// Counts the body.
    pub passed: Arc<Passed>,
    /// Most bytes of the body.
    pub body_limit: Option<u64>,
    /// Whether the agent waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// Who the gateway is to the server.
    pub identity: Option<Identity>,
    /// What is asked of the server.
    pub pinned: Vec<Pinned>,
    signing: Option<Signing>,
    /// Behind `bare` in the target.
    attached: Vec<QueryPair>,
}

/// Neither the target nor the headers, which may hold secrets.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// What the agent said of its request beyond the decision.
#[derive(Debug)]
pub struct Extras {
    /// Whether it takes trailers.
    pub te_trailers: bool,
    /// The trailers it announced.
    pub trailers: Vec<HeaderName>,
    /// Counts the body.
    pub passed: Arc<Passed>,
    /// Most bytes of the body.
    pub body_limit: Option<u64>,
    /// Whether it waits for 100 before it sends the body.
    pub expects_continue: bool,
}

impl Outgoing {
    /// Attaches the credential, if there is one, to an allowed and stripped request. This is
    /// the one place where a secret enters a request (step 9).
    #[must_use]
    pub fn new(allowed: Allowed, attachment: Option<Attachment>, extras: Extras) -> Self {
        let attachment = attachment.unwrap_or_default();
        let mut own: Vec<HeaderName> = Vec::new();
        if let Some(rule) = allowed.rule() {
            own.extend(rule.set_headers.iter().map(|(name, _)| name.clone()));
            own.extend(rule.remove_headers.iter().cloned());
        }
        own.extend(attachment.sets().cloned());
        let request = allowed.into_request();
        let target = request.target.as_str().to_owned();
        let mut outgoing = Self {
            method: request.method,
            authority: request.authority,
            scheme: request.scheme,
            bare: target.len(),
            target,
            headers: request.headers,
            te_trailers: extras.te_trailers,
            trailers: extras.trailers,
            own,
            passed: extras.passed,
            body_limit: extras.body_limit,
            expects_continue: extras.expects_continue,
            identity: attachment.identity,
            pinned: attachment.pinned,
            signing: attachment.signing,
            attached: Vec::new(),
        };
        outgoing.set(attachment.headers, attachment.query);
        outgoing
    }

    /// Attaches a newer value of a credential in place of the one that is there.
    pub fn renew(&mut self, attachment: Attachment) {
        self.set(attachment.headers, attachment.query);
    }

    fn set(&mut self, headers: Vec<(HeaderName, HeaderValue)>, pairs: Vec<QueryPair>) {
        for (name, value) in headers {
            self.headers.insert(name, value);
        }
        for pair in pairs {
            self.attached.retain(|known| known.key() != pair.key());
            self.attached.push(pair);
        }
        self.target.truncate(self.bare);
        for pair in &self.attached {
            pair.append_to(&mut self.target);
        }
    }

    /// Signs the request as it now is, where a credential does; nothing changes after that.
    ///
    /// # Errors
    /// [`Reason::Unsignable`]
    pub fn sign(&mut self, body: &Body) -> Result<(), Refusal> {
        let Some(signing) = self.signing.take() else {
            return Ok(());
        };
        let payload = match body {
            Body::Held(data, _) => Payload::Held(data),
            Body::H1(_)
            | Body::H2(_)
            | Body::Response(_)
            | Body::Scanned(_)
            | Body::Swapping(_) => Payload::Streamed,
        };
        let host = self.host();
        let mut head = Head {
            method: self.method.as_str(),
            host: &host,
            target: &self.target,
            headers: &mut self.headers,
        };
        signing.sign(&mut head, payload, SystemTime::now())
    }

    /// Whether it is a gRPC call.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        Dialect::of(&self.headers) == Dialect::Grpc
    }

    /// The `Host` field.
    #[must_use]
    pub fn host(&self) -> String {
        self.authority.to_field(self.scheme.default_port())
    }

    /// The head for an HTTP/2 stream; `length` is the body's, where known.
    ///
    /// # Errors
    /// A target that the `http` crate cannot carry unchanged.
    pub fn http2_head(&self, length: Option<u64>) -> Result<Request<()>, Refusal> {
        let target = PathAndQuery::try_from(self.target.as_str()).ok();
        let target = target.filter(|target| target.as_str() == self.target);
        let authority = uri::Authority::try_from(self.host()).ok();
        let (Some(target), Some(authority)) = (target, authority) else {
            return Err(Refusal::new(
                Reason::BadPath,
                "the request target has characters that HTTP/2 cannot carry; percent-encode them",
            ));
        };
        let mut parts = uri::Parts::default();
        parts.scheme = uri::Scheme::try_from(self.scheme.as_str()).ok();
        parts.authority = Some(authority);
        parts.path_and_query = Some(target);
        let uri = Uri::from_parts(parts)
            .map_err(|_| Refusal::new(Reason::BadPath, "the request target is no path"))?;
        let mut head = Request::new(());
        *head.method_mut() = self.method.clone();
        *head.uri_mut() = uri;
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = self.headers.clone();
        let headers = head.headers_mut();
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if self.te_trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if self.expects_continue {
            headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        if let Some(trailer) = trailer_field(&self.trailers) {
            headers.insert(header::TRAILER, trailer);
        }
        Ok(head)
    }
}

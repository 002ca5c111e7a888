//! The head of a request as a leg delivered it, the same for both protocol versions.
//!
//! Nothing has been judged yet beyond framing: [`super::canonical`] makes the one request
//! that is decided on.

use bytes::Bytes;
use h2::RecvStream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, request};

use super::body::Body;
use super::canonical::is_forbidden_trailer;
use super::h1::{self, RequestTarget};
use super::h2::Incoming;
use super::passing::declared_trailers;
use crate::error::{Reason, Refusal};

/// The protocol of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0: no chunks, no interim responses.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// `network.protocol.version` as OpenTelemetry writes it.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// A request head before canonicalisation.
#[derive(Debug)]
pub struct RawHead {
    /// Of the agent's leg.
    pub protocol: Protocol,
    /// As sent; methods are case-sensitive.
    pub method: Method,
    /// `:scheme`, or the scheme of an absolute-form target.
    pub scheme: Option<String>,
    /// `:authority`, or the authority of an absolute-form target.
    pub authority: Option<Bytes>,
    /// The `Host` field.
    pub host: Option<HeaderValue>,
    /// Path and query exactly as sent, or `*`.
    pub target: String,
    /// Everything but framing, `Host`, `Expect` and connection management.
    pub headers: HeaderMap,
    /// Whether the agent waits for 100 (RFC 9110 §10.1.1); `Err` for any other expectation.
    pub expects_continue: Result<bool, ()>,
    /// Whether the agent takes trailers (`TE: trailers`).
    pub te_trailers: bool,
    /// The trailers it announced, as far as they may pass.
    pub trailers: Vec<HeaderName>,
    /// The protocols of an `Upgrade` field.
    pub upgrade: Option<HeaderValue>,
}

impl RawHead {
    /// From a strictly parsed HTTP/1 head.
    #[must_use]
    pub fn from_h1(head: h1::RequestHead) -> Self {
        let (scheme, authority, target) = match head.target {
            RequestTarget::Origin(target) => (None, None, target),
            RequestTarget::Absolute {
                scheme,
                authority,
                path,
            } => (
                Some(scheme.as_str().to_owned()),
                Some(Bytes::from(authority)),
                path,
            ),
            RequestTarget::Asterisk => (None, None, "*".to_owned()),
            RequestTarget::Authority(authority) => {
                (None, Some(Bytes::from(authority)), String::new())
            }
        };
        Self {
            protocol: match head.version {
                h1::Version::Http10 => Protocol::Http10,
                h1::Version::Http11 => Protocol::Http11,
            },
            method: head.method,
            scheme,
            authority,
            host: Some(head.host),
            target,
            headers: head.headers,
            expects_continue: match head.expect {
                None => Ok(false),
                // To HTTP/1.0 agents it means nothing (RFC 9110 §10.1.1).
                Some(h1::Expect::Continue) => Ok(head.version == h1::Version::Http11),
                Some(h1::Expect::Unknown) => Err(()),
            },
            te_trailers: head.te_trailers,
            trailers: head
                .declared_trailers
                .into_iter()
                .filter(|name| !is_forbidden_trailer(name))
                .collect(),
            upgrade: head.upgrade,
        }
    }

    /// From an HTTP/2 request; also yields its body. What `h2` leaves to applications is
    /// checked here: repeated `host` or `content-length`, and a `te` other than `trailers`.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for a head that has more than one reading.
    pub fn from_h2(request: http::Request<RecvStream>) -> Result<(Self, Body), Refusal> {
        let (parts, stream) = request.into_parts();
        let request::Parts {
            method,
            uri,
            mut headers,
            ..
        } = parts;
        let length = single(&mut headers, header::CONTENT_LENGTH)?
            .map(|value| parse_length(&value))
            .transpose()?;
        let host = single(&mut headers, header::HOST)?;
        let te = single(&mut headers, header::TE)?;
        let expect = single(&mut headers, header::EXPECT)?;
        join_cookies(&mut headers);
        let trailers = declared_trailers(&headers);
        headers.remove(header::TRAILER);
        let uri = uri.into_parts();
        let head = Self {
            protocol: Protocol::Http2,
            method,
            scheme: uri.scheme.map(|scheme| scheme.as_str().to_owned()),
            authority: uri
                .authority
                .map(|authority| Bytes::copy_from_slice(authority.as_str().as_bytes())),
            host,
            target: uri
                .path_and_query
                .map(|target| target.as_str().to_owned())
                .unwrap_or_default(),
            headers,
            expects_continue: match expect {
                None => Ok(false),
                Some(value) => is_continue(&value).then_some(true).ok_or(()),
            },
            trailers,
            te_trailers: te.is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")),
            upgrade: None,
        };
        Ok((head, Body::H2(Incoming::new(stream, length))))
    }
}

fn is_continue(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// Takes a field that may stand at most once.
fn single(headers: &mut HeaderMap, name: HeaderName) -> Result<Option<HeaderValue>, Refusal> {
    if headers.get_all(&name).iter().nth(1).is_some() {
        return Err(malformed(format!("it has more than one {name} field")));
    }
    Ok(headers.remove(name))
}

fn parse_length(value: &HeaderValue) -> Result<u64, Refusal> {
    let digits = value.as_bytes();
    let canonical = match digits {
        [b'0'] => true,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    canonical
        .then(|| value.to_str().ok()?.parse().ok())
        .flatten()
        .ok_or_else(|| malformed("its content-length is no plain number"))
}

/// Puts the cookie crumbs of HTTP/2 together again (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The refusal of a head that two parsers could read differently.
pub(super) fn malformed(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Reason::Malformed,
        format!("the request is refused because {what}"),
    )
}

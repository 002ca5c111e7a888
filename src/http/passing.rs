//! What every body passes on its way: bytes are counted and limited, trailers filtered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::body::BodyError;
use super::canonical::is_forbidden_trailer;
use super::strip::is_same;

/// What has passed so far; shared with the record.
#[derive(Debug, Default)]
pub struct Passed {
    bytes: AtomicU64,
    trailers_lost: AtomicU64,
}

impl Passed {
    /// Bytes of content, without framing.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Counts bytes that no [`Passing`] sees.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Starts again, for a body that is sent a second time.
    pub fn reset(&self) {
        self.bytes.store(0, Relaxed);
        self.trailers_lost.store(0, Relaxed);
    }

    /// Trailer fields that could not be passed on.
    #[must_use]
    pub fn trailers_lost(&self) -> u64 {
        self.trailers_lost.load(Relaxed)
    }
}

/// Which trailers the receiving leg can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrailerNames {
    /// All that pass the filter (HTTP/2).
    Any,
    /// Those announced in `Trailer` (HTTP/1.1 with chunks), possibly none.
    Declared(Vec<HeaderName>),
}

/// Reads a message's `Trailer` field: the names in it that may be trailers.
#[must_use]
pub fn declared_trailers(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(http::header::TRAILER) {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            match HeaderName::from_bytes(name.trim_ascii()) {
                Ok(name) if !is_forbidden_trailer(&name) && !names.contains(&name) => {
                    names.push(name);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    names
}

/// The `Trailer` field re-made from names that pass the filter; `None` for none.
#[must_use]
pub fn trailer_field(names: &[HeaderName]) -> Option<HeaderValue> {
    let list: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    (!list.is_empty())
        .then(|| HeaderValue::try_from(list.join(", ")).ok())
        .flatten()
}

/// A body that is counted, limited and whose trailers are filtered.
#[derive(Debug)]
pub struct Passing<B> {
    body: B,
    passed: Arc<Passed>,
    limit: Option<u64>,
    trailers: TrailerNames,
    /// Fields that are the gateway's to set in this message, so no trailer may have them.
    own: Vec<HeaderName>,
}

impl<B> Passing<B> {
    /// Wraps `body`; `limit` is in bytes of content.
    pub fn new(body: B, passed: Arc<Passed>, limit: Option<u64>, trailers: TrailerNames) -> Self {
        Self {
            body,
            passed,
            limit,
            trailers,
            own: Vec::new(),
        }
    }

    /// Keeps trailers out that have a name of `own`.
    #[must_use]
    pub fn with_own(mut self, own: Vec<HeaderName>) -> Self {
        self.own = own;
        self
    }

    /// The body again.
    pub fn into_inner(self) -> B {
        self.body
    }

    fn count(&self, data: &Bytes) -> Result<(), BodyError> {
        let more = data.len() as u64;
        let total = self
            .passed
            .bytes
            .fetch_add(more, Relaxed)
            .saturating_add(more);
        match self.limit {
            Some(limit) if total > limit => Err(BodyError::TooLarge(limit)),
            Some(_) | None => Ok(()),
        }
    }

    fn filter(&self, trailers: &mut HeaderMap) {
        let before = trailers.len();
        let passes = |name: &HeaderName| {
            let carried = match &self.trailers {
                TrailerNames::Any => true,
                TrailerNames::Declared(names) => names.contains(name),
            };
            let own = self.own.iter().any(|own| is_same(name, own));
            carried && !own && !is_forbidden_trailer(name)
        };
        let lost: Vec<HeaderName> = trailers
            .keys()
            .filter(|name| !passes(name))
            .cloned()
            .collect();
        for name in &lost {
            trailers.remove(name);
        }
        let lost = before.saturating_sub(trailers.len()) as u64;
        self.passed.trailers_lost.fetch_add(lost, Relaxed);
    }
}

impl<B> http_body::Body for Passing<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                self.count(&data)?;
                Frame::data(data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                self.filter(&mut trailers);
                if trailers.is_empty() {
                    return Poll::Ready(None);
                }
                Frame::trailers(trailers)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::body::Body;
    use super::*;

    async fn run(
        trailers: &[(&'static str, &'static str)],
        names: TrailerNames,
    ) -> (Vec<String>, u64) {
        let trailers = trailers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let passed = Arc::new(Passed::default());
        let body = Body::Held(Bytes::from_static(b"data"), Some(Box::new(trailers)));
        let mut body = Passing::new(body, passed.clone(), None, names);
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(trailers) = frame.unwrap().into_trailers() {
                kept.extend(trailers.keys().map(ToString::to_string));
            }
        }
        assert_eq!(passed.bytes(), 4);
        (kept, passed.trailers_lost())
    }

    #[tokio::test]
    async fn trailers_never_frame_route_or_authenticate() {
        let sent = [
            ("grpc-status", "0"),
            ("authorization", "x"),
            ("host", "x"),
            ("content-length", "1"),
            ("x-forwarded-for", "x"),
        ];
        let (kept, lost) = run(&sent, TrailerNames::Any).await;
        assert_eq!(kept, ["grpc-status"]);
        assert_eq!(lost, 4);
    }

    #[tokio::test]
    async fn undeclared_trailers_are_lost_and_counted() {
        let names = TrailerNames::Declared(vec![HeaderName::from_static("x-sum")]);
        let (kept, lost) = run(&[("x-sum", "1"), ("x-other", "2")], names).await;
        assert_eq!(kept, ["x-sum"]);
        assert_eq!(lost, 1);
    }

    #[tokio::test]
    async fn more_than_the_limit_is_an_error() {
        let body = Body::from(Bytes::from_static(b"12345"));
        let mut body = Passing::new(body, Arc::default(), Some(4), TrailerNames::Any);
        assert!(matches!(
            body.frame().await,
            Some(Err(BodyError::TooLarge(4)))
        ));
    }
}

//! Bodies of both legs as one type, read frame by frame and never collected without a limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::scan::Scanned;
use super::swap::Swapping;
use super::timer::{Armed, Timer};
use super::upstream::response::ResponseBody;
use super::{h2, incoming};
use crate::error::{Reason, Refusal};

/// Why a body did not arrive whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer closed or reset before the end.
    #[error("the body was cut off before its end")]
    Cut,
    /// The peer reset its stream with this code (RFC 9113 §7).
    #[error("the stream was reset ({0})")]
    Reset(::h2::Reason),
    /// Framing that has no single reading.
    #[error("the body {0}")]
    Malformed(Arc<str>),
    /// More bytes than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLarge(u64),
    /// No byte for this long.
    #[error("no byte of the body came for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// A compressed body that echoes a secret: there is no masking it.
    #[error("the body was cut because it echoes a credential")]
    Echo,
    /// A coding in which it cannot be seen whether it echoes a secret.
    #[error("the body cannot be looked at: {0}")]
    Undecodable(&'static str),
    /// A detector found what must not leave; the sentence names it and the place.
    #[error("{1}")]
    Detected(Reason, Arc<str>),
    /// A stand-in of a credential where it does not belong; the sentence names it.
    #[error("{0}")]
    Misplaced(Arc<str>),
}

impl BodyError {
    /// What to tell the agent when its own request body failed.
    #[must_use]
    pub fn of_request(&self) -> Refusal {
        let reason = match self {
            Self::Cut | Self::Reset(_) => Reason::AgentClosed,
            Self::Malformed(_) | Self::Undecodable(_) | Self::Echo => Reason::Malformed,
            Self::TooLarge(_) => Reason::BodyTooLarge,
            Self::Stalled(_) => Reason::RequestTimeout,
            Self::Detected(reason, sentence) => return Refusal::new(*reason, &**sentence),
            Self::Misplaced(sentence) => {
                return Refusal::new(Reason::PlaceholderMisplaced, &**sentence);
            }
        };
        Refusal::new(reason, format!("request: {self}"))
    }

    /// What the record says when the server's response body failed.
    #[must_use]
    pub fn of_response(&self) -> Refusal {
        let reason = match self {
            Self::Cut | Self::Reset(_) => Reason::UpstreamClosed,
            Self::Malformed(_) | Self::TooLarge(_) => Reason::UpstreamMalformed,
            Self::Stalled(_) => Reason::UpstreamTimeout,
            Self::Undecodable(_) => Reason::Undecodable,
            Self::Echo => Reason::EchoFound,
            // The request's body, found out after the response began.
            Self::Detected(reason, sentence) => return Refusal::new(*reason, &**sentence),
            Self::Misplaced(sentence) => {
                return Refusal::new(Reason::PlaceholderMisplaced, &**sentence);
            }
        };
        Refusal::new(reason, format!("response: {self}"))
    }

    /// The code for the other leg's stream: the peer's own where there is one.
    #[must_use]
    pub fn reset_code(&self) -> ::h2::Reason {
        match self {
            Self::Reset(code) => *code,
            Self::Cut | Self::Detected(..) | Self::Misplaced(_) => ::h2::Reason::CANCEL,
            Self::Malformed(_) => ::h2::Reason::PROTOCOL_ERROR,
            Self::TooLarge(_) | Self::Stalled(_) | Self::Undecodable(_) | Self::Echo => {
                ::h2::Reason::INTERNAL_ERROR
            }
        }
    }
}

/// A body as it comes from a peer or from the gateway itself.
#[derive(Debug)]
pub enum Body {
    /// All of it at hand, with the trailers that follow it. Few have any, and bodies are moved much.
    Held(Bytes, Option<Box<HeaderMap>>),
    /// Read from an HTTP/1 connection.
    H1(incoming::Incoming),
    /// Read from an HTTP/2 stream.
    H2(h2::Incoming),
    /// A response on its way from a server.
    Response(Box<ResponseBody>),
    /// A request body that is scanned while it streams.
    Scanned(Box<Scanned>),
    /// A request body in which stand-ins are swapped while it streams.
    Swapping(Box<Swapping>),
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self::Held(data, None)
    }
}

impl Body {
    /// No body, and no trailers.
    #[must_use]
    pub fn empty() -> Self {
        Self::Held(Bytes::new(), None)
    }

    /// The number of bytes to come, where the peer declared it.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Refuses a body that declares to be longer than `limit`; what it does not declare is
    /// counted as it passes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`].
    pub fn check_length(&self, limit: Option<u64>) -> Result<(), BodyError> {
        match (limit, self.declared_length()) {
            (Some(limit), Some(length)) if length > limit => Err(BodyError::TooLarge(limit)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// A second body of the same bytes, if this one is at hand.
    #[must_use]
    pub fn replay(&self) -> Option<Self> {
        match self {
            Self::Held(data, trailers) => Some(Self::Held(data.clone(), trailers.clone())),
            Self::H1(_)
            | Self::H2(_)
            | Self::Response(_)
            | Self::Scanned(_)
            | Self::Swapping(_) => None,
        }
    }

    /// Whether it is a response whose server still takes the request's body.
    #[must_use]
    pub fn reads_on(&self) -> bool {
        match self {
            Self::Response(body) => body.reads_on(),
            Self::Held(..) | Self::H1(_) | Self::H2(_) | Self::Scanned(_) | Self::Swapping(_) => {
                false
            }
        }
    }

    /// After a whole response: waits until its server has the rest of the request's body, or
    /// takes no more of it.
    ///
    /// # Errors
    /// The agent's body failed.
    pub async fn uploaded(self) -> Result<(), BodyError> {
        match self {
            Self::Response(body) => body.uploaded().await,
            Self::Held(..) | Self::H1(_) | Self::H2(_) | Self::Scanned(_) | Self::Swapping(_) => {
                Ok(())
            }
        }
    }

    /// How many bytes [`Body::hold`] would read and keep; `None` where it keeps none.
    #[must_use]
    pub fn to_be_held(&self, limit: u64) -> Option<u64> {
        let length = self.declared_length().filter(|length| *length <= limit)?;
        (!self.is_end_stream() && !matches!(self, Self::Held(..))).then_some(length)
    }

    /// Reads the rest of a body whose declared length is at most `limit` bytes and keeps it;
    /// longer and undeclared ones stay as they are.
    ///
    /// # Errors
    /// As the body itself; [`BodyError::Stalled`] also where all of it takes longer than `patience`.
    pub async fn hold(
        self,
        limit: u64,
        stall: Duration,
        patience: Duration,
    ) -> Result<Self, BodyError> {
        if self.is_end_stream() {
            return Ok(Self::empty());
        }
        if self.to_be_held(limit).is_none() {
            return Ok(self);
        }
        let reading = async {
            let mut held = Held::default();
            let mut body = Stalling::new(self, stall);
            while let Some(frame) = body.frame().await {
                held.push(frame?);
            }
            Ok(held.into_body())
        };
        let held = timeout(patience, reading).await;
        held.unwrap_or(Err(BodyError::Stalled(patience)))
    }
}

/// What `hold` has read so far; a body of one frame is kept without a copy.
#[derive(Default)]
struct Held {
    first: Option<Bytes>,
    all: BytesMut,
    trailers: Option<Box<HeaderMap>>,
}

impl Held {
    fn push(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) if self.first.is_none() && self.all.is_empty() => self.first = Some(data),
            Ok(data) => {
                if let Some(first) = self.first.take() {
                    self.all.extend_from_slice(&first);
                }
                self.all.extend_from_slice(&data);
            }
            Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
        }
    }

    fn into_body(self) -> Body {
        Body::Held(
            self.first.unwrap_or_else(|| self.all.freeze()),
            self.trailers,
        )
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Held(data, trailers) => {
                let data = std::mem::take(data);
                let next = if data.is_empty() {
                    trailers.take().map(|trailers| Frame::trailers(*trailers))
                } else {
                    Some(Frame::data(data))
                };
                Poll::Ready(next.map(Ok))
            }
            Self::H1(body) => body.poll_frame(cx),
            Self::H2(body) => body.poll_frame(cx),
            Self::Response(body) => body.poll_frame(cx),
            Self::Scanned(body) => body.poll_frame(cx),
            Self::Swapping(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(data, trailers) => data.is_empty() && trailers.is_none(),
            Self::H1(body) => body.is_end(),
            Self::H2(body) => body.is_end(),
            Self::Response(body) => body.is_end(),
            Self::Scanned(body) => body.is_end(),
            Self::Swapping(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(data, _) => SizeHint::with_exact(data.len() as u64),
            Self::H1(body) => body
                .remaining()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
            Self::H2(body) => body
                .remaining()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
            Self::Response(body) => body
                .remaining()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
            Self::Scanned(body) => body
                .remaining()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
            Self::Swapping(body) => body
                .remaining()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
        }
    }
}

/// A body that fails when no frame comes for `limit`. The timer is armed only while waiting,
/// so a body whose bytes are there costs no timer at all.
#[derive(Debug)]
pub struct Stalling<B> {
    body: B,
    limit: Duration,
    timer: Timer,
    armed: Armed,
}

impl<B> Stalling<B> {
    /// Wraps a body.
    pub fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            timer: Timer::default(),
            armed: Armed::default(),
        }
    }

    /// The body again.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<B> http_body::Body for Stalling<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.armed = Armed::default();
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let Self {
                    limit,
                    timer,
                    armed,
                    ..
                } = &mut *self;
                ready!(timer.poll_over(cx, *limit, armed));
                Poll::Ready(Some(Err(BodyError::Stalled(*limit))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Step 9 in bodies and messages: stand-ins become secrets where their credential says so, and
//! are refused anywhere else.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::body::{Body, BodyError};
use crate::credential::echo::{Found, Scan};
use crate::credential::placeholder::{Guard, Piece, Rewriter};
use crate::error::Refusal;

/// A request body in which stand-ins are swapped as it streams.
#[derive(Debug)]
pub struct Swapping {
    body: Body,
    swap: Swap,
    trailers: Option<HeaderMap>,
    ended: bool,
}

#[derive(Debug)]
struct Swap {
    rewriter: Option<Rewriter>,
    guard: Guard,
    scan: Scan,
    /// Where it looks, in a sentence.
    place: &'static str,
}

/// How many bytes longer than twice what came a body or message may get: one secret of any
/// length. What was counted when it was held is about what is kept.
const GROWTH: usize = 64 * 1024;

/// Swaps what `rewriter` finds in `body` and lets no other stand-in pass: at once in a body
/// that is at hand, else as it streams.
///
/// # Errors
/// [`Reason::PlaceholderMisplaced`](crate::error::Reason::PlaceholderMisplaced)
pub fn body(body: Body, rewriter: Option<Rewriter>, guard: &Guard) -> Result<Body, Refusal> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let mut swap = Swap::new(rewriter, guard, "the body");
    if let Body::Held(data, trailers) = body {
        let data = swap.push(data, true)?;
        swap.trailers(trailers.as_deref())?;
        return Ok(Body::Held(data, trailers));
    }
    Ok(Body::Swapping(Box::new(Swapping {
        body,
        swap,
        trailers: None,
        ended: false,
    })))
}

impl Swap {
    fn new(rewriter: Option<Rewriter>, guard: &Guard, place: &'static str) -> Self {
        Self {
            rewriter,
            guard: guard.clone(),
            scan: Scan::new(guard.needles().clone(), false),
            place,
        }
    }

    fn push(&mut self, data: Bytes, last: bool) -> Result<Bytes, Refusal> {
        let Some(rewriter) = &mut self.rewriter else {
            self.look(&data, last)?;
            return Ok(data);
        };
        let mut pieces = Vec::new();
        rewriter.push(&data, last, &mut pieces);
        let most = data.len().saturating_mul(2).saturating_add(GROWTH);
        let mut all = BytesMut::new();
        for piece in &pieces {
            if all.len() > most {
                return Err(self.guard.too_many(self.place));
            }
            match piece {
                Piece::Plain(bytes) => {
                    self.look(bytes, false)?;
                    all.extend_from_slice(bytes);
                }
                Piece::Secret(bytes) => {
                    // What stood before and what comes after are two texts.
                    self.look(b"\0", false)?;
                    all.extend_from_slice(bytes);
                }
            }
        }
        if last {
            self.look(b"", true)?;
        }
        Ok(all.freeze())
    }

    fn look(&mut self, data: &[u8], last: bool) -> Result<(), Refusal> {
        let mut found = Found::new();
        if self.scan.is_clean(data, last, &mut found) {
            return Ok(());
        }
        let owner = found.first().copied().unwrap_or(0);
        Err(self.guard.misplaced(owner, self.place))
    }

    fn trailers(&self, trailers: Option<&HeaderMap>) -> Result<(), Refusal> {
        for (name, value) in trailers.into_iter().flatten() {
            self.guard.bytes(value.as_bytes(), name.as_str())?;
        }
        Ok(())
    }
}

impl Swapping {
    fn next(&mut self, frame: Option<Frame<Bytes>>) -> Result<Bytes, Refusal> {
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => self.swap.push(data, false),
            Some(Err(frame)) => {
                self.ended = true;
                self.trailers = frame.into_trailers().ok();
                self.swap.trailers(self.trailers.as_ref())?;
                self.swap.push(Bytes::new(), true)
            }
            None => {
                self.ended = true;
                self.swap.push(Bytes::new(), true)
            }
        }
    }

    /// The next frame of the body; see [`http_body::Body::poll_frame`].
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.ended {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            match self.next(frame) {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(refusal) => {
                    (self.ended, self.trailers) = (true, None);
                    let sentence = refusal.sentence.into();
                    return Poll::Ready(Some(Err(BodyError::Misplaced(sentence))));
                }
            }
        }
        let trailers = self.trailers.take();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// Whether there is nothing more.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    /// Bytes to come: those the agent declared where nothing is swapped, else nobody knows.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match &self.swap.rewriter {
            Some(_) => None,
            None => self.body.declared_length(),
        }
    }
}

/// What an agent sends over one WebSocket, one message after the other.
#[derive(Debug)]
pub struct Messages {
    /// For each text message.
    rewriter: Option<Rewriter>,
    /// Of the message at hand.
    swap: Swap,
}

impl Messages {
    /// Swaps what `rewriter` finds in text messages and lets no other stand-in pass.
    #[must_use]
    pub fn new(rewriter: Option<Rewriter>, guard: &Guard) -> Self {
        Self {
            rewriter,
            swap: Swap::new(None, guard, "a WebSocket message"),
        }
    }

    /// A message begins: whether it may come out longer or shorter than it is.
    pub fn begin(&mut self, is_text: bool) -> bool {
        self.swap.rewriter = self.rewriter.clone().filter(|_| is_text);
        self.swap.rewriter.is_some()
    }

    /// Takes what came next of a message, and gives back what may go; nothing is kept once the
    /// message is at its end (`last`).
    ///
    /// # Errors
    /// [`Reason::PlaceholderMisplaced`](crate::error::Reason::PlaceholderMisplaced)
    pub fn pass(&mut self, data: BytesMut, last: bool) -> Result<BytesMut, Refusal> {
        self.swap.push(data.freeze(), last).map(BytesMut::from)
    }

    /// Looks at the payload of a control frame, where nothing is swapped.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub fn control(&self, payload: &[u8]) -> Result<(), Refusal> {
        self.swap.guard.bytes(payload, "a WebSocket control frame")
    }
}

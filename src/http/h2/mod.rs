//! HTTP/2 bodies on both legs: receiving with flow control, sending with back-pressure.
//!
//! Connections are the `h2` crate's; what stands here is how a body leaves and enters a
//! stream, so that a slow reader on one leg slows the sender on the other and a reset
//! crosses with its code.

mod drive;
mod gather;
mod meter;
mod turn;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason as Code, RecvStream, SendStream};
use http_body::Frame;
use http_body_util::BodyExt;

pub use self::drive::{Drive, Stopped, Under};
pub use self::meter::Peer;
use super::body::BodyError;

/// A body that is read from a stream. Capacity is given back as each frame is taken, so at
/// most one frame beyond the stream's window is ever held.
#[derive(Debug)]
pub struct Incoming {
    stream: RecvStream,
    remaining: Option<u64>,
    data_done: bool,
    done: bool,
}

impl Incoming {
    /// Reads from `stream`; `length` is the declared content-length (checked by `h2`).
    #[must_use]
    pub fn new(stream: RecvStream, length: Option<u64>) -> Self {
        let ended = stream.is_end_stream();
        Self {
            stream,
            remaining: if ended { Some(0) } else { length },
            data_done: ended,
            done: ended,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.done
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(self.take(data)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(&error)))),
                None => self.data_done = true,
            }
        }
        if self.done {
            return Poll::Ready(None);
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => {
                self.done = true;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => Poll::Ready(Some(Err(self.fail(&error)))),
        }
    }

    /// Reads and drops the rest, `most` bytes at the most. A stream that is dropped before its
    /// end is reset, and some clients then drop the answer they already have.
    pub async fn discard(mut self, most: usize) {
        let mut left = most;
        while let Some(Ok(frame)) = poll_fn(|cx| self.poll_frame(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Frame<Bytes> {
        // Fails only when the stream is gone, which the next poll reports.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(data.len() as u64);
        }
        if self.stream.is_end_stream() {
            self.data_done = true;
            self.done = true;
        }
        Frame::data(data)
    }

    fn fail(&mut self, error: &h2::Error) -> BodyError {
        self.data_done = true;
        self.done = true;
        receive_error(error)
    }
}

/// What a receive error of `h2` means for the body.
fn receive_error(error: &h2::Error) -> BodyError {
    match error.reason() {
        Some(code) if error.is_remote() => BodyError::Reset(code),
        Some(Code::PROTOCOL_ERROR) => BodyError::Malformed("breaks the framing of HTTP/2".into()),
        Some(_) | None => BodyError::Cut,
    }
}

/// Why a body could not be sent.
#[derive(Debug)]
pub enum SendError {
    /// The body itself failed; the stream was reset with the matching code.
    Body(BodyError),
    /// The receiver reset the stream or closed the connection.
    Peer(Option<Code>),
    /// The receiver granted no window for this long; the stream was reset.
    Stalled,
}

/// Sends `body` on `stream` to its end, trailers included, never more than the receiver's
/// window allows. A body error resets the stream: the receiver never sees a clean end.
///
/// # Errors
/// [`SendError`]; the stream is finished in every case.
pub async fn send_body<B>(
    stream: &mut SendStream<Bytes>,
    body: B,
    stall: Duration,
) -> Result<(), SendError>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let sent = send_frames(stream, body, stall).await;
    match &sent {
        Ok(()) | Err(SendError::Peer(_)) => {}
        Err(SendError::Body(error)) => stream.send_reset(error.reset_code()),
        Err(SendError::Stalled) => stream.send_reset(Code::CANCEL),
    }
    sent
}

async fn send_frames<B>(
    stream: &mut SendStream<Bytes>,
    mut body: B,
    stall: Duration,
) -> Result<(), SendError>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            code = poll_fn(|cx| stream.poll_reset(cx)) => return Err(SendError::Peer(code.ok())),
        };
        let Some(frame) = frame.transpose().map_err(SendError::Body)? else {
            return stream.send_data(Bytes::new(), true).map_err(peer);
        };
        match frame.into_data() {
            Ok(data) => {
                let end = body.is_end_stream();
                send_data(stream, data, end, stall).await?;
                if end {
                    return Ok(());
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return stream.send_trailers(trailers).map_err(peer);
            }
        }
    }
}

async fn send_data(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
    stall: Duration,
) -> Result<(), SendError> {
    // The usual end of a body of unknown length: an empty frame that says so.
    if end && data.is_empty() {
        return stream.send_data(data, true).map_err(peer);
    }
    while !data.is_empty() {
        let granted = capacity(stream, data.len(), stall).await?;
        let piece = data.split_to(granted.min(data.len()));
        let last = end && data.is_empty();
        stream.send_data(piece, last).map_err(peer)?;
    }
    Ok(())
}

/// Waits until the receiver's windows and our send buffer admit at least one byte.
async fn capacity(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    stall: Duration,
) -> Result<usize, SendError> {
    stream.reserve_capacity(wanted);
    let now = stream.capacity();
    if now > 0 {
        return Ok(now);
    }
    // An increase may be of zero bytes; only the next poll registers the waker again.
    let granted = poll_fn(|cx| {
        loop {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                other => return Poll::Ready(other),
            }
        }
    });
    match tokio::time::timeout(stall, granted).await {
        Ok(Some(Ok(granted))) => Ok(granted),
        Ok(Some(Err(error))) => Err(peer(error)),
        Ok(None) => Err(SendError::Peer(None)),
        Err(_) => Err(SendError::Stalled),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used with map_err")]
fn peer(error: h2::Error) -> SendError {
    SendError::Peer(error.reason())
}

/// Resolves when the receiver has reset the stream; for waits during which nothing is sent.
pub async fn reset(respond: &mut h2::server::SendResponse<Bytes>) -> Option<Code> {
    poll_fn(|cx| Pin::new(&mut *respond).poll_reset(cx))
        .await
        .ok()
}

#[cfg(test)]
mod tests;

//! An agent's HTTP/1 connection: its reading half, shared by the connection's loop and the body
//! of the request at hand, and its writing half.
//!
//! The body may be read by another task (an upload that outlives the response's head) while
//! the loop waits for the answer; the one lock of all is held for single polls only and is hardly
//! contended.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use super::body::BodyError;
use super::h1::{Closed, HeadLimits, ReadError, Reader, RequestHead};
use super::io::BoxStream;

/// The reader of an agent's connection.
#[derive(Clone)]
pub struct SharedReader(Arc<Shared>);

/// The transport under an agent's [`Writer`](super::h1::Writer).
pub struct WritingHalf {
    shared: Arc<Shared>,
    is_vectored: bool,
}

struct Shared {
    reader: Mutex<Reader<BoxStream>>,
    body_done: Notify,
}

impl SharedReader {
    /// The halves of a connection at its start.
    #[must_use]
    pub fn split(stream: BoxStream) -> (Self, WritingHalf) {
        let is_vectored = stream.is_write_vectored();
        let shared = Arc::new(Shared {
            reader: Mutex::new(Reader::new(stream)),
            body_done: Notify::new(),
        });
        let writing = WritingHalf {
            shared: shared.clone(),
            is_vectored,
        };
        (Self(shared), writing)
    }

    /// Waits for the first byte of a next request; false if the agent closed instead.
    pub async fn wait_for_bytes(&self) -> io::Result<bool> {
        poll_fn(|cx| pin!(self.0.reader.lock().wait_for_bytes()).poll(cx)).await
    }

    /// Reads the next head.
    ///
    /// # Errors
    /// As [`Reader::read_request_head`].
    pub async fn read_request_head(
        &self,
        limits: &HeadLimits,
    ) -> Result<Option<Box<RequestHead>>, ReadError> {
        poll_fn(|cx| pin!(self.0.reader.lock().read_request_head(limits)).poll(cx)).await
    }

    /// The body of the request whose head was read last.
    #[must_use]
    pub fn body(&self) -> Incoming {
        Incoming(self.clone())
    }

    /// Whether the last request was read to its end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.reader.lock().is_idle()
    }

    /// Resolves when the agent closes while it waits for its answer, with how. Until the body
    /// is read to its end it does not: then whoever reads the body notices.
    pub async fn closed(&self) -> Closed {
        while !self.is_idle() {
            self.0.body_done.notified().await;
        }
        poll_fn(|cx| self.0.reader.lock().poll_closed(cx)).await
    }

    /// As [`SharedReader::closed`], but for an end in order, after which the agent may still
    /// read: whether it does is seen by what is written.
    pub async fn broken(&self) {
        match self.closed().await {
            Closed::Failed(_) | Closed::Unasked => {}
            Closed::Eof => std::future::pending().await,
        }
    }

    /// What comes next once the connection is no HTTP any more; nothing at its end.
    ///
    /// # Errors
    /// The transport's.
    pub fn poll_raw(&self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        self.0.reader.lock().poll_raw(cx)
    }

    /// Reads and drops what still comes, until the agent closes; `most` bytes at the most.
    /// After a refusal this keeps the answer from being lost to a reset.
    pub async fn discard(&self, most: usize) {
        let mut left = most;
        while left > 0 {
            let read = poll_fn(|cx| self.0.reader.lock().poll_discard(cx)).await;
            match read {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }
}

impl WritingHalf {
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut BoxStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        poll(Pin::new(self.shared.reader.lock().io()), cx)
    }
}

impl AsyncWrite for WritingHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |stream, cx| stream.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, AsyncWrite::poll_shutdown)
    }
}

/// A request's body on an HTTP/1 connection.
pub struct Incoming(SharedReader);

impl Incoming {
    pub(super) fn is_end(&self) -> bool {
        self.0.0.reader.lock().body().is_end_stream()
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        self.0.0.reader.lock().body().size_hint().exact()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let shared = &self.0.0;
        let mut reader = shared.reader.lock();
        let frame = reader.poll_body(cx);
        if frame.is_ready() && reader.is_idle() {
            shared.body_done.notify_one();
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| read_error(&error))))
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incoming(..)")
    }
}

/// What a read error means for the body it happened in.
pub(super) fn read_error(error: &ReadError) -> BodyError {
    match error {
        ReadError::Io(_)
        | ReadError::ClosedInHead
        | ReadError::Truncated
        | ReadError::OutOfTurn => BodyError::Cut,
        ReadError::Head(error) => BodyError::Malformed(format!("has {error}").into()),
        ReadError::Chunk(error) => BodyError::Malformed(format!("has {error}").into()),
    }
}

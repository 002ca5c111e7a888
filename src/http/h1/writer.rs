//! Writes messages to a transport: few writes, no copies of large data, a flush when there is
//! nothing more to send for the moment.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Frame;
use tokio::io::AsyncWrite;

use super::encode::{
    self, BodyFraming, EncodeError, RequestOut, ResponseOut, encode_interim, encode_request,
    encode_response,
};

/// Data up to this size is copied next to what surrounds it; longer data is written from
/// where it lies.
const COALESCE: usize = 1024;
/// With this much queued, the body is not asked for more until all of it is written.
const HIGH_WATER: usize = 64 * 1024;
/// Most pieces in one vectored write.
const SLICES: usize = 32;

/// The writing half of a connection.
///
/// Heads are queued without I/O; [`Writer::write_body`] sends them together with the first
/// of the body, or [`Writer::flush`] alone. After an error the connection has to be closed,
/// unless [`Writer::take_back`] says that nothing had left.
#[derive(Debug)]
pub struct Writer<W> {
    io: W,
    queue: Queue,
    /// Written to `io` since the last flush.
    unflushed: bool,
    /// A byte of what was queued since the queue was last empty was taken by `io`.
    begun: bool,
    declared_trailers: Vec<HeaderName>,
}

/// What became of a body that was written to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Octets of data, without framing.
    pub data: u64,
    /// Trailer fields left out: not declared, not allowed there, or the body was not chunked.
    pub dropped_trailers: usize,
}

/// Why a body was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// The body failed.
    #[error("the body failed")]
    Body(E),
    /// The body ended before its declared length, by this many octets.
    #[error("the body is {0} octets shorter than declared")]
    Short(u64),
    /// The body went on past its declared length; nothing past it was written.
    #[error("the body is longer than declared")]
    Long,
}

/// How far a body has got.
struct Progress {
    framing: BodyFraming,
    written: Written,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// A writer at the start of a connection.
    pub fn new(io: W) -> Self {
        Self {
            io,
            queue: Queue::default(),
            unflushed: false,
            begun: false,
            declared_trailers: Vec::new(),
        }
    }

    /// The transport, for a protocol that follows (101). Flush first.
    pub fn into_inner(self) -> W {
        self.io
    }

    /// Queues a request head; `write_body` with the same framing, or `flush`, sends it.
    pub fn queue_request(&mut self, head: &RequestOut<'_>) -> Result<(), EncodeError> {
        self.put_head(|buf| encode_request(buf, head))?;
        self.declare(head.hops.trailers);
        Ok(())
    }

    /// Queues a final response head, or a 101.
    pub fn queue_response(&mut self, head: &ResponseOut<'_>) -> Result<(), EncodeError> {
        self.put_head(|buf| encode_response(buf, head))?;
        self.declare(head.hops.trailers);
        Ok(())
    }

    /// Queues an interim response.
    pub fn queue_interim(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
    ) -> Result<(), EncodeError> {
        self.put_head(|buf| encode_interim(buf, status, fields))
    }

    fn put_head(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        // With something still queued, as half an interim response, this head cannot be
        // taken back without it.
        if self.queue.len == 0 {
            self.begun = false;
        }
        self.queue.put(write)
    }

    fn declare(&mut self, trailers: &[HeaderName]) {
        self.declared_trailers.clear();
        self.declared_trailers.extend_from_slice(trailers);
    }

    /// Sends everything that is queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends bytes that are no HTTP any more (101).
    ///
    /// # Errors
    /// The transport's.
    pub async fn write_raw(&mut self, bytes: Bytes) -> io::Result<()> {
        self.queue.push(bytes);
        self.flush().await
    }

    /// Sends everything that is queued, then closes this direction in order.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await
    }

    /// Drops what is queued of the current message if none of it has been written, so that
    /// another message can take its place. False if it is too late for that.
    pub fn take_back(&mut self) -> bool {
        if self.begun {
            return false;
        }
        self.queue = Queue::default();
        true
    }

    /// Sends the queued head and the body after it. Returns when the transport has all of it.
    ///
    /// Where `framing` has no body, `body` is dropped unread. It is flushed whenever the body
    /// has nothing ready, so events leave as they come; while writing is blocked, at most
    /// 64 KiB and one frame are taken from the body.
    ///
    /// # Errors
    /// The message is then incomplete and the connection has to be closed: no last chunk is
    /// written that would make it look complete.
    pub async fn write_body<B>(
        &mut self,
        framing: BodyFraming,
        body: B,
    ) -> Result<Written, WriteError<B::Error>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let mut progress = Progress {
            framing,
            written: Written::default(),
            trailers: None,
            ended: !framing.has_body(),
        };
        poll_fn(|cx| self.poll_write_body(cx, body.as_mut(), &mut progress)).await?;
        Ok(progress.written)
    }

    fn poll_write_body<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut B>,
        progress: &mut Progress,
    ) -> Poll<Result<(), WriteError<B::Error>>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        while !progress.ended {
            if self.queue.len >= HIGH_WATER {
                ready!(self.poll_drain(cx)).map_err(WriteError::Io)?;
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.take_frame(frame, progress)?,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(WriteError::Body(error))),
                Poll::Ready(None) => self.end(progress)?,
                Poll::Pending => {
                    ready!(self.poll_flush(cx)).map_err(WriteError::Io)?;
                    return Poll::Pending;
                }
            }
        }
        self.poll_flush(cx).map_err(WriteError::Io)
    }

    fn take_frame<E>(
        &mut self,
        frame: Frame<Bytes>,
        progress: &mut Progress,
    ) -> Result<(), WriteError<E>> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                progress.trailers = frame.into_trailers().ok();
                return Ok(());
            }
        };
        if data.is_empty() {
            return Ok(());
        }
        let written = progress.written.data.saturating_add(data.len() as u64);
        match progress.framing {
            BodyFraming::None | BodyFraming::Declared(_) => return Ok(()),
            BodyFraming::Length(length) if written > length => return Err(WriteError::Long),
            BodyFraming::Length(_) | BodyFraming::UntilClose => self.queue.push(data),
            BodyFraming::Chunked => {
                self.queue.put(|buf| encode::chunk_size(buf, data.len()));
                self.queue.push(data);
                self.queue.put(|buf| buf.extend_from_slice(b"\r\n"));
            }
        }
        progress.written.data = written;
        Ok(())
    }

    fn end<E>(&mut self, progress: &mut Progress) -> Result<(), WriteError<E>> {
        progress.ended = true;
        let trailers = progress.trailers.as_ref();
        let written = &mut progress.written;
        match progress.framing {
            BodyFraming::Length(length) if written.data < length => {
                return Err(WriteError::Short(length.saturating_sub(written.data)));
            }
            BodyFraming::Chunked => {
                let declared = &self.declared_trailers;
                let last = |buf: &mut BytesMut| encode::last_chunk(buf, trailers, declared);
                written.dropped_trailers = self.queue.put(last);
            }
            BodyFraming::None
            | BodyFraming::Declared(_)
            | BodyFraming::Length(_)
            | BodyFraming::UntilClose => {
                written.dropped_trailers = trailers.map_or(0, HeaderMap::len);
            }
        }
        Ok(())
    }

    /// Writes the queue until it is empty, then flushes the transport.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue.seal();
        while let Some(first) = self.queue.sealed.front() {
            let io = Pin::new(&mut self.io);
            let written = if self.queue.sealed.len() > 1 && io.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = fill(&mut slices, &self.queue.sealed);
                io.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
            } else {
                io.poll_write(cx, first)
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.unflushed = true;
            self.queue.advance(written);
        }
        self.queue.release();
        Poll::Ready(Ok(()))
    }
}

/// Points as many slices as there are to the first pieces; how many that was.
fn fill<'a>(slices: &mut [IoSlice<'a>], pieces: &'a VecDeque<Bytes>) -> usize {
    let pairs = slices.iter_mut().zip(pieces);
    pairs
        .map(|(slice, piece)| *slice = IoSlice::new(piece))
        .count()
}

/// Bytes on their way out: whole pieces, then small ones that are still put together.
#[derive(Debug, Default)]
struct Queue {
    sealed: VecDeque<Bytes>,
    tail: BytesMut,
    /// Octets in both.
    len: usize,
}

impl Queue {
    /// Lets `write` append to the tail.
    fn put<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.tail.len();
        let result = write(&mut self.tail);
        self.len += self.tail.len() - before;
        result
    }

    /// Appends data, by copy only if it is small.
    fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if data.len() <= COALESCE {
            self.tail.extend_from_slice(&data);
        } else {
            self.seal();
            self.sealed.push_back(data);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed.push_back(self.tail.split().freeze());
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.len = self.len.saturating_sub(written);
        while let Some(first) = self.sealed.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.sealed.pop_front();
        }
    }

    /// Gives the memory back when all is written: what waits holds next to nothing.
    fn release(&mut self) {
        if self.len == 0 && self.tail.capacity() > 0 {
            self.tail = BytesMut::new();
        }
        if self.sealed.is_empty() && self.sealed.capacity() > SLICES {
            self.sealed = VecDeque::new();
        }
    }
}

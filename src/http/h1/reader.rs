//! Reads messages off a transport, one after the other, never mixing two.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Method;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::chunk::{ChunkDecoder, ChunkEvent, take};
use super::error::{HeadError, ReadError};
use super::head::{self, RequestHead, ResponseHead};
use super::scan::Scan;
use super::{Framing, HeadLimits};

/// What a read asks for at first, and of heads always; onto the stack where nothing may come for
/// long.
pub const SMALL_READ: usize = 8 * 1024;
/// What it grows to while a body keeps filling it.
const LARGE_READ: usize = 64 * 1024;
/// What an agent may send ahead while it waits for a response.
const PIPELINED: usize = 16 * 1024;

/// What reads a connection: its reading half, or all of it where its writer asks for that.
///
/// One message at a time: a head, then its body to the end, then the next head. Bytes past
/// the end of a body stay in the buffer. Between messages nothing is allocated, unless bytes
/// of the next one are there. Every future can be dropped and asked for again.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    buf: BytesMut,
    scan: Option<Scan>,
    phase: Phase,
    eof: bool,
    read_size: usize,
    dropped_trailers: usize,
}

/// What the next bytes are.
#[derive(Debug)]
enum Phase {
    /// A head.
    Idle,
    /// This many octets of a body.
    Length(u64),
    /// A chunked body.
    Chunked(ChunkDecoder),
    /// A body up to the end of the connection.
    UntilClose,
    /// Nothing, as the body that ended the connection is read.
    Ended,
    /// Another protocol.
    Tunnel,
    /// Unknown, after an error.
    Failed,
}

/// What ended the wait for something that should stay quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed in order.
    Eof,
    /// The transport failed, as by a reset.
    Failed(io::ErrorKind),
    /// The peer sent something without having been asked; [`Reader::poll_stale`] only.
    Unasked,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader at the start of a connection.
    pub fn new(io: R) -> Self {
        Self::with_buffered(io, BytesMut::new())
    }

    /// A reader that begins with bytes that were read from `io` before.
    pub fn with_buffered(io: R, buf: BytesMut) -> Self {
        Self {
            io,
            buf,
            scan: None,
            phase: Phase::Idle,
            eof: false,
            read_size: SMALL_READ,
            dropped_trailers: 0,
        }
    }

    /// The transport, to write to; who reads from it misses what is in the buffer.
    pub(in crate::http) fn io(&mut self) -> &mut R {
        &mut self.io
    }

    /// The transport and what was read ahead, for a protocol that follows (101).
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buf)
    }

    /// Between messages: waits until something of the next one is there; false if the peer
    /// closed instead. With this, the wait for a next request and the wait for the rest of its
    /// head can have deadlines of their own. A stray CRLF is nothing of a message yet.
    pub async fn wait_for_bytes(&mut self) -> io::Result<bool> {
        // An empty buffer lies nowhere, and to compare nothing with nothing there takes hundreds of
        // cycles where glibc does it with a masked load.
        while self.buf.is_empty() || b"\r\n".starts_with(&self.buf) {
            if poll_fn(|cx| self.poll_fill_idle(cx)).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next request's head, or `None` if the peer closed before it sent any of it. Boxed, as
    /// it goes through many hands.
    ///
    /// # Errors
    /// After [`ReadError::Head`] nothing more is read from this connection; it can still be
    /// answered.
    pub async fn read_request_head(
        &mut self,
        limits: &HeadLimits,
    ) -> Result<Option<Box<RequestHead>>, ReadError> {
        let parse = |scan: &mut Scan, buf: &[u8]| head::request(scan, buf, limits);
        let head = self.read_head(Scan::request(), parse).await?;
        if let Some(head) = &head {
            self.begin(head.framing, limits);
        }
        Ok(head)
    }

    /// The next response's head to a request of this method, or `None` if the peer closed
    /// before it sent any of it. After an interim head (1xx but 101) ask again.
    pub async fn read_response_head(
        &mut self,
        limits: &HeadLimits,
        request_method: &Method,
    ) -> Result<Option<Box<ResponseHead>>, ReadError> {
        let parse = |scan: &mut Scan, buf: &[u8]| head::response(scan, buf, limits, request_method);
        let head = self.read_head(Scan::default(), parse).await?;
        if let Some(head) = &head {
            self.begin(head.framing, limits);
        }
        Ok(head)
    }

    async fn read_head<T>(
        &mut self,
        start: Scan,
        parse: impl Fn(&mut Scan, &[u8]) -> Result<Option<(T, usize)>, HeadError>,
    ) -> Result<Option<Box<T>>, ReadError> {
        if !self.is_idle() {
            return Err(ReadError::OutOfTurn);
        }
        loop {
            match parse(self.scan.get_or_insert(start), &self.buf) {
                Ok(Some((head, used))) => {
                    let head = Box::new(head);
                    self.scan = None;
                    self.buf.advance(used);
                    return Ok(Some(head));
                }
                Ok(None) => {}
                Err(error) => {
                    self.phase = Phase::Failed;
                    return Err(ReadError::Head(error));
                }
            }
            let read = poll_fn(|cx| self.poll_fill_idle(cx)).await;
            if read.map_err(|error| self.fail(ReadError::Io(error)))? == 0 {
                // A stray CRLF after the last body is the end of nothing.
                if self.buf.is_empty() || &*self.buf == b"\r\n" {
                    return Ok(None);
                }
                return Err(self.fail(ReadError::ClosedInHead));
            }
        }
    }

    fn begin(&mut self, framing: Framing, limits: &HeadLimits) {
        self.dropped_trailers = 0;
        self.read_size = SMALL_READ;
        self.phase = match framing {
            Framing::None | Framing::Length(0) => Phase::Idle,
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunked(ChunkDecoder::new(*limits)),
            Framing::UntilClose => Phase::UntilClose,
            Framing::Tunnel => Phase::Tunnel,
        };
        self.release();
    }

    /// The next piece of the current body: data, then perhaps trailers; `None` at its end,
    /// and right away if there is no body. Data is handed out as it comes, without copying:
    /// whoever keeps a small piece for long keeps the whole read, up to 64 KiB, with it.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        loop {
            match self.next_frame() {
                Ok(Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
            match ready!(self.poll_fill(cx, usize::MAX)) {
                Ok(0) if matches!(self.phase, Phase::UntilClose) => self.phase = Phase::Ended,
                Ok(0) => return Poll::Ready(Some(Err(self.fail(ReadError::Truncated)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(ReadError::Io(error))))),
            }
        }
    }

    /// The current body as an [`http_body::Body`].
    pub fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    /// What the buffer gives of the current body.
    fn next_frame(&mut self) -> Result<Next, ReadError> {
        let data = match &mut self.phase {
            Phase::Idle | Phase::Ended | Phase::Tunnel => return Ok(Next::End),
            Phase::Failed => return Err(ReadError::Truncated),
            Phase::UntilClose => take(&mut self.buf, u64::MAX),
            Phase::Length(left) => {
                let data = take(&mut self.buf, *left);
                *left = left.saturating_sub(data.as_ref().map_or(0, |data| data.len() as u64));
                if *left == 0 {
                    self.finish();
                }
                data
            }
            Phase::Chunked(decoder) => {
                let event = decoder.decode(&mut self.buf).map_err(ReadError::Chunk)?;
                self.dropped_trailers = decoder.dropped_trailers();
                if decoder.is_done() {
                    self.finish();
                }
                match event {
                    Some(ChunkEvent::Data(data)) => Some(data),
                    Some(ChunkEvent::Trailers(trailers)) => {
                        return Ok(Next::Frame(Frame::trailers(trailers)));
                    }
                    Some(ChunkEvent::End) => return Ok(Next::End),
                    None => None,
                }
            }
        };
        Ok(data.map_or(Next::More, |data| Next::Frame(Frame::data(data))))
    }

    /// Waits for the agent to go away while its request is being answered.
    ///
    /// Up to 16 KiB that it sends ahead are kept for the next head; after that nothing is
    /// read, its going is not noticed, and the result stays `Pending` without a wake-up.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            let room = PIPELINED.saturating_sub(self.buf.len());
            if room == 0 {
                return Poll::Pending;
            }
            match ready!(self.poll_fill_quiet(cx, room)) {
                Ok(0) => return Poll::Ready(Closed::Eof),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Closed::Failed(error.kind())),
            }
        }
    }

    /// Waits for an idle connection to a server to become useless: by its end, or by a byte
    /// that no request asked for.
    pub fn poll_stale(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        if !self.buf.is_empty() {
            return Poll::Ready(Closed::Unasked);
        }
        Poll::Ready(match ready!(self.poll_fill_quiet(cx, SMALL_READ)) {
            Ok(0) => Closed::Eof,
            Ok(_) => Closed::Unasked,
            Err(error) => Closed::Failed(error.kind()),
        })
    }

    /// What comes next once the connection is no HTTP any more (101): at most 8 KiB, and
    /// nothing at its end.
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        self.phase = Phase::Tunnel;
        if self.buf.is_empty() {
            let read = self.poll_fill(cx, SMALL_READ);
            if read.is_pending() {
                self.buf = BytesMut::new();
            }
            ready!(read)?;
        }
        let count = self.buf.len().min(SMALL_READ);
        Poll::Ready(Ok(self.buf.split_to(count)))
    }

    /// Reads and drops what comes, whatever it is; 0 at the end of the connection. For the
    /// moment between the last answer and the end.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.phase = Phase::Failed;
        self.buf.clear();
        self.poll_fill(cx, SMALL_READ)
    }

    /// Whether the current body is at its end.
    pub fn at_end(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Ended | Phase::Tunnel)
    }

    /// What is left of the current body, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match &self.phase {
            Phase::Length(left) => Some(*left),
            Phase::Idle | Phase::Ended | Phase::Tunnel => Some(0),
            Phase::Chunked(_) | Phase::UntilClose | Phase::Failed => None,
        }
    }

    /// Whether the last message was read to its end, so that a head may follow.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether there are bytes past what was asked for: a pipelined request, or on an idle
    /// connection to a server a reason to close it.
    pub fn has_buffered(&self) -> bool {
        !self.buf.is_empty()
    }

    /// How many trailer fields of the last body were dropped, as they may not stand there.
    pub fn dropped_trailers(&self) -> usize {
        self.dropped_trailers
    }

    /// Room taken by the buffer, in octets.
    pub fn allocated(&self) -> usize {
        self.buf.capacity()
    }

    fn fail(&mut self, error: ReadError) -> ReadError {
        self.phase = Phase::Failed;
        error
    }

    fn finish(&mut self) {
        self.phase = Phase::Idle;
        self.release();
    }

    /// Gives the buffer back if no byte is in it and no body needs it.
    fn release(&mut self) {
        if self.buf.is_empty() && matches!(self.phase, Phase::Idle) {
            self.buf = BytesMut::new();
        }
    }

    fn poll_fill_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_fill_quiet(cx, SMALL_READ)
    }

    /// A read that may wait long: holds no memory while it does, and takes none to find out
    /// that it has to.
    fn poll_fill_quiet(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if !self.buf.is_empty() {
            return self.poll_fill(cx, most);
        }
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let mut space = [MaybeUninit::uninit(); SMALL_READ];
        let (space, _) = space.split_at_mut(most.min(SMALL_READ));
        let mut space = ReadBuf::uninit(space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
        let read = space.filled();
        self.eof = read.is_empty();
        self.buf.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    /// One read of at most `most` octets into the buffer; 0 at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        // Half the size is enough to go on with: with one whole read more or less used up,
        // `reserve` takes the same memory again if nobody holds data that lies in it.
        let size = if matches!(self.phase, Phase::Idle | Phase::Tunnel) {
            SMALL_READ
        } else {
            self.read_size
        };
        if self.buf.capacity() - self.buf.len() < size / 2 {
            self.buf.reserve(size);
        }
        let room = most.min(self.buf.capacity() - self.buf.len());
        let mut limited = (&mut self.buf).limit(room);
        // The future holds nothing from poll to poll, so a new one each time is the same.
        let read = ready!(pin!(self.io.read_buf(&mut limited)).poll(cx))?;
        self.eof = read == 0;
        if read == room && !matches!(self.phase, Phase::Idle | Phase::Tunnel) {
            self.read_size = (self.read_size * 2).min(LARGE_READ);
        }
        Poll::Ready(Ok(read))
    }
}

/// What [`Reader::next_frame`] found in the buffer.
enum Next {
    Frame(Frame<Bytes>),
    More,
    End,
}

/// The body that a [`Reader`] is at. Dropping it early leaves the reader where it is.
#[derive(Debug)]
pub struct Body<'a, R>(&'a mut Reader<R>);

impl<R: AsyncRead + Unpin> http_body::Body for Body<'_, R> {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        self.get_mut().0.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.at_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .remaining()
            .map(SizeHint::with_exact)
            .unwrap_or_default()
    }
}

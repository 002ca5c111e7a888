//! The TCP stream under everything: with bytes put back that were read from it, and read with
//! few system calls.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::buffer::{Buffer, spare_capacity};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::poll_proceed;

use super::h1::SMALL_READ;

/// A reader that has no more room than this is given a part of a longer message. rustls has half of
/// it at the beginning of each record, as long as that may be, and clear HTTP/1 all of it at that of
/// each head.
const NARROW: usize = SMALL_READ;
/// How much is read beside that: what is left of a record of TLS.
const AHEAD: usize = 16 * 1024;
/// After so many reads that brought no long message none is expected any more.
const PATIENCE: u8 = 8;
/// How much is read at once of what comes without end, four records of TLS: fewer reads, and
/// fewer acknowledgements that make the sender send in small pieces. No socket holds more that is
/// ahead.
const STREAMED: usize = 64 * 1024;

thread_local! {
    /// Where a message is read to, before it is known how much of it is ahead.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; NARROW + AHEAD].into());
}

/// A TCP stream. Who sent one message that is longer than its reader had room for sends more
/// of them; the rest of such a message is read with its beginning, since a copy is less than a
/// system call.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Bytes that come before those of the stream, from `taken` on.
    ahead: Vec<u8>,
    taken: usize,
    expected: Expected,
}

/// What is read next, going by what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// For so many reads long messages.
    Messages(u8),
    /// More than any reader has room for.
    Stream,
}

impl Socket {
    /// Puts `read` back before the rest of `stream`.
    #[must_use]
    pub fn new(read: Bytes, stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: read.into(),
            taken: 0,
            expected: Expected::Messages(0),
        }
    }

    fn has_ahead(&self) -> bool {
        self.taken < self.ahead.len()
    }

    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let ahead = self.ahead.get(self.taken..).unwrap_or_default();
        let count = ahead.len().min(buf.remaining());
        buf.put_slice(ahead.get(..count).unwrap_or_default());
        self.taken += count;
        if !self.has_ahead() {
            self.taken = 0;
            if self.ahead.len() < STREAMED {
                // Nothing more was there.
                self.give_back();
            } else {
                self.ahead.clear();
            }
        }
    }

    /// Gives the memory back: connections live long.
    fn give_back(&mut self) {
        self.ahead = Vec::new();
    }

    /// Reads into `buf`, all of which is initialized.
    fn poll_read_plain(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            let room = space.len();
            if let Some(read) = read_some(&self.stream, (space, room))? {
                buf.advance(read);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into `buf`, and what it has no room for into `ahead`, which is empty.
    fn poll_read_message(
        &mut self,
        cx: &mut Context<'_>,
        (buf, patience): (&mut ReadBuf<'_>, u8),
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let (all, _) = scratch.split_at_mut(scratch.len().min(room + AHEAD));
                // One piece and a copy, which are less than two pieces.
                let read = read_some(&self.stream, (&mut *all, room + AHEAD))?;
                let read = read.and_then(|read| all.get(..read));
                if let Some(read) = read {
                    let (now, ahead) = read.split_at(read.len().min(room));
                    buf.put_slice(now);
                    self.ahead = ahead.to_vec();
                }
                io::Result::Ok(read.map(<[u8]>::len))
            });
            if let Some(read) = read? {
                self.expected = match read.checked_sub(room) {
                    Some(AHEAD) => Expected::Stream,
                    Some(_) => Expected::Messages(PATIENCE),
                    None => Expected::Messages(patience.saturating_sub(1)),
                };
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into `ahead`, which is empty, and from there into `buf`.
    fn poll_read_streamed(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Poll::Ready(ready) = self.stream.poll_read_ready(cx) else {
                self.give_back();
                return Poll::Pending;
            };
            ready?;
            self.ahead.reserve_exact(STREAMED);
            let read = read_some(&self.stream, (spare_capacity(&mut self.ahead), STREAMED))?;
            if let Some(read) = read {
                if read < STREAMED / 4 {
                    self.expected = Expected::Messages(PATIENCE);
                }
                self.take_ahead(buf);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

// The system calls of a message over TLS are made here, not by the C library: its own can be
// cancelled with their thread, which none here is, and take two locked operations each for that.

/// Writes what there is room for; `None` where there is none.
fn write_some(stream: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    let call = || send(stream, bytes, SendFlags::NOSIGNAL);
    pass(stream, Interest::WRITABLE, bytes.len(), call)
}

/// Reads what a buffer of so many bytes has room for; `None` where nothing is there yet.
fn read_some(
    stream: &TcpStream,
    (buffer, room): (impl Buffer<u8>, usize),
) -> io::Result<Option<usize>> {
    let call = || recv(stream, buffer, RecvFlags::empty()).map(|(_, read)| read);
    pass(stream, Interest::READABLE, room, call)
}

/// Has `call` pass bytes on, of which it could pass on `most`.
fn pass(
    stream: &TcpStream,
    interest: Interest,
    most: usize,
    call: impl FnOnce() -> rustix::io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut passed = None;
    let result = stream.try_io(interest, || {
        let count = call()?;
        passed = Some(count);
        // As for tokio's own: after a part there is no more to read, or no more room. Said like this
        // the stream counts as not ready from before the call on, so that the next one waits without
        // a try; what came since makes it ready again.
        if count > 0 && count < most {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(passed),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_ahead() {
            // As for what is read from the stream: no task goes on for ever.
            ready!(poll_proceed(cx)).made_progress();
            self.take_ahead(buf);
            return Poll::Ready(Ok(()));
        }
        let room = buf.remaining();
        match self.expected {
            Expected::Stream if (1..STREAMED).contains(&room) => {
                return self.poll_read_streamed(cx, buf);
            }
            Expected::Messages(patience @ 1..) if (1..=NARROW).contains(&room) => {
                return self.poll_read_message(cx, (buf, patience));
            }
            _ => self.give_back(),
        }
        let polled = if buf.initialized().len() == buf.capacity() {
            self.poll_read_plain(cx, buf)
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        };
        if room > 0 && buf.remaining() == 0 {
            self.expected = if room > NARROW {
                Expected::Stream
            } else {
                Expected::Messages(PATIENCE)
            };
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            if let Some(written) = write_some(&self.stream, buf)? {
                return Poll::Ready(Ok(written));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            // The system call for one piece costs less.
            [all] => self.poll_write(cx, all),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    async fn pair(read: &'static [u8]) -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (far, near) = tokio::join!(far, listener.accept());
        let near = Socket::new(Bytes::from_static(read), near.unwrap().0);
        (far.unwrap(), near)
    }

    #[tokio::test]
    async fn what_was_read_comes_first() {
        let (mut far, mut near) = pair(b"hello ").await;
        far.write_all(b"world").await.unwrap();
        let mut all = [0; 11];
        near.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"hello world");
    }

    /// However much is there.
    #[tokio::test]
    async fn nothing_is_lost_whatever_there_is_room_for() {
        let (mut far, mut near) = pair(b"").await;
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(9_973) {
                far.write_all(piece).await.unwrap();
            }
        });
        let (mut all, mut ahead) = (Vec::new(), 0);
        for room in [1, 100, NARROW, NARROW + 1, 3, NARROW, 40_000]
            .into_iter()
            .cycle()
        {
            let mut buf = vec![0; room];
            let count = near.read(&mut buf).await.unwrap();
            ahead += usize::from(near.has_ahead());
            all.extend_from_slice(&buf[..count]);
            if count == 0 {
                break;
            }
        }
        writer.await.unwrap();
        assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
        assert!(ahead > 0);
    }

    /// However little of it is taken at a time.
    #[tokio::test]
    async fn nothing_is_lost_that_there_is_no_room_for() {
        let (mut far, mut near) = pair(b"").await;
        let sent: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = sent.clone();
        // More than the system takes while nobody reads.
        let mut writing = std::pin::pin!(near.write_all(&sent));
        let waits = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_pending())).await;
        assert!(waits);
        let mut all = vec![0; expected.len()];
        let (written, read) = tokio::join!(writing, far.read_exact(&mut all));
        written.unwrap();
        read.unwrap();
        assert!(all == expected);
        drop(far);
        let mut refused = Ok(());
        while refused.is_ok() {
            refused = near.write_all(b"to nobody").await;
        }
        assert_ne!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// What comes without end is read in large pieces, and an idle connection holds nothing.
    #[tokio::test]
    async fn a_stream_is_read_in_large_pieces() {
        let (mut far, mut near) = pair(b"").await;
        let writer = tokio::spawn(async move {
            far.write_all(&vec![7; 4 * STREAMED]).await.unwrap();
            far
        });
        let mut buf = [0; NARROW + 1];
        let (mut all, mut most) = (0, 0);
        while all < 4 * STREAMED {
            let count = near.read(&mut buf).await.unwrap();
            assert!(buf[..count].iter().all(|byte| *byte == 7));
            all += count;
            most = most.max(near.ahead.len());
        }
        assert!((AHEAD + 1..=STREAMED).contains(&most), "{most}");
        let _far = writer.await.unwrap();
        let mut rest = std::pin::pin!(near.read(&mut buf));
        let waits = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx).is_pending())).await;
        assert!(waits);
        assert_eq!(near.ahead.capacity(), 0);
    }

    /// A message that is longer than there is room for is read at once, once one was; and when
    /// all of it is there, the next read waits.
    #[tokio::test]
    async fn a_long_message_takes_one_read() {
        let (mut far, mut near) = pair(b"").await;
        let mut buf = vec![0; NARROW];
        for turn in 0..3 {
            far.write_all(&[turn; NARROW + 300]).await.unwrap();
            near.stream.readable().await.unwrap();
            let mut peeked = vec![0; 2 * NARROW];
            // All of it, before any of it is read.
            while near.stream.peek(&mut peeked).await.unwrap() < NARROW + 300 {}
            assert_eq!(near.read(&mut buf).await.unwrap(), NARROW);
            assert_eq!(near.ahead.len(), if turn == 0 { 0 } else { 300 });
            assert_eq!(near.read(&mut buf).await.unwrap(), 300);
            assert!(near.ahead.is_empty());
            assert!(buf[..300].iter().all(|byte| *byte == turn));
            let mut rest = std::pin::pin!(near.read(&mut buf));
            let waits = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx).is_pending())).await;
            assert!(waits);
        }
    }
}

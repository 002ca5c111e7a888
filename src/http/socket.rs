//! The TCP stream under everything: with bytes put back that were read from it, and read with
//! few system calls.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// What is asked for at most where more is read than there is room for. The TLS library has room
/// for this much at the beginning of a record, of whatever length.
const NARROW: usize = 4096;
/// Reads that it takes to find that nothing is ahead any more.
const WIDE: u8 = 8;
/// How much more: with the rest a whole record of TLS.
const AHEAD: usize = 16 * 1024;

thread_local! {
    /// Where more than was asked for is read into, before it is known how much that is.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; AHEAD].into());
}

/// A TCP stream.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Bytes that come before those of the stream.
    ahead: Bytes,
    /// For so many reads more than there is room for is asked for: whoever sent that much does it
    /// again, and a system call is more than a copy.
    wide: u8,
}

impl Socket {
    /// Puts `read` back before the rest of `stream`.
    #[must_use]
    pub fn new(read: Bytes, stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: read,
            wide: 0,
        }
    }

    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead.split_to(count));
        if !self.ahead.has_remaining() {
            // Gives the memory back: connections live long.
            self.ahead = Bytes::new();
        }
    }

    /// Reads into `buf`, and what there is no room for into memory of the thread.
    fn read_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let mut count = None;
            let result = SCRATCH.with_borrow_mut(|scratch| {
                let all = room + scratch.len();
                let mut parts = [
                    IoSliceMut::new(buf.initialize_unfilled()),
                    IoSliceMut::new(scratch),
                ];
                let read = self.stream.try_io(Interest::READABLE, || {
                    let read = rustix::io::readv(&self.stream, &mut parts)?;
                    count = Some(read);
                    // Then nothing is left, and the next read waits without having tried.
                    if (1..all).contains(&read) {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Ok(())
                });
                if let Some(more) = count.and_then(|count| count.checked_sub(room)) {
                    let more = scratch.get(..more).unwrap_or_default();
                    self.ahead = Bytes::copy_from_slice(more);
                }
                read
            });
            match (count, result) {
                (Some(count), _) => {
                    self.wide = if count >= room {
                        WIDE
                    } else {
                        self.wide.saturating_sub(1)
                    };
                    buf.advance(count.min(room));
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.take_ahead(buf);
            return Poll::Ready(Ok(()));
        }
        let room = buf.remaining();
        if self.wide > 0 && (1..=NARROW).contains(&room) {
            return self.read_ahead(cx, buf);
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if room > 0 && buf.remaining() == 0 {
            self.wide = WIDE;
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        match bufs {
            // The system call for one piece costs less.
            [all] => stream.poll_write(cx, all),
            _ => stream.poll_write_vectored(cx, bufs),
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

    /// What comes is what was sent, whatever there is room for and however much there is.
    #[tokio::test]
    async fn nothing_is_lost_between_narrow_and_wide() {
        let (mut far, mut near) = pair(b"").await;
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(9_973) {
                far.write_all(piece).await.unwrap();
            }
        });
        let (mut all, mut wide) = (Vec::new(), 0);
        for room in [1, 100, NARROW, NARROW + 1, 3, NARROW, 40_000]
            .into_iter()
            .cycle()
        {
            let mut buf = vec![0; room];
            let count = near.read(&mut buf).await.unwrap();
            wide += usize::from(!near.ahead.is_empty());
            all.extend_from_slice(&buf[..count]);
            if count == 0 {
                break;
            }
        }
        writer.await.unwrap();
        assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
        assert!(wide > 0);
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

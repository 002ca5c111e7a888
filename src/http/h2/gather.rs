//! What an HTTP/2 connection has to say leaves in one piece.
//!
//! The `h2` crate writes and flushes each DATA frame by itself, which over TLS is a record and
//! a system call for every short message. What it writes is gathered here, and leaves when
//! whoever drives the connection says so: at the end of each of its turns.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is gathered, which is what one TLS record takes (RFC 8446 §5.1); more leaves at once.
const MOST: usize = 16 * 1024;
/// Copying less than this is cheaper than writing it by itself.
const LARGE: usize = 8 * 1024;
/// So much memory a connection keeps for it.
const KEPT: usize = 2 * 1024;

/// A stream that gathers what is written to it.
#[derive(Debug)]
pub struct Gather<S>(Arc<Mutex<Gathered<S>>>);

/// Lets go what was gathered.
#[derive(Debug)]
pub struct Release<S>(Arc<Mutex<Gathered<S>>>);

#[derive(Debug)]
struct Gathered<S> {
    inner: S,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    gone: usize,
    /// Flushing is left to [`Release`].
    waits: bool,
}

impl<S> Gather<S> {
    /// Gathers only once [`Release::take_over`] was called: before, nobody would let go.
    pub fn new(inner: S) -> (Self, Release<S>) {
        let gathered = Arc::new(Mutex::new(Gathered {
            inner,
            out: Vec::new(),
            gone: 0,
            waits: false,
        }));
        (Self(gathered.clone()), Release(gathered))
    }
}

impl<S> Release<S> {
    /// From now on nothing leaves before [`Self::poll`] is called.
    pub fn take_over(&self) {
        self.0.lock().waits = true;
    }

    /// From now on what is written leaves when it is flushed.
    pub fn hand_back(&self) {
        self.0.lock().waits = false;
    }
}

impl<S: AsyncWrite + Unpin> Release<S> {
    /// Lets all go. To be called whenever the connection was polled and waits.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_release(cx)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.gone = self.gone.saturating_add(count),
            }
        }
        if self.gone > 0 {
            self.gone = 0;
            self.out.clear();
            if self.out.capacity() > KEPT {
                // A connection that waits is small.
                self.out = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes all of `pieces`, or writes some of what is too large to be copied.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if length >= LARGE || self.out.len().saturating_add(length) > MOST {
            ready!(self.poll_drain(cx))?;
        }
        if length >= LARGE {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        }
        for piece in pieces {
            self.out.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.0.lock();
        if gathered.waits {
            return Poll::Ready(Ok(()));
        }
        gathered.poll_release(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.0.lock();
        ready!(gathered.poll_release(cx))?;
        Pin::new(&mut gathered.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Counts writes that reach it.
    struct Counting(DuplexStream, usize);

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    fn gather(room: usize) -> (Gather<Counting>, Release<Counting>, DuplexStream) {
        let (near, far) = tokio::io::duplex(room);
        let (gather, release) = Gather::new(Counting(near, 0));
        (gather, release, far)
    }

    async fn let_go(release: &Release<Counting>) {
        poll_fn(|cx| release.poll(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn short_writes_leave_together() {
        let (mut gather, release, mut far) = gather(1 << 20);
        release.take_over();
        for _ in 0..10 {
            gather.write_all(&[b'a'; 1000]).await.unwrap();
            gather.flush().await.unwrap();
        }
        assert_eq!(release.0.lock().inner.1, 0, "nothing has left");
        let_go(&release).await;
        assert_eq!(release.0.lock().inner.1, 1);
        let mut all = [0; 10_000];
        far.read_exact(&mut all).await.unwrap();
        assert_eq!(all, [b'a'; 10_000]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_swapped_where_the_peer_is_slow() {
        let (mut gather, release, mut far) = gather(100);
        release.take_over();
        let sent: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let reading = tokio::spawn(async move {
            let mut all = vec![0; expected.len()];
            far.read_exact(&mut all).await.unwrap();
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "and no more");
            all == expected
        });
        let mut rest = sent.as_slice();
        for length in [1, 5000, 9000, 20_000, 300, 16_384, 16_385]
            .into_iter()
            .cycle()
        {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            gather.write_all(piece).await.unwrap();
            gather.flush().await.unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        gather.shutdown().await.unwrap();
        drop((gather, release));
        assert!(reading.await.unwrap());
    }

    #[tokio::test]
    async fn without_a_driver_flushing_is_enough() {
        let (mut gather, release, mut far) = gather(100);
        gather.write_all(b"preface").await.unwrap();
        gather.flush().await.unwrap();
        let mut read = [0; 7];
        far.read_exact(&mut read).await.unwrap();
        release.take_over();
        gather.write_all(b"goaway").await.unwrap();
        release.hand_back();
        gather.flush().await.unwrap();
        let mut read = [0; 6];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"goaway");
    }
}

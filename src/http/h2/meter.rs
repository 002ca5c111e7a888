//! What a peer's HTTP/2 frames ask of us beside the messages that they carry.
//!
//! PING, SETTINGS, PRIORITY, `RST_STREAM`, empty DATA and the like cost the sender nothing and
//! us work, and the `h2` crate takes any number of them (CVE-2019-9512, -9513, -9515, -9518).
//! What a peer has reason to send grows with its own messages and with what we send to it: each
//! of these earns it control frames, and time does. Without any left it is told to calm down.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Of a frame's header (RFC 9113 §4.1).
const HEADER: usize = 9;
/// What a client sends before its first frame (RFC 9113 §3.4).
const PREFACE: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// Control frames that a message's head earns: its priority, window updates, its reset.
const PER_HEAD: u32 = 4;
/// Those that a frame of content earns: a window update, a PING that measures.
const PER_DATA: u32 = 2;
/// Bytes sent to a peer that earn it one: it opens its windows again.
const SENT_PER_FRAME: usize = 32;

/// Which end of the connection the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Begins with the preface.
    Client,
    /// Begins with a frame.
    Server,
}

/// Whether the peer of a [`Metered`] stream has used up its control frames.
#[derive(Clone, Debug, Default)]
pub struct Excess(Arc<AtomicBool>);

impl Excess {
    /// True once it has; nothing is read from it any more.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A stream of HTTP/2 frames whose reading stops when its peer sends more control frames than
/// its messages call for.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    frames: Frames,
    excess: Excess,
}

impl<S> Metered<S> {
    /// Allows `most` control frames at a time, and a tenth as many more each second.
    pub fn new(inner: S, peer: Peer, most: u32) -> (Self, Excess) {
        let excess = Excess::default();
        let metered = Self {
            inner,
            frames: Frames::new(peer, most),
            excess: excess.clone(),
        };
        (metered, excess)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.excess.is_reached() {
            // Whoever drives the connection looks at the excess after each poll.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if this.frames.take(read).is_err() {
            buf.set_filled(before);
            this.excess.0.store(true, Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.frames.sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.frames.sent(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// No control frame is left.
#[derive(Debug)]
struct UsedUp;

/// Frame headers as they come by, and what is left of the allowance.
#[derive(Debug)]
struct Frames {
    header: [u8; HEADER],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes until the next header.
    skip: u32,
    left: u32,
    most: u32,
    refilled: Instant,
}

impl Frames {
    fn new(peer: Peer, most: u32) -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: if peer == Peer::Client { PREFACE } else { 0 },
            left: most,
            most,
            refilled: Instant::now(),
        }
    }

    fn sent(&mut self, bytes: usize) {
        let earned = u32::try_from(bytes / SENT_PER_FRAME).unwrap_or(u32::MAX);
        self.earn(earned);
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), UsedUp> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = bytes.len().min(self.skip as usize);
                // Not more than `skip`, which is an u32.
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            let count = bytes.len().min(HEADER - self.have);
            let (head, rest) = bytes.split_at(count);
            for (place, byte) in self.header.iter_mut().skip(self.have).zip(head) {
                *place = *byte;
            }
            self.have += count;
            bytes = rest;
            if self.have == HEADER {
                self.have = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// A whole header is there.
    fn frame(&mut self) -> Result<(), UsedUp> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length;
        match kind {
            HEADERS => self.earn(PER_HEAD),
            DATA if length > 0 => self.earn(PER_DATA),
            DATA if flags & END_STREAM != 0 => {}
            _ => self.spend()?,
        }
        Ok(())
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.most);
    }

    fn spend(&mut self) -> Result<(), UsedUp> {
        if self.left == 0 {
            // The clock is read only now, so that it costs nothing in ordinary traffic.
            let passed = self.refilled.elapsed();
            let earned = passed.as_millis() * u128::from(self.most) / 10_000;
            if earned > 0 {
                self.refilled += passed;
                self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
            }
        }
        self.left = self.left.checked_sub(1).ok_or(UsedUp)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.resize(bytes.len() + usize::from(length), b'x');
        bytes
    }

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    /// How many of these one after the other are taken, of a thousand.
    fn taken(frames: &mut Frames, bytes: &[u8]) -> usize {
        (0..1000).take_while(|_| frames.take(bytes).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn floods_end_and_time_helps() {
        for (kind, length) in [
            (PING, 8),
            (4, 0),
            (2, 5),
            (3, 4),
            (DATA, 0),
            (9, 0),
            (200, 0),
        ] {
            let mut frames = Frames::new(Peer::Server, 100);
            assert_eq!(taken(&mut frames, &frame(kind, 0, length)), 100, "{kind}");
            tokio::time::advance(Duration::from_secs(1)).await;
            let mut frames = Frames {
                skip: 0,
                have: 0,
                ..frames
            };
            assert_eq!(taken(&mut frames, &frame(kind, 0, length)), 10, "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_earn_what_they_need() {
        let mut frames = Frames::new(Peer::Client, 10);
        frames.take(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let update = frame(WINDOW_UPDATE, 0, 4);
        let request = [
            frame(HEADERS, 4, 30),
            update.clone(),
            update.clone(),
            frame(3, 0, 4),
        ];
        assert_eq!(taken(&mut frames, &request.concat()), 1000);
        let upload = [frame(DATA, 0, 200), frame(PING, 0, 8), update.clone()];
        assert_eq!(taken(&mut frames, &upload.concat()), 1000);
        for _ in 0..1000 {
            frames.sent(100);
            frames
                .take(&[update.clone(), update.clone()].concat())
                .unwrap();
        }
        assert_eq!(taken(&mut frames, &frame(DATA, END_STREAM, 0)), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_are_found_however_they_are_cut() {
        let bytes = [frame(DATA, 0, 250), frame(PING, 0, 8)].concat().repeat(40);
        for size in 1..60 {
            let mut frames = Frames::new(Peer::Server, 5);
            for part in bytes.chunks(size) {
                frames.take(part).unwrap();
            }
            assert_eq!((frames.left, frames.skip, frames.have), (4, 0, 0), "{size}");
        }
    }
}

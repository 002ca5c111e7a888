//! What drives an HTTP/2 connection beside the `h2` crate.

use std::io;
use std::task::{Context, Poll};

use super::gather::{Gather, Release};
use super::meter::{Excess, Metered, Peer};
use super::turn::Turn;
use crate::http::io::BoxStream;

/// What an HTTP/2 connection runs on.
pub type Under = Metered<Gather<BoxStream>>;

/// Decides when a connection takes its turn, lets go what it wrote, and ends it where its
/// peer asks for too much.
pub struct Drive {
    turn: Turn,
    excess: Excess,
    release: Release<BoxStream>,
}

/// Why a connection cannot go on, of which `h2` knows nothing.
#[derive(Debug)]
pub enum Stopped {
    /// More control frames came than the peer's messages call for.
    Excess,
    /// The peer is gone, or takes nothing.
    Write(io::Error),
}

impl Drive {
    /// For a connection on `stream`, whose peer may send so many control frames at a time.
    pub fn new(stream: BoxStream, peer: Peer, control_frames: u32) -> (Under, Self) {
        let (stream, release) = Gather::new(stream);
        let (stream, excess) = Metered::new(stream, peer, control_frames);
        let drive = Self {
            turn: Turn::default(),
            excess,
            release,
        };
        (stream, drive)
    }

    /// The handshake is over: from now on what is written leaves with [`Self::poll`].
    pub fn begin(&self) {
        self.release.take_over();
    }

    /// From now on the connection is driven by itself, to its end.
    pub fn end(&self) {
        self.release.hand_back();
    }

    /// Polls the connection by `poll`, when it is its turn.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Stopped>> {
        if let Poll::Ready(polled) = self.turn.poll(cx, poll) {
            return Poll::Ready(Ok(polled));
        }
        if self.excess.is_reached() {
            return Poll::Ready(Err(Stopped::Excess));
        }
        // What a peer said before it went away is read before a write finds that it did.
        if self.turn.has_yielded() {
            return Poll::Pending;
        }
        match self.release.poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(Stopped::Write(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The answer of a server that then went away: it is read before the write that fails.
    #[tokio::test]
    async fn what_came_is_read_before_anything_is_written() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let (mut under, mut drive) = Drive::new(Box::new(near), Peer::Server, 10);
        drive.begin();
        // It waits, as a connection does between its turns.
        let waits = poll_fn(|cx| {
            let polled = drive.poll(cx, |_| Poll::<()>::Pending);
            Poll::Ready(polled.is_pending())
        });
        assert!(waits.await);
        under.write_all(b"upload").await.unwrap();
        far.write_all(b"answer").await.unwrap();
        drop(far);
        let mut read = Vec::new();
        let driven = poll_fn(|cx| {
            drive.poll(cx, |cx| {
                let mut reading = std::pin::pin!(under.read_buf(&mut read));
                reading.as_mut().poll(cx)
            })
        });
        assert!(driven.await.is_ok(), "the write came first");
        assert_eq!(read, b"answer");
    }
}

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
        match self.release.poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(Stopped::Write(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

//! One verified connection to a server, and what a pool needs to know of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::ReadHalf;

use super::upload::ServerWriter;
use crate::http::h1::{Reader, Writer};
use crate::http::io::BoxStream;
use crate::http::timer::Timer;
use crate::metrics::OpenUpstream;
use crate::net::forbidden::Permitted;
use crate::net::limits::Share;

/// What every connection carries beside its protocol.
#[derive(Debug)]
pub struct Facts {
    /// The address that was checked and connected to.
    pub peer: Permitted,
    /// When it was dialled.
    pub born: Instant,
}

/// What an open connection takes up; given back when it is closed.
pub struct Hold {
    /// The limits' share.
    pub permit: Share,
    /// The metric's.
    pub open: OpenUpstream,
}

/// An HTTP/1 connection between two messages.
pub struct Http1 {
    /// Writes requests; an upload takes it along.
    pub writer: ServerWriter,
    /// All else, which stays where it is.
    pub rest: Box<Http1Rest>,
}

/// An HTTP/1 connection without its writer.
pub struct Http1Rest {
    /// Reads responses.
    pub reader: Reader<ReadHalf<BoxStream>>,
    /// For the wait for a response. It may run out between two messages, and wakes nobody but who
    /// waited last.
    pub timer: Timer,
    /// Address and age.
    pub facts: Facts,
    /// Kept while it is open.
    pub hold: Hold,
    idle_since: Instant,
}

/// An HTTP/1 connection that has become a WebSocket.
pub struct Switched {
    /// Reads what the server sends.
    pub reader: Reader<ReadHalf<BoxStream>>,
    /// Writes what it gets.
    pub writer: ServerWriter,
    pub(super) _hold: Hold,
}

impl Http1 {
    /// A new connection over `stream`.
    #[must_use]
    pub fn new(stream: BoxStream, facts: Facts, hold: Hold) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self {
            writer: Box::new(Writer::new(write)),
            rest: Box::new(Http1Rest {
                reader: Reader::new(read),
                timer: Timer::default(),
                idle_since: facts.born,
                facts,
                hold,
            }),
        }
    }

    /// When it was dialled.
    #[must_use]
    pub fn born(&self) -> Instant {
        self.rest.facts.born
    }

    /// Marks the start of an idle time.
    pub fn idles_from(&mut self, now: Instant) {
        self.rest.idle_since = now;
    }

    /// Whether a request may start: not idle for too long, not closed by the server, and no
    /// byte came that nobody asked for (it would be taken for the next response).
    #[must_use]
    pub fn is_usable(&mut self, idle_time: Duration, now: Instant) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let idle = now.saturating_duration_since(self.rest.idle_since);
        idle <= idle_time && self.rest.reader.poll_stale(&mut cx).is_pending()
    }
}

/// An HTTP/2 connection, shared by the requests of one key.
pub struct Http2 {
    send: SendRequest<Bytes>,
    most_streams: usize,
    /// Address and age.
    pub facts: Facts,
    streams: AtomicUsize,
    closed: Arc<AtomicBool>,
}

impl Http2 {
    /// Shares `send` among at most this many streams; `closed` is set by whoever drives the
    /// connection.
    #[must_use]
    pub fn new(
        send: SendRequest<Bytes>,
        most_streams: usize,
        facts: Facts,
        closed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            send,
            most_streams,
            facts,
            streams: AtomicUsize::new(0),
            closed,
        }
    }

    /// When it was dialled.
    #[must_use]
    pub fn born(&self) -> Instant {
        self.facts.born
    }

    /// Whether the server or an error closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Whether a request is running on it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.streams.load(Relaxed) > 0
    }

    /// Whether the server and our own bound admit another stream just now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let most = self.send.current_max_send_streams().min(self.most_streams);
        self.streams.load(Relaxed) < most
    }

    /// Counts a stream until the guard is dropped.
    #[must_use]
    pub fn stream(self: &Arc<Self>) -> StreamGuard {
        self.streams.fetch_add(1, Relaxed);
        StreamGuard(self.clone())
    }

    /// Waits until a request may be sent, and yields the handle to send it with.
    ///
    /// # Errors
    /// The connection is closed or going away.
    pub async fn ready(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        let mut send = self.send.clone();
        poll_fn(|cx| send.poll_ready(cx)).await?;
        Ok(send)
    }

    /// Takes the connection out of use; running streams end by themselves.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
    }
}

/// One running stream.
pub struct StreamGuard(Arc<Http2>);

impl StreamGuard {
    /// The connection it runs on.
    #[must_use]
    pub fn connection(&self) -> &Http2 {
        &self.0
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

//! A request body on its way to the server, in a task of its own, so that the response can
//! arrive, and even end, before it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::io::WriteHalf;
use tokio::task::JoinHandle;

use crate::http::body::{Body, BodyError, Stalling};
use crate::http::h1::{BodyFraming, WriteError, Writer};
use crate::http::h2::{SendError, send_body};
use crate::http::io::BoxStream;
use crate::http::passing::Passing;

/// A request body as it is sent: counted, limited, filtered, and not allowed to stall.
pub type Sent = Passing<Stalling<Body>>;

/// The writer of an HTTP/1 connection to a server, which changes hands several times for each request.
pub type ServerWriter = Box<Writer<WriteHalf<BoxStream>>>;

/// Where an upload stands. Dropping a running one aborts it, and with it the request: the
/// server never sees a clean end of a body that did not end.
pub enum Upload {
    /// In its task.
    Running(JoinHandle<End>),
    /// At its end, with the writer of an HTTP/1 connection.
    Done(Option<ServerWriter>),
    /// Broken off; the connection or stream is worth nothing.
    Broken,
}

/// How an upload ended.
pub enum End {
    /// All was sent.
    Done(Option<ServerWriter>),
    /// The agent's body failed.
    Agent(BodyError),
    /// The server took no more.
    Server,
}

impl Upload {
    /// Sends `body` on an HTTP/1 connection whose head is queued in `writer`.
    #[must_use]
    pub fn http1(mut writer: ServerWriter, framing: BodyFraming, body: Sent) -> Self {
        Self::Running(tokio::spawn(async move {
            match writer.write_body(framing, body).await {
                Ok(_) => End::Done(Some(writer)),
                Err(error) => write_end(error),
            }
        }))
    }

    /// Sends `body` on an HTTP/2 stream.
    #[must_use]
    pub fn http2(mut stream: SendStream<Bytes>, body: Sent, stall: Duration) -> Self {
        Self::Running(tokio::spawn(async move {
            match send_body(&mut stream, body, stall).await {
                Ok(()) => End::Done(None),
                Err(SendError::Body(error)) => End::Agent(error),
                Err(SendError::Peer(_) | SendError::Stalled) => End::Server,
            }
        }))
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Gives up what is not sent yet.
    pub fn stop(&mut self) {
        if self.is_running() {
            *self = Self::Broken;
        }
    }

    /// The writer, where a finished upload left one.
    #[must_use]
    pub fn take_writer(&mut self) -> Option<ServerWriter> {
        match self {
            Self::Done(writer) => writer.take(),
            Self::Running(_) | Self::Broken => None,
        }
    }

    /// Resolves once it no longer runs.
    ///
    /// # Errors
    /// The agent's body failed; reported once.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Self::Running(task) = self else {
            return Poll::Ready(Ok(()));
        };
        let end = ready!(Pin::new(task).poll(cx));
        let (next, result) = match end {
            Ok(End::Done(writer)) => (Self::Done(writer), Ok(())),
            Ok(End::Agent(error)) => (Self::Broken, Err(error)),
            Ok(End::Server) | Err(_) => (Self::Broken, Ok(())),
        };
        *self = next;
        Poll::Ready(result)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Self::Running(task) = self {
            task.abort();
        }
    }
}

/// What a failed write means: whose fault it was.
pub fn write_end(error: WriteError<BodyError>) -> End {
    match error {
        WriteError::Io(_) => End::Server,
        WriteError::Body(error) => End::Agent(error),
        WriteError::Short(_) => End::Agent(BodyError::Cut),
        WriteError::Long => End::Agent(BodyError::Malformed("is longer than declared".into())),
    }
}

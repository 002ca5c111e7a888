//! The requests of a connection, one after the other on HTTP/1, side by side on HTTP/2.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Method;
use tokio::time::timeout;

use super::connection::Connection;
use super::outcome::CountPanic;
use super::{Settings, request};
use crate::error::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::h1::{Framing, ReadError, Version, Writer};
use crate::http::h2::{Drive, Peer, Stopped, Under};
use crate::http::incoming::{SharedReader, WritingHalf};
use crate::http::io::BoxStream;
use crate::http::raw::RawHead;
use crate::http::responder::{End, Http1Responder, Http2Responder, Responder};
use crate::http::timer::{Armed, Timer};

/// Bytes and time given to an agent to read its last answer before the connection is gone.
pub(super) const LINGER_BYTES: usize = 256 * 1024;
pub(super) const LINGER_TIME: Duration = Duration::from_secs(2);

/// Flow-control windows toward agents, which are near: enough for bulk, bounded in memory.
/// A stream has a sixteenth of the connection's, so that some uploads whose servers read
/// nothing do not stall all that the agent sends.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one stream that wait to be sent.
const SEND_BUFFER: usize = 256 << 10;

/// How long a connection that has served a request keeps the memory that requests take.
const BREATH: Duration = Duration::from_millis(250);

/// What comes next on an HTTP/1 connection.
enum Next {
    Bytes,
    /// Nothing came in time.
    Silence,
    End,
}

/// Serves an HTTP/1 connection to its end.
pub async fn http1(connection: Arc<Connection>, stream: BoxStream) {
    // One wait for all requests: each would have to join those who wait, and leave them.
    let mut leaving = pin!(connection.drain.begun());
    let (reader, writing) = SharedReader::split(stream);
    let mut writer = Writer::new(writing);
    let idle = connection.gateway.settings.timeouts.idle;
    let mut patience = idle;
    let mut waiting = Timer::default();
    while let Next::Bytes = next(&reader, leaving.as_mut(), (patience, &mut waiting)).await {
        let legs = (&reader, &mut writer);
        // Boxed, so that a connection on which nothing happens is small.
        match Box::pin(busy(&connection, legs, leaving.as_mut(), &mut waiting)).await {
            End::GoOn => patience = idle.saturating_sub(BREATH),
            End::Close => break,
            // The answer is incomplete: an orderly end would make it look whole.
            End::Abort => return,
        }
    }
    close(&reader, &mut writer).await;
}

/// Serves requests for as long as they follow one another.
async fn busy(
    connection: &Connection,
    (reader, writer): (&SharedReader, &mut Writer<WritingHalf>),
    mut leaving: Pin<&mut impl Future<Output = ()>>,
    waiting: &mut Timer,
) -> End {
    let settings = &connection.gateway.settings;
    let breath = BREATH.min(settings.timeouts.idle);
    let mut serving = Timer::default();
    loop {
        let head = reader.read_request_head(&settings.head_limits);
        let goes_on = match waiting.within(settings.timeouts.head, head).await {
            Some(Ok(Some(head))) => {
                let responder = Responder::Http1(Http1Responder::new(
                    (reader, &mut *writer),
                    head.method.clone(),
                    head.version,
                    head.keep_alive && !connection.drain.has_begun(),
                    settings.timeouts.close,
                ));
                let body = match head.framing {
                    Framing::None | Framing::Length(0) => Body::empty(),
                    _ => Body::H1(reader.body()),
                };
                let raw = Box::new(RawHead::from_h1(*head));
                request::serve(connection, raw, body, &responder, &mut serving).await;
                responder.end()
            }
            Some(
                Ok(None) | Err(ReadError::Io(_) | ReadError::ClosedInHead | ReadError::Truncated),
            ) => End::Close,
            unread => {
                let refusal = unreadable(unread, settings.timeouts.head);
                let responder = Responder::Http1(Http1Responder::new(
                    (reader, &mut *writer),
                    Method::GET,
                    Version::Http11,
                    false,
                    settings.timeouts.close,
                ));
                Box::pin(request::refuse_head(connection, &refusal, &responder)).await;
                responder.end()
            }
        };
        if !matches!(goes_on, End::GoOn) {
            return goes_on;
        }
        match next(reader, leaving.as_mut(), (breath, &mut *waiting)).await {
            Next::Bytes => {}
            Next::Silence => return End::GoOn,
            Next::End => return End::Close,
        }
    }
}

/// Waits for the first byte of a request.
async fn next(
    reader: &SharedReader,
    leaving: Pin<&mut impl Future<Output = ()>>,
    (patience, timer): (Duration, &mut Timer),
) -> Next {
    tokio::select! {
        biased;
        () = leaving => Next::End,
        waited = timer.within(patience, reader.wait_for_bytes()) => match waited {
            Some(Ok(true)) => Next::Bytes,
            Some(Ok(false) | Err(_)) => Next::End,
            None => Next::Silence,
        },
    }
}

/// What an agent is told whose head could not be read.
fn unreadable<T>(read: Option<Result<T, ReadError>>, limit: Duration) -> Refusal {
    match read {
        Some(Err(error)) => Refusal::new(
            error.agent_reason(),
            format!("the request is refused because it has {error}"),
        ),
        Some(Ok(_)) | None => Refusal::new(
            Reason::RequestTimeout,
            format!(
                "the request head took longer than {} s",
                limit.as_secs_f32()
            ),
        ),
    }
}

/// Ends a connection so that the last answer is not lost: our side first, then what the
/// agent still sends is read and dropped for a moment (RFC 9112 §9.6).
async fn close(reader: &SharedReader, writer: &mut Writer<WritingHalf>) {
    if writer.shutdown().await.is_ok() {
        let _ = timeout(LINGER_TIME, reader.discard(LINGER_BYTES)).await;
    }
}

type Http2Connection = h2::server::Connection<Under, Bytes>;

/// Serves an HTTP/2 connection to its end.
///
/// # Errors
/// [`Reason::RateLimited`] when the agent sends control frames without end.
pub async fn http2(connection: Arc<Connection>, stream: BoxStream) -> Result<(), Refusal> {
    let settings = &connection.gateway.settings;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(header_list_size(settings))
        .max_send_buffer_size(SEND_BUFFER);
    let (stream, mut drive) = Drive::new(stream, Peer::Client, settings.control_frames);
    // Boxed, as other rare things here, so that a connection past it is small.
    let handshake = Box::pin(builder.handshake(stream));
    let Ok(Ok(mut h2)) = timeout(settings.timeouts.handshake, handshake).await else {
        return Ok(());
    };
    drive.begin();
    let active = Arc::new(AtomicUsize::new(0));
    let mut leaving = false;
    let mut begun = pin!(connection.drain.begun());
    let mut silence = Timer::default();
    loop {
        let mut armed = Armed::default();
        let silent = poll_fn(|cx| silence.poll_over(cx, settings.timeouts.idle, &mut armed));
        let accept = poll_fn(|cx| drive.poll(cx, |cx| h2.poll_accept(cx)));
        tokio::select! {
            accepted = accept => match accepted {
                Ok(Some(Ok((request, respond)))) => {
                    let stream = stream_task(connection.clone(), request, respond, active.clone());
                    connection.gateway.tasks.spawn(connection.drain.run(stream));
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(client = %connection.client, %error, "an HTTP/2 connection failed");
                    if error.is_library() {
                        connection.gateway.metrics.connections.refuse(Reason::Malformed);
                    }
                    return Ok(());
                }
                Ok(None) | Err(Stopped::Write(_)) => return Ok(()),
                Err(Stopped::Excess) => {
                    drive.end();
                    Box::pin(calm_down(settings, h2)).await;
                    return Err(flooding(&connection));
                }
            },
            () = begun.as_mut(), if !leaving => {
                leaving = true;
                h2.graceful_shutdown();
            }
            () = silent => {
                if active.load(Relaxed) > 0 {
                    continue;
                }
                if leaving {
                    return Ok(());
                }
                leaving = true;
                h2.graceful_shutdown();
            }
        }
    }
}

/// Ends a connection whose agent sends control frames without end, its streams with it
/// (RFC 9113 §10.5).
async fn calm_down(settings: &Settings, mut h2: Http2Connection) {
    h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
    let _ = timeout(settings.timeouts.write, poll_fn(|cx| h2.poll_closed(cx))).await;
}

fn flooding(connection: &Connection) -> Refusal {
    let gateway = &connection.gateway;
    gateway.metrics.state.limit_reached("limits.control_frames");
    Refusal::new(
        Reason::RateLimited,
        format!(
            "more HTTP/2 control frames came than the messages call for \
             (limits.control_frames = {})",
            gateway.settings.control_frames
        ),
    )
}

/// What `h2` lets through, in its own count of 32 bytes more for each field (RFC 9113
/// §6.5.2): a little more than the head's limit, so that the refusal is ours and recorded.
fn header_list_size(settings: &Settings) -> u32 {
    let fields = settings
        .head_limits
        .fields
        .saturating_add(16)
        .saturating_mul(32);
    let bytes = settings.head_limits.bytes.saturating_add(fields);
    bytes.saturating_mul(2).try_into().unwrap_or(u32::MAX)
}

async fn stream_task(
    connection: Arc<Connection>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    active: Arc<AtomicUsize>,
) {
    let _panics = CountPanic(&connection.gateway.metrics);
    let _active = Active::of(active);
    let stall = connection.gateway.settings.timeouts.write;
    let responder = Responder::Http2(Http2Responder::new(
        respond,
        request.method().clone(),
        stall,
    ));
    match RawHead::from_h2(request) {
        // Boxed, as the runtime moves a task's future several times.
        Ok((raw, body)) => {
            let mut timer = Timer::default();
            let served = request::serve(&connection, Box::new(raw), body, &responder, &mut timer);
            Box::pin(served).await;
        }
        Err(refusal) => Box::pin(request::refuse_head(&connection, &refusal, &responder)).await,
    }
}

/// Counts a running stream.
struct Active(Arc<AtomicUsize>);

impl Active {
    fn of(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

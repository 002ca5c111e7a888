//! How an answer goes to the agent, the same for both protocol versions.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use parking_lot::Mutex;

use super::body::BodyError;
use super::h1::{self, BodyFraming, Closed, Hops, Persist, ResponseOut, WriteError, Writer};
use super::h2 as stream;
use super::incoming::{SharedReader, WritingHalf};
use super::passing::{TrailerNames, declared_trailers, trailer_field};
use super::websocket::UPGRADE;

/// Why an answer did not reach its end.
#[derive(Debug)]
pub enum SendFailure {
    /// The answer's own body failed.
    Body(BodyError),
    /// The agent closed, reset or took nothing for too long.
    Agent,
}

/// Answers one request.
pub enum Responder<'a> {
    /// On an HTTP/1 connection.
    Http1(Http1Responder<'a>),
    /// On an HTTP/2 stream.
    Http2(Http2Responder),
}

/// Answers on an HTTP/1 connection.
pub struct Http1Responder<'a> {
    writer: tokio::sync::Mutex<&'a mut Writer<WritingHalf>>,
    reader: &'a SharedReader,
    method: Method,
    version: h1::Version,
    /// Whether the connection may go on after this answer.
    keep_alive: AtomicBool,
    /// Whether what is left of the request is still being read.
    reads_on: AtomicBool,
    /// Whether the answer was sent to its end.
    complete: AtomicBool,
    /// How long an agent that has closed its own direction is waited for.
    half_closed: Duration,
}

/// What follows an answer on an HTTP/1 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request.
    GoOn,
    /// The end, in order.
    Close,
    /// The end at once: the answer is not complete and must not look so.
    Abort,
}

/// An agent's connection that is no HTTP any more.
pub struct AgentStream<'a, 'w> {
    /// Reads what the agent sends.
    pub reader: &'a SharedReader,
    /// Writes what it gets.
    pub writer: tokio::sync::MutexGuard<'a, &'w mut Writer<WritingHalf>>,
}

/// Answers on an HTTP/2 stream.
pub struct Http2Responder {
    respond: Mutex<SendResponse<Bytes>>,
    method: Method,
    stall: Duration,
}

impl<'a> Http1Responder<'a> {
    /// For a request of this method and version; `keep_alive` as the agent wants it. An agent
    /// that closes its own direction still gets what begins within `half_closed`.
    pub fn new(
        (reader, writer): (&'a SharedReader, &'a mut Writer<WritingHalf>),
        method: Method,
        version: h1::Version,
        keep_alive: bool,
        half_closed: Duration,
    ) -> Self {
        Self {
            writer: tokio::sync::Mutex::new(writer),
            reader,
            method,
            version,
            keep_alive: AtomicBool::new(keep_alive),
            reads_on: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            half_closed,
        }
    }
}

impl Http2Responder {
    /// For a request of this method; `stall` bounds each wait for the agent's window.
    #[must_use]
    pub fn new(respond: SendResponse<Bytes>, method: Method, stall: Duration) -> Self {
        Self {
            respond: Mutex::new(respond),
            method,
            stall,
        }
    }
}

impl<'a> Responder<'a> {
    /// Sends an interim response (1xx). HTTP/1.0 agents get none (RFC 9110 §15.2); an agent
    /// that cannot be reached is noticed by the final response.
    pub async fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        match self {
            Self::Http1(responder) if responder.version == h1::Version::Http11 => {
                let mut writer = responder.writer.lock().await;
                if writer.queue_interim(status, headers).is_ok() {
                    let _ = writer.flush().await;
                }
            }
            Self::Http1(_) => {}
            Self::Http2(responder) => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers.clone();
                let _ = responder.respond.lock().send_informational(response);
            }
        }
    }

    /// Resolves when the agent has gone away before it got its answer. One that has closed
    /// only its own direction may wait for it; most that do have gone.
    pub async fn agent_gone(&self) {
        match self {
            Self::Http1(responder) => match responder.reader.closed().await {
                Closed::Eof => tokio::time::sleep(responder.half_closed).await,
                Closed::Failed(_) | Closed::Unasked => {}
            },
            Self::Http2(responder) => {
                // An error means that the whole connection failed.
                let _ = poll_fn(|cx| responder.respond.lock().poll_reset(cx)).await;
            }
        }
    }

    /// Answers `Expect: 100-continue`.
    pub async fn go_on(&self) {
        self.interim(StatusCode::CONTINUE, &HeaderMap::new()).await;
    }

    /// Ends without an answer: the HTTP/1 connection closes, the stream is reset.
    pub fn hang_up(&self) {
        match self {
            Self::Http1(responder) => responder.complete.store(false, Relaxed),
            Self::Http2(responder) => {
                responder
                    .respond
                    .lock()
                    .send_reset(h2::Reason::ENHANCE_YOUR_CALM);
            }
        }
    }

    /// This answer is the last on its connection, and says so (RFC 9112 §9.6).
    pub fn is_last(&self) {
        match self {
            Self::Http1(responder) => responder.keep_alive.store(false, Relaxed),
            // Its connection has said so itself (GOAWAY).
            Self::Http2(_) => {}
        }
    }

    /// Answers 101 with a WebSocket, and gives the connection out of hand.
    ///
    /// # Errors
    /// The agent is gone.
    pub async fn switch(&self, headers: &HeaderMap) -> Result<AgentStream<'_, 'a>, SendFailure> {
        let Self::Http1(responder) = self else {
            // Never offered over HTTP/2, so never agreed to.
            return Err(SendFailure::Agent);
        };
        let mut writer = responder.writer.lock().await;
        let head = ResponseOut {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers,
            framing: BodyFraming::None,
            hops: Hops {
                upgrade: Some(&UPGRADE),
                ..Hops::default()
            },
        };
        responder.keep_alive.store(false, Relaxed);
        let queued = writer.queue_response(&head);
        queued.map_err(|_| SendFailure::Agent)?;
        writer.flush().await.map_err(|_| SendFailure::Agent)?;
        Ok(AgentStream {
            reader: responder.reader,
            writer,
        })
    }

    /// What is left of the request is read on, also after the answer.
    pub fn reads_on(&self) {
        match self {
            Self::Http1(responder) => responder.reads_on.store(true, Relaxed),
            Self::Http2(_) => {}
        }
    }

    /// What was switched to is at its end; `orderly`: the agent knows.
    pub fn ended(&self, orderly: bool) {
        match self {
            Self::Http1(responder) => responder.complete.store(orderly, Relaxed),
            Self::Http2(_) => {}
        }
    }

    /// What follows on the connection, once answered. HTTP/2 connections live by themselves.
    #[must_use]
    pub fn end(&self) -> End {
        match self {
            Self::Http1(responder) if !responder.complete.load(Relaxed) => End::Abort,
            Self::Http1(responder) if !responder.keep_alive.load(Relaxed) => End::Close,
            Self::Http1(responder) if !responder.reader.is_idle() => End::Close,
            Self::Http1(_) | Self::Http2(_) => End::GoOn,
        }
    }

    /// Which trailers of a response with these headers the agent's leg can carry.
    #[must_use]
    pub fn trailer_names(&self, headers: &HeaderMap) -> TrailerNames {
        match self {
            Self::Http1(responder) if responder.version == h1::Version::Http10 => {
                TrailerNames::Declared(Vec::new())
            }
            Self::Http1(_) => TrailerNames::Declared(declared_trailers(headers)),
            Self::Http2(_) => TrailerNames::Any,
        }
    }

    /// Sends the final response to its end. A body that fails never looks complete.
    ///
    /// # Errors
    /// [`SendFailure`]; an HTTP/1 connection is then to be closed.
    pub async fn respond<B>(&self, response: Response<B>) -> Result<(), SendFailure>
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
    {
        match self {
            Self::Http1(responder) => responder.respond(response).await,
            Self::Http2(responder) => responder.respond(response).await,
        }
    }
}

impl Http1Responder<'_> {
    async fn respond<B>(&self, response: Response<B>) -> Result<(), SendFailure>
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
    {
        let (parts, body) = response.into_parts();
        let length = length(&self.method, parts.status, &parts.headers, &body);
        let framing = BodyFraming::of_response(&self.method, self.version, parts.status, length);
        let trailers = declared_trailers(&parts.headers);
        let mut writer = self.writer.lock().await;
        let head = ResponseOut {
            status: parts.status,
            headers: &parts.headers,
            framing,
            hops: Hops {
                persist: self.persist(framing),
                trailers: &trailers,
                ..Hops::default()
            },
        };
        let sent = match writer.queue_response(&head) {
            // A response may be silent for long: the agent's going is noticed all the same.
            Ok(()) => tokio::select! {
                biased;
                written = writer.write_body(framing, body) => written.map(drop).map_err(write_failure),
                () = self.reader.broken() => Err(SendFailure::Agent),
            },
            Err(error) => {
                tracing::error!(%error, "a response cannot be written");
                Err(SendFailure::Agent)
            }
        };
        self.complete.store(sent.is_ok(), Relaxed);
        sent
    }

    /// The connection goes on only if the request was, or will be, read to its end: what is
    /// left of it must not be taken for a next one.
    fn persist(&self, framing: BodyFraming) -> Persist {
        let goes_on = self.keep_alive.load(Relaxed)
            && (self.reader.is_idle() || self.reads_on.load(Relaxed))
            && framing != BodyFraming::UntilClose;
        self.keep_alive.store(goes_on, Relaxed);
        match (goes_on, self.version) {
            (true, h1::Version::Http11) => Persist::Default,
            (true, h1::Version::Http10) => Persist::KeepAlive,
            (false, _) => Persist::Close,
        }
    }
}

impl Http2Responder {
    async fn respond<B>(&self, response: Response<B>) -> Result<(), SendFailure>
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
    {
        let (mut parts, body) = response.into_parts();
        let length = length(&self.method, parts.status, &parts.headers, &body);
        let trailers = declared_trailers(&parts.headers);
        set(
            &mut parts.headers,
            header::CONTENT_LENGTH,
            length.map(HeaderValue::from),
        );
        set(
            &mut parts.headers,
            header::TRAILER,
            trailer_field(&trailers),
        );
        let ends = has_no_body(&self.method, parts.status) || body.is_end_stream();
        let sent = self
            .respond
            .lock()
            .send_response(Response::from_parts(parts, ()), ends);
        let mut stream = sent.map_err(|_| SendFailure::Agent)?;
        if ends {
            return Ok(());
        }
        stream::send_body(&mut stream, body, self.stall)
            .await
            .map_err(|error| match error {
                stream::SendError::Body(error) => SendFailure::Body(error),
                stream::SendError::Peer(_) | stream::SendError::Stalled => SendFailure::Agent,
            })
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

/// Whether a response has no body whatever its head says (RFC 9110 §6.4.1).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The length to declare: that of the body, or the server's word where there is none.
fn length<B: http_body::Body>(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    body: &B,
) -> Option<u64> {
    if status == StatusCode::NO_CONTENT {
        return None;
    }
    if has_no_body(method, status) {
        return headers
            .get(header::CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok();
    }
    body.size_hint().exact()
}

fn write_failure(error: WriteError<BodyError>) -> SendFailure {
    match error {
        WriteError::Io(_) => SendFailure::Agent,
        WriteError::Body(error) => SendFailure::Body(error),
        WriteError::Short(_) => SendFailure::Body(BodyError::Cut),
        WriteError::Long => {
            SendFailure::Body(BodyError::Malformed("is longer than declared".into()))
        }
    }
}

//! One request and the head of its response, over HTTP/1 or HTTP/2.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::connection::{Http1, Http1Rest, StreamGuard, Switched};
use super::expectation::Expectation;
use super::outgoing::Outgoing;
use super::response::ResponseBody;
use super::upload::{End, Sent, ServerWriter, Upload, write_end};
use super::{Failure, Lease, Settings};
use crate::error::{Reason, Refusal};
use crate::http::body::{Body, BodyError, Stalling};
use crate::http::h1::{self, BodyFraming, Framing, Hops, ReadError, RequestOut};
use crate::http::h2::Incoming;
use crate::http::passing::{Passing, TrailerNames, trailer_field};
use crate::http::redact::Agentward;
use crate::http::timer::Timer;
use crate::http::websocket::{Offer, UPGRADE};

/// A held body up to this size is written before the response is waited for: it fits into
/// any socket's buffers, so neither side can wait for the other.
const INLINE: usize = 16 * 1024;

/// Sends a request on `connection` and waits for its response's head.
///
/// # Errors
/// [`Failure`], with whether the request may be sent again elsewhere.
pub async fn http1(
    Http1 {
        mut writer,
        mut rest,
    }: Http1,
    lease: Lease,
    outgoing: &Outgoing,
    body: Body,
    agentward: Agentward<'_, '_>,
    settings: &Settings,
) -> Result<Response<Body>, Failure> {
    let framing = queue_head(&mut writer, outgoing, &body, None)?;
    let inline = matches!(&body, Body::Held(data, _) if data.len() <= INLINE);
    let trailers = TrailerNames::Declared(outgoing.trailers.clone());
    let body = sent(outgoing, body, settings, trailers);
    let mut upload = if inline {
        write_inline(writer, framing, body, lease.reused).await?
    } else {
        Upload::http1(writer, framing, body)
    };
    let head = final_head(
        (&mut rest, &mut upload),
        lease.reused,
        outgoing,
        agentward,
        settings,
    )
    .await?;
    if head.framing == Framing::Tunnel {
        return Err(malformed("it switches protocols unasked"));
    }
    let reads_on = head.keep_alive || head.status.is_success();
    if !reads_on {
        // It says that it closes, and why: what is still to be sent is not for it.
        upload.stop();
    }
    let keep = head.keep_alive
        && head.framing != Framing::UntilClose
        && uploaded(&mut upload).await?
        && !is_bound_to_connection(outgoing, &head.headers);
    let body = ResponseBody::http1(rest, upload, lease.keep(keep));
    Ok(http1_response(*head, body))
}

/// Asks for a WebSocket on a connection of its own. Where the server does not agree, its
/// answer is one like any other, and the connection is not kept.
///
/// # Errors
/// As [`http1`]; and a 101 that does not answer the offer.
pub async fn upgrade(
    Http1 {
        mut writer,
        mut rest,
    }: Http1,
    lease: Lease,
    outgoing: &Outgoing,
    offer: &Offer,
    agentward: Agentward<'_, '_>,
    settings: &Settings,
) -> Result<(Response<Body>, Option<Switched>), Failure> {
    let framing = queue_head(&mut writer, outgoing, &Body::empty(), Some(&UPGRADE))?;
    let body = sent(outgoing, Body::empty(), settings, TrailerNames::Any);
    let mut upload = write_inline(writer, framing, body, false).await?;
    let legs = (&mut *rest, &mut upload);
    let head = final_head(legs, false, outgoing, agentward, settings).await?;
    if head.framing != Framing::Tunnel {
        let body = ResponseBody::http1(rest, upload, lease);
        return Ok((http1_response(*head, body), None));
    }
    offer.is_agreed(&head).map_err(malformed)?;
    let writer = upload
        .take_writer()
        .ok_or_else(|| malformed("it switches protocols before it has read the request"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    let Http1Rest { reader, hold, .. } = *rest;
    let switched = Switched {
        reader,
        writer,
        _hold: hold,
    };
    Ok((response, Some(switched)))
}

/// The head of the final response, or of a 101; interim ones go to the agent.
async fn final_head(
    (rest, upload): (&mut Http1Rest, &mut Upload),
    reused: bool,
    outgoing: &Outgoing,
    agentward: Agentward<'_, '_>,
    settings: &Settings,
) -> Result<Box<h1::ResponseHead>, Failure> {
    let mut interims = settings.interim_responses;
    let mut expectation = Expectation::of(outgoing, agentward, settings.expect);
    // Once a byte of a response is here, the request was seen: it is not sent again.
    let mut unseen = reused;
    loop {
        let read = rest
            .reader
            .read_response_head(&settings.head_limits, &outgoing.method);
        let limit = (settings.first_byte, &mut rest.timer);
        let head = await_head(read, upload, &mut expectation, limit).await?;
        let head = head.map_err(|error| read_failure(&error, unseen))?;
        let head = head.ok_or_else(|| closed_before_head(unseen))?;
        unseen = false;
        if head.framing == Framing::Tunnel || !head.status.is_informational() {
            expectation.answered(head.status, outgoing, upload);
            return Ok(head);
        }
        count(&mut interims)?;
        interim(head.status, head.headers, &mut expectation, agentward).await?;
    }
}

fn queue_head(
    writer: &mut ServerWriter,
    outgoing: &Outgoing,
    body: &Body,
    upgrade: Option<&HeaderValue>,
) -> Result<BodyFraming, Failure> {
    let ends = body.is_end_stream();
    let length = body.declared_length().filter(|_| !ends);
    let framing = BodyFraming::of_request(&outgoing.method, length, ends);
    let head = RequestOut {
        method: &outgoing.method,
        target: &outgoing.target,
        host: &outgoing.host(),
        headers: &outgoing.headers,
        framing,
        hops: Hops {
            te_trailers: outgoing.te_trailers,
            trailers: &outgoing.trailers,
            upgrade,
            expects_continue: outgoing.expects_continue,
            ..Hops::default()
        },
    };
    match writer.queue_request(&head) {
        Ok(()) => Ok(framing),
        Err(error) => Err(Failure::Refused(Refusal::new(
            Reason::Malformed,
            format!("the request has {error}"),
        ))),
    }
}

async fn write_inline(
    mut writer: ServerWriter,
    framing: BodyFraming,
    body: Sent,
    reused: bool,
) -> Result<Upload, Failure> {
    match writer.write_body(framing, body).await {
        Ok(_) => Ok(Upload::Done(Some(writer))),
        Err(error) => match write_end(error) {
            End::Agent(error) => Err(Failure::Refused(error.of_request())),
            End::Server | End::Done(_) if reused => Err(Failure::Stale),
            // A server that answers early and closes may still have sent its answer.
            End::Server | End::Done(_) => Ok(Upload::Broken),
        },
    }
}

/// Waits for a head while the upload runs. The first-byte time starts when the upload ends;
/// until then the upload's own limits apply.
async fn await_head<T>(
    head: impl Future<Output = T>,
    upload: &mut Upload,
    expectation: &mut Expectation<'_, '_>,
    (limit, timer): (Duration, &mut Timer),
) -> Result<T, Failure> {
    let mut head = std::pin::pin!(head);
    while upload.is_running() {
        tokio::select! {
            biased;
            head = &mut head => return Ok(head),
            ended = poll_fn(|cx| upload.poll_end(cx)) => {
                ended.map_err(|error| Failure::Refused(error.of_request()))?;
            }
            () = expectation.unanswered() => expectation.go_on().await,
        }
    }
    timer.within(limit, head).await.ok_or_else(|| {
        Failure::Refused(Refusal::new(
            Reason::UpstreamTimeout,
            format!(
                "the server sent no response within {} s",
                limit.as_secs_f32()
            ),
        ))
    })
}

/// Whether the request was sent to its end when its response began. A server that answers
/// before is done with the connection, or may take the rest for another request. The upload's
/// task may be one turn behind its own last write.
async fn uploaded(upload: &mut Upload) -> Result<bool, Failure> {
    if upload.is_running() {
        tokio::task::yield_now().await;
    }
    let ended = poll_fn(|cx| Poll::Ready(upload.poll_end(cx))).await;
    match ended {
        Poll::Ready(Ok(())) => Ok(true),
        Poll::Ready(Err(error)) => Err(Failure::Refused(error.of_request())),
        Poll::Pending => Ok(false),
    }
}

/// Whether an authentication that holds for the connection, not the request, may have taken
/// place on it (RFC 4559): whoever used it next would be somebody else.
fn is_bound_to_connection(outgoing: &Outgoing, response: &HeaderMap) -> bool {
    let schemes = [&b"negotiate"[..], b"ntlm"];
    let bound = |value: &HeaderValue| {
        let scheme = value
            .as_bytes()
            .split(|&byte| byte == b' ')
            .next()
            .unwrap_or_default();
        schemes.iter().any(|word| scheme.eq_ignore_ascii_case(word))
    };
    outgoing
        .headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .any(bound)
        || response.get_all(header::WWW_AUTHENTICATE).iter().any(bound)
}

/// Counts an interim response against those that one request may have.
fn count(left: &mut usize) -> Result<(), Failure> {
    let fewer = left.checked_sub(1);
    *left = fewer.ok_or_else(|| malformed("it sends interim responses without end"))?;
    Ok(())
}

/// Passes an interim response on; 100 only to an agent that waits for it.
async fn interim(
    status: StatusCode,
    mut headers: HeaderMap,
    expectation: &mut Expectation<'_, '_>,
    agentward: Agentward<'_, '_>,
) -> Result<(), Failure> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(malformed("it switches protocols unasked"));
    }
    if status == StatusCode::CONTINUE {
        expectation.go_on().await;
    } else {
        crate::http::strip::response(&mut headers, crate::policy::rule::Cookies::Drop);
        agentward.interim(status, headers).await;
    }
    Ok(())
}

fn http1_response(head: h1::ResponseHead, body: Body) -> Response<Body> {
    let mut headers = head.headers;
    if let Some(length) = head.declared_length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(trailer) = trailer_field(&head.declared_trailers) {
        headers.insert(header::TRAILER, trailer);
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

/// Sends a request on a stream of an HTTP/2 connection and waits for its response's head.
///
/// # Errors
/// [`Failure`], with whether the request may be sent again elsewhere.
pub async fn http2(
    guard: StreamGuard,
    outgoing: &Outgoing,
    body: Body,
    agentward: Agentward<'_, '_>,
    settings: &Settings,
) -> Result<Response<Body>, Failure> {
    let mut send = tokio::time::timeout(settings.first_byte, guard.connection().ready())
        .await
        .map_err(|_| Failure::Unprocessed)?
        .map_err(|_| Failure::Unprocessed)?;
    let ends = body.is_end_stream();
    let length = body
        .declared_length()
        .filter(|_| !ends || expects_body(&outgoing.method));
    let head = outgoing.http2_head(length).map_err(Failure::Refused)?;
    let (mut response, stream) = send
        .send_request(head, ends)
        .map_err(|error| h2_failure(&error))?;
    drop(send);
    let mut upload = if ends {
        Upload::Done(None)
    } else {
        let body = sent(outgoing, body, settings, TrailerNames::Any);
        Upload::http2(stream, body, settings.write)
    };
    let mut interims = settings.interim_responses;
    let mut expectation = Expectation::of(outgoing, agentward, settings.expect);
    let mut timer = Timer::default();
    let head = loop {
        let arrived = poll_fn(|cx| poll_head(&mut response, cx));
        let limit = (settings.first_byte, &mut timer);
        match await_head(arrived, &mut upload, &mut expectation, limit).await? {
            Head::Final(Ok(head)) => break head,
            Head::Final(Err(error)) => {
                agents_fault(&error, &mut upload).await?;
                return Err(h2_failure(&error));
            }
            Head::Interim(head) => {
                let (parts, ()) = head.into_parts();
                count(&mut interims)?;
                interim(parts.status, parts.headers, &mut expectation, agentward).await?;
            }
        }
    };
    expectation.answered(head.status(), outgoing, &mut upload);
    let (parts, stream) = head.into_parts();
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let incoming = Incoming::new(stream, length);
    Ok(Response::from_parts(
        parts,
        ResponseBody::http2(incoming, upload, guard),
    ))
}

enum Head {
    Interim(Response<()>),
    Final(Result<Response<h2::RecvStream>, h2::Error>),
}

fn poll_head(
    response: &mut h2::client::ResponseFuture,
    cx: &mut std::task::Context<'_>,
) -> Poll<Head> {
    if let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
        return Poll::Ready(Head::Interim(head));
    }
    std::pin::Pin::new(response).poll(cx).map(Head::Final)
}

fn sent(outgoing: &Outgoing, body: Body, settings: &Settings, trailers: TrailerNames) -> Sent {
    let body = Stalling::new(body, settings.body);
    Passing::new(body, outgoing.passed.clone(), outgoing.body_limit, trailers)
        .with_own(outgoing.own.clone())
}

fn expects_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn malformed(what: &str) -> Failure {
    Failure::Refused(Refusal::new(
        Reason::UpstreamMalformed,
        format!("the server's response is refused because {what}"),
    ))
}

fn closed_before_head(reused: bool) -> Failure {
    if reused {
        return Failure::Stale;
    }
    Failure::Refused(Refusal::new(
        Reason::UpstreamClosed,
        "the server closed the connection without a response",
    ))
}

fn read_failure(error: &ReadError, reused: bool) -> Failure {
    match error {
        ReadError::Io(_) => closed_before_head(reused),
        ReadError::Head(_) | ReadError::Chunk(_) => malformed(&format!("it has {error}")),
        ReadError::ClosedInHead | ReadError::Truncated | ReadError::OutOfTurn => {
            closed_before_head(false)
        }
    }
}

/// A stream that the gateway itself has reset fails here first, because its upload failed;
/// where that was the agent's body, this is what it must be told.
async fn agents_fault(error: &h2::Error, upload: &mut Upload) -> Result<(), Failure> {
    if error.is_reset() && !error.is_remote() && !error.is_library() {
        let ended = poll_fn(|cx| upload.poll_end(cx)).await;
        ended.map_err(|error| Failure::Refused(error.of_request()))?;
    }
    Ok(())
}

/// What an error of the stream or connection means before the response's head.
fn h2_failure(error: &h2::Error) -> Failure {
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let going_away =
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    if refused || going_away {
        return Failure::Unprocessed;
    }
    if error.reason() == Some(h2::Reason::PROTOCOL_ERROR) && !error.is_remote() {
        return malformed("it breaks the rules of HTTP/2");
    }
    let body = error.reason().map_or(BodyError::Cut, BodyError::Reset);
    Failure::Refused(body.of_response())
}

//! A response body, and what becomes of its connection when it ends.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::Lease;
use super::connection::{Http1, Http1Rest, StreamGuard};
use super::upload::Upload;
use crate::http::body::{Body, BodyError};
use crate::http::h2::Incoming;
use crate::http::incoming::read_error;

/// The body of a response on its way from a server.
pub struct ResponseBody {
    source: Source,
    upload: Upload,
}

enum Source {
    Http1(Option<Http1Body>),
    /// The guard counts the stream until the body is dropped.
    Http2(
        Incoming,
        #[allow(dead_code, reason = "held for its Drop")] StreamGuard,
    ),
}

struct Http1Body {
    rest: Box<Http1Rest>,
    lease: Lease,
}

impl ResponseBody {
    /// From an HTTP/1 connection; where there is no body, the connection goes back at once.
    pub(super) fn http1(rest: Box<Http1Rest>, upload: Upload, lease: Lease) -> Body {
        let mut response = Self {
            source: Source::Http1(Some(Http1Body { rest, lease })),
            upload,
        };
        if response.is_end() && !response.upload.is_running() {
            response.give_back();
            return Body::empty();
        }
        Body::Response(Box::new(response))
    }

    /// From an HTTP/2 stream.
    pub(super) fn http2(incoming: Incoming, upload: Upload, guard: StreamGuard) -> Body {
        if incoming.is_end() && !upload.is_running() {
            return Body::empty();
        }
        Body::Response(Box::new(Self {
            source: Source::Http2(incoming, guard),
            upload,
        }))
    }

    /// Whether the server takes what the agent still has to send of its request, also after
    /// its answer (RFC 9112 §9.3, RFC 9113 §8.1).
    pub(in crate::http) fn reads_on(&self) -> bool {
        self.upload.is_running()
    }

    /// After the whole response: waits for the rest of the request.
    pub(in crate::http) async fn uploaded(mut self) -> Result<(), BodyError> {
        if !self.is_end() {
            return Ok(());
        }
        poll_fn(|cx| self.upload.poll_end(cx)).await
    }

    pub(in crate::http) fn is_end(&self) -> bool {
        match &self.source {
            Source::Http1(body) => body.as_ref().is_none_or(|body| body.rest.reader.at_end()),
            Source::Http2(incoming, _) => incoming.is_end(),
        }
    }

    pub(in crate::http) fn remaining(&self) -> Option<u64> {
        match &self.source {
            Source::Http1(body) => body
                .as_ref()
                .map_or(Some(0), |body| body.rest.reader.remaining()),
            Source::Http2(incoming, _) => incoming.remaining(),
        }
    }

    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // An agent whose upload fails gets no more of the response either.
        if self.upload.is_running()
            && let Poll::Ready(Err(error)) = self.upload.poll_end(cx)
        {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.source {
            Source::Http2(incoming, _) => incoming.poll_frame(cx),
            Source::Http1(None) => Poll::Ready(None),
            Source::Http1(Some(body)) => {
                let reader = &mut body.rest.reader;
                let frame = reader.poll_body(cx);
                if frame.is_ready() && reader.is_idle() && !self.upload.is_running() {
                    self.give_back();
                }
                frame.map(|frame| frame.map(|frame| frame.map_err(|error| read_error(&error))))
            }
        }
    }

    /// Puts the connection back where a next request may use it: response and request both
    /// at their end, kept alive, and nothing beyond the response in the buffer.
    fn give_back(&mut self) {
        let Source::Http1(body) = &mut self.source else {
            return;
        };
        let (Some(body), Some(writer)) = (body.take(), self.upload.take_writer()) else {
            return;
        };
        let Http1Body { rest, lease } = body;
        if lease.keep && rest.reader.is_idle() && !rest.reader.has_buffered() {
            lease.pool.put_back(&lease.key, Http1 { writer, rest });
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResponseBody(..)")
    }
}

//! Tests of the encoders and the writer over a transport in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::Frame;
use tokio::io::AsyncWrite;

use super::*;

/// A transport that keeps each write apart, and takes at most `most` octets at a time.
#[derive(Debug)]
struct Wire {
    writes: Vec<Vec<u8>>,
    flushes: usize,
    most: usize,
    vectored: bool,
    /// How many more octets it takes before it blocks.
    room: usize,
}

impl Wire {
    fn new() -> Self {
        Self {
            writes: Vec::new(),
            flushes: 0,
            most: usize::MAX,
            vectored: true,
            room: usize::MAX,
        }
    }

    fn all(&self) -> Vec<u8> {
        self.writes.concat()
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return Poll::Pending;
        }
        let octets = bufs.iter().flat_map(|buf| buf.iter().copied());
        let bytes: Vec<u8> = octets.take(self.most.min(self.room)).collect();
        let len = bytes.len();
        self.room -= len;
        self.writes.push(bytes);
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Pending once.
    Wait,
    Fail,
}

/// A body that does these steps.
struct Script(VecDeque<Step>);

fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    Script(steps.into_iter().collect())
}

fn text(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(match self.0.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers(map)) => Some(Ok(Frame::trailers(map))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Fail) => Some(Err("failed")),
            None => None,
        })
    }
}

fn respond(writer: &mut Writer<Wire>, framing: BodyFraming, trailers: &[HeaderName]) {
    let status = StatusCode::OK;
    let headers = HeaderMap::new();
    let hops = Hops {
        trailers,
        ..Hops::default()
    };
    writer
        .queue_response(&ResponseOut {
            status,
            headers: &headers,
            framing,
            hops,
        })
        .unwrap();
}

const CHUNKED_HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn head_and_first_data_leave_in_one_write() {
    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, BodyFraming::Chunked, &[]);
    let big = Bytes::from(vec![b'x'; 5000]);
    let body = script([Step::Data(big.clone()), text("small")]);
    let written = writer.write_body(BodyFraming::Chunked, body).await.unwrap();
    assert_eq!(
        written,
        Written {
            data: 5005,
            dropped_trailers: 0
        }
    );
    let wire = writer.into_inner();
    let expected = [
        CHUNKED_HEAD.as_bytes(),
        b"1388\r\n",
        &big,
        b"\r\n5\r\nsmall\r\n0\r\n\r\n",
    ]
    .concat();
    assert_eq!(wire.writes, [expected]);
    assert_eq!(wire.flushes, 1);
}

#[tokio::test]
async fn an_event_leaves_while_the_body_waits() {
    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, BodyFraming::Chunked, &[]);
    let body = script([
        Step::Wait,
        text("a"),
        Step::Wait,
        text("b"),
        text("c"),
        Step::Wait,
        Step::Wait,
    ]);
    writer.write_body(BodyFraming::Chunked, body).await.unwrap();
    let wire = writer.into_inner();
    let expected = [
        CHUNKED_HEAD,
        "1\r\na\r\n",
        "1\r\nb\r\n1\r\nc\r\n",
        "0\r\n\r\n",
    ];
    assert_eq!(wire.writes, expected.map(|part| part.as_bytes().to_vec()));
    assert_eq!(
        wire.flushes, 4,
        "once a batch, and not when there is nothing new"
    );
}

#[tokio::test]
async fn short_writes_lose_and_double_nothing() {
    for (most, vectored) in [
        (1, true),
        (7, true),
        (1500, true),
        (7, false),
        (usize::MAX, false),
    ] {
        let mut writer = Writer::new(Wire {
            most,
            vectored,
            ..Wire::new()
        });
        respond(&mut writer, BodyFraming::Chunked, &[]);
        let pieces: Vec<Vec<u8>> = (1..60_u8).map(|n| vec![n; usize::from(n) * 37]).collect();
        let body = script(pieces.iter().map(|piece| Step::Data(piece.clone().into())));
        writer.write_body(BodyFraming::Chunked, body).await.unwrap();
        let all = writer.into_inner().all();
        let mut rest = BytesMut::from(&all[CHUNKED_HEAD.len()..]);
        let (mut decoder, mut data) = (ChunkDecoder::new(HeadLimits::default()), Vec::new());
        while let Some(ChunkEvent::Data(piece)) = decoder.decode(&mut rest).unwrap() {
            data.extend_from_slice(&piece);
        }
        assert!(decoder.is_done() && rest.is_empty());
        assert_eq!(data, pieces.concat());
    }
}

#[tokio::test]
async fn a_blocked_transport_holds_the_body_back() {
    let mut writer = Writer::new(Wire {
        room: 0,
        ..Wire::new()
    });
    respond(&mut writer, BodyFraming::Length(100 * 16 * 1024), &[]);
    let chunk = Bytes::from(vec![0; 16 * 1024]);
    let mut body = script((0..100).map(|_| Step::Data(chunk.clone())));
    {
        let mut write = pin!(writer.write_body(BodyFraming::Length(100 * 16 * 1024), &mut body));
        for _ in 0..5 {
            assert!(
                write
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
    }
    assert!(body.0.len() >= 95, "{} frames left", body.0.len());
}

#[tokio::test]
async fn a_declared_length_is_kept_to() {
    let five = BodyFraming::Length(5);
    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, five, &[]);
    let written = writer
        .write_body(five, script([text("abc"), text(""), text("de")]))
        .await
        .unwrap();
    assert_eq!(written.data, 5);
    assert!(
        writer
            .into_inner()
            .all()
            .ends_with(b"content-length: 5\r\n\r\nabcde")
    );

    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, five, &[]);
    let short = writer.write_body(five, script([text("abc")])).await;
    assert!(matches!(short, Err(WriteError::Short(2))));

    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, five, &[]);
    let long = writer
        .write_body(five, script([text("abc"), Step::Wait, text("def")]))
        .await;
    assert!(matches!(long, Err(WriteError::Long)));
    assert!(
        writer.into_inner().all().ends_with(b"\r\n\r\nabc"),
        "nothing past the length"
    );
}

#[tokio::test]
async fn a_failed_body_never_looks_complete() {
    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, BodyFraming::Chunked, &[]);
    let failed = writer
        .write_body(
            BodyFraming::Chunked,
            script([text("abc"), Step::Wait, Step::Fail]),
        )
        .await;
    assert!(matches!(failed, Err(WriteError::Body("failed"))));
    assert!(!writer.take_back(), "half of it has left");
    let all = writer.into_inner().all();
    assert!(all.ends_with(b"3\r\nabc\r\n"), "{}", all.escape_ascii());
}

#[tokio::test]
async fn what_has_not_left_can_be_taken_back() {
    let mut writer = Writer::new(Wire::new());
    writer
        .queue_interim(StatusCode::CONTINUE, &HeaderMap::new())
        .unwrap();
    writer.flush().await.unwrap();
    respond(&mut writer, BodyFraming::Chunked, &[]);
    let failed = writer
        .write_body(BodyFraming::Chunked, script([text("abc"), Step::Fail]))
        .await;
    assert!(failed.is_err() && writer.take_back());
    respond(&mut writer, BodyFraming::Length(2), &[]);
    writer
        .write_body(BodyFraming::Length(2), script([text("no")]))
        .await
        .unwrap();
    let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
    assert_eq!(writer.into_inner().all(), expected.as_bytes());
}

#[tokio::test]
async fn half_an_interim_response_cannot_be_taken_back() {
    let mut writer = Writer::new(Wire {
        room: 3,
        ..Wire::new()
    });
    writer
        .queue_interim(StatusCode::CONTINUE, &HeaderMap::new())
        .unwrap();
    let waiting = pin!(writer.flush())
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending();
    respond(&mut writer, BodyFraming::Length(0), &[]);
    assert!(
        waiting && !writer.take_back(),
        "the agent has seen the start of the first"
    );
}

#[tokio::test]
async fn trailers_pass_if_declared_and_allowed() {
    let names = ["grpc-status", "authorization"].map(HeaderName::from_static);
    let trailers = map(&[
        ("grpc-status", "0"),
        ("authorization", "x"),
        ("x-other", "1"),
    ]);
    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, BodyFraming::Chunked, &names);
    let written = writer
        .write_body(
            BodyFraming::Chunked,
            script([text("a"), Step::Trailers(trailers.clone())]),
        )
        .await
        .unwrap();
    assert_eq!(written.dropped_trailers, 2);
    let expected = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\n\r\n";
    assert_eq!(writer.into_inner().all(), expected.as_bytes());

    let mut writer = Writer::new(Wire::new());
    respond(&mut writer, BodyFraming::Length(1), &names);
    let written = writer
        .write_body(
            BodyFraming::Length(1),
            script([text("a"), Step::Trailers(trailers)]),
        )
        .await
        .unwrap();
    assert_eq!(written.dropped_trailers, 3);
    assert!(
        writer
            .into_inner()
            .all()
            .ends_with(b"content-length: 1\r\n\r\na")
    );
}

#[tokio::test]
async fn where_no_body_may_be_none_is_written() {
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, status, expected) in [
        (&head, 200, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        (
            &get,
            304,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        ),
        (&get, 204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            &get,
            299,
            "HTTP/1.1 299 \r\ncontent-length: 7\r\n\r\n7 bytes",
        ),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let framing = BodyFraming::of_response(method, Version::Http11, status, Some(7));
        let mut writer = Writer::new(Wire::new());
        let headers = HeaderMap::new();
        let out = ResponseOut {
            status,
            headers: &headers,
            framing,
            hops: Hops::default(),
        };
        writer.queue_response(&out).unwrap();
        writer
            .write_body(framing, script([text("7 bytes")]))
            .await
            .unwrap();
        assert_eq!(writer.into_inner().all(), expected.as_bytes());
    }
}

#[tokio::test]
async fn old_agents_get_a_body_that_the_connection_ends() {
    let mut writer = Writer::new(Wire::new());
    let (headers, framing) = (map(&[("x", "y")]), BodyFraming::UntilClose);
    let hops = Hops {
        persist: Persist::Close,
        ..Hops::default()
    };
    let status = StatusCode::OK;
    let out = ResponseOut {
        status,
        headers: &headers,
        framing,
        hops,
    };
    writer.queue_response(&out).unwrap();
    writer
        .write_body(framing, script([text("a"), text("b")]))
        .await
        .unwrap();
    writer.shutdown().await.unwrap();
    let expected = "HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\nab";
    assert_eq!(writer.into_inner().all(), expected.as_bytes());
}

#[tokio::test]
async fn a_transport_that_takes_nothing_is_an_error() {
    let mut writer = Writer::new(Wire {
        most: 0,
        ..Wire::new()
    });
    respond(&mut writer, BodyFraming::Length(1), &[]);
    let failed = writer
        .write_body(BodyFraming::Length(1), script([text("a")]))
        .await;
    assert!(
        matches!(failed, Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::WriteZero)
    );
}

#[tokio::test]
async fn a_message_passes_from_reader_to_writer() {
    let request: &[u8] = b"POST /p?q HTTP/1.1\r\nX-A:  1 \r\nHost: a\r\nTrailer: x-t\r\n\
        Transfer-Encoding: Chunked\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\n\
        003\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 2\r\nHost: evil\r\n\r\n";
    let mut reader = Reader::new(request);
    let head = reader
        .read_request_head(&HeadLimits::default())
        .await
        .unwrap()
        .unwrap();
    let RequestTarget::Origin(target) = &head.target else {
        panic!("{head:?}");
    };
    let hops = Hops {
        trailers: &head.declared_trailers,
        ..Hops::default()
    };
    let framing = BodyFraming::from(head.framing);
    let (method, headers) = (&head.method, &head.headers);
    let out = RequestOut {
        method,
        target,
        host: "a",
        headers,
        framing,
        hops,
    };
    let mut writer = Writer::new(Wire::new());
    writer.queue_request(&out).unwrap();
    let written = writer.write_body(framing, reader.body()).await.unwrap();
    assert_eq!((written.data, reader.dropped_trailers()), (13, 1));
    assert!(reader.is_idle() && !reader.has_buffered());
    let expected = "POST /p?q HTTP/1.1\r\nhost: a\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\
        trailer: x-t\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\nx-t: 2\r\n\r\n";
    assert_eq!(writer.into_inner().all(), expected.as_bytes());
}

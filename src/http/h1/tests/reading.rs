//! Tests of the reader over a transport in memory.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::*;

fn pair() -> (DuplexStream, Reader<DuplexStream>) {
    let (peer, ours) = duplex(1 << 20);
    (peer, Reader::new(ours))
}

fn limits() -> HeadLimits {
    HeadLimits::default()
}

/// The rest of the body and its trailers.
async fn body<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
) -> Result<(Vec<u8>, HeaderMap), ReadError> {
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| reader.poll_body(cx)).await {
        match frame?.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    Ok((data, trailers))
}

fn idle_cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[tokio::test]
async fn pipelined_requests_stay_apart() {
    let (mut peer, mut reader) = pair();
    peer.write_all(
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\nGET /no HTTP/1.1\r\nHost: b\r\n\r\n\
          POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n\
          \r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
    )
    .await
    .unwrap();
    drop(peer);
    let mut seen = Vec::new();
    while let Some(head) = reader.read_request_head(&limits()).await.unwrap() {
        let (data, trailers) = body(&mut reader).await.unwrap();
        assert!(reader.is_idle());
        seen.push((head.target, data, trailers.len()));
    }
    let target = |path: &str| RequestTarget::Origin(path.into());
    assert_eq!(
        seen,
        [
            (
                target("/1"),
                b"GET /no HTTP/1.1\r\nHost: b\r\n\r\n".to_vec(),
                0
            ),
            (target("/2"), b"abc".to_vec(), 1),
            (target("/3"), Vec::new(), 0),
        ]
    );
}

#[tokio::test]
async fn a_head_may_come_octet_by_octet() {
    let (peer, ours) = duplex(1);
    let mut reader = Reader::new(ours);
    let send = tokio::spawn(async move {
        let mut peer = peer;
        peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyGET")
            .await
            .unwrap();
    });
    assert!(reader.wait_for_bytes().await.unwrap());
    let head = reader.read_request_head(&limits()).await.unwrap().unwrap();
    assert_eq!(head.framing, Framing::Length(2));
    assert_eq!(body(&mut reader).await.unwrap().0, b"xy");
    assert!(matches!(
        reader.read_request_head(&limits()).await,
        Err(ReadError::ClosedInHead)
    ));
    send.await.unwrap();
}

#[tokio::test]
async fn a_cut_body_is_never_complete() {
    for cut in [
        "Content-Length: 5\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let (mut peer, mut reader) = pair();
        peer.write_all(format!("HTTP/1.1 200 OK\r\n{cut}").as_bytes())
            .await
            .unwrap();
        drop(peer);
        reader
            .read_response_head(&limits(), &Method::GET)
            .await
            .unwrap()
            .unwrap();
        assert!(
            matches!(body(&mut reader).await, Err(ReadError::Truncated)),
            "{cut}"
        );
        // Nor does it look complete when asked again, and no head is read after it.
        assert!(
            matches!(body(&mut reader).await, Err(ReadError::Truncated)),
            "{cut}"
        );
        assert!(!reader.is_idle());
        let next = reader.read_response_head(&limits(), &Method::GET).await;
        assert!(matches!(next, Err(ReadError::OutOfTurn)));
    }
}

#[tokio::test]
async fn malformed_input_ends_the_connection() {
    let (mut peer, mut reader) = pair();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n")
        .await
        .unwrap();
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    let error = body(&mut reader).await.unwrap_err();
    assert!(matches!(error, ReadError::Chunk(ChunkError::Extension)));
    assert_eq!(error.agent_reason(), crate::error::Reason::Malformed);
    assert_eq!(
        error.upstream_reason(),
        crate::error::Reason::UpstreamMalformed
    );

    let (mut peer, mut reader) = pair();
    peer.write_all(b"GET / HTTP/1.1\n").await.unwrap();
    let error = reader.read_request_head(&limits()).await.unwrap_err();
    assert!(matches!(error, ReadError::Head(HeadError::BareLf)));
    assert!(matches!(
        reader.read_request_head(&limits()).await,
        Err(ReadError::OutOfTurn)
    ));
}

#[tokio::test]
async fn a_head_is_read_only_after_the_body() {
    let (mut peer, mut reader) = pair();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .await
        .unwrap();
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    assert!(matches!(
        reader.read_request_head(&limits()).await,
        Err(ReadError::OutOfTurn)
    ));
    assert_eq!(body(&mut reader).await.unwrap().0, b"x");
    assert!(reader.is_idle());
}

#[tokio::test]
async fn responses_follow_the_method_and_interim_heads() {
    let (mut peer, mut reader) = pair();
    peer.write_all(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n\
          HTTP/1.1 200 OK\r\n\r\nto the end",
    )
    .await
    .unwrap();
    drop(peer);
    let mut statuses = Vec::new();
    for method in [
        Method::HEAD,
        Method::HEAD,
        Method::HEAD,
        Method::GET,
        Method::GET,
    ] {
        let head = reader
            .read_response_head(&limits(), &method)
            .await
            .unwrap()
            .unwrap();
        statuses.push((
            head.status.as_u16(),
            body(&mut reader).await.unwrap().0.len(),
        ));
    }
    assert_eq!(
        statuses,
        [(100, 0), (103, 0), (200, 0), (304, 0), (200, 10)]
    );
    assert!(!reader.is_idle(), "the body took the connection with it");
}

#[tokio::test]
async fn after_101_the_bytes_belong_to_another_protocol() {
    let (mut peer, mut reader) = pair();
    peer.write_all(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
        .await
        .unwrap();
    let head = reader
        .read_response_head(&limits(), &Method::GET)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((head.framing, head.keep_alive), (Framing::Tunnel, false));
    assert!(!reader.is_idle());
    assert_eq!(&reader.into_parts().1[..], b"\x81\x00");
}

#[tokio::test]
async fn waiting_holds_no_memory() {
    let (mut peer, mut reader) = pair();
    let mut cx = idle_cx();
    assert!(reader.poll_stale(&mut cx).is_pending());
    assert_eq!(reader.allocated(), 0);
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    assert_eq!(reader.allocated(), 0);
    assert!(reader.poll_closed(&mut cx).is_pending());
    let pending = pin!(reader.read_request_head(&limits()))
        .poll(&mut cx)
        .is_pending();
    assert!(pending);
    assert_eq!(reader.allocated(), 0);
}

#[tokio::test]
async fn bulk_reads_grow_and_shrink_again() {
    let (mut peer, mut reader) = pair();
    let send = tokio::spawn(async move {
        peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
            .await
            .unwrap();
        peer.write_all(&vec![b'x'; 4_000_000]).await.unwrap();
        peer
    });
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    let (mut total, mut most, mut room) = (0, 0, 0);
    while let Some(frame) = poll_fn(|cx| reader.poll_body(cx)).await {
        let data = frame.unwrap().into_data().unwrap();
        total += data.len();
        most = most.max(data.len());
        room = room.max(reader.allocated());
    }
    assert_eq!(total, 4_000_000);
    assert!(most > 32 * 1024, "grew to {most}");
    assert!(room <= 128 * 1024, "took {room}");
    assert_eq!(reader.allocated(), 0);
    drop(send.await.unwrap());
}

#[tokio::test]
async fn the_agents_going_is_seen_and_its_pipelining_bounded() {
    let mut cx = idle_cx();
    let (mut peer, mut reader) = pair();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2")
        .await
        .unwrap();
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    assert!(reader.poll_closed(&mut cx).is_pending() && reader.has_buffered());
    drop(peer);
    assert_eq!(reader.poll_closed(&mut cx), Poll::Ready(Closed::Eof));

    let (mut peer, mut reader) = pair();
    peer.write_all(&vec![b'x'; 100_000]).await.unwrap();
    assert!(reader.poll_closed(&mut cx).is_pending());
    assert!(reader.allocated() < 64 * 1024);
    let (_, kept) = reader.into_parts();
    assert_eq!(kept.len(), 16 * 1024);
}

#[tokio::test]
async fn an_idle_server_connection_is_stale_at_any_byte() {
    let mut cx = idle_cx();
    let (mut peer, mut reader) = pair();
    assert!(reader.poll_stale(&mut cx).is_pending());
    peer.write_all(b"H").await.unwrap();
    assert_eq!(reader.poll_stale(&mut cx), Poll::Ready(Closed::Unasked));
    assert_eq!(reader.poll_stale(&mut cx), Poll::Ready(Closed::Unasked));
    let (peer, mut reader) = pair();
    drop(peer);
    assert_eq!(reader.poll_stale(&mut cx), Poll::Ready(Closed::Eof));
}

/// A transport that is reset after its bytes.
struct Reset(&'static [u8]);

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buf.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_reset_never_ends_a_body_in_order() {
    let mut reader = Reader::new(Reset(b"HTTP/1.1 200 OK\r\n\r\nhalf"));
    reader
        .read_response_head(&limits(), &Method::GET)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(body(&mut reader).await, Err(ReadError::Io(_))));
    assert!(!reader.is_idle());
    let gone = Reader::new(Reset(b"")).poll_closed(&mut idle_cx());
    assert_eq!(
        gone,
        Poll::Ready(Closed::Failed(io::ErrorKind::ConnectionReset))
    );
}

#[tokio::test]
async fn a_stray_crlf_is_no_message() {
    let mut cx = idle_cx();
    let (mut peer, mut reader) = pair();
    peer.write_all(b"\r\n").await.unwrap();
    assert!(pin!(reader.wait_for_bytes()).poll(&mut cx).is_pending());
    peer.write_all(b"G").await.unwrap();
    assert!(reader.wait_for_bytes().await.unwrap());
    let (mut peer, mut reader) = pair();
    peer.write_all(b"\r\n").await.unwrap();
    drop(peer);
    assert!(!reader.wait_for_bytes().await.unwrap());
    assert!(reader.read_request_head(&limits()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_body_knows_its_length() {
    use http_body::Body as _;
    let (mut peer, mut reader) = pair();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        .await
        .unwrap();
    reader.read_request_head(&limits()).await.unwrap().unwrap();
    assert_eq!(reader.body().size_hint().exact(), Some(5));
    poll_fn(|cx| reader.poll_body(cx)).await.unwrap().unwrap();
    assert_eq!(reader.body().size_hint().exact(), Some(3));
    assert!(!reader.body().is_end_stream());
    peer.write_all(b"cde").await.unwrap();
    assert_eq!(body(&mut reader).await.unwrap().0, b"cde");
    assert!(reader.body().is_end_stream());
}

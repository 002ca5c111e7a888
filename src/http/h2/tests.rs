//! Sending a body to its end.

use std::collections::VecDeque;

use http::{Request, Response};
use http_body::Body;

use super::*;

/// These frames of data; the last one is known as such.
struct Frames(VecDeque<&'static str>);

impl Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = self.0.pop_front().map(Bytes::from);
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the other side receives; it waits for the end of the stream.
async fn sent(frames: &[&'static str]) -> String {
    let (near, far) = tokio::io::duplex(4096);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let mut body = request.into_body();
        let mut all = Vec::new();
        while let Some(data) = body.data().await {
            all.extend_from_slice(&data.unwrap());
        }
        respond.send_response(Response::new(()), true).unwrap();
        String::from_utf8(all).unwrap()
    });
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::post("https://a.test/").body(()).unwrap();
    let (_response, mut stream) = client.send_request(request, false).unwrap();
    let frames = Frames(frames.iter().copied().collect());
    let limit = Duration::from_secs(30);
    send_body(&mut stream, frames, limit).await.unwrap();
    let received = tokio::time::timeout(limit, server).await;
    received.expect("the end of the stream").unwrap()
}

/// The stream was left open, and both sides waited for each other.
#[tokio::test]
async fn a_body_that_ends_with_an_empty_frame_ends() {
    assert_eq!(sent(&["some", ""]).await, "some");
    assert_eq!(sent(&[""]).await, "");
    assert_eq!(sent(&["some", "", "more"]).await, "somemore");
    assert_eq!(sent(&[]).await, "");
}

//! The server's side of one request, driven step by step by a script.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::bench::Version;
use crate::common::upstream::{Stream, fields, header_map};
use crate::common::wire::{Fields, field};
use crate::common::within;
use crate::h1::{Framing, H1};

pub type Script =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> + Send + Sync>;

/// One request at a server.
pub struct Call {
    pub version: Version,
    pub method: String,
    pub target: String,
    /// `:authority` or `Host`.
    pub authority: String,
    pub headers: Fields,
    /// Of the body, once it was read to its end.
    pub trailers: Fields,
    /// Which connection of this server it came on, counted from 0.
    pub connection: usize,
    /// For the answer, on HTTP/1.
    pub line: &'static str,
    leg: Leg,
}

enum Leg {
    H1 {
        io: Option<H1<Stream>>,
        back: Option<oneshot::Sender<H1<Stream>>>,
    },
    H2 {
        body: RecvStream,
        respond: h2::server::SendResponse<Bytes>,
        stream: Option<SendStream<Bytes>>,
    },
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// The next data of the request; `None` at its proper end.
    pub async fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.leg {
            Leg::H1 { io, .. } => {
                let io = io.as_mut().unwrap();
                let data = io.data().await?;
                if data.is_none() {
                    self.trailers.clone_from(&io.trailers);
                }
                Ok(data)
            }
            Leg::H2 { body, .. } => {
                let (data, trailers) = h2_data(body).await?;
                self.trailers.extend(trailers);
                Ok(data)
            }
        }
    }

    /// The rest of the request's body.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(data) = self.data().await? {
            all.extend(data);
        }
        Ok(all)
    }

    pub async fn interim(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1 { io, .. } => {
                let line = format!("HTTP/1.1 {status} Scripted");
                let io = io.as_mut().unwrap();
                io.write_head(&line, headers, Framing::Nothing).await
            }
            Leg::H2 { respond, .. } => {
                let head = response(status, headers);
                respond.send_informational(head).map_err(io::Error::other)
            }
        }
    }

    /// The final head.
    pub async fn answer(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        framing: Framing,
    ) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1 { io, .. } => {
                let line = format!("{} {status} Scripted", self.line);
                let io = io.as_mut().unwrap();
                io.write_head(&line, headers, framing).await
            }
            Leg::H2 {
                respond, stream, ..
            } => {
                let mut head = response(status, headers);
                if let Framing::Length(length) = framing {
                    head.headers_mut().insert("content-length", length.into());
                }
                let ends = framing == Framing::Nothing;
                let sent = respond
                    .send_response(head, ends)
                    .map_err(io::Error::other)?;
                *stream = Some(sent);
                Ok(())
            }
        }
    }

    /// A piece of the response; returns when the gateway has taken it, or has room for it.
    pub async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1 { io, .. } => io.as_mut().unwrap().write_data(data).await,
            Leg::H2 { stream, .. } => h2_send(stream.as_mut().unwrap(), data).await,
        }
    }

    /// The end of the response.
    pub async fn end(mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        self.end_answer(trailers).await?;
        self.done();
        Ok(())
    }

    /// The end of the response, while the request may go on.
    pub async fn end_answer(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1 { io, .. } => io.as_mut().unwrap().write_end(trailers).await,
            Leg::H2 { stream, .. } => h2_end(stream.as_mut().unwrap(), trailers),
        }
    }

    /// The end of the exchange: on HTTP/1 the next may begin.
    pub fn done(mut self) {
        if let Leg::H1 { io, back } = &mut self.leg {
            let _ = back.take().unwrap().send(io.take().unwrap());
        }
    }

    /// Head, body and end.
    pub async fn reply(
        mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        self.answer(status, headers, Framing::Length(body.len()))
            .await?;
        if !body.is_empty() {
            self.send(body).await?;
        }
        self.end(&[]).await
    }

    /// The end of the response, and on HTTP/2 a reset that says that nothing is wrong.
    pub fn end_and_reset(mut self) -> io::Result<()> {
        let Leg::H2 { stream, .. } = &mut self.leg else {
            panic!("HTTP/1 has no such thing");
        };
        h2_end(stream.as_mut().unwrap(), &[])
        // With the last handle `h2` resets a stream whose request it has not read, by the
        // code that RFC 9113 section 8.1 names.
    }

    /// Breaks the exchange off: closes the connection on HTTP/1, resets on HTTP/2.
    pub fn cut(mut self, code: Reason) {
        if let Leg::H2 {
            respond, stream, ..
        } = &mut self.leg
        {
            match stream {
                Some(stream) => stream.send_reset(code),
                None => respond.send_reset(code),
            }
        }
    }

    /// Waits until the gateway gives this exchange up: by closing the connection on HTTP/1,
    /// by a reset on HTTP/2, whose code is returned.
    pub async fn given_up(&mut self) -> Option<Reason> {
        match &mut self.leg {
            Leg::H1 { io, .. } => {
                io.as_mut().unwrap().closed().await;
                None
            }
            Leg::H2 {
                respond, stream, ..
            } => {
                let reset = poll_fn(|cx| match stream {
                    Some(stream) => stream.poll_reset(cx),
                    None => respond.poll_reset(cx),
                });
                within("reset of the stream", reset).await.ok()
            }
        }
    }
}

fn response(status: u16, headers: &[(&str, &str)]) -> http::Response<()> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// The next data of a stream, or its end with its trailers.
pub async fn h2_data(body: &mut RecvStream) -> io::Result<(Option<Vec<u8>>, Fields)> {
    if let Some(data) = within("DATA", body.data()).await {
        let data = data.map_err(io::Error::other)?;
        let _ = body.flow_control().release_capacity(data.len());
        return Ok((Some(data.to_vec()), Vec::new()));
    }
    let trailers = within("trailers", body.trailers()).await;
    let trailers = trailers.map_err(io::Error::other)?;
    Ok((None, trailers.as_ref().map(fields).unwrap_or_default()))
}

/// Sends as the window allows.
pub async fn h2_send(stream: &mut SendStream<Bytes>, data: &[u8]) -> io::Result<()> {
    let mut data = Bytes::copy_from_slice(data);
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = within("window", poll_fn(|cx| stream.poll_capacity(cx))).await;
        let granted = granted.ok_or(io::ErrorKind::BrokenPipe)?;
        let granted = granted.map_err(io::Error::other)?;
        let piece = data.split_to(granted.min(data.len()));
        if !piece.is_empty() {
            stream.send_data(piece, false).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

pub fn h2_end(stream: &mut SendStream<Bytes>, trailers: &[(&str, &str)]) -> io::Result<()> {
    if trailers.is_empty() {
        // Fails where the head was the end already.
        let _ = stream.send_data(Bytes::new(), true);
        return Ok(());
    }
    let trailers = trailers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    stream
        .send_trailers(header_map(&trailers))
        .map_err(io::Error::other)
}

/// One request after the other.
pub async fn serve_h1(stream: Stream, script: Script) -> io::Result<()> {
    let connection = stream.index;
    let mut io = H1::new(stream);
    while let Some((line, headers)) = io.head().await? {
        let mut words = line.split(' ').map(str::to_owned);
        io.expect_body(&headers, false, false);
        let (back, returned) = oneshot::channel();
        let call = Call {
            version: Version::H1,
            method: words.next().unwrap(),
            target: words.next().unwrap(),
            authority: field(&headers, "host").unwrap_or_default().to_owned(),
            headers,
            trailers: Vec::new(),
            connection,
            line: "HTTP/1.1",
            leg: Leg::H1 {
                io: Some(io),
                back: Some(back),
            },
        };
        script(call).await?;
        let Ok(returned) = returned.await else {
            return Ok(());
        };
        io = returned;
    }
    Ok(())
}

/// Many at once.
pub async fn serve_h2(stream: Stream, streams: u32, script: Script) -> io::Result<()> {
    let connection = stream.index;
    let mut builder = h2::server::Builder::new();
    // The connection's window is no bottleneck, so that only the streams' windows count.
    builder.initial_connection_window_size(1 << 26);
    builder.max_concurrent_streams(streams);
    let mut h2 = builder.handshake(stream).await.map_err(io::Error::other)?;
    while let Some(accepted) = h2.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        let (head, body) = request.into_parts();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let call = Call {
            version: Version::H2,
            method: head.method.to_string(),
            target: text(head.uri.path_and_query().map(PathAndQuery::as_str)),
            authority: text(head.uri.authority().map(Authority::as_str)),
            headers: fields(&head.headers),
            trailers: Vec::new(),
            connection,
            line: "HTTP/2",
            leg: Leg::H2 {
                body,
                respond,
                stream: None,
            },
        };
        if call.header("x-go-away").is_some() {
            h2.graceful_shutdown();
        }
        tokio::spawn(script(call));
    }
    Ok(())
}

/// Frame by frame: greets, and answers the first request by `GOAWAY` with 0 as the last stream
/// that counts. (The `h2` crate's own names the last stream it has seen.)
pub async fn go_away_h2(mut stream: Stream) -> io::Result<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&SETTINGS).await?;
    stream.write_all(&ACK).await?;
    stream.flush().await?;
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await?;
        let [_, high, low, kind, ..] = frame;
        let mut payload = vec![0; usize::from(high) * 256 + usize::from(low)];
        stream.read_exact(&mut payload).await?;
        if kind == HEADERS {
            break;
        }
    }
    stream.write_all(&GOAWAY).await?;
    stream.flush().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

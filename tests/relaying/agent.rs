//! The agent's side of one exchange after the other, driven step by step.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::net::TcpStream;

use crate::bench::{Legs, Version};
use crate::common::client::{Tls, TlsStream};
use crate::common::upstream::fields;
use crate::common::wire::{Fields, field};
use crate::common::within;
use crate::h1::{Framing, H1};
use crate::server::{h2_data, h2_end, h2_send};

/// What an agent needs to reach the server of some legs.
#[derive(Clone)]
pub struct Dial {
    pub legs: Legs,
    pub host: &'static str,
    pub(crate) address: IpAddr,
    pub(crate) tls: Tls,
}

impl Dial {
    /// A connection to the server, through the gateway.
    pub async fn connect(&self) -> Agent {
        let stream = self.tls.connect((self.address, 443), self.host).await;
        let stream = stream.unwrap_or_else(|error| panic!("{}: {error}", self.legs));
        let leg = match self.legs.agent {
            Version::H1 => Leg::H1(H1::new(stream)),
            Version::H2 => Leg::h2(stream).await,
        };
        Agent {
            host: self.host,
            version: "HTTP/1.1",
            interims: Vec::new(),
            trailers: Vec::new(),
            method: String::new(),
            leg,
        }
    }
}

/// A connection, and the exchange on it.
pub struct Agent {
    host: &'static str,
    /// For HTTP/1.
    pub version: &'static str,
    /// 1xx responses that came before the head.
    pub interims: Vec<Head>,
    /// Of the response, once it was read to its end.
    pub trailers: Fields,
    method: String,
    leg: Leg,
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Fields,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }
}

enum Leg {
    H1(H1<TlsStream<TcpStream>>),
    H2 {
        sender: SendRequest<Bytes>,
        stream: Option<SendStream<Bytes>>,
        response: Option<ResponseFuture>,
        body: Option<RecvStream>,
    },
}

impl Leg {
    async fn h2(stream: TlsStream<TcpStream>) -> Self {
        // The connection's window is no bottleneck, so that only the streams' windows count.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 26);
        let greeting = within("HTTP/2 greeting", builder.handshake(stream)).await;
        let (sender, connection) = greeting.unwrap();
        tokio::spawn(connection);
        Self::stream(sender)
    }

    fn stream(sender: SendRequest<Bytes>) -> Self {
        Self::H2 {
            sender,
            stream: None,
            response: None,
            body: None,
        }
    }
}

impl Agent {
    /// Another exchange on the same HTTP/2 connection.
    pub fn another(&self) -> Self {
        let Leg::H2 { sender, .. } = &self.leg else {
            panic!("HTTP/1 has one exchange at a time");
        };
        Self {
            host: self.host,
            version: self.version,
            interims: Vec::new(),
            trailers: Vec::new(),
            method: String::new(),
            leg: Leg::stream(sender.clone()),
        }
    }

    /// Sends a request's head.
    pub async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        framing: Framing,
    ) -> io::Result<()> {
        self.interims.clear();
        self.trailers.clear();
        method.clone_into(&mut self.method);
        match &mut self.leg {
            Leg::H1(io) => {
                let mut headers = headers.to_vec();
                headers.insert(0, ("host", self.host));
                let line = format!("{method} {target} {}", self.version);
                io.write_head(&line, &headers, framing).await
            }
            Leg::H2 {
                sender,
                stream,
                response,
                body,
            } => {
                let uri = http::Uri::builder()
                    .scheme("https")
                    .authority(self.host)
                    .path_and_query(target);
                let mut request = http::Request::builder()
                    .method(method)
                    .uri(uri.build().unwrap());
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                if let Framing::Length(length) = framing {
                    request = request.header("content-length", length);
                }
                let request = request.body(()).unwrap();
                let mut ready = within("stream", sender.clone().ready()).await;
                let ready = ready
                    .as_mut()
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let ends = framing == Framing::Nothing;
                let sent = ready.send_request(request, ends);
                let (future, sending) = sent.map_err(io::Error::other)?;
                (*response, *stream, *body) = (Some(future), Some(sending), None);
                Ok(())
            }
        }
    }

    /// A piece of the request's body.
    pub async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1(io) => io.write_data(data).await,
            Leg::H2 { stream, .. } => h2_send(stream.as_mut().unwrap(), data).await,
        }
    }

    /// The end of the request.
    pub async fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        match &mut self.leg {
            Leg::H1(io) => io.write_end(trailers).await,
            Leg::H2 { stream, .. } => h2_end(stream.as_mut().unwrap(), trailers),
        }
    }

    /// Waits for one interim response.
    pub async fn interim(&mut self) -> io::Result<Head> {
        let (head, last) = self.any_head().await?;
        assert!(!last, "no interim response but {head:?}");
        self.interims.push(head.clone());
        Ok(head)
    }

    /// Waits for the final head.
    pub async fn head(&mut self) -> io::Result<Head> {
        loop {
            let (head, last) = self.any_head().await?;
            if last {
                return Ok(head);
            }
            self.interims.push(head);
        }
    }

    async fn any_head(&mut self) -> io::Result<(Head, bool)> {
        match &mut self.leg {
            Leg::H1(io) => {
                let head = io.head().await?;
                let (line, headers) = head.ok_or(io::ErrorKind::UnexpectedEof)?;
                let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
                let last = status >= 200;
                let bodiless = self.method == "HEAD" || [204, 304].contains(&status);
                io.expect_body(&headers, bodiless || !last, true);
                Ok((Head { status, headers }, last))
            }
            Leg::H2 { response, body, .. } => {
                let response = response.as_mut().unwrap();
                let next = poll_fn(|cx| {
                    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                        return Poll::Ready(interim.map(|head| (head, None)));
                    }
                    let done = Pin::new(&mut *response).poll(cx);
                    done.map_ok(|response| {
                        let (parts, body) = response.into_parts();
                        (http::Response::from_parts(parts, ()), Some(body))
                    })
                });
                let (head, stream) = within("head", next).await.map_err(io::Error::other)?;
                let last = stream.is_some();
                if last {
                    *body = stream;
                }
                let head = Head {
                    status: head.status().as_u16(),
                    headers: fields(head.headers()),
                };
                Ok((head, last))
            }
        }
    }

    /// The next data of the response; `None` at its proper end.
    pub async fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.leg {
            Leg::H1(io) => {
                let data = io.data().await?;
                if data.is_none() {
                    self.trailers.clone_from(&io.trailers);
                }
                Ok(data)
            }
            Leg::H2 { body, .. } => {
                let (data, trailers) = h2_data(body.as_mut().unwrap()).await?;
                self.trailers.extend(trailers);
                Ok(data)
            }
        }
    }

    /// Reads until exactly `wanted` came.
    pub async fn expect(&mut self, wanted: &[u8]) {
        let mut got = Vec::new();
        while got.len() < wanted.len() {
            got.extend(self.data().await.unwrap().expect("more of the response"));
        }
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(wanted)
        );
    }

    /// The rest of the response's body.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(data) = self.data().await? {
            all.extend(data);
        }
        Ok(all)
    }

    /// A whole exchange: head and body of the response.
    pub async fn exchange(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(Head, Vec<u8>)> {
        let framing = match body {
            [] => Framing::Nothing,
            body => Framing::Length(body.len()),
        };
        self.ask(method, target, headers, framing).await?;
        if !body.is_empty() {
            self.send(body).await?;
            self.end(&[]).await?;
        }
        let head = self.head().await?;
        let body = self.rest().await?;
        Ok((head, body))
    }

    /// `GET`, as a whole exchange.
    pub async fn get(&mut self, target: &str) -> io::Result<(Head, Vec<u8>)> {
        self.exchange("GET", target, &[], b"").await
    }

    /// Gives the exchange up: closes the connection on HTTP/1, resets the stream on HTTP/2.
    pub fn give_up(self) {
        if let Leg::H2 {
            stream: Some(mut stream),
            ..
        } = self.leg
        {
            stream.send_reset(Reason::CANCEL);
        }
    }

    /// Closes its own direction in order and reads on; HTTP/1 only.
    pub async fn close_half(&mut self) {
        let Leg::H1(io) = &mut self.leg else {
            panic!("HTTP/2 closes half of a stream");
        };
        io.close_half().await;
    }

    /// Sends exactly these bytes; HTTP/1 only.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Leg::H1(io) = &mut self.leg else {
            panic!("HTTP/2 has frames");
        };
        io.write(bytes).await
    }

    /// Waits until the gateway closes; HTTP/1 only.
    pub async fn closed(&mut self) {
        let Leg::H1(io) = &mut self.leg else {
            panic!("an HTTP/2 stream ends otherwise");
        };
        io.closed().await;
    }
}

/// The code of the reset that `error` tells of.
pub fn code(error: &io::Error) -> Option<Reason> {
    error.get_ref()?.downcast_ref::<h2::Error>()?.reason()
}

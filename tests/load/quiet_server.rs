//! A server that counts and keeps nothing: `GET /BYTES` answers with so many bytes, `POST`
//! reads a body of any length and answers with its length.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::SECRET;
use crate::common::World;
use crate::common::world::SERVER;

/// One piece of a body.
pub const PIECE: usize = 64 * 1024;

/// What it counts.
#[derive(Default)]
pub struct Counts {
    /// Requests with the credential.
    pub requests: AtomicU64,
    /// Bytes of bodies that it has sent off.
    pub sent: AtomicU64,
}

/// Starts it as `good.test`, with HTTP/2 or without.
pub fn start(world: &World, h2: bool) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    let mut config = world.ca.server(&["good.test"]);
    if !h2 {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let tls = TlsAcceptor::from(Arc::new(config));
    for address in SERVER {
        let (tls, counts) = (tls.clone(), counts.clone());
        let address = SocketAddr::from((address, 443));
        let listener = world
            .internet
            .block_on(async move { TcpListener::bind(address).await.unwrap() });
        world.internet.spawn_task(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(tls.clone(), stream, counts.clone()));
            }
        });
    }
    counts
}

async fn connection(tls: TlsAcceptor, stream: TcpStream, counts: Arc<Counts>) {
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    // How a connection ends is the client's affair.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let _ = serve_h2(stream, counts).await;
    } else {
        let _ = serve_h1(stream, counts).await;
    }
}

async fn serve_h1(stream: TlsStream<TcpStream>, counts: Arc<Counts>) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(PIECE, stream);
    loop {
        let (mut target, mut length, mut chunked) = (String::new(), 0, false);
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            match text.split_once(": ") {
                None => target = text.split(' ').nth(1).unwrap().to_owned(),
                Some((name, value)) => match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "transfer-encoding" => chunked = true,
                    "x-api-key" if value == SECRET => {
                        counts.requests.fetch_add(1, Relaxed);
                    }
                    _ => {}
                },
            }
        }
        let received = if chunked {
            read_chunks(&mut stream).await?
        } else {
            discard(&mut stream, length).await?;
            length
        };
        let size = size(&target);
        let text = received.to_string();
        let declared = if size > 0 { size } else { text.len() as u64 };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {declared}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        if size == 0 {
            stream.write_all(text.as_bytes()).await?;
        }
        let piece = vec![b'x'; PIECE];
        let mut left = size;
        while left > 0 {
            let now = left.min(PIECE as u64);
            stream.write_all(&piece[..now.try_into().unwrap()]).await?;
            counts.sent.fetch_add(now, Relaxed);
            left -= now;
        }
        stream.flush().await?;
    }
}

/// `/BYTES`; any other path is for none.
fn size(path: &str) -> u64 {
    let number = path.strip_prefix('/').map(str::parse);
    number.and_then(Result::ok).unwrap_or(0)
}

async fn read_chunks(stream: &mut BufReader<TlsStream<TcpStream>>) -> std::io::Result<u64> {
    let mut all = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let size = u64::from_str_radix(line.trim_end(), 16).unwrap();
        discard(stream, size + 2).await?;
        if size == 0 {
            return Ok(all);
        }
        all += size;
    }
}

async fn discard(stream: &mut BufReader<TlsStream<TcpStream>>, length: u64) -> std::io::Result<()> {
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink())
        .await
        .map(drop)
}

async fn serve_h2(stream: TlsStream<TcpStream>, counts: Arc<Counts>) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .max_send_buffer_size(PIECE)
        .handshake(stream)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(exchange(request, respond, counts.clone()));
    }
    Ok(())
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    counts: Arc<Counts>,
) -> Result<(), h2::Error> {
    if request
        .headers()
        .get("x-api-key")
        .is_some_and(|value| value == SECRET)
    {
        counts.requests.fetch_add(1, Relaxed);
    }
    let size = size(request.uri().path());
    let mut body = request.into_body();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
        received += length as u64;
    }
    if size == 0 {
        let mut stream = respond.send_response(Response::new(()), false)?;
        return stream.send_data(received.to_string().into(), true);
    }
    let response = Response::builder().header("content-length", size);
    let mut stream = respond.send_response(response.body(()).unwrap(), false)?;
    send_bytes(&mut stream, size, |sent| {
        counts.sent.fetch_add(sent, Relaxed);
    })
    .await
}

/// Sends a body of so many bytes, no faster than the other side takes them.
pub async fn send_bytes(
    stream: &mut SendStream<Bytes>,
    mut left: u64,
    mut sent: impl FnMut(u64),
) -> Result<(), h2::Error> {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    while left > 0 {
        let wanted: usize = left.min(PIECE as u64).try_into().unwrap();
        stream.reserve_capacity(wanted);
        let Some(granted) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let now = granted?.min(wanted);
        stream.send_data(piece.slice(..now), false)?;
        sent(now as u64);
        left -= now as u64;
    }
    stream.send_data(Bytes::new(), true)
}

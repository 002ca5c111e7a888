//! HTTP/1 piece by piece, for both sides: heads, then data as it comes.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::common::wire::{Fields, field, find};
use crate::common::within;

/// How the body that is being read goes on.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Length(usize),
    Chunks,
    UntilClose,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body and no field about one.
    Nothing,
    Length(usize),
    /// In chunks; DATA frames of undeclared length on HTTP/2.
    Chunked,
    /// Up to the end of the connection; as `Chunked` on HTTP/2.
    Close,
}

/// A connection on which heads and bodies are read and written.
pub struct H1<S> {
    stream: S,
    buffer: BytesMut,
    left: Left,
    out: Framing,
    /// Trailers of the body that was read last.
    pub trailers: Fields,
}

impl<S: AsyncRead + AsyncWrite + Unpin> H1<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            left: Left::Nothing,
            out: Framing::Nothing,
            trailers: Vec::new(),
        }
    }

    /// The next start line and its fields; `None` if the other side closed instead.
    pub async fn head(&mut self) -> io::Result<Option<(String, Fields)>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 4);
                let (line, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
                return Ok(Some((line.to_owned(), fields(rest))));
            }
            if self.fill().await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What follows is the body of a message with these fields; `none` for a message that
    /// has none whatever they say, `until_close` where their absence means that.
    pub fn expect_body(&mut self, headers: &Fields, none: bool, until_close: bool) {
        self.trailers.clear();
        let length = field(headers, "content-length").map(|length| length.parse().unwrap());
        self.left = match (none, field(headers, "transfer-encoding"), length) {
            (true, _, _) => Left::Nothing,
            (_, Some(_), _) => Left::Chunks,
            (_, _, Some(length)) => Left::Length(length),
            (_, _, None) if until_close => Left::UntilClose,
            (_, _, None) => Left::Nothing,
        };
    }

    /// The next data of the body; `None` at its proper end.
    pub async fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.left {
            Left::Nothing | Left::Length(0) => Ok(None),
            Left::Length(length) => {
                let data = self.some(length).await?;
                self.left = Left::Length(length - data.len());
                Ok(Some(data))
            }
            Left::Chunks => self.chunk().await,
            Left::UntilClose => {
                if self.buffer.is_empty() && self.fill().await? == 0 {
                    return Ok(None);
                }
                Ok(Some(self.buffer.split().to_vec()))
            }
        }
    }

    /// One whole chunk.
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line().await?, 16).expect("a chunk size");
        if size > 0 {
            while self.buffer.len() < size + 2 {
                self.more().await?;
            }
            let data = self.buffer.split_to(size).to_vec();
            assert_eq!(self.line().await?, "");
            return Ok(Some(data));
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                self.left = Left::Nothing;
                return Ok(None);
            }
            self.trailers.extend(fields(&line));
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.more().await?;
        }
    }

    async fn some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        let length = most.min(self.buffer.len());
        Ok(self.buffer.split_to(length).to_vec())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(64 * 1024);
        let read = within("read", self.stream.read_buf(&mut self.buffer)).await;
        match read {
            // A TLS connection closed without a close_notify has ended as well.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }

    /// Waits until the other side closes or resets; what still comes is dropped.
    pub async fn closed(&mut self) {
        while let Ok(1..) = self.fill().await {
            self.buffer.clear();
        }
    }

    /// Writes a start line and fields, and those that announce the body.
    pub async fn write_head(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        framing: Framing,
    ) -> io::Result<()> {
        use std::fmt::Write;
        let mut text = format!("{line}\r\n");
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => write!(text, "content-length: {length}\r\n").unwrap(),
            Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n"),
            Framing::Close => text.push_str("connection: close\r\n"),
        }
        text.push_str("\r\n");
        self.out = framing;
        self.write(text.as_bytes()).await
    }

    /// Writes a piece of the body.
    pub async fn write_data(&mut self, data: &[u8]) -> io::Result<()> {
        if self.out != Framing::Chunked {
            return self.write(data).await;
        }
        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
        chunk.extend_from_slice(data);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk).await
    }

    /// Ends the body.
    pub async fn write_end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        match self.out {
            Framing::Chunked => {
                let mut text = "0\r\n".to_owned();
                for (name, value) in trailers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                self.write(format!("{text}\r\n").as_bytes()).await
            }
            Framing::Close => within("shutdown", self.stream.shutdown()).await,
            Framing::Nothing | Framing::Length(_) => Ok(()),
        }
    }

    /// Ends this direction: `close_notify`, then FIN.
    pub async fn close_half(&mut self) {
        within("shutdown", self.stream.shutdown()).await.unwrap();
    }

    /// Writes exactly these bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("write", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }
}

fn fields(text: &str) -> Fields {
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

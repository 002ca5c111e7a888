//! HTTP/2 frame by frame, for what no library would send (RFC 9113 section 4).

use std::io;

use crate::lab::{Agents, Client, Who};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A header block, in order, nothing checked.
pub type Block<'a> = &'a [(&'a [u8], &'a [u8])];

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which anything can be sent.
pub struct Raw<'w>(pub Client<'w>);

impl<'w> Raw<'w> {
    /// Greets, with the largest windows there are.
    pub fn new(agents: &Agents<'w>, who: Who, name: &'static str) -> Self {
        let mut client = agents.tls(who, name, &["h2"]).unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        client.send(bytes).unwrap();
        Self(client)
    }

    /// Sends a header block on a stream.
    pub fn headers(&mut self, stream: u32, block: Block<'_>, ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        let _ = self.0.send(frame(HEADERS, flags, stream, &encode(block)));
    }

    /// Sends data on a stream.
    pub fn data(&mut self, stream: u32, data: &[u8], ends: bool) {
        let flags = if ends { END_STREAM } else { 0 };
        let _ = self.0.send(frame(DATA, flags, stream, data));
    }

    /// Resets a stream with CANCEL.
    pub fn reset(&mut self, stream: u32) {
        let _ = self.0.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }

    /// Reads the next frame; an error at the end of the connection.
    pub fn next(&mut self) -> io::Result<Frame> {
        let head = self.0.read_exact(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.0.read_exact(length as usize)?,
        })
    }

    /// What becomes of a stream: its response's head, its reset, or the connection's end
    /// (`None`).
    pub fn fate(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().ok()?;
            match frame.kind {
                HEADERS | RST_STREAM if frame.stream == stream => return Some(frame),
                GOAWAY => return None,
                _ => {}
            }
        }
    }
}

/// A request head for `good.test` with more fields.
pub fn request<'a>(path: &'a [u8], more: &[(&'a [u8], &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut block: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"good.test"),
        (b":path", path),
    ];
    block.extend_from_slice(more);
    block
}

/// A GET without a body.
pub fn get<'a>(name: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", name.as_bytes()),
        (b":path", path.as_bytes()),
    ]
}

/// Literal fields without indexing and without Huffman coding (RFC 7541 section 6.2.2).
pub fn encode(block: Block<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in block {
        bytes.push(0);
        for text in [name, value] {
            length(text.len(), &mut bytes);
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(value: usize, bytes: &mut Vec<u8>) {
    let Some(mut rest) = value.checked_sub(127) else {
        bytes.push(u8::try_from(value).unwrap());
        return;
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

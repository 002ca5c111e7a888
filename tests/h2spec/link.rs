//! A connection on which frames are written by hand, and what came back.

use crate::frames::{self, DATA, Frame, GOAWAY, HEADERS, RST_STREAM, Raw, SETTINGS};
use crate::lab::{Agents, Alice};

pub const PRIORITY: u8 = 2;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags: `END_STREAM` (or `ACK`), `END_HEADERS`, `PADDED`, `PRIORITY`.
pub const ES: u8 = 1;
pub const ACK: u8 = 1;
pub const EH: u8 = 4;
pub const PAD: u8 = 8;
pub const PRIO: u8 = 32;

pub const PROTOCOL: u32 = 1;
pub const FLOW_CONTROL: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION: u32 = 9;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What must come of a case.
#[derive(Debug)]
pub enum Expect {
    /// 200 on this stream.
    Answer(u32),
    /// A PING sent after all is answered: the connection lives.
    Alive,
    /// SETTINGS of the server's own.
    Settings,
    /// An acknowledgement of ours.
    Acked,
    /// GOAWAY with one of these codes, or the end.
    Connection(&'static [u32]),
    /// `RST_STREAM` on this stream with one of these codes, GOAWAY with one of them, or the end.
    Stream(u32, &'static [u32]),
    /// As `Stream` with `PROTOCOL_ERROR`, or an answer other than 200; and the server gets nothing.
    Refused(u32),
    /// The first DATA on this stream has this length.
    Data(u32, usize),
}

/// A connection of the agent's.
pub struct Link<'w> {
    pub raw: Raw<'w>,
    /// Of this case's requests.
    pub path: String,
    seen: Vec<Frame>,
}

impl<'w> Link<'w> {
    /// TLS and the preface, unless that is what the case is about.
    pub fn new(agents: &Agents<'w>, id: &str) -> Self {
        let client = agents.tls(Alice, "good.test", &["h2"]).unwrap();
        let mut link = Self {
            raw: Raw(client),
            path: format!("/{}", id.replace('/', "-")),
            seen: Vec::new(),
        };
        if !id.starts_with("http2/3.5") {
            link.preface();
        }
        link
    }

    pub fn preface(&mut self) {
        self.bytes(PREFACE);
        self.frame(SETTINGS, 0, 0, &[]);
    }

    /// Whatever is not taken is the server's answer, too.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.raw.0.send(bytes);
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.bytes(&frames::frame(kind, flags, stream, payload));
    }

    /// The fields of a request, encoded without indexing.
    pub fn block(&self, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut fields = vec![
            (":method", method),
            (":scheme", "https"),
            (":authority", "good.test"),
            (":path", self.path.as_str()),
        ];
        fields.extend_from_slice(more);
        block(&fields)
    }

    pub fn get(&mut self, stream: u32) {
        let block = self.block("GET", &[]);
        self.frame(HEADERS, EH | ES, stream, &block);
    }

    /// A request whose body is to come.
    pub fn post(&mut self, stream: u32) {
        let block = self.block("POST", &[]);
        self.frame(HEADERS, EH, stream, &block);
    }

    /// A request of exactly these fields.
    pub fn fields(&mut self, fields: &[(&str, &str)]) {
        let block = block(fields);
        self.frame(HEADERS, EH | ES, 1, &block);
    }

    pub fn setting(&mut self, id: u16, value: u32) {
        let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        self.frame(SETTINGS, 0, 0, &payload);
    }

    pub fn window(&mut self, stream: u32, by: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    }

    /// Reads until the response on this stream is over.
    pub fn wait_end(&mut self, stream: u32) {
        loop {
            let frame = self.raw.next().expect("the response's end");
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & ES != 0;
            if frame.stream == stream && ends {
                return;
            }
        }
    }

    /// Whether what is expected comes; else all that came. `unlike`: the end of the connection
    /// with `PROTOCOL_ERROR` will do for any error.
    pub fn outcome(&mut self, expect: &Expect, unlike: bool) -> Result<(), String> {
        if matches!(expect, Expect::Alive) {
            self.frame(PING, 0, 0, b"h2spec!!");
        }
        loop {
            let Ok(frame) = self.raw.next() else {
                return match expect {
                    Expect::Connection(_) | Expect::Stream(..) | Expect::Refused(_) => Ok(()),
                    _ => Err(format!("{:?}, and the end", self.seen)),
                };
            };
            let fails = matches!(expect, Expect::Connection(_) | Expect::Stream(..));
            if unlike && fails && frame.kind == GOAWAY && frame.payload.get(7) == Some(&1) {
                return Ok(());
            }
            let verdict = judge(expect, &frame);
            self.seen.push(frame);
            match verdict {
                Some(true) => return Ok(()),
                Some(false) => return Err(format!("{:?}", self.seen)),
                None => {}
            }
        }
    }
}

/// Whether this frame settles it, and how.
fn judge(expect: &Expect, frame: &Frame) -> Option<bool> {
    let code = |at: usize| {
        let bytes = frame.payload.get(at..at + 4).unwrap_or(&[0; 4]);
        u32::from_be_bytes(bytes.try_into().unwrap())
    };
    let of = |stream: u32| frame.stream == stream;
    match (expect, frame.kind) {
        (Expect::Connection(codes) | Expect::Stream(_, codes), GOAWAY) => {
            Some(codes.contains(&code(4)))
        }
        (Expect::Refused(_), GOAWAY) => Some(code(4) == PROTOCOL),
        (_, GOAWAY) => Some(false),
        (Expect::Stream(stream, codes), RST_STREAM) if of(*stream) => {
            Some(codes.contains(&code(0)))
        }
        (Expect::Refused(stream), RST_STREAM) if of(*stream) => Some(code(0) == PROTOCOL),
        (Expect::Refused(stream), HEADERS) if of(*stream) => Some(!is_ok(frame)),
        (Expect::Answer(stream), HEADERS) if of(*stream) => Some(is_ok(frame)),
        (Expect::Answer(stream) | Expect::Data(stream, _), RST_STREAM) if of(*stream) => {
            Some(false)
        }
        (Expect::Data(stream, length), DATA) if of(*stream) => Some(frame.payload.len() == *length),
        (Expect::Alive, PING) => Some(frame.flags == ACK && frame.payload == b"h2spec!!"),
        (Expect::Settings, SETTINGS) if frame.flags & ACK == 0 => Some(true),
        (Expect::Acked, SETTINGS) if frame.flags & ACK != 0 => Some(true),
        _ => None,
    }
}

/// `:status: 200` is one byte: its index in the static table.
fn is_ok(frame: &Frame) -> bool {
    frame.payload.first() == Some(&0x88)
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    frames::encode(&fields)
}

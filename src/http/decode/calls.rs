//! Calls of which each message is compressed for itself, behind a prefix that says whether it
//! is and how long it is: "Length-Prefixed-Message" of gRPC over HTTP/2, and the envelopes of
//! the Connect protocol, which are the same.

use std::io::{self, Write};
use std::sync::Arc;

use http::{HeaderMap, header};
use parking_lot::Mutex;

use super::coder::{Next, decoder};
use super::{Sink, Stop, Unscanned, View, stopped};

/// Flags, and a length in four bytes.
const PREFIX: usize = 5;
/// The message is compressed.
const COMPRESSED: u8 = 1;
/// It is the last, and holds what else stands in trailers: Connect, and gRPC-Web.
const LAST: u8 = 1 << 1 | 1 << 7;

/// What the headers say of the messages.
#[derive(Debug)]
pub(super) struct Calls {
    coding: Option<String>,
}

/// Takes messages apart.
pub(super) struct Messages {
    coding: Option<String>,
    view: Arc<Mutex<View>>,
    /// Whether what is not compressed is looked at, too.
    plain: bool,
    /// Of the message to come, as far as it is here.
    prefix: Vec<u8>,
    /// What is missing of the message at hand.
    left: usize,
    message: Message,
}

/// Where the message at hand goes.
enum Message {
    /// There is none.
    None,
    /// Nowhere.
    Skipped,
    Plain(Sink),
    Compressed(Next),
}

impl Calls {
    /// `None` where the body is no call.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        const KINDS: [&[u8]; 2] = [b"application/grpc", b"application/connect+"];
        let is_call = |value: &[u8]| {
            KINDS.iter().any(|kind| {
                let start = value.get(..kind.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
            })
        };
        let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
        if !kinds.any(|value| is_call(value.as_bytes())) {
            return None;
        }
        let codings = ["grpc-encoding", "connect-content-encoding"];
        let mut codings = codings.iter().flat_map(|name| headers.get_all(*name));
        let coding = codings.next().map(|value| {
            let value = value.as_bytes().trim_ascii();
            String::from_utf8_lossy(value).to_ascii_lowercase()
        });
        // Two of them have no one reading: neither is believed.
        let coding = coding.filter(|_| codings.next().is_none());
        Some(Self { coding })
    }

    /// Scans decoded messages in `view`; those that are not compressed only if `plain`.
    pub(super) fn over(self, view: Arc<Mutex<View>>, plain: bool) -> Messages {
        Messages {
            coding: self.coding,
            view,
            plain,
            prefix: Vec::new(),
            left: 0,
            message: Message::None,
        }
    }
}

impl Messages {
    /// Begins a message once its prefix is here.
    fn begin(&mut self) -> io::Result<()> {
        let &[flags, a, b, c, d] = self.prefix.as_slice() else {
            return Ok(());
        };
        self.prefix.clear();
        self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if flags & !(COMPRESSED | LAST) != 0 {
            return Err(self.stop(Unscanned::Messages));
        }
        let sink = Sink(self.view.clone());
        self.message = if flags & COMPRESSED != 0 {
            let coding = self.coding.as_deref();
            let Some(decoder) = coding.and_then(|coding| decoder(coding, Box::new(sink))) else {
                return Err(self.stop(Unscanned::MessageCoding));
            };
            Message::Compressed(decoder)
        } else if self.plain {
            Message::Plain(sink)
        } else {
            Message::Skipped
        };
        self.end()
    }

    fn stop(&self, why: Unscanned) -> io::Error {
        self.view.lock().stop.get_or_insert(Stop::Limit(why));
        stopped()
    }

    /// Ends the message if all of it is here.
    fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Ok(());
        }
        match std::mem::replace(&mut self.message, Message::None) {
            Message::None | Message::Skipped => return Ok(()),
            Message::Plain(_) => {}
            Message::Compressed(mut decoder) => decoder.flush()?,
        }
        let mut view = self.view.lock();
        view.next_message();
        if view.stop.is_some() {
            return Err(stopped());
        }
        Ok(())
    }
}

impl Write for Messages {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            if let Message::None = self.message {
                let missing = PREFIX.saturating_sub(self.prefix.len());
                let (piece, after) = rest.split_at(missing.min(rest.len()));
                self.prefix.extend_from_slice(piece);
                rest = after;
                self.begin()?;
                continue;
            }
            let (piece, after) = rest.split_at(self.left.min(rest.len()));
            match &mut self.message {
                Message::None | Message::Skipped => {}
                Message::Plain(sink) => sink.write_all(piece)?,
                Message::Compressed(decoder) => decoder.write_all(piece)?,
            }
            self.left -= piece.len();
            rest = after;
            self.end()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.message {
            Message::Compressed(decoder) => decoder.flush(),
            Message::None | Message::Skipped | Message::Plain(_) => Ok(()),
        }
    }
}

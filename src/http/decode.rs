//! Bodies that do not read as they stand, decoded as they come and scanned: those with a
//! `Content-Encoding` (RFC 9110 §8.4), forms, calls of which each message is compressed, and what
//! begins as gzip or zstd though nothing says that it is encoded.
//!
//! What is decoded is never kept: it goes from the decoder into the scan, piece by piece, so
//! that a bomb costs time up to its budget and no memory. What cannot be decoded, or is over
//! budget, cannot be judged; the rule's `on_limit` says what follows.

mod calls;
mod coder;
mod form;
mod sniff;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use http::{HeaderMap, header};
use parking_lot::Mutex;

use self::calls::Calls;
use self::coder::{Next, decoder};
use self::form::Form;
pub use self::sniff::{MAGIC, sniff};
use super::scan::outline::{Kind, Spot, Trail};
use super::scan::{Place, Scanner, graver, middle};
use crate::dlp::{Finding, Stream};
use crate::error::Refusal;

/// The limit of decoded bytes, as it is configured.
const DECODED_LIMIT: &str = "limits.decoded_request_bytes";
/// Most encodings on top of each other.
const LAYERS: usize = 2;
/// From this many decoded bytes on, no more than [`RATIO_MAX`] for each that came.
const RATIO_FROM: u64 = 1 << 20;
const RATIO_MAX: u64 = 200;
/// What a compressed file may decode to for each byte that came, beside what any body may: files
/// are long, and few shrink by more.
const FILE_RATIO: u64 = 16;
/// As [`RATIO_MAX`] for what is between two encodings: it is compressed itself, so it hardly shrank.
const BETWEEN_RATIO_MAX: u64 = 4;
/// Raw bytes that are decoded in one go; also how finely is known which of them hold what.
const PIECE: usize = 256;

/// Why decoding ended.
#[derive(Clone, Debug)]
pub enum Stop {
    /// On a finding that blocks.
    Found(Refusal),
    /// It cannot be decoded, or not within its budget.
    Limit(Unscanned),
}

/// What a body is or does that nobody can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unscanned {
    /// More codings than a server would undo.
    #[error("has more than two encodings on top of each other")]
    Layers,
    /// A coding that is not known here.
    #[error("has an encoding that cannot be scanned")]
    Coding,
    /// One that is not what it says.
    #[error("is not encoded as its `Content-Encoding` says")]
    Broken,
    /// A file that is not what its beginning says.
    #[error("begins as gzip or zstd does, and cannot be decoded")]
    File,
    /// More than the budget.
    #[error("decodes to more bytes than can be scanned")]
    Length,
    /// No messages of gRPC or Connect.
    #[error("is not made of messages as its `Content-Type` says")]
    Messages,
    /// Such messages in a coding that is not known here.
    #[error("has messages in an encoding that cannot be scanned")]
    MessageCoding,
}

impl Unscanned {
    /// What whoever sends it can do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Layers | Self::Coding => "send it without, or with gzip, deflate, br or zstd",
            Self::MessageCoding => "send them without, or with gzip, deflate, br or zstd",
            Self::Broken => "send it without, or encoded as it says",
            Self::File => "send it as it is before it is compressed",
            Self::Length => "send it in parts, or as it is before it is compressed",
            Self::Messages => "send messages, or another `Content-Type`",
        }
    }
}

/// Decodes and scans one body.
pub struct Decoding {
    chain: Next,
    view: Arc<Mutex<View>>,
    /// What is wrong where it cannot be decoded.
    broken: Unscanned,
    raw: u64,
    /// After how many raw bytes how many were decoded.
    marks: VecDeque<(u64, u64)>,
    held: usize,
}

/// The decoded bytes, and what was found in them.
struct View {
    scanner: Scanner,
    stream: Stream,
    trail: Trail,
    /// Whether it is one message after the other, each looked at for itself.
    calls: bool,
    stop: Option<Stop>,
    decoded: u64,
    /// Whether it is a file that says itself that it is compressed.
    is_file: bool,
    most: u64,
    between: u64,
    between_most: u64,
}

/// Where the last decoder writes.
struct Sink(Arc<Mutex<View>>);

/// Counts what one decoder gives the next.
struct Between {
    view: Arc<Mutex<View>>,
    next: Next,
}

impl Decoding {
    /// What a body of this kind with these headers needs; `None` for none. `escapes`: a form
    /// may have some.
    ///
    /// # Errors
    /// [`Stop::Limit`]: an encoding that is not known, or too many.
    pub fn new(
        headers: &HeaderMap,
        kind: &Kind,
        escapes: bool,
        scanner: &Scanner,
    ) -> Result<Option<Self>, Stop> {
        let codings = codings(headers);
        let calls = Calls::of(headers);
        let form = matches!(kind, Kind::Form) && (escapes || !codings.is_empty());
        if codings.is_empty() && calls.is_none() && !form {
            return Ok(None);
        }
        if codings.len() > LAYERS {
            return Err(Stop::Limit(Unscanned::Layers));
        }
        let trail = if form {
            Trail::marked()
        } else {
            Trail::new(kind)
        };
        let view = View::new(scanner, trail, calls.is_some());
        let mut chain: Next = Box::new(Sink(view.clone()));
        if let Some(calls) = calls {
            // What is not compressed is scanned as it is, unless it was in a coding.
            chain = Box::new(calls.over(view.clone(), !codings.is_empty()));
        } else if form {
            chain = Box::new(Form::new(view.clone()));
        }
        // The first named was applied first, so it is decoded last (RFC 9110 §8.4).
        for (place, coding) in codings.iter().enumerate() {
            if place > 0 {
                let (view, next) = (view.clone(), chain);
                chain = Box::new(Between { view, next });
            }
            let unknown = Stop::Limit(Unscanned::Coding);
            chain = decoder(coding, chain).ok_or(unknown)?;
        }
        Ok(Some(Self::of(chain, view, Unscanned::Broken)))
    }

    fn of(chain: Next, view: Arc<Mutex<View>>, broken: Unscanned) -> Self {
        Self {
            chain,
            view,
            broken,
            raw: 0,
            marks: VecDeque::new(),
            held: 0,
        }
    }

    /// What a body needs beside that begins like this, though its headers name no encoding; `None`
    /// for nothing.
    #[must_use]
    pub fn sniffed(beginning: &[u8], scanner: &Scanner) -> Option<Self> {
        let coding = sniff(beginning)?;
        let view = View::new(scanner, Trail::new(&Kind::Unknown), false);
        view.lock().is_file = true;
        let chain = decoder(coding, Box::new(Sink(view.clone())))?;
        Some(Self::of(chain, view, Unscanned::File))
    }

    /// Whether the headers leave it to the body to say that it is encoded.
    #[must_use]
    pub fn may_be_sniffed(headers: &HeaderMap) -> bool {
        codings(headers).is_empty() && Calls::of(headers).is_none()
    }

    /// Decodes and scans the next bytes.
    ///
    /// # Errors
    /// What was found, or that it cannot be decoded.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Stop> {
        for piece in data.chunks(PIECE) {
            self.raw = self.raw.saturating_add(piece.len() as u64);
            self.view.lock().budget(self.raw);
            let written = self.chain.write_all(piece);
            let written = written.and_then(|()| self.chain.flush());
            self.verdict(written)?;
            self.mark();
        }
        Ok(())
    }

    /// No bytes come any more.
    ///
    /// # Errors
    /// As [`Decoding::push`].
    pub fn finish(&mut self) -> Result<(), Stop> {
        let flushed = self.chain.flush();
        self.verdict(flushed)?;
        let mut view = self.view.lock();
        view.scan(None);
        self.held = 0;
        view.stop.take().map_or(Ok(()), Err)
    }

    /// How many of the last raw bytes must not go on yet: those that hold a token that is
    /// still open.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    fn verdict(&self, written: io::Result<()>) -> Result<(), Stop> {
        if let Some(stop) = self.view.lock().stop.take() {
            return Err(stop);
        }
        written.map_err(|_| Stop::Limit(self.broken))
    }

    fn mark(&mut self) {
        let view = self.view.lock();
        let open = view.decoded.saturating_sub(view.stream.held() as u64);
        // The last mark before the open token stays: up to there all may go on.
        while self
            .marks
            .get(1)
            .is_some_and(|(_, decoded)| *decoded <= open)
        {
            self.marks.pop_front();
        }
        let free = match self.marks.front() {
            _ if view.stream.held() == 0 => self.raw,
            Some((raw, decoded)) if *decoded <= open => *raw,
            Some(_) | None => 0,
        };
        if view.stream.held() == 0 {
            self.marks.clear();
        }
        self.marks.push_back((self.raw, view.decoded));
        self.held = usize::try_from(self.raw.saturating_sub(free)).unwrap_or(usize::MAX);
    }
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoding({} bytes)", self.raw)
    }
}

impl View {
    fn new(scanner: &Scanner, trail: Trail, calls: bool) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            scanner: scanner.clone(),
            stream: Stream::new(),
            trail,
            calls,
            stop: None,
            decoded: 0,
            is_file: false,
            most: RATIO_FROM,
            between: 0,
            between_most: RATIO_FROM,
        }))
    }

    /// What may be decoded from so many bytes.
    fn budget(&mut self, raw: u64) {
        let most = |ratio: u64| raw.saturating_mul(ratio).max(RATIO_FROM);
        let file = if self.is_file { FILE_RATIO } else { 0 };
        let all = raw.saturating_mul(file);
        let all = all.saturating_add(self.scanner.decoded_bytes);
        self.most = most(RATIO_MAX).min(all);
        self.between_most = most(BETWEEN_RATIO_MAX);
    }

    fn over_budget(&mut self) {
        self.scanner.metrics.state.limit_reached(DECODED_LIMIT);
        self.stop.get_or_insert(Stop::Limit(Unscanned::Length));
    }

    /// Scans what was decoded next, or decides at the end (`None`).
    fn scan(&mut self, data: Option<&[u8]>) {
        let Self {
            scanner,
            stream,
            trail,
            stop,
            ..
        } = self;
        let bytes = data.unwrap_or_default();
        let base = self.decoded.saturating_sub(bytes.len() as u64);
        let mut report = |finding: Finding, data: &[u8]| {
            let place = if self.calls {
                Place::Call
            } else {
                Place::Decoded(trail.spot(bytes, base, middle(&finding)))
            };
            let ruling = scanner.judge(&place, &finding, data, false);
            *stop = match stop.take() {
                Some(Stop::Found(old)) => graver(Some(old), ruling.refusal()).map(Stop::Found),
                other => other.or(ruling.refusal().map(Stop::Found)),
            };
        };
        let engine = scanner.detectors.engine();
        match data {
            Some(data) => stream.push(engine, data, &mut report),
            None => stream.finish(engine, &mut report),
        }
        if !self.calls {
            trail.follow(bytes, base);
        }
        if stream.is_saturated() {
            stop.get_or_insert_with(|| Stop::Found(Scanner::saturated()));
        }
    }

    /// The next bytes begin these spots.
    fn mark(&mut self, marks: Vec<(u64, Spot)>) {
        for (at, spot) in marks {
            self.trail.mark(self.decoded.saturating_add(at), spot);
        }
    }

    /// A message is at its end, and the next has nothing to do with it.
    fn next_message(&mut self) {
        self.scan(None);
        self.stream = Stream::new();
    }
}

/// What ends a decoder; the stop of its view says why.
fn stopped() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut view = self.0.lock();
        view.decoded = view.decoded.saturating_add(data.len() as u64);
        if view.decoded > view.most {
            view.over_budget();
        } else {
            view.scan(Some(data));
        }
        match view.stop {
            Some(_) => Err(stopped()),
            None => Ok(data.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Between {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.next.write(data)?;
        let mut view = self.view.lock();
        view.between = view.between.saturating_add(written as u64);
        if view.between > view.between_most {
            view.over_budget();
            return Err(stopped());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.next.flush()
    }
}

/// The encodings, in the order in which they were applied, without `identity` and
/// `aws-chunked`: that puts signatures between pieces of the body and leaves them readable.
fn codings(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all(header::CONTENT_ENCODING);
    let names = fields
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    names
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| !["", "identity", "aws-chunked"].contains(&name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests;

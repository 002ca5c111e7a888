//! Bodies with a `Content-Encoding` (RFC 9110 §8.4), decoded as they come and scanned.
//!
//! What is decoded is never kept: it goes from the decoder into the scan, piece by piece, so
//! that a bomb costs time up to its budget and no memory. What cannot be decoded, or is over
//! budget, cannot be judged and is refused.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use parking_lot::Mutex;

use super::scan::{Place, Scanner};
use crate::dlp::{Finding, Stream};
use crate::error::{Reason, Refusal};

/// Most encodings on top of each other.
const LAYERS: usize = 2;
/// Most decoded bytes of a body.
const DECODED_MAX: u64 = 256 << 20;
/// From this many decoded bytes on, no more than [`RATIO_MAX`] for each that came.
const RATIO_FROM: u64 = 1 << 20;
const RATIO_MAX: u64 = 200;
/// Raw bytes that are decoded in one go; also how finely is known which of them hold what.
const PIECE: usize = 256;
/// Bytes of a decoder's own buffer.
const BUFFER: usize = 16 * 1024;
/// The largest window of zstd, as a power of two: what every decoder must take (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// Decodes and scans one body.
pub struct Decoding {
    chain: Box<dyn Write + Send>,
    view: Arc<Mutex<View>>,
    raw: u64,
    /// After how many raw bytes how many were decoded.
    marks: VecDeque<(u64, u64)>,
    held: usize,
}

/// The decoded bytes, and what was found in them.
struct View {
    scanner: Scanner,
    stream: Stream,
    refusal: Option<Refusal>,
    decoded: u64,
    most: u64,
}

/// Where the last decoder writes.
struct Sink(Arc<Mutex<View>>);

impl Decoding {
    /// What a body with these headers needs; `None` for none.
    ///
    /// # Errors
    /// An encoding that is not known, or too many: [`Reason::Detected`].
    pub fn new(headers: &HeaderMap, scanner: &Scanner) -> Result<Option<Self>, Refusal> {
        let codings = codings(headers);
        if codings.is_empty() {
            return Ok(None);
        }
        if codings.len() > LAYERS {
            return Err(cannot("has more than two encodings on top of each other"));
        }
        let view = Arc::new(Mutex::new(View {
            scanner: scanner.clone(),
            stream: Stream::new(),
            refusal: None,
            decoded: 0,
            most: RATIO_FROM,
        }));
        let mut chain: Box<dyn Write + Send> = Box::new(Sink(view.clone()));
        // The first named was applied first, so it is decoded last (RFC 9110 §8.4).
        for coding in &codings {
            chain = decoder(coding, chain)?;
        }
        Ok(Some(Self {
            chain,
            view,
            raw: 0,
            marks: VecDeque::new(),
            held: 0,
        }))
    }

    /// Decodes and scans the next bytes.
    ///
    /// # Errors
    /// What was found, or that it cannot be decoded: [`Reason::Detected`].
    pub fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        for piece in data.chunks(PIECE) {
            self.raw = self.raw.saturating_add(piece.len() as u64);
            let most = self.raw.saturating_mul(RATIO_MAX).max(RATIO_FROM);
            self.view.lock().most = most.min(DECODED_MAX);
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
    pub fn finish(&mut self) -> Result<(), Refusal> {
        let flushed = self.chain.flush();
        self.verdict(flushed)?;
        let mut view = self.view.lock();
        view.scan(None);
        self.held = 0;
        view.refusal.take().map_or(Ok(()), Err)
    }

    /// How many of the last raw bytes must not go on yet: those that hold a token that is
    /// still open.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    fn verdict(&self, written: io::Result<()>) -> Result<(), Refusal> {
        if let Some(refusal) = self.view.lock().refusal.take() {
            return Err(refusal);
        }
        written.map_err(|_| cannot("is not encoded as its `Content-Encoding` says"))
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
    fn scan(&mut self, data: Option<&[u8]>) {
        let Self {
            scanner,
            stream,
            refusal,
            ..
        } = self;
        let mut report = |finding: Finding, data: &[u8]| {
            let blocked = scanner.judge(&Place::Decoded, &finding, data);
            *refusal = refusal.take().or(blocked);
        };
        let engine = scanner.detectors.engine();
        match data {
            Some(data) => stream.push(engine, data, &mut report),
            None => stream.finish(engine, &mut report),
        }
        if stream.is_saturated() {
            refusal.get_or_insert_with(Scanner::saturated);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut view = self.0.lock();
        view.decoded = view.decoded.saturating_add(data.len() as u64);
        if view.decoded > view.most {
            view.refusal
                .get_or_insert_with(|| cannot("decodes to more bytes than can be scanned"));
        } else {
            view.scan(Some(data));
        }
        match view.refusal {
            // Ends the decoder; the refusal says why.
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(data.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `deflate` is zlib's format by the book and bare deflate by some (RFC 9110 §8.4.1.2): the
/// first byte tells.
enum Deflate {
    Unknown(Option<Box<dyn Write + Send>>),
    Zlib(ZlibDecoder<Box<dyn Write + Send>>),
    Bare(DeflateDecoder<Box<dyn Write + Send>>),
}

impl Write for Deflate {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let (Self::Unknown(next), Some(first)) = (&mut *self, data.first()) {
            let Some(next) = next.take() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            *self = if first & 0x0f == 8 {
                Self::Zlib(ZlibDecoder::new(next))
            } else {
                Self::Bare(DeflateDecoder::new(next))
            };
        }
        match self {
            Self::Unknown(_) => Ok(0),
            Self::Zlib(decoder) => decoder.write(data),
            Self::Bare(decoder) => decoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unknown(_) => Ok(()),
            Self::Zlib(decoder) => decoder.flush(),
            Self::Bare(decoder) => decoder.flush(),
        }
    }
}

/// The encodings, in the order in which they were applied, without `identity`.
fn codings(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all(header::CONTENT_ENCODING);
    let names = fields
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    names
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "identity")
        .collect()
}

fn decoder(coding: &str, next: Box<dyn Write + Send>) -> Result<Box<dyn Write + Send>, Refusal> {
    Ok(match coding {
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(next)),
        "deflate" => Box::new(Deflate::Unknown(Some(next))),
        "br" => Box::new(brotli_decompressor::DecompressorWriter::new(next, BUFFER)),
        "zstd" => {
            let mut decoder = zstd::stream::write::Decoder::new(next)
                .map_err(|_| cannot("needs a decoder that cannot be had"))?;
            decoder
                .window_log_max(ZSTD_WINDOW)
                .map_err(|_| cannot("needs a decoder that cannot be had"))?;
            Box::new(decoder)
        }
        _ => return Err(cannot("has an encoding that cannot be scanned")),
    })
}

fn cannot(why: &str) -> Refusal {
    let sentence =
        format!("the request's body {why}; send it without, or with gzip, deflate, br or zstd");
    Refusal::new(Reason::Detected, sentence)
}

#[cfg(test)]
mod tests;

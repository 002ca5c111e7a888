//! The chunked coding (RFC 9112 §7.1), decoded without copying.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::HeadLimits;
use super::error::ChunkError;
use super::fields::parse_trailers;
use super::scan::Scan;
use super::trailers::is_forbidden_trailer;

/// Most digits of a chunk size; 16 fill a `u64`, so it cannot overflow.
const MAX_DIGITS: u8 = 16;

/// A decoder for one body.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    limits: HeadLimits,
    dropped: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum State {
    Size { digits: u8, size: u64 },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailers(Scan),
    Done,
    Failed(ChunkError),
}

const NEXT_CHUNK: State = State::Size { digits: 0, size: 0 };

/// A piece of a decoded body.
#[derive(Debug, PartialEq)]
pub enum ChunkEvent {
    /// Some octets, never none; they share the memory of the input.
    Data(Bytes),
    /// The trailers that may be passed on, at least one. Nothing but `End` follows.
    Trailers(HeaderMap),
    /// The body is complete; what is left in the input is not part of it.
    End,
}

impl ChunkDecoder {
    /// `limits` are those of the trailer section.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            state: NEXT_CHUNK,
            limits,
            dropped: 0,
        }
    }

    /// Takes from the front of `buf` what makes the next event; `None` asks for more bytes.
    ///
    /// # Errors
    /// The first deviation from the coding, again on each later call.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<ChunkEvent>, ChunkError> {
        self.step(buf)
            .inspect_err(|error| self.state = State::Failed(*error))
    }

    /// Whether the body was read to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many trailer fields were dropped because they may not stand there.
    #[must_use]
    pub fn dropped_trailers(&self) -> usize {
        self.dropped
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<ChunkEvent>, ChunkError> {
        loop {
            let more = match self.state {
                State::Size { digits, size } => self.size(buf, digits, size)?,
                State::SizeLf(size) => {
                    let next = if size == 0 {
                        State::Trailers(Scan::default())
                    } else {
                        State::Data(size)
                    };
                    self.octet(buf, b'\n', next, ChunkError::SizeEnd)?
                }
                State::Data(left) => return Ok(self.data(buf, left).map(ChunkEvent::Data)),
                State::DataCr => self.octet(buf, b'\r', State::DataLf, ChunkError::DataEnd)?,
                State::DataLf => self.octet(buf, b'\n', NEXT_CHUNK, ChunkError::DataEnd)?,
                State::Trailers(scan) => return self.trailers(buf, scan),
                State::Done => return Ok(Some(ChunkEvent::End)),
                State::Failed(error) => return Err(error),
            };
            if !more {
                return Ok(None);
            }
        }
    }

    /// Reads digits up to and with the CR. False if more bytes are needed.
    fn size(&mut self, buf: &mut BytesMut, digits: u8, size: u64) -> Result<bool, ChunkError> {
        let (mut digits, mut size) = (digits, size);
        let mut used = 0;
        for &byte in buf.iter() {
            used += 1;
            match byte {
                b'\r' if digits > 0 => {
                    buf.advance(used);
                    self.state = State::SizeLf(size);
                    return Ok(true);
                }
                b';' if digits > 0 => return Err(ChunkError::Extension),
                b'\n' if digits > 0 => return Err(ChunkError::SizeEnd),
                _ => {}
            }
            let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
            if digits == MAX_DIGITS {
                return Err(ChunkError::Size);
            }
            digits += 1;
            size = size << 4 | u64::from(digit);
        }
        buf.clear();
        self.state = State::Size { digits, size };
        Ok(false)
    }

    fn octet(
        &mut self,
        buf: &mut BytesMut,
        expected: u8,
        next: State,
        error: ChunkError,
    ) -> Result<bool, ChunkError> {
        match buf.first() {
            None => Ok(false),
            Some(&octet) if octet == expected => {
                buf.advance(1);
                self.state = next;
                Ok(true)
            }
            Some(_) => Err(error),
        }
    }

    fn data(&mut self, buf: &mut BytesMut, left: u64) -> Option<Bytes> {
        let data = take(buf, left)?;
        let left = left.saturating_sub(data.len() as u64);
        self.state = if left == 0 {
            State::DataCr
        } else {
            State::Data(left)
        };
        Some(data)
    }

    fn trailers(
        &mut self,
        buf: &mut BytesMut,
        mut scan: Scan,
    ) -> Result<Option<ChunkEvent>, ChunkError> {
        let found = scan
            .find(buf, self.limits.bytes)
            .map_err(ChunkError::Trailers)?;
        let Some(end) = found else {
            self.state = State::Trailers(scan);
            return Ok(None);
        };
        let section = Bytes::copy_from_slice(buf.get(..end).unwrap_or_default());
        let fields = parse_trailers(&section, &self.limits).map_err(ChunkError::Trailers)?;
        buf.advance(end);
        self.state = State::Done;
        let mut kept = HeaderMap::new();
        for (name, value) in &fields {
            if is_forbidden_trailer(name) || kept.try_append(name.clone(), value.clone()).is_err() {
                self.dropped += 1;
            }
        }
        let event = if kept.is_empty() {
            ChunkEvent::End
        } else {
            ChunkEvent::Trailers(kept)
        };
        Ok(Some(event))
    }
}

/// Up to `left` octets off the front of `buf`, without copying; `None` if it is empty.
pub(super) fn take(buf: &mut BytesMut, left: u64) -> Option<Bytes> {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    (len > 0).then(|| buf.split_to(len).freeze())
}

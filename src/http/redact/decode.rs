//! Decoders that are fed piece by piece and never give more than there is room for.
//!
//! They are asked one thing beyond decoding: whether all bytes fed so far have given all that
//! any decoder could make of them. Until then those bytes are not passed on.
//!
//! Deflate and Brotli give what each symbol stands for at once. The bits of one unfinished
//! symbol may have been passed on before what it stands for was seen; that symbol can only
//! stand for one byte, or repeat what was already looked at. Zstandard gives whole blocks,
//! whose literals stand readable at their beginning, so that only whole blocks pass.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::coding::{Coding, Opaque};
use super::zstd_frames::Frames;

const BROKEN: Opaque = "it is not what its coding says";
const TRAILING: Opaque = "bytes follow its end";
/// RFC 9659: windows of the `zstd` coding are at most 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;
/// RFC 1950: windows of 32 KiB.
const GZIP_WINDOW_BITS: u8 = 15;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input that were fed.
    pub(super) read: usize,
    /// Bytes of the output that were written.
    pub(super) written: usize,
    /// Whether all bytes fed so far have given all they stand for.
    pub(super) settled: bool,
}

impl Step {
    /// There was nothing to do.
    const NOTHING: Self = Self {
        read: 0,
        written: 0,
        settled: true,
    };
}

/// A decoder of one body.
pub(super) enum Decoder {
    Inflate(Inflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder(..)")
    }
}

impl Decoder {
    /// For a coding other than identity.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        match coding {
            Coding::Identity => None,
            Coding::Gzip => Some(Self::Inflate(Inflate::new(true))),
            Coding::Deflate => Some(Self::Inflate(Inflate::new(false))),
            Coding::Brotli => Some(Self::Brotli(Box::default())),
            Coding::Zstd => Zstd::new().map(Self::Zstd),
        }
    }

    /// Whether what was fed so far is whole.
    pub(super) fn is_at_end(&self) -> bool {
        match self {
            Self::Inflate(inflate) => inflate.ended,
            Self::Brotli(brotli) => brotli.ended,
            Self::Zstd(zstd) => zstd.due == 0 && zstd.frames.is_between(),
        }
    }

    /// Decodes as much of `input` as `output` has room for.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Opaque> {
        match self {
            Self::Inflate(inflate) => inflate.step(input, output),
            Self::Brotli(brotli) => brotli.step(input, output),
            Self::Zstd(zstd) => zstd.step(input, output),
        }
    }
}

/// Gzip (RFC 1952), or `deflate`: zlib (RFC 1950) and, because servers err, raw deflate.
pub(super) struct Inflate {
    gzip: bool,
    /// Made when the first byte of a member is there.
    member: Option<Decompress>,
    ended: bool,
}

impl Inflate {
    fn new(gzip: bool) -> Self {
        Self {
            gzip,
            member: None,
            ended: false,
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Opaque> {
        if self.ended && !input.is_empty() {
            // Only gzip goes on, with another member (RFC 1952 §2.2).
            if !self.gzip {
                return Err(TRAILING);
            }
            (self.ended, self.member) = (false, None);
        }
        if self.member.is_none()
            && let Some(first) = input.first()
        {
            let zlib = first & 0x0f == 8 && first >> 4 <= 7;
            self.member = Some(if self.gzip {
                Decompress::new_gzip(GZIP_WINDOW_BITS)
            } else {
                Decompress::new(zlib)
            });
        }
        let Some(member) = self.member.as_mut().filter(|_| !self.ended) else {
            return Ok(Step::NOTHING);
        };
        let (read, written) = (member.total_in(), member.total_out());
        let status = member
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| BROKEN)?;
        let read = usize::try_from(member.total_in() - read).map_err(|_| BROKEN)?;
        let written = usize::try_from(member.total_out() - written).map_err(|_| BROKEN)?;
        self.ended = status == Status::StreamEnd;
        Ok(Step {
            read,
            written,
            settled: self.ended || written < output.len(),
        })
    }
}

/// Brotli (RFC 7932), without large windows.
pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            ended: false,
        }
    }
}

impl Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Opaque> {
        if self.ended {
            return if input.is_empty() {
                Ok(Step::NOTHING)
            } else {
                Err(TRAILING)
            };
        }
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        let settled = match result {
            BrotliResult::ResultFailure => return Err(BROKEN),
            BrotliResult::NeedsMoreOutput => false,
            BrotliResult::NeedsMoreInput => true,
            BrotliResult::ResultSuccess => {
                self.ended = true;
                true
            }
        };
        Ok(Step {
            read,
            written,
            settled,
        })
    }
}

/// Zstandard (RFC 8878) with windows of up to 8 MiB and without dictionaries.
pub(super) struct Zstd {
    context: DCtx<'static>,
    frames: Frames,
    /// Bytes still to be fed until the next place where `frames` stopped.
    due: usize,
    /// Whether that place is the end of a block.
    boundary: bool,
}

impl Zstd {
    fn new() -> Option<Self> {
        let mut context = DCtx::try_create()?;
        context
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
            .ok()?;
        Some(Self {
            context,
            frames: Frames::default(),
            due: 0,
            boundary: true,
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Opaque> {
        if self.due == 0 && !input.is_empty() {
            (self.due, self.boundary) = self.frames.advance(input).ok_or(BROKEN)?;
        }
        let fed = input.get(..self.due).unwrap_or(input);
        let mut source = InBuffer::around(fed);
        let mut target = OutBuffer::around(output);
        self.context
            .decompress_stream(&mut target, &mut source)
            .map_err(|_| BROKEN)?;
        let (read, written) = (source.pos(), target.pos());
        self.due = self.due.saturating_sub(read);
        let settled = self.due == 0 && self.boundary && written < output.len();
        Ok(Step {
            read,
            written,
            settled,
        })
    }
}

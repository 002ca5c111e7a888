//! Decoders that write what they decode.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Takes what is decoded.
pub(super) type Next = Box<dyn Write + Send>;

/// Bytes of a decoder's own buffer.
const BUFFER: usize = 16 * 1024;
/// The largest window of zstd, as a power of two: what every decoder must take (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// A decoder of this coding; `None` for one that is not known.
pub(super) fn decoder(coding: &str, next: Next) -> Option<Next> {
    Some(match coding {
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(next)),
        "deflate" => Box::new(Deflate::Unknown(Some(next))),
        "br" => Box::new(Brotli {
            decoder: brotli_decompressor::DecompressorWriter::new(next, BUFFER),
            begun: false,
        }),
        "zstd" => {
            let mut decoder = zstd::stream::write::Decoder::new(next).ok()?;
            decoder.window_log_max(ZSTD_WINDOW).ok()?;
            Box::new(decoder)
        }
        _ => return None,
    })
}

/// Brotli without large windows (RFC 7932 §9.1 reserves how their streams begin): one could
/// ask for a gibibyte.
struct Brotli {
    decoder: brotli_decompressor::DecompressorWriter<Next>,
    begun: bool,
}

impl Write for Brotli {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        const LARGE_WINDOW: u8 = 0x11;
        if let (false, Some(first)) = (self.begun, data.first()) {
            if first & 0x7f == LARGE_WINDOW {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.begun = true;
        }
        self.decoder.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.decoder.flush()
    }
}

/// `deflate` is zlib's format by the book and bare deflate by some (RFC 9110 §8.4.1.2): the
/// first byte tells.
enum Deflate {
    Unknown(Option<Next>),
    Zlib(ZlibDecoder<Next>),
    Bare(DeflateDecoder<Next>),
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

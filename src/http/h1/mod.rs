//! Strict HTTP/1 (RFC 9112), for the agent's leg and the server's.
//!
//! This is the one parser: what it yields is what is decided on, and what is written again
//! by [`Writer`]; no byte of a head or of a chunk's framing is ever copied through. Whatever
//! two parsers could read differently is an error, not a repair.
//!
//! Pure parts: heads ([`parse_request`], [`parse_response`]), chunks ([`ChunkDecoder`]) and
//! encoders (`encode`). [`Reader`] and [`Writer`] join them to a transport. There are no
//! timers in here: callers put deadlines around the futures.

mod chunk;
mod encode;
mod error;
mod fields;
mod head;
mod reader;
mod scan;
mod target;
mod trailers;
mod writer;

#[cfg(test)]
mod tests;

pub use chunk::{ChunkDecoder, ChunkEvent};
pub use encode::{
    BodyFraming, EncodeError, Hops, Persist, RequestOut, ResponseOut, encode_interim,
    encode_request, encode_response,
};
pub use error::{ChunkError, HeadError, ReadError};
pub use fields::Expect;
pub use head::{RequestHead, ResponseHead, parse_request, parse_response};
pub use reader::{Body, Closed, Reader, SMALL_READ};
pub use target::RequestTarget;
pub use trailers::is_forbidden_trailer;
pub use writer::{WriteError, Writer, Written};

/// The two versions this codec speaks (RFC 9112 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

impl Version {
    /// Exactly the eight octets of one of the two; anything else is none.
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"HTTP/1.1" => Some(Self::Http11),
            b"HTTP/1.0" => Some(Self::Http10),
            _ => None,
        }
    }
}

/// Where the body of a message that was read ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// After this many octets.
    Length(u64),
    /// After the zero chunk and its trailers.
    Chunked,
    /// Where the connection ends; responses only.
    UntilClose,
    /// The connection is not HTTP after this head (101, or 2xx to CONNECT); responses only.
    Tunnel,
}

/// How much of a head, or of a trailer section, is read before giving up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Octets of the whole head, from its first octet to the empty line.
    pub bytes: usize,
    /// Octets of the request target.
    pub uri: usize,
    /// Fields; also how many members the lists of `Connection` and of `Trailer` may have.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024,
            uri: 16 * 1024,
            fields: 128,
        }
    }
}

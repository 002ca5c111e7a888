//! What can be wrong with a message that was read.
//!
//! Every `Display` is the tail of a sentence ("malformed request: two Content-Length fields")
//! and holds nothing of the message itself, so it can be shown, logged and counted.

use std::io;

use crate::error::Reason;

/// Why a head, or a trailer section, was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More octets than [`HeadLimits::bytes`](super::HeadLimits).
    #[error("the head is longer than allowed")]
    TooLarge,
    /// A target of more octets than [`HeadLimits::uri`](super::HeadLimits).
    #[error("the request target is longer than allowed")]
    UriTooLong,
    /// More fields, or members of a list of names, than [`HeadLimits::fields`](super::HeadLimits).
    #[error("more fields than allowed")]
    TooManyFields,
    /// LF without CR (RFC 9112 §2.2).
    #[error("a line that ends in LF without CR")]
    BareLf,
    /// CR without LF (RFC 9112 §2.2).
    #[error("a CR that no LF follows")]
    BareCr,
    /// An octet of value zero.
    #[error("a NUL octet")]
    Nul,
    /// Not three parts with one space between them (RFC 9112 §3).
    #[error("a request line that is not method, target and version with one space between each")]
    RequestLine,
    /// Not a token (RFC 9110 §9.1).
    #[error("a method that is no token")]
    Method,
    /// Not a form that goes with the method, or octets outside visible ASCII (RFC 9112 §3.2).
    #[error("a request target in no form that goes with the method")]
    Target,
    /// Another version than HTTP/1.0 and HTTP/1.1.
    #[error("a version other than HTTP/1.1 and HTTP/1.0")]
    Version,
    /// The first line of an HTTP/2 preface (RFC 9113 §3.4).
    #[error("HTTP/2 where HTTP/1 was agreed on")]
    Http2Preface,
    /// Not version, status code and reason (RFC 9112 §4).
    #[error("a status line that is not version, three-digit status code and reason")]
    StatusLine,
    /// A line that begins with white space (RFC 9112 §5.2).
    #[error("a field folded over several lines")]
    ObsFold,
    /// A field line without a colon.
    #[error("a field line without a colon")]
    NoColon,
    /// A name that is empty or no token; white space before the colon too (RFC 9112 §5.1).
    #[error("a field name that is no token")]
    FieldName,
    /// A framing field spelt with `_`, which some servers read as `-`.
    #[error("a framing field spelt with an underscore")]
    Lookalike,
    /// Control octets in a value (RFC 9110 §5.5).
    #[error("a control character in a field value")]
    FieldValue,
    /// No `Host`, or an empty one (RFC 9112 §3.2); in HTTP/1.0 too, as it says where to go.
    #[error("no Host field")]
    NoHost,
    /// More than one `Host`.
    #[error("two Host fields")]
    DuplicateHost,
    /// An absolute target that names another authority than `Host` (RFC 9112 §3.2.2).
    #[error("a Host field that differs from the authority of the request target")]
    HostMismatch,
    /// More than one `Content-Length`, equal or not.
    #[error("two Content-Length fields")]
    DuplicateContentLength,
    /// Anything but the one canonical decimal number.
    #[error("a Content-Length that is not one plain decimal number")]
    ContentLength,
    /// More than one `Transfer-Encoding`.
    #[error("two Transfer-Encoding fields")]
    DuplicateTransferEncoding,
    /// Anything but `chunked`.
    #[error("a Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 §6.1).
    #[error("a Transfer-Encoding in HTTP/1.0")]
    TransferEncodingHttp10,
    /// Both framing fields (RFC 9112 §6.3 item 3).
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndChunked,
    /// A member of `Connection` that is no token.
    #[error("a Connection option that is no token")]
    ConnectionOption,
    /// `Connection` that names a field the message cannot do without.
    #[error("a Connection field that names Host or a framing field")]
    ConnectionNames,
    /// More than one `Upgrade`.
    #[error("two Upgrade fields")]
    DuplicateUpgrade,
    /// A member of `Trailer` that is no field name.
    #[error("a Trailer field that lists something other than field names")]
    TrailerList,
    /// A body announced by a 1xx or 204 response (RFC 9110 §8.6, RFC 9112 §6.1).
    #[error("a body announced by a response that cannot have one")]
    UnexpectedBody,
}

impl HeadError {
    /// The reason when an agent sent it; what a server sent is
    /// [`Reason::UpstreamMalformed`] whatever the error.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge | Self::TooManyFields => Reason::HeadTooLarge,
            Self::UriTooLong => Reason::UriTooLong,
            Self::BareLf
            | Self::BareCr
            | Self::Nul
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::Version
            | Self::Http2Preface
            | Self::StatusLine
            | Self::ObsFold
            | Self::NoColon
            | Self::FieldName
            | Self::Lookalike
            | Self::FieldValue
            | Self::NoHost
            | Self::DuplicateHost
            | Self::HostMismatch
            | Self::DuplicateContentLength
            | Self::ContentLength
            | Self::DuplicateTransferEncoding
            | Self::TransferEncoding
            | Self::TransferEncodingHttp10
            | Self::LengthAndChunked
            | Self::ConnectionOption
            | Self::ConnectionNames
            | Self::DuplicateUpgrade
            | Self::TrailerList
            | Self::UnexpectedBody => Reason::Malformed,
        }
    }
}

/// Why a chunked body was not accepted (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not 1 to 16 hexadecimal digits.
    #[error("a chunk size that is not 1 to 16 hexadecimal digits")]
    Size,
    /// Anything after `;`: parsers differ on where an extension ends.
    #[error("a chunk extension")]
    Extension,
    /// The size line does not end in CRLF.
    #[error("a chunk size line that does not end in CRLF")]
    SizeEnd,
    /// The data of a chunk is longer than its size says.
    #[error("chunk data that no CRLF follows")]
    DataEnd,
    /// The trailer section is malformed or over its limits.
    #[error("in the trailers, {0}")]
    Trailers(HeadError),
}

impl ChunkError {
    /// The reason when an agent sent it.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Size | Self::Extension | Self::SizeEnd | Self::DataEnd => Reason::Malformed,
            Self::Trailers(error) => error.reason(),
        }
    }
}

/// Why nothing more can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// A head that was not accepted.
    #[error(transparent)]
    Head(HeadError),
    /// A chunked body that was not accepted.
    #[error(transparent)]
    Chunk(ChunkError),
    /// The connection ended within a head.
    #[error("the connection ended within a message head")]
    ClosedInHead,
    /// The connection ended before the body did.
    #[error("the connection ended before the body did")]
    Truncated,
    /// A head was asked for while the last body is not read, or after a failure.
    #[error("the last message was not read to its end")]
    OutOfTurn,
}

impl ReadError {
    /// The reason when this happened on the agent's leg.
    #[must_use]
    pub fn agent_reason(&self) -> Reason {
        match self {
            Self::Io(_) | Self::ClosedInHead | Self::Truncated => Reason::AgentClosed,
            Self::Head(error) => error.reason(),
            Self::Chunk(error) => error.reason(),
            Self::OutOfTurn => Reason::Internal,
        }
    }

    /// The reason when this happened on the server's leg.
    #[must_use]
    pub fn upstream_reason(&self) -> Reason {
        match self {
            Self::Io(_) | Self::ClosedInHead | Self::Truncated => Reason::UpstreamClosed,
            Self::Head(_) | Self::Chunk(_) => Reason::UpstreamMalformed,
            Self::OutOfTurn => Reason::Internal,
        }
    }
}

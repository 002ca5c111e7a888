//! Canonical heads, chunks and trailers, from typed values to bytes.
//!
//! Nothing about the connection is taken from the header map: fields such as Content-Length,
//! Connection or Trailer in it are left out, and made anew from [`BodyFraming`] and [`Hops`].

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::fields::Managed;
use super::trailers::is_forbidden_trailer;
use super::{Framing, Version};

/// How a body that is written ends, and what the head says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body, and no field that speaks of one.
    None,
    /// No body, but the Content-Length it would have had (responses to HEAD, 304).
    Declared(u64),
    /// Exactly this many octets.
    Length(u64),
    /// Chunked, with trailers where they were declared.
    Chunked,
    /// As long as the connection: responses to HTTP/1.0 agents only.
    UntilClose,
}

impl BodyFraming {
    /// For a request: `length` if it is known, `end` if it is known that there is no body.
    /// Methods that usually have a body say so with a zero (RFC 9110 §8.6), as servers answer
    /// 411 otherwise.
    #[must_use]
    pub fn of_request(method: &Method, length: Option<u64>, end: bool) -> Self {
        let expects = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        match length {
            Some(length) => Self::Length(length),
            None if end && expects => Self::Length(0),
            None if end => Self::None,
            None => Self::Chunked,
        }
    }

    /// For a response to a request of this method, to an agent of this version; `length` is
    /// that of the body or, where there is none, the one that the server declared.
    #[must_use]
    pub fn of_response(
        request_method: &Method,
        agent: Version,
        status: StatusCode,
        length: Option<u64>,
    ) -> Self {
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            return Self::None;
        }
        if request_method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
            return length.map_or(Self::None, Self::Declared);
        }
        match (length, agent) {
            (Some(length), _) => Self::Length(length),
            (None, Version::Http11) => Self::Chunked,
            (None, Version::Http10) => Self::UntilClose,
        }
    }

    /// Whether octets of a body follow the head.
    #[must_use]
    pub fn has_body(self) -> bool {
        match self {
            Self::None | Self::Declared(_) => false,
            Self::Length(_) | Self::Chunked | Self::UntilClose => true,
        }
    }
}

/// The framing that passes a body on as it came.
impl From<Framing> for BodyFraming {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Tunnel => Self::None,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked,
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

/// What `Connection` says of the time after this message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persist {
    /// Nothing: HTTP/1.1 goes on.
    #[default]
    Default,
    /// `close`
    Close,
    /// `keep-alive`, for HTTP/1.0 agents.
    KeepAlive,
}

/// What is said between neighbours only; `Connection` is made from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hops<'a> {
    /// Whether the connection goes on.
    pub persist: Persist,
    /// `TE: trailers`; requests only.
    pub te_trailers: bool,
    /// The trailers that may follow a chunked body; names that may not are left out.
    pub trailers: &'a [HeaderName],
    /// `Upgrade`.
    pub upgrade: Option<&'a HeaderValue>,
    /// `Expect: 100-continue`; requests only.
    pub expects_continue: bool,
}

/// A request head to write.
#[derive(Clone, Copy, Debug)]
pub struct RequestOut<'a> {
    /// Never CONNECT here, which has no use for a body framing.
    pub method: &'a Method,
    /// Origin form or `*`, as decided on.
    pub target: &'a str,
    /// The `Host` field.
    pub host: &'a str,
    /// Everything else; managed fields in it are left out.
    pub headers: &'a HeaderMap,
    /// How the body ends; never [`BodyFraming::UntilClose`] or [`BodyFraming::Declared`].
    pub framing: BodyFraming,
    /// What is for the next hop only.
    pub hops: Hops<'a>,
}

/// A final response head to write, or a 101.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOut<'a> {
    /// The reason phrase is made from it.
    pub status: StatusCode,
    /// The fields; managed ones in it are left out.
    pub headers: &'a HeaderMap,
    /// How the body ends, best from [`BodyFraming::of_response`].
    pub framing: BodyFraming,
    /// What is for the next hop only.
    pub hops: Hops<'a>,
}

/// A head that cannot be written; a defect of the caller, and nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Empty, or with octets outside visible ASCII.
    #[error("a request target or host that is not visible ASCII")]
    Target,
    /// A framing that this message cannot have.
    #[error("a body framing that this message cannot have")]
    Framing,
    /// Not an interim status, or one where a final one belongs.
    #[error("an interim status where a final one belongs, or the other way round")]
    Status,
}

/// Appends a request head.
pub fn encode_request(buf: &mut BytesMut, head: &RequestOut<'_>) -> Result<(), EncodeError> {
    let clean = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !clean(head.target) || !clean(head.host) {
        return Err(EncodeError::Target);
    }
    if matches!(
        head.framing,
        BodyFraming::UntilClose | BodyFraming::Declared(_)
    ) {
        return Err(EncodeError::Framing);
    }
    buf.reserve(head.target.len() + head.host.len() + 128 + headers_size(head.headers));
    buf.put_slice(head.method.as_str().as_bytes());
    buf.put_u8(b' ');
    buf.put_slice(head.target.as_bytes());
    buf.put_slice(b" HTTP/1.1\r\n");
    field(buf, "host", head.host.as_bytes());
    headers(buf, head.headers, true);
    framing(buf, head.framing);
    hops(buf, &head.hops, head.framing);
    buf.put_slice(b"\r\n");
    Ok(())
}

/// Appends a final response head, or a 101.
pub fn encode_response(buf: &mut BytesMut, head: &ResponseOut<'_>) -> Result<(), EncodeError> {
    let status = head.status;
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !switching {
        return Err(EncodeError::Status);
    }
    let legal = match head.framing {
        BodyFraming::None => true,
        BodyFraming::Declared(_) => !switching && status != StatusCode::NO_CONTENT,
        BodyFraming::UntilClose => !bodiless(status) && head.hops.persist == Persist::Close,
        BodyFraming::Length(_) | BodyFraming::Chunked => !bodiless(status),
    };
    if !legal {
        return Err(EncodeError::Framing);
    }
    status_line(buf, status, head.headers);
    headers(buf, head.headers, false);
    framing(buf, head.framing);
    hops(buf, &head.hops, head.framing);
    buf.put_slice(b"\r\n");
    Ok(())
}

/// Appends an interim response: 1xx but not 101. Not for HTTP/1.0 agents (RFC 9110 §15.2).
pub fn encode_interim(
    buf: &mut BytesMut,
    status: StatusCode,
    fields: &HeaderMap,
) -> Result<(), EncodeError> {
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(EncodeError::Status);
    }
    status_line(buf, status, fields);
    headers(buf, fields, false);
    buf.put_slice(b"\r\n");
    Ok(())
}

/// Whether a response of this status has no body whatever the request's method.
fn bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

fn status_line(buf: &mut BytesMut, status: StatusCode, fields: &HeaderMap) {
    buf.reserve(192 + headers_size(fields));
    buf.put_slice(b"HTTP/1.1 ");
    buf.put_slice(status.as_str().as_bytes());
    buf.put_u8(b' ');
    buf.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    buf.put_slice(b"\r\n");
}

fn headers_size(headers: &HeaderMap) -> usize {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(size).sum()
}

/// `HeaderName` and `HeaderValue` cannot hold octets that end a line, so no check is left.
fn headers(buf: &mut BytesMut, headers: &HeaderMap, request: bool) {
    for (name, value) in headers {
        let name = name.as_str();
        let skip = match Managed::of(name.as_bytes()) {
            Some(Managed::Host | Managed::Expect) => request,
            Some(_) => true,
            None => false,
        };
        if !skip {
            field(buf, name, value.as_bytes());
        }
    }
}

fn field(buf: &mut BytesMut, name: &str, value: &[u8]) {
    buf.put_slice(name.as_bytes());
    buf.put_slice(b": ");
    buf.put_slice(value);
    buf.put_slice(b"\r\n");
}

fn framing(buf: &mut BytesMut, framing: BodyFraming) {
    match framing {
        BodyFraming::None | BodyFraming::UntilClose => {}
        BodyFraming::Declared(length) | BodyFraming::Length(length) => {
            field(
                buf,
                "content-length",
                itoa::Buffer::new().format(length).as_bytes(),
            );
        }
        BodyFraming::Chunked => field(buf, "transfer-encoding", b"chunked"),
    }
}

fn hops(buf: &mut BytesMut, hops: &Hops<'_>, framing: BodyFraming) {
    let persist = match hops.persist {
        Persist::Default => None,
        Persist::Close => Some("close"),
        Persist::KeepAlive => Some("keep-alive"),
    };
    let options = [
        persist,
        hops.te_trailers.then_some("te"),
        hops.upgrade.map(|_| "upgrade"),
    ];
    list(buf, "connection", options.into_iter().flatten());
    if hops.te_trailers {
        field(buf, "te", b"trailers");
    }
    if let Some(upgrade) = hops.upgrade {
        field(buf, "upgrade", upgrade.as_bytes());
    }
    if hops.expects_continue {
        field(buf, "expect", b"100-continue");
    }
    if framing == BodyFraming::Chunked {
        let names = hops
            .trailers
            .iter()
            .filter(|name| !is_forbidden_trailer(name));
        list(buf, "trailer", names.map(HeaderName::as_str));
    }
}

/// One field with these members, or none if there are none.
fn list<'a>(buf: &mut BytesMut, name: &str, members: impl Iterator<Item = &'a str>) {
    let mut any = false;
    for member in members {
        buf.put_slice(if any { "," } else { name }.as_bytes());
        buf.put_slice(if any { b" " } else { b": " });
        buf.put_slice(member.as_bytes());
        any = true;
    }
    if any {
        buf.put_slice(b"\r\n");
    }
}

/// Appends the size line of a chunk. `size` is not zero: that would end the body.
pub(super) fn chunk_size(buf: &mut BytesMut, size: usize) {
    let digits = usize::BITS.saturating_sub(size.leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        let digit = u32::try_from(size >> (4 * at) & 0xf).unwrap_or_default();
        buf.put_u8(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
    }
    buf.put_slice(b"\r\n");
}

/// Appends the last chunk and, of `trailers`, those that were declared and may stand there.
/// The number of those left out.
pub(super) fn last_chunk(
    buf: &mut BytesMut,
    trailers: Option<&HeaderMap>,
    declared: &[HeaderName],
) -> usize {
    let mut dropped = 0;
    buf.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if declared.contains(name) && !is_forbidden_trailer(name) {
            field(buf, name.as_str(), value.as_bytes());
        } else {
            dropped += 1;
        }
    }
    buf.put_slice(b"\r\n");
    dropped
}

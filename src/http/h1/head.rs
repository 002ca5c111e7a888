//! Heads of requests and responses (RFC 9112 §3, §4 and §6.3), from bytes to typed values.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use memchr::memchr;

use super::error::HeadError;
use super::fields::{Expect, Fields, Kind};
use super::scan::Scan;
use super::target::RequestTarget;
use super::{Framing, HeadLimits, Version};

/// The head of a request, with everything about the connection taken out of `headers`.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Any token; comparisons are case-sensitive, so `get` is not GET.
    pub method: Method,
    /// Where to.
    pub target: RequestTarget,
    /// The agent's version.
    pub version: Version,
    /// The one `Host` field; never empty, not otherwise judged.
    pub host: HeaderValue,
    /// All fields but Host, Content-Length, Transfer-Encoding, Expect, Connection, those that
    /// Connection names, Keep-Alive, Proxy-Connection, TE, Trailer and Upgrade.
    pub headers: HeaderMap,
    /// [`Framing::None`], [`Framing::Length`] or [`Framing::Chunked`].
    pub framing: Framing,
    /// Whether the agent may send another request on this connection.
    pub keep_alive: bool,
    /// What it expects before it sends the body.
    pub expect: Option<Expect>,
    /// What `Connection` named besides `close` and `keep-alive`; already gone from `headers`.
    pub connection: Vec<HeaderName>,
    /// Whether it takes trailers in the response (`TE: trailers`).
    pub te_trailers: bool,
    /// The names in `Trailer`.
    pub declared_trailers: Vec<HeaderName>,
    /// `Upgrade`, if `Connection` names it and the version is HTTP/1.1.
    pub upgrade: Option<HeaderValue>,
}

/// The head of a response, with everything about the connection taken out of `headers`.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Any three-digit code from 100; 1xx other than 101 are interim, another head follows.
    pub status: StatusCode,
    /// The server's version.
    pub version: Version,
    /// All fields but Content-Length, Transfer-Encoding, Connection, those that Connection
    /// names, Keep-Alive, Proxy-Connection, TE, Trailer and Upgrade.
    pub headers: HeaderMap,
    /// Where the body ends, knowing the request's method.
    pub framing: Framing,
    /// Content-Length; with [`Framing::None`] what the body would have had (HEAD, 304).
    pub declared_length: Option<u64>,
    /// Whether the connection may be used for another request once the body is read.
    pub keep_alive: bool,
    /// What `Connection` named besides `close` and `keep-alive`; already gone from `headers`.
    pub connection: Vec<HeaderName>,
    /// The names in `Trailer`.
    pub declared_trailers: Vec<HeaderName>,
    /// `Upgrade`, if `Connection` names it and the version is HTTP/1.1.
    pub upgrade: Option<HeaderValue>,
}

/// Parses the head at the start of `buf` and says how many octets it took.
///
/// `None` means that more bytes are needed. One CRLF before the request line is skipped
/// (RFC 9112 §2.2: old clients send one after a body), never more.
pub fn parse_request(
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    request(&mut Scan::request(), buf, limits)
}

/// Parses the response head at the start of `buf` to a request of this method, and says how
/// many octets it took. `None` means that more bytes are needed.
///
/// Whether a 101 was asked for is for the caller to judge.
pub fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
) -> Result<Option<(ResponseHead, usize)>, HeadError> {
    response(&mut Scan::default(), buf, limits, request_method)
}

/// [`parse_request`] for a buffer that grows: `scan` is kept until the head is there.
pub(super) fn request(
    scan: &mut Scan,
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let Some(end) = scan.find(buf, limits.bytes).map_err(|error| match error {
        HeadError::TooLarge if target_too_long(scan, buf, limits) => HeadError::UriTooLong,
        error => error,
    })?
    else {
        return Ok(None);
    };
    let head = buf.get(..end).unwrap_or_default();
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    Ok(Some((request_head(head, limits)?, end)))
}

/// Whether it is the target that fills the head up to its limit.
fn target_too_long(scan: &Scan, buf: &[u8], limits: &HeadLimits) -> bool {
    // No further than the limit, so that the answer does not depend on how much came at once.
    let window = buf.get(..limits.bytes).unwrap_or(buf);
    let line = scan.first_line(window).unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    target.len() > limits.uri
}

fn request_head(head: &[u8], limits: &HeadLimits) -> Result<RequestHead, HeadError> {
    let (line, section) = first_line(head);
    let (method, rest) = split_space(line).ok_or(HeadError::RequestLine)?;
    let (target, version) = split_space(rest).ok_or(HeadError::RequestLine)?;
    if method.is_empty() || target.is_empty() {
        return Err(HeadError::RequestLine);
    }
    if target.len() > limits.uri {
        return Err(HeadError::UriTooLong);
    }
    if method == b"PRI" && version == b"HTTP/2.0" {
        return Err(HeadError::Http2Preface);
    }
    let version = Version::parse(version).ok_or(HeadError::Version)?;
    let method = Method::from_bytes(method).map_err(|_| HeadError::Method)?;
    let target = RequestTarget::parse(&method, target)?;

    // One copy of the field section, which all values then share: the read buffer stays free
    // to be used again while the head lives.
    let shared = Bytes::copy_from_slice(section);
    let mut fields = Fields::parse(Kind::Request, version, &shared, &shared, limits)?;
    let host = fields.host.take().filter(|host| !host.is_empty());
    let host = host.ok_or(HeadError::NoHost)?;
    if let RequestTarget::Absolute { authority, .. } = &target
        && !authority.as_bytes().eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(HeadError::HostMismatch);
    }
    Ok(RequestHead {
        method,
        target,
        version,
        host,
        framing: declared_framing(&fields).unwrap_or(Framing::None),
        keep_alive: fields.keep_alive(version),
        headers: fields.headers,
        expect: fields.expect,
        connection: fields.connection,
        te_trailers: fields.te_trailers,
        declared_trailers: fields.declared_trailers,
        upgrade: fields.upgrade,
    })
}

/// [`parse_response`] for a buffer that grows: `scan` is kept until the head is there.
pub(super) fn response(
    scan: &mut Scan,
    buf: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
) -> Result<Option<(ResponseHead, usize)>, HeadError> {
    let Some(end) = scan.find(buf, limits.bytes)? else {
        return Ok(None);
    };
    let head = buf.get(..end).unwrap_or_default();
    Ok(Some((response_head(head, limits, request_method)?, end)))
}

fn response_head(
    head: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
) -> Result<ResponseHead, HeadError> {
    let (line, section) = first_line(head);
    let (version, status) = status_line(line)?;
    let shared = Bytes::copy_from_slice(section);
    let fields = Fields::parse(Kind::Response, version, &shared, &shared, limits)?;
    let framing = response_framing(status, &fields, request_method)?;
    Ok(ResponseHead {
        status,
        version,
        framing,
        declared_length: fields.length,
        keep_alive: fields.keep_alive(version)
            && matches!(
                framing,
                Framing::None | Framing::Length(_) | Framing::Chunked
            ),
        headers: fields.headers,
        connection: fields.connection,
        declared_trailers: fields.declared_trailers,
        upgrade: fields.upgrade,
    })
}

/// `HTTP/1.1 200 OK`. The reason phrase is checked and dropped; when it is missing, the space
/// before it may be missing too: servers do that, and it cannot be read differently.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), HeadError> {
    let (version, rest) = split_space(line).ok_or(HeadError::StatusLine)?;
    let version = Version::parse(version).ok_or(HeadError::Version)?;
    let (code, reason) = split_space(rest).unwrap_or((rest, b""));
    let text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !reason.iter().all(text) {
        return Err(HeadError::StatusLine);
    }
    let status = StatusCode::from_bytes(code).map_err(|_| HeadError::StatusLine)?;
    Ok((version, status))
}

/// RFC 9112 §6.3, items 1 to 8, for responses.
fn response_framing(
    status: StatusCode,
    fields: &Fields,
    request_method: &Method,
) -> Result<Framing, HeadError> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // A server that announces a body here may well send it, as what looks like the next
        // response. `Content-Length: 0` announces none, and some send it.
        if fields.chunked || fields.length.is_some_and(|length| length > 0) {
            return Err(HeadError::UnexpectedBody);
        }
        let switching = status == StatusCode::SWITCHING_PROTOCOLS;
        return Ok(if switching {
            Framing::Tunnel
        } else {
            Framing::None
        });
    }
    if request_method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::None);
    }
    if request_method == Method::CONNECT && status.is_success() {
        return Ok(Framing::Tunnel);
    }
    Ok(declared_framing(fields).unwrap_or(Framing::UntilClose))
}

/// What the framing fields say; `Fields` holds at most one of them.
fn declared_framing(fields: &Fields) -> Option<Framing> {
    if fields.chunked {
        return Some(Framing::Chunked);
    }
    fields.length.map(Framing::Length)
}

/// The first line without its CRLF, and the octets after it.
fn first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', head).map_or(head.len(), |at| at + 1);
    let (line, section) = head.split_at_checked(end).unwrap_or((head, b""));
    (line.strip_suffix(b"\r\n").unwrap_or(line), section)
}

fn split_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr(b' ', text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

//! Field sections (RFC 9112 §5), and the fields that are about the connection rather than the
//! message (RFC 9110 §7.6.1).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::error::HeadError;
use super::scan::lines;
use super::{HeadLimits, Version};

/// Octets of a usual field line, and rather few.
const USUAL: usize = 32;

/// What an `Expect` field asks for (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `100-continue`, once.
    Continue,
    /// Anything else; answered with 417.
    Unknown,
}

/// Fields that this codec takes out of the map when it reads, and makes itself when it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Managed {
    Connection,
    ContentLength,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
}

impl Managed {
    /// By name in any case. Length and first letter decide which one it can be, so most names cost
    /// no comparison.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let first = name.first()?.to_ascii_lowercase();
        let (known, managed): (&[u8], Self) = match (name.len(), first) {
            (2, b't') => (b"te", Self::Te),
            (4, b'h') => (b"host", Self::Host),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b't') => (b"trailer", Self::Trailer),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            _ => return None,
        };
        name.eq_ignore_ascii_case(known).then_some(managed)
    }
}

/// `Content_Length` and `Transfer_Encoding`: other fields by RFC 9110, the framing ones to
/// servers that turn both `-` and `_` into `_` (CGI, WSGI).
fn is_lookalike(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content_length") || name.eq_ignore_ascii_case(b"transfer_encoding")
}

/// Whose head the fields are in: `Host` and `Expect` mean nothing in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// `close` and `keep-alive`, as options of `Connection`.
#[derive(Clone, Copy, Debug, Default)]
struct Persistence {
    close: bool,
    keep_alive: bool,
}

/// The fields of a head, sorted into the message's own and the connection's.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) headers: HeaderMap,
    pub(super) host: Option<HeaderValue>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) expect: Option<Expect>,
    pub(super) connection: Vec<HeaderName>,
    pub(super) te_trailers: bool,
    pub(super) declared_trailers: Vec<HeaderName>,
    pub(super) upgrade: Option<HeaderValue>,
    persistence: Persistence,
}

impl Fields {
    /// Parses `section`: the field lines of `head` with their CRLF, the empty line after them
    /// included or not.
    pub(super) fn parse(
        kind: Kind,
        version: Version,
        head: &Bytes,
        section: &[u8],
        limits: &HeadLimits,
    ) -> Result<Self, HeadError> {
        // Room for as many as there are in most heads of this length, and what a credential adds.
        let expected = (section.len() / USUAL + 2).min(limits.fields);
        let mut fields = Self {
            headers: HeaderMap::try_with_capacity(expected).unwrap_or_default(),
            ..Self::default()
        };
        each_field(head, section, limits, |name, value| {
            match Managed::of(name) {
                Some(Managed::Host | Managed::Expect) | None if kind == Kind::Response => {
                    append(&mut fields.headers, name, value)
                }
                Some(managed) => fields.manage(managed, value, limits),
                None => append(&mut fields.headers, name, value),
            }
        })?;
        fields.settle(version)?;
        Ok(fields)
    }

    fn manage(
        &mut self,
        managed: Managed,
        value: HeaderValue,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        match managed {
            Managed::Host => {
                if self.host.replace(value).is_some() {
                    return Err(HeadError::DuplicateHost);
                }
            }
            Managed::ContentLength => {
                let length = parse_length(value.as_bytes()).ok_or(HeadError::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(HeadError::DuplicateContentLength);
                }
            }
            Managed::TransferEncoding => {
                if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(HeadError::DuplicateTransferEncoding);
                }
            }
            Managed::Upgrade => {
                if self.upgrade.replace(value).is_some() {
                    return Err(HeadError::DuplicateUpgrade);
                }
            }
            Managed::Connection => self.connection(&value, limits)?,
            Managed::Expect => {
                let first = self.expect.is_none();
                let known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                self.expect = Some(if first && known {
                    Expect::Continue
                } else {
                    Expect::Unknown
                });
            }
            Managed::Te => {
                self.te_trailers |= members(&value).any(|m| m.eq_ignore_ascii_case(b"trailers"));
            }
            Managed::Trailer => {
                for member in members(&value) {
                    let name =
                        HeaderName::from_bytes(member).map_err(|_| HeadError::TrailerList)?;
                    push(&mut self.declared_trailers, name, limits)?;
                }
            }
            // What they say is said by the version and by `Connection`.
            Managed::KeepAlive | Managed::ProxyConnection => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &HeaderValue, limits: &HeadLimits) -> Result<(), HeadError> {
        for member in members(value) {
            if member.eq_ignore_ascii_case(b"close") {
                self.persistence.close = true;
            } else if member.eq_ignore_ascii_case(b"keep-alive") {
                self.persistence.keep_alive = true;
            } else {
                let name =
                    HeaderName::from_bytes(member).map_err(|_| HeadError::ConnectionOption)?;
                push(&mut self.connection, name, limits)?;
            }
        }
        Ok(())
    }

    /// What can be said only when all fields are there.
    fn settle(&mut self, version: Version) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::LengthAndChunked);
        }
        if self.chunked && version == Version::Http10 {
            return Err(HeadError::TransferEncodingHttp10);
        }
        let mut upgrade = false;
        for name in &self.connection {
            match Managed::of(name.as_str().as_bytes()) {
                Some(Managed::Host | Managed::ContentLength | Managed::TransferEncoding) => {
                    return Err(HeadError::ConnectionNames);
                }
                Some(Managed::Upgrade) => upgrade = true,
                Some(
                    Managed::Connection
                    | Managed::Expect
                    | Managed::KeepAlive
                    | Managed::ProxyConnection
                    | Managed::Te
                    | Managed::Trailer,
                ) => {}
                None => {
                    self.headers.remove(name);
                }
            }
        }
        // RFC 9110 §7.8: an Upgrade counts only if Connection names it, and never in HTTP/1.0.
        if !upgrade || version == Version::Http10 {
            self.upgrade = None;
        }
        // RFC 9110 §10.1.1: HTTP/1.0 knows no 100-continue; the field is to be ignored.
        if version == Version::Http10 && self.expect == Some(Expect::Continue) {
            self.expect = None;
        }
        Ok(())
    }

    /// Whether another message may follow this one (RFC 9112 §9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        let Persistence { close, keep_alive } = self.persistence;
        !close && (keep_alive || version == Version::Http11)
    }
}

/// The fields of a trailer section, all of them; `section` as for [`Fields::parse`].
pub(super) fn parse_trailers(section: &Bytes, limits: &HeadLimits) -> Result<HeaderMap, HeadError> {
    let mut map = HeaderMap::new();
    each_field(section, section, limits, |name, value| {
        append(&mut map, name, value)
    })?;
    Ok(map)
}

/// Calls `take` with the name and the trimmed, checked value of each field line.
/// The values share the memory of `head`.
fn each_field(
    head: &Bytes,
    section: &[u8],
    limits: &HeadLimits,
    mut take: impl FnMut(&[u8], HeaderValue) -> Result<(), HeadError>,
) -> Result<(), HeadError> {
    let mut left = limits.fields;
    for line in lines(section).take_while(|line| !line.is_empty()) {
        left = left.checked_sub(1).ok_or(HeadError::TooManyFields)?;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(HeadError::ObsFold);
        }
        let colon = memchr(b':', line).ok_or(HeadError::NoColon)?;
        let (name, value) = line.split_at_checked(colon).ok_or(HeadError::NoColon)?;
        let value = trim(value.get(1..).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value))
            .map_err(|_| HeadError::FieldValue)?;
        take(name, value)?;
    }
    Ok(())
}

fn append(map: &mut HeaderMap, name: &[u8], value: HeaderValue) -> Result<(), HeadError> {
    let name = HeaderName::from_bytes(name).map_err(|_| HeadError::FieldName)?;
    if is_lookalike(name.as_str().as_bytes()) {
        return Err(HeadError::Lookalike);
    }
    map.try_append(name, value)
        .map_err(|_| HeadError::TooManyFields)?;
    Ok(())
}

fn push(
    list: &mut Vec<HeaderName>,
    name: HeaderName,
    limits: &HeadLimits,
) -> Result<(), HeadError> {
    if list.len() >= limits.fields {
        return Err(HeadError::TooManyFields);
    }
    list.push(name);
    Ok(())
}

/// The members of a list, trimmed; empty ones are skipped (RFC 9110 §5.6.1.2).
fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let list = value.as_bytes().split(|byte| *byte == b',');
    list.map(trim).filter(|member| !member.is_empty())
}

/// Without leading and trailing OWS (RFC 9110 §5.6.3).
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The number in its one canonical spelling, up to `i64::MAX`: what some parser would read
/// with a sign, in another base or wrapped around is none.
fn parse_length(text: &[u8]) -> Option<u64> {
    let canonical =
        matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(text).ok().filter(|_| canonical)?;
    length.parse().ok().filter(|n| i64::try_from(*n).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_spelling() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"10"), Some(10));
        assert_eq!(parse_length(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "+1",
            "-1",
            "00",
            "007",
            "1_0",
            "0x10",
            "1 0",
            "5, 5",
            "1.0",
            "1e3",
            "9223372036854775808",
            "18446744073709551616",
            "\u{663}",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    /// A map of fields holds less than the configuration may allow.
    #[test]
    fn more_fields_than_a_map_holds_are_an_error() {
        let lines: Vec<String> = (0..40_000).map(|name| format!("a{name}:b\r\n")).collect();
        let section = Bytes::from(lines.concat());
        let limits = HeadLimits {
            bytes: 1 << 20,
            fields: 100_000,
            ..HeadLimits::default()
        };
        let parsed = Fields::parse(Kind::Request, Version::Http11, &section, &section, &limits);
        assert!(parsed.is_err());
    }

    #[test]
    fn trims_only_ows() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0ba\x0c"), b"\x0ba\x0c");
    }

    #[test]
    fn managed_names_in_any_case() {
        for (name, managed) in [
            ("te", Managed::Te),
            ("host", Managed::Host),
            ("expect", Managed::Expect),
            ("trailer", Managed::Trailer),
            ("upgrade", Managed::Upgrade),
            ("connection", Managed::Connection),
            ("keep-alive", Managed::KeepAlive),
            ("content-length", Managed::ContentLength),
            ("proxy-connection", Managed::ProxyConnection),
            ("transfer-encoding", Managed::TransferEncoding),
        ] {
            for name in [name.to_owned(), name.to_uppercase()] {
                assert_eq!(Managed::of(name.as_bytes()), Some(managed), "{name}");
            }
            assert_eq!(Managed::of(format!("{name}s").as_bytes()), None, "{name}s");
        }
        assert_eq!(Managed::of(b""), None);
        assert_eq!(
            Managed::of(b"Transfer-ENCODING"),
            Some(Managed::TransferEncoding)
        );
        assert_eq!(Managed::of(b"TE"), Some(Managed::Te));
        assert_eq!(Managed::of(b"content-lengtH"), Some(Managed::ContentLength));
        assert_eq!(Managed::of(b"content-length "), None);
        assert_eq!(Managed::of(b"content-lengtx"), None);
    }
}

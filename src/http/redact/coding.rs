//! Content codings (RFC 9110 §8.4): which can be looked into.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::credential::echo::PART_LEAST;

// As constants, so that no request parses them.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const A_IM: HeaderName = HeaderName::from_static("a-im");
const AVAILABLE_DICTIONARY: HeaderName = HeaderName::from_static("available-dictionary");

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// What a body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// One whole, in this coding.
    Whole(Coding),
    /// Messages of gRPC, some of which are in this coding.
    Messages(Coding),
}

impl Content {
    /// Whether it is one whole that is compressed.
    pub(super) fn is_compressed(self) -> bool {
        match self {
            Self::Whole(coding) => coding != Coding::Identity,
            Self::Messages(_) => false,
        }
    }
}

/// Why a body cannot be looked into.
pub(super) type Opaque = &'static str;

impl Coding {
    fn of_name(name: &[u8]) -> Option<Self> {
        let codings: [(&[u8], Self); 7] = [
            (b"", Self::Identity),
            (b"identity", Self::Identity),
            (b"gzip", Self::Gzip),
            (b"x-gzip", Self::Gzip),
            (b"deflate", Self::Deflate),
            (b"br", Self::Brotli),
            (b"zstd", Self::Zstd),
        ];
        let named = |(word, _): &&(&[u8], Self)| name.eq_ignore_ascii_case(word);
        codings.iter().find(named).map(|(_, coding)| *coding)
    }
}

/// Asks for what can be looked into and the agent asked for, and for nothing else. A part of
/// a compressed body says nothing, so where a range is asked for nothing is to be
/// compressed, and a part that is too small to be told from any other bytes is not asked for:
/// a server may always send the whole (RFC 9110 §14.2). Difference codings (RFC 3229) and shared
/// dictionaries are not asked for at all.
pub(super) fn narrow(headers: &mut HeaderMap) {
    let tells_little = |value: &HeaderValue| asks_for_little(value.as_bytes());
    if headers.get_all(header::RANGE).iter().any(tells_little) {
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    let wanted = Some(header::ACCEPT_ENCODING).filter(|_| !headers.contains_key(header::RANGE));
    let value = wanted.and_then(|name| known(headers, &name));
    let value = value.unwrap_or(HeaderValue::from_static("identity"));
    headers.insert(header::ACCEPT_ENCODING, value);
    match known(headers, &GRPC_ACCEPT_ENCODING) {
        Some(value) => headers.insert(GRPC_ACCEPT_ENCODING, value),
        None => headers.remove(GRPC_ACCEPT_ENCODING),
    };
    for name in [A_IM, AVAILABLE_DICTIONARY] {
        headers.remove(name);
    }
}

/// Whether one of the ranges is shorter than what is found of a secret in a part, but for the
/// first byte, by which clients ask for the length of the whole.
fn asks_for_little(ranges: &[u8]) -> bool {
    let Some((unit, ranges)) = ranges.split_at_checked(b"bytes=".len()) else {
        return false;
    };
    if !unit.eq_ignore_ascii_case(b"bytes=") || ranges.trim_ascii() == b"0-0" {
        return false;
    }
    // A server that reads what is no range may take it for a short one.
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let length = |range: &[u8]| {
        let range = range.trim_ascii();
        let dash = range.iter().position(|&byte| byte == b'-')?;
        match (range.get(..dash)?, range.get(dash + 1..)?) {
            (_, []) => Some(u64::MAX),
            ([], last) => number(last),
            (first, last) => number(last)?.checked_sub(number(first)?)?.checked_add(1),
        }
    };
    let is_short = |range| length(range).is_none_or(|length| length < PART_LEAST);
    ranges.split(|&byte| byte == b',').any(is_short)
}

/// The members of a list of codings that can be looked into; `None` for none.
fn known(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for value in headers.get_all(name) {
        let words = value.as_bytes().split(|&byte| byte == b',');
        let words = words
            .map(<[u8]>::trim_ascii)
            .filter(|word| !word.is_empty());
        let known = |word: &&[u8]| {
            let name = word.split(|&byte| byte == b';').next().unwrap_or_default();
            Coding::of_name(name.trim_ascii()).is_some()
        };
        kept.extend(words.filter(known));
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok();
    value.filter(|value| !value.is_empty())
}

/// Takes out what is said of the compressed bytes and does not hold of the decoded ones: their
/// length, digests (RFC 9530 and what came before it), and a tag that stands for each of them
/// (RFC 9110 §8.8.3); a weak one goes on standing for what they mean.
pub(super) fn forget(headers: &mut HeaderMap) {
    const OF_BYTES: [HeaderName; 6] = [
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-md5"),
    ];
    for name in OF_BYTES {
        headers.remove(name);
    }
    let mut tags = headers.get_all(header::ETAG).iter();
    if tags.any(|tag| !tag.as_bytes().starts_with(b"W/")) {
        headers.remove(header::ETAG);
    }
}

/// What a body with these headers is made of; `part`: it is a part of something larger.
pub(super) fn of(headers: &HeaderMap, part: bool) -> Result<Content, Opaque> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for word in value.as_bytes().split(|&byte| byte == b',') {
            coding = match (Coding::of_name(word.trim_ascii()), coding) {
                (Some(Coding::Identity), coding) => coding,
                (Some(named), Coding::Identity) => named,
                (Some(_), _) => return Err("its body is compressed more than once"),
                (None, _) => return Err("its body is coded in a way that was not asked for"),
            };
        }
    }
    if part && coding != Coding::Identity {
        return Err("it is a part of a compressed body");
    }
    match (of_messages(headers)?, coding) {
        (Coding::Identity, coding) => Ok(Content::Whole(coding)),
        (messages, Coding::Identity) => Ok(Content::Messages(messages)),
        (_, _) => Err("both its body and its messages are compressed"),
    }
}

/// The coding of single messages of gRPC.
fn of_messages(headers: &HeaderMap) -> Result<Coding, Opaque> {
    let mut values = headers.get_all(GRPC_ENCODING).iter();
    let coding = match values.next() {
        None => Some(Coding::Identity),
        Some(value) => Coding::of_name(value.as_bytes()),
    };
    coding
        .filter(|_| values.next().is_none())
        .ok_or("its messages are coded in a way that was not asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowed(fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        narrow(&mut headers);
        headers[header::ACCEPT_ENCODING]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn only_what_can_be_looked_into_is_asked_for() {
        let accept = |value| narrowed(&[("accept-encoding", value)]);
        assert_eq!(accept("gzip, deflate, br, zstd"), "gzip, deflate, br, zstd");
        assert_eq!(
            accept("gzip;q=0.5, compress, *, dcb, BR ;q=1"),
            "gzip;q=0.5, BR ;q=1"
        );
        assert_eq!(accept("compress"), "identity");
        assert_eq!(accept(""), "identity");
        let two = [("accept-encoding", "gzip"), ("accept-encoding", "br")];
        assert_eq!(narrowed(&two), "gzip, br");
        let part = [("accept-encoding", "gzip"), ("range", "bytes=0-9")];
        assert_eq!(narrowed(&part), "identity");
    }

    #[test]
    fn parts_that_tell_too_little_are_not_asked_for() {
        for (ranges, sent) in [
            ("bytes=0-0", true),
            ("bytes=0-7", true),
            ("bytes=-8", true),
            ("bytes=100-", true),
            ("bytes=0-99, 200-299", true),
            ("lines=0-1", true),
            ("bytes=0-6", false),
            ("Bytes=7-13", false),
            ("bytes=-7", false),
            ("bytes=0-99,200-206", false),
            ("bytes=0-0,7-7", false),
            ("bytes=9-3", false),
            ("bytes=0 - 3", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(ranges));
            headers.insert(header::IF_RANGE, HeaderValue::from_static("\"a\""));
            narrow(&mut headers);
            let both = [header::RANGE, header::IF_RANGE];
            assert!(
                both.iter().all(|name| headers.contains_key(name) == sent),
                "{ranges}"
            );
        }
    }

    #[test]
    fn messages_are_asked_for_in_what_can_be_looked_into() {
        for (asked, sent) in [
            ("identity, deflate, gzip", Some("identity, deflate, gzip")),
            ("snappy,gzip", Some("gzip")),
            ("snappy", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(asked));
            narrow(&mut headers);
            let got = headers.get(GRPC_ACCEPT_ENCODING);
            assert_eq!(got.map(|value| value.to_str().unwrap()), sent);
            assert_eq!(headers[header::ACCEPT_ENCODING], "identity");
        }
    }

    #[test]
    fn codings_of_messages() {
        let content = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            of(&headers, false)
        };
        let gzip = ("grpc-encoding", "gzip");
        assert_eq!(content(&[gzip]), Ok(Content::Messages(Coding::Gzip)));
        let identity = ("grpc-encoding", "identity");
        assert_eq!(content(&[identity]), Ok(Content::Whole(Coding::Identity)));
        assert!(content(&[("grpc-encoding", "snappy")]).is_err());
        assert!(content(&[gzip, identity]).is_err());
        assert!(content(&[gzip, ("content-encoding", "gzip")]).is_err());
    }

    #[test]
    fn codings_of_responses() {
        let coding = |value: &'static str, part| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            of(&headers, part).map(|content| match content {
                Content::Whole(coding) => coding,
                Content::Messages(_) => panic!("{value}"),
            })
        };
        assert_eq!(coding("GZIP", false), Ok(Coding::Gzip));
        assert_eq!(coding("identity, br", false), Ok(Coding::Brotli));
        assert_eq!(coding("identity", true), Ok(Coding::Identity));
        for value in ["gzip, gzip", "br, gzip", "compress", "gzip;q=1", "gzip br"] {
            assert!(coding(value, false).is_err(), "{value}");
        }
        assert!(coding("gzip", true).is_err());
    }
}

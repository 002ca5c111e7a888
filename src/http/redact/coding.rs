//! Content codings (RFC 9110 §8.4): which can be looked into.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

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
/// compressed. Difference codings (RFC 3229), shared dictionaries and the compression of
/// single gRPC messages are not asked for at all.
pub(super) fn narrow(headers: &mut HeaderMap) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    if !headers.contains_key(header::RANGE) {
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            let words = value.as_bytes().split(|&byte| byte == b',');
            let words = words
                .map(<[u8]>::trim_ascii)
                .filter(|word| !word.is_empty());
            let known = |word: &&[u8]| {
                let name = word.split(|&byte| byte == b';').next().unwrap_or_default();
                Coding::of_name(name.trim_ascii()).is_some()
            };
            kept.extend(words.filter(known).map(<[u8]>::to_vec));
        }
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok();
    let value = value.filter(|value| !value.is_empty());
    let value = value.unwrap_or(HeaderValue::from_static("identity"));
    headers.insert(header::ACCEPT_ENCODING, value);
    for name in ["a-im", "available-dictionary", "grpc-accept-encoding"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// The coding of a message with these headers; `part`: it is a part of something larger.
pub(super) fn of(headers: &HeaderMap, part: bool) -> Result<Coding, Opaque> {
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
    let grpc = headers.get("grpc-encoding");
    if grpc.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err("its messages are compressed, which was not asked for");
    }
    Ok(coding)
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
        assert!(!headers.contains_key("grpc-accept-encoding"));
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
        assert_eq!(narrowed(&[("grpc-accept-encoding", "gzip")]), "identity");
        let two = [("accept-encoding", "gzip"), ("accept-encoding", "br")];
        assert_eq!(narrowed(&two), "gzip, br");
        let part = [("accept-encoding", "gzip"), ("range", "bytes=0-1")];
        assert_eq!(narrowed(&part), "identity");
    }

    #[test]
    fn codings_of_responses() {
        let coding = |value: &'static str, part| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            of(&headers, part)
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

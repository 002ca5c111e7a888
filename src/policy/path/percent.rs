//! Percent-encoding (RFC 3986 §2.1), strict.

use std::borrow::Cow;

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct BadEncoding;

/// Decodes every `%XX`, once.
pub(in crate::policy) fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>, BadEncoding> {
    if memchr::memchr(b'%', text).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, encoded) = rest.split_at_checked(at).ok_or(BadEncoding)?;
        let (byte, after) = triplet(encoded).ok_or(BadEncoding)?;
        decoded.extend_from_slice(plain);
        decoded.push(byte);
        rest = after;
    }
    decoded.extend_from_slice(rest);
    Ok(Cow::Owned(decoded))
}

/// The byte of the `%XX` that `text` begins with, and what follows it.
pub(in crate::policy) fn triplet(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = text else {
        return None;
    };
    Some((hex(*high)? << 4 | hex(*low)?, rest))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once() {
        assert_eq!(decode(b"a%2fB%2F%25%32%35").unwrap().as_ref(), b"a/B/%25");
        assert!(matches!(decode(b"plain"), Ok(Cow::Borrowed(b"plain"))));
    }

    #[test]
    fn bad_encoding_is_an_error() {
        for text in [
            "%", "a%", "%2", "%2g", "%g2", "%%41", "% 41", "%+1", "%2\u{e9}",
        ] {
            assert_eq!(decode(text.as_bytes()), Err(BadEncoding), "{text:?}");
        }
    }
}

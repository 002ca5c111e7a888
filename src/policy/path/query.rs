//! The query as key and value pairs, the way the servers of web APIs read it.
//!
//! Pairs are separated by `&` (WHATWG URL, `application/x-www-form-urlencoded`), `+` is a
//! space, then percent-encoding is decoded. Some servers also split on `;` or keep `+`:
//! a [`Reading`] says which of these is meant.

use std::borrow::Cow;

use super::percent;

/// One of the ways in which servers read a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Reading {
    /// `;` separates pairs, as `&` does.
    pub semicolon_separates: bool,
    /// `+` stands for a space.
    pub plus_is_space: bool,
}

impl Reading {
    /// The usual one, which allow rules are matched by.
    pub const USUAL: Self = Self {
        semicolon_separates: false,
        plus_is_space: true,
    };
    /// All of them: a deny rule matches if it does so by any.
    pub const ALL: [Self; 4] = [
        Self::USUAL,
        Self {
            semicolon_separates: true,
            plus_is_space: true,
        },
        Self {
            semicolon_separates: false,
            plus_is_space: false,
        },
        Self {
            semicolon_separates: true,
            plus_is_space: false,
        },
    ];
}

/// A decoded key and its decoded value, empty where there is no `=`.
///
/// Bytes, not text: a query may hold what is not UTF-8.
pub(in crate::policy) type Pair<'q> = (Cow<'q, [u8]>, Cow<'q, [u8]>);

/// The pairs of a query in their order. Empty pieces (`a=1&&b=2`) are skipped.
///
/// The query has been checked when its target was parsed, so that no piece is badly encoded;
/// one that were would be given as it is.
pub(in crate::policy) fn pairs(query: &str, reading: Reading) -> impl Iterator<Item = Pair<'_>> {
    query
        .split(move |c| c == '&' || (reading.semicolon_separates && c == ';'))
        .filter(|piece| !piece.is_empty())
        .map(move |piece| {
            let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
            (decode(key, reading), decode(value, reading))
        })
}

fn decode(text: &str, reading: Reading) -> Cow<'_, [u8]> {
    let spaced = if reading.plus_is_space && text.contains('+') {
        Cow::Owned(text.replace('+', " ").into_bytes())
    } else {
        Cow::Borrowed(text.as_bytes())
    };
    match spaced {
        Cow::Borrowed(bytes) => percent::decode(bytes).unwrap_or(Cow::Borrowed(bytes)),
        Cow::Owned(bytes) => match percent::decode(&bytes) {
            Ok(Cow::Owned(decoded)) => Cow::Owned(decoded),
            Ok(Cow::Borrowed(_)) | Err(percent::BadEncoding) => Cow::Owned(bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, reading: Reading) -> Vec<(String, String)> {
        pairs(query, reading)
            .map(|(key, value)| {
                let text = |bytes: Cow<[u8]>| String::from_utf8(bytes.into_owned()).unwrap();
                (text(key), text(value))
            })
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn pairs_by_the_usual_reading() {
        for (query, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=b", &[("", "b")]),
            ("a=1&b=2&&c=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=1=2", &[("a", "1=2")]),
            ("a+b=c+d%2B", &[("a b", "c d+")]),
            ("a%26b=%3D", &[("a&b", "=")]),
            ("a=1;b=2", &[("a", "1;b=2")]),
        ] {
            assert_eq!(read(query, Reading::USUAL), owned(expected), "{query:?}");
        }
    }

    #[test]
    fn other_readings() {
        let [_, semicolon, plus, both] = Reading::ALL;
        let query = "a=1;b=x+y&c=3";
        assert_eq!(
            read(query, semicolon),
            owned(&[("a", "1"), ("b", "x y"), ("c", "3")])
        );
        assert_eq!(read(query, plus), owned(&[("a", "1;b=x+y"), ("c", "3")]));
        assert_eq!(
            read(query, both),
            owned(&[("a", "1"), ("b", "x+y"), ("c", "3")])
        );
    }
}

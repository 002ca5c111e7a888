//! Where a token may begin and must end: by what stands around it in text, or by its length, which
//! stands before it in a message.

use super::super::class::Class;
use super::{BEFORE, Candidate, Cursor, Rule};

/// What may stand before and after a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing that a longer one could go on with.
    #[default]
    Bounded,
    /// That, or else anything after so many bytes.
    Either(u16),
    /// Anything after so many bytes, neither more nor less.
    Counted(u16),
}

impl End {
    /// The bytes of `raw` that may be the token's, and whether none follow them; `None` if it is
    /// no token.
    #[inline]
    pub(super) fn cut(self, raw: &[u8], ended: bool) -> Option<(&[u8], bool)> {
        match self {
            Self::Counted(length) if may_follow(raw, length) => {
                Some(match raw.get(..=length.into()) {
                    Some([token @ .., _]) => (token, true),
                    _ => (raw, ended),
                })
            }
            Self::Counted(_) => None,
            Self::Bounded | Self::Either(_) => Some((raw, ended)),
        }
    }

    /// Whether a token of this length ends there.
    pub(super) fn is_at(self, length: usize) -> bool {
        match self {
            Self::Counted(counted) => length == usize::from(counted),
            Self::Bounded | Self::Either(_) => true,
        }
    }
}

impl Rule {
    /// Where a token must end that begins after the bytes `before` it, `None` if none may begin
    /// there: where it is `bounded` as text is; and as long as the length before it says.
    #[inline]
    pub(super) fn end_after(&self, before: &[u8], bounded: bool, raw: &[u8]) -> Option<End> {
        let (least, most) = self.lengths;
        // What needs no boundary is found without.
        let fits = |field: &Field| {
            (least..=most).contains(&usize::from(field.length))
                && !self.right.is_empty()
                && may_follow(raw, field.length)
                && (field.tag < b' ' || !is_text(before))
        };
        match (Field::before(before).filter(fits), bounded) {
            (Some(field), true) => Some(End::Either(field.length)),
            (Some(field), false) => Some(End::Counted(field.length)),
            (None, true) => Some(End::Bounded),
            (None, false) => None,
        }
    }
}

impl Candidate {
    /// The other way it may end.
    #[inline]
    pub(super) fn otherwise(self) -> Option<Self> {
        match self.end {
            End::Either(length) => Some(Self {
                cursor: Cursor::default(),
                end: End::Counted(length),
                ..self
            }),
            End::Bounded | End::Counted(_) => None,
        }
    }
}

/// Whether a token may begin at `start`: no byte of `not` before it, or one that is the end of
/// an escape, as in `\n`, `\u0022`, `\x22` and `%22`.
pub(in super::super) fn begins(window: &[u8], start: usize, not: Class) -> bool {
    let before = window.get(start.saturating_sub(BEFORE)..start);
    let before = before.unwrap_or_default();
    let Some(last) = before.last() else {
        return true;
    };
    if !not.contains(*last) {
        return true;
    }
    let hex = |byte: &u8| byte.is_ascii_hexdigit();
    match before {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'0'] => true,
        [.., b'%', a, b] | [.., b'\\', b'x', a, b] => hex(a) && hex(b),
        [.., b'\\', b'u', a, b, c, d] => [a, b, c, d].into_iter().all(hex),
        _ => false,
    }
}

/// Bytes before a string in which a message shows itself.
const NEAR: usize = 32;

/// What says how long a string is: the tag and the length of a field of protobuf (Encoding,
/// "Length-Delimited Records"), one or two bytes each, seven bits in a byte, the lowest first, and
/// wire type 2 in the lowest of the tag. Such a length may be the code of a letter, and so may be
/// the tag that follows the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    /// The last byte of the tag; the first of two is none of text.
    tag: u8,
    length: u16,
}

impl Field {
    #[inline]
    fn before(string: &[u8]) -> Option<Self> {
        // Nearly always, and then no number goes on.
        if let [.., other, tag, length] = *string
            && (other | tag | length) < 0x80
        {
            let length = length.into();
            return is_string(tag).then_some(Self { tag, length });
        }
        let (before, length) = match *string {
            [.., high] if goes_on(high) => return None,
            [ref before @ .., low, high] if goes_on(low) => {
                (before, u16::from(high) << 7 | u16::from(low & 0x7f))
            }
            [ref before @ .., length] => (before, length.into()),
            [] => return None,
        };
        match *before {
            [.., last] if goes_on(last) => None,
            // Of the tag, or the end of the field before.
            [.., first, tag] if goes_on(first) => {
                (is_string(first) || is_string(tag)).then_some(Self { tag, length })
            }
            [.., tag] => is_string(tag).then_some(Self { tag, length }),
            [] => None,
        }
    }
}

fn goes_on(byte: u8) -> bool {
    byte >= 0x80
}

fn is_string(tag: u8) -> bool {
    tag & 7 == 2
}

/// Whether nothing near the end of these bytes says that they are no text, which letters beyond
/// ASCII do, too: of the two mistakes it is the smaller one.
fn is_text(before: &[u8]) -> bool {
    let near = before.get(before.len().saturating_sub(NEAR)..);
    let mut near = near.unwrap_or_default().iter();
    near.all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

/// Whether what follows so many bytes may be a tag, if it is there: that of a number or a string,
/// or what the next message begins with.
#[inline]
fn may_follow(raw: &[u8], count: u16) -> bool {
    raw.get(usize::from(count))
        .is_none_or(|tag| matches!(tag & 7, 0 | 1 | 2 | 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_behind_tags() {
        let cases: [(&[u8], Option<u16>); 13] = [
            (b"\x0aA", Some(65)),
            (b"x\x0aA", Some(65)),
            ("é\x0aA".as_bytes(), Some(65)),
            (b"\x08\x01BA", Some(65)),
            (b"\x82\x01l", Some(108)),
            (b"\x12\xa4\x01", Some(164)),
            (b"\x92\x7f\xff\x01", Some(255)),
            (b"BA", Some(65)),
            // No tag, a tag of a number, no end of a length.
            (b"A", None),
            (b"\x08A", None),
            (b"\x0a\x80", None),
            (b"\x80\x01l", None),
            (b"\xff\xa4\x01", None),
        ];
        for (before, length) in cases {
            let field = Field::before(before);
            assert_eq!(field.map(|it| it.length), length, "{before:x?}");
        }
    }

    #[test]
    fn messages_are_no_text() {
        assert!(is_text(b"BA"));
        assert!(is_text(&[b"\x08", &[b'x'; NEAR][..]].concat()));
        for message in [&b"\x08\x01BA"[..], b"\x00\x00\x00\x00\x10BA", b"\xc2\x01l"] {
            assert!(!is_text(message), "{message:x?}");
        }
    }
}

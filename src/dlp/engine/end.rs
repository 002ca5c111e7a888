//! Where a token may begin, and where it must end.

use super::super::class::Class;
use super::{BEFORE, Candidate, Cursor, Rule, Verdict};

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
            Self::Counted(count) if may_follow(raw, count) => {
                Some(match raw.get(..=count.into()) {
                    Some([counted @ .., _]) => (counted, true),
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
            Self::Counted(count) => length == usize::from(count),
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
        let fits = |count: &u16| {
            (least..=most).contains(&usize::from(*count))
                && !self.right.is_empty()
                && may_follow(raw, *count)
        };
        match (counted(before).filter(fits), bounded) {
            (Some(count), true) => Some(End::Either(count)),
            (Some(count), false) => Some(End::Counted(count)),
            (None, true) => Some(End::Bounded),
            (None, false) => None,
        }
    }

    /// Reads a token that may end in two ways.
    #[cold]
    pub(super) fn read_either(
        &self,
        raw: &[u8],
        (one, other): (Candidate, Candidate),
        ended: bool,
    ) -> Verdict {
        match self.read(raw, one, ended) {
            Verdict::Nothing => self.read(raw, other, ended),
            verdict => verdict,
        }
    }
}

impl Candidate {
    /// The other way it may end.
    #[inline]
    pub(super) fn otherwise(self) -> Option<Self> {
        match self.end {
            End::Either(count) => Some(Self {
                cursor: Cursor::default(),
                end: End::Counted(count),
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

/// The length of the string that begins after these bytes, if they are the tag and the length of
/// a field of protobuf (Encoding, "Length-Delimited Records"): one or two bytes each, seven bits in
/// a byte, the lowest first, and wire type 2 in the lowest of the tag. Such a length may be the
/// code of a letter, and so may be the tag that follows the string.
#[inline]
fn counted(before: &[u8]) -> Option<u16> {
    // Nearly always, and then no number goes on.
    if let [.., other, tag, count] = before
        && (other | tag | count) < 0x80
    {
        return (tag & 7 == 2).then_some(u16::from(*count));
    }
    let goes_on = |byte: &u8| *byte >= 0x80;
    let (before, count) = match before {
        [.., high] if goes_on(high) => return None,
        [before @ .., low, high] if goes_on(low) => {
            (before, u16::from(*high) << 7 | u16::from(low & 0x7f))
        }
        [before @ .., count] => (before, u16::from(*count)),
        [] => return None,
    };
    let is_string = |tag: &u8| tag & 7 == 2;
    let follows_tag = match before {
        [.., last] if goes_on(last) => false,
        // Of the tag, or the end of the field before.
        [.., first, last] if goes_on(first) => is_string(first) || is_string(last),
        [.., tag] => is_string(tag),
        [] => false,
    };
    follows_tag.then_some(count)
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
        let cases: [(&[u8], Option<u16>); 11] = [
            (b"\x0aA", Some(65)),
            (b"x\x0aA", Some(65)),
            ("é\x0aA".as_bytes(), Some(65)),
            (b"\x82\x01l", Some(108)),
            (b"\x12\xa4\x01", Some(164)),
            (b"\x92\x7f\xff\x01", Some(255)),
            // No tag, a tag of a number, no end of a length.
            (b"A", None),
            (b"\x08A", None),
            (b"\x0a\x80", None),
            (b"\x80\x01l", None),
            (b"\xff\xa4\x01", None),
        ];
        for (before, count) in cases {
            assert_eq!(counted(before), count, "{before:x?}");
        }
    }
}

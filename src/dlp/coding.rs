//! Tokens in encodings: where the beginning of an encoded token is searched for, and how it
//! is read back.
//!
//! Nothing is decoded on suspicion. The fixed beginning of a token is encoded once, when the
//! engine is built, at each of the places where it may stand (base64 has three), and the
//! search looks for that; only what stands around a hit is decoded.

use std::cell::Cell;

use super::class::{self, Class};

/// Bytes before a token that are looked at.
const NEAR: usize = 8;

/// An encoding of single bytes or of base64 groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// None.
    #[default]
    Plain,
    /// Base64 in either alphabet, line ends in it skipped; the token begins with this byte of
    /// a group of three.
    Base64(u8),
    /// Hexadecimal.
    Hex,
    /// UTF-16, little end first.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
    /// Characters are escaped, as URLs, strings and markup do. These are not searched for by
    /// how a token begins: escapes themselves are alike, and stand wherever there are some.
    Escaped,
}

thread_local! {
    static WORK: Cell<u64> = const { Cell::new(0) };
}

/// How many bytes this thread has read of what may have been tokens.
#[inline]
pub(super) fn worked() -> u64 {
    WORK.get()
}

/// Counts some.
#[inline]
pub(super) fn work(bytes: usize) {
    WORK.set(WORK.get().wrapping_add(bytes as u64));
}

/// How far something was decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes it gave.
    pub count: usize,
    /// How many raw bytes these took, to the end of the last.
    pub raw: usize,
    /// Whether the encoding stopped, so that nothing more belongs to it.
    pub stopped: bool,
}

impl Coding {
    /// Those in which the beginnings of tokens are searched for.
    pub const ENCODED: [Self; 6] = [
        Self::Base64(0),
        Self::Base64(1),
        Self::Base64(2),
        Self::Hex,
        Self::Utf16Le,
        Self::Utf16Be,
    ];

    /// How people read it; `None` for none.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Base64(_) => Some("base64"),
            Self::Hex => Some("hexadecimal"),
            Self::Utf16Le | Self::Utf16Be => Some("UTF-16"),
            Self::Escaped => Some("escapes"),
        }
    }

    /// Raw bytes of so many encoded ones, at most and without line ends.
    #[must_use]
    pub fn encoded_len(self, bytes: usize) -> usize {
        match self {
            Self::Plain => bytes,
            Self::Base64(_) => (bytes + 4) / 3 * 4,
            Self::Hex | Self::Utf16Le | Self::Utf16Be => bytes * 2,
            Self::Escaped => bytes * 6,
        }
    }

    /// The classes of the raw bytes of a token with these first bytes.
    #[must_use]
    pub fn encode(self, classes: &[Class]) -> Vec<Class> {
        let zero = Class::single(0);
        match self {
            Self::Plain | Self::Escaped => classes.to_vec(),
            Self::Base64(place) => base64_classes(classes, place),
            Self::Hex => classes.iter().flat_map(hex_classes).collect(),
            Self::Utf16Le => classes.iter().flat_map(|class| [*class, zero]).collect(),
            Self::Utf16Be => classes.iter().flat_map(|class| [zero, *class]).collect(),
        }
    }

    /// Decodes as much as `out` has room for of a token whose encoding begins with `raw`, and
    /// of what follows it.
    #[must_use]
    pub fn decode(self, raw: &[u8], out: &mut [u8]) -> Decoded {
        let decoded = match self {
            Self::Base64(place) => decode_base64(raw, usize::from(place), out),
            _ => self.decode_units(raw, out),
        };
        work(decoded.count);
        decoded
    }

    fn decode_units(self, raw: &[u8], out: &mut [u8]) -> Decoded {
        let mut decoded = Decoded::default();
        let width = self.encoded_len(1);
        for place in out {
            let rest = raw.get(decoded.raw..).unwrap_or_default();
            let unit = rest.get(..width).unwrap_or(rest);
            let Some(byte) = self.unit(unit) else {
                // Half a unit may become a whole one.
                decoded.stopped = unit.len() == width;
                break;
            };
            *place = byte;
            decoded.count += 1;
            decoded.raw += width;
        }
        decoded
    }

    /// The byte of one unit.
    fn unit(self, unit: &[u8]) -> Option<u8> {
        let hex = |high: u8, low: u8| {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        };
        match (self, unit) {
            (Self::Plain | Self::Escaped, [byte])
            | (Self::Utf16Le, [byte, 0])
            | (Self::Utf16Be, [0, byte]) => Some(*byte),
            (Self::Hex, [high, low]) => hex(*high, *low),
            _ => None,
        }
    }

    /// The bytes before a token whose encoding starts at `start` of the window, up to eight:
    /// how many there are, and these at the end of the array.
    #[must_use]
    pub fn before(self, window: &[u8], start: usize) -> (usize, [u8; NEAR]) {
        let mut near = [0; NEAR];
        if let Self::Base64(place) = self {
            let from = window.get(..start).unwrap_or_default();
            let run = from
                .iter()
                .rev()
                .take(8)
                .take_while(|byte| base64_value(**byte).is_some())
                .count();
            let from = start - run / 4 * 4;
            // Three of the four are there: they were searched for.
            let group = window.get(from..window.len().min(start.saturating_add(4)));
            let decoded = decode_base64(group.unwrap_or_default(), 0, &mut near);
            let count = ((start - from) / 4 * 3 + usize::from(place)).min(decoded.count);
            // From the beginning of the array to its end.
            near.rotate_left(count);
            return (count, near);
        }
        let width = self.encoded_len(1);
        let (mut count, mut end) = (0, start);
        for place in near.iter_mut().rev() {
            let Some(from) = end.checked_sub(width) else {
                break;
            };
            let Some(byte) = window.get(from..end).and_then(|unit| self.unit(unit)) else {
                break;
            };
            *place = byte;
            (count, end) = (count + 1, from);
        }
        (count, near)
    }
}

/// Those of the two digits, in either case.
fn hex_classes(class: &Class) -> [Class; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (mut high, mut low) = (Class::default(), Class::default());
    for byte in class.bytes() {
        for (digit, class) in [(byte >> 4, &mut high), (byte & 15, &mut low)] {
            let digit = DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0');
            class.insert(digit);
            class.insert(digit.to_ascii_uppercase());
        }
    }
    [high, low]
}

/// The classes of the characters that stand for `classes`, of which the first is byte `place`
/// of a group of three. Each character is six bits of one byte, or the last bits of one and
/// the first of the next: as sets of values these are put together at no cost, however many
/// bytes the classes have.
fn base64_classes(classes: &[Class], place: u8) -> Vec<Class> {
    let any = Class::default().negated();
    let mut bytes = vec![any; usize::from(place)];
    bytes.extend_from_slice(classes);
    let set = |class: Class, part: fn(u8, u8) -> u8, shift: u8| {
        let values = class.bytes().map(|byte| part(byte, shift));
        values.fold(0_u64, |set, value| set | 1 << value)
    };
    let mut raw = Vec::new();
    for character in 0..bytes.len() * 8 / 6 {
        let (byte, bits) = (character * 6 / 8, character * 6 % 8);
        let shift = u8::try_from(bits).unwrap_or(0);
        let of = |byte: usize| bytes.get(byte).copied().unwrap_or_default();
        let first = set(of(byte), |byte, shift| (byte << shift) >> 2, shift);
        // The next byte matters only where the character reaches into it.
        let values = match shift {
            0 | 2 => first,
            _ => class::bits(set(of(byte + 1), |byte, shift| byte >> (10 - shift), shift))
                .fold(0, |values, low| values | first << low),
        };
        raw.push(base64_letters(values));
    }
    raw
}

/// The characters of a set of six-bit values, in either alphabet.
fn base64_letters(values: u64) -> Class {
    let mut letters = Class::default();
    for value in class::bits(values) {
        match value {
            0..26 => letters.insert(b'A' + value),
            26..52 => letters.insert(b'a' + value - 26),
            52..62 => letters.insert(b'0' + value - 52),
            62 => b"+-".iter().for_each(|letter| letters.insert(*letter)),
            _ => b"/_".iter().for_each(|letter| letters.insert(*letter)),
        }
    }
    letters
}

fn base64_value(byte: u8) -> Option<u32> {
    Some(u32::from(value_of(byte))).filter(|value| *value < 64)
}

/// The six bits that a character of base64 stands for, more than that for none.
#[inline]
pub(super) fn value_of(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(u8::MAX)
}

/// What each character of either alphabet of base64 stands for (RFC 4648 §4 and §5).
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut byte = 0_u8;
    loop {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => u8::MAX,
        };
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
        {
            values[byte as usize] = value;
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    values
};

fn decode_base64(raw: &[u8], drop: usize, out: &mut [u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let (mut bits, mut count, mut dropped) = (0_u32, 0, 0);
    for (byte, at) in raw.iter().zip(1..) {
        let Some(place) = out.get_mut(decoded.count) else {
            break;
        };
        let Some(value) = base64_value(*byte) else {
            if matches!(byte, b'\r' | b'\n') {
                continue;
            }
            decoded.stopped = true;
            break;
        };
        bits = (bits << 6) | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            if dropped < drop {
                dropped += 1;
            } else {
                *place = u8::try_from((bits >> count) & 0xff).unwrap_or(0);
                (decoded.count, decoded.raw) = (decoded.count + 1, at);
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn what_is_encoded_has_the_classes_and_decodes_back() {
        let token = b"gh~p_\xff\xfbAz09";
        let classes: Vec<Class> = token.iter().copied().map(Class::single).collect();
        for coding in Coding::ENCODED {
            let each = |form: fn(u8) -> String| {
                token
                    .iter()
                    .flat_map(|byte| form(*byte).into_bytes())
                    .collect::<Vec<u8>>()
            };
            let raw: Vec<u8> = match coding {
                Coding::Plain | Coding::Escaped => token.to_vec(),
                Coding::Base64(place) => {
                    let before = vec![b'.'; usize::from(place)];
                    STANDARD.encode([&before, &token[..]].concat()).into_bytes()
                }
                Coding::Hex => each(|byte| format!("{byte:02x}")),
                Coding::Utf16Le => token.iter().flat_map(|b| [*b, 0]).collect(),
                Coding::Utf16Be => token.iter().flat_map(|b| [0, *b]).collect(),
            };
            let encoded = coding.encode(&classes);
            for (class, byte) in encoded.iter().zip(&raw) {
                assert!(class.contains(*byte), "{coding:?}");
            }
            let mut bytes = [0; 100];
            let decoded = coding.decode(&raw, &mut bytes);
            assert!(
                bytes[..decoded.count].starts_with(token),
                "{coding:?} {decoded:?}"
            );
            let part = coding.decode(&raw, &mut bytes[..token.len()]);
            assert!(
                part.count == token.len() && part.raw <= raw.len(),
                "{part:?}"
            );
            assert!(raw.len() <= coding.encoded_len(token.len()));
            let twice = [&raw[..], &raw[..]].concat();
            if !matches!(coding, Coding::Base64(_)) {
                let (count, before) = coding.before(&twice, raw.len());
                assert_eq!(
                    (count, &before[..]),
                    (8, &token[token.len() - 8..]),
                    "{coding:?}"
                );
            }
        }
        let text = STANDARD.encode("key: abcdefghi");
        let (count, before) = Coding::Base64(2).before(text.as_bytes(), 4);
        assert_eq!(&before[NEAR - count..], b"key: ");
    }
}

//! JSON of which one record is one printable line, whatever an agent put into a value.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use itoa::Integer;
use serde::Serialize;
use serde_json::ser::Formatter;

/// A key as it stands between two values: `,"name":`.
#[derive(Clone, Copy)]
pub(super) struct Key(&'static str);

impl Key {
    /// Of what [`key!`] makes.
    pub(super) const fn new(between: &'static str) -> Self {
        Self(between)
    }
}

/// A [`Key`] of this name, in which there is nothing to escape.
macro_rules! key {
    ($name:literal) => {
        $crate::audit::json::Key::new(concat!(",\"", $name, "\":"))
    };
}
pub(super) use key;

/// One object on one line, written to where it will stand. A key without a value is left out.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    /// Where it begins: with a comma until it ends.
    start: usize,
}

#[expect(
    clippy::inline_always,
    reason = "where the key is known it is copied as it stands, and not by a call"
)]
impl<'a> Line<'a> {
    /// An object at the end of `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// A key whose value is put in later; where that will stand.
    pub(super) fn hole(&mut self, key: Key) -> usize {
        self.key(key);
        self.out.len()
    }

    /// A text of the gateway's own, in which there is nothing to escape either.
    #[inline(always)]
    pub(super) fn word(&mut self, key: Key, word: Option<&str>) {
        if let Some(word) = word {
            self.key(key);
            self.quoted(word);
        }
    }

    /// A text of at most so many bytes. Nearly all are plain ASCII, and copied.
    #[inline(always)]
    pub(super) fn text(&mut self, key: Key, text: Option<&str>, bytes: usize) {
        if let Some(text) = text {
            self.key(key);
            self.escaped(text, bytes);
        }
    }

    fn escaped(&mut self, text: &str, bytes: usize) {
        if text.len() <= bytes && is_plain(text) {
            return self.quoted(text);
        }
        let start = self.out.len();
        let mut serializer = serde_json::Serializer::with_formatter(&mut *self.out, Printable);
        if cut(text, bytes).serialize(&mut serializer).is_err() {
            // Writing to a vector does not fail.
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
    }

    /// A line of a file, as text of at most so many bytes.
    pub(super) fn place(&mut self, key: Key, place: Option<(&str, u32)>, bytes: usize) {
        const DIGITS: usize = 10;
        let Some((file, line)) = place else {
            return;
        };
        if file.len() + ":".len() + DIGITS > bytes || !is_plain(file) {
            return self.text(key, Some(&format!("{file}:{line}")), bytes);
        }
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(file.as_bytes());
        self.out.push(b':');
        self.digits(line);
        self.out.push(b'"');
    }

    /// A whole number.
    #[inline(always)]
    pub(super) fn number(&mut self, key: Key, number: Option<impl Integer>) {
        if let Some(number) = number {
            self.key(key);
            self.digits(number);
        }
    }

    /// `true` or `false`.
    #[inline(always)]
    pub(super) fn truth(&mut self, key: Key, truth: Option<bool>) {
        if let Some(truth) = truth {
            self.key(key);
            let word: &[u8] = if truth { b"true" } else { b"false" };
            self.out.extend_from_slice(word);
        }
    }

    /// An address, as text.
    #[inline(always)]
    pub(super) fn address(&mut self, key: Key, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.key(key);
            self.out.push(b'"');
            self.ip(address);
            self.out.push(b'"');
        }
    }

    /// Address and port, as text.
    pub(super) fn endpoint(&mut self, key: Key, endpoint: Option<SocketAddr>) {
        let Some(endpoint) = endpoint else {
            return;
        };
        self.key(key);
        self.out.push(b'"');
        if endpoint.is_ipv4() {
            self.ip(endpoint.ip());
            self.out.push(b':');
            self.digits(endpoint.port());
        } else {
            // Writing to a vector does not fail.
            let _ = write!(self.out, "{endpoint}");
        }
        self.out.push(b'"');
    }

    /// Seconds, to the microsecond: further digits would mean nothing.
    #[inline(always)]
    pub(super) fn seconds(&mut self, key: Key, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.key(key);
            self.decimal(duration);
        }
    }

    fn decimal(&mut self, duration: Duration) {
        self.digits(duration.as_secs());
        self.out.push(b'.');
        let mut micros = duration.subsec_micros();
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            // Below ten, so it fits.
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        let [first, rest @ ..] = digits;
        self.out.push(first);
        let end = rest.iter().rposition(|digit| *digit != b'0');
        let shown = end.and_then(|end| rest.get(..=end));
        self.out.extend_from_slice(shown.unwrap_or_default());
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn digits(&mut self, number: impl Integer) {
        let mut buffer = itoa::Buffer::new();
        self.out.extend_from_slice(buffer.format(number).as_bytes());
    }

    fn octet(&mut self, octet: u8) {
        for (place, from) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= from {
                self.out.push(b'0' + octet / place % 10);
            }
        }
    }

    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                self.octet(first);
                for octet in rest {
                    self.out.push(b'.');
                    self.octet(octet);
                }
            }
            // Writing to a vector does not fail.
            IpAddr::V6(address) => drop(write!(self.out, "{address}")),
        }
    }

    /// The end of the object and of the line.
    pub(super) fn end(self) {
        match self.out.get_mut(self.start) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.extend_from_slice(b"}\n");
    }

    #[inline(always)]
    fn key(&mut self, Key(between): Key) {
        self.out.extend_from_slice(between.as_bytes());
    }
}

/// Whether a text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    // To the end in any case, which is less work than to stop in time.
    text.bytes().fold(true, |all, byte| all & plain(byte))
}

/// Ends a value that was cut.
const ELLIPSIS: char = '\u{2026}';

/// At most so many bytes; what is longer is cut and ends with `…`.
fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, _) = text.split_at(end);
    let mut cut = String::with_capacity(end + ELLIPSIS.len_utf8());
    cut.push_str(kept);
    cut.push(ELLIPSIS);
    Cow::Owned(cut)
}

/// Writes compact JSON and escapes also what JSON would let stand but a terminal, a pager or
/// a line-based reader would act on: DEL, C1 controls, line and paragraph separators,
/// direction marks, zero-width characters, tags. Escaped, the value stays the same.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // Nearly every value is plain ASCII: one pass over the bytes and one write.
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut escaped = String::with_capacity(fragment.len() + 16);
        for character in fragment.chars() {
            if is_printable(character) {
                escaped.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String does not fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
        writer.write_all(escaped.as_bytes())
    }
}

fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

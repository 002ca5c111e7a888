//! JSON of which one record is one printable line, whatever an agent put into a value.

use std::fmt::Write as _;
use std::io;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

/// One object on one line, written to where it will stand.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> Line<'a> {
    /// An object at the end of `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, begun: false }
    }

    /// Any value. Keys are the gateway's own words, in which there is nothing to escape.
    pub(super) fn put(
        &mut self,
        key: &str,
        value: &(impl Serialize + ?Sized),
    ) -> serde_json::Result<()> {
        self.key(key);
        let mut serializer = serde_json::Serializer::with_formatter(&mut *self.out, Printable);
        value.serialize(&mut serializer)
    }

    /// A text of at most so many bytes. Nearly all are plain ASCII, and copied.
    pub(super) fn text(&mut self, key: &str, text: &str, bytes: usize) -> serde_json::Result<()> {
        if text.len() > bytes || !is_plain(text) {
            return self.put(key, &Capped { text, bytes });
        }
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        Ok(())
    }

    /// The end of the object and of the line.
    pub(super) fn end(self) {
        let end: &[u8] = if self.begun { b"}\n" } else { b"{}\n" };
        self.out.extend_from_slice(end);
    }

    fn key(&mut self, key: &str) {
        let before: &[u8] = if self.begun { b",\"" } else { b"{\"" };
        self.begun = true;
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Whether a text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    // To the end in any case, which is less work than to stop in time.
    text.bytes().fold(true, |all, byte| all & plain(byte))
}

/// A string of at most so many bytes; what is longer is cut and ends with `…`.
struct Capped<'a> {
    text: &'a str,
    bytes: usize,
}

/// Ends a value that was cut.
const ELLIPSIS: char = '\u{2026}';

impl Serialize for Capped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.text.len() <= self.bytes {
            return serializer.serialize_str(self.text);
        }
        let mut end = self.bytes;
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let (kept, _) = self.text.split_at(end);
        let mut cut = String::with_capacity(end + ELLIPSIS.len_utf8());
        cut.push_str(kept);
        cut.push(ELLIPSIS);
        serializer.serialize_str(&cut)
    }
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

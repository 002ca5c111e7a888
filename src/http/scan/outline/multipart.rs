//! The parts of a multipart body (RFC 2046 §5.1, RFC 7578).

use memchr::memchr;

use super::{Name, Spot, Turn};

/// Most bytes of a header line that are looked at.
pub(super) const LINE_MAX: usize = 1024;
/// RFC 2046 §5.1.1 has 70; some are longer.
const BOUNDARY_MAX: usize = 256;

/// Where in a multipart body the reader is.
#[derive(Debug)]
pub(super) struct Multipart {
    /// With the dashes before it.
    delimiter: Box<[u8]>,
    within: Within,
    /// The beginning of the line at hand, and where that is.
    line: Vec<u8>,
    begin: u64,
    name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// A part, or what is before and after all of them.
    Content,
    Header,
}

impl Multipart {
    pub(super) fn new(boundary: &[u8]) -> Self {
        let boundary = boundary.get(..BOUNDARY_MAX).unwrap_or(boundary);
        Self {
            delimiter: [b"--", boundary].concat().into(),
            within: Within::Content,
            line: Vec::new(),
            begin: 0,
            name: Name::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], at: u64, turn: Turn<'_>) {
        let mut next = 0;
        while let Some(rest) = bytes.get(next..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest);
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let most = match self.within {
                Within::Content => self.delimiter.len() + 2,
                Within::Header => LINE_MAX,
            };
            let room = most.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(piece.get(..room).unwrap_or(piece));
            next += piece.len() + 1;
            if end.is_some() {
                self.line(at.saturating_add(next as u64), turn);
                self.line.clear();
                self.begin = at.saturating_add(next as u64);
            }
        }
    }

    /// Deals with a whole line; the one after it stands at `next`.
    fn line(&mut self, next: u64, turn: Turn<'_>) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match self.within {
            Within::Content => {
                let Some(after) = line.strip_prefix(&*self.delimiter) else {
                    return;
                };
                self.name = Name::default();
                if after == b"--" {
                    turn(next, Spot::Outside);
                } else if after.trim_ascii().is_empty() {
                    self.within = Within::Header;
                    turn(next, Spot::PartHeader);
                }
            }
            Within::Header if line.is_empty() => {
                self.within = Within::Content;
                turn(next, Spot::Part(self.name));
            }
            Within::Header => {
                const FIELD: &[u8] = b"content-disposition:";
                let is_field = |start: &[u8]| start.eq_ignore_ascii_case(FIELD);
                if !line.get(..FIELD.len()).is_some_and(is_field) {
                    turn(self.begin, Spot::PartHeader);
                    return;
                }
                let name = parameter(line, b"name").map(|name| Name::of(&name));
                self.name = name.unwrap_or_default();
                let has_file = [&b"filename"[..], b"filename*"]
                    .iter()
                    .any(|key| parameter(line, key).is_some());
                let file = Spot::FileName(self.name);
                turn(self.begin, if has_file { file } else { Spot::PartHeader });
                turn(next, Spot::PartHeader);
            }
        }
    }
}

/// The value of a parameter of a header field, without quotes (RFC 9110 §5.6.6).
pub(super) fn parameter(field: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = field.split(|byte| {
        let ends = *byte == b';' && !quoted;
        if *byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = *byte == b'\\' && quoted && !escaped;
        ends
    });
    for part in parts.skip(1) {
        let Some(equals) = memchr(b'=', part) else {
            continue;
        };
        let (name, value) = part.split_at(equals);
        if name.trim_ascii().eq_ignore_ascii_case(key) {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let inner = value.strip_prefix(b"\"");
            let inner = inner.map(|inner| inner.strip_suffix(b"\"").unwrap_or(inner));
            return Some(inner.unwrap_or(value).to_vec());
        }
    }
    None
}

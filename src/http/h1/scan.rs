//! Finds the end of a head in bytes that arrive piecemeal.
//!
//! Each byte is looked at once however the input is split. Line ends are judged here, as they
//! come, so that a head with bare LF is refused at once instead of waited for in vain.

use memchr::{memchr, memchr3};

use super::error::HeadError;

/// How far the search for the empty line has got; start anew for each head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Everything before this offset was looked at.
    at: usize,
    /// Where the line that `at` lies in begins.
    line: usize,
    /// Whether one empty line may stand before the first line (RFC 9112 §2.2).
    leading: bool,
}

impl Scan {
    /// For a head that may follow one stray CRLF.
    pub(super) fn request() -> Self {
        Self {
            leading: true,
            ..Self::default()
        }
    }

    /// The length of the head up to and with its empty line, or `None` while that has not
    /// come. `buf` begins where the head does and only ever grows at its end.
    pub(super) fn find(&mut self, buf: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
        let window = buf.get(..limit).unwrap_or(buf);
        while let Some(found) = window
            .get(self.at..)
            .and_then(|rest| memchr3(b'\r', b'\n', 0, rest))
        {
            let at = self.at + found;
            match (window.get(at), window.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    let empty = at == self.line;
                    self.at = at + 2;
                    self.line = self.at;
                    if empty && !(self.leading && at == 0) {
                        return Ok(Some(self.at));
                    }
                }
                // CR at the very end: what follows it is still to come.
                (Some(b'\r'), None) => {
                    self.at = at;
                    return Self::more(buf, limit);
                }
                (Some(b'\r'), Some(_)) => return Err(HeadError::BareCr),
                (Some(0), _) => return Err(HeadError::Nul),
                (_, _) => return Err(HeadError::BareLf),
            }
        }
        self.at = window.len();
        Self::more(buf, limit)
    }

    fn more(buf: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
        if buf.len() >= limit {
            return Err(HeadError::TooLarge);
        }
        Ok(None)
    }

    /// The unfinished first line, if the search has not got past it.
    pub(super) fn first_line<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        if self.line == 0 || (self.leading && self.line == 2 && buf.starts_with(b"\r\n")) {
            return buf.get(self.line..);
        }
        None
    }
}

/// The lines of a head whose line ends were found good, without their CRLF, in order.
pub(super) fn lines(mut head: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (line, rest) = head.split_at_checked(memchr(b'\n', head)? + 1)?;
        head = rest;
        line.strip_suffix(b"\r\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_each_byte_once() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut scan = Scan::request();
        for end in 0..head.len() {
            let before = scan.at;
            assert_eq!(scan.find(&head[..end], 1000), Ok(None));
            // It never goes back by more than the one CR it waits on.
            assert!(scan.at >= before && scan.at + 1 >= end);
        }
        assert_eq!(scan.find(head, 1000), Ok(Some(head.len())));
    }

    #[test]
    fn one_leading_crlf_only_where_allowed() {
        assert_eq!(Scan::request().find(b"\r\nG\r\n\r\n", 99), Ok(Some(7)));
        assert_eq!(Scan::request().find(b"\r\n\r\nG\r\n\r\n", 99), Ok(Some(4)));
        assert_eq!(Scan::default().find(b"\r\nH\r\n\r\n", 99), Ok(Some(2)));
    }

    #[test]
    fn the_limit_counts_the_empty_line() {
        let head = b"a\r\n\r\n";
        assert_eq!(Scan::default().find(head, 5), Ok(Some(5)));
        assert_eq!(Scan::default().find(head, 4), Err(HeadError::TooLarge));
        assert_eq!(Scan::default().find(&head[..4], 5), Ok(None));
    }
}

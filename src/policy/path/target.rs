//! The request target (RFC 9112 §3.2): checked once, kept as sent.
//!
//! # What is refused, and what is not
//! - In the path, every byte that RFC 3986 §3.3 does not name there. In the query, what
//!   real clients send bare too: all printable ASCII but `"`, `<`, `>` and `#`, as the query
//!   state of WHATWG URL has it. So `[`, `\`, `]`, `^`, `` ` ``, `{`, `|` and `}` may stand
//!   there. It is also what the `http` crate carries further unchanged.
//! - What some servers remove, merge or decode before they look a path up: empty segments,
//!   dot segments, backslashes, control characters, invalid UTF-8; each also behind one or
//!   more further layers of encoding (`%252e`), and before a `;` (`/..;x/`).
//! - `%2F` is remembered, not refused: whether it may stand is for the rule to say. Dot
//!   segments are looked for as if it were a separator; empty segments are not, because
//!   `https:%2F%2F…` is how a URL travels as one segment.
//! - A `%` that is data (`100%25`) stays data, and so do double-encoded letters (`%2541`).

use std::borrow::Cow;

use super::percent;
use crate::error::{Reason, Refusal};

/// How often a path may still change by decoding it again; more is an attack on decoders.
const LAYERS_MAX: usize = 4;

/// Stands between the decoded segments. No decoded segment holds it.
const SEPARATOR: char = '\0';

/// Why a request target is refused. Displays as the tail of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Neither `/…` nor `*`.
    #[error("does not begin with /")]
    NotAbsolute,
    /// `#` never goes over the wire (RFC 9110 §4.2.5).
    #[error("has a fragment; leave out # and what follows")]
    Fragment,
    /// A control byte, bare or encoded, C1 and DEL included.
    #[error("has a control character")]
    Control,
    /// A byte that the grammar of URIs has no place for.
    #[error("has a character that must be percent-encoded")]
    BadCharacter,
    /// `%` without two hexadecimal digits.
    #[error("has a bad percent-encoding; a plain % is written %25")]
    BadEncoding,
    /// `\` or `%5C` in the path.
    #[error("has a backslash in its path")]
    Backslash,
    /// `//`, or `/;`.
    #[error("has an empty segment in its path")]
    EmptySegment,
    /// `.` or `..` as a segment, in any spelling.
    #[error("has a . or .. segment in its path; spell out the path it stands for")]
    DotSegment,
    /// What would become a dot, a slash, a backslash or a control byte if decoded again.
    #[error("has a character in its path that is percent-encoded more than once")]
    DoubleEncoding,
    /// The decoded path is not UTF-8.
    #[error("has a path that is not UTF-8 when decoded")]
    NotUtf8,
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        Self::new(Reason::BadPath, format!("the request target {error}"))
    }
}

/// A request target in origin form, or `*` (RFC 9112 §3.2.1, §3.2.4), that every server
/// reads the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As sent: ASCII, path and query.
    text: String,
    /// Where the path ends in `text`.
    path_len: usize,
    /// The decoded segments with [`SEPARATOR`] between them; `None` where the path has no `%`.
    decoded: Option<Box<str>>,
    /// The same, decoded until nothing changes; `None` where once is enough.
    decoded_fully: Option<Box<str>>,
    encoded_slash: bool,
}

impl Target {
    /// Reads what stands in the request line or `:path`. A method other than OPTIONS with
    /// `*` is for the caller to refuse.
    ///
    /// # Errors
    /// [`TargetError`] for whatever two servers might read differently.
    pub fn parse(raw: &str) -> Result<Self, TargetError> {
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        if let Some(query) = query {
            check_query(query)?;
        }
        let mut target = Self {
            text: raw.to_owned(),
            path_len: path.len(),
            decoded: None,
            decoded_fully: None,
            encoded_slash: false,
        };
        if raw != "*" {
            target.read_path(path)?;
        }
        Ok(target)
    }

    fn read_path(&mut self, path: &str) -> Result<(), TargetError> {
        path.bytes().try_for_each(check_path_byte)?;
        let inner = path.strip_prefix('/').ok_or(TargetError::NotAbsolute)?;
        if !inner.contains('%') {
            return check_segments(inner.split('/'));
        }
        let mut decoded = String::with_capacity(inner.len());
        for (index, segment) in inner.split('/').enumerate() {
            if index > 0 {
                decoded.push(SEPARATOR);
            }
            let bytes = percent::decode(segment.as_bytes())
                .map_err(|percent::BadEncoding| TargetError::BadEncoding)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| TargetError::NotUtf8)?;
            check_decoded(text)?;
            decoded.push_str(text);
        }
        check_segments(decoded.split(SEPARATOR))?;
        self.encoded_slash = decoded.contains('/');
        self.decoded_fully = decode_fully(&decoded)?;
        self.decoded = Some(decoded.into());
        Ok(())
    }

    /// Path and query, octet by octet as the agent sent them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as sent, or `*`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(..self.path_len).unwrap_or(&self.text)
    }

    /// The query as sent, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_len..)?.strip_prefix('?')
    }

    /// Whether this is `*`, the server as a whole.
    #[must_use]
    pub fn is_asterisk(&self) -> bool {
        self.text == "*"
    }

    /// Whether `%2F` stands in the path.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// The same path with another query.
    ///
    /// # Errors
    /// [`TargetError`] if the query is none, or if this is `*`, which has no query.
    pub fn with_query(&self, query: Option<&str>) -> Result<Self, TargetError> {
        let mut target = self.clone();
        target.text.truncate(self.path_len);
        if let Some(query) = query {
            if self.is_asterisk() {
                return Err(TargetError::NotAbsolute);
            }
            check_query(query)?;
            target.text.push('?');
            target.text.push_str(query);
        }
        Ok(target)
    }

    /// The segments, decoded once, `%2F` being data. A trailing slash makes a last, empty one.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        let (text, separator) = match &self.decoded {
            Some(decoded) => (decoded.as_ref(), SEPARATOR),
            None => (self.path().strip_prefix('/').unwrap_or(""), '/'),
        };
        text.split(separator)
    }

    /// Every other way in which some server reads the segments: decoded until nothing
    /// changes, and with `%2F` as a separator (then runs of slashes count as one).
    pub(super) fn other_readings(&self) -> impl Iterator<Item = Vec<&str>> {
        let once = self.decoded.as_deref();
        let fully = self.decoded_fully.as_deref();
        let as_data = fully.map(|text| text.split(SEPARATOR).collect());
        let as_separator = [once, fully]
            .into_iter()
            .flatten()
            .filter(|_| self.encoded_slash)
            .map(|text| merge_slashes(text.split([SEPARATOR, '/']).collect()));
        as_data.into_iter().chain(as_separator)
    }
}

fn merge_slashes(mut segments: Vec<&str>) -> Vec<&str> {
    let last = segments.pop();
    segments.retain(|segment| !segment.is_empty());
    segments.extend(last);
    segments
}

/// `pchar`, `/` and `%` (RFC 3986 §3.3).
fn check_path_byte(byte: u8) -> Result<(), TargetError> {
    match byte {
        b'a'..=b'z'
        | b'A'..=b'Z'
        | b'0'..=b'9'
        | b'-'
        | b'.'
        | b'_'
        | b'~'
        | b'!'
        | b'$'
        | b'&'
        | b'\''
        | b'('
        | b')'
        | b'*'
        | b'+'
        | b','
        | b';'
        | b'='
        | b':'
        | b'@'
        | b'/'
        | b'%' => Ok(()),
        b'#' => Err(TargetError::Fragment),
        b'\\' => Err(TargetError::Backslash),
        0..=0x1f | 0x7f => Err(TargetError::Control),
        _ => Err(TargetError::BadCharacter),
    }
}

fn check_query(query: &str) -> Result<(), TargetError> {
    let mut rest = query.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'%' => percent::triplet(rest).ok_or(TargetError::BadEncoding)?.1,
            b'#' => return Err(TargetError::Fragment),
            0..=0x1f | 0x7f => return Err(TargetError::Control),
            b' ' | b'"' | b'<' | b'>' | 0x80.. => return Err(TargetError::BadCharacter),
            _ => after,
        };
    }
    Ok(())
}

/// What no segment may hold once it is decoded.
pub(super) fn check_decoded(segment: &str) -> Result<(), TargetError> {
    if segment.contains(char::is_control) {
        return Err(TargetError::Control);
    }
    if segment.contains('\\') {
        return Err(TargetError::Backslash);
    }
    Ok(())
}

/// What no path may be once it is decoded: a last empty segment is a trailing slash, any
/// other has nothing in it or before its `;`. Dots count before `;`, and between slashes
/// that were encoded.
pub(super) fn check_segments<'a>(
    segments: impl Iterator<Item = &'a str>,
) -> Result<(), TargetError> {
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.starts_with(';') || (segment.is_empty() && !last) {
            return Err(TargetError::EmptySegment);
        }
        let dots = |part: &str| matches!(without_parameters(part), "." | "..");
        if segment.split('/').any(dots) {
            return Err(TargetError::DotSegment);
        }
    }
    Ok(())
}

/// The segment up to its first `;` (RFC 3986 §3.3).
fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// What servers see that decode again. `None` if that is what they see the first time.
pub(super) fn decode_fully(decoded: &str) -> Result<Option<Box<str>>, TargetError> {
    let mut text = Cow::Borrowed(decoded);
    for _ in 0..LAYERS_MAX {
        let Some(next) = decode_again(&text)? else {
            return Ok(match text {
                Cow::Borrowed(_) => None,
                Cow::Owned(text) => Some(text.into()),
            });
        };
        check_segments(next.split(SEPARATOR))?;
        text = Cow::Owned(next);
    }
    Err(TargetError::DoubleEncoding)
}

/// One more layer off, `%` without digits being data. `None` if there is no more layer.
fn decode_again(text: &str) -> Result<Option<String>, TargetError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match percent::triplet(rest) {
            Some((b'.' | b'/' | b'\\' | 0..=0x1f | 0x7f, _)) => {
                return Err(TargetError::DoubleEncoding);
            }
            Some((byte, after)) => {
                decoded.push(byte);
                rest = after;
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    if decoded.len() == text.len() {
        return Ok(None);
    }
    // Also keeps C1 controls out, which need two bytes in UTF-8.
    let decoded = String::from_utf8(decoded).map_err(|_| TargetError::DoubleEncoding)?;
    if decoded.contains(|c: char| c.is_control() && c != SEPARATOR) {
        return Err(TargetError::DoubleEncoding);
    }
    Ok(Some(decoded))
}

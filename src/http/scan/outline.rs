//! Where in a body something stands, in the words of whoever wrote it: the field of a JSON
//! object or of a form, the part of a multipart body.
//!
//! Only for being read by people: what is scanned does not depend on it, so it may give up
//! on what is too deep or too long. It reads each byte once and keeps next to nothing.

mod form;
mod json;
mod multipart;

use std::collections::VecDeque;

use http::{HeaderMap, header};

use self::form::Form;
pub(super) use self::form::parameter;
use self::json::Json;
use self::multipart::Multipart;

/// The longest name that is told.
const NAME_MAX: usize = 32;
/// How many changes of the spot are remembered: a finding lies a little behind.
const MARKS: usize = 64;
/// How often a body that is at hand is read from its beginning again.
const RESTARTS: u8 = 16;

/// A name that an agent chose; empty where it is no plain text or too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_MAX],
    length: u8,
    /// More came than fits.
    over: bool,
}

impl Name {
    /// Takes what comes next of it.
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(place) = self.bytes.get_mut(usize::from(self.length)) else {
                self.over = true;
                return;
            };
            *place = *byte;
            self.length += 1;
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let mut name = Self::default();
        name.push(bytes);
        name
    }

    /// The name, where it is one that may stand in a sentence.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let bytes = self.bytes.get(..usize::from(self.length))?;
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"`\"\\%<>".contains(byte);
        if self.over || bytes.is_empty() || !bytes.iter().all(plain) {
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }
}

/// Where in a body something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Outside of all names.
    Outside,
    /// The value of a field of a JSON object, or something in it.
    Json(Name),
    /// The name of one.
    JsonName,
    /// The value of a field of a form.
    Form(Name),
    /// The name of one.
    FormName,
    /// The content of a part of a multipart body.
    Part(Name),
    /// The file name of one.
    FileName(Name),
    /// The header of one.
    PartHeader,
}

/// What kind of body this is.
#[derive(Clone, Debug, Default)]
pub enum Kind {
    /// JSON if it begins like that.
    #[default]
    Unknown,
    /// A form (WHATWG URL, application/x-www-form-urlencoded), unless it begins like JSON:
    /// clients call forms what they were not told to call otherwise.
    Form,
    /// Parts, divided by this (RFC 2046 §5.1).
    Multipart(Box<[u8]>),
}

impl Kind {
    /// What the headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        const FORM: &[u8] = b"application/x-www-form-urlencoded";
        const MULTIPART: &[u8] = b"multipart/";
        let begins = |value: &[u8], with: &[u8]| {
            let start = value.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        for value in headers.get_all(header::CONTENT_TYPE) {
            let value = value.as_bytes();
            if begins(value, FORM) {
                return Self::Form;
            }
            if begins(value, MULTIPART)
                && let Some(boundary) = multipart::parameter(value, b"boundary")
            {
                return Self::Multipart(boundary.into());
            }
        }
        Self::Unknown
    }
}

/// Told where another spot begins.
pub type Turn<'a> = &'a mut dyn FnMut(u64, Spot);

/// The structure that is followed.
#[derive(Debug)]
pub struct Outline(Inner);

#[derive(Debug)]
enum Inner {
    None,
    /// Not known before the first byte; a form if it is no JSON.
    Unknown {
        form: bool,
    },
    Json(Json),
    Form(Form),
    Multipart(Multipart),
}

impl Outline {
    /// At the beginning of a body of this kind.
    #[must_use]
    pub fn new(kind: &Kind) -> Self {
        Self(match kind {
            Kind::Unknown => Inner::Unknown { form: false },
            Kind::Form => Inner::Unknown { form: true },
            Kind::Multipart(boundary) => Inner::Multipart(Multipart::new(boundary)),
        })
    }

    /// Goes on over `bytes`, the first of which stands at `at`.
    pub fn push(&mut self, bytes: &[u8], at: u64, turn: Turn<'_>) {
        if let Inner::Unknown { form } = self.0 {
            let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else {
                return;
            };
            self.0 = match first {
                b'{' | b'[' => Inner::Json(Json::default()),
                _ if form => Inner::Form(Form::default()),
                _ => Inner::None,
            };
        }
        match &mut self.0 {
            Inner::None | Inner::Unknown { .. } => {}
            Inner::Json(json) => json.push(bytes, at, turn),
            Inner::Form(form) => form.push(bytes, at, turn),
            Inner::Multipart(parts) => parts.push(bytes, at, turn),
        }
    }

    fn is_none(&self) -> bool {
        matches!(self.0, Inner::None)
    }

    /// How far behind its beginning is known what a spot is.
    fn ahead(&self) -> u64 {
        match self.0 {
            Inner::Multipart(_) => multipart::LINE_MAX as u64,
            Inner::None | Inner::Unknown { .. } | Inner::Json(_) | Inner::Form(_) => 1,
        }
    }
}

/// Follows the structure of a body, and remembers the last spots.
#[derive(Debug)]
pub struct Trail {
    kind: Kind,
    outline: Outline,
    at: u64,
    marks: VecDeque<(u64, Spot)>,
    /// Whether marks were forgotten.
    forgot: bool,
    restarts: u8,
}

impl Trail {
    /// At the beginning of a body of this kind.
    #[must_use]
    pub fn new(kind: &Kind) -> Self {
        Self {
            kind: kind.clone(),
            outline: Outline::new(kind),
            at: 0,
            marks: VecDeque::new(),
            forgot: false,
            restarts: 0,
        }
    }

    /// One whose spots are all given by [`Trail::mark`].
    #[must_use]
    pub fn marked() -> Self {
        Self {
            outline: Outline(Inner::None),
            ..Self::new(&Kind::Unknown)
        }
    }

    /// From here on it is this spot.
    pub fn mark(&mut self, at: u64, spot: Spot) {
        mark(&mut self.marks, &mut self.forgot, at, spot);
    }

    /// Goes on to the end of `bytes`, of which the first stands at `base`.
    pub fn follow(&mut self, bytes: &[u8], base: u64) {
        let skip = usize::try_from(self.at.saturating_sub(base)).unwrap_or(usize::MAX);
        let bytes = bytes.get(skip..).unwrap_or_default();
        let (marks, forgot) = (&mut self.marks, &mut self.forgot);
        self.outline.push(bytes, self.at, &mut |at, spot| {
            mark(marks, forgot, at, spot);
        });
        self.at = self.at.saturating_add(bytes.len() as u64);
    }

    /// What `start` is in, which lies before the end of `bytes`; these begin at `base`.
    pub fn spot(&mut self, bytes: &[u8], base: u64, start: u64) -> Spot {
        let known = |marks: &VecDeque<(u64, Spot)>| marks.front().is_some_and(|it| it.0 <= start);
        // A body that is all there can be read again.
        let again = base == 0 && self.forgot && self.restarts < RESTARTS;
        if again && !self.outline.is_none() && !known(&self.marks) {
            *self = Self {
                restarts: self.restarts + 1,
                ..Self::new(&self.kind)
            };
        }
        let until = start
            .saturating_add(self.outline.ahead())
            .saturating_sub(base);
        let until = usize::try_from(until).unwrap_or(usize::MAX);
        self.follow(bytes.get(..until).unwrap_or(bytes), base);
        self.remembered(start)
    }

    /// What `start` is in, as far as that is remembered.
    #[must_use]
    pub fn remembered(&self, start: u64) -> Spot {
        let mark = self.marks.iter().rev().find(|(at, _)| *at <= start);
        mark.map_or(Spot::Outside, |(_, spot)| *spot)
    }
}

fn mark(marks: &mut VecDeque<(u64, Spot)>, forgot: &mut bool, at: u64, spot: Spot) {
    if marks.len() == MARKS {
        marks.pop_front();
        *forgot = true;
    }
    marks.push_back((at, spot));
}

#[cfg(test)]
mod tests;

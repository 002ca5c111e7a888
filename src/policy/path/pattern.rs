//! The patterns of a rule's `paths`.
//!
//! A pattern is written like the path it means: `/repos/*/issues`, `/v1/models/**`.
//! - `*` is exactly one segment that is not empty. `**` stands last and is zero or more
//!   segments: `/a/**` covers `/a`, `/a/`, `/a/b` and `/a/b/`, so that a deny rule on it
//!   leaves nothing of `/a` open; `/**` covers everything, as if `paths` were absent.
//! - Everything else is literal, case-sensitive and compared with decoded segments; it may
//!   be written plain (`/größe`) or percent-encoded (`/gr%C3%B6%C3%9Fe`, `%2A` for a star).
//!   `%2F` is a slash inside a segment.
//! - A trailing slash matters: `/a/` is not `/a`. So does case, also to deny rules: for a
//!   server that folds case, write what is allowed.

use std::fmt;

use super::percent;
use super::target::{Target, TargetError, check_decoded, check_segments, decode_fully};

/// Why a pattern is refused. Displays as the tail of a sentence, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or a first character other than `/`.
    #[error("must begin with /")]
    NotAbsolute,
    /// `v*`, `*.git`, `***`.
    #[error("has a * beside other characters; * stands for a whole segment, as in /repos/*/issues")]
    PartialWildcard,
    /// `/**/a`.
    #[error("has a ** that is not at its end; use * for each single segment")]
    InnerRest,
    /// `?` or `#`.
    #[error(
        "has a ? or #; name query keys in `query`, or write %3F or %23 for the character itself"
    )]
    QueryOrFragment,
    /// `%` without two hexadecimal digits.
    #[error("has a bad percent-encoding; a plain % is written %25")]
    BadEncoding,
    /// A path of this form is refused in every request, so it would never match.
    #[error("can never match: every request target like it is refused, because it {0}")]
    NeverMatches(TargetError),
}

/// One entry of `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As written.
    text: Box<str>,
    elements: Vec<Element>,
    /// Whether any segments may follow the elements.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    /// A segment as decoded; empty only as the last, for a trailing slash.
    Literal(Box<str>),
    /// `*`.
    One,
}

impl PathPattern {
    /// Reads a pattern as an operator writes it.
    ///
    /// # Errors
    /// [`PatternError`] for whatever is no pattern, and for what no request could ever match.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let inner = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if inner.contains(['?', '#']) {
            return Err(PatternError::QueryOrFragment);
        }
        let (inner, rest) = match inner.strip_suffix("**") {
            Some("") => ("", true),
            Some(before) => (
                before
                    .strip_suffix('/')
                    .ok_or(PatternError::PartialWildcard)?,
                true,
            ),
            None => (inner, false),
        };
        let elements = if rest && inner.is_empty() && text != "/**" {
            return Err(PatternError::NeverMatches(TargetError::EmptySegment));
        } else if rest && inner.is_empty() {
            Vec::new()
        } else {
            inner
                .split('/')
                .map(Element::parse)
                .collect::<Result<_, _>>()?
        };
        let pattern = Self {
            text: text.into(),
            elements,
            rest,
        };
        pattern.check().map_err(PatternError::NeverMatches)?;
        Ok(pattern)
    }

    /// Refuses what [`Target::parse`] refuses in every path.
    fn check(&self) -> Result<(), TargetError> {
        let literals = || self.elements.iter().map(Element::sample);
        for literal in literals() {
            check_decoded(literal)?;
            decode_fully(literal)?;
        }
        // What follows keeps a last empty segment from passing as a trailing slash.
        check_segments(literals().chain(self.rest.then_some("rest")))
    }

    /// Whether the path is one of these, `%2F` being data. `/**` also covers `*`.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        if target.is_asterisk() {
            return self.is_everything();
        }
        self.matches_segments(target.segments(), Element::matches)
    }

    /// Whether some server might read the path as one of these, for deny rules: a segment
    /// counts with and without its `;parameters`, `%2F` as data and as a separator, and
    /// what is encoded more than once also as fully decoded.
    #[must_use]
    pub fn matches_any_reading(&self, target: &Target) -> bool {
        if target.is_asterisk() {
            return self.is_everything();
        }
        self.matches_segments(target.segments(), Element::matches_without_parameters)
            || target.other_readings().any(|segments| {
                self.matches_segments(segments.into_iter(), Element::matches_without_parameters)
            })
    }

    /// Whether every path of `other` is one of these. Exact for [`PathPattern::matches`].
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let longer = other.elements.len() > self.elements.len();
        let same_length = other.elements.len() == self.elements.len();
        let lengths = if self.rest {
            longer || same_length
        } else {
            same_length && !other.rest
        };
        lengths
            && self
                .elements
                .iter()
                .zip(&other.elements)
                .all(|(mine, theirs)| mine.covers(theirs))
    }

    /// Whether some path is one of these and one of `other`.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let reaches = |one: &Self, two: &Self| one.rest || one.elements.len() >= two.elements.len();
        let pairs = self.elements.iter().zip(&other.elements);
        reaches(self, other)
            && reaches(other, self)
            && pairs
                .into_iter()
                .all(|(mine, theirs)| mine.covers(theirs) || theirs.covers(mine))
    }

    /// Whether this is `/**`.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.rest && self.elements.is_empty()
    }

    /// Whether a literal holds a slash as data: such a pattern needs `encoded_slash`.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.elements
            .iter()
            .any(|element| element.sample().contains('/'))
    }

    fn matches_segments<'a>(
        &self,
        mut segments: impl Iterator<Item = &'a str>,
        matches: impl Fn(&Element, &str) -> bool,
    ) -> bool {
        self.elements.iter().all(|element| {
            segments
                .next()
                .is_some_and(|segment| matches(element, segment))
        }) && (self.rest || segments.next().is_none())
    }
}

/// As written.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Element {
    fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "*" => return Ok(Self::One),
            "**" => return Err(PatternError::InnerRest),
            _ if text.contains('*') => return Err(PatternError::PartialWildcard),
            _ => {}
        }
        let bytes = percent::decode(text.as_bytes())
            .map_err(|percent::BadEncoding| PatternError::BadEncoding)?;
        let literal = std::str::from_utf8(&bytes)
            .map_err(|_| PatternError::NeverMatches(TargetError::NotUtf8))?;
        Ok(Self::Literal(literal.into()))
    }

    /// A segment that this element matches.
    fn sample(&self) -> &str {
        match self {
            Self::Literal(literal) => literal,
            Self::One => "x",
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *segment,
            Self::One => !segment.is_empty(),
        }
    }

    fn matches_without_parameters(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => segment
                .strip_prefix(&**literal)
                .is_some_and(|tail| tail.is_empty() || tail.starts_with(';')),
            Self::One => !segment.is_empty(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(mine), Self::Literal(theirs)) => mine == theirs,
            (Self::Literal(_), Self::One) => false,
            (Self::One, Self::Literal(theirs)) => !theirs.is_empty(),
            (Self::One, Self::One) => true,
        }
    }
}

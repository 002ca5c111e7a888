//! All detectors in one: anchors are searched for, and what stands around one is read.

use std::fmt;

use super::anchor::{ANCHOR, spell};
use super::check::{self, Check};
use super::class::Class;
use super::prefilter::{Entry, GRAM, Prefilter};
use super::shape::{Cursor, FIXED_MAX, Shape, Step};

/// Bytes before a token that are looked at to tell whether it begins there.
pub const BEFORE: usize = 8;
/// Bytes before the next place to look at that a stream keeps: a token's fixed part up to
/// its anchor, and what is before it.
pub const PAST: usize = FIXED_MAX + BEFORE + ANCHOR;

/// What may stand around a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// Nothing that a longer word or token is made of.
    #[default]
    Token,
    /// Anything: the token proves itself, by a checksum or because it is known.
    None,
}

/// One way of finding one detector's data.
pub struct Pattern {
    /// The number of the detector, given by whoever builds the engine.
    pub detector: u32,
    /// What it looks like.
    pub shape: Shape,
    /// What may stand around it.
    pub boundary: Boundary,
    /// What its bytes must say.
    pub check: Check,
    /// Least entropy of what is not fixed, in bits a byte; 0 for no test at all, then not
    /// even placeholders are told.
    pub entropy: f32,
}

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// Where it starts, in bytes from the beginning.
    pub start: u64,
    /// Its bytes.
    pub length: u32,
    /// The number of the detector.
    pub detector: u32,
}

/// All patterns, compiled. Immutable, and shared by all streams.
#[derive(Default)]
pub struct Engine {
    rules: Vec<Rule>,
    prefilter: Prefilter,
    /// For each byte, the rules whose tokens begin with it and have a nearly fixed prefix.
    beginnings: Vec<Vec<u32>>,
    longest_prefix: usize,
}

struct Rule {
    pattern: Pattern,
    /// Bytes that may not stand before and after.
    left: Class,
    right: Class,
    /// Where the part begins that is not the same in every token.
    body: usize,
    /// The classes up to the end of the anchor.
    prefix: Vec<Class>,
}

/// A token of which not all bytes are there.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    rule: u32,
    /// Where it starts, in bytes from the start of the window it was found in.
    pub start: usize,
    cursor: Cursor,
}

/// What is behind a place worth looking at.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// A token of this detector and so many bytes.
    Found(u32, usize),
    /// Not all bytes are there.
    Open(Candidate),
}

/// Shows nothing of what it looks for: some of it is secret.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} patterns)", self.rules.len())
    }
}

impl Engine {
    /// Compiles patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>) -> Self {
        let mut grams = Vec::new();
        let mut engine = Self {
            beginnings: vec![Vec::new(); 256],
            ..Self::default()
        };
        for (number, pattern) in (0..).zip(patterns) {
            let (fixed, anchor) = (pattern.shape.fixed(), pattern.shape.anchor());
            for offset in [anchor, anchor + 1] {
                let classes = fixed.get(offset..offset + GRAM).unwrap_or_default();
                let place = u16::try_from(offset).unwrap_or(u16::MAX);
                grams.extend(spell(classes).into_iter().map(|gram| (gram, number, place)));
            }
            engine.add(pattern, fixed, anchor, number);
        }
        engine.prefilter = Prefilter::new(grams);
        engine
    }

    fn add(&mut self, pattern: Pattern, mut fixed: Vec<Class>, anchor: usize, number: u32) {
        let prefix_len = pattern.shape.prefix_len();
        // Only a beginning that is nearly fixed up to its anchor says early that a token may
        // begin; else every word would be held back.
        if anchor < prefix_len {
            for byte in pattern.shape.first().bytes() {
                if let Some(rules) = self.beginnings.get_mut(usize::from(byte)) {
                    rules.push(number);
                }
            }
            self.longest_prefix = self.longest_prefix.max(anchor + ANCHOR);
        }
        fixed.truncate(anchor + ANCHOR);
        let bounded = pattern.boundary == Boundary::Token;
        let first = pattern.shape.first();
        let left = if first.len() > 1 {
            Class::WORD.union(&first)
        } else {
            Class::WORD
        };
        let right = Class::WORD.union(&pattern.shape.last());
        self.rules.push(Rule {
            body: prefix_len,
            left: if bounded { left } else { Class::default() },
            right: if bounded { right } else { Class::default() },
            prefix: fixed,
            pattern,
        });
    }

    /// Looks for anchors in `window` from `from` on and calls `hit` with each place worth
    /// looking at; returns where to go on once there are more bytes.
    #[inline]
    pub fn search(&self, window: &[u8], from: usize, hit: impl FnMut(usize, &Entry)) -> usize {
        self.prefilter.scan(window, from, hit)
    }

    /// Reads what stands around an anchor. `ended`: no byte follows the window.
    #[must_use]
    pub fn read(&self, window: &[u8], at: usize, entry: &Entry, ended: bool) -> Verdict {
        let start = at.checked_sub(usize::from(entry.offset));
        let rule = self.rules.get(entry.rule as usize);
        let (Some(start), Some(rule)) = (start, rule) else {
            return Verdict::Nothing;
        };
        if !begins(window, start, rule.left) {
            return Verdict::Nothing;
        }
        let candidate = Candidate {
            rule: entry.rule,
            start,
            cursor: Cursor::default(),
        };
        self.go_on(window, candidate, ended)
    }

    /// Reads on where bytes were missing.
    #[must_use]
    pub fn go_on(&self, window: &[u8], mut candidate: Candidate, ended: bool) -> Verdict {
        let Some(rule) = self.rules.get(candidate.rule as usize) else {
            return Verdict::Nothing;
        };
        let bytes = window.get(candidate.start..).unwrap_or_default();
        let shape = &rule.pattern.shape;
        match shape.advance(bytes, &mut candidate.cursor, rule.right, ended) {
            Step::Failed => Verdict::Nothing,
            Step::Open => Verdict::Open(candidate),
            Step::Whole(length) => {
                let token = bytes.get(..length).unwrap_or_default();
                if rule.is_real(token) {
                    Verdict::Found(rule.pattern.detector, length)
                } else {
                    Verdict::Nothing
                }
            }
        }
    }

    /// Where in the last bytes of `window` a token may have begun whose anchor is not there
    /// in full yet; the window's length if nowhere.
    #[must_use]
    pub fn beginning(&self, window: &[u8]) -> usize {
        let first = window
            .len()
            .saturating_sub(self.longest_prefix.saturating_sub(1));
        let may_begin = |start: &usize| {
            let tail = window.get(*start..).unwrap_or_default();
            let rules = tail
                .first()
                .and_then(|byte| self.beginnings.get(usize::from(*byte)));
            rules.into_iter().flatten().any(|rule| {
                self.rules.get(*rule as usize).is_some_and(|rule| {
                    tail.len() < rule.prefix.len()
                        && rule
                            .prefix
                            .iter()
                            .zip(tail)
                            .all(|(class, byte)| class.contains(*byte))
                        && begins(window, *start, rule.left)
                })
            })
        };
        (first..window.len())
            .find(may_begin)
            .unwrap_or(window.len())
    }
}

impl Rule {
    fn is_real(&self, token: &[u8]) -> bool {
        let body = token.get(self.body..).unwrap_or_default();
        let least = self.pattern.entropy;
        (least <= 0.0 || (check::entropy(body) >= least && !check::is_placeholder(body)))
            && self.pattern.check.passes(token)
    }
}

/// Whether a token may begin at `start`: no byte of `not` before it, or one that is the end of
/// an escape, as in `\n`, `\u0022`, `\x22` and `%22`.
fn begins(window: &[u8], start: usize, not: Class) -> bool {
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

//! All detectors in one: anchors are searched for, and what stands around one is read.

mod bounds;
mod encoded;

use std::fmt;
use std::sync::Arc;

use super::anchor::{ANCHOR, best_place, spell};
use super::check::{self, Check};
use super::class::Class;
use super::coding::{Coding, work};
use super::dense;
use super::imported::Imported;
use super::kind::{Kind, Kinds};
use super::parts::{Around, Part, Parts};
use super::planes::Planes;
use super::prefilter::{Entry, GRAM, Gram, Grams, Map, Place, Prefilter};
use super::readers::{Read, Readers};
use super::shape::{Cursor, FIXED_MAX, LONGEST, Shape, Step};
use bounds::End;
pub(super) use bounds::begins;

/// Bytes before a token that are looked at to tell whether it begins there.
pub const BEFORE: usize = 8;
/// Bytes of a token's beginning that are looked for in encodings.
const ENCODED_MAX: usize = 16;
/// What a look at an anchor counts for, in bytes that are read.
const LOOK: usize = 8;
/// Bytes of a beginning that are needed to hold it back.
pub const TELLING: usize = 4;
/// The share of tokens that may lack the marks by which their run is found: of the shipped
/// shapes only a short one comes near.
const LACKING: f64 = 0.004;
/// A class of so many bytes is nearly one byte.
const NEARLY_FIXED: usize = 8;
/// Bytes before the next place to look at that a stream keeps: a token's fixed part up to
/// its anchor, and what is before it.
pub const PAST: usize = FIXED_MAX + BEFORE * 6 + ANCHOR;

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
    /// Whether it is looked for in encodings, too.
    pub encoded: bool,
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
    /// How it is encoded.
    pub coding: Coding,
}

/// What to look for, each with the number of its detector.
#[derive(Default)]
pub struct Sought<'a> {
    /// Tokens.
    pub patterns: Vec<Pattern>,
    /// Parts of known secrets.
    pub parts: Vec<(u32, &'a Part)>,
    /// What no shape can say.
    pub kinds: Vec<(Kind, u32)>,
    /// Rules of other scanners.
    pub imported: Vec<(u32, Arc<Imported>)>,
}

/// All patterns, compiled. Immutable, and shared by all streams.
#[derive(Default)]
pub struct Engine {
    rules: Vec<Rule>,
    /// Their anchors have the numbers after those of the rules.
    readers: Readers,
    /// And theirs those after these.
    parts: Parts,
    prefilter: Prefilter,
    kinds: Kinds,
    /// The first gram of each rule whose tokens have a nearly fixed prefix.
    beginnings: Map,
    longest_prefix: usize,
}

/// Where to search for tokens of this shape: in the runs that all of them stand in.
fn grams_of<'a>(shape: &Shape, coding: Coding, grams: &'a mut Grams) -> &'a mut Vec<Gram> {
    let marked = |classes: &[Class]| dense::chance_without_marks(classes) <= LACKING;
    let around = match coding {
        Coding::Plain => shape.around_anchor(&dense::class()),
        // What stands between the zeros.
        Coding::Utf16Le | Coding::Utf16Be => coding.encode(&shape.around_anchor(&dense::class())),
        _ => {
            let mut classes = shape.classes();
            classes.truncate(ENCODED_MAX * 2);
            coding.encode(&classes)
        }
    };
    let names = |value: &[Class]| value.len() >= dense::RUN && marked(value);
    if coding == Coding::Plain && shape.names(names) {
        &mut grams.marked
    } else if around.len() < dense::RUN {
        &mut grams.bare
    } else if marked(&around) {
        &mut grams.marked
    } else {
        &mut grams.dense
    }
}

struct Rule {
    pattern: Arc<Pattern>,
    coding: Coding,
    /// Bytes that may not stand before and after.
    left: Class,
    right: Class,
    /// Least and most bytes of it.
    lengths: (usize, usize),
    /// Where the part begins that is not the same in every token.
    body: usize,
    /// The classes up to the end of the anchor.
    prefix: Vec<Class>,
    /// And of what is fixed behind it, where that is cheaper to tell than to decode.
    behind: Vec<Class>,
    /// Those of its first bytes once decoded, where it is encoded.
    first: Vec<Class>,
    /// Whether its beginning is nearly fixed up to its anchor: then it tells before the anchor
    /// is there in full that a token may begin. Else every word would be held back.
    tells_early: bool,
}

/// A token of which not all bytes are there.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    rule: u32,
    /// Where it starts, in bytes from the start of the window it was found in.
    pub start: usize,
    /// Where that begins which must not go on yet.
    pub hold: Option<usize>,
    cursor: Cursor,
    end: End,
}

/// A whole token.
#[derive(Debug)]
pub struct Token {
    /// The number of its detector.
    pub detector: u32,
    /// Where it starts in the window.
    pub start: usize,
    /// Its bytes in the window.
    pub length: usize,
    /// How it is encoded.
    pub coding: Coding,
    /// What it is decoded, where it is encoded.
    pub decoded: Vec<u8>,
}

/// What is behind a place worth looking at.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// A token.
    Found(Token),
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
        Self::compile(Sought {
            patterns,
            ..Sought::default()
        })
    }

    /// Compiles kinds, each with the number of its detector.
    #[must_use]
    pub fn looking_for(kinds: impl IntoIterator<Item = (Kind, u32)>) -> Self {
        Self::compile(Sought {
            kinds: kinds.into_iter().collect(),
            ..Sought::default()
        })
    }

    /// Compiles all that is looked for.
    #[must_use]
    pub fn compile(sought: Sought<'_>) -> Self {
        let mut grams = Grams::default();
        let mut engine = Self::default();
        for pattern in sought.patterns {
            let pattern = Arc::new(pattern);
            let (fixed, anchor) = (pattern.shape.fixed(), pattern.shape.anchor());
            engine.add(&pattern, Coding::Plain, fixed, anchor, &mut grams);
            if pattern.encoded {
                engine.add_encoded(&pattern, &mut grams);
            }
        }
        let rules = engine.rules.len();
        let numbered =
            |gram, number: usize, place| (gram, u32::try_from(number).unwrap_or(u32::MAX), place);
        for (kind, detector) in &sought.kinds {
            if *kind == Kind::SecretField {
                let readers = &mut engine.readers;
                readers.add_fields(*detector, |gram, reader, place| {
                    grams.marked.push(numbered(gram, rules + reader, place));
                });
            }
        }
        for (detector, rule) in &sought.imported {
            let readers = &mut engine.readers;
            readers.add_rule(*detector, rule, |gram, reader, place| {
                grams.bare.push(numbered(gram, rules + reader, place));
            });
        }
        let readers = rules + engine.readers.len();
        for (detector, part) in sought.parts {
            let to = if part.is_marked() {
                &mut grams.marked
            } else {
                &mut grams.dense
            };
            engine.parts.add(detector, part, |gram, anchor, place| {
                to.push(numbered(gram, readers + anchor, place));
            });
        }
        engine.beginnings = engine.first_grams();
        engine.prefilter = Prefilter::new(grams);
        engine.kinds = Kinds::new(sought.kinds);
        engine
    }

    /// What is looked for without a shape.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Whether words have to be searched, too, which makes all of it slower.
    #[must_use]
    pub fn searches_words(&self) -> bool {
        self.prefilter.searches_words()
    }

    /// In fewer bytes nothing is found.
    #[must_use]
    pub fn least(&self) -> usize {
        if self.searches_words() { 1 } else { dense::RUN }
    }

    /// The encodings of a pattern whose beginning is nearly fixed.
    fn add_encoded(&mut self, pattern: &Arc<Pattern>, grams: &mut Grams) {
        let shape = &pattern.shape;
        let mut fixed = shape.fixed();
        fixed.truncate(ENCODED_MAX);
        let beginning = fixed.get(..=shape.prefix_len()).unwrap_or(&fixed);
        for coding in Coding::ENCODED {
            let short = coding.encoded_len(shape.longest() + BEFORE) <= LONGEST;
            let raw = coding.encode(beginning);
            if let (true, Some(anchor)) = (short, best_place(&raw, raw.len())) {
                let raw = match coding {
                    // Lines may end within it.
                    Coding::Base64(_) => raw,
                    _ => coding.encode(&fixed),
                };
                self.add(pattern, coding, raw, anchor, grams);
            }
        }
    }

    fn add(
        &mut self,
        pattern: &Arc<Pattern>,
        coding: Coding,
        mut fixed: Vec<Class>,
        anchor: usize,
        grams: &mut Grams,
    ) {
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let to = grams_of(&pattern.shape, coding, grams);
        for offset in [anchor, anchor + 1] {
            let classes = fixed.get(offset..offset + GRAM).unwrap_or_default();
            let place = u16::try_from(offset).unwrap_or(u16::MAX);
            let spelled = spell(classes).into_iter();
            to.extend(spelled.map(|gram| (gram, number, place)));
        }
        let behind = match coding {
            Coding::Plain | Coding::Base64(_) => Vec::new(),
            _ => fixed.split_off(fixed.len().min(anchor + ANCHOR)),
        };
        fixed.truncate(anchor + ANCHOR);
        let mut rule = Rule::new(pattern.clone(), coding, fixed, anchor);
        rule.behind = behind;
        if coding != Coding::Plain {
            rule.first = pattern.shape.fixed();
            rule.first.truncate(ENCODED_MAX);
        }
        if rule.tells_early {
            self.longest_prefix = self.longest_prefix.max(rule.prefix.len());
        }
        self.rules.push(rule);
    }

    /// Where each rule begins that tells early.
    fn first_grams(&self) -> Map {
        let rules = (0..).zip(&self.rules);
        let early = rules.filter(|(_, rule)| rule.tells_early);
        Map::new(early.flat_map(|(number, rule)| {
            let first = rule.prefix.get(..GRAM).unwrap_or_default();
            let spelled = spell(first).into_iter();
            spelled.map(move |gram| (gram, number, 0))
        }))
    }

    /// Looks for anchors in `window` from `place` on and calls `hit` with each place worth
    /// looking at; `place` is then where to go on once there are more bytes.
    #[inline]
    pub fn search(
        &self,
        window: &[u8],
        planes: &Planes,
        place: &mut Place,
        hit: &mut impl FnMut(usize, &Entry),
    ) {
        self.prefilter.search(window, planes, place, hit);
    }

    /// Reads what stands around an anchor. `ended`: no byte follows the window.
    #[must_use]
    pub fn read(&self, window: &[u8], at: usize, entry: &Entry, ended: bool) -> Verdict {
        work(LOOK);
        let Some(start) = at.checked_sub(usize::from(entry.offset)) else {
            return Verdict::Nothing;
        };
        let Some(rule) = self.rules.get(entry.rule as usize) else {
            return self.read_other(window, entry.rule, start, ended);
        };
        let Some(end) = rule.end_from(window, start) else {
            return Verdict::Nothing;
        };
        let candidate = Candidate {
            rule: entry.rule,
            start,
            hold: Some(start),
            cursor: Cursor::default(),
            end,
        };
        self.go_on(window, candidate, ended)
    }

    /// Reads on where bytes were missing.
    #[must_use]
    pub fn go_on(&self, window: &[u8], candidate: Candidate, ended: bool) -> Verdict {
        let Some(rule) = self.rules.get(candidate.rule as usize) else {
            let anchor = candidate.start + candidate.cursor.at;
            return self.read_other(window, candidate.rule, anchor, ended);
        };
        let raw = window.get(candidate.start..).unwrap_or_default();
        match candidate.otherwise() {
            None => rule.read(raw, candidate, ended),
            Some(otherwise) => match rule.read(raw, candidate, ended) {
                Verdict::Nothing => rule.read(raw, otherwise, ended),
                verdict => verdict,
            },
        }
    }

    /// Reads what is no shape, at its anchor.
    fn read_other(&self, window: &[u8], rule: u32, at: usize, ended: bool) -> Verdict {
        let index = (rule as usize).saturating_sub(self.rules.len());
        if let Some(part) = index.checked_sub(self.readers.len()) {
            return self.read_part(window, (rule, part), at, ended);
        }
        match (
            self.readers.read(index, window, at, ended),
            self.readers.detector(index),
        ) {
            (Read::Open { start, hold }, _) => Verdict::Open(Candidate {
                rule,
                start,
                hold,
                cursor: Cursor::behind(at.saturating_sub(start)),
                end: End::default(),
            }),
            (Read::Found { from, to }, Some(detector)) => Verdict::Found(Token {
                detector,
                start: from,
                length: to.saturating_sub(from),
                coding: Coding::Plain,
                decoded: Vec::new(),
            }),
            (Read::Nothing | Read::Found { .. }, _) => Verdict::Nothing,
        }
    }

    /// Reads both ways from the anchor of a part.
    fn read_part(
        &self,
        window: &[u8],
        (rule, anchor): (u32, usize),
        start: usize,
        ended: bool,
    ) -> Verdict {
        let Around::Part { left, right, open } = self.parts.around(anchor, window, start, ended)
        else {
            return Verdict::Nothing;
        };
        let start = start - left;
        if open {
            return Verdict::Open(Candidate {
                rule,
                start,
                hold: Some(start),
                cursor: Cursor::behind(left),
                end: End::default(),
            });
        }
        let Some(detector) = self.parts.detector(anchor) else {
            return Verdict::Nothing;
        };
        Verdict::Found(Token {
            detector,
            start,
            length: left + right,
            coding: Coding::Plain,
            decoded: Vec::new(),
        })
    }

    /// Where in the last bytes of `window` a token may have begun whose anchor is not there
    /// in full yet; the window's length if nowhere. Less than [`TELLING`] bytes do not count:
    /// nearly every word ends like the beginning of some token, and whoever waits for its
    /// word to arrive before sending the next would wait for ever.
    #[must_use]
    pub fn beginning(&self, window: &[u8]) -> usize {
        let first = window
            .len()
            .saturating_sub(self.longest_prefix.saturating_sub(1));
        let last = (window.len() + 1).saturating_sub(TELLING);
        let may_begin = |start: &usize| {
            let tail = window.get(*start..).unwrap_or_default();
            let mut begins = false;
            self.beginnings.look(window, *start, &mut |_, entry| {
                begins |= self.rules.get(entry.rule as usize).is_some_and(|rule| {
                    tail.len() < rule.prefix.len()
                        && rule.has_prefix(tail)
                        && rule.end_from(window, *start).is_some()
                });
            });
            begins
        };
        (first..last).find(may_begin).unwrap_or(window.len())
    }
}

impl Rule {
    fn new(pattern: Arc<Pattern>, coding: Coding, prefix: Vec<Class>, anchor: usize) -> Self {
        let first = pattern.shape.first();
        let (mut left, mut right) = (Class::default(), Class::default());
        if pattern.boundary == Boundary::Token {
            right = Class::WORD.union(&pattern.shape.last());
            left = Class::WORD;
            if first.len() > 1 {
                left = left.union(&first);
            }
        }
        let body = pattern.shape.prefix_len();
        let tells_early = match coding {
            Coding::Plain => anchor < body,
            _ => prefix.iter().all(|class| class.len() <= NEARLY_FIXED),
        };
        Self {
            body,
            tells_early,
            left,
            right,
            lengths: (pattern.shape.shortest(), pattern.shape.longest()),
            prefix,
            behind: Vec::new(),
            first: Vec::new(),
            coding,
            pattern,
        }
    }

    fn has_prefix(&self, bytes: &[u8]) -> bool {
        let behind = bytes.get(self.prefix.len()..).unwrap_or_default();
        let fits = |classes: &[Class], bytes: &[u8]| {
            let mut pairs = classes.iter().zip(bytes);
            pairs.all(|(class, byte)| class.contains(*byte))
        };
        // The anchor was found, nearly always: the rest tells more.
        fits(&self.behind, behind) && fits(&self.prefix, bytes)
    }

    /// Where a token must end that begins at `start`, `None` if what is before it allows none.
    fn end_from(&self, window: &[u8], start: usize) -> Option<End> {
        if self.coding == Coding::Plain {
            let before = window.get(..start).unwrap_or_default();
            let raw = window.get(start..).unwrap_or_default();
            return self.end_after(before, begins(window, start, self.left), raw);
        }
        // Cheap, and nearly always the end of it; else the first bytes are.
        let raw = window.get(start..).unwrap_or_default();
        if !self.has_prefix(raw) || !self.has_first(raw) {
            return None;
        }
        let (count, before) = self.coding.before(window, start);
        let before = before.get(before.len() - count..).unwrap_or_default();
        self.end_after(before, begins(before, before.len(), self.left), &[])
    }

    fn read(&self, raw: &[u8], candidate: Candidate, ended: bool) -> Verdict {
        match self.coding {
            Coding::Plain => self.read_plain(raw, candidate, ended),
            _ => self.read_encoded(raw, candidate, ended),
        }
    }

    fn read_plain(&self, raw: &[u8], mut candidate: Candidate, ended: bool) -> Verdict {
        let shape = &self.pattern.shape;
        let before = candidate.cursor.at;
        let Some((raw, ended)) = candidate.end.cut(raw, ended) else {
            return Verdict::Nothing;
        };
        let step = shape.advance(raw, &mut candidate.cursor, self.right, ended);
        work(candidate.cursor.at.saturating_sub(before));
        match step {
            Step::Open => Verdict::Open(candidate),
            Step::Failed => Verdict::Nothing,
            Step::Whole(length) => {
                let token = raw.get(..length).unwrap_or_default();
                if candidate.end.is_at(length) && self.is_real(token) {
                    Verdict::Found(self.token(candidate.start, length, Vec::new()))
                } else {
                    Verdict::Nothing
                }
            }
        }
    }

    fn token(&self, start: usize, length: usize, decoded: Vec<u8>) -> Token {
        Token {
            detector: self.pattern.detector,
            start,
            length,
            coding: self.coding,
            decoded,
        }
    }

    fn is_real(&self, token: &[u8]) -> bool {
        let body = token.get(self.body..).unwrap_or_default();
        let least = self.pattern.entropy;
        (least <= 0.0 || (check::entropy(body) >= least && !check::is_placeholder(body)))
            && self.pattern.check.passes(token)
    }
}

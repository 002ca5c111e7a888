//! Token shapes: what an operator writes of a token, and how bytes are held against it.
//!
//! A shape looks like a regular expression and is less: characters, `[classes]`, counts
//! `{n}`, `{n,m}`, `{n,}`, and `(groups|of|choices)` without counts, which are written out
//! as shapes of their own. Each position has one class and each class takes all it can, so a
//! token is read once, from left to right, and reading can stop after any byte and go on
//! with the next: no backtracking, no look-ahead, and no more memory than a [`Cursor`].

use std::fmt;

use super::anchor::{self, ANCHOR};
use super::class::Class;

/// Most bytes of a token: each detector decides within so many of its start.
pub const LONGEST: usize = 4096;
/// Most bytes of a token before its anchor, and so what a stream remembers of the past.
pub const FIXED_MAX: usize = 120;
/// A run with so many bytes more or less is searched for its end before it is read.
const FAR: u16 = 32;
/// Most shapes that groups may make of one.
const CHOICES_MAX: usize = 64;

/// A run of bytes of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which bytes.
    pub class: Class,
    /// At least so many.
    pub least: u16,
    /// At most so many.
    pub most: u16,
}

/// A compiled token shape.
#[derive(Clone, PartialEq, Eq)]
pub struct Shape {
    items: Box<[Item]>,
    /// Whether the last run has no written end: then its longest is a match, too.
    open_ended: bool,
    /// Where the anchor is, in bytes from the start.
    anchor: usize,
    /// The bytes that every token begins with.
    literal: Box<[u8]>,
    /// The items they are of, but for the last of all, and the bytes of these.
    read: (u16, usize),
}

/// Why a shape cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It does not read.
    #[error("{0}")]
    Syntax(String),
    /// Two neighbours could both take the same byte.
    #[error(
        "after a run of {class:?} there is another part that may begin with one of its bytes, so where the run ends is not clear"
    )]
    Ambiguous {
        /// The class of the run.
        class: Class,
    },
    /// Nothing rare to look for.
    #[error(
        "there is no place in its first {FIXED_MAX} bytes with four neighbours that are nearly fixed, which the search needs"
    )]
    NoAnchor,
    /// Longer than [`LONGEST`].
    #[error("it can be longer than {LONGEST} bytes")]
    TooLong,
}

/// How far a token has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    item: u16,
    count: u16,
    /// Bytes read.
    pub at: usize,
}

/// What the bytes so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes decide.
    Open,
    /// It is none.
    Failed,
    /// It is one, of so many bytes.
    Whole(usize),
}

impl Cursor {
    /// One that has so many bytes behind it.
    #[must_use]
    pub fn behind(at: usize) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }
}

impl Shape {
    /// Reads a shape, and writes its groups out: one or more shapes.
    ///
    /// # Errors
    /// [`ShapeError`]
    pub fn parse(text: &str) -> Result<Vec<Self>, ShapeError> {
        expand(text)?.iter().map(|flat| Self::flat(flat)).collect()
    }

    fn flat(text: &str) -> Result<Self, ShapeError> {
        let mut items = Vec::new();
        let mut open_ended = false;
        let mut reader = Reader { rest: text };
        while let Some(class) = reader.class()? {
            let (least, most) = reader.count()?;
            open_ended = most.is_none();
            if most != Some(0) {
                items.push((class, least, most));
            }
        }
        let known: usize = items
            .iter()
            .map(|(_, least, most)| usize::from(most.unwrap_or(*least)))
            .sum();
        let room = u16::try_from(LONGEST.saturating_sub(known)).unwrap_or(0);
        if known > LONGEST {
            return Err(ShapeError::TooLong);
        }
        let open = items.iter().filter(|(_, _, most)| most.is_none()).count();
        let share = room / u16::try_from(open.max(1)).unwrap_or(1);
        let items: Box<[Item]> = items
            .into_iter()
            .map(|(class, least, most)| Item {
                class,
                least,
                most: most.unwrap_or(least.saturating_add(share)),
            })
            .collect();
        unambiguous(&items)?;
        Self::searchable(items, open_ended).ok_or(ShapeError::NoAnchor)
    }

    /// A shape that has an anchor.
    fn searchable(items: Box<[Item]>, open_ended: bool) -> Option<Self> {
        let literal = literal(&items);
        let mut read = (0, 0);
        for item in items.iter().take(items.len().saturating_sub(1)) {
            let bytes = read.1 + usize::from(item.most);
            if bytes > literal.len() {
                break;
            }
            read = (read.0 + 1, bytes);
        }
        let mut shape = Self {
            items,
            open_ended,
            anchor: 0,
            literal,
            read,
        };
        shape.anchor = anchor::best_place(&shape.fixed(), shape.prefix_len())?;
        Some(shape)
    }

    /// A shape of exactly these classes, one for each byte; `None` if there is no place to
    /// search for.
    #[must_use]
    pub fn exact(classes: impl IntoIterator<Item = Class>) -> Option<Self> {
        let item = |class| Item {
            class,
            least: 1,
            most: 1,
        };
        Self::searchable(classes.into_iter().map(item).collect(), false)
    }

    /// Where in it to search, in bytes from the start; always one of the fixed bytes.
    #[must_use]
    pub fn anchor(&self) -> usize {
        self.anchor
    }

    /// The class of each byte that has a fixed place, from the first on.
    #[must_use]
    pub fn fixed(&self) -> Vec<Class> {
        let mut classes = Vec::new();
        for item in &self.items {
            classes.extend(std::iter::repeat_n(item.class, usize::from(item.least)));
            if item.least != item.most || classes.len() >= FIXED_MAX {
                break;
            }
        }
        classes.truncate(FIXED_MAX);
        classes
    }

    /// The class of each byte of a token that is as short as can be.
    #[must_use]
    pub fn classes(&self) -> Vec<Class> {
        let item = |item: &Item| std::iter::repeat_n(item.class, usize::from(item.least));
        self.items.iter().flat_map(item).collect()
    }

    /// Its runs, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many bytes at its beginning are the same in every token of this shape.
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        let fixed = |item: &&Item| item.class.len() <= 8 && item.least == item.most;
        let items = self.items.iter().take_while(fixed);
        items.map(|item| usize::from(item.most)).sum()
    }

    /// The class of its first byte.
    #[must_use]
    pub fn first(&self) -> Class {
        self.items
            .first()
            .map_or(Class::default(), |item| item.class)
    }

    /// The class of its last run.
    #[must_use]
    pub fn last(&self) -> Class {
        self.items
            .last()
            .map_or(Class::default(), |item| item.class)
    }

    /// Least bytes of a token of this shape.
    #[must_use]
    pub fn shortest(&self) -> usize {
        self.items.iter().map(|item| usize::from(item.least)).sum()
    }

    /// Most bytes of a token of this shape.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.items.iter().map(|item| usize::from(item.most)).sum()
    }

    /// The classes of the bytes in a row around the anchor that are all of this class, as many
    /// as there are at least; none if not all of the anchor is.
    #[must_use]
    pub fn around_anchor(&self, class: &Class) -> Vec<Class> {
        let (mut at, mut run) = (0, Vec::new());
        for item in &self.items {
            let least = usize::from(item.least);
            if item.class.is_within(class) {
                run.extend(std::iter::repeat_n(item.class, least));
            } else if at >= self.anchor + ANCHOR {
                break;
            } else if at + least > self.anchor || item.least != item.most {
                return Vec::new();
            } else {
                run.clear();
            }
            at += least;
        }
        run
    }

    /// Whether it says whose value follows its anchor, as `"name": "` does, and such a value is
    /// `wanted`.
    pub fn names(&self, wanted: impl Fn(&[Class]) -> bool) -> bool {
        const NEAR: usize = 64;
        let (mut at, mut assigned) = (0, false);
        for item in &self.items {
            let least = usize::from(item.least);
            if at >= self.anchor + ANCHOR && at <= self.anchor + NEAR {
                assigned |= item.class.is_within(&Class::of(b":="));
                if assigned && wanted(&vec![item.class; least]) {
                    return true;
                }
            }
            at += least;
        }
        false
    }

    /// Whether the last run has no written end.
    #[must_use]
    pub fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// Reads on from `cursor`; `bytes` begin with the token. `right`: no byte of this class
    /// may follow. `ended`: no byte follows `bytes` at all.
    pub fn advance(&self, bytes: &[u8], cursor: &mut Cursor, right: Class, ended: bool) -> Step {
        if cursor.at == 0 {
            // Nearly always the end of it, before anything is set up to compare more.
            let firsts = self.literal.first().zip(bytes.first());
            if firsts.is_some_and(|(one, other)| one != other) {
                return Step::Failed;
            }
            if bytes.starts_with(&self.literal) {
                (cursor.item, cursor.at) = self.read;
            } else if !self.literal.starts_with(bytes) {
                return Step::Failed;
            }
        }
        loop {
            let Some(item) = self.items.get(usize::from(cursor.item)) else {
                return end(bytes, cursor, right, ended);
            };
            if cursor.count == 0 && self.cannot_end(cursor, item, bytes) {
                return Step::Failed;
            }
            if cursor.count < item.most {
                match bytes.get(cursor.at) {
                    Some(byte) if item.class.contains(*byte) => {
                        cursor.count += 1;
                        cursor.at += 1;
                        continue;
                    }
                    None if !ended => return Step::Open,
                    Some(_) | None if cursor.count < item.least => return Step::Failed,
                    Some(_) | None => {}
                }
            }
            cursor.item += 1;
            let ran_out = cursor.count == item.most;
            cursor.count = 0;
            if ran_out && self.open_ended && usize::from(cursor.item) == self.items.len() {
                return Step::Whole(cursor.at);
            }
        }
    }
}

impl Shape {
    /// Whether the byte that must follow a run is nowhere within its reach.
    fn cannot_end(&self, cursor: &Cursor, item: &Item, bytes: &[u8]) -> bool {
        if item.most - item.least < FAR {
            return false;
        }
        let next = self.items.get(usize::from(cursor.item) + 1);
        let end = next
            .filter(|next| next.least > 0)
            .and_then(|next| next.class.only());
        let reach = bytes.get(cursor.at..=cursor.at + usize::from(item.most));
        match (end, reach) {
            (Some(end), Some(reach)) => memchr::memchr(end, reach).is_none(),
            _ => false,
        }
    }
}

/// The bytes that stand for themselves at the beginning.
fn literal(items: &[Item]) -> Box<[u8]> {
    let mut literal = Vec::new();
    for item in items {
        match item.class.only() {
            Some(byte) if item.least == item.most => {
                literal.extend(std::iter::repeat_n(byte, usize::from(item.most)));
            }
            _ => break,
        }
    }
    literal.into()
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shapes of known secrets hold the secret.
        write!(f, "Shape({} items)", self.items.len())
    }
}

/// What is left to tell once all parts are read: whether the token ends here.
fn end(bytes: &[u8], cursor: &Cursor, right: Class, ended: bool) -> Step {
    match bytes.get(cursor.at) {
        None if ended || right.is_empty() => Step::Whole(cursor.at),
        None => Step::Open,
        Some(next) if right.contains(*next) => Step::Failed,
        Some(_) => Step::Whole(cursor.at),
    }
}

/// A run whose length varies must be told from what follows it by its bytes alone.
fn unambiguous(items: &[Item]) -> Result<(), ShapeError> {
    for (index, item) in items.iter().enumerate() {
        if item.least == item.most {
            continue;
        }
        for next in items.iter().skip(index + 1) {
            if next.class.overlaps(&item.class) {
                return Err(ShapeError::Ambiguous { class: item.class });
            }
            if next.least > 0 {
                break;
            }
        }
    }
    Ok(())
}

fn syntax(message: impl Into<String>) -> ShapeError {
    ShapeError::Syntax(message.into())
}

/// Writes groups out: `a(b|c)d` is `abd` and `acd`.
fn expand(text: &str) -> Result<Vec<String>, ShapeError> {
    let mut whole = vec![String::new()];
    let mut group: Option<Vec<String>> = None;
    let (mut in_class, mut escaped) = (false, false);
    for character in text.chars() {
        let plain = !escaped && !in_class;
        match (character, &mut group) {
            ('(', None) if plain => group = Some(vec![String::new()]),
            ('(', Some(_)) if plain => return Err(syntax("a group stands in a group")),
            ('|', Some(choices)) if plain => choices.push(String::new()),
            (')', Some(choices)) if plain => {
                whole = product(&whole, choices);
                group = None;
                if whole.len() > CHOICES_MAX {
                    return Err(syntax(format!(
                        "its groups make more than {CHOICES_MAX} shapes"
                    )));
                }
            }
            (_, Some(choices)) => {
                if let Some(choice) = choices.last_mut() {
                    choice.push(character);
                }
            }
            (_, None) => whole.iter_mut().for_each(|text| text.push(character)),
        }
        in_class = match character {
            '[' if plain => true,
            ']' if !escaped => false,
            _ => in_class,
        };
        escaped = character == '\\' && !escaped;
    }
    if group.is_some() {
        return Err(syntax("a group is not closed"));
    }
    Ok(whole)
}

fn product(left: &[String], right: &[String]) -> Vec<String> {
    let pairs = |left: &String| {
        let left = left.clone();
        right.iter().map(move |right| format!("{left}{right}"))
    };
    left.iter().flat_map(pairs).collect()
}

/// Reads the parts of a shape without groups.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn class(&mut self) -> Result<Option<Class>, ShapeError> {
        match self.next() {
            None => Ok(None),
            Some('[') => self.set().map(Some),
            Some('\\') => self.escape().map(Some),
            Some(special @ ('{' | '}' | ']' | ')' | '|' | '*' | '+' | '?' | '.' | '^' | '$')) => {
                Err(syntax(format!(
                    "`{special}` stands for itself only as `\\{special}`"
                )))
            }
            Some(character) => byte(character).map(Class::single).map(Some),
        }
    }

    fn escape(&mut self) -> Result<Class, ShapeError> {
        let mut class = Class::default();
        match self.next() {
            None => return Err(syntax("it ends with `\\`")),
            Some('n') => class.insert(b'\n'),
            Some('r') => class.insert(b'\r'),
            Some('t') => class.insert(b'\t'),
            Some('w') => {
                class = Class::single(b'_');
                class.insert_range(b'0', b'9');
                class.insert_range(b'A', b'Z');
                class.insert_range(b'a', b'z');
            }
            Some('d') => class.insert_range(b'0', b'9'),
            Some('s') => b" \t\r\n".iter().for_each(|byte| class.insert(*byte)),
            Some(other) if other.is_ascii_alphanumeric() => {
                return Err(syntax(format!("`\\{other}` means nothing here")));
            }
            Some(other) => class.insert(byte(other)?),
        }
        Ok(class)
    }

    fn set(&mut self) -> Result<Class, ShapeError> {
        let mut class = Class::default();
        let negated = self.rest.starts_with('^');
        if negated {
            self.next();
        }
        loop {
            let first = match self.next() {
                None => return Err(syntax("a class is not closed with `]`")),
                Some(']') => break,
                Some('\\') => {
                    class = class.union(&self.escape()?);
                    continue;
                }
                Some(first) => byte(first)?,
            };
            let mut ahead = self.rest.chars();
            match (ahead.next(), ahead.next()) {
                (Some('-'), Some(last)) if last != ']' => {
                    let last = byte(last)?;
                    if last < first {
                        return Err(syntax("a range in a class runs backwards"));
                    }
                    class.insert_range(first, last);
                    self.next();
                    self.next();
                }
                _ => class.insert(first),
            }
        }
        let class = if negated { class.negated() } else { class };
        if class.is_empty() {
            return Err(syntax("a class is empty"));
        }
        Ok(class)
    }

    fn count(&mut self) -> Result<(u16, Option<u16>), ShapeError> {
        let Some(after) = self.rest.strip_prefix('{') else {
            return Ok((1, Some(1)));
        };
        let Some((inner, rest)) = after.split_once('}') else {
            return Err(syntax("a count is not closed with `}`"));
        };
        self.rest = rest;
        let number = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|number| usize::from(*number) <= LONGEST)
                .ok_or_else(|| syntax(format!("`{{{inner}}}` is no count")))
        };
        let (least, most) = match inner.split_once(',') {
            None => {
                let count = number(inner)?;
                (count, Some(count))
            }
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        if most.is_some_and(|most| most < least) {
            return Err(syntax(format!("`{{{inner}}}` runs backwards")));
        }
        Ok((least, most))
    }
}

fn byte(character: char) -> Result<u8, ShapeError> {
    u8::try_from(character)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| syntax(format!("`{character}` is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shape: &str, text: &str, right: Class) -> Step {
        let shape = Shape::parse(shape).unwrap().remove(0);
        shape.advance(text.as_bytes(), &mut Cursor::default(), right, true)
    }

    #[test]
    fn tokens_are_read_to_their_boundary() {
        let shape = "gh[pousr]_[A-Za-z0-9]{4}";
        assert_eq!(read(shape, "ghp_abcd", Class::WORD), Step::Whole(8));
        assert_eq!(read(shape, "ghp_abcd\"", Class::WORD), Step::Whole(8));
        assert_eq!(read(shape, "ghp_abcde", Class::WORD), Step::Failed);
        assert_eq!(read(shape, "ghp_abcde", Class::default()), Step::Whole(8));
        assert_eq!(read(shape, "ghx_abcd", Class::WORD), Step::Failed);
        assert_eq!(read(shape, "ghp_abc", Class::WORD), Step::Failed);
        let shape = "key-a{2,3}\\.b";
        assert_eq!(read(shape, "key-aa.b", Class::WORD), Step::Whole(8));
        assert_eq!(read("key-a{2,}", "key-aaa", Class::WORD), Step::Whole(7));
    }

    #[test]
    fn groups_are_written_out() {
        assert_eq!(Shape::parse("key-a(b|c|)d(e|f)").unwrap().len(), 6);
        assert_eq!(Shape::parse("key-[(|)]\\(").unwrap().len(), 1);
    }

    #[test]
    fn reading_stops_and_goes_on_anywhere() {
        let shape = Shape::parse("key-[a-z]{2,5}\\.[0-9]{3}").unwrap().remove(0);
        let text = b"key-abc.123";
        let mut cursor = Cursor::default();
        for end in 0..=text.len() {
            let step = shape.advance(&text[..end], &mut cursor, Class::WORD, false);
            assert_eq!(step, Step::Open, "{end}");
        }
        let step = shape.advance(text, &mut cursor, Class::WORD, true);
        assert_eq!(step, Step::Whole(11));
    }

    #[test]
    fn what_cannot_be_read_once_is_refused() {
        for bad in [
            "a{3",
            "[a",
            "(a",
            "((a))",
            "a{2,1}",
            "[b-a]",
            "é",
            "\\q",
            "a.b",
            "a{5000}",
            "[^\\w]\\",
            "[A-Za-z0-9]{40}",
            "abc",
        ] {
            assert!(Shape::parse(bad).is_err(), "{bad}");
        }
        let ambiguous = Shape::parse("[a-z]{2,5}[0-9]{0,2}x");
        assert!(matches!(ambiguous, Err(ShapeError::Ambiguous { .. })));
    }
}

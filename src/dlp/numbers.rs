//! Numbers of cards, accounts and people: found by their digits, told by their checksum and
//! by what is said before them.
//!
//! There is nothing fixed in them to search for. But each begins with as many digits as a
//! number or its first group has, and then ends or has a separator, or with a country and two
//! digits. The planes of digits and capitals say where; what stands around such a place is
//! read once, at most fifty bytes both ways.

mod card;
mod iban;
mod ssn;

pub(super) use card::luhn;
pub(super) use iban::{COUNTRIES, remainder, runs};

use super::class::Class;
use super::coding::Coding;
use super::engine::{Finding, begins};
use super::kind::{Kind, Kinds};
use super::pass::Report;
use super::planes::Block;
use super::view::View;

/// The longest number without separators.
const LONGEST: usize = 34;
/// Bytes before a number in which it may be named.
const CONTEXT: usize = 96;
/// Bytes before the next place to look at that are needed: a number that began there, and
/// its context.
const PAST: u64 = 48 + CONTEXT as u64;
/// So many numbers of cards in a row need no name.
const ROW: u32 = 6;
/// What is further apart is not in a row.
const ROW_GAP: u64 = 512;
/// A number of which fewer bytes are there is not held back.
const TELLING: u64 = 8;

/// Where the search stands in one stream.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Where the next block is.
    next: u64,
    /// What is before belongs to a number already.
    floor: u64,
    /// Within a run that is too long.
    skipping: bool,
    /// Where a number begins of which not all bytes are there.
    held: Option<u64>,
    row: Row,
}

/// Numbers of cards, one after the other with none between that only looks like one.
#[derive(Debug, Default)]
struct Row {
    count: u32,
    /// The checksum of the last, so that one that is repeated does not count again.
    last: u32,
    end: u64,
}

/// What a try at a number says.
enum Try {
    None,
    Open,
    /// It ends there, and is this without its separators.
    Whole(u64, Vec<u8>),
}

/// Capitals and digits in a row.
#[derive(Clone, Copy)]
struct Group {
    from: u64,
    to: u64,
}

impl Numbers {
    /// Looks at what is new in `view`.
    pub fn look(&mut self, kinds: &Kinds, view: View<'_>, report: Report<'_>) {
        self.held = None;
        if !kinds.numbers() {
            self.next = view.end();
            return;
        }
        while let Some(at) = self.find(view) {
            let Some(group) = self.group(view, at) else {
                continue;
            };
            let Some(to) = self.read(kinds, view, group, report) else {
                self.next = at;
                return;
            };
            self.next = to.max(at + 1);
        }
    }

    /// The first byte that must not go on yet.
    pub fn held_from(&self) -> Option<u64> {
        self.held
    }

    /// The first byte that is still needed.
    pub fn needed_from(&self) -> u64 {
        self.next.saturating_sub(PAST)
    }

    /// The next block of digits.
    fn find(&mut self, view: View<'_>) -> Option<u64> {
        if self.skipping {
            let run = view.from(self.next);
            let skip = run.iter().take_while(|byte| is_part(**byte)).count();
            self.next += skip as u64;
            if skip == run.len() {
                return None;
            }
            self.skipping = false;
            self.floor = self.next;
        }
        loop {
            let from = view.place(self.next);
            let end = (view.window.len(), view.ended);
            let found = view
                .planes
                .find_with_next(from, end, |hints| hints.numbers, begins_number);
            let Some(at) = found else {
                self.next = view.end();
                return None;
            };
            self.next = view.base + at as u64;
            if may_be(view, self.next) {
                return Some(self.next);
            }
            self.next += 1;
        }
    }

    /// What stands around the first digit of a block; `None` if that is too long for a
    /// number.
    fn group(&mut self, view: View<'_>, at: u64) -> Option<Group> {
        let first = at + u64::from(!view.from(at).first().is_some_and(|byte| is_part(*byte)));
        let before = view.before(first, LONGEST + 1);
        let before = before.iter().rev().take_while(|byte| is_part(**byte));
        let from = (first - before.count() as u64).max(self.floor);
        let run = view.from(first).iter().take(LONGEST + 1);
        let to = first + run.take_while(|byte| is_part(**byte)).count() as u64;
        if to - from > LONGEST as u64 {
            (self.skipping, self.next) = (true, to);
            return None;
        }
        Some(Group { from, to })
    }

    /// Tries everything that a group may belong to. The answer is where to go on; `None`
    /// until more bytes tell.
    fn read(
        &mut self,
        kinds: &Kinds,
        view: View<'_>,
        group: Group,
        report: Report<'_>,
    ) -> Option<u64> {
        let tries = [
            (Kind::Card, group.from, card(view, group)),
            ssn(view, group),
            iban(view, group),
        ];
        // More of it may come.
        let mut open = group.to == view.end() && !view.ended;
        for (kind, from, found) in &tries {
            if matches!(found, Try::Open) {
                open = true;
                if view.end() - from >= TELLING && self.tells(*kind, view, *from) {
                    self.held = Some(self.held.map_or(*from, |held| held.min(*from)));
                }
            }
        }
        if open {
            return None;
        }
        for (kind, from, found) in tries {
            if let Try::Whole(to, number) = found
                && self.is_real(kind, view, (from, to), &number)
            {
                tell(kinds, kind, view, (from, to), report);
                self.floor = to;
                return Some(to);
            }
        }
        Some(group.to)
    }

    /// Whether a number that begins so would count.
    fn tells(&self, kind: Kind, view: View<'_>, from: u64) -> bool {
        let before = view.before(from, CONTEXT);
        match kind {
            Kind::Card => self.row.count + 1 >= ROW || card::is_named(before),
            Kind::Iban => true,
            Kind::UsSsn => ssn::is_named(before),
            Kind::SeedPhrase | Kind::WalletKey | Kind::SecretField => false,
        }
    }

    fn is_real(
        &mut self,
        kind: Kind,
        view: View<'_>,
        (from, to): (u64, u64),
        number: &[u8],
    ) -> bool {
        match kind {
            Kind::Card => {
                let real = card::is_card(number);
                let counts = real && !is_listed(view, (from, to), number);
                self.row.count(counts, (from, to), crc32fast::hash(number));
                real && (counts && self.row.count >= ROW
                    || card::is_named(view.before(from, CONTEXT)))
            }
            Kind::Iban => iban::is_iban(number),
            Kind::UsSsn => ssn::is_ssn(number) && self.tells(kind, view, from),
            Kind::SeedPhrase | Kind::WalletKey | Kind::SecretField => false,
        }
    }
}

impl Row {
    fn count(&mut self, real: bool, (from, to): (u64, u64), sum: u32) {
        if !real || from.saturating_sub(self.end) > ROW_GAP {
            self.count = 0;
        }
        if real && !(self.count > 0 && self.last == sum) {
            self.count = self.count.saturating_add(1);
        }
        (self.last, self.end) = (sum, to);
    }
}

/// Whether the groups of a number go on a list of such groups, as the codes of characters do.
fn is_listed(view: View<'_>, (from, to): (u64, u64), number: &[u8]) -> bool {
    let grouped = to - from > number.len() as u64;
    let goes_on = |edge: &[u8]| matches!(edge, [part, separator] if part.is_ascii_hexdigit() && b" -".contains(separator));
    grouped && goes_on(view.before(from, 2))
}

fn tell(kinds: &Kinds, kind: Kind, view: View<'_>, (from, to): (u64, u64), report: Report<'_>) {
    for detector in kinds.of(kind) {
        let finding = Finding {
            start: from,
            length: u32::try_from(to - from).unwrap_or(u32::MAX),
            detector,
            coding: Coding::Plain,
        };
        report(finding, view.between(from, to));
    }
}

fn card(view: View<'_>, group: Group) -> Try {
    match group.to - group.from {
        4 => {
            let amex = grouped(view, group.from, &[4, 6, 5], b" -", u8::is_ascii_digit);
            match amex {
                Try::None => grouped(view, group.from, &[4; 4], b" -", u8::is_ascii_digit),
                found => found,
            }
        }
        length @ 14..=19 => {
            let length = usize::try_from(length).unwrap_or(0);
            grouped(view, group.from, &[length], b"", u8::is_ascii_digit)
        }
        // One that is not all there yet.
        1..=13 if group.to == view.end() && !view.ended => {
            let mut digits = view.between(group.from, group.to).iter();
            if digits.all(u8::is_ascii_digit) {
                Try::Open
            } else {
                Try::None
            }
        }
        _ => Try::None,
    }
}

fn ssn(view: View<'_>, group: Group) -> (Kind, u64, Try) {
    // The block with three digits may be the last.
    let serial = (group.to - group.from == 4)
        .then(|| group.from.checked_sub(7).filter(|from| *from >= view.base));
    let from = match serial.flatten() {
        Some(from) if view.before(group.from, 1) != b"" && is_before_serial(view, from) => from,
        _ => group.from,
    };
    let found = match grouped(view, from, &[3, 2, 4], b" -", u8::is_ascii_digit) {
        Try::None => grouped(view, from, &[9], b"", u8::is_ascii_digit),
        found => found,
    };
    (Kind::UsSsn, from, found)
}

/// `123-45-`
fn is_before_serial(view: View<'_>, from: u64) -> bool {
    let [area @ .., one, d, e, other] = view.between(from, from + 7) else {
        return false;
    };
    one == other
        && matches!(one, b' ' | b'-')
        && area.len() == 3
        && area.iter().chain([d, e]).all(u8::is_ascii_digit)
}

fn iban(view: View<'_>, group: Group) -> (Kind, u64, Try) {
    let mut from = group.from;
    let beginning = |from| iban::length(view.between(from, from + 4));
    // Back to the group with the country, over groups of four.
    if group.to - group.from <= 4 {
        for _ in 0..LONGEST / 4 {
            if beginning(from).is_some() {
                break;
            }
            let before = view.before(from, 6);
            match before {
                [edge @ .., a, b, c, d, b' ']
                    if [a, b, c, d].iter().all(|byte| is_part(**byte)) =>
                {
                    if edge.last().is_some_and(|byte| is_part(*byte)) {
                        break;
                    }
                    from -= 5;
                }
                _ => break,
            }
        }
    }
    let found = match beginning(from) {
        Some(length) if group.to - from > 4 && from == group.from => {
            grouped(view, from, &[length], b"", |byte| is_part(*byte))
        }
        Some(length) => {
            let mut lengths = vec![4; length / 4];
            lengths.extend((length % 4 > 0).then_some(length % 4));
            match grouped(view, from, &lengths, b" -", |byte| is_part(*byte)) {
                Try::None => grouped(view, from, &[length], b"", |byte| is_part(*byte)),
                found => found,
            }
        }
        None => Try::None,
    };
    (Kind::Iban, from, found)
}

/// Reads groups of these lengths, with the same separator between them and nothing around
/// that a longer number or word is made of.
fn grouped(
    view: View<'_>,
    from: u64,
    lengths: &[usize],
    separators: &[u8],
    wanted: impl Fn(&u8) -> bool,
) -> Try {
    let start = usize::try_from(from.saturating_sub(view.base)).unwrap_or(usize::MAX);
    if !begins(view.window, start, Class::WORD) || follows_point(view.before(from, 2)) {
        return Try::None;
    }
    let mut rest = view.from(from);
    let mut number = Vec::with_capacity(LONGEST);
    let mut separator = None;
    let mut at = from;
    let missing = || if view.ended { Try::None } else { Try::Open };
    for (index, length) in lengths.iter().enumerate() {
        if index > 0 {
            let Some((first, after)) = rest.split_first() else {
                return missing();
            };
            if !separators.contains(first) || separator.is_some_and(|known| known != *first) {
                return Try::None;
            }
            separator = Some(*first);
            (rest, at) = (after, at + 1);
        }
        let group = rest.get(..*length).unwrap_or(rest);
        if !group.iter().all(&wanted) {
            return Try::None;
        }
        if group.len() < *length {
            return missing();
        }
        number.extend_from_slice(group);
        rest = rest.get(*length..).unwrap_or_default();
        at += *length as u64;
    }
    match rest {
        [] | [b'.'] if !view.ended => Try::Open,
        [first, ..] if Class::WORD.contains(*first) => Try::None,
        [b'.', digit, ..] if digit.is_ascii_digit() => Try::None,
        _ => Try::Whole(at, number),
    }
}

fn follows_point(before: &[u8]) -> bool {
    matches!(before, [digit, b'.'] if digit.is_ascii_digit())
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase()
}

/// Where three digits in a row begin, or two capitals and two digits.
#[inline]
pub(super) fn begins_number(block: &Block, next: &Block) -> u64 {
    let (digits, upper) = (
        Pair(block.digits, next.digits),
        Pair(block.upper, next.upper),
    );
    let number = digits.0 & !(digits.0 << 1) & digits.after(1) & digits.after(2);
    let account = upper.0 & !(upper.0 << 1) & upper.after(1) & digits.after(2) & digits.after(3);
    number | account
}

/// The bits of a block and of the next.
#[derive(Clone, Copy)]
struct Pair(u64, u64);

impl Pair {
    /// The bits of the bytes so many after each.
    #[inline]
    fn after(self, count: u32) -> u64 {
        self.0 >> count | self.1 << (64 - count)
    }
}

/// Whether the digits at `at` are as many as a number or its first group has, and stand by
/// themselves; or whether more bytes tell.
fn may_be(view: View<'_>, at: u64) -> bool {
    let bytes = view.from(at);
    if bytes.first().is_some_and(u8::is_ascii_uppercase) {
        return true;
    }
    let length = bytes
        .iter()
        .take(20)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let Some(next) = bytes.get(length) else {
        return !view.ended || matches!(length, 9 | 14..=19);
    };
    match length {
        3 | 4 => matches!(next, b' ' | b'-'),
        9 | 14..=19 => !Class::WORD.contains(*next),
        _ => false,
    }
}

/// Whether one of these words stands in the text, in lower case or as one part of a name:
/// `card_number`, `cardNumber`, `CARD`, and not `discard` nor `259CC`.
fn names(text: &[u8], words: &[&[u8]]) -> bool {
    let mut word = Vec::new();
    let (mut last, mut before) = (0_u8, 0_u8);
    let mut hit = false;
    let mut end = |word: &mut Vec<u8>, before: u8| {
        // So short, it is hexadecimal.
        let part = word.len() <= 2 && before.is_ascii_digit();
        hit |= !part && words.contains(&word.as_slice());
        word.clear();
    };
    for byte in text {
        let new = byte.is_ascii_uppercase() && last.is_ascii_lowercase();
        if new || !byte.is_ascii_alphabetic() {
            end(&mut word, before);
        }
        if byte.is_ascii_alphabetic() {
            if word.is_empty() {
                before = last;
            }
            word.push(byte.to_ascii_lowercase());
        }
        last = *byte;
    }
    end(&mut word, before);
    hit
}

#[cfg(test)]
mod tests;

//! Where tokens can stand: in runs of bytes without spaces, quotes and brackets.
//!
//! Text is words, and words are short: no more than a quarter of it stands in runs of [`RUN`]
//! bytes or more. Every token does, whatever its alphabet and its encoding, so that the rest
//! needs no search but for the names of fields, which stand before a run that is assigned.

use super::class::Class;
use super::planes::{BLOCK, Block, Planes};

/// The shortest run that is searched.
pub const RUN: usize = 10;

/// What a run is made of, as [`Block::dense`] says.
#[must_use]
pub fn class() -> Class {
    let mut class = Class::default();
    (0..=u8::MAX)
        .filter(|byte| is_dense(*byte))
        .for_each(|byte| class.insert(byte));
    class
}

/// Whether a run may hold this byte.
#[inline]
#[must_use]
pub fn is_dense(byte: u8) -> bool {
    match byte {
        0 | 0x0c | 0x0e | 0x0f | 0x7f => true,
        byte => byte.is_ascii_graphic() && !b"\"'`()<>[]{}".contains(&byte),
    }
}

/// So many changes between small letters and capitals are no word.
pub(super) const CHANGES: u32 = 4;
/// So many capitals in a row are not, nor so many signs.
const CAPITALS: usize = 8;
const SIGNS: usize = 4;

/// What tells random bytes from words, of which nearly all runs are.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    /// One of these is enough: digits, zeros, and where capitals in a row begin, signs in a row, and
    /// what follows the scheme of a URL.
    hard: u64,
    /// [`CHANGES`] of these are: changes from small letters to capitals and back.
    soft: u64,
    /// Whether the last byte of the block is a small letter, or a capital: 1 or 0.
    last: (u64, u64),
}

impl Marks {
    /// Those of `block`, which `next` follows; the last byte before it is a small letter, or
    /// a capital.
    #[inline]
    fn of(block: &Block, next: &Block, (lower, upper): (u64, u64)) -> Self {
        let after = |bits: u64, next: u64, count: u32| bits >> count | next << (64 - count);
        let upper_after = |bits: u64, next, count| bits & after(bits, next, count);
        // Capitals: two, four, eight in a row.
        let two = upper_after(block.upper, next.upper, 1);
        let next_two = next.upper & next.upper >> 1;
        let four = upper_after(two, next_two, 2);
        let next_four = next_two & next_two >> 2;
        let eight = upper_after(four, next_four, 4);
        // Signs: two, four in a row.
        let signs = upper_after(block.base64, next.base64, 1);
        let next_signs = next.base64 & next.base64 >> 1;
        let four = upper_after(signs, next_signs, 2);
        let scheme = block.assigns & after(signs, next_signs, 1);
        let small = block.lower << 1 | lower;
        let large = block.upper << 1 | upper;
        Self {
            hard: block.digits | block.zeros | eight | four | scheme,
            soft: block.lower & large | block.upper & small,
            last: (block.lower >> 63, block.upper >> 63),
        }
    }

    /// Whether some bytes hold enough of them, with so many changes elsewhere.
    #[inline]
    fn suffice(self, bytes: u64, changes: u32) -> bool {
        self.hard & bytes != 0 || self.changes(bytes) + changes >= CHANGES
    }

    /// The bits of all runs that hold enough of them. One that goes on from a block before
    /// does if it did there; of one that goes on in the next, of which so many bytes are
    /// known, what is there counts, too.
    #[inline]
    fn worth(
        self,
        runs: u64,
        (goes_on, before): (u64, u64),
        next: &Block,
        follows: (u64, u32),
    ) -> u64 {
        // Nearly all blocks hold words alone.
        if runs & (self.hard | goes_on | 1 << 63) == 0 && self.changes(runs) < CHANGES {
            return 0;
        }
        let (mut rest, mut worth) = (runs, 0);
        while rest != 0 {
            let run = (rest ^ rest.wrapping_add(1 << rest.trailing_zeros())) & rest;
            rest &= !run;
            let reaches = run >> 63 == 1;
            if before == 1 && run & goes_on != 0
                || self.suffice(run, 0)
                || reaches && self.worth_behind(run, next, follows)
            {
                worth |= run;
            }
        }
        worth
    }

    /// Whether a run that reaches the next block is worth a search with what it holds there,
    /// of which so many bytes are known.
    fn worth_behind(self, run: u64, next: &Block, (dense, known): (u64, u32)) -> bool {
        let there = dense & !dense.wrapping_add(1);
        // As it is if more of it follows.
        there.count_ones() >= known.min(u64::BITS)
            || Self::of(next, &Block::default(), self.last).suffice(there, self.changes(run))
    }

    /// How many changes some bytes hold.
    #[inline]
    fn changes(self, bytes: u64) -> u32 {
        match self.soft & bytes {
            0 => 0,
            soft => soft.count_ones(),
        }
    }
}

/// More bytes than these hardly change the chance.
const TOLD: usize = 64;

/// The chance that bytes of these classes, one after the other, hold no marks. Each class
/// stands for any of its bytes.
#[must_use]
pub fn chance_without_marks(classes: &[Class]) -> f64 {
    let classes = classes.get(..TOLD).unwrap_or(classes);
    if has_signs(classes) {
        return 0.0;
    }
    let mut kinds: Vec<Shares> = Vec::with_capacity(classes.len());
    for (class, before) in classes
        .iter()
        .zip([None].into_iter().chain(classes.iter().map(Some)))
    {
        // Most classes come many times in a row.
        let same = kinds.last().filter(|_| before == Some(class)).copied();
        kinds.push(same.unwrap_or_else(|| Shares::of(class)));
    }
    // What is no digit is a capital then.
    let capital = |shares: &Shares| shares.lower + shares.others == 0.0;
    if kinds.windows(CAPITALS).any(|row| row.iter().all(capital)) {
        return 0.0;
    }
    let no_digit: f64 = kinds.iter().map(|shares| 1.0 - shares.digits).product();
    no_digit * few_changes(&kinds)
}

/// Whether all bytes of these classes hold signs in a row, or what follows a scheme.
fn has_signs(classes: &[Class]) -> bool {
    let sign = |class: &Class| class.is_within(&Class::of(b"+-/_"));
    let colon = |class: &Class| class.only() == Some(b':');
    let row = |row: &[Class]| row.iter().all(sign);
    let scheme = |row: &[Class]| match row {
        [first, rest @ ..] => colon(first) && rest.iter().all(sign),
        [] => false,
    };
    classes.windows(SIGNS).any(row) || classes.windows(3).any(scheme)
}

/// Which shares of a class are what: of those that are no digits, all but the first.
#[derive(Clone, Copy)]
struct Shares {
    /// Digits, and zero.
    digits: f64,
    lower: f64,
    upper: f64,
    others: f64,
}

impl Shares {
    fn of(class: &Class) -> Self {
        let count = |first, last| {
            let mut kind = Class::default();
            kind.insert_range(first, last);
            count(class.shared(&kind))
        };
        let all = count(0, u8::MAX);
        let digits = count(b'0', b'9') + count(0, 0);
        let of = |count: f64| count / (all - digits).max(1.0);
        let (lower, upper) = (of(count(b'a', b'z')), of(count(b'A', b'Z')));
        Self {
            digits: digits / all.max(1.0),
            lower,
            upper,
            others: if all > digits {
                1.0 - lower - upper
            } else {
                0.0
            },
        }
    }
}

fn count(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(256.0, f64::from)
}

/// The chance of fewer changes than tell random bytes, where none is a digit.
fn few_changes(kinds: &[Shares]) -> f64 {
    // How likely each number of changes is, up to the last that is too few.
    let mut chances = [0.0; CHANGES as usize];
    if let Some(none) = chances.first_mut() {
        *none = 1.0;
    }
    for pair in kinds.windows(2) {
        let [one, other] = pair else { break };
        let change = one.lower * other.upper + one.upper * other.lower;
        let mut before = 0.0;
        for chance in &mut chances {
            let here = *chance;
            *chance = here * (1.0 - change) + before * change;
            before = here;
        }
    }
    chances.iter().sum()
}

/// What is worth a search in a block: a bit for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those of runs.
    pub runs: u64,
    /// Those of runs that hold what words do not.
    pub marked: u64,
    /// The first of each run that may be the value of something.
    pub values: u64,
}

/// The way from block to block: what the last byte was, each 1 or 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    dense: u64,
    lower: u64,
    upper: u64,
    /// Of a run.
    run: u64,
    /// Of a run that was worth a search.
    worth: u64,
    /// Whether nothing that is a name follows the last that assigns.
    assigned: u64,
}

impl Walk {
    /// To what follows `before`.
    #[must_use]
    pub fn after(before: &[u8]) -> Self {
        let mut before = before.iter().rev().take(BLOCK);
        let last = before.clone().next();
        let dense = u64::from(last.is_some_and(|byte| is_dense(*byte)));
        let end = before.find(|byte| is_dense(**byte) || b"<>\r".contains(*byte));
        let assigned = end.is_some_and(|byte| b":<=>\\\r".contains(byte));
        Self {
            dense,
            lower: u64::from(last.is_some_and(u8::is_ascii_lowercase)),
            upper: u64::from(last.is_some_and(u8::is_ascii_uppercase)),
            // It was searched, as far as it was there.
            run: dense,
            worth: dense,
            assigned: u64::from(assigned),
        }
    }

    /// To the block of that number, where nothing in the one before is worth a search.
    #[must_use]
    pub fn at(planes: &Planes, number: usize) -> Self {
        let last = number.saturating_sub(1);
        let block = planes.block(last);
        Self {
            dense: block.dense >> 63,
            lower: block.lower >> 63,
            upper: block.upper >> 63,
            run: u64::from(planes.reaches(last)),
            worth: 0,
            assigned: u64::from(assigned(planes, number)),
        }
    }

    /// Whether what is worth a search goes on in the next block.
    #[must_use]
    pub fn is_worth(&self) -> bool {
        self.worth == 1
    }

    /// What is worth a search in `block`, from its byte `first` on; of it and `next`, which
    /// follows, `length` bytes are there. What follows them may be anything.
    #[inline]
    pub fn step(&mut self, block: &Block, next: &Block, (first, length): (usize, usize)) -> Found {
        let there = u64::MAX >> BLOCK.saturating_sub(length);
        let here = u64::MAX << first;
        let dense = (block.dense | !there) & here;
        // Behind the end a run may go on.
        let known = u32::try_from(length.saturating_sub(BLOCK)).unwrap_or(u32::MAX);
        let follows = next.dense | u64::MAX.checked_shl(known).unwrap_or(0);
        let both = u128::from(dense) | u128::from(follows) << BLOCK;
        let two = both & both >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        // Where the last bytes of a run begin, and from there to its end.
        let begins = low(eight & two >> 8);
        let two = begins | begins << 1;
        let four = two | two << 2;
        let eight = four | four << 4;
        let goes_on = self.run << first;
        let runs = eight | two << 8 | dense & !dense.wrapping_add(goes_on);
        // A single byte may stand before a quote, as in `b"`.
        let around = dense << 1 | dense >> 1 | self.dense << first | follows << 63;
        let between = !dense & here | dense & !around;
        let from = (block.assigns & here) << 1 | self.assigned << first;
        let (sum, assigned) = between.overflowing_add(from & between);
        let mut found = Found::default();
        let mut worth = 0;
        // Most blocks of prose hold none.
        if runs != 0 {
            // As in `"name"=value`, the run may begin with it.
            let reached = ((sum | from) & !between) | block.assigns;
            let values = runs & !(runs << 1 | goes_on) & reached & there;
            let marks = Marks::of(block, next, (self.lower, self.upper));
            worth = marks.worth(runs, (goes_on, self.worth), next, (follows, known));
            found = Found {
                runs: runs & there,
                marked: worth & there,
                values: values & worth,
            };
        }
        *self = Self {
            dense: dense >> 63,
            lower: block.lower >> 63,
            upper: block.upper >> 63,
            run: runs >> 63,
            worth: worth >> 63,
            assigned: block.assigns >> 63 | u64::from(assigned),
        };
        found
    }
}

/// Whether nothing that is a name stands before the block of that number, up to the last that
/// assigns.
fn assigned(planes: &Planes, number: usize) -> bool {
    let mut follows = planes.block(number).dense;
    for number in (0..number).rev() {
        let block = planes.block(number);
        let before = number
            .checked_sub(1)
            .map_or(0, |before| planes.block(before).dense);
        let around = block.dense << 1 | block.dense >> 1 | before >> 63 | follows << 63;
        // The last byte of a name, or what stands in place of one, and all after it.
        let name = block.dense & around;
        let after = name
            .checked_ilog2()
            .map_or(u64::MAX, |last| u64::MAX << last);
        if block.assigns & after != 0 || name != 0 {
            return block.assigns & after != 0;
        }
        follows = block.dense;
    }
    false
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(bits: u128) -> u64 {
    bits as u64
}

#[cfg(test)]
mod tests {
    use super::super::planes::Planes;
    use super::*;

    fn numbers(mut seed: u32) -> impl FnMut(usize) -> usize {
        move |below| {
            seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (seed >> 9) as usize % below
        }
    }

    /// The bytes of runs that are long enough and marked, found one by one.
    fn slow(text: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let dense = |byte: &&u8| is_dense(**byte);
            let length = text[at..].iter().take_while(dense).count();
            let run = &text[at..at + length];
            if length >= RUN && is_marked(run) {
                all.extend(at..at + length);
            }
            at += length.max(1);
        }
        all
    }

    fn is_marked(run: &[u8]) -> bool {
        let row = |count, kind: fn(&u8) -> bool| run.windows(count).any(|row| row.iter().all(kind));
        let sign = |byte: &u8| b"+-/_".contains(byte);
        let scheme = |row: &[u8]| row[0] == b':' && row[1..].iter().all(sign);
        let change = |pair: &[u8]| {
            pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()
                || pair[0].is_ascii_uppercase() && pair[1].is_ascii_lowercase()
        };
        run.iter().any(|byte| byte.is_ascii_digit() || *byte == 0)
            || row(CAPITALS, u8::is_ascii_uppercase)
            || row(SIGNS, |byte| b"+-/_".contains(byte))
            || run.windows(3).any(scheme)
            || run.windows(2).filter(|pair| change(pair)).count() >= CHANGES as usize
    }

    fn found(text: &[u8]) -> Vec<usize> {
        let planes = Planes::of(text);
        let mut walk = Walk::after(b"");
        let mut all = Vec::new();
        for at in (0..text.len()).step_by(BLOCK) {
            let (block, next) = (planes.block(at / BLOCK), planes.block(at / BLOCK + 1));
            let found = walk.step(&block, &next, (0, text.len() - at));
            assert_eq!(found.marked & !found.runs, 0);
            assert_eq!(found.values & !found.marked, 0);
            all.extend(
                (0..BLOCK)
                    .filter(|bit| found.marked >> bit & 1 == 1)
                    .map(|bit| at + bit),
            );
        }
        all
    }

    #[test]
    fn every_marked_run_is_found_wherever_it_stands_and_little_else() {
        let words: [&[u8]; 9] = [
            b"word", b"_of_", b"ThE", b"7", b"://", b"CAPS", b"--", b"aBcD", b"\0",
        ];
        let mut next = numbers(7);
        let (mut more, mut all) = (0, 0);
        for _ in 0..3000 {
            let mut text = Vec::new();
            let length = next(400);
            let (long, rare) = (1 + next(9), 2 + next(60));
            while text.len() < length {
                let kind = if next(rare) == 0 { words.len() } else { 2 };
                text.extend_from_slice(words[next(kind)]);
                if next(long) == 0 {
                    text.push(b" \"(\n"[next(4)]);
                }
            }
            // What ends with the window may go on behind it, and counts.
            text.push(b' ');
            let (slow, found) = (slow(&text), found(&text));
            let missed = slow.iter().find(|at| !found.contains(at));
            assert_eq!(missed, None, "{}", text.escape_ascii());
            more += found.len() - slow.len();
            all += text.len();
        }
        assert!(more * 10 < all, "{more} of {all}");
    }

    #[test]
    fn values_are_told_by_what_stands_before() {
        let value = "q7Rk2vX9mT4bL8wZ1nC6";
        for before in [
            "a = ",
            "\"a\": \"",
            "a: ",
            "<a>",
            "a = b'",
            "a\\\": \\\"",
            "a\r\n\r\n",
            "a\\\"\\r\\n\\r\\n",
        ] {
            for pad in 0..130 {
                let text = format!("{}{before}{value}\"", " ".repeat(pad));
                let planes = Planes::of(text.as_bytes());
                let mut walk = Walk::after(b"");
                let values: u32 = (0..text.len())
                    .step_by(BLOCK)
                    .map(|at| {
                        let (block, next) =
                            (planes.block(at / BLOCK), planes.block(at / BLOCK + 1));
                        walk.step(&block, &next, (0, text.len() - at))
                            .values
                            .count_ones()
                    })
                    .sum();
                assert_eq!(values, 1, "{text}");
            }
        }
        assert_eq!(found(b"the words_that_follow are some ").len(), 0);
    }

    #[test]
    fn chances_are_told_from_classes() {
        let kind = |first, last| {
            let mut class = Class::default();
            class.insert_range(first, last);
            class
        };
        let (lower, upper, digit) = (kind(b'a', b'z'), kind(b'A', b'Z'), kind(b'0', b'9'));
        let alphanumeric = lower.union(&upper).union(&digit);
        // Then so many bytes of a class.
        let classes = |text: &str, class: Class, count| {
            let mut classes: Vec<Class> = text.bytes().map(Class::single).collect();
            classes.extend(vec![class; count]);
            classes
        };
        for (text, class, count, chance) in [
            ("ghp_", alphanumeric, 36, 0.0),
            ("key7", lower, 20, 0.0),
            ("", upper.union(&digit), 16, 0.0),
            ("postgres://", lower, 8, 0.0),
            ("-----BEGIN", lower, 0, 0.0),
            ("aBcDe", lower, 9, 0.0),
            ("", lower, 40, 1.0),
            ("aBc", lower, 9, 1.0),
            ("", lower.union(&digit), 10, (26.0_f64 / 36.0).powi(10)),
        ] {
            let told = chance_without_marks(&classes(text, class, count));
            assert!((told - chance).abs() < 1e-4, "{text}: {told}");
        }
    }
}

//! The search for anchors: which places of the bytes are worth a second look.
//!
//! Tokens stand in dense runs, and in nearly all of these stand words: see `dense.rs`.
//! What is left, a twentieth of clean traffic, is looked at.
//!
//! Every shape has four neighbouring bytes that are nearly fixed. Three neighbours make a
//! gram, so each anchor holds two grams, one at an even and one at an odd place, and looking
//! at every second place of the bytes cannot miss it. A gram is looked up in a bit map that
//! stays in the first-level cache; no look-up depends on the one before, so the processor
//! runs many at a time. On clean traffic almost none hits.

use super::dense::{RUN, Walk, is_dense};
use super::planes::{BLOCK, Planes};

/// Bytes of a gram.
pub const GRAM: usize = 3;
/// Bits of the map: 16 KiB, so that it stays in the first-level cache and a few hundred
/// known secrets in all their forms still leave it nearly empty.
const BITS: usize = 1 << 17;
const WORDS: usize = BITS / 64;
const SHIFT: u32 = 32 - BITS.trailing_zeros();
/// Bytes looked at in one step: six grams of two words.
const STEP: usize = 12;
const LOADED: usize = 16;
/// Bytes before a value in which its name may stand.
const NAME: usize = 160;

/// A gram, the rule it belongs to, and its place from the start of the token.
pub type Gram = ([u8; GRAM], u32, u16);

/// A gram that stands in some shape: which one, and how many bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    gram: u32,
    /// The rule's number.
    pub rule: u32,
    /// Bytes from the start of the token to the gram.
    pub offset: u16,
}

/// Grams, and of which shapes they are.
#[derive(Default)]
pub struct Map {
    bits: Option<Box<[u64; WORDS]>>,
    /// For each word of the map, how many bits are set before it.
    ranks: Vec<u32>,
    /// For each bit that is set, the first of its entries; they end where the next begin.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

impl Map {
    /// Makes the map of these grams.
    #[must_use]
    pub fn new(grams: impl IntoIterator<Item = Gram>) -> Self {
        let entry = |([a, b, c], rule, offset): ([u8; GRAM], u32, u16)| Entry {
            gram: u32::from_le_bytes([a, b, c, 0]),
            rule,
            offset,
        };
        let mut entries: Vec<Entry> = grams.into_iter().map(entry).collect();
        entries.sort_by_key(|entry| (hash(entry.gram), entry.gram, entry.rule, entry.offset));
        entries.dedup();
        let mut map = vec![0_u64; WORDS].into_boxed_slice();
        let mut starts = Vec::new();
        let mut last = None;
        for (entry, at) in entries.iter().zip(0..) {
            let hash = hash(entry.gram);
            if last != Some(hash) {
                starts.push(at);
                last = Some(hash);
            }
            if let Some(word) = map.get_mut(hash >> 6) {
                *word |= 1 << (hash & 63);
            }
        }
        let mut sum = 0;
        let ranks = map
            .iter()
            .map(|word| {
                let rank = sum;
                sum += word.count_ones();
                rank
            })
            .collect();
        Self {
            bits: map.try_into().ok(),
            ranks,
            starts,
            entries,
        }
    }

    /// Calls `hit` for every known gram at `from`, `from + 2` … before `end`.
    #[inline]
    fn scan(&self, bytes: &[u8], (from, end): (usize, usize), hit: &mut impl FnMut(usize, &Entry)) {
        let Some(map) = self.bits.as_deref() else {
            return;
        };
        let mut at = from;
        while at < end {
            let Some((first, second)) = words(bytes, at) else {
                self.look_around(map, bytes, at, hit);
                at += 2;
                continue;
            };
            let tests = [
                test(map, low(first)),
                test(map, low(first >> 16)),
                test(map, low(first >> 32)),
                test(map, low(second)),
                test(map, low(second >> 16)),
                test(map, low(second >> 32)),
            ];
            if tests.iter().fold(0, |any, test| any | test) & 1 != 0 {
                for (place, test) in (at..end).step_by(2).zip(tests) {
                    if test & 1 != 0 {
                        self.look_around(map, bytes, place, hit);
                    }
                }
            }
            at += STEP;
        }
    }

    /// As [`Map::look`], where an anchor may stand: before or after the gram is another one.
    fn look_around(
        &self,
        map: &[u64; WORDS],
        bytes: &[u8],
        at: usize,
        hit: &mut impl FnMut(usize, &Entry),
    ) {
        let known = |at: usize| {
            let gram = bytes.get(at..at + GRAM).and_then(<[u8]>::first_chunk);
            gram.is_none_or(|[a, b, c]| test(map, u32::from_le_bytes([*a, *b, *c, 0])) & 1 == 1)
        };
        if known(at + 1) || at.checked_sub(1).is_some_and(known) {
            self.look(bytes, at, hit);
        }
    }

    /// Calls `hit` if a known gram stands at `at`: nearly always there is none.
    pub fn look(&self, bytes: &[u8], at: usize, hit: &mut impl FnMut(usize, &Entry)) {
        let Some(map) = self.bits.as_deref() else {
            return;
        };
        let Some(&[a, b, c]) = bytes.get(at..at + GRAM) else {
            return;
        };
        let gram = u32::from_le_bytes([a, b, c, 0]);
        if test(map, gram) & 1 == 0 {
            return;
        }
        self.tell(map, gram, &mut |entry| hit(at, entry));
    }

    /// Calls `hit` for each entry of a gram whose bit is set.
    fn tell(&self, map: &[u64; WORDS], gram: u32, hit: &mut impl FnMut(&Entry)) {
        let hash = hash(gram);
        let (word, bit) = (hash >> 6, hash & 63);
        let before = map.get(word).map_or(0, |word| word & !(u64::MAX << bit));
        let rank = self.ranks.get(word).copied().unwrap_or(0);
        let nth = (rank + before.count_ones()) as usize;
        let start = self.starts.get(nth).copied().unwrap_or(0) as usize;
        let end = self
            .starts
            .get(nth + 1)
            .map_or(self.entries.len(), |end| *end as usize);
        for entry in self.entries.get(start..end).unwrap_or_default() {
            if entry.gram == gram {
                hit(entry);
            }
        }
    }
}

/// Where grams are searched for.
#[derive(Debug, Default)]
pub struct Grams {
    /// Of what stands in dense runs that are no words.
    pub marked: Vec<Gram>,
    /// Of what stands in dense runs.
    pub dense: Vec<Gram>,
    /// Of what may stand anywhere.
    pub bare: Vec<Gram>,
}

/// All that is searched for.
#[derive(Default)]
pub struct Prefilter {
    marked: Map,
    dense: Option<Map>,
    bare: Option<Map>,
}

/// How far a window was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the next run may begin, or the next gram of one that goes on.
    next: usize,
    /// Grams before this place were looked at, or need not be.
    seen: usize,
    /// From where to where grams of a run were looked at that reached the end, and may be of
    /// none that counts.
    tail: (usize, usize),
    /// The next gram of what may stand anywhere.
    bare: usize,
}

impl Place {
    /// The first byte that is still needed, but for what whoever reads a hit needs before it.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.next.min(self.bare)
    }

    /// So many bytes of the window are gone.
    pub fn forget(&mut self, bytes: usize) {
        let (from, to) = (&mut self.tail.0, &mut self.tail.1);
        for place in [&mut self.next, &mut self.seen, from, to, &mut self.bare] {
            *place = place.saturating_sub(bytes);
        }
    }
}

impl Prefilter {
    /// Makes the maps of grams in dense runs and of others.
    #[must_use]
    pub fn new(grams: Grams) -> Self {
        let map = |grams: Vec<Gram>| (!grams.is_empty()).then(|| Map::new(grams));
        Self {
            marked: Map::new(grams.marked),
            dense: map(grams.dense),
            bare: map(grams.bare),
        }
    }

    /// Whether words are searched, too: far more bytes than else.
    #[must_use]
    pub fn searches_words(&self) -> bool {
        self.bare.is_some() || self.dense.is_some()
    }

    /// Calls `hit` for every known gram that stands where it may, and for those before the
    /// value of something.
    #[inline]
    pub fn search(
        &self,
        window: &[u8],
        planes: &Planes,
        place: &mut Place,
        hit: &mut impl FnMut(usize, &Entry),
    ) {
        let end = window.len();
        // The last gram that is not there in full.
        let last = end.saturating_sub(GRAM - 1).next_multiple_of(2);
        if let Some(bare) = &self.bare {
            bare.scan(window, (place.bare, last.max(place.bare)), hit);
        }
        place.bare = last.max(place.bare).min(end);
        let start = place.next;
        let before = window.get(..start).unwrap_or_default();
        let mut walk = Walk::after(before);
        // Where the run before began and where it ended.
        let mut run = match before.last() {
            Some(byte) if is_dense(*byte) => (place.tail.0, start),
            _ => (start, start),
        };
        let (mut first, mut number) = (start % BLOCK, start / BLOCK);
        let blocks = end.div_ceil(BLOCK);
        while number < blocks {
            let at = number * BLOCK;
            let (block, next) = (planes.block(number), planes.block(number + 1));
            let found = walk.step(&block, &next, (first, end - at));
            for span in Spans(found.marked) {
                let (from, to) = span.within(at);
                if found.values >> span.0 & 1 == 1 {
                    self.name(window, from, place, hit);
                }
                run = (if from == run.1 { run.0 } else { from }, to);
                let places = (from.next_multiple_of(2), to.min(last));
                self.marked.scan(window, places, hit);
                // A short one is none; its name may stand before it.
                if to < end && to - run.0 >= RUN {
                    place.seen = to;
                } else {
                    place.tail = (run.0.next_multiple_of(2), places.1);
                }
            }
            if let Some(dense) = &self.dense {
                for run in Spans(found.runs) {
                    let (from, to) = run.within(at);
                    dense.scan(window, (from.next_multiple_of(2), to.min(last)), hit);
                }
            }
            (number, first) = (number + 1, 0);
            let hinted = match &self.dense {
                Some(_) => planes.hinted(number, |hints| hints.runs),
                None => planes.hinted(number, |hints| hints.marked),
            };
            // There is none behind the last.
            let hinted = hinted.unwrap_or(usize::MAX);
            if hinted > number && !walk.is_worth() {
                number = hinted;
                if number < blocks {
                    walk = Walk::at(planes, number);
                }
            }
        }
        let rest = window.get(last..).unwrap_or_default();
        let goes_on = last >= start && !rest.is_empty() && rest.iter().all(|byte| is_dense(*byte));
        place.next = if goes_on { last } else { end };
    }
}

impl Prefilter {
    /// Looks for the name of the value at `value`.
    fn name(
        &self,
        window: &[u8],
        value: usize,
        place: &mut Place,
        hit: &mut impl FnMut(usize, &Entry),
    ) {
        let from = value.saturating_sub(NAME).max(place.seen);
        let from = from.next_multiple_of(2);
        let to = value.saturating_sub(GRAM - 1);
        // Not again what was the end of the window before.
        let (tail, behind) = place.tail;
        self.marked.scan(window, (from, tail.min(to)), hit);
        self.marked.scan(window, (from.max(behind), to), hit);
        place.seen = value;
    }
}

/// The runs of bits.
struct Spans(u64);

/// From which bit on so many are set.
struct Span(u32, u32);

impl Iterator for Spans {
    type Item = Span;

    #[inline]
    fn next(&mut self) -> Option<Span> {
        let from = self.0.trailing_zeros();
        if from == u64::BITS {
            return None;
        }
        let length = (self.0 >> from).trailing_ones();
        // A carry clears them.
        self.0 &= self.0.wrapping_add(1 << from);
        Some(Span(from, length))
    }
}

impl Span {
    /// From where to where it is, of a block that begins at `block`.
    #[inline]
    fn within(&self, block: usize) -> (usize, usize) {
        let from = block + self.0 as usize;
        (from, from + self.1 as usize)
    }
}

#[inline]
fn hash(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> SHIFT) as usize
}

/// The lowest bit says whether the gram may be known; the others say nothing.
#[inline]
fn test(map: &[u64; WORDS], gram: u32) -> u64 {
    // The top byte belongs to the next gram: shifted out, as the hash is of three bytes.
    let hash = hash(gram << 8 >> 8);
    let word = map.get((hash >> 6) & (WORDS - 1)).copied().unwrap_or(0);
    word >> (hash & 63)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(word: u64) -> u32 {
    word as u32
}

/// Bytes 0 to 7 and 6 to 13 of the block at `at`: grams at 0, 2, 4 and 6, 8, 10.
#[inline]
fn words(bytes: &[u8], at: usize) -> Option<(u64, u64)> {
    let block: &[u8; LOADED] = bytes.get(at..)?.first_chunk()?;
    let first = u64::from_le_bytes(*block.first_chunk()?);
    let second = u64::from_le_bytes(*block.get(6..)?.first_chunk()?);
    Some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gram_at_every_second_place_is_found() {
        let map = Map::new([(*b"ghp", 1, 0), (*b"hp_", 1, 1), (*b"sk-", 2, 0)]);
        for before in 0..40 {
            for after in 0..20 {
                let text = [&vec![b'.'; before][..], b"ghp_", &vec![b'.'; after]].concat();
                let mut hits = Vec::new();
                map.scan(&text, (0, text.len() - 2), &mut |at, entry| {
                    hits.push((at, entry.offset));
                });
                let odd = before % 2;
                assert_eq!(hits, [(before + odd, u16::try_from(odd).unwrap())]);
            }
        }
    }
}

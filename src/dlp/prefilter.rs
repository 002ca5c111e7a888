//! The search for anchors: which places of the bytes are worth a second look.
//!
//! Every shape has four neighbouring bytes that are nearly fixed. Three neighbours make a
//! gram, so each anchor holds two grams, one at an even and one at an odd place, and looking
//! at every second place of the bytes cannot miss it. A gram is looked up in a bit map that
//! stays in the first-level cache; no look-up depends on the one before, so the processor
//! runs many at a time. On clean traffic almost none hits.

/// Bytes of a gram.
pub const GRAM: usize = 3;
/// Bits of the map: 32 KiB, so that it stays in the first-level cache and a few hundred
/// known secrets in all their forms still leave it nearly empty.
const BITS: usize = 1 << 18;
const WORDS: usize = BITS / 64;
const SHIFT: u32 = 32 - BITS.trailing_zeros();
/// Bytes looked at in one step: six grams of two words.
const STEP: usize = 12;
const BLOCK: usize = 16;

/// A gram that stands in some shape: which one, and how many bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    gram: u32,
    /// The rule's number.
    pub rule: u32,
    /// Bytes from the start of the token to the gram.
    pub offset: u16,
}

/// All grams of all shapes.
#[derive(Default)]
pub struct Prefilter {
    map: Option<Box<[u64; WORDS]>>,
    /// For each hash, the end of its entries; they begin where those before it end.
    ends: Vec<u32>,
    entries: Vec<Entry>,
}

impl Prefilter {
    /// Makes the map of these grams.
    #[must_use]
    pub fn new(grams: impl IntoIterator<Item = ([u8; GRAM], u32, u16)>) -> Self {
        let entry = |([a, b, c], rule, offset): ([u8; GRAM], u32, u16)| Entry {
            gram: u32::from_le_bytes([a, b, c, 0]),
            rule,
            offset,
        };
        let mut entries: Vec<Entry> = grams.into_iter().map(entry).collect();
        let mut map = vec![0_u64; WORDS].into_boxed_slice();
        let mut ends = vec![0; BITS];
        entries.sort_by_key(|entry| (hash(entry.gram), entry.gram, entry.rule, entry.offset));
        entries.dedup();
        for entry in &entries {
            let hash = hash(entry.gram);
            if let Some(word) = map.get_mut(hash >> 6) {
                *word |= 1 << (hash & 63);
            }
            if let Some(end) = ends.get_mut(hash) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        Self {
            map: map.try_into().ok(),
            ends,
            entries,
        }
    }

    /// Calls `hit` for every gram at `from`, `from + 2` … of `bytes` that is known, and
    /// returns the first place that could not be looked at because bytes are missing.
    #[inline]
    pub fn scan(&self, bytes: &[u8], from: usize, mut hit: impl FnMut(usize, &Entry)) -> usize {
        let Some(map) = self.map.as_deref() else {
            return bytes.len();
        };
        let mut at = from;
        while let Some((first, second)) = words(bytes, at) {
            let tests = [
                test(map, low(first)),
                test(map, low(first >> 16)),
                test(map, low(first >> 32)),
                test(map, low(second)),
                test(map, low(second >> 16)),
                test(map, low(second >> 32)),
            ];
            if tests.iter().fold(0, |any, test| any | test) & 1 != 0 {
                for (place, test) in (at..).step_by(2).zip(tests) {
                    if test & 1 != 0 {
                        self.look(map, bytes, place, &mut hit);
                    }
                }
            }
            at += STEP;
        }
        while at + GRAM <= bytes.len() {
            self.look(map, bytes, at, &mut hit);
            at += 2;
        }
        at
    }

    /// The slow look at one place: nearly always a false alarm.
    fn look(
        &self,
        map: &[u64; WORDS],
        bytes: &[u8],
        at: usize,
        hit: &mut impl FnMut(usize, &Entry),
    ) {
        let Some(&[a, b, c]) = bytes.get(at..at + GRAM) else {
            return;
        };
        let gram = u32::from_le_bytes([a, b, c, 0]);
        if test(map, gram) & 1 == 0 {
            return;
        }
        let hash = hash(gram);
        let end = self.ends.get(hash).copied().unwrap_or(0) as usize;
        let start = hash.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0) as usize;
        for entry in self.entries.get(start..end).unwrap_or_default() {
            if entry.gram == gram {
                hit(at, entry);
            }
        }
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
    let block: &[u8; BLOCK] = bytes.get(at..)?.first_chunk()?;
    let first = u64::from_le_bytes(*block.first_chunk()?);
    let second = u64::from_le_bytes(*block.get(6..)?.first_chunk()?);
    Some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gram_at_every_second_place_is_found() {
        let filter = Prefilter::new([(*b"ghp", 1, 0), (*b"hp_", 1, 1), (*b"sk-", 2, 0)]);
        for before in 0..40 {
            for after in 0..20 {
                let text = [&vec![b'.'; before][..], b"ghp_", &vec![b'.'; after]].concat();
                let mut hits = Vec::new();
                let next = filter.scan(&text, 0, |at, entry| hits.push((at, entry.offset)));
                let odd = before % 2;
                assert_eq!(hits, [(before + odd, u16::try_from(odd).unwrap())]);
                assert!(next + GRAM > text.len());
                assert_eq!(next % 2, 0);
            }
        }
    }
}

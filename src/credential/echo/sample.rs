//! Skips what cannot hold any long form, without looking at most of its bytes.
//!
//! Of a form of `n` bytes, any place where it stands covers at least one of the positions that
//! are `n - 7` apart, with the eight bytes from there. So it is enough to look at eight bytes
//! every so many (the shortest long form decides how many) and to ask whether any form has them.
//! An automaton over all forms looks at each byte; it is run only around a hit.

use std::collections::HashMap;

/// The bytes of a fragment: fewer are a few letters of any text.
pub(super) const FRAGMENT: usize = 8;
/// As many bytes of a part of something larger may show what is a part of a secret.
pub const PART_LEAST: u64 = FRAGMENT as u64;

/// Forms of so many bytes are long enough for samples to be worth it.
const LONG: usize = 16;
/// Where forms are looked for by themselves, so many of them are no dearer than one.
const FEW: usize = 32;

/// Bits for each fragment, so that few others share one.
const BITS_EACH: usize = 32;
/// Of the set: 512 bytes, and 128 KiB, which is what a cache holds beside the rest.
const BITS_LEAST: usize = 1 << 12;
const BITS_MOST: usize = 1 << 20;

/// Every stretch of [`FRAGMENT`] bytes of any form.
pub(super) struct Sample {
    fragments: HashMap<[u8; FRAGMENT], u32>,
    /// The hashes of all of them.
    bits: Box<[u64]>,
    shift: u32,
    /// How far apart positions may be.
    stride: usize,
}

/// How long forms must be to be found by samples, given how long they are. Where some are too
/// short for that, others that are not much longer are looked for with them, and samples may be
/// the farther apart.
pub(super) fn long(lengths: &(impl Iterator<Item = usize> + Clone)) -> usize {
    let shorter = |than: usize| lengths.clone().filter(|length| *length < than).count();
    if shorter(LONG) > 0 && shorter(2 * LONG) <= FEW {
        2 * LONG
    } else {
        LONG
    }
}

impl Sample {
    /// Of these forms, each with whose it is. Those shorter than `long` count as fragments only.
    pub(super) fn new<'a>(long: usize, forms: impl Iterator<Item = (&'a [u8], u32)>) -> Self {
        let mut fragments = HashMap::new();
        let mut shortest = usize::MAX;
        for (form, owner) in forms {
            if form.len() >= long {
                shortest = shortest.min(form.len());
            }
            for window in form.windows(FRAGMENT) {
                if let Ok(window) = window.try_into() {
                    fragments.entry(window).or_insert(owner);
                }
            }
        }
        let bits = fragments.len().saturating_mul(BITS_EACH);
        let bits = bits.clamp(BITS_LEAST, BITS_MOST).next_power_of_two();
        let mut sample = Self {
            shift: u64::BITS.saturating_sub(bits.trailing_zeros()),
            bits: vec![0; bits / 64].into_boxed_slice(),
            stride: shortest.saturating_sub(FRAGMENT - 1),
            fragments,
        };
        for fragment in sample.fragments.keys() {
            let (word, bit) = place(*fragment, sample.shift);
            if let Some(word) = sample.bits.get_mut(word) {
                *word |= bit;
            }
        }
        sample
    }

    /// How far apart positions may be at which [`Self::next`] looks.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Whose a fragment is.
    pub(super) fn owner(&self, fragment: [u8; FRAGMENT]) -> Option<u32> {
        let (word, bit) = place(fragment, self.shift);
        let maybe = self.bits.get(word).is_some_and(|word| word & bit != 0);
        maybe.then(|| self.fragments.get(&fragment).copied())?
    }

    /// The first position from `from` on, in steps, at which a fragment of a form stands.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let fragment = bytes.get(at..)?.first_chunk()?;
            if self.owner(*fragment).is_some() {
                return Some(at);
            }
            at = at.checked_add(self.stride)?;
        }
    }
}

/// The word and the bit of a fragment (multiplicative hashing: Knuth, TAOCP 3, §6.4).
fn place(fragment: [u8; FRAGMENT], shift: u32) -> (usize, u64) {
    let hash = u64::from_le_bytes(fragment).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    let hash = usize::try_from(hash).unwrap_or(0);
    (hash / 64, 1 << (hash % 64))
}

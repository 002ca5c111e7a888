//! A set of byte values: what may stand at one position of a token.

use std::fmt;
use std::iter;

/// A set of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Class([u64; 4]);

impl Class {
    /// What names, tokens and words are made of: a token does not begin or end between two
    /// of these.
    pub const WORD: Self = Self([0x03ff_2000_0000_0000, 0x07ff_fffe_87ff_fffe, 0, 0]);

    /// The set of one byte.
    #[must_use]
    pub fn single(byte: u8) -> Self {
        let mut class = Self::default();
        class.insert(byte);
        class
    }

    /// The set of these ASCII characters.
    #[must_use]
    pub const fn of(mut ascii: &[u8]) -> Self {
        let (mut low, mut high) = (0, 0);
        while let [first, rest @ ..] = ascii {
            match *first >> 6 {
                0 => low |= 1_u64 << *first,
                _ => high |= 1_u64 << (*first & 63),
            }
            ascii = rest;
        }
        Self([low, high, 0, 0])
    }

    /// Whether `byte` is in it.
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        let word = self.0.get(usize::from(byte >> 6)).copied().unwrap_or(0);
        (word >> (byte & 63)) & 1 == 1
    }

    /// Adds a byte.
    pub fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    /// Adds all bytes from `first` to `last`.
    pub fn insert_range(&mut self, first: u8, last: u8) {
        (first..=last).for_each(|byte| self.insert(byte));
    }

    /// All bytes that are not in it.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// The bytes of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(word, other)| *word |= other);
        both
    }

    /// Whether `other` has all of its bytes.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.shared(other) == self.len()
    }

    /// Whether some byte is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.shared(other) > 0
    }

    /// How many bytes are in both.
    #[must_use]
    pub fn shared(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(other.0);
        pairs
            .map(|(word, other)| (word & other).count_ones() as usize)
            .sum()
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The byte that alone is in it.
    #[must_use]
    pub fn only(&self) -> Option<u8> {
        (self.len() == 1).then(|| self.bytes().next()).flatten()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The bytes, in order.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let words = [0, 64, 128, 192].into_iter().zip(self.0);
        words.flat_map(|(first, word)| bits(word).map(move |bit| first + bit))
    }
}

/// The bits that are set, in order.
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = u8> {
    iter::from_fn(move || {
        let bit = u8::try_from(word.trailing_zeros()).ok()?;
        word = (word != 0).then(|| word & (word - 1))?;
        Some(bit)
    })
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.bytes().collect();
        write!(f, "[{}]", bytes.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for byte in 0..=u8::MAX {
            let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            assert_eq!(Class::WORD.contains(byte), word, "{byte}");
        }
        assert_eq!(Class::WORD.len(), 64);
        assert_eq!(Class::WORD.negated().len(), 192);
        assert!(!Class::WORD.overlaps(&Class::WORD.negated()));
        assert_eq!(Class::WORD.union(&Class::single(b'.')).len(), 65);
        assert!(Class::default().is_empty());
        assert_eq!(Class::default().negated().bytes().count(), 256);
        let few: Vec<u8> = [0, 63, 64, 200, 255].into();
        let mut class = Class::default();
        for byte in &few {
            class.insert(*byte);
        }
        assert!(class.bytes().eq(few));
    }
}

//! What has anchors, as shapes have, and is read in another way.

use super::anchor::{ANCHOR, spell};
use super::class::Class;
use super::fields;
use super::prefilter::GRAM;

/// What stands behind an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Nothing.
    Nothing,
    /// More bytes tell. What is needed of those before begins at `start`; what must not go on
    /// yet, at `hold`.
    Open {
        /// In bytes from the start of the window.
        start: usize,
        /// As `start`.
        hold: Option<usize>,
    },
    /// Data from `from` up to `to`.
    Found {
        /// In bytes from the start of the window.
        from: usize,
        /// As `from`.
        to: usize,
    },
}

/// How to read, and for which detector.
struct Reader {
    anchor: [Class; ANCHOR],
    detector: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Readers(Vec<Reader>);

impl Readers {
    /// How many anchors there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the fields that hold secrets, and tells where their grams are: each with the
    /// number of its anchor and the place in that.
    pub fn add_fields(&mut self, detector: u32, mut gram: impl FnMut([u8; GRAM], usize, u16)) {
        for anchor in fields::anchors() {
            for (place, classes) in (0..).zip(anchor.windows(GRAM)) {
                for bytes in spell(classes) {
                    gram(bytes, self.0.len(), place);
                }
            }
            self.0.push(Reader { anchor, detector });
        }
    }

    /// Whose anchor this is.
    pub fn detector(&self, index: usize) -> Option<u32> {
        self.0.get(index).map(|reader| reader.detector)
    }

    /// Reads what stands around an anchor at `at`. `ended`: no byte follows the window.
    pub fn read(&self, index: usize, window: &[u8], at: usize, ended: bool) -> Read {
        let Some(reader) = self.0.get(index) else {
            return Read::Nothing;
        };
        let there = window.get(at..).unwrap_or_default();
        let mut pairs = reader.anchor.iter().zip(there);
        if !pairs.all(|(class, byte)| class.contains(*byte)) {
            return Read::Nothing;
        }
        if there.len() < ANCHOR {
            if ended {
                return Read::Nothing;
            }
            // What is before is needed once the rest is there.
            return Read::Open {
                start: at.saturating_sub(fields::BEFORE),
                hold: None,
            };
        }
        let anchors = self.0.iter().map(|reader| &reader.anchor);
        fields::read(&anchors, window, at, ended)
    }
}

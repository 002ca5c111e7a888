//! What has anchors, as shapes have, and is read in another way.

use std::sync::Arc;

use super::anchor::{ANCHOR, spell};
use super::class::Class;
use super::fields;
use super::imported::{self, Imported};
use super::prefilter::GRAM;

/// Bytes before an anchor that may be needed.
const BEFORE: usize = if fields::BEFORE > imported::BEFORE {
    fields::BEFORE
} else {
    imported::BEFORE
};

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

/// An anchor, how to read what stands around it, and for which detector.
struct Reader {
    anchor: [Class; ANCHOR],
    detector: u32,
    how: How,
}

enum How {
    /// As a field.
    Field,
    /// As a rule, of which this is the anchor of that number, so many bytes from the beginning.
    Rule(Arc<Imported>, usize, usize),
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
            self.add(anchor, detector, How::Field, &mut gram);
        }
    }

    /// As [`Readers::add_fields`], of a rule of another scanner.
    pub fn add_rule(
        &mut self,
        detector: u32,
        rule: &Arc<Imported>,
        mut gram: impl FnMut([u8; GRAM], usize, u16),
    ) {
        for (nth, (anchor, before)) in rule.anchors().iter().enumerate() {
            let how = How::Rule(rule.clone(), nth, *before);
            self.add(*anchor, detector, how, &mut gram);
        }
    }

    fn add(
        &mut self,
        anchor: [Class; ANCHOR],
        detector: u32,
        how: How,
        gram: &mut impl FnMut([u8; GRAM], usize, u16),
    ) {
        for (place, classes) in (0..).zip(anchor.windows(GRAM)) {
            for bytes in spell(classes) {
                gram(bytes, self.0.len(), place);
            }
        }
        self.0.push(Reader {
            anchor,
            detector,
            how,
        });
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
                start: at.saturating_sub(BEFORE),
                hold: None,
            };
        }
        match &reader.how {
            How::Field => fields::read(&self.fields(), window, at, ended),
            How::Rule(rule, nth, before) => match at.checked_sub(*before) {
                Some(start) => rule.read(window, start, *nth, ended),
                None => Read::Nothing,
            },
        }
    }

    /// The anchors of fields.
    fn fields(&self) -> impl Iterator<Item = &[Class; ANCHOR]> + Clone {
        let fields = self.0.iter();
        let fields = fields.filter(|reader| matches!(reader.how, How::Field));
        fields.map(|reader| &reader.anchor)
    }
}

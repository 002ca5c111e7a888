//! Finds the forms that are too short for samples.
//!
//! One password of a few characters must not make every response dearer: its few short forms
//! are looked for by themselves, many bytes at a time where the processor can (the algorithm
//! "Teddy" of the `aho-corasick` crate), and all longer forms go on being sampled.

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, BuildError, Input, Span};

/// Where some form begins. Holds no more than forms of secrets do; never printed.
pub(super) enum Short {
    /// Up to some dozens of forms.
    Packed(Searcher),
    /// More than that, or a processor without the instructions.
    Automaton(AhoCorasick),
}

impl Short {
    /// Of these forms, none of them empty; `None` where there are none.
    ///
    /// # Errors
    /// More forms than an automaton can hold.
    pub(super) fn new<'a>(
        forms: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<Option<Self>, BuildError> {
        if forms.clone().next().is_none() {
            return Ok(None);
        }
        let mut config = Config::new();
        config.match_kind(MatchKind::LeftmostLongest);
        let packed = config.builder().extend(forms.clone()).build();
        Ok(Some(match packed {
            Some(packed) => Self::Packed(packed),
            None => Self::Automaton(
                AhoCorasick::builder()
                    .match_kind(aho_corasick::MatchKind::LeftmostLongest)
                    .build(forms)?,
            ),
        }))
    }

    /// The first position from `from` on at which a form begins.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        if from >= bytes.len() {
            return None;
        }
        let hit = match self {
            Self::Packed(packed) => packed.find_in(bytes, Span::from(from..bytes.len())),
            Self::Automaton(automaton) => automaton.find(Input::new(bytes).range(from..)),
        };
        hit.map(|hit| hit.start())
    }
}

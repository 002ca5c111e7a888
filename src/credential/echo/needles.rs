//! What is looked for, as one automaton.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind};
use zeroize::Zeroizing;

use super::forms::forms;
use super::newer::Newer;
use super::sample::{self, FRAGMENT, Sample};
use super::short::Short;
use crate::name::CredentialName;

/// The forms of some secrets.
pub struct Needles {
    /// Finds the leftmost match, and there the longest.
    automaton: AhoCorasick,
    /// All forms in order, so that those which begin with some bytes stand together.
    sorted: Vec<(Zeroizing<Vec<u8>>, u32)>,
    /// Whose the pattern of each number is.
    owners: Vec<u32>,
    credentials: Vec<CredentialName>,
    /// The first two bytes of any form; a form of one byte stands for all that it begins.
    begins: Box<[u64; PAIRS]>,
    /// Every first byte.
    first: [u64; 4],
    longest: usize,
    shortest: usize,
    /// Tells where it is worth looking for long forms.
    sample: Sample,
    /// Finds the others.
    short: Option<Short>,
    /// What is looked for beside, since these were replaced.
    pub(super) newer: Newer,
}

/// Words of a bit set over two bytes.
const PAIRS: usize = 65_536 / 64;

/// A form of a secret, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub span: Range<usize>,
    /// Of which credential, as a number for [`Needles::credential`].
    pub owner: u32,
}

impl Needles {
    /// The forms of these values. `None` where there is nothing to look for, or where the
    /// automaton would be larger than memory has room for.
    ///
    /// # Errors
    /// More forms than an automaton can hold.
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a CredentialName, &'a [u8])>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        let mut credentials: Vec<CredentialName> = Vec::new();
        let mut sorted: Vec<(Zeroizing<Vec<u8>>, u32)> = Vec::new();
        for (name, value) in values {
            let known = credentials.iter().position(|known| known == name);
            let owner = known.unwrap_or(credentials.len());
            if known.is_none() {
                credentials.push(name.clone());
            }
            let owner = u32::try_from(owner).unwrap_or(u32::MAX);
            let forms = forms(value).into_iter().filter(|form| !form.is_empty());
            sorted.extend(forms.map(|form| (form, owner)));
        }
        if sorted.is_empty() {
            return Ok(None);
        }
        sorted.sort_by(|(one, _), (other, _)| one.as_slice().cmp(other));
        sorted.dedup_by(|(one, _), (other, _)| one.as_slice() == other.as_slice());
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(sorted.iter().map(|(form, _)| form.as_slice()))?;
        let all = sorted.iter().map(|(form, _)| form.as_slice());
        let long = sample::long(&all.clone().map(<[u8]>::len));
        let short = Short::new(all.filter(|form| form.len() < long))?;
        let owned = sorted.iter().map(|(form, owner)| (form.as_slice(), *owner));
        let tell = (Sample::new(long, owned), short);
        Ok(Some(Self::index(automaton, tell, sorted, credentials)))
    }

    fn index(
        automaton: AhoCorasick,
        (sample, short): (Sample, Option<Short>),
        sorted: Vec<(Zeroizing<Vec<u8>>, u32)>,
        credentials: Vec<CredentialName>,
    ) -> Self {
        let mut needles = Self {
            automaton,
            owners: sorted.iter().map(|(_, owner)| *owner).collect(),
            longest: sorted.iter().map(|(form, _)| form.len()).max().unwrap_or(0),
            shortest: sorted.iter().map(|(form, _)| form.len()).min().unwrap_or(0),
            credentials,
            begins: Box::new([0; PAIRS]),
            first: [0; 4],
            sample,
            short,
            sorted: Vec::new(),
            newer: Newer::default(),
        };
        for (form, _) in &sorted {
            if let [first, rest @ ..] = form.as_slice() {
                if let Some(word) = needles.first.get_mut(usize::from(first / 64)) {
                    *word |= 1 << (first % 64);
                }
                if let Some(second) = rest.first() {
                    let (word, bit) = place(*first, *second);
                    if let Some(word) = needles.begins.get_mut(word) {
                        *word |= bit;
                    }
                }
            }
        }
        needles.sorted = sorted;
        needles
    }

    /// From now on also looks for `newer`, and for what replaces these.
    pub fn replaced_by(self: &Arc<Self>, newer: &Arc<Self>) {
        Newer::replace(self, newer);
    }

    /// The credential of a finding.
    #[must_use]
    pub fn credential(&self, owner: u32) -> Option<&CredentialName> {
        self.credentials.get(usize::try_from(owner).ok()?)
    }

    /// Whether [`Needles::find`] can find anything in so many bytes.
    #[must_use]
    pub fn may_be_in(&self, length: usize) -> bool {
        length >= self.shortest || self.newer.is_there()
    }

    /// Everything found in `bytes`, overlapping findings included, in the order of their
    /// beginnings: from each beginning the longest form, so that a short secret does not
    /// hide a longer one that begins inside it.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Vec<Finding> {
        self.with_newer(|needles| needles.find_own(bytes))
    }

    /// What these find and what those do that replaced them.
    fn with_newer(&self, find: impl Fn(&Self) -> Vec<Finding>) -> Vec<Finding> {
        let mut found = find(self);
        let Some(newer) = self.newer.latest() else {
            return found;
        };
        found.extend(find(&newer).into_iter().map(|finding| Finding {
            owner: self.owner(newer.credential(finding.owner)),
            ..finding
        }));
        found.sort_by_key(|finding| (finding.span.start, finding.span.end));
        found.dedup_by_key(|finding| (finding.span.start, finding.span.end));
        found
    }

    /// The number of a credential here; that of none where it is not known.
    fn owner(&self, name: Option<&CredentialName>) -> u32 {
        let known = self.credentials.iter().position(|it| Some(it) == name);
        known
            .and_then(|at| u32::try_from(at).ok())
            .unwrap_or(u32::MAX)
    }

    fn find_own(&self, bytes: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        if bytes.len() < self.shortest {
            return found;
        }
        let mut from = 0;
        while let Some(hit) = self.short.as_ref().and_then(|it| it.next(bytes, from)) {
            from = hit.saturating_add(1);
            self.find_in(bytes, hit..from, &mut found);
        }
        let short = found.len();
        self.find_long(bytes, &mut found);
        if (1..found.len()).contains(&short) {
            // What was found both ways is the same, once for each beginning.
            found.sort_by_key(|finding| finding.span.start);
            found.dedup_by_key(|finding| finding.span.start);
        }
        found
    }

    /// What begins where a sample tells that a form may stand, every long form among it.
    fn find_long(&self, bytes: &[u8], found: &mut Vec<Finding>) {
        // Beginnings before `at` have been looked at.
        let (mut at, mut from) = (0, 0);
        while let Some(hit) = self.sample.next(bytes, from) {
            let first = hit.saturating_add(FRAGMENT).saturating_sub(self.longest);
            let end = hit.saturating_add(1);
            self.find_in(bytes, first.max(at)..end, found);
            (at, from) = (end, hit.saturating_add(self.sample.stride()));
        }
    }

    /// Everything that begins in `beginnings`.
    fn find_in(&self, bytes: &[u8], beginnings: Range<usize>, found: &mut Vec<Finding>) {
        let end = beginnings.end.saturating_add(self.longest).min(bytes.len());
        let mut at = beginnings.start;
        while at < beginnings.end {
            let input = Input::new(bytes).range(at..end).anchored(Anchored::No);
            let Some(hit) = self.automaton.find(input) else {
                break;
            };
            if hit.start() >= beginnings.end {
                break;
            }
            found.push(Finding {
                span: hit.start()..hit.end(),
                owner: self
                    .owners
                    .get(hit.pattern().as_usize())
                    .copied()
                    .unwrap_or(0),
            });
            at = hit.start().saturating_add(1);
        }
    }

    /// Fragments of at least eight bytes, wherever they stand: in a part of something larger
    /// the rest may be in the part before or after.
    #[must_use]
    pub fn find_fragments(&self, bytes: &[u8]) -> Vec<Finding> {
        self.with_newer(|needles| needles.find_own_fragments(bytes))
    }

    fn find_own_fragments(&self, bytes: &[u8]) -> Vec<Finding> {
        let windows = bytes.windows(FRAGMENT).enumerate();
        let known = windows.filter_map(|(at, window)| {
            let window: [u8; FRAGMENT] = window.try_into().ok()?;
            let owner = self.sample.owner(window)?;
            Some(Finding {
                span: at..at.saturating_add(FRAGMENT),
                owner,
            })
        });
        known.collect()
    }

    /// How many bytes at the end of `bytes` may be the beginning of a form.
    #[must_use]
    pub fn open(&self, bytes: &[u8]) -> usize {
        let newer = self.newer.latest().map_or(0, |newer| newer.open_own(bytes));
        self.open_own(bytes).max(newer)
    }

    fn open_own(&self, bytes: &[u8]) -> usize {
        let most = self.longest.saturating_sub(1).min(bytes.len());
        let from = bytes.len().saturating_sub(most);
        let tail = bytes.get(from..).unwrap_or_default();
        let open = (0..tail.len()).find(|&at| self.begins_form(tail.get(at..).unwrap_or_default()));
        open.map_or(0, |at| tail.len().saturating_sub(at))
    }

    /// How many bytes at the end of a part are held back because a fragment may go on.
    #[must_use]
    pub fn open_fragment(&self, bytes: &[u8]) -> usize {
        self.open(bytes)
            .max(FRAGMENT.saturating_sub(1).min(bytes.len()))
    }

    /// Whether some form begins with `bytes` and is longer.
    fn begins_form(&self, bytes: &[u8]) -> bool {
        match bytes {
            [] => return false,
            [first] => {
                let word = self.first.get(usize::from(first / 64));
                if word.is_none_or(|word| word & (1 << (first % 64)) == 0) {
                    return false;
                }
            }
            [first, second, ..] => {
                let (word, bit) = place(*first, *second);
                if self.begins.get(word).is_none_or(|word| word & bit == 0) {
                    return false;
                }
            }
        }
        let after = self
            .sorted
            .partition_point(|(form, _)| form.as_slice() <= bytes);
        let next = self.sorted.get(after);
        next.is_some_and(|(form, _)| form.starts_with(bytes))
    }
}

/// The word and the bit of two bytes.
fn place(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first) << 8 | usize::from(second);
    (pair / 64, 1 << (pair % 64))
}

/// Shows nothing of what is looked for, not even how long it is.
impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Needles").field(&self.credentials).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needles(values: &[&str]) -> Needles {
        let names: Vec<_> = (0..values.len())
            .map(|index| CredentialName::new(&format!("c{index}")))
            .collect();
        let pairs = names
            .iter()
            .zip(values.iter().map(|value| value.as_bytes()));
        Needles::new(pairs).unwrap().unwrap()
    }

    #[test]
    fn a_short_secret_does_not_hide_a_longer_one() {
        let needles = needles(&["abcdef", "defghijklm"]);
        let found = needles.find(b"..abcdefghijklm..");
        let spans: Vec<_> = found.iter().map(|finding| finding.span.clone()).collect();
        assert_eq!(spans, [2..8, 5..15]);
        assert_eq!(needles.credential(found[1].owner).unwrap().as_str(), "c1");
    }

    #[test]
    fn what_replaced_them_is_found_too_and_what_replaced_that() {
        let old = Arc::new(needles(&["first-token-abc"]));
        let text = b"first-token-abc third-token-ghi second-token-def thi";
        assert_eq!(old.find(text).len(), 1);
        let (second, third) = (
            Arc::new(needles(&["second-token-def"])),
            Arc::new(needles(&["third-token-ghi", "second-token-def"])),
        );
        old.replaced_by(&second);
        assert_eq!((old.find(text).len(), old.open(text)), (2, 0));
        second.replaced_by(&third);
        let found = old.find(text);
        assert_eq!(found.len(), 3);
        assert!(found.is_sorted_by_key(|finding| finding.span.start));
        assert_eq!(old.open(text), 3);
        assert_eq!(old.credential(found[1].owner).unwrap().as_str(), "c0");
        assert_eq!(old.credential(found[2].owner), None, "nobody knows it here");
        assert_eq!(old.find_fragments(b"xx ird-token xx").len(), 2);
        let between = Arc::downgrade(&second);
        drop(second);
        assert!(between.upgrade().is_none(), "none between is kept");
        let fourth = Arc::new(needles(&["fourth-token-jkl"]));
        third.replaced_by(&fourth);
        assert_eq!(old.find(b"fourth-token-jkl").len(), 1);
    }

    #[test]
    fn only_what_may_go_on_is_open() {
        let needles = needles(&["hunter2-hunter2"]);
        for (text, open) in [
            ("", 0),
            ("data: x\n\n", 0),
            ("x h", 1),
            ("x hun", 3),
            ("hunter2-hunter", 14),
            ("hunter2-hunter2", 7),
            ("hunter2-hux", 0),
        ] {
            assert_eq!(needles.open(text.as_bytes()), open, "{text:?}");
        }
    }

    proptest! {
        /// Looking only here and there finds what looking everywhere finds.
        #[test]
        fn sampling_leaves_nothing_out(
            secrets in prop::collection::vec(
                prop_oneof!["[a-c/\"]{1,9}", "[a-c/\"]{10,40}"],
                1..4,
            ),
            pieces in prop::collection::vec((0..4_usize, 0..60_usize, "[a-c/\"%]{0,40}"), 0..12),
        ) {
            let values: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let needles = needles(&values);
            let mut text = Vec::new();
            for (secret, form, noise) in pieces {
                let all = forms(values[secret % values.len()].as_bytes());
                text.extend_from_slice(&all[form % all.len()]);
                text.extend_from_slice(noise.as_bytes());
            }
            let mut all = Vec::new();
            needles.find_in(&text, 0..text.len(), &mut all);
            prop_assert_eq!(needles.find(&text), all);
        }
    }

    #[test]
    fn a_short_secret_does_not_end_sampling() {
        let alone = needles(&["hunter2-hunter2-hunter2"]);
        let both = needles(&["hunter2-hunter2-hunter2", "swrdfsh"]);
        assert_eq!(alone.sample.stride(), 16);
        assert!(alone.short.is_none());
        assert!(both.sample.stride() >= alone.sample.stride());
        assert_eq!(both.find(b"xswrdfsh, swrdfsswrdfsh").len(), 2);
        // One byte, and less than that.
        assert_eq!(needles(&["x"]).find(b"axbx").len(), 2);
        assert!(needles(&["swrdfsh"]).find(b"").is_empty());
    }

    #[test]
    fn many_short_secrets_are_found_too() {
        let values: Vec<String> = (0..200).map(|number| format!("key{number:03}")).collect();
        let needles = needles(&values.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(needles.short, Some(Short::Automaton(_))));
        let text = values.join(" ");
        assert_eq!(needles.find(text.as_bytes()).len(), values.len());
    }

    #[test]
    fn nothing_to_look_for() {
        assert!(Needles::new([]).unwrap().is_none());
    }

    #[test]
    fn i5_debug_shows_nothing() {
        let text = format!("{:?}", needles(&["hunter2-hunter2"]));
        assert_eq!(text, "Needles([c0])");
    }
}

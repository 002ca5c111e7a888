//! Parts of known secrets: any [`LEAST`] bytes in a row of a long one.
//!
//! A part is what is random in a secret. Anchors stand in it so densely that any bytes in a
//! row that are long enough hold a whole one; around each, bytes are held against the secret
//! both ways.

use std::sync::Arc;

use super::anchor::ANCHOR;
use super::check;
use super::class::Class;
use super::dense;
use super::prefilter::GRAM;
use crate::secret::Secret;

/// So many bytes in a row are a part of a secret.
pub const LEAST: usize = 12;
/// Bytes from one anchor to the next.
const STRIDE: usize = LEAST - ANCHOR + 1;
/// The shortest run that has parts. A shorter secret is looked for as a whole.
const RUN_MIN: usize = 24;
/// Of a longer secret, so many bytes.
const BYTES_MAX: usize = 256;
/// What says which kind of secret this is stands within so many bytes: `sk-live-`.
const KIND_MAX: usize = 16;
/// So many characters of a run that begins like a key or a JSON object are the same in many.
const COMMON: usize = 96;
/// Random enough, in bits a byte.
const ENTROPY: f32 = 3.0;

/// What is random in a known secret.
#[derive(Clone, Debug)]
pub struct Part(Arc<Secret>);

impl Part {
    /// The parts of a secret; none for one that is short, or words.
    #[must_use]
    pub fn of(secret: &Secret) -> Vec<Self> {
        let is_run = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        let bytes = secret.expose();
        let bytes = bytes.get(..BYTES_MAX).unwrap_or(bytes);
        let runs = bytes.split(|byte| !is_run(*byte));
        let random = runs.filter_map(|run| run.get(common(run)..));
        let part = |run: &[u8]| Self(Arc::new(Secret::new(run.to_vec())));
        random.filter(|run| is_random(run)).map(part).collect()
    }

    /// Whether as many bytes as are looked for never stand in a run of words.
    pub(super) fn is_marked(&self) -> bool {
        let classes: Vec<Class> = self
            .bytes()
            .iter()
            .map(|byte| Class::single(*byte))
            .collect();
        let marked = |window: &[Class]| dense::chance_without_marks(window) == 0.0;
        classes.windows(LEAST).all(marked)
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

/// How many bytes at the beginning of a run stand in other secrets, too.
fn common(run: &[u8]) -> usize {
    let begins = |with: &[u8]| run.starts_with(with);
    if begins(b"eyJ") || begins(b"MII") || begins(b"MIG") || begins(b"b3BlbnNzaC1r") {
        return COMMON;
    }
    let kind = run.get(..KIND_MAX).unwrap_or(run);
    let separator = kind.iter().rposition(|byte| matches!(byte, b'-' | b'_'));
    separator.map_or(0, |at| at + 1)
}

/// Digits tell what is random from words with hyphens between them.
fn is_random(run: &[u8]) -> bool {
    let digits = run.iter().filter(|byte| byte.is_ascii_digit()).count();
    run.len() >= RUN_MIN && digits * 16 >= run.len() && check::entropy(run) >= ENTROPY
}

/// Where a part is searched for.
struct Anchor {
    part: Part,
    /// Its place in the part.
    at: usize,
    detector: u32,
}

/// The anchors of all parts.
#[derive(Default)]
pub(super) struct Parts(Vec<Anchor>);

/// What stands around an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// Too little of the part, or what an anchor before tells.
    Nothing,
    /// So many bytes before the anchor and after its beginning.
    Part {
        /// Before.
        left: usize,
        /// From its beginning on.
        right: usize,
        /// Whether more may follow.
        open: bool,
    },
}

impl Parts {
    /// Adds a part, and tells where its grams are: each with the number of its anchor and the
    /// place in that.
    pub fn add(
        &mut self,
        detector: u32,
        part: &Part,
        mut gram: impl FnMut([u8; GRAM], usize, u16),
    ) {
        for (at, anchor) in part.bytes().windows(ANCHOR).enumerate().step_by(STRIDE) {
            for (place, bytes) in (0..).zip(anchor.windows(GRAM)) {
                if let [a, b, c] = *bytes {
                    gram([a, b, c], self.0.len(), place);
                }
            }
            let part = part.clone();
            self.0.push(Anchor { part, at, detector });
        }
    }

    /// Whose part an anchor stands in.
    pub fn detector(&self, anchor: usize) -> Option<u32> {
        self.0.get(anchor).map(|anchor| anchor.detector)
    }

    /// Holds `window` against the part, of which the anchor is at `start`.
    pub fn around(&self, anchor: usize, window: &[u8], start: usize, ended: bool) -> Around {
        let Some(Anchor { part, at, .. }) = self.0.get(anchor) else {
            return Around::Nothing;
        };
        let halves = (
            part.bytes().split_at_checked(*at),
            window.split_at_checked(start),
        );
        let (Some((before, after)), Some((past, rest))) = halves else {
            return Around::Nothing;
        };
        let same = |(one, other): &(&u8, &u8)| one == other;
        let left = before.iter().rev().zip(past.iter().rev());
        let left = left.take(STRIDE).take_while(same).count();
        let right = after.iter().zip(rest).take_while(same).count();
        if left == STRIDE || right < ANCHOR.min(rest.len()) {
            return Around::Nothing;
        }
        let open = right == rest.len() && right < after.len() && !ended;
        if open || left + right >= LEAST {
            return Around::Part { left, right, open };
        }
        Around::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::super::detector::{Detector, Detectors};
    use super::super::stream::{Stream, scan};
    use super::*;

    const SECRET: &str = "sk-live-q7R2vX9mT4bL8wZ1nC6pY3dK5fH0gJ";

    fn of(secret: &str) -> Detectors {
        let secret = Secret::new(secret.as_bytes().to_vec());
        Detectors::new(Detector::of_secret("a", "secret", &secret))
    }

    fn found(detectors: &Detectors, text: &str) -> Vec<(String, u64, u32)> {
        let mut found = Vec::new();
        scan(detectors.engine(), text.as_bytes(), &mut |finding, data| {
            let detector = detectors.of(&finding).unwrap();
            assert_eq!(data.len(), finding.length as usize);
            found.push((detector.name.to_string(), finding.start, finding.length));
        });
        found
    }

    #[test]
    fn any_twelve_bytes_are_found_once() {
        let all = of(SECRET);
        let kind = "sk-live-".len();
        for from in kind..=SECRET.len() - LEAST {
            for length in [LEAST, LEAST + 1, LEAST + 9] {
                let Some(part) = SECRET.get(from..from + length) else {
                    continue;
                };
                for before in ["", "x", "q7R2"] {
                    let text = format!("{before}{part}, and more");
                    let found = found(&all, &text);
                    let [(name, start, size)] = &found[..] else {
                        panic!("{part}: {found:?}");
                    };
                    assert_eq!(name, "a/part");
                    let start = usize::try_from(*start).unwrap();
                    let end = before.len() + length;
                    assert!(start <= before.len(), "{found:?}");
                    assert_eq!(start + *size as usize, end, "{found:?}");
                }
            }
            let short = SECRET.get(from..from + LEAST - 1).unwrap();
            assert_eq!(found(&all, &format!("{short}, and more")), []);
        }
    }

    #[test]
    fn the_kind_is_no_part_and_the_whole_is_told_as_such() {
        let all = of(SECRET);
        assert_eq!(found(&all, "sk-live-sk-live-sk-live-"), []);
        let found = found(&all, SECRET).into_iter();
        let mut names: Vec<String> = found.map(|(name, ..)| name).collect();
        names.sort();
        assert_eq!(names, ["a", "a/part"]);
    }

    #[test]
    fn what_is_the_same_in_many_secrets_is_no_part() {
        for secret in [
            "correct-horse-battery-staple-and-so-on",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
            "hunter2hunter2",
            "{\"type\": \"service_account\", \"project_id\": \"a-1\"}",
        ] {
            assert!(Part::of(&Secret::new(secret.as_bytes().to_vec())).is_empty());
        }
    }

    #[test]
    fn a_cut_anywhere_finds_the_same_and_lets_nothing_go() {
        let all = of(SECRET);
        let text = format!("{{\"a\": \"{}\"}}", SECRET.get(11..29).unwrap());
        for cut in 0..text.len() {
            let (one, other) = text.as_bytes().split_at(cut);
            let mut stream = Stream::new();
            let mut found = Vec::new();
            stream.push(all.engine(), one, &mut |finding, _| found.push(finding));
            let gone = cut - stream.held();
            // An anchor must be there in full before anything tells.
            let most = 7 + LEAST;
            assert!(gone < most || !found.is_empty(), "{cut}: {gone}");
            stream.push(all.engine(), other, &mut |finding, _| found.push(finding));
            stream.finish(all.engine(), &mut |finding, _| found.push(finding));
            assert_eq!(found.len(), 1, "{cut}");
            assert_eq!((found[0].start, found[0].length), (7, 18), "{cut}");
        }
    }
}

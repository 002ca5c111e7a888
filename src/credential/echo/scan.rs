//! Looking in a stream: across every split, holding back only what may still become a find.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::needles::{Finding, Needles};

/// What stands where a secret stood.
const MASK: u8 = b'*';

/// Whose secrets were found, one entry for each find.
pub type Found = Vec<u32>;

/// A stream of bytes that is looked at as it passes.
#[derive(Debug)]
pub struct Scan {
    needles: Arc<Needles>,
    /// The end of what came, which may be the beginning of a form; as it came.
    held: BytesMut,
    /// How many bytes at the beginning of `held` belong to a find that ended there.
    masked: usize,
    /// Whether the stream is a part of something larger.
    part: bool,
}

impl Scan {
    /// A stream from its beginning. In a part of something larger (206), fragments count.
    #[must_use]
    pub fn new(needles: Arc<Needles>, part: bool) -> Self {
        Self {
            needles,
            held: BytesMut::new(),
            masked: 0,
            part,
        }
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes what came next; gives back, with the same number of bytes in all, what may go.
    /// What was found stands masked in it. `last`: nothing comes after, nothing is kept.
    pub fn pass(&mut self, data: Bytes, last: bool, found: &mut Found) -> Bytes {
        if self.held.is_empty() {
            let (findings, open) = self.examine(&data, last);
            let settled = data.len().saturating_sub(open);
            self.held
                .extend_from_slice(data.get(settled..).unwrap_or_default());
            let mut data = data;
            data.truncate(settled);
            if findings.is_empty() && self.masked == 0 {
                return data;
            }
            let mut data = BytesMut::from(data);
            self.mask(&mut data, &findings, found);
            return data.freeze();
        }
        self.held.extend_from_slice(&data);
        let whole = std::mem::take(&mut self.held);
        let (findings, open) = self.examine(&whole, last);
        let mut whole = whole;
        self.held = whole.split_off(whole.len().saturating_sub(open));
        self.mask(&mut whole, &findings, found);
        whole.freeze()
    }

    /// Takes what came next only to look at it: whether all of it is clean so far, in which
    /// case [`Scan::held`] says how much at its end is still open.
    pub fn is_clean(&mut self, data: &[u8], last: bool, found: &mut Found) -> bool {
        self.held.extend_from_slice(data);
        let (findings, open) = self.examine(&self.held, last);
        found.extend(findings.iter().map(|finding| finding.owner));
        let settled = self.held.len().saturating_sub(open);
        let _ = self.held.split_to(settled);
        findings.is_empty()
    }

    fn examine(&self, bytes: &[u8], last: bool) -> (Vec<Finding>, usize) {
        let mut findings = self.needles.find(bytes);
        if self.part {
            findings.extend(self.needles.find_fragments(bytes));
            findings.sort_by_key(|finding| finding.span.start);
        }
        let open = match (last, self.part) {
            (true, _) => 0,
            (false, true) => self.needles.open_fragment(bytes),
            (false, false) => self.needles.open(bytes),
        };
        (findings, open)
    }

    /// Masks `settled`, the beginning of what was examined. A find that goes on behind it
    /// is remembered; one that begins behind it will be found again.
    fn mask(&mut self, settled: &mut BytesMut, findings: &[Finding], found: &mut Found) {
        let length = settled.len();
        let mut end = std::mem::take(&mut self.masked);
        fill(settled, 0, end);
        for finding in findings
            .iter()
            .filter(|finding| finding.span.start < length)
        {
            // Findings that overlap are one to the reader.
            if finding.span.start >= end {
                found.push(finding.owner);
            }
            fill(settled, finding.span.start, finding.span.end);
            end = end.max(finding.span.end);
        }
        self.masked = end.saturating_sub(length);
    }
}

fn fill(bytes: &mut [u8], start: usize, end: usize) {
    let end = end.min(bytes.len());
    if let Some(span) = bytes.get_mut(start.min(end)..end) {
        span.fill(MASK);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::forms::forms;
    use super::*;
    use crate::name::CredentialName;

    const SECRETS: [&str; 4] = [
        "sk-live/4f+9?x~Q7&w\"z",
        "hunter2-hunter2",
        "aaaaaaaaab",
        "ter2-hunt",
    ];

    fn needles() -> Arc<Needles> {
        let names: Vec<_> = SECRETS
            .iter()
            .map(|text| CredentialName::new(text))
            .collect();
        let pairs = names.iter().zip(SECRETS.iter().map(|text| text.as_bytes()));
        Arc::new(Needles::new(pairs).unwrap().unwrap())
    }

    /// Passes `pieces` one after the other.
    fn pass<'a>(
        needles: &Arc<Needles>,
        part: bool,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, usize) {
        let mut scan = Scan::new(Arc::clone(needles), part);
        let (mut out, mut found) = (Vec::new(), Found::new());
        for piece in pieces {
            out.extend_from_slice(&scan.pass(Bytes::copy_from_slice(piece), false, &mut found));
        }
        out.extend_from_slice(&scan.pass(Bytes::new(), true, &mut found));
        (out, found.len())
    }

    fn contains(bytes: &[u8], needle: &[u8]) -> bool {
        bytes.windows(needle.len()).any(|window| window == needle)
    }

    #[test]
    fn i5_every_form_at_every_split() {
        let needles = needles();
        for secret in SECRETS {
            for form in forms(secret.as_bytes()) {
                let text = [&b"{\"echo\": \""[..], &form, b"\"}\n"].concat();
                for one in 0..text.len() {
                    for two in [one, one + 1, one + 7] {
                        let two = two.min(text.len());
                        let pieces = [&text[..one], &text[one..two], &text[two..]];
                        let (out, found) = pass(&needles, false, pieces);
                        assert_eq!(out.len(), text.len());
                        assert!(found >= 1, "{secret} {one} {two}");
                        assert!(!contains(&out, &form), "{secret} {one} {two}");
                    }
                }
                // Byte by byte.
                let (out, _) = pass(&needles, false, text.chunks(1));
                assert!(!contains(&out, &form), "{secret}");
                assert_eq!(out, pass(&needles, false, [&text[..]]).0);
            }
        }
    }

    #[test]
    fn events_are_not_delayed() {
        let mut scan = Scan::new(needles(), false);
        let mut found = Found::new();
        for event in [
            "data: sk-live\n\n",
            ": \n\n",
            "data: {\"a\": \"hunter2\"}\n\n",
            "data: aaaa\r\n\r\n",
        ] {
            let event = Bytes::from(event);
            assert_eq!(scan.pass(event.clone(), false, &mut found), event);
        }
        assert!(found.is_empty());
    }

    #[test]
    fn clean_bytes_are_the_same_bytes() {
        let data = Bytes::from(vec![b'x'; 4096]);
        let mut scan = Scan::new(needles(), false);
        let out = scan.pass(data.clone(), false, &mut Found::new());
        assert_eq!(out.as_ptr(), data.as_ptr(), "not even copied");
    }

    #[test]
    fn fragments_count_in_parts_only() {
        let needles = needles();
        for text in [
            &b"xx hunter2-"[..],
            b"-hunter2 xx",
            b"unter2-hun",
            b"r2-hunte",
        ] {
            let (out, found) = pass(&needles, true, text.chunks(3));
            assert!(found > 0, "{}", text.escape_ascii());
            assert!(contains(&out, &[MASK; 8]), "{}", out.escape_ascii());
            let (out, _) = pass(&needles, false, [text]);
            assert_eq!(out, text);
        }
        let (out, found) = pass(&needles, true, [&b"hunter2"[..]]);
        assert_eq!((out.as_slice(), found), (&b"hunter2"[..], 0));
    }

    proptest! {
        /// However a stream is split, what comes out is what comes out unsplit, no longer,
        /// no shorter, and without any secret; what is no secret is unchanged.
        #[test]
        fn splits_change_nothing(
            pieces in proptest::collection::vec(
                prop_oneof![
                    (0..4_usize, 0..24_usize, 0..24_usize).prop_map(|(which, from, to)| {
                        let secret = SECRETS[which].as_bytes();
                        let (from, to) = (from.min(secret.len()), to.min(secret.len()));
                        secret[from.min(to)..from.max(to)].to_vec()
                    }),
                    (0..4_usize).prop_map(|which| SECRETS[which].as_bytes().to_vec()),
                    "[a-z\\-\"%&]{0,6}".prop_map(String::into_bytes),
                ],
                0..12,
            ),
            size in 1..9_usize,
            part: bool,
        ) {
            let needles = needles();
            let text = pieces.concat();
            let (whole, found) = pass(&needles, part, [&text[..]]);
            let (split, found_split) = pass(&needles, part, text.chunks(size));
            prop_assert_eq!(&whole, &split);
            prop_assert_eq!(found, found_split);
            prop_assert_eq!(whole.len(), text.len());
            for secret in SECRETS {
                prop_assert!(!contains(&whole, secret.as_bytes()));
            }
            if found == 0 {
                prop_assert_eq!(&whole, &text);
            }
            let mut scan = Scan::new(needles.clone(), part);
            let mut seen = Found::new();
            let mut clean = true;
            for piece in text.chunks(size) {
                clean &= scan.is_clean(piece, false, &mut seen);
            }
            clean &= scan.is_clean(b"", true, &mut seen);
            prop_assert_eq!(clean, found == 0);
        }
    }
}

//! Reading tokens in encodings.

use super::{Candidate, Cursor, ENCODED_MAX, Rule, Step, Verdict};

/// So many bytes of what may be an encoded token are decoded first.
const FIRST_DECODED: usize = 32;

impl Rule {
    /// Whether what is there of the token's first bytes may be that.
    pub(super) fn has_first(&self, raw: &[u8]) -> bool {
        let fits = |bytes: &mut [u8]| {
            let decoded = self.coding.decode(raw, bytes);
            let mut pairs = self.first.iter().zip(bytes.iter().take(decoded.count));
            let cut = decoded.stopped && decoded.count < self.first.len();
            !cut && pairs.all(|(class, byte)| class.contains(*byte))
        };
        // Few are enough, nearly always.
        fits(&mut [0; ENCODED_MAX / 2]) && fits(&mut [0; ENCODED_MAX])
    }

    /// Decodes from the start each time, and at first only what nearly always tells that it is
    /// none: who writes the beginnings of tokens in a row must not have all of each decoded.
    pub(super) fn read_encoded(&self, raw: &[u8], candidate: Candidate, ended: bool) -> Verdict {
        // Again as more bytes come: at first there may be less than the anchor.
        if !self.has_prefix(raw) {
            return Verdict::Nothing;
        }
        let shape = &self.pattern.shape;
        let all = shape.longest() + 1;
        let read = |bytes: &mut [u8]| {
            let decoded = self.coding.decode(raw, bytes);
            let is_all = bytes.len() == all || decoded.count < bytes.len();
            let ended = is_all && (ended || decoded.stopped);
            let bytes = bytes.get(..decoded.count).unwrap_or_default();
            let Some((bytes, ended)) = candidate.end.cut(bytes, ended) else {
                return (Step::Failed, is_all);
            };
            let mut cursor = Cursor::default();
            let step = shape.advance(bytes, &mut cursor, self.right, ended);
            (step, is_all)
        };
        let mut first = [0; FIRST_DECODED];
        let mut bytes = Vec::new();
        let mut step = match first.get_mut(..all) {
            Some(first) => read(first),
            None => read(&mut first),
        };
        while let (Step::Open, false) = step {
            bytes.resize(all.min(bytes.len().max(FIRST_DECODED) * 4), 0);
            step = read(&mut bytes);
        }
        let length = match step.0 {
            Step::Open => return Verdict::Open(candidate),
            Step::Failed => return Verdict::Nothing,
            Step::Whole(length) => length,
        };
        let mut token = vec![0; length];
        let decoded = self.coding.decode(raw, &mut token);
        if !candidate.end.is_at(length) || !self.is_real(&token) {
            return Verdict::Nothing;
        }
        Verdict::Found(self.token(candidate.start, decoded.raw, token))
    }
}

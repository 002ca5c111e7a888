//! Private keys of wallets in the form in which they are imported (WIF): 51 or 52 characters
//! of Base58 with a checksum.
//!
//! They begin with one of three letters only. But a place that is a multiple of 32 is
//! followed by sixteen characters of each, and no block holds letters and digits alone.

use super::check;
use super::class::Class;
use super::coding::Coding;
use super::engine::{Finding, begins};
use super::kind::{Kind, Kinds};
use super::pass::Report;
use super::planes::Block;
use super::view::View;

const STRIDE: u64 = 32;
const SAMPLE: u64 = 16;
/// The longest.
const LONGEST: usize = 52;
/// One of which less is there is not held back.
const TELLING: u64 = 16;

/// Where the search stands in one stream.
#[derive(Debug, Default)]
pub(super) struct Wallets {
    next: u64,
    held: Option<u64>,
}

impl Wallets {
    /// Looks at what is new in `view`.
    pub fn look(&mut self, kinds: &Kinds, view: View<'_>, report: Report<'_>) {
        self.held = None;
        if !kinds.wallets() {
            self.next = view.end();
            return;
        }
        while let Some(at) = view
            .planes
            .find(view.place(self.next), |hints| hints.wallets, samples)
        {
            self.next = view.base + at as u64;
            let sample = view.between(self.next, self.next + SAMPLE);
            let mut to = self.next;
            if sample.iter().all(|byte| is_base58(*byte)) {
                let Some(end) = self.read(kinds, view, report) else {
                    return;
                };
                to = end.next_multiple_of(STRIDE);
            }
            self.next = to.max(self.next + STRIDE);
        }
        // The first sample of which not all is there.
        let last = view.end().saturating_sub(SAMPLE - 1);
        self.next = self.next.max(last.next_multiple_of(STRIDE));
    }

    /// The first byte that must not go on yet.
    pub fn held_from(&self) -> Option<u64> {
        self.held
    }

    /// The first byte that is still needed.
    pub fn needed_from(&self) -> u64 {
        self.next.saturating_sub(LONGEST as u64 + STRIDE)
    }

    /// Reads what stands around the sample. The answer is where that ends; `None` until more
    /// bytes tell.
    fn read(&mut self, kinds: &Kinds, view: View<'_>, report: Report<'_>) -> Option<u64> {
        let before = view.before(self.next, LONGEST + 1);
        let before = before.iter().rev().take_while(|byte| is_base58(**byte));
        let from = self.next - before.count() as u64;
        let run = view.from(from);
        let length = run.iter().take_while(|byte| is_base58(**byte));
        let length = length.take(LONGEST + 1).count();
        let first = run.first().copied().unwrap_or_default();
        let start = usize::try_from(from - view.base).unwrap_or(usize::MAX);
        if length > LONGEST
            || !matches!(first, b'5' | b'K' | b'L')
            || !begins(view.window, start, Class::WORD)
        {
            return Some(self.next);
        }
        if length == run.len() && !view.ended {
            if length as u64 >= TELLING {
                self.held = Some(from);
            }
            return None;
        }
        let key = run.get(..length).unwrap_or_default();
        let ends = run
            .get(length)
            .is_none_or(|next| !Class::WORD.contains(*next));
        if ends && is_key(key) {
            for detector in kinds.of(Kind::WalletKey) {
                let finding = Finding {
                    start: from,
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                    detector,
                    coding: Coding::Plain,
                };
                report(finding, key);
            }
        }
        Some(from + length as u64)
    }
}

/// Version 0x80, 32 bytes, and 0x01 where the public key is compressed.
fn is_key(text: &[u8]) -> bool {
    let data = match text.len() {
        51 | 52 => check::base58check(text),
        _ => None,
    };
    match data.as_deref() {
        Some([0x80, .., 0x01]) if text.len() == 52 => data.is_some_and(|data| data.len() == 34),
        Some([0x80, key @ ..]) => text.len() == 51 && key.len() == 32,
        Some(_) | None => false,
    }
}

/// The first bit of each sample that may be of a key: none where nothing else stands, as in
/// hexadecimal and base64, for a key is shorter than a block.
#[inline]
pub(super) fn samples(block: &Block) -> u64 {
    let bits = block.alphanumeric();
    if bits == u64::MAX {
        return 0;
    }
    let two = bits & bits >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> 8 & 0x0000_0001_0000_0001
}

#[inline]
fn is_base58(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l')
}

#[cfg(test)]
mod tests {
    use super::super::Engine;
    use super::super::mint::wallet_key;
    use super::super::stream::{Stream, scan};
    use super::*;

    fn engine() -> Engine {
        Engine::looking_for([(Kind::WalletKey, 0)])
    }

    fn found(text: &str) -> usize {
        let mut count = 0;
        scan(&engine(), text.as_bytes(), &mut |_, _| count += 1);
        count
    }

    fn keys() -> Vec<String> {
        let mut number = 7_u32;
        let mut below = |bound| {
            number = number.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (number >> 8) % bound
        };
        let keys = (0..8).map(|_| wallet_key(&mut below));
        keys.map(|key| String::from_utf8(key).unwrap()).collect()
    }

    #[test]
    fn keys_are_found_wherever_they_stand_and_are_cut() {
        let engine = engine();
        for key in keys() {
            for before in 0..33 {
                let text = format!("{}\"{key}\"", " .".repeat(before));
                assert_eq!(found(&text), 1, "{text}");
            }
            let text = format!("/v1/{key}/x");
            for cut in 0..text.len() {
                let (one, other) = text.as_bytes().split_at(cut);
                let mut count = 0;
                let mut stream = Stream::new();
                stream.push(&engine, one, &mut |_, _| count += 1);
                let gone = cut - stream.held();
                assert!(gone < 4 + key.len() || count > 0, "{cut}: {gone}");
                stream.push(&engine, other, &mut |_, _| count += 1);
                stream.finish(&engine, &mut |_, _| count += 1);
                assert_eq!(count, 1, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn mutants_and_parts_are_none() {
        for key in keys() {
            for place in 0..key.len() {
                let mut mutant = key.clone().into_bytes();
                mutant[place] = if mutant[place] == b'Q' { b'P' } else { b'Q' };
                assert_eq!(found(std::str::from_utf8(&mutant).unwrap()), 0);
            }
            assert_eq!(found(&format!("a{key}")), 0);
            assert_eq!(found(&format!("{key}a")), 0);
            assert_eq!(found(key.split_at(1).1), 0);
        }
    }
}

//! Which blocks are worth a look: for each search and each block of a window one bit.
//!
//! Most blocks hold nothing that any search wants, and each search finds that out by the same
//! few operations on the planes. These are done here for four blocks at once; a search reads
//! only the blocks that are left, and decides for itself. A block may be hinted at for nothing,
//! but none is left out: without AVX2 all are hinted at.

/// Blocks that one [`Hints`] is about.
pub const HINTED: usize = 64;

/// A bit for each of 64 blocks in a row, the lowest for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// A run that may hold what words do not.
    pub marked: u64,
    /// A run.
    pub runs: u64,
    /// One that reaches the next block; not a hint, but exact where it began in the window.
    pub reaches: u64,
    /// What may begin a number.
    pub numbers: u64,
    /// What may be of a phrase.
    pub phrases: u64,
    /// What may be of a wallet's key.
    pub wallets: u64,
    /// Characters of base64 or hexadecimal in a row.
    pub encoded: u64,
    /// What may begin an escape.
    pub escapes: u64,
}

impl Hints {
    /// At so many blocks, whatever they hold.
    #[must_use]
    pub fn at_all(blocks: usize) -> Self {
        let bits = u64::MAX >> HINTED.saturating_sub(blocks).min(HINTED - 1);
        Self {
            marked: bits,
            runs: bits,
            reaches: bits,
            numbers: bits,
            phrases: bits,
            wallets: bits,
            encoded: bits,
            escapes: bits,
        }
    }

    /// Hints at a block, whatever it holds. Whether a run reaches the next stays as it is.
    pub fn look_at(&mut self, block: usize) {
        for hint in [
            &mut self.marked,
            &mut self.runs,
            &mut self.numbers,
            &mut self.phrases,
            &mut self.wallets,
            &mut self.encoded,
            &mut self.escapes,
        ] {
            *hint |= 1 << (block % HINTED);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod vector;

#[cfg(test)]
mod tests {
    use super::super::dense::Walk;
    use super::super::planes::{BLOCK, Block, Planes};
    use super::super::{numbers, phrases, wallet};
    use super::*;

    type Kind = fn(&Hints) -> u64;

    fn text(seed: &mut u32) -> Vec<u8> {
        const PIECES: [&[u8]; 21] = [
            b"word",
            b"_of_",
            b"ThE",
            b"7",
            b"://",
            b"CAPS",
            b"--",
            b"aBcD",
            b"\0",
            b" ",
            b"\"",
            b"\\n",
            b"\\u0041",
            b"%41",
            b" = ",
            b"4111 ",
            b"DE89",
            b"able, zoo ",
            b"letter\\nabandon\\n",
            b"\n      tree\n",
            b"&quot;",
        ];
        let mut next = |below: usize| {
            *seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (*seed >> 9) as usize % below
        };
        let (length, kinds) = (next(2000), 1 + next(PIECES.len()));
        let first = next(PIECES.len());
        let mut text = Vec::new();
        while text.len() < length {
            text.extend_from_slice(PIECES[(first + next(kinds)) % PIECES.len()]);
        }
        text
    }

    #[test]
    fn no_block_is_left_out_in_which_something_is_found() {
        let (mut seed, mut all, mut hinted) = (7, 0, [0; 7]);
        for _ in 0..3000 {
            let text = text(&mut seed);
            for planes in Planes::by_all_levels(&text) {
                let mut walk = Walk::after(b"");
                for number in 0..text.len().div_ceil(BLOCK) {
                    let (block, next) = (planes.block(number), planes.block(number + 1));
                    let found = walk.step(&block, &next, (0, text.len() - number * BLOCK));
                    let after = |bits: fn(&Block) -> u64| bits(&block) >> 1 | bits(&next) << 63;
                    let row = |bits: u64| (0..4).any(|part| bits >> (part * 16) & 0xffff == 0xffff);
                    let hides = after(|block| block.hidden);
                    let kinds: [(Kind, bool); 7] = [
                        (|hints| hints.marked, found.marked != 0),
                        (|hints| hints.runs, found.runs != 0),
                        (
                            |hints| hints.numbers,
                            numbers::begins_number(&block, &next) != 0,
                        ),
                        (|hints| hints.phrases, phrases::samples(&block, &next) != 0),
                        (|hints| hints.wallets, wallet::samples(&block) != 0),
                        (|hints| hints.encoded, row(block.encoded())),
                        (|hints| hints.escapes, block.escapes & hides != 0),
                    ];
                    for (place, (hint, found)) in kinds.into_iter().enumerate() {
                        let here = planes.hinted(number, hint) == Some(number);
                        // What goes on from a block before is followed without a hint.
                        let goes_on = place == 0 && number > 0 && block.dense & 1 == 1;
                        assert!(
                            here || !found || goes_on,
                            "{place}: {}",
                            text.escape_ascii()
                        );
                        hinted[place] += usize::from(here);
                    }
                    all += 1;
                }
            }
        }
        assert!(
            hinted.iter().all(|hinted| *hinted < all) || Planes::by_all_levels(b"").count() == 1,
            "{hinted:?} of {all}"
        );
    }
}

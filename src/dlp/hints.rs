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
pub(super) use avx2::read;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_andnot_si256, _mm256_blend_epi32,
        _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_cmpgt_epi64, _mm256_movemask_pd,
        _mm256_or_si256, _mm256_permute4x64_epi64, _mm256_set_epi64x, _mm256_set1_epi64x,
        _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64,
    };

    use super::super::dense::CHANGES;
    use super::super::planes::Four;
    use super::{HINTED, Hints};

    /// The bits of four blocks, and of those that follow each.
    #[derive(Clone, Copy)]
    struct Bits {
        here: __m256i,
        next: __m256i,
    }

    impl Bits {
        #[target_feature(enable = "avx2")]
        fn of(here: [u64; 4], after: [u64; 4]) -> Self {
            let (here, after) = (lanes(here), lanes(after));
            // The first of the four behind takes the place of the first here.
            let mixed = _mm256_blend_epi32::<0b11>(here, after);
            Self {
                here,
                next: _mm256_permute4x64_epi64::<0b00_11_10_01>(mixed),
            }
        }

        #[target_feature(enable = "avx2")]
        fn or(self, other: Self) -> Self {
            Self {
                here: _mm256_or_si256(self.here, other.here),
                next: _mm256_or_si256(self.next, other.next),
            }
        }

        /// The bits of the bytes `COUNT` after each; `REST` is what is left of 64.
        #[target_feature(enable = "avx2")]
        fn after<const COUNT: i32, const REST: i32>(self) -> __m256i {
            _mm256_or_si256(
                _mm256_srli_epi64::<COUNT>(self.here),
                _mm256_slli_epi64::<REST>(self.next),
            )
        }

        /// Those that also the byte `COUNT` after has. Of the next block only the first bits
        /// are right then.
        #[target_feature(enable = "avx2")]
        fn and_after<const COUNT: i32, const REST: i32>(self) -> Self {
            Self {
                here: _mm256_and_si256(self.here, self.after::<COUNT, REST>()),
                next: _mm256_and_si256(self.next, _mm256_srli_epi64::<COUNT>(self.next)),
            }
        }
    }

    /// The bits of four blocks, and of those before each.
    #[derive(Clone, Copy)]
    struct Past {
        here: __m256i,
        past: __m256i,
    }

    impl Past {
        /// Of these and the four before them, for which these are then kept.
        #[target_feature(enable = "avx2")]
        fn of(here: __m256i, before: &mut __m256i) -> Self {
            // The last of the four before takes the place of the last here.
            let mixed = _mm256_blend_epi32::<0b1100_0000>(here, *before);
            *before = here;
            Self {
                here,
                past: _mm256_permute4x64_epi64::<0b10_01_00_11>(mixed),
            }
        }

        /// The bits of the bytes `COUNT` before each; `REST` is what is left of 64.
        #[target_feature(enable = "avx2")]
        fn before<const COUNT: i32, const REST: i32>(self) -> __m256i {
            _mm256_or_si256(
                _mm256_slli_epi64::<COUNT>(self.here),
                _mm256_srli_epi64::<REST>(self.past),
            )
        }

        /// And those that the byte `COUNT` before has. Of the block before only the last bits
        /// are right then.
        #[target_feature(enable = "avx2")]
        fn or_before<const COUNT: i32, const REST: i32>(self) -> Self {
            Self {
                here: _mm256_or_si256(self.here, self.before::<COUNT, REST>()),
                past: _mm256_or_si256(self.past, _mm256_slli_epi64::<COUNT>(self.past)),
            }
        }
    }

    /// The bits of the last four blocks, for those that follow them.
    #[derive(Clone, Copy)]
    struct Before {
        begins: __m256i,
        lower: __m256i,
        upper: __m256i,
    }

    /// The hints of all blocks.
    #[target_feature(enable = "avx2")]
    pub fn read(fours: &[Four], all: &mut Vec<Hints>) {
        let none = _mm256_setzero_si256();
        let mut before = Before {
            begins: none,
            lower: none,
            upper: none,
        };
        for chunk in 0..fours.len().div_ceil(HINTED / 4) {
            let mut hints = Hints::default();
            for place in 0..HINTED / 4 {
                let at = chunk * (HINTED / 4) + place;
                let Some(four) = fours.get(at) else { break };
                let after = fours.get(at + 1).copied().unwrap_or_default();
                four_hints(four, &after, &mut before, &mut hints, place * 4);
            }
            all.push(hints);
        }
    }

    #[target_feature(enable = "avx2")]
    fn four_hints(four: &Four, after: &Four, before: &mut Before, hints: &mut Hints, place: usize) {
        let digits = Bits::of(four.digits, after.digits);
        let upper = Bits::of(four.upper, after.upper);
        let lower = Bits::of(four.lower, after.lower);
        let signs = Bits::of(four.base64, after.base64);
        let assigns = lanes(four.assigns);
        let between = Bits::of(four.between, after.between);
        hints.numbers |= any(numbers(digits, upper)) << place;
        hints.phrases |= any(phrases(lower.or(between))) << place;
        let alphanumeric = _mm256_or_si256(_mm256_or_si256(digits.here, upper.here), lower.here);
        let row = sixteen(alphanumeric);
        let half = _mm256_set1_epi64x(0x0000_0001_0000_0001);
        hints.wallets |= any(_mm256_and_si256(row, half)) << place;
        let row = sixteen(_mm256_or_si256(alphanumeric, signs.here));
        let quarters = _mm256_set1_epi64x(0x0001_0001_0001_0001);
        hints.encoded |= any(_mm256_and_si256(row, quarters)) << place;
        let dense = Bits::of(four.dense, after.dense);
        let ends = Bits::of(four.ends, after.ends);
        let escapes = escapes(lanes(four.escapes), dense, ends);
        hints.escapes |= any(escapes) << place;
        let zeros = Bits::of(four.zeros, after.zeros);
        let runs = runs(dense, &mut before.begins);
        hints.runs |= any(runs) << place;
        let reaches = _mm256_cmpgt_epi64(_mm256_setzero_si256(), runs);
        hints.reaches |= any(reaches) << place;
        let hard = hard(upper, signs, assigns);
        let hard = _mm256_or_si256(hard, _mm256_or_si256(digits.here, zeros.here));
        let changes = changes(lower.here, upper.here, before);
        let many = many(_mm256_and_si256(changes, runs));
        let here = _mm256_or_si256(_mm256_and_si256(hard, runs), many);
        // What marks a run that goes on, more or less.
        let kinds = digits.or(zeros).or(upper).or(signs);
        let behind = _mm256_or_si256(
            _mm256_and_si256(first_run(dense.next), kinds.next),
            _mm256_or_si256(
                _mm256_srli_epi64::<63>(upper.here),
                _mm256_cmpeq_epi64(dense.next, _mm256_set1_epi64x(-1)),
            ),
        );
        let behind = _mm256_and_si256(not_zero(behind), reaches);
        hints.marked |= any(_mm256_or_si256(here, behind)) << place;
    }

    /// Those that stand neither before a quote nor for the end of a line.
    #[target_feature(enable = "avx2")]
    fn escapes(escapes: __m256i, dense: Bits, ends: Bits) -> __m256i {
        let before = _mm256_andnot_si256(ends.after::<1, 63>(), dense.after::<1, 63>());
        _mm256_and_si256(escapes, before)
    }

    /// As `begins_number` of the search for them.
    #[target_feature(enable = "avx2")]
    fn numbers(digits: Bits, upper: Bits) -> __m256i {
        let first = |bits: __m256i| _mm256_andnot_si256(_mm256_slli_epi64::<1>(bits), bits);
        let number = _mm256_and_si256(
            first(digits.here),
            _mm256_and_si256(digits.after::<1, 63>(), digits.after::<2, 62>()),
        );
        let account = _mm256_and_si256(
            _mm256_and_si256(first(upper.here), upper.after::<1, 63>()),
            _mm256_and_si256(digits.after::<2, 62>(), digits.after::<3, 61>()),
        );
        _mm256_or_si256(number, account)
    }

    /// Two quarters of a block in a row that a phrase is made of.
    #[target_feature(enable = "avx2")]
    fn phrases(bits: Bits) -> __m256i {
        let two = bits.and_after::<1, 63>();
        let four = two.and_after::<2, 62>();
        let eight = four.and_after::<4, 60>();
        let mut quarters = eight.and_after::<8, 56>();
        let first = _mm256_set1_epi64x(0x0001_0001_0001_0001);
        quarters.here = _mm256_and_si256(quarters.here, first);
        _mm256_and_si256(quarters.here, quarters.after::<16, 48>())
    }

    /// Where sixteen of these bytes in a row begin, within a block.
    #[target_feature(enable = "avx2")]
    fn sixteen(bits: __m256i) -> __m256i {
        let two = _mm256_and_si256(bits, _mm256_srli_epi64::<1>(bits));
        let four = _mm256_and_si256(two, _mm256_srli_epi64::<2>(two));
        let eight = _mm256_and_si256(four, _mm256_srli_epi64::<4>(four));
        _mm256_and_si256(eight, _mm256_srli_epi64::<8>(eight))
    }

    /// The bytes of runs that are long enough.
    #[target_feature(enable = "avx2")]
    fn runs(dense: Bits, before: &mut __m256i) -> __m256i {
        let two = dense.and_after::<1, 63>();
        let four = two.and_after::<2, 62>();
        let eight = four.and_after::<4, 60>();
        // Where the last bytes of a run begin, and from there to its end.
        let begins = _mm256_and_si256(eight.here, two.after::<8, 56>());
        let one = Past::of(begins, before);
        let two = one.or_before::<1, 63>();
        let four = two.or_before::<2, 62>();
        let eight = four.or_before::<4, 60>();
        _mm256_or_si256(eight.here, two.before::<8, 56>())
    }

    /// Where capitals in a row begin, signs in a row, and what follows a scheme, as in `dense`.
    #[target_feature(enable = "avx2")]
    fn hard(upper: Bits, signs: Bits, assigns: __m256i) -> __m256i {
        let two = upper.and_after::<1, 63>();
        let four = two.and_after::<2, 62>();
        let capitals = four.and_after::<4, 60>().here;
        let two = signs.and_after::<1, 63>();
        let signs = two.and_after::<2, 62>().here;
        let scheme = _mm256_and_si256(assigns, two.after::<1, 63>());
        _mm256_or_si256(capitals, _mm256_or_si256(signs, scheme))
    }

    /// Changes from small letters to capitals and back.
    #[target_feature(enable = "avx2")]
    fn changes(lower: __m256i, upper: __m256i, before: &mut Before) -> __m256i {
        let small = Past::of(lower, &mut before.lower).before::<1, 63>();
        let large = Past::of(upper, &mut before.upper).before::<1, 63>();
        _mm256_or_si256(
            _mm256_and_si256(lower, large),
            _mm256_and_si256(upper, small),
        )
    }

    /// Something where four bits are set, or more.
    #[target_feature(enable = "avx2")]
    fn many(mut bits: __m256i) -> __m256i {
        for _ in 1..CHANGES {
            // Without the lowest.
            let less = _mm256_add_epi64(bits, _mm256_set1_epi64x(-1));
            bits = _mm256_and_si256(bits, less);
        }
        bits
    }

    /// The bits in a row from the first on.
    #[target_feature(enable = "avx2")]
    fn first_run(bits: __m256i) -> __m256i {
        let carried = _mm256_add_epi64(bits, _mm256_set1_epi64x(1));
        _mm256_andnot_si256(carried, bits)
    }

    #[target_feature(enable = "avx2")]
    fn lanes([a, b, c, d]: [u64; 4]) -> __m256i {
        let signed = u64::cast_signed;
        _mm256_set_epi64x(signed(d), signed(c), signed(b), signed(a))
    }

    /// All bits of each block that has any.
    #[target_feature(enable = "avx2")]
    fn not_zero(bits: __m256i) -> __m256i {
        let zero = _mm256_cmpeq_epi64(bits, _mm256_setzero_si256());
        _mm256_andnot_si256(zero, _mm256_set1_epi64x(-1))
    }

    /// A bit for each block that has any.
    #[target_feature(enable = "avx2")]
    fn any(bits: __m256i) -> u64 {
        let some = _mm256_castsi256_pd(not_zero(bits));
        u64::from(_mm256_movemask_pd(some).cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dense::Walk;
    use super::super::planes::{BLOCK, Block, Planes};
    use super::super::{numbers, phrases, wallet};
    use super::*;

    type Kind = fn(&Hints) -> u64;

    fn text(seed: &mut u32) -> Vec<u8> {
        const PIECES: [&[u8]; 18] = [
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
            let planes = Planes::of(&text);
            let mut walk = Walk::after(b"");
            for number in 0..text.len().div_ceil(BLOCK) {
                let (block, next) = (planes.block(number), planes.block(number + 1));
                let found = walk.step(&block, &next, (0, text.len() - number * BLOCK));
                let after = |bits: fn(&Block) -> u64| bits(&block) >> 1 | bits(&next) << 63;
                let row = |bits: u64| (0..4).any(|part| bits >> (part * 16) & 0xffff == 0xffff);
                let hides = after(|block| block.dense) & !after(|block| block.ends);
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
        assert!(
            hinted.iter().all(|hinted| *hinted < all),
            "{hinted:?} of {all}"
        );
    }
}

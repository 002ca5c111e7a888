//! Four blocks at a time, written once and compiled for what two kinds of processor offer.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_andnot_si256, _mm256_blend_epi32,
    _mm256_castsi256_pd, _mm256_cmpeq_epi16, _mm256_cmpeq_epi64, _mm256_cmpgt_epi64,
    _mm256_movemask_pd, _mm256_or_si256, _mm256_permute4x64_epi64, _mm256_set_epi64x,
    _mm256_set1_epi16, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_epi64,
    _mm256_srli_epi64,
};

use super::super::dense::CHANGES;
use super::super::planes::Four;
use super::{HINTED, Hints};

macro_rules! compiled_for {
    ($name:ident, $features:literal) => {
        pub mod $name {
            use super::*;

            /// The bits of four blocks, and of those that follow each.
            #[derive(Clone, Copy)]
            struct Bits {
                here: __m256i,
                next: __m256i,
            }

            impl Bits {
                #[target_feature(enable = $features)]
                fn of(here: [u64; 4], after: [u64; 4]) -> Self {
                    let (here, after) = (lanes(here), lanes(after));
                    // The first of the four behind takes the place of the first here.
                    let mixed = _mm256_blend_epi32::<0b11>(here, after);
                    Self {
                        here,
                        next: _mm256_permute4x64_epi64::<0b00_11_10_01>(mixed),
                    }
                }

                #[target_feature(enable = $features)]
                fn or(self, other: Self) -> Self {
                    Self {
                        here: _mm256_or_si256(self.here, other.here),
                        next: _mm256_or_si256(self.next, other.next),
                    }
                }

                #[target_feature(enable = $features)]
                fn and(self, other: Self) -> Self {
                    Self {
                        here: _mm256_and_si256(self.here, other.here),
                        next: _mm256_and_si256(self.next, other.next),
                    }
                }

                #[target_feature(enable = $features)]
                fn not(self) -> Self {
                    let all = _mm256_set1_epi64x(-1);
                    Self {
                        here: _mm256_andnot_si256(self.here, all),
                        next: _mm256_andnot_si256(self.next, all),
                    }
                }

                /// The bits of the bytes `COUNT` after each; `REST` is what is left of 64.
                #[target_feature(enable = $features)]
                fn after<const COUNT: i32, const REST: i32>(self) -> __m256i {
                    _mm256_or_si256(
                        _mm256_srli_epi64::<COUNT>(self.here),
                        _mm256_slli_epi64::<REST>(self.next),
                    )
                }

                /// Those that also the byte `COUNT` after has. Of the next block only the first bits
                /// are right then.
                #[target_feature(enable = $features)]
                fn and_after<const COUNT: i32, const REST: i32>(self) -> Self {
                    self.and(self.shifted::<COUNT, REST>())
                }

                /// As [`Bits::after`], for both. Of the next block only the first bits are right then.
                #[target_feature(enable = $features)]
                fn shifted<const COUNT: i32, const REST: i32>(self) -> Self {
                    Self {
                        here: self.after::<COUNT, REST>(),
                        next: _mm256_srli_epi64::<COUNT>(self.next),
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
                #[target_feature(enable = $features)]
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
                #[target_feature(enable = $features)]
                fn before<const COUNT: i32, const REST: i32>(self) -> __m256i {
                    _mm256_or_si256(
                        _mm256_slli_epi64::<COUNT>(self.here),
                        _mm256_srli_epi64::<REST>(self.past),
                    )
                }

                /// And those that the byte `COUNT` before has. Of the block before only the last bits
                /// are right then.
                #[target_feature(enable = $features)]
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
            #[target_feature(enable = $features)]
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

            #[target_feature(enable = $features)]
            fn four_hints(
                four: &Four,
                after: &Four,
                before: &mut Before,
                hints: &mut Hints,
                place: usize,
            ) {
                let digits = Bits::of(four.digits, after.digits);
                let upper = Bits::of(four.upper, after.upper);
                let lower = Bits::of(four.lower, after.lower);
                let signs = Bits::of(four.base64, after.base64);
                let assigns = lanes(four.assigns);
                let between = Bits::of(four.between, after.between);
                let escapes = Bits::of(four.escapes, after.escapes);
                hints.numbers |= any(numbers(digits, upper)) << place;
                hints.phrases |= any(phrases(lower, between, escapes)) << place;
                let alphanumeric =
                    _mm256_or_si256(_mm256_or_si256(digits.here, upper.here), lower.here);
                let row = sixteen(alphanumeric);
                let half = _mm256_set1_epi64x(0x0000_0001_0000_0001);
                hints.wallets |= any(_mm256_and_si256(row, half)) << place;
                let row = sixteen(_mm256_or_si256(alphanumeric, signs.here));
                let quarters = _mm256_set1_epi64x(0x0001_0001_0001_0001);
                hints.encoded |= any(_mm256_and_si256(row, quarters)) << place;
                let dense = Bits::of(four.dense, after.dense);
                let hidden = Bits::of(four.hidden, after.hidden);
                let hides = _mm256_and_si256(escapes.here, hidden.after::<1, 63>());
                hints.escapes |= any(hides) << place;
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

            /// As `begins_number` of the search for them.
            #[target_feature(enable = $features)]
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

            /// As `samples` of the search for them, but that the first byte of a block, which may be
            /// of an escape, rules none out.
            #[target_feature(enable = $features)]
            fn phrases(lower: Bits, between: Bits, escapes: Bits) -> __m256i {
                let letters = letters(lower, between, escapes);
                let other = letters.not();
                let begins = _mm256_set1_epi64x(-2);
                let here = _mm256_and_si256(letters.here, _mm256_slli_epi64::<1>(other.here));
                let next = _mm256_and_si256(letters.next, _mm256_slli_epi64::<1>(other.next));
                let soon = other.shifted::<1, 63>().or(other.shifted::<2, 62>());
                let short = Bits { here, next }.and(soon);
                let eight = |bits: Bits| {
                    let two = bits.and_after::<1, 63>();
                    (two, two.and_after::<2, 62>().and_after::<4, 60>())
                };
                let (_, row) = eight(letters);
                let long = row.and(letters.shifted::<8, 56>());
                let long = long.and(Bits {
                    here: begins,
                    next: begins,
                });
                let (two, row) = eight(other);
                let far = row.and(two.shifted::<8, 56>());
                let all = lower.or(between);
                let first = quarters(all.here, (short.here, -2), (long.here, -1), (far.here, -1));
                let second = |all, short, long, far| {
                    quarters(all, (short, 0x1fff), (long, 0xff), (far, 0x7f))
                };
                let second = Bits {
                    here: second(all.here, short.here, long.here, far.here),
                    next: second(all.next, short.next, long.next, far.next),
                };
                _mm256_and_si256(first, second.after::<16, 48>())
            }

            /// Small letters that are not of an escape, as in `\n`.
            #[target_feature(enable = $features)]
            fn letters(lower: Bits, between: Bits, escapes: Bits) -> Bits {
                let escaped = escapes.and(between);
                Bits {
                    here: _mm256_andnot_si256(_mm256_slli_epi64::<1>(escaped.here), lower.here),
                    next: _mm256_andnot_si256(_mm256_slli_epi64::<1>(escaped.next), lower.next),
                }
            }

            /// The quarters that are whole, and have none of what must not be, where it must not.
            #[target_feature(enable = $features)]
            fn quarters(
                whole: __m256i,
                short: (__m256i, i16),
                long: (__m256i, i16),
                far: (__m256i, i16),
            ) -> __m256i {
                let [short, long, far] = [short, long, far]
                    .map(|(bits, mask)| _mm256_and_si256(bits, _mm256_set1_epi16(mask)));
                let bad = _mm256_or_si256(_mm256_or_si256(short, long), far);
                _mm256_and_si256(
                    _mm256_cmpeq_epi16(whole, _mm256_set1_epi16(-1)),
                    _mm256_cmpeq_epi16(bad, _mm256_setzero_si256()),
                )
            }

            /// Where sixteen of these bytes in a row begin, within a block.
            #[target_feature(enable = $features)]
            fn sixteen(bits: __m256i) -> __m256i {
                let two = _mm256_and_si256(bits, _mm256_srli_epi64::<1>(bits));
                let four = _mm256_and_si256(two, _mm256_srli_epi64::<2>(two));
                let eight = _mm256_and_si256(four, _mm256_srli_epi64::<4>(four));
                _mm256_and_si256(eight, _mm256_srli_epi64::<8>(eight))
            }

            /// The bytes of runs that are long enough.
            #[target_feature(enable = $features)]
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
            #[target_feature(enable = $features)]
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
            #[target_feature(enable = $features)]
            fn changes(lower: __m256i, upper: __m256i, before: &mut Before) -> __m256i {
                let small = Past::of(lower, &mut before.lower).before::<1, 63>();
                let large = Past::of(upper, &mut before.upper).before::<1, 63>();
                _mm256_or_si256(
                    _mm256_and_si256(lower, large),
                    _mm256_and_si256(upper, small),
                )
            }

            /// Something where four bits are set, or more.
            #[target_feature(enable = $features)]
            fn many(mut bits: __m256i) -> __m256i {
                for _ in 1..CHANGES {
                    // Without the lowest.
                    let less = _mm256_add_epi64(bits, _mm256_set1_epi64x(-1));
                    bits = _mm256_and_si256(bits, less);
                }
                bits
            }

            /// The bits in a row from the first on.
            #[target_feature(enable = $features)]
            fn first_run(bits: __m256i) -> __m256i {
                let carried = _mm256_add_epi64(bits, _mm256_set1_epi64x(1));
                _mm256_andnot_si256(carried, bits)
            }

            #[target_feature(enable = $features)]
            fn lanes([a, b, c, d]: [u64; 4]) -> __m256i {
                let signed = u64::cast_signed;
                _mm256_set_epi64x(signed(d), signed(c), signed(b), signed(a))
            }

            /// All bits of each block that has any.
            #[target_feature(enable = $features)]
            fn not_zero(bits: __m256i) -> __m256i {
                let zero = _mm256_cmpeq_epi64(bits, _mm256_setzero_si256());
                _mm256_andnot_si256(zero, _mm256_set1_epi64x(-1))
            }

            /// A bit for each block that has any.
            #[target_feature(enable = $features)]
            fn any(bits: __m256i) -> u64 {
                let some = _mm256_castsi256_pd(not_zero(bits));
                u64::from(_mm256_movemask_pd(some).cast_unsigned())
            }
        }
    };
}

compiled_for!(avx2, "avx2");
compiled_for!(avx512, "avx2,avx512f,avx512bw,avx512vl,avx512vbmi2");

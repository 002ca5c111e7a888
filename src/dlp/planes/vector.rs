//! 32 bytes at a time, written once and compiled for what two kinds of processor offer.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_set_epi64x, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_set_epi64x, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{
    ASSIGNS, BASE64, BETWEEN, BLOCK, Block, CONTROL, DENSE, DIGIT, ESCAPE, HIDDEN, Half, Hints,
    LOWER, Memory, OTHER, Tables, UPPER, hints, read_with,
};

macro_rules! compiled_for {
    ($name:ident, $features:literal) => {
        pub mod $name {
            use super::*;

            /// So few blocks are looked at sooner than it is told whether they are worth it.
            const AT_ONCE: usize = 4;

            /// The blocks of these bytes, and what they hint at.
            #[target_feature(enable = $features)]
            pub fn read(bytes: &[u8], memory: &mut Memory) {
                let pairs = pairs();
                read_with(
                    bytes,
                    &mut memory.fours,
                    |bytes| block(bytes, pairs),
                    |bytes| last(bytes),
                );
                if memory.count > AT_ONCE {
                    hints::vector::$name::read(&memory.fours, &mut memory.hints);
                } else {
                    memory.hints.push(Hints::at_all(memory.count));
                }
            }

            /// By itself, so that what is short is not read with what the loop over the rest sets up.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn last(bytes: &[u8; BLOCK]) -> Block {
                block(bytes, pairs())
            }

            #[target_feature(enable = $features)]
            fn pairs() -> [Pair; 3] {
                [Pair::of(&DENSE), Pair::of(&OTHER), Pair::of(&HIDDEN)]
            }

            #[derive(Clone, Copy)]
            struct Pair {
                low: __m256i,
                high: __m256i,
            }

            impl Pair {
                #[target_feature(enable = $features)]
                fn of(tables: &Tables) -> Self {
                    Self {
                        low: half(&tables.low),
                        high: half(&tables.high),
                    }
                }

                #[target_feature(enable = $features)]
                fn kinds(self, low: __m256i, high: __m256i) -> __m256i {
                    _mm256_and_si256(
                        _mm256_shuffle_epi8(self.low, low),
                        _mm256_shuffle_epi8(self.high, high),
                    )
                }
            }

            #[target_feature(enable = $features)]
            fn half(half: &Half) -> __m256i {
                let (words, _) = half.as_chunks::<8>();
                let word = |at: usize| words.get(at).map_or(0, |word| i64::from_le_bytes(*word));
                let half: __m128i = _mm_set_epi64x(word(1), word(0));
                _mm256_broadcastsi128_si256(half)
            }

            #[target_feature(enable = $features)]
            fn block(bytes: &[u8; BLOCK], [dense, other, hidden]: [Pair; 3]) -> Block {
                let mut block = Block::default();
                let (halves, _) = bytes.as_chunks::<32>();
                for (half, shift) in halves.iter().zip([0, 32]) {
                    let (words, _) = half.as_chunks::<8>();
                    let [a, b, c, d] = words else { break };
                    let word = |word: &[u8; 8]| i64::from_le_bytes(*word);
                    let bytes = _mm256_set_epi64x(word(d), word(c), word(b), word(a));
                    let nibble = _mm256_set1_epi8(15);
                    let low = _mm256_and_si256(bytes, nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
                    let dense = dense.kinds(low, high);
                    let other = other.kinds(low, high);
                    let hidden = hidden.kinds(low, high);
                    let bits = |kinds, wanted| bits(kinds, wanted) << shift;
                    block.dense |= any(dense) << shift;
                    block.digits |= bits(dense, DIGIT);
                    block.upper |= bits(dense, UPPER);
                    block.lower |= bits(dense, LOWER);
                    block.between |= bits(other, BETWEEN);
                    block.escapes |= bits(other, ESCAPE);
                    block.assigns |= bits(other, ASSIGNS);
                    block.zeros |= bits(other, CONTROL) & block.dense;
                    block.base64 |= bits(other, BASE64);
                    block.hidden |= any(hidden) << shift;
                }
                block
            }

            /// A bit for each byte with any of these kinds.
            #[target_feature(enable = $features)]
            fn bits(kinds: __m256i, wanted: u8) -> u64 {
                any(_mm256_and_si256(
                    kinds,
                    _mm256_set1_epi8(wanted.cast_signed()),
                ))
            }

            /// A bit for each byte with any kind.
            #[target_feature(enable = $features)]
            fn any(kinds: __m256i) -> u64 {
                let none = _mm256_cmpeq_epi8(kinds, _mm256_setzero_si256());
                u64::from(!_mm256_movemask_epi8(none).cast_unsigned())
            }
        }
    };
}

compiled_for!(avx2, "avx2");
// Masks are registers, and an operation takes three operands.
compiled_for!(avx512, "avx2,avx512f,avx512bw,avx512vl,avx512vbmi2");

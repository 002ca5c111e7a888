//! What kind of byte stands where: bit planes of a window, made once and read by every
//! search.
//!
//! Nearly all of what leaves is no secret, and a search that looks at each byte for itself is
//! slow seven times. Here 64 bytes become one bit each in ten words, and a search asks these
//! for what it needs: sixteen small letters in a row are one comparison. Two tables of sixteen
//! entries say what the halves of a byte allow, and a byte is what both do (W. Muła, D. Lemire,
//! "Faster Base64 Encoding and Decoding Using AVX2 Instructions", 2018).

#[cfg(target_arch = "x86_64")]
mod vector;

use std::cell::Cell;
use std::mem;

use super::class::bits;
use super::hints::{self, HINTED, Hints};

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// The kinds of 64 bytes, a bit for each: the lowest for the first. Bytes behind the window's
/// end are of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Those of which dense runs are made: every printable character but quotes and brackets,
    /// the zeros of UTF-16, and a few that do not stand in text.
    pub dense: u64,
    /// `0` to `9`.
    pub digits: u64,
    /// `A` to `Z`.
    pub upper: u64,
    /// `a` to `z`.
    pub lower: u64,
    /// What may stand between the words of a phrase.
    pub between: u64,
    /// `%`, `&` and `\`, with which escapes begin.
    pub escapes: u64,
    /// `:`, `<`, `=`, `>`, and `\` and the carriage return: what stands before a value. And
    /// zero, which costs less than to leave it out.
    pub assigns: u64,
    /// The zeros of UTF-16.
    pub zeros: u64,
    /// What is no letter or digit in either alphabet of base64.
    pub base64: u64,
    /// What follows the first byte of an escape that may hide something, and little else.
    pub hidden: u64,
}

impl Block {
    /// Bytes of all kinds at once: nobody knows which.
    const ALL: Self = Self {
        dense: u64::MAX,
        digits: u64::MAX,
        upper: u64::MAX,
        lower: u64::MAX,
        between: u64::MAX,
        escapes: u64::MAX,
        assigns: u64::MAX,
        zeros: u64::MAX,
        base64: u64::MAX,
        hidden: u64::MAX,
    };

    /// With digits and capitals in place of the last bytes.
    fn filled(mut self, last: usize) -> Self {
        let bits = !(u64::MAX >> last);
        for kind in [&mut self.digits, &mut self.upper] {
            *kind |= bits;
        }
        self
    }

    /// Letters and digits.
    #[inline]
    #[must_use]
    pub fn alphanumeric(&self) -> u64 {
        self.digits | self.upper | self.lower
    }

    /// What base64 and hexadecimal are made of.
    #[inline]
    #[must_use]
    pub fn encoded(&self) -> u64 {
        self.alphanumeric() | self.base64
    }

    /// What phrases are made of.
    #[inline]
    #[must_use]
    pub fn phrase(&self) -> u64 {
        self.lower | self.between
    }
}

// The kinds that the first pair of tables tells; a dense byte has any of them.
const DIGIT: u8 = 1;
const UPPER: u8 = 2 | 4;
const LOWER: u8 = 8 | 16;
// And the second.
const BETWEEN: u8 = 1 | 2 | 4 | 16;
const ESCAPE: u8 = 8 | 16;
const ASSIGNS: u8 = 16 | 32 | 64;
const CONTROL: u8 = 64;
const BASE64: u8 = 4 | 128;

/// For a half of a byte, a bit for each set of halves that it is in.
type Half = [u8; 16];

/// What the low and the high half of a byte allow.
struct Tables {
    low: Half,
    high: Half,
}

/// A set of bytes: those whose high half is among these, and whose low half among those.
type Product = (&'static [u8], &'static [u8]);

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn tables(products: &[Product; 8]) -> Tables {
    let mut tables = Tables {
        low: [0; 16],
        high: [0; 16],
    };
    let mut bit = 0;
    while bit < 8 {
        let (high, low) = products[bit];
        let mut at = 0;
        while at < high.len() {
            tables.high[high[at] as usize] |= 1 << bit;
            at += 1;
        }
        at = 0;
        while at < low.len() {
            tables.low[low[at] as usize] |= 1 << bit;
            at += 1;
        }
        bit += 1;
    }
    tables
}

const TEN: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const ELEVEN: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const FIFTEEN: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

const DENSE: Tables = tables(&[
    (&[3], TEN),
    (&[4], FIFTEEN),
    (&[5], ELEVEN),
    (&[6], FIFTEEN),
    (&[7], ELEVEN),
    // `!#$%&*+,-./`
    (&[2], &[1, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15]),
    // `:;=?`
    (&[3], &[10, 11, 13, 15]),
    // `@\^_|~`, zero, and with them letters, delete and three more.
    (&[0, 4, 5, 7], &[0, 12, 14, 15]),
]);

const OTHER: Tables = tables(&[
    // Space, `"'+,-`
    (&[2], &[0, 2, 7, 11, 12, 13]),
    // Tabulator and ends of lines.
    (&[0], &[9, 10, 13]),
    // `_`
    (&[5], &[15]),
    // `%&`
    (&[2], &[5, 6]),
    // `\`
    (&[5], &[12]),
    // `:<=>`
    (&[3], &[10, 12, 13, 14]),
    // Zero and the carriage return.
    (&[0], &[0, 13]),
    // `+-/`
    (&[2], &[11, 13, 15]),
]);

/// Of `%`, `\` and `&`: hexadecimal digits, `u`, `x` and `/`, and `#aglq`.
const HIDDEN: Tables = tables(&[
    (&[3], TEN),
    (&[4, 6], &[1, 2, 3, 4, 5, 6]),
    (&[6], &[7, 12]),
    (&[7], &[1, 5, 8]),
    (&[2], &[3, 15]),
    (&[], &[]),
    (&[], &[]),
    (&[], &[]),
]);

/// Blocks side by side.
const LANES: usize = 4;
type Lanes = [u64; LANES];

/// Four blocks, kind by kind, so that what is asked of one is asked of four at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Four {
    pub dense: Lanes,
    pub digits: Lanes,
    pub upper: Lanes,
    pub lower: Lanes,
    pub between: Lanes,
    pub escapes: Lanes,
    pub assigns: Lanes,
    pub zeros: Lanes,
    pub base64: Lanes,
    pub hidden: Lanes,
}

impl Four {
    #[inline]
    fn block(&self, lane: usize) -> Block {
        let of = |lanes: &Lanes| lanes.get(lane % LANES).copied().unwrap_or(0);
        Block {
            dense: of(&self.dense),
            digits: of(&self.digits),
            upper: of(&self.upper),
            lower: of(&self.lower),
            between: of(&self.between),
            escapes: of(&self.escapes),
            assigns: of(&self.assigns),
            zeros: of(&self.zeros),
            base64: of(&self.base64),
            hidden: of(&self.hidden),
        }
    }

    #[inline]
    fn set(&mut self, lane: usize, block: &Block) {
        for (lanes, bits) in [
            (&mut self.dense, block.dense),
            (&mut self.digits, block.digits),
            (&mut self.upper, block.upper),
            (&mut self.lower, block.lower),
            (&mut self.between, block.between),
            (&mut self.escapes, block.escapes),
            (&mut self.assigns, block.assigns),
            (&mut self.zeros, block.zeros),
            (&mut self.base64, block.base64),
            (&mut self.hidden, block.hidden),
        ] {
            if let Some(place) = lanes.get_mut(lane % LANES) {
                *place = bits;
            }
        }
    }
}

/// The planes of a window. Their memory is the thread's: a stream that waits has none.
#[derive(Debug, Default)]
pub struct Planes(Memory);

#[derive(Debug, Default)]
struct Memory {
    fours: Vec<Four>,
    /// How many blocks these are.
    count: usize,
    hints: Vec<Hints>,
}

thread_local! {
    /// Of the last planes that were dropped.
    static MEMORY: Cell<Memory> = const {
        Cell::new(Memory { fours: Vec::new(), count: 0, hints: Vec::new() })
    };
}

impl Drop for Planes {
    fn drop(&mut self) {
        if self.0.fours.capacity() > 0 {
            let memory = mem::take(&mut self.0);
            // When the thread ends it may be gone.
            let _ = MEMORY.try_with(|kept| kept.set(memory));
        }
    }
}

impl Planes {
    /// Those of a window.
    #[must_use]
    pub fn of(window: &[u8]) -> Self {
        Self::by(Level::detected(), window)
    }

    fn by(level: Level, window: &[u8]) -> Self {
        let mut memory = MEMORY.try_with(Cell::take).unwrap_or_default();
        memory.fours.clear();
        memory.hints.clear();
        memory.count = window.len().div_ceil(BLOCK);
        read(window, &mut memory, level);
        // What follows the window has a say in these.
        for last in memory.count.saturating_sub(2)..memory.count {
            if let Some(hints) = memory.hints.get_mut(last / HINTED) {
                hints.look_at(last % HINTED);
            }
        }
        Self(memory)
    }

    /// The block of that number; one without any byte where there is none.
    #[inline]
    #[must_use]
    pub fn block(&self, number: usize) -> Block {
        let four = self.0.fours.get(number / LANES);
        four.map_or(Block::default(), |four| four.block(number % LANES))
    }

    /// Whether a run reaches from that block to the next.
    #[inline]
    #[must_use]
    pub fn reaches(&self, number: usize) -> bool {
        let hints = self.0.hints.get(number / HINTED);
        hints.is_some_and(|hints| hints.reaches >> (number % HINTED) & 1 == 1)
    }

    /// The first block from `number` on that is worth a look.
    #[inline]
    #[must_use]
    pub fn hinted(&self, number: usize, hint: impl Fn(&Hints) -> u64) -> Option<usize> {
        self.look(number, hint, Some)
    }

    /// What `wanted` says of the first block from `number` on of which it says something, of
    /// those that are worth a look.
    #[inline]
    fn look<T>(
        &self,
        number: usize,
        hint: impl Fn(&Hints) -> u64,
        mut wanted: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let first = number / HINTED;
        let mut here = u64::MAX << (number % HINTED);
        for (word, hints) in (first..).zip(self.0.hints.get(first..)?) {
            let mut bits = hint(hints) & here;
            while bits != 0 {
                let found = wanted(word * HINTED + bits.trailing_zeros() as usize);
                if found.is_some() {
                    return found;
                }
                bits &= bits - 1;
            }
            here = u64::MAX;
        }
        None
    }

    /// As [`Planes::find`], of what the next block has a say in. Behind `end` there is nothing
    /// if that is all; else there are digits and capitals, so that what may go on is found.
    #[inline]
    #[must_use]
    pub fn find_with_next(
        &self,
        at: usize,
        (end, ended): (usize, bool),
        hint: impl Fn(&Hints) -> u64,
        kind: impl Fn(&Block, &Block) -> u64,
    ) -> Option<usize> {
        let count = self.0.count;
        let behind = (count * BLOCK).saturating_sub(end);
        self.look(at / BLOCK, hint, |number| {
            let (block, next) = (self.block(number), self.block(number + 1));
            let found = match count.saturating_sub(number) {
                // What stands behind the last has a say in the one before it, too.
                1 if !ended => kind(&block.filled(behind), &Block::ALL) & (u64::MAX >> behind),
                2 if !ended => kind(&block, &next.filled(behind)),
                _ => kind(&block, &next),
            };
            first_from(at, number, found)
        })
    }

    /// As [`Planes::find`], of those that are wanted.
    #[inline]
    #[must_use]
    pub fn find_wanted(
        &self,
        at: usize,
        hint: impl Fn(&Hints) -> u64,
        kind: impl Fn(&Block) -> u64,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        self.look(at / BLOCK, hint, |number| {
            let bits = bits(kind(&self.block(number)));
            let mut places = bits.map(|bit| number * BLOCK + usize::from(bit));
            places.find(|place| *place >= at && wanted(*place))
        })
    }

    /// The first byte from `at` on that `kind` has a bit for, in a block that is hinted at.
    #[inline]
    #[must_use]
    pub fn find(
        &self,
        at: usize,
        hint: impl Fn(&Hints) -> u64,
        kind: impl Fn(&Block) -> u64,
    ) -> Option<usize> {
        self.look(at / BLOCK, hint, |number| {
            first_from(at, number, kind(&self.block(number)))
        })
    }
}

/// The first place from `at` on of these bits of a block.
#[inline]
fn first_from(at: usize, number: usize, bits: u64) -> Option<usize> {
    let bits = match at.saturating_sub(number * BLOCK) {
        0 => bits,
        skip => bits & u64::MAX << (skip % BLOCK),
    };
    (bits != 0).then(|| number * BLOCK + bits.trailing_zeros() as usize)
}

/// What the processor offers, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With double shifts: the processors without are older, and slow down for a while after it.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    #[inline]
    fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            let all = is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi2");
            return if all { Self::Avx512 } else { Self::Avx2 };
        }
        Self::Plain
    }
}

/// The blocks of these bytes, and what they hint at, by a level that was detected.
fn read(bytes: &[u8], memory: &mut Memory, level: Level) {
    match level {
        Level::Plain => {
            read_with(bytes, &mut memory.fours, plain, plain);
            // Each is worth a look.
            for first in (0..memory.count).step_by(HINTED) {
                memory.hints.push(Hints::at_all(memory.count - first));
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[expect(
            unsafe_code,
            reason = "calls of what needs features that were looked for"
        )]
        // SAFETY: the processor has what the level says.
        Level::Avx2 | Level::Avx512 => unsafe {
            if level == Level::Avx512 {
                vector::avx512::read(bytes, memory);
            } else {
                vector::avx2::read(bytes, memory);
            }
        },
    }
}

/// As [`read`], with what makes a block of 64 bytes, and the last.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "so that it is compiled for what `one` is compiled for"
)]
fn read_with(
    bytes: &[u8],
    fours: &mut Vec<Four>,
    one: impl Fn(&[u8; BLOCK]) -> Block,
    last: impl Fn(&[u8; BLOCK]) -> Block,
) {
    // Where they stay: what was written by the word is slow to copy by the vector.
    fours.resize(bytes.len().div_ceil(BLOCK * LANES), Four::default());
    for (four, bytes) in fours.iter_mut().zip(bytes.chunks(BLOCK * LANES)) {
        let (whole, rest) = bytes.as_chunks();
        for (lane, bytes) in whole.iter().enumerate() {
            four.set(lane, &one(bytes));
        }
        if !rest.is_empty() {
            // Of no kind but the first, which is masked.
            let mut block = [0x7f; BLOCK];
            if let Some(there) = block.get_mut(..rest.len()) {
                there.copy_from_slice(rest);
            }
            let mut block = last(&block);
            block.dense &= u64::MAX >> (BLOCK - rest.len());
            four.set(whole.len(), &block);
        }
    }
}

/// One byte after the other.
fn plain(bytes: &[u8; BLOCK]) -> Block {
    let kinds = |tables: &Tables, byte: u8| {
        let half = |half: &Half, at: u8| half.get(usize::from(at & 15)).copied().unwrap_or(0);
        half(&tables.low, byte) & half(&tables.high, byte >> 4)
    };
    let mut block = Block::default();
    for (place, byte) in bytes.iter().enumerate() {
        let (dense, other) = (kinds(&DENSE, *byte), kinds(&OTHER, *byte));
        let bit = |kinds: u8, wanted: u8| u64::from(kinds & wanted != 0) << place;
        block.dense |= bit(dense, u8::MAX);
        block.digits |= bit(dense, DIGIT);
        block.upper |= bit(dense, UPPER);
        block.lower |= bit(dense, LOWER);
        block.between |= bit(other, BETWEEN);
        block.escapes |= bit(other, ESCAPE);
        block.assigns |= bit(other, ASSIGNS);
        block.zeros |= bit(other, CONTROL) & block.dense;
        block.base64 |= bit(other, BASE64);
        block.hidden |= bit(kinds(&HIDDEN, *byte), u8::MAX);
    }
    block
}

#[cfg(test)]
impl Planes {
    /// Those of a window, by whatever this processor offers.
    pub(super) fn by_all_levels(window: &[u8]) -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let all = [Level::Plain, Level::Avx2, Level::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        let all = [Level::Plain];
        let offered = all.into_iter().filter(|level| *level <= Level::detected());
        offered.map(|level| Self::by(level, window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_of_its_kinds() {
        for first in [0_u8, 64, 128, 192] {
            let bytes: Vec<u8> = (first..=first + 63).collect();
            let block = Planes::of(&bytes).block(0);
            for (byte, place) in bytes.iter().zip(0..) {
                let has = |bits: u64| bits >> place & 1 == 1;
                let one = |text: &str| text.as_bytes().contains(byte);
                assert_eq!(has(block.digits), byte.is_ascii_digit(), "{byte}");
                assert_eq!(has(block.upper), byte.is_ascii_uppercase(), "{byte}");
                assert_eq!(has(block.lower), byte.is_ascii_lowercase(), "{byte}");
                assert_eq!(has(block.between), one(" \n\r\t,\"'+-_\\"), "{byte}");
                assert_eq!(has(block.escapes), one("%&\\"), "{byte}");
                assert_eq!(has(block.assigns), one(":<=>\\\r\0"), "{byte}");
                assert_eq!(has(block.zeros), *byte == 0, "{byte}");
                assert_eq!(has(block.base64), one("+-/_"), "{byte}");
                assert_eq!(
                    has(block.hidden),
                    byte.is_ascii_hexdigit() || one("ux/#glq"),
                    "{byte}"
                );
                let dense =
                    byte.is_ascii_graphic() && !one("\"'`()<>[]{}") || one("\0\x0c\x0e\x0f\x7f");
                assert_eq!(has(block.dense), dense, "{byte}");
            }
            for planes in Planes::by_all_levels(&bytes) {
                assert_eq!(planes.block(0), block);
            }
        }
    }
}

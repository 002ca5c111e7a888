//! Mutations from a seed: bits, bytes, pieces, words of the language, other inputs.

/// The longest input.
const LONGEST: usize = 4096;

/// Makes inputs out of seeds.
pub struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, seeds: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        Self {
            state: seed,
            seeds,
            words,
        }
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.random() % end).unwrap()
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\0\t\n\r \"%()+,-./09:;=?@AZ[\\]_az\x7f\x80\xc0\xff";
        if self.below(2) == 0 {
            TELLING[self.below(TELLING.len())]
        } else {
            self.random().to_le_bytes()[0]
        }
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let seed = self.below(self.seeds.len());
        let mut input = self.seeds[seed].clone();
        for _ in 0..=self.below(6) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.byte(),
            2 => input.insert(at, self.byte()),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 => {
                let word = self.below(self.words.len());
                let word = self.words.get(word).unwrap_or(&"");
                input.splice(at..end, word.bytes());
            }
            6 => {
                let other = self.below(self.seeds.len());
                let other = &self.seeds[other];
                let from = usize::try_from(self.state % 64).unwrap().min(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }
}

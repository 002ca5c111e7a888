//! Bytes of a stream, with where they stand in it.

/// A window on a stream.
use super::planes::{BLOCK, Block, Planes};

#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The bytes.
    pub window: &'a [u8],
    /// How many came before them.
    pub base: u64,
    /// Whether nothing follows them.
    pub ended: bool,
    /// What kind of byte stands where.
    pub planes: &'a Planes,
}

impl<'a> View<'a> {
    /// Bytes that are all there.
    pub fn whole(window: &'a [u8], planes: &'a Planes) -> Self {
        Self {
            window,
            base: 0,
            ended: true,
            planes,
        }
    }

    /// What follows from `at` on.
    pub fn from(self, at: u64) -> &'a [u8] {
        let skip = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.window.get(skip..).unwrap_or_default()
    }

    /// What stands from `from` up to `to`, as far as it is there.
    pub fn between(self, from: u64, to: u64) -> &'a [u8] {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let rest = self.from(from);
        rest.get(..length).unwrap_or(rest)
    }

    /// The last `count` bytes before `at`, as far as they are there.
    pub fn before(self, at: u64, count: usize) -> &'a [u8] {
        let from = at.saturating_sub(count as u64).max(self.base);
        self.between(from, at)
    }

    /// The bits of a kind for the 64 bytes from `at` on.
    #[inline]
    pub fn bits(self, at: u64, kind: impl Fn(&Block) -> u64) -> u64 {
        let place = self.place(at);
        let (number, first) = (place / BLOCK, place % BLOCK);
        let bits = kind(&self.planes.block(number)) >> first;
        match first {
            0 => bits,
            first => bits | kind(&self.planes.block(number + 1)) << (BLOCK - first),
        }
    }

    /// The place of `at` in the window.
    pub fn place(self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    /// Where the window ends.
    pub fn end(self) -> u64 {
        self.base.saturating_add(self.window.len() as u64)
    }
}

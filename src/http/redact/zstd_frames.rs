//! Where the blocks of Zstandard frames end (RFC 8878 §3.1), without decoding them.

/// The magic number of a frame, and of one to be skipped (its lowest four bits are free).
const FRAME: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;

/// Follows frames through a stream.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
    /// What has come of a header that is not whole yet.
    header: Vec<u8>,
    /// Whether a checksum follows the last block.
    checksum: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The header of a frame.
    #[default]
    Frame,
    /// The header of a block.
    Block,
    /// The content of a block: bytes left, and whether it is the last.
    Content(usize, bool),
    /// What ends a frame, or a frame to be skipped.
    Rest(usize),
}

impl Frames {
    /// How many bytes of `input` there are up to and with the next end of a block, checksum
    /// or skipped frame; and whether there is one. `None` for what is no frame.
    pub(super) fn advance(&mut self, input: &[u8]) -> Option<(usize, bool)> {
        let mut at = 0;
        while at < input.len() {
            match self.at {
                At::Frame | At::Block => {
                    self.header.push(*input.get(at)?);
                    at = at.saturating_add(1);
                    self.read_header()?;
                }
                At::Content(left, _) | At::Rest(left) => {
                    let taken = left.min(input.len().saturating_sub(at));
                    at = at.saturating_add(taken);
                    self.left(left.saturating_sub(taken));
                }
            }
            if self.settle() {
                return Some((at, true));
            }
        }
        Some((at, false))
    }

    /// Whether all frames are whole so far.
    pub(super) fn is_between(&self) -> bool {
        self.at == At::Frame && self.header.is_empty()
    }

    fn left(&mut self, left: usize) {
        self.at = match self.at {
            At::Content(_, last) => At::Content(left, last),
            At::Rest(_) => At::Rest(left),
            At::Frame | At::Block => self.at,
        };
    }

    /// Goes on from a part that is over; whether that is a boundary.
    fn settle(&mut self) -> bool {
        self.at = match self.at {
            At::Content(0, false) => At::Block,
            At::Content(0, true) if self.checksum => At::Rest(4),
            At::Content(0, true) | At::Rest(0) => At::Frame,
            At::Frame | At::Block | At::Content(..) | At::Rest(_) => return false,
        };
        true
    }

    /// Reads the header once it is whole.
    fn read_header(&mut self) -> Option<()> {
        let next = match self.at {
            At::Block => self.block(),
            At::Frame => self.frame().ok()?,
            At::Content(..) | At::Rest(_) => None,
        };
        if let Some(next) = next {
            self.header.clear();
            self.at = next;
        }
        Some(())
    }

    /// §3.1.1.2: last block, type, size; a block of one repeated byte has one byte.
    fn block(&self) -> Option<At> {
        let [one, two, three] = self.header.as_slice().try_into().ok()?;
        let bits = u32::from_le_bytes([one, two, three, 0]);
        let repeated = (bits >> 1) & 3 == 1;
        let size = if repeated { 1 } else { bits >> 3 };
        Some(At::Content(usize::try_from(size).ok()?, bits & 1 == 1))
    }

    /// §3.1.1.1 and §3.1.2; `None` while it is not whole, an error for what is no frame.
    fn frame(&mut self) -> Result<Option<At>, ()> {
        let Some((magic, rest)) = self.header.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let magic = u32::from_le_bytes(*magic);
        if magic & !0xf == SKIPPABLE {
            let size: Option<[u8; 4]> = rest.try_into().ok();
            let size = size.map(u32::from_le_bytes).map(usize::try_from);
            return Ok(size.map(|size| At::Rest(size.unwrap_or(usize::MAX))));
        }
        if magic != FRAME {
            return Err(());
        }
        let Some((descriptor, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let single = descriptor & 0x20 != 0;
        let dictionary = match descriptor & 3 {
            3 => 4,
            bytes => usize::from(bytes),
        };
        let content_size = match descriptor >> 6 {
            0 => usize::from(single),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        let whole = usize::from(!single) + dictionary + content_size;
        self.checksum = descriptor & 4 != 0;
        Ok((rest.len() >= whole).then_some(At::Block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of two raw blocks with a checksum, and one to be skipped.
    fn stream() -> Vec<u8> {
        let mut bytes = FRAME.to_le_bytes().to_vec();
        bytes.extend([0x04, 0x00]);
        bytes.extend([3 << 3, 0, 0, b'a', b'b', b'c']);
        // One byte, repeated.
        bytes.extend([9 << 3 | 1 << 1 | 1, 0, 0, b'd']);
        bytes.extend([1, 2, 3, 4]);
        bytes.extend((SKIPPABLE | 7).to_le_bytes());
        bytes.extend([2, 0, 0, 0, b'x', b'y']);
        bytes
    }

    #[test]
    fn blocks_end_where_they_end_at_every_split() {
        let bytes = stream();
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut ends = Vec::new();
            let mut offset = 0;
            for piece in bytes.chunks(size) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let (taken, end) = frames.advance(piece).unwrap();
                    offset += taken;
                    if end {
                        ends.push(offset);
                    }
                    piece = &piece[taken..];
                }
            }
            assert_eq!(ends, [12, 16, 20, 30], "{size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_told() {
        assert_eq!(Frames::default().advance(b"plain text"), None);
    }
}

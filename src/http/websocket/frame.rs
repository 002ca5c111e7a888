//! Frames (RFC 6455 §5.2): read strictly, written anew.

use bytes::{BufMut, BytesMut};

/// Most bytes of a frame's header.
pub(super) const HEADER_MAX: usize = 14;
/// Most bytes of a control frame's payload (RFC 6455 §5.5).
pub(super) const CONTROL_MAX: u64 = 125;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Two bytes of length follow.
const SHORT: u8 = 0x7e;
/// Eight bytes of length follow.
const LONG: u8 = 0x7f;

/// Who sent a frame. Agents mask theirs, servers do not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Agent,
    /// The server.
    Server,
}

/// What a frame is. The numbers in between are reserved, and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// A masking key; none where the sender does not mask.
pub(super) type Mask = Option<[u8; 4]>;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it ends its message.
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Mask,
    /// Bytes of payload.
    pub(super) length: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, and says how many bytes it has; `None` while
    /// it is not whole.
    ///
    /// # Errors
    /// What breaks the rules, so that the connection must fail (RFC 6455 §5.2).
    pub(super) fn parse(bytes: &[u8], from: Side) -> Result<Option<(Self, usize)>, &'static str> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err("a reserved bit is set, though no extension was agreed on");
        }
        let opcode = Opcode::of(first & 0xf).ok_or("a frame has a reserved opcode")?;
        let fin = first & FIN != 0;
        if (second & MASKED != 0) != (from == Side::Agent) {
            return Err(match from {
                Side::Agent => "a frame of a client is not masked",
                Side::Server => "a frame of a server is masked",
            });
        }
        if opcode.is_control() && !fin {
            return Err("a control frame is fragmented");
        }
        let short = second & !MASKED;
        if opcode.is_control() && u64::from(short) > CONTROL_MAX {
            return Err("a control frame is longer than 125 bytes");
        }
        let Some((length, used)) = length(short, rest)? else {
            return Ok(None);
        };
        let (mask, used) = match from {
            Side::Server => (None, used),
            Side::Agent => match rest.get(used..).and_then(<[u8]>::first_chunk) {
                Some(key) => (Some(*key), used + 4),
                None => return Ok(None),
            },
        };
        let header = Self {
            fin,
            opcode,
            mask,
            length,
        };
        Ok(Some((header, used + 2)))
    }

    /// Appends the header, with the shortest form of the length.
    pub(super) fn encode(&self, buf: &mut BytesMut) {
        buf.put_u8(if self.fin { FIN } else { 0 } | self.opcode as u8);
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ ..=125), _) => buf.put_u8(masked | length),
            (_, Ok(length)) => {
                buf.put_u8(masked | SHORT);
                buf.put_u16(length);
            }
            _ => {
                buf.put_u8(masked | LONG);
                buf.put_u64(self.length);
            }
        }
        if let Some(key) = self.mask {
            buf.put_slice(&key);
        }
    }
}

/// The payload's length, and how many bytes of `rest` say it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, &'static str> {
    let (length, used, least) = match short {
        SHORT => match rest.first_chunk() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2, 126),
            None => return Ok(None),
        },
        LONG => match rest.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8, 0x1_0000),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 0),
    };
    if length < least {
        return Err("a length is not in its shortest form");
    }
    if length >> 63 != 0 {
        return Err("a length has its highest bit set");
    }
    Ok(Some((length, used)))
}

/// Masks or unmasks `data`, which begins `offset` bytes into its frame.
pub(super) fn apply_mask(data: &mut [u8], mask: Mask, offset: u64) {
    let Some(mut key) = mask else { return };
    key.rotate_left(usize::try_from(offset % 4).unwrap_or_default());
    let wide = u32::from_ne_bytes(key);
    let mut words = data.chunks_exact_mut(4);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 4]>::try_from(&*word) {
            word.copy_from_slice(&(u32::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8], from: Side) -> Result<Option<(Header, usize)>, &'static str> {
        Header::parse(bytes, from)
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for (bytes, what) in [
            (&[0xc1, 0x80][..], "reserved bit"),
            (&[0x91, 0x80], "reserved bit"),
            (&[0x83, 0x80], "reserved opcode"),
            (&[0x8b, 0x80], "reserved opcode"),
            (&[0x81, 0x01], "not masked"),
            (&[0x09, 0x80], "fragmented"),
            (&[0x89, 0xfe], "longer than 125"),
            (&[0x88, 0xff], "longer than 125"),
            (&[0x81, 0xfe, 0, 125], "shortest form"),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "shortest form"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0], "highest bit"),
        ] {
            let error = parse(bytes, Side::Agent).unwrap_err();
            assert!(error.contains(what), "{bytes:x?}: {error}");
        }
        assert!(
            parse(&[0x81, 0x81, 1, 2, 3, 4], Side::Server)
                .unwrap_err()
                .contains("is masked")
        );
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(
            fin: bool,
            opcode in prop::sample::select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]),
            key: Option<[u8; 4]>,
            length in prop_oneof![0..300_u64, 65_000..66_000_u64, 0..=u64::MAX >> 1],
        ) {
            let header = Header { fin, opcode, mask: key, length };
            let from = if key.is_some() { Side::Agent } else { Side::Server };
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes);
            prop_assert!(bytes.len() <= HEADER_MAX);
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end], from), Ok(None));
            }
            prop_assert_eq!(parse(&bytes, from), Ok(Some((header, bytes.len()))));
        }

        #[test]
        fn masks_are_the_same_in_pieces(
            data in prop::collection::vec(any::<u8>(), 0..64),
            key: [u8; 4],
            at in 0..64_usize,
        ) {
            let at = at.min(data.len());
            let (mut whole, mut pieces) = (data.clone(), data.clone());
            apply_mask(&mut whole, Some(key), 0);
            apply_mask(&mut pieces[..at], Some(key), 0);
            apply_mask(&mut pieces[at..], Some(key), at as u64);
            prop_assert_eq!(&whole, &pieces);
            let simple: Vec<u8> = data.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(&whole, &simple);
        }
    }
}

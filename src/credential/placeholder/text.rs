//! Stand-ins in messages of a WebSocket, which have no type: anywhere in the text, or at a
//! member where the text is JSON.

use bytes::{Bytes, BytesMut};
use memchr::memmem::find;

use super::body::{Piece, Slot};
use super::json::Json;

/// Swaps whole words of a text: what stands on either side is no letter, digit, `-` or `_`, so
/// that a longer word which holds a stand-in is none.
#[derive(Clone, Debug)]
pub struct Text {
    slots: Vec<Slot<()>>,
    /// The end of what came, which may be a stand-in or the beginning of one.
    held: BytesMut,
    /// What stood before that.
    before: Option<u8>,
}

impl Text {
    pub(super) fn new(slots: Vec<Slot<()>>) -> Self {
        Self {
            slots,
            held: BytesMut::new(),
            before: None,
        }
    }

    pub(super) fn push(&mut self, data: &[u8], last: bool, out: &mut Vec<Piece>) {
        self.held.extend_from_slice(data);
        while let Some((at, slot)) = self.first() {
            let length = slot.value.len();
            let secret = Bytes::copy_from_slice(slot.secret.expose());
            let before = at.checked_sub(1).and_then(|at| self.held.get(at));
            let before = before.copied().or(self.before);
            let after = self.held.get(at.saturating_add(length)).copied();
            if after.is_none() && !last {
                self.give(at, out);
                return;
            }
            if is_edge(before) && is_edge(after) {
                self.give(at, out);
                self.before = self.held.split_to(length).last().copied();
                out.push(Piece::Secret(secret));
            } else {
                self.give(at.saturating_add(length), out);
            }
        }
        let open = if last { 0 } else { self.open() };
        self.give(self.held.len().saturating_sub(open), out);
    }

    /// Where the first stand-in is, and whose.
    fn first(&self) -> Option<(usize, &Slot<()>)> {
        let found = self.slots.iter().filter_map(|slot| {
            let at = find(&self.held, slot.value.as_bytes())?;
            Some((at, slot))
        });
        found.min_by_key(|(at, _)| *at)
    }

    /// How many bytes at the end may be the beginning of a stand-in.
    fn open(&self) -> usize {
        let begins = |count: &usize| {
            let from = self.held.len().saturating_sub(*count);
            let tail = self.held.get(from..).unwrap_or_default();
            let mut values = self.slots.iter().map(|slot| slot.value.as_bytes());
            values.any(|value| value.len() > *count && value.starts_with(tail))
        };
        let longest = self.slots.iter().map(|slot| slot.value.len()).max();
        let most = longest.unwrap_or(0).min(self.held.len());
        (1..=most).rev().find(begins).unwrap_or(0)
    }

    fn give(&mut self, count: usize, out: &mut Vec<Piece>) {
        let bytes = self.held.split_to(count.min(self.held.len())).freeze();
        self.before = bytes.last().copied().or(self.before);
        plain(bytes, out);
    }
}

fn is_edge(byte: Option<u8>) -> bool {
    byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'))
}

fn plain(bytes: Bytes, out: &mut Vec<Piece>) {
    if !bytes.is_empty() {
        out.push(Piece::Plain(bytes));
    }
}

/// Swaps in one message: members first, then words of what is left.
#[derive(Clone, Debug)]
pub struct Message {
    json: Option<Json>,
    text: Option<Text>,
}

impl Message {
    /// `None` where there is nothing to swap.
    pub(super) fn new(json: Vec<Slot<Vec<String>>>, text: Vec<Slot<()>>) -> Option<Self> {
        let message = Self {
            json: (!json.is_empty()).then(|| Json::new(json)),
            text: (!text.is_empty()).then(|| Text::new(text)),
        };
        (message.json.is_some() || message.text.is_some()).then_some(message)
    }

    pub(super) fn push(&mut self, data: &Bytes, last: bool, out: &mut Vec<Piece>) {
        let mut pieces = Vec::new();
        match &mut self.json {
            Some(json) => json.push(data, last, &mut pieces),
            None => pieces.push(Piece::Plain(data.clone())),
        }
        let Some(text) = &mut self.text else {
            return out.append(&mut pieces);
        };
        for piece in pieces {
            match piece {
                Piece::Plain(bytes) => text.push(&bytes, false, out),
                // Quotes stand around it, so that nothing goes on from one side to the other.
                Piece::Secret(secret) => {
                    text.push(b"", true, out);
                    out.push(Piece::Secret(secret));
                    text.before = Some(b'"');
                }
            }
        }
        if last {
            text.push(b"", true, out);
        }
    }
}

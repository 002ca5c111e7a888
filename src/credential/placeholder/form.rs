//! Stand-ins in forms (WHATWG URL §5.1, application/x-www-form-urlencoded parsing).

use bytes::{Bytes, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::body::{Piece, Slot};

/// Swaps the values of some keys.
#[derive(Clone, Debug)]
pub struct Form {
    slots: Vec<Slot<String>>,
    /// The pair that is being read, as long as it may be one to swap.
    held: BytesMut,
    /// Whether the pair that is being read is too long to be one.
    passing: bool,
    longest: usize,
}

impl Form {
    pub(super) fn new(slots: Vec<Slot<String>>) -> Self {
        let length = |slot: &Slot<String>| slot.place.len() + slot.value.len();
        // Every byte as `%XX`, and the `=`.
        let longest = slots.iter().map(length).max().unwrap_or(0) * 3 + 1;
        Self {
            slots,
            held: BytesMut::new(),
            passing: false,
            longest,
        }
    }

    pub(super) fn push(&mut self, data: &Bytes, last: bool, out: &mut Vec<Piece>) {
        let mut rest = data.clone();
        while !rest.is_empty() {
            let end = memchr::memchr(b'&', &rest);
            let mut part = rest.split_to(end.unwrap_or(rest.len()));
            if !self.passing && self.held.len() + part.len() > self.longest {
                self.passing = true;
                plain(self.held.split().freeze(), out);
            }
            if self.passing {
                plain(part, out);
            } else {
                self.held.extend_from_slice(&part);
            }
            if end.is_some() {
                self.close(out);
                part = rest.split_to(1);
                plain(part, out);
            }
        }
        if last {
            self.close(out);
        }
    }

    fn close(&mut self, out: &mut Vec<Piece>) {
        self.passing = false;
        let mut pair = self.held.split().freeze();
        let Some(equals) = memchr::memchr(b'=', &pair) else {
            return plain(pair, out);
        };
        let key = decoded(pair.get(..equals).unwrap_or_default());
        let value = decoded(pair.get(equals + 1..).unwrap_or_default());
        let mine =
            |slot: &&Slot<String>| slot.place.as_bytes() == key && slot.value.as_bytes() == value;
        match self.slots.iter().find(mine) {
            None => plain(pair, out),
            Some(slot) => {
                pair.truncate(equals + 1);
                plain(pair, out);
                let secret = percent_encode(slot.secret.expose(), NON_ALPHANUMERIC).to_string();
                out.push(Piece::Secret(secret.into()));
            }
        }
    }
}

fn plain(bytes: Bytes, out: &mut Vec<Piece>) {
    if !bytes.is_empty() {
        out.push(Piece::Plain(bytes));
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let spaced: Vec<u8> = bytes.iter().map(space).collect();
    percent_decode(&spaced).collect()
}

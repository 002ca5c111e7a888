//! Stand-ins in JSON (RFC 8259), found by the members that lead to them.
//!
//! A strict reader: where a text is not JSON, two servers could read it in two ways, so
//! from there on nothing is swapped and a stand-in is in the wrong place.

use bytes::{Bytes, BytesMut};

use super::body::{Piece, Slot};

/// The deepest nesting that is followed.
const DEEPEST: usize = 64;
/// The longest name of a member that is compared, in bytes as written.
const KEY_MAX: usize = 512;
/// The most members that can be told apart.
const SLOTS: usize = 32;

/// Swaps strings at some places.
#[derive(Clone, Debug)]
pub struct Json {
    slots: Vec<Slot<Vec<String>>>,
    stack: Vec<Level>,
    expect: Expect,
    token: Token,
    /// The name that is being read.
    key: Vec<u8>,
    /// The string that is being read, as long as it may be one to swap.
    held: BytesMut,
    /// It is no JSON, or nested too deeply: everything passes.
    off: bool,
    longest: usize,
}

/// A set of slots, by their bits.
type Set = u32;

#[derive(Clone, Debug)]
struct Level {
    object: bool,
    /// Slots whose names so far lead here.
    here: Set,
    /// Those of `here` that the name read last goes on with.
    next: Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    /// A number, or one of the three words.
    Scalar,
    String(Kind, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    Candidate,
    Other,
}

impl Json {
    pub(super) fn new(mut slots: Vec<Slot<Vec<String>>>) -> Self {
        slots.truncate(SLOTS);
        let longest = slots.iter().map(|slot| slot.value.len()).max();
        Self {
            slots,
            stack: Vec::new(),
            expect: Expect::Value,
            token: Token::None,
            key: Vec::new(),
            held: BytesMut::new(),
            off: false,
            // Every character as an escape of six bytes, and the quotes.
            longest: longest.unwrap_or(0) * 6 + 2,
        }
    }

    pub(super) fn push(&mut self, data: &Bytes, last: bool, out: &mut Vec<Piece>) {
        // Where what has not been given out yet begins.
        let mut from = 0;
        for (at, &byte) in data.iter().enumerate() {
            if self.off {
                break;
            }
            let held = matches!(self.token, Token::String(Kind::Candidate, _));
            if self.step(byte).is_none() {
                self.off = true;
            }
            let holds = matches!(self.token, Token::String(Kind::Candidate, _));
            match (held, holds) {
                (false, true) => {
                    plain(data.slice(from..at), out);
                    self.held.extend_from_slice(&[byte]);
                    from = at + 1;
                }
                (true, true) => {
                    self.held.extend_from_slice(&[byte]);
                    from = at + 1;
                    if self.held.len() > self.longest {
                        if let Token::String(kind, _) = &mut self.token {
                            *kind = Kind::Other;
                        }
                        plain(self.held.split().freeze(), out);
                    }
                }
                (true, false) => {
                    self.held.extend_from_slice(&[byte]);
                    from = at + 1;
                    self.close(out);
                }
                (false, false) => {}
            }
        }
        if self.off || last {
            plain(self.held.split().freeze(), out);
        }
        plain(data.slice(from..), out);
    }

    /// A candidate has ended.
    fn close(&mut self, out: &mut Vec<Piece>) {
        let raw = self.held.split().freeze();
        let next = self.stack.last().map_or(0, |level| level.next);
        let depth = self.stack.len();
        let text: Option<String> = serde_json::from_slice(&raw).ok();
        let mine = |(bit, slot): &(usize, &Slot<Vec<String>>)| {
            let named = next & (1 << bit) != 0 && slot.place.len() == depth;
            named && text.as_deref() == Some(slot.value.as_str())
        };
        let slot = self.slots.iter().enumerate().find(mine);
        let secret = slot.and_then(|(_, slot)| {
            let secret = std::str::from_utf8(slot.secret.expose()).ok()?;
            serde_json::to_vec(secret).ok()
        });
        match secret {
            Some(secret) => out.push(Piece::Secret(secret.into())),
            None => plain(raw, out),
        }
    }

    /// One byte further; `None` where it is no JSON.
    fn step(&mut self, byte: u8) -> Option<()> {
        match self.token {
            Token::String(kind, escaped) => return self.in_string(kind, escaped, byte),
            Token::Scalar if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) => {
                return Some(());
            }
            Token::Scalar => {
                self.token = Token::None;
                self.after_value();
            }
            Token::None => {}
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Some(());
        }
        match (self.expect, byte) {
            (Expect::Value | Expect::ValueOrEnd, b'{') => self.open(true)?,
            (Expect::Value | Expect::ValueOrEnd, b'[') => self.open(false)?,
            (Expect::Value | Expect::ValueOrEnd, b'"') => {
                let kind = if self.is_candidate() {
                    Kind::Candidate
                } else {
                    Kind::Other
                };
                self.token = Token::String(kind, false);
            }
            (Expect::Value | Expect::ValueOrEnd, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.token = Token::Scalar;
            }
            (Expect::KeyOrEnd | Expect::Key, b'"') => {
                self.key.clear();
                self.token = Token::String(Kind::Key, false);
            }
            (Expect::Colon, b':') => self.expect = Expect::Value,
            (Expect::CommaOrEnd, b',') => {
                let object = self.stack.last()?.object;
                self.expect = if object { Expect::Key } else { Expect::Value };
            }
            (Expect::CommaOrEnd | Expect::KeyOrEnd, b'}') if self.stack.last()?.object => {
                self.stack.pop();
                self.after_value();
            }
            (Expect::CommaOrEnd | Expect::ValueOrEnd, b']') if !self.stack.last()?.object => {
                self.stack.pop();
                self.after_value();
            }
            _ => return None,
        }
        Some(())
    }

    fn in_string(&mut self, kind: Kind, escaped: bool, byte: u8) -> Option<()> {
        if byte < 0x20 {
            return None;
        }
        if kind == Kind::Key && self.key.len() < KEY_MAX {
            self.key.push(byte);
        }
        if byte == b'"' && !escaped {
            self.token = Token::None;
            if kind == Kind::Key {
                self.named();
            } else {
                self.after_value();
            }
            return Some(());
        }
        self.token = Token::String(kind, byte == b'\\' && !escaped);
        Some(())
    }

    /// A member's name has ended.
    fn named(&mut self) {
        self.expect = Expect::Colon;
        let depth = self.stack.len().saturating_sub(1);
        // With the quote that began it; the one that ended it is in `key`.
        let raw = [b"\"", &self.key[..]].concat();
        let name: Option<String> = serde_json::from_slice(&raw).ok();
        let Some(level) = self.stack.last_mut() else {
            return;
        };
        level.next = 0;
        for (bit, slot) in self.slots.iter().enumerate() {
            let goes_on = slot.place.get(depth).map(String::as_str) == name.as_deref();
            if level.here & (1 << bit) != 0 && name.is_some() && goes_on {
                level.next |= 1 << bit;
            }
        }
    }

    /// Whether the string that begins here may be one to swap.
    fn is_candidate(&self) -> bool {
        let depth = self.stack.len();
        let Some(level) = self.stack.last().filter(|level| level.object) else {
            return false;
        };
        let slots = self.slots.iter().enumerate();
        let mut ends =
            slots.filter(|(bit, slot)| level.next & (1 << bit) != 0 && slot.place.len() == depth);
        ends.next().is_some()
    }

    fn open(&mut self, object: bool) -> Option<()> {
        if self.stack.len() >= DEEPEST {
            return None;
        }
        let here = match self.stack.last() {
            None => Set::MAX,
            Some(level) if level.object => level.next,
            Some(_) => 0,
        };
        self.stack.push(Level {
            object,
            here: if object { here } else { 0 },
            next: 0,
        });
        self.expect = if object {
            Expect::KeyOrEnd
        } else {
            Expect::ValueOrEnd
        };
        Some(())
    }

    fn after_value(&mut self) {
        self.expect = if self.stack.is_empty() {
            Expect::Nothing
        } else {
            Expect::CommaOrEnd
        };
    }
}

fn plain(bytes: Bytes, out: &mut Vec<Piece>) {
    if !bytes.is_empty() {
        out.push(Piece::Plain(bytes));
    }
}

//! Escapes, decoded where there are some: of URLs, of JSON and JavaScript, of HTML and XML.

use super::super::coding::Coding;
use super::super::engine::Engine;
use super::super::pass::Report;
use super::View;
use super::lane::Lane;

/// Bytes before the first escape of a token: that of one kind is the `=` at its end. Within
/// what a pass remembers.
const FIRST: u64 = 264;
/// Bytes between two escapes of a token.
const NEAR: u64 = FIRST;
/// Most bytes of an escape: `&#x000067;`.
const ESCAPE_MAX: usize = 10;

/// The escapes of one stream.
#[derive(Debug)]
pub struct Escapes {
    layers: u8,
    /// What is before was looked at.
    next: u64,
    lane: Option<Lane>,
    /// Where the last escape ended.
    last: u64,
    /// Where one began of which not all bytes are there.
    pending: Option<u64>,
    saturated: bool,
}

/// What stands at a `%`, `\` or `&`.
enum Escape {
    /// This character, in so many bytes.
    Of(char, usize),
    /// Nothing special.
    None,
    /// More bytes tell.
    Open,
}

impl Escapes {
    pub(super) fn new(layers: u8) -> Self {
        Self {
            layers,
            next: 0,
            lane: None,
            last: 0,
            pending: None,
            saturated: false,
        }
    }

    pub(super) fn look(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) {
        self.pending = None;
        loop {
            let goes_on = match self.lane.take() {
                Some(lane) => self.go_on(engine, lane, view, report),
                None => self.find(view),
            };
            if !goes_on {
                return;
            }
        }
    }

    pub(super) fn flush(&mut self, engine: &Engine, report: Report<'_>) {
        if let Some(lane) = &mut self.lane {
            lane.flush(engine, report);
        }
    }

    pub(super) fn finish(&mut self, engine: &Engine, report: Report<'_>) {
        if let Some(lane) = self.lane.take() {
            self.saturated |= lane.finish(engine, report);
        }
    }

    pub(super) fn held_from(&self) -> Option<u64> {
        let lane = self.lane.as_ref().and_then(Lane::held_from);
        lane.into_iter().chain(self.pending).min()
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.saturated
    }

    /// Looks for an escape that hides something; the answer is whether there is one.
    fn find(&mut self, view: View<'_>) -> bool {
        let hides_some = |at: usize| may_hide(view.window.get(at..).unwrap_or_default());
        while let Some(at) = view.planes.find_wanted(
            view.place(self.next),
            |hints| hints.escapes,
            |block| block.escapes,
            hides_some,
        ) {
            let at = view.base + at as u64;
            let here = view.from(at);
            match escape(here, view.ended) {
                Escape::Open => {
                    (self.next, self.pending) = (at, Some(at));
                    return false;
                }
                Escape::Of(character, length) if character.is_ascii() && hides(here) => {
                    let start = at.saturating_sub(FIRST).max(self.last).max(view.base);
                    self.lane = Some(Lane::new(Coding::Escaped, self.layers, start));
                    self.last = at + length as u64;
                    return true;
                }
                Escape::Of(..) | Escape::None => self.next = at + 1,
            }
        }
        self.next = view.end();
        false
    }

    /// Decodes; the answer is whether the lane ended and there is more.
    fn go_on(
        &mut self,
        engine: &Engine,
        mut lane: Lane,
        view: View<'_>,
        report: Report<'_>,
    ) -> bool {
        loop {
            let limit = self.last + NEAR;
            if lane.next >= limit {
                (self.next, self.last) = (lane.next, lane.next);
                self.saturated |= lane.finish(engine, report);
                return true;
            }
            let rest = view.between(lane.next, limit);
            let special = view.bits(lane.next, |block| block.escapes).trailing_zeros();
            let plain = rest.len().min(special as usize);
            if plain > 0 {
                let next = lane.next + plain as u64;
                lane.push(engine, rest.get(..plain).unwrap_or_default(), next, report);
                continue;
            }
            let here = view.from(lane.next);
            if here.is_empty() {
                self.lane = Some(lane);
                return false;
            }
            match escape(here, view.ended) {
                Escape::Open => {
                    self.pending = Some(lane.next);
                    self.lane = Some(lane);
                    return false;
                }
                Escape::Of(character, length) => {
                    let next = lane.next + length as u64;
                    if character.is_ascii() && hides(here) {
                        self.last = next;
                    }
                    let mut buffer = [0; 4];
                    let bytes = match (here, u8::try_from(character)) {
                        // A byte of a character, perhaps: URLs escape bytes.
                        ([b'%', ..], Ok(byte)) => &[byte][..],
                        _ => character.encode_utf8(&mut buffer).as_bytes(),
                    };
                    lane.push(engine, bytes, next, report);
                }
                Escape::None => {
                    let next = lane.next + 1;
                    lane.push(engine, here.get(..1).unwrap_or_default(), next, report);
                }
            }
        }
    }
}

/// The next byte tells most of those that stand around tokens and not in them, as `\n` and
/// `\"` do, and what is none.
fn may_hide(bytes: &[u8]) -> bool {
    match bytes {
        [b'%', next, ..] => next.is_ascii_hexdigit(),
        [b'\\', next, ..] => matches!(next, b'u' | b'x' | b'/'),
        [b'&', next, ..] => matches!(next, b'#' | b'a' | b'g' | b'l' | b'q'),
        _ => true,
    }
}

/// Whether an escape may stand in a token, where one is written to hide it or because its
/// characters need one.
fn hides(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%' | b'&', ..] | [b'\\', b'u' | b'x' | b'/', ..])
}

fn escape(bytes: &[u8], ended: bool) -> Escape {
    let read = match bytes {
        [b'%', rest @ ..] => number(rest, 2, 2, 16).map(|(code, read)| (code, read + 1)),
        [b'\\', b'u', rest @ ..] => number(rest, 4, 4, 16).map(|(code, read)| (code, read + 2)),
        [b'\\', b'x', rest @ ..] => number(rest, 2, 2, 16).map(|(code, read)| (code, read + 2)),
        [b'\\', byte, ..] => simple(*byte).map(|code| (code, 2)),
        [b'&', b'#', b'x' | b'X', rest @ ..] => {
            number(rest, 1, 6, 16).and_then(|(code, read)| closed(rest, code, read, 3))
        }
        [b'&', b'#', rest @ ..] => {
            number(rest, 1, 6, 10).and_then(|(code, read)| closed(rest, code, read, 2))
        }
        [b'&', rest @ ..] => entity(rest),
        _ => None,
    };
    match read {
        Some((code, length)) => match char::from_u32(code) {
            Some(character) => Escape::Of(character, length),
            None => Escape::None,
        },
        None if !ended && may_become_one(bytes) => Escape::Open,
        None => Escape::None,
    }
}

/// Whether all there is so far may be the beginning of an escape.
fn may_become_one(bytes: &[u8]) -> bool {
    let hex = |rest: &[u8]| rest.iter().all(u8::is_ascii_hexdigit);
    match bytes {
        [b'%', rest @ ..] | [b'\\', b'x', rest @ ..] => rest.len() < 2 && hex(rest),
        [b'\\'] => true,
        [b'\\', b'u', rest @ ..] => rest.len() < 4 && hex(rest),
        [b'&', rest @ ..] => {
            let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
            bytes.len() < ESCAPE_MAX && rest.iter().all(part)
        }
        _ => false,
    }
}

/// A number of so many digits, and how many there were.
fn number(bytes: &[u8], least: usize, most: usize, radix: u32) -> Option<(u32, usize)> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let digits = bytes.iter().take(most).map_while(digit);
    let (code, read) = digits.fold((0, 0), |(code, read), digit| {
        (code * radix + digit, read + 1)
    });
    (read >= least).then_some((code, read))
}

/// A numeric reference ends with `;`.
fn closed(rest: &[u8], code: u32, read: usize, before: usize) -> Option<(u32, usize)> {
    (rest.get(read) == Some(&b';')).then_some((code, read + before + 1))
}

fn simple(byte: u8) -> Option<u32> {
    let code = match byte {
        b'"' | b'\'' | b'\\' | b'/' => byte,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        _ => return None,
    };
    Some(u32::from(code))
}

fn entity(rest: &[u8]) -> Option<(u32, usize)> {
    const NAMED: [(&[u8], u8); 5] = [
        (b"amp;", b'&'),
        (b"lt;", b'<'),
        (b"gt;", b'>'),
        (b"quot;", b'"'),
        (b"apos;", b'\''),
    ];
    let named = NAMED.iter().find(|(name, _)| rest.starts_with(name));
    named.map(|(name, byte)| (u32::from(*byte), name.len() + 1))
}

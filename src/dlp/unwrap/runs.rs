//! Runs of base64 and hexadecimal, decoded where they decode to text.
//!
//! Nobody says at which character of a run what was encoded begins, so every place is tried
//! on each block of the run; hashes, images and names do not pass.

use super::super::coding::{Coding, value_of};
use super::super::engine::Engine;
use super::super::pass::Report;
use super::super::planes::Block;
use super::View;
use super::lane::Lane;

/// Characters that are tried in one go.
const BLOCK: usize = 16;
const BLOCK_LONG: u64 = BLOCK as u64;
/// A bit for each of them.
const WHOLE: u64 = (1 << BLOCK) - 1;
/// Characters that are decoded in one go, where a run reads as text; and most of those that
/// may wait for that, with what is left of a group.
const PIECE: u64 = 4 * BLOCK_LONG;
const PIECE_MOST: usize = 6 * BLOCK;
/// The shortest run: a shorter one holds no token whose encoded beginning is not known.
const RUN_MIN: usize = 32;
/// Most bytes of a line's end and the next one's indentation.
const BREAK_MAX: usize = 32;

/// A way to read a run.
#[derive(Clone, Copy, Debug)]
struct Unit {
    coding: Coding,
    /// At which character of a block it begins.
    place: u64,
    /// Characters of a group, and of those that tell whether it is text.
    group: usize,
    tried: usize,
}

const fn base64(place: u64) -> Unit {
    Unit {
        coding: Coding::Base64(0),
        place,
        group: 4,
        tried: 12,
    }
}

const fn hex(place: u64) -> Unit {
    Unit {
        coding: Coding::Hex,
        place,
        group: 2,
        tried: 14,
    }
}

const UNITS: [Unit; 6] = [base64(0), base64(1), base64(2), base64(3), hex(0), hex(1)];

/// The run that is read, and what is decoded of it.
#[derive(Debug)]
pub struct Runs {
    layers: u8,
    /// No run begins before.
    floor: u64,
    /// Where to look for the next.
    next: u64,
    /// Where the run began, and where its next block does.
    run: Option<(u64, u64)>,
    lanes: [Option<Lane>; UNITS.len()],
    /// What ended with a line, here, and may go on in the next.
    broken: Option<(Lane, u64)>,
    saturated: bool,
}

impl Runs {
    pub(super) fn new(layers: u8) -> Self {
        Self {
            layers,
            floor: 0,
            next: 0,
            run: None,
            lanes: Default::default(),
            broken: None,
            saturated: false,
        }
    }

    pub(super) fn look(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) {
        loop {
            let Some((from, at)) = self.run.take() else {
                let Some(from) = self.find(engine, view, report) else {
                    return;
                };
                self.run = Some((from, from));
                continue;
            };
            let block = view.from(at).first_chunk::<BLOCK>();
            let is_run = view.bits(at, Block::encoded) & WHOLE == WHOLE;
            if let Some(block) = block.filter(|_| is_run) {
                self.block(engine, view, (from, at), block, report);
                self.run = Some((from, at + BLOCK_LONG));
                continue;
            }
            let rest = view.from(at);
            let rest = rest.get(..BLOCK).unwrap_or(rest);
            let more = rest.iter().take_while(|byte| self::is_run(**byte)).count();
            if more == rest.len() && !view.ended {
                self.run = Some((from, at));
                for (unit, lane) in UNITS.iter().zip(&mut self.lanes) {
                    if let Some(lane) = lane {
                        unit.decode(engine, lane, view, at, report);
                    }
                }
                return;
            }
            let end = at + more as u64;
            self.end(engine, view, from, end, report);
            (self.floor, self.next) = (end, end);
        }
    }

    pub(super) fn flush(&mut self, engine: &Engine, report: Report<'_>) {
        let broken = self.broken.iter_mut().map(|(lane, _)| lane);
        for lane in self.lanes.iter_mut().flatten().chain(broken) {
            lane.flush(engine, report);
        }
    }

    pub(super) fn finish(&mut self, engine: &Engine, report: Report<'_>) {
        let broken = self.broken.take().map(|(lane, _)| lane);
        let lanes = self.lanes.iter_mut().filter_map(Option::take);
        for lane in lanes.chain(broken) {
            self.saturated |= lane.finish(engine, report);
        }
    }

    pub(super) fn held_from(&self) -> Option<u64> {
        let broken = self.broken.iter().map(|(lane, _)| lane);
        let lanes = self.lanes.iter().flatten().chain(broken);
        // Where there is text, what is not decoded yet may be the end of something.
        let is_text = self.lanes.iter().any(Option::is_some);
        let block = self.run.filter(|_| is_text).map(|(_, at)| at);
        lanes.filter_map(Lane::held_from).chain(block).min()
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.saturated
    }

    /// Where the next run begins; `None` until more bytes tell.
    fn find(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) -> Option<u64> {
        if let Some((lane, end)) = self.broken.take() {
            match line_break(view.from(end)) {
                Break::Until(bytes) => {
                    let mut lane = lane;
                    lane.next = end + bytes as u64;
                    let start = lane.next;
                    let [first, ..] = &mut self.lanes;
                    *first = Some(lane);
                    return Some(start);
                }
                Break::Open if !view.ended => {
                    self.broken = Some((lane, end));
                    return None;
                }
                Break::Open | Break::None => self.saturated |= lane.finish(engine, report),
            }
        }
        self.next = self.next.next_multiple_of(BLOCK_LONG);
        while let Some(at) = view.planes.find(
            view.place(self.next),
            |hints| hints.encoded,
            |block| wholes(block.encoded()),
        ) {
            self.next = view.base + at as u64;
            let floor = self.next.saturating_sub(BLOCK_LONG - 1).max(self.floor);
            let before = view.between(floor.max(view.base), self.next);
            let before = before.iter().rev().take_while(|byte| is_run(**byte));
            let start = self.next - before.count() as u64;
            let run = view.from(start);
            let run = run.get(..RUN_MIN).unwrap_or(run);
            if let Some(end) = run.iter().position(|byte| !is_run(*byte)) {
                self.floor = start + end as u64;
                self.next += BLOCK_LONG;
            } else if run.len() == RUN_MIN {
                return Some(start);
            } else {
                // At the end of the window; nothing is lost where nothing follows.
                return None;
            }
        }
        self.next = self.next.max(view.end() / BLOCK_LONG * BLOCK_LONG);
        None
    }

    /// Tries and decodes a whole block.
    fn block(
        &mut self,
        engine: &Engine,
        view: View<'_>,
        (from, at): (u64, u64),
        block: &[u8; BLOCK],
        report: Report<'_>,
    ) {
        let is_hex = block.iter().all(u8::is_ascii_hexdigit);
        let values = Values::of(block);
        let ends = at + BLOCK_LONG;
        for (unit, slot) in UNITS.iter().zip(&mut self.lanes) {
            // Text in base64 does not look like hexadecimal.
            let readable = match unit.coding {
                Coding::Hex => is_hex && unit.reads(block),
                _ => !is_hex && values.read(unit.place),
            };
            if readable && slot.is_none() {
                // What is before may be part of it.
                let start = at.saturating_sub(BLOCK_LONG).max(from);
                let lane = Lane::new(unit.coding, self.layers, start + unit.place);
                *slot = Some(lane);
            }
            let Some(lane) = slot else {
                continue;
            };
            if !readable || (ends - from).is_multiple_of(PIECE) {
                unit.decode(engine, lane, view, ends, report);
            }
            if !readable && let Some(lane) = slot.take() {
                self.saturated |= lane.finish(engine, report);
            }
        }
    }

    /// The run ends before `end`.
    fn end(&mut self, engine: &Engine, view: View<'_>, from: u64, end: u64, report: Report<'_>) {
        let breaks = matches!(view.from(end).first(), None | Some(b'\r' | b'\n' | b'\\'));
        for (unit, slot) in UNITS.iter().zip(&mut self.lanes) {
            let lane = slot.take().or_else(|| {
                let start = unit.reads_last(view, from, end)?;
                Some(Lane::new(unit.coding, self.layers, start))
            });
            let Some(mut lane) = lane else {
                continue;
            };
            unit.decode(engine, &mut lane, view, end, report);
            if breaks && lane.next == end && self.broken.is_none() && unit.group > 2 {
                self.broken = Some((lane, end));
                continue;
            }
            // What is left of a group of base64 is bytes, too.
            let mut bytes = [0; BLOCK];
            let left = view.between(lane.next, end);
            let decoded = unit.coding.decode(left, &mut bytes);
            let bytes = bytes.get(..decoded.count).unwrap_or_default();
            lane.push(engine, bytes, end, report);
            self.saturated |= lane.finish(engine, report);
        }
    }
}

impl Unit {
    /// Whether a block decodes to text.
    fn reads(self, block: &[u8]) -> bool {
        let place = usize::try_from(self.place).unwrap_or(0);
        let tried = block.get(place..place + self.tried).unwrap_or_default();
        tried.len() == self.tried
            && tried
                .chunks_exact(self.group)
                .all(|group| read(group, is_text))
    }

    /// Where to decode from, if the last characters of a run decode to text.
    fn reads_last(self, view: View<'_>, from: u64, end: u64) -> Option<u64> {
        let first = from + self.place;
        let group = self.group as u64;
        let last = end.checked_sub(self.tried as u64)?.checked_sub(first)?;
        let tried = first + last / group * group;
        let text = view.between(tried, tried + self.tried as u64);
        let mut groups = text.chunks_exact(self.group);
        let hex = self.coding != Coding::Hex || text.iter().all(u8::is_ascii_hexdigit);
        let reads = hex && groups.all(|group| read(group, is_text));
        reads.then(|| tried.saturating_sub(BLOCK_LONG).max(first))
    }

    /// Decodes all whole groups before `end`.
    fn decode(
        self,
        engine: &Engine,
        lane: &mut Lane,
        view: View<'_>,
        end: u64,
        report: Report<'_>,
    ) {
        let raw = view.between(lane.next, end);
        let groups = raw.chunks_exact(self.group);
        let next = end.saturating_sub(groups.remainder().len() as u64);
        let count = if self.group == 2 { 1 } else { 3 };
        let (mut bytes, mut written) = ([0; PIECE_MOST], 0);
        for (place, group) in bytes.chunks_exact_mut(count).zip(groups) {
            match (place, group) {
                ([byte], [high, low]) => *byte = pair(*high, *low),
                ([one, two, three], [a, b, c, d]) => {
                    [*one, *two, *three] = quartet([*a, *b, *c, *d]);
                }
                _ => {}
            }
            written += count;
        }
        let bytes = bytes.get(..written).unwrap_or_default();
        lane.push(engine, bytes, next.max(lane.next), report);
    }
}

/// What the characters of a block stand for in base64, six bits each.
#[derive(Clone, Copy)]
struct Values(u128);

impl Values {
    fn of(block: &[u8; BLOCK]) -> Self {
        let bits = |half: &[u8]| {
            half.iter()
                .fold(0, |bits, byte| bits << 6 | u64::from(value_of(*byte)))
        };
        let (one, other) = block.split_at(BLOCK / 2);
        Self(u128::from(bits(one)) << 48 | u128::from(bits(other)))
    }

    /// Whether the nine bytes from a character on are text.
    fn read(self, place: u64) -> bool {
        let bits = self.0 << (32 + 6 * place);
        let (eight, ninth) = (high(bits), high(bits << 64).to_be_bytes());
        // Of random bytes half are none of ASCII.
        eight & (ONES * 0x80) == 0
            && ninth.first().is_some_and(|byte| is_text(*byte))
            && (are_printable(eight) || eight.to_be_bytes().into_iter().all(is_text))
    }
}

/// One in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// Whether eight bytes, all of ASCII, are characters from the space to the tilde: nothing is
/// carried from one byte to the next.
#[inline]
fn are_printable(eight: u64) -> bool {
    let (from_space, delete) = (eight + ONES * 0x60, eight + ONES);
    from_space & !delete & (ONES * 0x80) == ONES * 0x80
}

#[inline]
fn high(bits: u128) -> u64 {
    (bits >> 64) as u64
}

/// Decodes one group, until a byte is not wanted.
#[inline]
fn read(group: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    match *group {
        [high, low] => wanted(pair(high, low)),
        [a, b, c, d] => quartet([a, b, c, d]).into_iter().all(wanted),
        _ => false,
    }
}

/// The byte of two hexadecimal digits.
#[inline]
fn pair(high: u8, low: u8) -> u8 {
    low_byte(digit(high) * 16 + digit(low))
}

/// The bytes of four characters of base64.
#[inline]
fn quartet(group: [u8; 4]) -> [u8; 3] {
    let bits = group.iter().fold(0, |bits, byte| bits << 6 | value(*byte));
    [bits >> 16, bits >> 8, bits].map(low_byte)
}

enum Break {
    /// The next line goes on after so many bytes.
    Until(usize),
    /// More bytes tell.
    Open,
    /// None.
    None,
}

/// The end of a line, as it is or escaped in a string, and what the next is indented with.
fn line_break(bytes: &[u8]) -> Break {
    let mut at = 0;
    while at < BREAK_MAX {
        let rest = bytes.get(at..).unwrap_or_default();
        at += match rest {
            [] | [b'\\'] => return Break::Open,
            [b'\r' | b'\n', ..] => 1,
            [b'\\', b'r' | b'n', ..] => 2,
            [b' ' | b'\t', ..] if at > 0 => 1,
            [byte, ..] if at > 0 && is_run(*byte) => return Break::Until(at),
            _ => return Break::None,
        };
    }
    Break::None
}

/// The first bit of each whole block of a run.
#[inline]
fn wholes(bits: u64) -> u64 {
    let two = bits & bits >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> 8 & 0x0001_0001_0001_0001
}

#[inline]
fn is_run(byte: u8) -> bool {
    value_of(byte) < 64
}

#[inline]
fn value(byte: u8) -> u32 {
    u32::from(value_of(byte))
}

/// What a hexadecimal digit stands for.
#[inline]
fn digit(byte: u8) -> u32 {
    // The letters are 0x41 and 0x61.
    u32::from((byte & 15) + 9 * (byte >> 6))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low byte is meant")]
fn low_byte(bits: u32) -> u8 {
    bits as u8
}

/// Letters, digits, punctuation and ends of lines, and the zeros of UTF-16.
#[inline]
fn is_text(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

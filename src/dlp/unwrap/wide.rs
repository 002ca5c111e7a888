//! UTF-16, decoded where every second byte is zero.
//!
//! Which end is first makes no difference: the characters stand between the zeros.

use memchr::memchr;

use super::super::coding::Coding;
use super::super::engine::Engine;
use super::super::pass::Report;
use super::View;
use super::lane::Lane;

/// Bytes that must have the form; a shorter text holds no token.
const LEAST: usize = 16;
/// Characters that are decoded in one go.
const BATCH: usize = 64;

/// The UTF-16 of one stream.
#[derive(Debug)]
pub struct Wide {
    layers: u8,
    /// What is before was looked at.
    next: u64,
    lane: Option<Lane>,
    saturated: bool,
}

impl Wide {
    pub(super) fn new(layers: u8) -> Self {
        Self {
            layers,
            next: 0,
            lane: None,
            saturated: false,
        }
    }

    pub(super) fn look(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) {
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

    /// While there is some, its last character may not be decoded yet.
    pub(super) fn held_from(&self) -> Option<u64> {
        let lane = self.lane.as_ref()?;
        Some(lane.held_from().unwrap_or(lane.next).min(lane.next))
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.saturated
    }

    /// Looks for text; the answer is whether there is some.
    fn find(&mut self, view: View<'_>) -> bool {
        while let Some(skip) = memchr(0, view.from(self.next)) {
            let zero = self.next + skip as u64;
            let before = zero.checked_sub(1).filter(|at| *at >= view.base);
            let before =
                before.filter(|at| view.from(*at).first().is_some_and(|byte| is_text(*byte)));
            let start = before.unwrap_or(zero + 1);
            let text = view.from(start);
            let text = text.get(..LEAST).unwrap_or(text);
            let mut pairs = text.chunks(2);
            if pairs.all(|pair| match pair {
                [character] | [character, 0] => is_text(*character),
                _ => false,
            }) {
                if text.len() < LEAST {
                    // More bytes tell; nothing is lost where none follow.
                    self.next = zero;
                    return false;
                }
                self.lane = Some(Lane::new(Coding::Utf16Le, self.layers, start));
                return true;
            }
            self.next = zero + 1;
        }
        self.next = view.end();
        false
    }

    /// Decodes; the answer is whether the text ended.
    fn go_on(
        &mut self,
        engine: &Engine,
        mut lane: Lane,
        view: View<'_>,
        report: Report<'_>,
    ) -> bool {
        loop {
            let mut bytes = Vec::with_capacity(BATCH);
            let (mut ended, mut waits) = (false, false);
            let mut next = lane.next;
            for pair in view.from(lane.next).chunks(2).take(BATCH) {
                match pair {
                    [character, 0] if is_text(*character) => {
                        bytes.push(*character);
                        next += 2;
                    }
                    [_] if !view.ended => waits = true,
                    // The last character, if its zero is the one before.
                    [character, ..] if is_text(*character) => {
                        bytes.push(*character);
                        next += 1;
                        ended = true;
                    }
                    _ => ended = true,
                }
                if ended || waits {
                    break;
                }
            }
            let idle = bytes.is_empty();
            lane.push(engine, &bytes, next, report);
            if ended {
                self.next = lane.next;
                self.saturated |= lane.finish(engine, report);
                return true;
            }
            if idle || waits {
                self.lane = Some(lane);
                return false;
            }
        }
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

//! The engine over bytes as they come, as they are.
//!
//! A [`Pass`] remembers the bytes that open tokens and the search may still need, at most
//! 16 KiB, and what was found in them. For every way of cutting the same bytes it finds the
//! same; and [`Pass::held`] says how many of the last bytes must not go on yet: those of a
//! token that may be one, and none else.

use std::collections::HashSet;

use super::coding::{Coding, worked};
use super::engine::{Candidate, Engine, Finding, PAST, Token, Verdict};
use super::numbers::Numbers;
use super::phrases::Phrases;
use super::planes::{BLOCK, Planes};
use super::prefilter::Place;
use super::shape::LONGEST;
use super::view::View;
use super::wallet::Wallets;

/// Bytes that are looked at in one go.
pub const SLICE: usize = 8 * 1024;
/// Bytes of the past that are remembered: what the search needs, which looks for names before
/// values, and what shows a message before them.
const KEPT: usize = if PAST > 320 { PAST } else { 320 };
/// Most tokens that may be open at one place: far more than shapes can overlap.
const OPEN_MAX: usize = 64;

/// So often may each byte be read as one of a token, on average, beyond some: text is read less
/// than twice, in hexadecimal six times, and who writes the beginnings of tokens in a row wants
/// it to take long.
const WORK_MOST: u64 = 16;
const WORK_FREE: u64 = 1 << 20;

/// The searches for what has no shape.
#[derive(Debug, Default)]
struct Searches {
    numbers: Numbers,
    phrases: Phrases,
    wallets: Wallets,
}

impl Searches {
    fn look(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) {
        let kinds = engine.kinds();
        self.numbers.look(kinds, view, report);
        self.phrases.look(kinds, view, report);
        self.wallets.look(kinds, view, report);
    }

    fn held_from(&self) -> Option<u64> {
        let (numbers, phrases) = (self.numbers.held_from(), self.phrases.held_from());
        let all = [numbers, phrases, self.wallets.held_from()];
        all.into_iter().flatten().min()
    }

    fn needed_from(&self) -> u64 {
        let (numbers, phrases) = (self.numbers.needed_from(), self.phrases.needed_from());
        numbers.min(phrases).min(self.wallets.needed_from())
    }
}

/// Told of each finding, with the bytes of the token.
pub type Report<'a> = &'a mut dyn FnMut(Finding, &[u8]);

/// Where a scan stands in one stream of bytes.
#[derive(Debug, Default)]
pub struct Pass {
    /// The last bytes.
    window: Vec<u8>,
    /// What kind of byte stands where in it, until it is forgotten.
    planes: Planes,
    /// How many bytes came before the window: whole blocks of the planes.
    base: u64,
    /// Where the search goes on, in the window.
    place: Place,
    open: Vec<Candidate>,
    /// The findings that begin in the window: a short run may be searched again, as the name
    /// before a value, and none is told twice.
    told: HashSet<Finding, foldhash::fast::RandomState>,
    searches: Searches,
    saturated: bool,
    /// Bytes that came, and those that were read of what may have been tokens.
    seen: u64,
    work: u64,
    held: usize,
}

impl Pass {
    /// Looks at the next bytes, at most [`SLICE`] of them. What it may do without then is
    /// dropped by [`Pass::forget`].
    pub fn push(&mut self, engine: &Engine, slice: &[u8], report: Report<'_>) {
        self.window.extend_from_slice(slice);
        self.seen += slice.len() as u64;
        self.look(engine, false, report);
    }

    /// No bytes come any more: what is open is decided.
    pub fn finish(&mut self, engine: &Engine, report: Report<'_>) {
        self.look(engine, true, report);
        self.open.clear();
        self.held = 0;
    }

    /// The last bytes. `ended`: nothing follows them.
    pub(super) fn view(&self, ended: bool) -> View<'_> {
        View {
            window: &self.window,
            base: self.base,
            ended,
            planes: &self.planes,
        }
    }

    /// How many of the last bytes must not go on yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether more tokens were open at once than can be followed, or reading their beginnings
    /// took too long: then nobody knows whether one was missed.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.saturated
    }

    fn look(&mut self, engine: &Engine, ended: bool, report: Report<'_>) {
        let before = worked();
        self.planes = Planes::of(&self.window);
        let window = self.window.as_slice();
        let mut still_open = Vec::new();
        let mut settle = |verdict: Verdict| match verdict {
            Verdict::Nothing => {}
            Verdict::Open(candidate) => still_open.push(candidate),
            Verdict::Found(token) => tell(window, self.base, &token, &mut |finding, data| {
                if self.told.insert(finding) {
                    report(finding, data);
                }
            }),
        };
        for candidate in self.open.drain(..) {
            settle(engine.go_on(window, candidate, ended));
        }
        engine.search(window, &self.planes, &mut self.place, &mut |at, entry| {
            settle(engine.read(window, at, entry, ended));
        });
        self.saturated |= still_open.len() > OPEN_MAX;
        still_open.truncate(OPEN_MAX);
        self.open = still_open;
        self.work += worked().wrapping_sub(before);
        self.saturated |= self.work > WORK_FREE + WORK_MOST * self.seen;
        let view = View {
            window,
            base: self.base,
            ended,
            planes: &self.planes,
        };
        self.searches.look(engine, view, report);
    }

    /// Drops what nothing needs any more; the last `KEPT` bytes stay.
    pub fn forget(&mut self) {
        let oldest = self.open.iter().map(|candidate| candidate.start).min();
        let past = self.place.needed().saturating_sub(KEPT);
        let needed = self.searches.needed_from().saturating_sub(self.base);
        let past = past.min(usize::try_from(needed).unwrap_or(past));
        let drop = oldest.unwrap_or(past).min(past) / BLOCK * BLOCK;
        self.planes = Planes::default();
        if drop == 0 {
            return;
        }
        self.window.drain(..drop);
        self.base += drop as u64;
        self.told.retain(|finding| finding.start >= self.base);
        self.place.forget(drop);
        for candidate in &mut self.open {
            candidate.start -= drop;
            candidate.hold = candidate.hold.map(|at| at.saturating_sub(drop));
        }
        debug_assert!(self.window.len() <= LONGEST + KEPT + BLOCK + SLICE);
    }

    /// Decides what is held, after the last bytes of a chunk.
    pub fn hold(&mut self, engine: &Engine) {
        let beginning = engine.beginning(&self.window);
        let oldest = self
            .open
            .iter()
            .filter_map(|candidate| candidate.hold)
            .min();
        let from = oldest.unwrap_or(beginning).min(beginning);
        let held = self.searches.held_from();
        let held = held.map_or(u64::MAX, |at| at.saturating_sub(self.base));
        let from = from.min(usize::try_from(held).unwrap_or(from));
        self.held = self.window.len().saturating_sub(from);
    }
}

/// Looks at bytes that are all there, without copying them.
pub(super) fn scan_view(engine: &Engine, view: View<'_>, report: Report<'_>) {
    let window = view.window;
    engine.search(
        window,
        view.planes,
        &mut Place::default(),
        &mut |at, entry| {
            if let Verdict::Found(token) = engine.read(window, at, entry, true) {
                tell(window, 0, &token, report);
            }
        },
    );
    Searches::default().look(engine, view, report);
}

/// Reports a token, with its bytes as they are when decoded.
fn tell(window: &[u8], base: u64, token: &Token, report: Report<'_>) {
    let finding = Finding {
        start: base + token.start as u64,
        length: u32::try_from(token.length).unwrap_or(u32::MAX),
        detector: token.detector,
        coding: token.coding,
    };
    match token.coding {
        Coding::Plain => {
            let end = token.start.saturating_add(token.length);
            report(finding, window.get(token.start..end).unwrap_or_default());
        }
        _ => report(finding, &token.decoded),
    }
}

/// As [`scan_view`].
#[cfg(test)]
pub(super) fn scan(engine: &Engine, bytes: &[u8], report: Report<'_>) {
    scan_view(engine, View::whole(bytes, &Planes::of(bytes)), report);
}

#[cfg(test)]
mod tests;

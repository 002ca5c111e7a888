//! The engine over bytes as they come, as they are and unwrapped.

use super::engine::{Engine, Finding};
use super::pass::{self, Pass, SLICE};
use super::planes::Planes;
use super::unwrap::Unwrap;
use super::view::View;

pub use super::pass::Report;

/// How many encodings on top of each other are taken off. One more is seen through by what
/// the engine knows of encoded beginnings, unless it is one of escapes.
const LAYERS: u8 = 2;

/// Where a scan stands in one stream of bytes.
#[derive(Debug)]
pub struct Stream {
    pass: Pass,
    unwrap: Option<Unwrap>,
}

impl Default for Stream {
    fn default() -> Self {
        Self::layers(LAYERS)
    }
}

impl Stream {
    /// A stream of which nothing has come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One from which so many encodings are taken off.
    pub(super) fn layers(layers: u8) -> Self {
        Self {
            pass: Pass::default(),
            unwrap: layers.checked_sub(1).map(Unwrap::new),
        }
    }

    /// Looks at the next bytes.
    pub fn push(&mut self, engine: &Engine, bytes: &[u8], report: Report<'_>) {
        for slice in bytes.chunks(SLICE) {
            self.pass.push(engine, slice, report);
            if let Some(unwrap) = &mut self.unwrap {
                unwrap.look(engine, self.pass.view(false), report);
            }
            self.pass.forget();
        }
        if let Some(unwrap) = &mut self.unwrap {
            unwrap.flush(engine, report);
        }
        self.pass.hold(engine);
    }

    /// No bytes come any more: what is open is decided.
    pub fn finish(&mut self, engine: &Engine, report: Report<'_>) {
        self.pass.finish(engine, report);
        if let Some(unwrap) = &mut self.unwrap {
            unwrap.look(engine, self.pass.view(true), report);
            unwrap.finish(engine, report);
        }
    }

    /// How many of the last bytes must not go on yet.
    #[must_use]
    pub fn held(&self) -> usize {
        let all = self.pass.view(false).end();
        let from = self.unwrap.as_ref().and_then(Unwrap::held_from);
        let unwrapped = from.map_or(0, |from| all.saturating_sub(from));
        let unwrapped = usize::try_from(unwrapped).unwrap_or(usize::MAX);
        self.pass.held().max(unwrapped)
    }

    /// Whether more tokens were open at once than can be followed, or reading their beginnings
    /// took too long: then nobody knows whether one was missed.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.pass.is_saturated() || self.unwrap.as_ref().is_some_and(Unwrap::is_saturated)
    }

    /// How many bytes came before the first that is still remembered.
    pub(super) fn remembered_from(&self) -> u64 {
        self.pass.view(false).base
    }
}

/// Looks at bytes that are all there. Few of them are not copied.
pub fn scan(engine: &Engine, bytes: &[u8], report: Report<'_>) {
    if bytes.len() < engine.least() {
        return;
    }
    if bytes.len() > SLICE {
        let mut stream = Stream::new();
        stream.push(engine, bytes, report);
        stream.finish(engine, report);
        return;
    }
    let planes = Planes::of(bytes);
    let view = View::whole(bytes, &planes);
    pass::scan_view(engine, view, report);
    let mut unwrap = Unwrap::new(LAYERS - 1);
    unwrap.look(engine, view, report);
    unwrap.finish(engine, report);
}

/// A finding in decoded bytes, where it stands in those they were decoded from.
pub(super) fn moved(finding: Finding, coding: super::Coding, from: u64, to: u64) -> Finding {
    Finding {
        start: from,
        length: u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX),
        coding,
        ..finding
    }
}

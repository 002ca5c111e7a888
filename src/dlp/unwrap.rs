//! Encodings taken off: what stands in base64 or hexadecimal is decoded where it decodes to
//! text, escapes where there are some, and UTF-16; all is scanned as if it stood there.
//!
//! The engine itself finds the encoded beginnings of tokens. This finds the rest: tokens
//! without a fixed beginning, those of which characters are escaped, and encodings on
//! top of each other. It costs nearly nothing where nothing is encoded.

mod escapes;
mod lane;
mod runs;
mod wide;

use super::engine::Engine;
use super::pass::Report;
use super::view::View;
use escapes::Escapes;
use runs::Runs;
use wide::Wide;

/// What is decoded of one stream.
#[derive(Debug)]
pub struct Unwrap {
    runs: Runs,
    escapes: Escapes,
    wide: Wide,
}

impl Unwrap {
    /// Of a stream of which nothing has come; from what is decoded, so many more encodings
    /// are taken off.
    #[must_use]
    pub fn new(layers: u8) -> Self {
        Self {
            runs: Runs::new(layers),
            escapes: Escapes::new(layers),
            wide: Wide::new(layers),
        }
    }

    /// Looks at what is new in `view`.
    pub(super) fn look(&mut self, engine: &Engine, view: View<'_>, report: Report<'_>) {
        self.runs.look(engine, view, report);
        self.escapes.look(engine, view, report);
        self.wide.look(engine, view, report);
    }

    /// Scans what is decoded so far, so that [`Unwrap::held_from`] is right.
    pub fn flush(&mut self, engine: &Engine, report: Report<'_>) {
        self.runs.flush(engine, report);
        self.escapes.flush(engine, report);
        self.wide.flush(engine, report);
    }

    /// No bytes come any more.
    pub fn finish(&mut self, engine: &Engine, report: Report<'_>) {
        self.runs.finish(engine, report);
        self.escapes.finish(engine, report);
        self.wide.finish(engine, report);
    }

    /// The first byte that must not go on yet.
    #[must_use]
    pub fn held_from(&self) -> Option<u64> {
        let (runs, escapes) = (self.runs.held_from(), self.escapes.held_from());
        let all = [runs, escapes, self.wide.held_from()];
        all.into_iter().flatten().min()
    }

    /// As [`super::Stream::is_saturated`].
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.runs.is_saturated() || self.escapes.is_saturated() || self.wide.is_saturated()
    }
}

#[cfg(test)]
mod tests;

//! Decoded bytes on their way into a scan of their own.

use std::collections::VecDeque;

use super::super::coding::Coding;
use super::super::engine::Engine;
use super::super::pass::Report;
use super::super::stream::{Stream, moved};

/// Decoded bytes that are scanned at once.
const BUFFER: usize = 4096;
/// How finely is known which bytes were decoded to what.
const GRAIN: u64 = 32;

/// One way of decoding, and the scan of what it gives.
#[derive(Debug)]
pub struct Lane {
    coding: Coding,
    stream: Box<Stream>,
    buffer: Vec<u8>,
    /// Decoded bytes in all.
    decoded: u64,
    /// After how many decoded bytes which byte was to be decoded next.
    marks: VecDeque<(u64, u64)>,
    /// Where decoding goes on.
    pub next: u64,
}

impl Lane {
    /// Decodes from `next` on.
    pub fn new(coding: Coding, layers: u8, next: u64) -> Self {
        Self {
            coding,
            stream: Box::new(Stream::layers(layers)),
            buffer: Vec::with_capacity(BUFFER),
            decoded: 0,
            marks: VecDeque::new(),
            next,
        }
    }

    /// What the bytes from [`Lane::next`] up to `next` were decoded to.
    pub fn push(&mut self, engine: &Engine, bytes: &[u8], next: u64, report: Report<'_>) {
        let coarse = |(_, raw): &(u64, u64)| self.next < raw.saturating_add(GRAIN);
        if !self.marks.back().is_some_and(coarse) {
            self.marks.push_back((self.decoded, self.next));
        }
        self.next = next;
        self.decoded += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush(engine, report);
        }
    }

    /// Scans what is decoded.
    pub fn flush(&mut self, engine: &Engine, report: Report<'_>) {
        let Self {
            coding,
            stream,
            marks,
            next,
            ..
        } = self;
        stream.push(engine, &self.buffer, &mut |finding, data| {
            let to = finding.start.saturating_add(u64::from(finding.length));
            let to = after(marks, to).unwrap_or(*next);
            let from = before(marks, finding.start);
            report(moved(finding, *coding, from, to), data);
        });
        self.buffer.clear();
        let remembered = stream.remembered_from();
        while marks
            .get(1)
            .is_some_and(|(decoded, _)| *decoded <= remembered)
        {
            marks.pop_front();
        }
    }

    /// Nothing more is decoded; the answer is whether the scan was saturated.
    pub fn finish(mut self, engine: &Engine, report: Report<'_>) -> bool {
        self.flush(engine, report);
        let Self {
            coding,
            mut stream,
            marks,
            next,
            ..
        } = self;
        stream.finish(engine, &mut |finding, data| {
            let to = finding.start.saturating_add(u64::from(finding.length));
            let to = after(&marks, to).unwrap_or(next);
            let from = before(&marks, finding.start);
            report(moved(finding, coding, from, to), data);
        });
        stream.is_saturated()
    }

    /// The first byte that must not go on yet.
    pub fn held_from(&self) -> Option<u64> {
        let held = self.stream.held() as u64;
        (held > 0).then(|| before(&self.marks, self.decoded.saturating_sub(held)))
    }
}

/// Where the decoding of byte `decoded` begins, at the latest.
fn before(marks: &VecDeque<(u64, u64)>, decoded: u64) -> u64 {
    let known = marks.iter().rev().find(|(mark, _)| *mark <= decoded);
    known.or(marks.front()).map_or(0, |(_, raw)| *raw)
}

/// Where the decoding of the bytes up to `decoded` ends, at the earliest.
fn after(marks: &VecDeque<(u64, u64)>, decoded: u64) -> Option<u64> {
    let known = marks.iter().find(|(mark, _)| *mark >= decoded);
    known.map(|(_, raw)| *raw)
}

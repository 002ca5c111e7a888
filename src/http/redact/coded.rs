//! A compressed body: its bytes pass as they are, beside a decoder that looks ahead of them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::coding::Coding;
use super::decode::Decoder;
use crate::credential::echo::{Found, Needles, Scan};
use crate::http::body::BodyError;

/// How many bytes are fed at a time at the end of what came: as fine as that is what is passed
/// on, as what is open stands there.
const PIECE: usize = 1024;
/// So many bytes are that end. Before it more are fed at a time, as each step costs.
const FINE: usize = 4 * PIECE;
const COARSE: usize = 16 * PIECE;
/// Room for what is decoded in one step.
pub(super) const ROOM: usize = 32 * 1024;
/// Most bytes that wait: a whole Zstandard block, and what may stand between two of them.
const WAITING: usize = 1 << 20;

/// Why a body that decodes to more than it may is cut.
pub(super) const OVER_BUDGET: &str = "it decodes to more bytes than limits.decoded_bytes";

/// Why a body is cut whose decoder takes and gives nothing.
pub(super) const STUCK: &str = "it does not go on";

/// Passes a compressed body on, each byte once all that it can stand for was looked at.
#[derive(Debug)]
pub(super) struct Coded {
    decoder: Decoder,
    /// Over what is decoded.
    decoded: Scan,
    /// Over the bytes themselves: names and comments in headers, blocks to be skipped.
    plain: Scan,
    /// Bytes that came and may not go yet, and how many went before them.
    waiting: BytesMut,
    passed: u64,
    fed: u64,
    produced: u64,
    budget: u64,
    /// Places in the body that all bytes before have settled at, with how much was decoded
    /// by then; both grow.
    settled: VecDeque<(u64, u64)>,
    unsettled: bool,
    room: Box<[u8]>,
}

impl Coded {
    /// For a body in this coding that may decode to `budget` bytes.
    pub(super) fn new(coding: Coding, needles: &Arc<Needles>, budget: u64) -> Option<Self> {
        Some(Self {
            decoder: Decoder::new(coding)?,
            decoded: Scan::new(Arc::clone(needles), false),
            plain: Scan::new(Arc::clone(needles), false),
            waiting: BytesMut::new(),
            passed: 0,
            fed: 0,
            produced: 0,
            budget,
            settled: VecDeque::new(),
            unsettled: false,
            room: vec![0; ROOM].into_boxed_slice(),
        })
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes it has decoded to.
    pub(super) fn produced(&self) -> u64 {
        self.produced
    }

    /// Takes what came next, gives back what may go.
    pub(super) fn pass(
        &mut self,
        data: &Bytes,
        last: bool,
        found: &mut Found,
    ) -> Result<Bytes, BodyError> {
        self.waiting.extend_from_slice(data);
        if !self.plain.is_clean(data, last, found) {
            return Err(BodyError::Echo);
        }
        let fine = data.len().saturating_sub(FINE);
        let (before, end) = data.split_at_checked(fine).unwrap_or((&[], data));
        for piece in before.chunks(COARSE).chain(end.chunks(PIECE)) {
            self.feed(piece, found)?;
        }
        if last {
            if !self.decoded.is_clean(b"", true, found) {
                return Err(BodyError::Echo);
            }
            if self.unsettled {
                return Err(BodyError::Undecodable("it ends in the middle of a block"));
            }
            return Ok(self.waiting.split().freeze());
        }
        self.release()
    }

    fn feed(&mut self, mut piece: &[u8], found: &mut Found) -> Result<(), BodyError> {
        loop {
            let step = self
                .decoder
                .step(piece, &mut self.room)
                .map_err(BodyError::Undecodable)?;
            piece = piece.get(step.read..).unwrap_or_default();
            self.fed = self.fed.saturating_add(step.read as u64);
            self.produced = self.produced.saturating_add(step.written as u64);
            let decoded = self.room.get(..step.written).unwrap_or_default();
            if !self.decoded.is_clean(decoded, false, found) {
                return Err(BodyError::Echo);
            }
            if self.produced > self.budget {
                return Err(BodyError::Undecodable(OVER_BUDGET));
            }
            self.unsettled = !step.settled;
            if step.settled {
                self.mark();
            }
            let stuck = step.read == 0 && step.written == 0;
            if piece.is_empty() && (step.written < ROOM || stuck) {
                return Ok(());
            }
            if stuck {
                return Err(BodyError::Undecodable(STUCK));
            }
        }
    }

    fn mark(&mut self) {
        match self.settled.back_mut() {
            Some((fed, produced)) if *produced == self.produced => *fed = self.fed,
            Some(_) | None => self.settled.push_back((self.fed, self.produced)),
        }
    }

    /// Up to the last settled place before which nothing is open.
    fn release(&mut self) -> Result<Bytes, BodyError> {
        let clean = self.produced.saturating_sub(self.decoded.held() as u64);
        let came = self.passed.saturating_add(self.waiting.len() as u64);
        let readable = came.saturating_sub(self.plain.held() as u64);
        let mut until = self.passed;
        while let Some(&(fed, produced)) = self.settled.front() {
            if produced > clean {
                break;
            }
            until = fed;
            if self.settled.len() == 1 {
                break;
            }
            self.settled.pop_front();
        }
        let until = until.min(readable).max(self.passed);
        let count = usize::try_from(until.saturating_sub(self.passed)).unwrap_or(0);
        let count = count.min(self.waiting.len());
        self.passed = self.passed.saturating_add(count as u64);
        let passed = self.waiting.split_to(count).freeze();
        if self.waiting.len() > WAITING {
            return Err(BodyError::Undecodable(
                "too much of it gives nothing to look at",
            ));
        }
        Ok(passed)
    }
}

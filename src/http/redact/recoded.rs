//! A compressed body that is handed on decoded, from its first byte on, so that what it echoes
//! can be masked.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::coded::{OVER_BUDGET, ROOM, STUCK};
use super::coding::Coding;
use super::decode::Decoder;
use crate::credential::echo::{Found, Needles, Scan};
use crate::http::body::BodyError;

/// Decodes a body piece by piece: however much a piece stands for, no more than [`ROOM`] bytes
/// of it are there at a time.
#[derive(Debug)]
pub(super) struct Recoded {
    decoder: Decoder,
    scan: Scan,
    /// What came and was not fed yet.
    input: Bytes,
    /// Whether the decoder may have more to give without being fed.
    full: bool,
    state: State,
    produced: u64,
    budget: u64,
    room: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing came: an empty body is no body, whatever its coding.
    Untouched,
    Begun,
    Ended,
}

impl Recoded {
    /// For a body in this coding that may decode to `budget` bytes.
    pub(super) fn new(coding: Coding, needles: &Arc<Needles>, budget: u64) -> Option<Self> {
        Some(Self {
            decoder: Decoder::new(coding)?,
            scan: Scan::new(Arc::clone(needles), false),
            input: Bytes::new(),
            full: false,
            state: State::Untouched,
            produced: 0,
            budget,
            room: vec![0; ROOM].into_boxed_slice(),
        })
    }

    /// Whether something is still to come of what came.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Begun
    }

    /// Takes what came next; all that came before must have been taken out.
    pub(super) fn feed(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.state = State::Begun;
            self.input = data;
        }
    }

    /// The next of what it decodes to, masked; empty once there is no more without being fed.
    pub(super) fn next(&mut self, found: &mut Found) -> Result<Bytes, BodyError> {
        while self.full || !self.input.is_empty() {
            let step = self
                .decoder
                .step(&self.input, &mut self.room)
                .map_err(BodyError::Undecodable)?;
            if step.read == 0 && step.written == 0 && !self.input.is_empty() {
                return Err(BodyError::Undecodable(STUCK));
            }
            self.input.advance(step.read.min(self.input.len()));
            self.full = step.written == ROOM;
            self.produced = self.produced.saturating_add(step.written as u64);
            if self.produced > self.budget {
                return Err(BodyError::Undecodable(OVER_BUDGET));
            }
            let decoded = self.room.get(..step.written).unwrap_or_default();
            let passed = self
                .scan
                .pass(Bytes::copy_from_slice(decoded), false, found);
            if !passed.is_empty() {
                return Ok(passed);
            }
        }
        Ok(Bytes::new())
    }

    /// The rest, once nothing comes any more. The length that would tell a reader that
    /// something is missing is gone, so it is told here.
    pub(super) fn end(&mut self, found: &mut Found) -> Result<Bytes, BodyError> {
        let whole = self.state != State::Begun || self.decoder.is_at_end();
        self.state = State::Ended;
        if !whole {
            return Err(BodyError::Undecodable("it ends before its end"));
        }
        Ok(self.scan.pass(Bytes::new(), true, found))
    }
}

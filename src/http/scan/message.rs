//! Messages of a WebSocket, held against the detectors as bodies are: as they stream, across
//! their fragments, with no byte of what may become a finding let go.

use bytes::{Bytes, BytesMut};

use super::masks::Masks;
use super::{Place, Ruling, Scanner, graver};
use crate::dlp::{Finding, Stream};
use crate::error::Refusal;

/// What an agent sends over one WebSocket, one message after the other.
#[derive(Debug)]
pub struct Messages {
    scanner: Scanner,
    stream: Stream,
    /// What came of the message.
    came: u64,
    waiting: BytesMut,
}

impl Messages {
    /// Scanned as the request was that opened it.
    #[must_use]
    pub fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            stream: Stream::new(),
            came: 0,
            waiting: BytesMut::new(),
        }
    }

    /// Takes what came next of a message, and gives back what may go, masked; all of it once
    /// the message is at its end (`last`).
    ///
    /// # Errors
    /// [`crate::error::Reason::Detected`]
    pub fn pass(&mut self, data: BytesMut, last: bool) -> Result<BytesMut, Refusal> {
        if last && self.came == 0 {
            let masked = self.scanner.bytes(&data, |_| Place::Message, true)?;
            return Ok(masked.map_or(data, |masked| BytesMut::from(&*masked)));
        }
        let Self {
            scanner, stream, ..
        } = self;
        // What waits is still here, and may be masked.
        let from = self.came.saturating_sub(self.waiting.len() as u64);
        let (mut refusal, mut masks) = (None, Masks::default());
        let mut report = |finding: Finding, data: &[u8]| {
            let can_mask = Masks::can_take(&finding, data, from);
            match scanner.judge(&Place::Message, &finding, data, can_mask) {
                Ruling::Pass => {}
                Ruling::Mask => masks.push(&finding),
                Ruling::Refuse(blocked) => refusal = graver(refusal.take(), Some(blocked)),
            }
        };
        scanner.found.looked_at(data.len());
        let engine = scanner.detectors.engine();
        stream.push(engine, &data, &mut report);
        if last {
            stream.finish(engine, &mut report);
        }
        if stream.is_saturated() {
            refusal = refusal.or_else(|| Some(Scanner::saturated()));
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let held = stream.held();
        self.came = self.came.saturating_add(data.len() as u64);
        if last {
            (self.stream, self.came) = (Stream::new(), 0);
        }
        if self.waiting.is_empty() && held == 0 && masks.is_empty() {
            return Ok(data);
        }
        self.waiting.extend_from_slice(&data);
        if !masks.is_empty() {
            masks.apply(&mut self.waiting, from);
            let around = masks.around(&self.waiting, from);
            self.scanner.is_gone(around, |_| Place::Message)?;
        }
        let free = self.waiting.len().saturating_sub(held);
        Ok(self.waiting.split_to(free))
    }

    /// Looks at the payload of a control frame, which is a message of its own, and gives it
    /// back masked.
    ///
    /// # Errors
    /// [`crate::error::Reason::Detected`]
    pub fn control(&self, payload: Bytes) -> Result<Bytes, Refusal> {
        let masked = self.scanner.bytes(&payload, |_| Place::Message, true)?;
        Ok(masked.map_or(payload, Bytes::from))
    }
}

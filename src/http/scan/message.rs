//! Messages of a WebSocket, held against the detectors as bodies are: as they stream, across
//! their fragments, with no byte of what may become a finding let go.

use bytes::{Bytes, BytesMut};

use super::{Place, Scanner};
use crate::dlp::{Finding, Stream};
use crate::error::Refusal;

/// What an agent sends over one WebSocket, one message after the other.
#[derive(Debug)]
pub struct Messages {
    scanner: Scanner,
    stream: Stream,
    waiting: BytesMut,
}

impl Messages {
    /// Scanned as the request was that opened it.
    #[must_use]
    pub fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            stream: Stream::new(),
            waiting: BytesMut::new(),
        }
    }

    /// Takes what came next of a message, and gives back what may go; all of it once the
    /// message is at its end (`last`).
    ///
    /// # Errors
    /// [`crate::error::Reason::Detected`]
    pub fn pass(&mut self, data: BytesMut, last: bool) -> Result<BytesMut, Refusal> {
        let Self {
            scanner, stream, ..
        } = self;
        let mut refusal = None;
        let mut report = |finding: Finding, data: &[u8]| {
            let blocked = scanner.judge(&Place::Message, &finding, data);
            refusal = refusal.take().or(blocked);
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
        if last {
            self.stream = Stream::new();
        }
        if self.waiting.is_empty() && held == 0 {
            return Ok(data);
        }
        self.waiting.extend_from_slice(&data);
        let free = self.waiting.len().saturating_sub(held);
        Ok(self.waiting.split_to(free))
    }

    /// Looks at the payload of a control frame, which is a message of its own.
    ///
    /// # Errors
    /// [`crate::error::Reason::Detected`]
    pub fn control(&self, payload: &Bytes) -> Result<(), Refusal> {
        self.scanner.bytes(payload, |_| Place::Message)
    }
}

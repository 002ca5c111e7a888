//! Messages of a WebSocket, in which echoes are masked as in bodies.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Echo, mask};
use crate::credential::echo::{Found, Needles, Scan};

/// What a server sends over one WebSocket, one message after the other.
#[derive(Debug)]
pub struct Messages {
    echo: Echo,
    needles: Arc<Needles>,
    scan: Scan,
}

impl Messages {
    /// `None` where there is nothing to look for.
    #[must_use]
    pub fn new(echo: &Echo) -> Option<Self> {
        let needles = echo.needles.clone()?;
        Some(Self {
            echo: echo.clone(),
            scan: Scan::new(needles.clone(), false),
            needles,
        })
    }

    /// Takes what came next of a message, and gives back what may go, masked and in all of
    /// the same length; nothing is kept once the message is at its end (`last`).
    pub fn pass(&mut self, data: BytesMut, last: bool) -> BytesMut {
        let mut found = Found::new();
        let passed = self.scan.pass(data.freeze(), last, &mut found);
        self.echo.note(&self.needles, &found);
        BytesMut::from(passed)
    }

    /// The payload of a control frame, which is a message of its own.
    pub fn control(&self, payload: Bytes) -> Bytes {
        let mut found = Found::new();
        let masked = mask(&self.needles, &payload, &mut found);
        self.echo.note(&self.needles, &found);
        masked.unwrap_or(payload)
    }
}

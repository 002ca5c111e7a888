//! Messages of gRPC that are compressed one by one, each behind a prefix that says whether it
//! is and how long it is ("Length-Prefixed-Message" of gRPC over HTTP/2).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::coded::Coded;
use super::coding::{Coding, Opaque};
use crate::credential::echo::{Found, Needles, Scan};
use crate::http::body::BodyError;

const NO_MESSAGE: Opaque = "its messages are not those of gRPC";
const NO_DECODER: Opaque = "there is no decoder for it";
/// A flag, and a length in four bytes.
const PREFIX: usize = 5;

/// Passes the messages of one call on; each is looked at for itself.
#[derive(Debug)]
pub(super) struct Calls {
    coding: Coding,
    needles: Arc<Needles>,
    /// What all compressed messages together may still decode to.
    budget: u64,
    /// Of the message to come, as far as it is here.
    prefix: BytesMut,
    /// What is missing of the message at hand.
    left: u32,
    message: Option<Message>,
}

#[derive(Debug)]
enum Message {
    Plain(Scan),
    Compressed(Box<Coded>),
}

impl Message {
    fn pass(&mut self, data: Bytes, last: bool, found: &mut Found) -> Result<Bytes, BodyError> {
        match self {
            Self::Plain(scan) => Ok(scan.pass(data, last, found)),
            Self::Compressed(coded) => coded.pass(&data, last, found),
        }
    }
}

impl Calls {
    /// For messages that are in this coding where their prefix says so, and may all together
    /// decode to `budget` bytes.
    pub(super) fn new(coding: Coding, needles: &Arc<Needles>, budget: u64) -> Self {
        Self {
            coding,
            needles: Arc::clone(needles),
            budget,
            prefix: BytesMut::new(),
            left: 0,
            message: None,
        }
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        match &self.message {
            Some(Message::Plain(scan)) => scan.held(),
            Some(Message::Compressed(coded)) => coded.held(),
            None => 0,
        }
    }

    /// Takes what came next, gives back what may go.
    pub(super) fn pass(
        &mut self,
        mut data: Bytes,
        last: bool,
        found: &mut Found,
    ) -> Result<Bytes, BodyError> {
        let mut passed = BytesMut::with_capacity(data.len());
        while !data.is_empty() {
            let Some(message) = &mut self.message else {
                let missing = PREFIX.saturating_sub(self.prefix.len());
                let piece = data.split_to(missing.min(data.len()));
                self.prefix.extend_from_slice(&piece);
                passed.extend_from_slice(&piece);
                self.begin()?;
                continue;
            };
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let piece = data.split_to(most.min(data.len()));
            let came = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.left = self.left.saturating_sub(came);
            let ends = self.left == 0;
            passed.extend_from_slice(&message.pass(piece, ends, found)?);
            if ends {
                self.end();
            }
        }
        // Broken off within a message: what waits of it has been looked at as far as it goes.
        if let (true, Some(message)) = (last, &mut self.message) {
            passed.extend_from_slice(&message.pass(Bytes::new(), true, found)?);
        }
        Ok(passed.freeze())
    }

    /// Begins a message once its prefix is here.
    fn begin(&mut self) -> Result<(), BodyError> {
        let &[flag, a, b, c, d] = &self.prefix[..] else {
            return Ok(());
        };
        self.prefix.clear();
        self.left = u32::from_be_bytes([a, b, c, d]);
        let message = match flag {
            0 => Message::Plain(Scan::new(Arc::clone(&self.needles), false)),
            1 => {
                let coded = Coded::new(self.coding, &self.needles, self.budget);
                let coded = coded.ok_or(BodyError::Undecodable(NO_DECODER))?;
                Message::Compressed(Box::new(coded))
            }
            _ => return Err(BodyError::Undecodable(NO_MESSAGE)),
        };
        self.message = Some(message).filter(|_| self.left > 0);
        Ok(())
    }

    fn end(&mut self) {
        if let Some(Message::Compressed(coded)) = self.message.take() {
            self.budget = self.budget.saturating_sub(coded.produced());
        }
    }
}

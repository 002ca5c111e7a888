//! One direction of a WebSocket: frames in, the same frames out, their payload looked at.
//!
//! Pure: bytes in, bytes out. Frames are neither joined nor split, so what goes out is as
//! long as what came in; only the last bytes of a message's fragment may wait for the next
//! one, and what stands behind them with them. A message in which stand-ins are swapped is
//! framed anew: what may go of each read is a fragment of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};

use super::frame::{HEADER_MAX, Header, Mask, Opcode, Side, apply_mask};
use crate::error::{Reason, Refusal};
use crate::http::passing::Passed;
use crate::http::{redact, scan, swap};

/// Bytes of memory that frames may take which wait behind a fragment that is held back.
const WAITING_MAX: usize = 16 * 1024;

/// What breaks off a WebSocket, and the code that tells whoever did it (RFC 6455 §7.4.1).
#[derive(Clone, Debug)]
pub struct Violation {
    /// For the close frame.
    pub code: u16,
    /// For the record.
    pub refusal: Refusal,
}

/// What has passed in one direction; shared with the record.
#[derive(Debug, Default)]
pub struct Tally {
    /// Whole messages.
    pub messages: AtomicU64,
    /// The code of its close frame; 1005 for one without, 0 while there was none.
    pub close: AtomicU16,
}

/// What looks at the payload.
#[derive(Debug)]
pub enum Inspector {
    /// Nothing: no rule asks for it, and there is nothing to look for.
    None,
    /// What leaves is held against the detectors.
    Scan(Box<scan::Messages>),
    /// What comes back is searched for credentials.
    Redact(Box<redact::Messages>),
}

impl Inspector {
    fn pass(&mut self, data: BytesMut, last: bool) -> Result<BytesMut, Refusal> {
        match self {
            Self::None => Ok(data),
            Self::Scan(messages) => messages.pass(data, last),
            Self::Redact(messages) => Ok(messages.pass(data, last)),
        }
    }

    fn control(&mut self, payload: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::None => Ok(payload),
            Self::Scan(messages) => messages.control(payload),
            Self::Redact(messages) => Ok(messages.control(payload)),
        }
    }
}

/// One direction, between two reads.
#[derive(Debug)]
pub struct Direction {
    from: Side,
    inspector: Inspector,
    swap: Option<Box<swap::Messages>>,
    /// Of the next frame, while the message at hand is framed anew.
    remade: Option<Opcode>,
    /// Most bytes of a message.
    limit: Option<u64>,
    tally: Arc<Tally>,
    passed: Arc<Passed>,
    /// A header, or a control frame, that is not whole.
    input: BytesMut,
    /// The data frame at hand.
    frame: Option<Frame>,
    /// Bytes so far of a message that goes on.
    message: Option<u64>,
    /// What goes out, in order.
    slots: VecDeque<Slot>,
    /// Bytes of [`Slot::Whole`] in `slots`.
    waiting: usize,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    left: u64,
    mask: Mask,
    offset: u64,
    fin: bool,
}

#[derive(Debug)]
enum Slot {
    /// A header or a whole control frame.
    Whole(Bytes),
    /// Payload that the inspector will release.
    Payload { left: u64, mask: Mask, offset: u64 },
}

impl Direction {
    /// What `from` sends, with messages of at most `limit` bytes.
    #[must_use]
    pub fn new(from: Side, inspector: Inspector, limit: Option<u64>, passed: Arc<Passed>) -> Self {
        Self {
            from,
            inspector,
            swap: None,
            remade: None,
            limit,
            tally: Arc::default(),
            passed,
            input: BytesMut::new(),
            frame: None,
            message: None,
            slots: VecDeque::new(),
            waiting: 0,
            closed: false,
        }
    }

    /// The same, with stand-ins swapped in what passes the inspector, or refused.
    #[must_use]
    pub fn swapping(self, swap: Option<swap::Messages>) -> Self {
        Self {
            swap: swap.map(Box::new),
            ..self
        }
    }

    /// What has passed.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Who sends.
    #[must_use]
    pub fn from(&self) -> Side {
        self.from
    }

    /// Whether a close frame has passed: nothing comes after it (RFC 6455 §5.5.1).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a frame of the gateway's own may follow what went out.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes what came next, and appends what goes out to `out`.
    ///
    /// # Errors
    /// [`Violation`]; what is in `out` may still go, and nothing after it.
    pub fn push(&mut self, data: BytesMut, out: &mut BytesMut) -> Result<(), Violation> {
        if self.input.is_empty() {
            self.input = data;
        } else {
            self.input.extend_from_slice(&data);
        }
        while !self.closed && self.step(out)? {}
        if self.closed {
            self.input.clear();
        }
        Ok(())
    }

    /// Takes one frame, or a piece of its payload; false if more bytes are needed.
    fn step(&mut self, out: &mut BytesMut) -> Result<bool, Violation> {
        if let Some(frame) = self.frame.take() {
            return self.payload(frame, out);
        }
        let parsed = Header::parse(&self.input, self.from);
        let Some((header, used)) = parsed.map_err(|what| self.broken(what))? else {
            debug_assert!(self.input.len() < HEADER_MAX);
            return Ok(false);
        };
        if header.opcode.is_control() {
            return self.control(header, used, out);
        }
        match (header.opcode, self.message) {
            (Opcode::Continuation, None) => {
                return Err(self.broken("a continuation continues nothing"));
            }
            (Opcode::Continuation, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                return Err(self.broken("a message begins inside of another"));
            }
        }
        let length = self
            .message
            .unwrap_or_default()
            .saturating_add(header.length);
        if let Some(limit) = self.limit.filter(|limit| length > *limit) {
            return Err(too_big(limit));
        }
        if self.message.replace(length).is_none() {
            let is_text = header.opcode == Opcode::Text;
            let swap = self.swap.as_mut();
            let remade = swap.is_some_and(|swap| swap.begin(is_text));
            self.remade = remade.then_some(header.opcode);
        }
        drop(self.input.split_to(used));
        if self.remade.is_none() {
            self.announce(header)?;
        }
        self.frame = Some(Frame {
            left: header.length,
            mask: header.mask,
            offset: 0,
            fin: header.fin,
        });
        Ok(true)
    }

    fn payload(&mut self, mut frame: Frame, out: &mut BytesMut) -> Result<bool, Violation> {
        let there = self.input.len() as u64;
        if there == 0 && frame.left > 0 {
            self.frame = Some(frame);
            self.release(BytesMut::new(), out);
            return Ok(false);
        }
        let count = usize::try_from(frame.left.min(there)).unwrap_or(usize::MAX);
        let mut piece = self.input.split_to(count.min(self.input.len()));
        apply_mask(&mut piece, frame.mask, frame.offset);
        let count = piece.len() as u64;
        frame.left -= count;
        frame.offset += count;
        let ended = frame.left == 0;
        let last = ended && frame.fin;
        let released = self.inspect(piece, last)?;
        self.hand_on(released, last, out)?;
        self.check_waiting()?;
        if last {
            self.message = None;
            self.tally.messages.fetch_add(1, Relaxed);
        }
        if !ended {
            self.frame = Some(frame);
        }
        Ok(true)
    }

    /// A control frame, once all of it is there.
    fn control(
        &mut self,
        header: Header,
        used: usize,
        out: &mut BytesMut,
    ) -> Result<bool, Violation> {
        // At most 125 bytes.
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if self.input.len() < used.saturating_add(length) {
            return Ok(false);
        }
        drop(self.input.split_to(used));
        let mut payload = self.input.split_to(length);
        apply_mask(&mut payload, header.mask, 0);
        let payload = self.inspector.control(payload.freeze()).map_err(detected)?;
        if let Some(swap) = &self.swap {
            swap.control(&payload).map_err(detected)?;
        }
        if header.opcode == Opcode::Close {
            let code = close_code(&payload).ok_or_else(|| self.broken("a close frame is bad"))?;
            self.tally.close.store(code, Relaxed);
            self.closed = true;
            // A message that is cut off is at its end, too.
            let rest = self.inspect(BytesMut::new(), true)?;
            self.hand_on(rest, false, out)?;
        }
        let mask = self.new_mask()?;
        let whole = control_frame(header.opcode, &payload, mask);
        self.waiting += whole.len();
        self.slots.push_back(Slot::Whole(whole));
        self.release(BytesMut::new(), out);
        self.check_waiting()?;
        Ok(true)
    }

    /// Frames without payload cost their sender next to nothing, and nothing else limits how
    /// many of them wait.
    fn check_waiting(&self) -> Result<(), Violation> {
        if self.waiting + self.slots.len() * size_of::<Slot>() <= WAITING_MAX {
            return Ok(());
        }
        let (reason, who) = self.culprit();
        Err(Violation {
            code: 1008,
            refusal: Refusal::new(
                reason,
                format!("WebSocket of the {who}: too many frames wait for one that is looked at"),
            ),
        })
    }

    /// What may go of a piece of payload.
    fn inspect(&mut self, piece: BytesMut, last: bool) -> Result<BytesMut, Violation> {
        let seen = self.inspector.pass(piece, last).map_err(detected)?;
        match &mut self.swap {
            Some(swap) => swap.pass(seen, last).map_err(detected),
            None => Ok(seen),
        }
    }

    /// Puts a frame with this header, and room for its payload, into what goes out.
    fn announce(&mut self, header: Header) -> Result<(), Violation> {
        let mask = self.new_mask()?;
        let mut bytes = BytesMut::with_capacity(HEADER_MAX);
        Header { mask, ..header }.encode(&mut bytes);
        self.waiting += bytes.len();
        self.slots.push_back(Slot::Whole(bytes.freeze()));
        if header.length > 0 {
            self.slots.push_back(Slot::Payload {
                left: header.length,
                mask,
                offset: 0,
            });
        }
        Ok(())
    }

    /// Puts payload that may go into the places it came from, or into a frame of its own.
    fn hand_on(&mut self, data: BytesMut, last: bool, out: &mut BytesMut) -> Result<(), Violation> {
        if let Some(opcode) = self.remade
            && (last || !data.is_empty())
        {
            self.announce(Header {
                fin: last,
                opcode,
                mask: None,
                length: data.len() as u64,
            })?;
            self.remade = Some(Opcode::Continuation);
        }
        self.release(data, out);
        Ok(())
    }

    /// Puts released payload into its places, and with it whatever it was in the way of.
    fn release(&mut self, mut data: BytesMut, out: &mut BytesMut) {
        while let Some(slot) = self.slots.front_mut() {
            match slot {
                Slot::Whole(bytes) => {
                    out.extend_from_slice(bytes);
                    self.waiting = self.waiting.saturating_sub(bytes.len());
                    self.slots.pop_front();
                }
                Slot::Payload { left, mask, offset } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    if count == 0 {
                        return;
                    }
                    let mut piece = data.split_to(count);
                    apply_mask(&mut piece, *mask, *offset);
                    out.extend_from_slice(&piece);
                    let count = count as u64;
                    self.passed.add(count);
                    *left -= count;
                    *offset += count;
                    if *left == 0 {
                        self.slots.pop_front();
                    }
                }
            }
        }
    }

    /// Frames toward the server have a key of the gateway's own, which no agent can foresee
    /// (RFC 6455 §10.3).
    fn new_mask(&self) -> Result<Mask, Violation> {
        new_mask(self.from).ok_or_else(|| Violation {
            code: 1011,
            refusal: Refusal::new(Reason::Internal, "the gateway has no random numbers"),
        })
    }

    fn culprit(&self) -> (Reason, &'static str) {
        match self.from {
            Side::Agent => (Reason::Malformed, "agent"),
            Side::Server => (Reason::UpstreamMalformed, "server"),
        }
    }

    fn broken(&self, what: &str) -> Violation {
        let (reason, who) = self.culprit();
        Violation {
            code: 1002,
            refusal: Refusal::new(reason, format!("WebSocket of the {who}: {what}")),
        }
    }
}

/// A mask for what goes on from `from`; `None` where there is no randomness to make it of.
fn new_mask(from: Side) -> Option<Mask> {
    match from {
        Side::Agent => {
            let mut key = [0; 4];
            aws_lc_rs::rand::fill(&mut key).ok()?;
            Some(Some(key))
        }
        Side::Server => Some(None),
    }
}

fn too_big(limit: u64) -> Violation {
    Violation {
        code: 1009,
        refusal: Refusal::new(
            Reason::MessageTooLarge,
            format!("a WebSocket message is longer than {limit} bytes"),
        ),
    }
}

fn detected(refusal: Refusal) -> Violation {
    Violation {
        code: 1008,
        refusal,
    }
}

/// The code of a close frame: 1005 where there is none (RFC 6455 §7.1.5); `None` for a payload
/// of one byte, and for codes that may not be sent (§7.4).
fn close_code(payload: &[u8]) -> Option<u16> {
    let Some(code) = payload.first_chunk() else {
        return payload.is_empty().then_some(1005);
    };
    let code = u16::from_be_bytes(*code);
    let may_be_sent = (1000..=4999).contains(&code) && !matches!(code, 1004..=1006 | 1015);
    may_be_sent.then_some(code)
}

fn control_frame(opcode: Opcode, payload: &[u8], mask: Mask) -> Bytes {
    let header = Header {
        fin: true,
        opcode,
        mask,
        length: payload.len() as u64,
    };
    let mut frame = BytesMut::with_capacity(HEADER_MAX + payload.len());
    header.encode(&mut frame);
    let mut payload = payload.to_vec();
    apply_mask(&mut payload, mask, 0);
    frame.extend_from_slice(&payload);
    frame.freeze()
}

/// A close frame of the gateway's own, for the peer of whoever it speaks as; `None` where there
/// is no randomness to mask it with.
#[must_use]
pub fn close_frame(from: Side, code: u16, reason: &str) -> Option<Bytes> {
    const REASON_MAX: usize = 123;
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes().get(..end).unwrap_or_default());
    Some(control_frame(Opcode::Close, &payload, new_mask(from)?))
}

#[cfg(test)]
mod tests;

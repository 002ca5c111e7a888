//! Bodies that are scanned on their way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::super::body::{Body, BodyError};
use super::super::decode::{Decoding, MAGIC, Stop};
use super::masks::Masks;
use super::outline::Trail;
use super::{Place, Ruling, Scanner, graver, middle};
use crate::dlp::{Finding, Stream};
use crate::error::Refusal;

/// A body that is scanned while it streams. On a finding that blocks it fails, and what sends
/// it breaks off: the server sees neither the whole of the data nor an end of the body.
#[derive(Debug)]
pub struct Scanned {
    body: Body,
    scanner: Scanner,
    stream: Stream,
    trail: Trail,
    /// Bytes that came.
    came: u64,
    decoding: Option<Decoding>,
    /// Of what says by its beginning that it is compressed.
    file: Option<Decoding>,
    /// The first bytes, as long as they do not tell whether it is compressed.
    beginning: Option<Vec<u8>>,
    /// Whether bytes may be masked.
    may_mask: bool,
    /// What came and has not gone on.
    waiting: VecDeque<Bytes>,
    /// Bytes in `waiting`.
    bytes: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Scanned {
    /// Scans `body` as it comes, and decodes it as was said, or as its `beginning` says.
    pub(super) fn new(
        body: Body,
        scanner: Scanner,
        trail: Trail,
        (decoding, beginning): (Option<Decoding>, Option<Vec<u8>>),
        may_mask: bool,
    ) -> Self {
        Self {
            body,
            scanner,
            stream: Stream::new(),
            trail,
            came: 0,
            decoding,
            file: None,
            beginning,
            may_mask,
            waiting: VecDeque::new(),
            bytes: 0,
            trailers: None,
            ended: false,
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Refusal> {
        let before = self.sniff(&data);
        let masks = self.look(Some(&data))?;
        self.bytes += data.len();
        self.waiting.push_back(data);
        self.mask(&masks)?;
        let Some(data) = self.waiting.back().cloned() else {
            return Ok(());
        };
        self.decode(|decoding| decoding.push(&data))?;
        self.decode_file(|decoding| decoding.push(&before).and_then(|()| decoding.push(&data)))
    }

    /// What turns out to be compressed is decoded, too, and no more masked: that would break it.
    /// Gives the bytes that came before these and are to be decoded with them.
    fn sniff(&mut self, data: &[u8]) -> Vec<u8> {
        let Some(mut beginning) = self.beginning.take() else {
            return Vec::new();
        };
        let before = beginning.len();
        let missing = MAGIC.saturating_sub(before).min(data.len());
        beginning.extend_from_slice(data.get(..missing).unwrap_or_default());
        if beginning.len() < MAGIC {
            self.beginning = Some(beginning);
            return Vec::new();
        }
        self.file = Decoding::sniffed(&beginning, &self.scanner);
        self.may_mask &= self.file.is_none();
        beginning.truncate(before);
        beginning
    }

    /// Masks in what waits, and looks at it once more.
    fn mask(&mut self, masks: &Masks) -> Result<(), Refusal> {
        if masks.is_empty() {
            return Ok(());
        }
        let from = self.came.saturating_sub(self.bytes as u64);
        let (mut base, mut all) = (from, Vec::with_capacity(self.bytes));
        for data in &mut self.waiting {
            let length = data.len();
            if masks.touch(base, length) {
                let mut masked = BytesMut::from(&**data);
                masks.apply(&mut masked, base);
                *data = masked.freeze();
            }
            base = base.saturating_add(length as u64);
            all.extend_from_slice(data);
        }
        let place = |finding: &Finding| {
            let start = from.saturating_add(middle(finding));
            Place::Body(self.trail.remembered(start))
        };
        self.scanner.is_gone(masks.around(&all, from), place)
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        self.ended = true;
        let masks = self.look(None)?;
        self.mask(&masks)?;
        self.decode(Decoding::finish)?;
        self.decode_file(Decoding::finish)?;
        match &self.trailers {
            Some(trailers) => self.scanner.trailers(trailers),
            None => Ok(()),
        }
    }

    fn decode(
        &mut self,
        go: impl FnOnce(&mut Decoding) -> Result<(), Stop>,
    ) -> Result<(), Refusal> {
        decode(&self.scanner, &mut self.decoding, go)
    }

    fn decode_file(
        &mut self,
        go: impl FnOnce(&mut Decoding) -> Result<(), Stop>,
    ) -> Result<(), Refusal> {
        decode(&self.scanner, &mut self.file, go)
    }

    /// Looks at what came next, or decides at the end (`None`); what is to be masked.
    fn look(&mut self, data: Option<&Bytes>) -> Result<Masks, Refusal> {
        let Self { scanner, trail, .. } = self;
        let (bytes, base) = (data.map_or(&[][..], |data| data), self.came);
        let (may_mask, from) = (self.may_mask, base.saturating_sub(self.bytes as u64));
        let (mut refusal, mut masks) = (None, Masks::default());
        let mut report = |finding: Finding, data: &[u8]| {
            let place = Place::Body(trail.spot(bytes, base, middle(&finding)));
            let can_mask = may_mask && Masks::can_take(&finding, data, from);
            match scanner.judge(&place, &finding, data, can_mask) {
                Ruling::Pass => {}
                Ruling::Mask => masks.push(&finding),
                Ruling::Refuse(blocked) => refusal = graver(refusal.take(), Some(blocked)),
            }
        };
        let engine = scanner.detectors.engine();
        match data {
            Some(data) => self.stream.push(engine, data, &mut report),
            None => self.stream.finish(engine, &mut report),
        }
        trail.follow(bytes, base);
        scanner.found.looked_at(bytes.len());
        self.came = self.came.saturating_add(bytes.len() as u64);
        if self.stream.is_saturated() {
            refusal = refusal.or_else(|| Some(Scanner::saturated()));
        }
        refusal.map_or(Ok(masks), Err)
    }

    /// Bytes that may go on.
    fn release(&mut self) -> Option<Bytes> {
        let decodings = [&self.decoding, &self.file].into_iter().flatten();
        let decoding = decodings.map(Decoding::held).max().unwrap_or(0);
        let free = self.bytes.saturating_sub(self.stream.held().max(decoding));
        let mut first = self.waiting.pop_front()?;
        if first.len() > free {
            let rest = first.split_off(free);
            self.waiting.push_front(rest);
        }
        self.bytes = self.bytes.saturating_sub(first.len());
        (!first.is_empty()).then_some(first)
    }

    /// The next frame of the body; see [`http_body::Body::poll_frame`].
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(data) = self.release() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.ended {
                return Poll::Ready(
                    self.trailers
                        .take()
                        .map(|trailers| Ok(Frame::trailers(trailers))),
                );
            }
            let scanned = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => Ok(()),
                    Ok(data) => self.push(data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.finish()
                    }
                },
                None => self.finish(),
            };
            if let Err(refusal) = scanned {
                self.waiting.clear();
                self.bytes = 0;
                self.trailers = None;
                let Refusal {
                    reason, sentence, ..
                } = refusal;
                return Poll::Ready(Some(Err(BodyError::Detected(reason, sentence.into()))));
            }
        }
    }

    /// Whether there is nothing more.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.ended && self.waiting.is_empty() && self.trailers.is_none()
    }

    /// Bytes to come, where the agent declared them.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        let hint: SizeHint = self.body.size_hint();
        let coming = if self.ended { Some(0) } else { hint.exact() };
        coming.map(|coming| coming.saturating_add(self.bytes as u64))
    }
}

/// Goes on with a decoding, if there is one; what cannot be decoded any more is not tried again.
fn decode(
    scanner: &Scanner,
    decoding: &mut Option<Decoding>,
    go: impl FnOnce(&mut Decoding) -> Result<(), Stop>,
) -> Result<(), Refusal> {
    match decoding.as_mut().map(go) {
        Some(Err(stop)) => {
            *decoding = None;
            scanner.stopped(stop)
        }
        Some(Ok(())) | None => Ok(()),
    }
}

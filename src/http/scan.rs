//! Step 8: what leaves is held against the detectors. The URL and the header fields first;
//! then the body: whole where it is held, else as it streams, with no byte of what may
//! become a finding let go.

mod found;
mod host;
mod masks;
mod message;
pub(in crate::http) mod outline;
mod place;
mod scanned;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use memchr::memchr2;
use percent_encoding::percent_decode;

pub use self::found::{FingerprintKey, Found};
use self::masks::{Masks, is_sealed};
pub use self::message::Messages;
use self::outline::{Kind, Name, Spot, Trail, parameter};
pub use self::place::Place;
pub use self::scanned::Scanned;
use super::body::Body;
use super::decode::{Decoding, Stop};
use crate::audit::Detection;
use crate::credential::placeholder::Guard;
use crate::dlp::{self, Action, Detector, Detectors, Finding, Profile};
use crate::error::{Reason, Refusal};
use crate::metrics::Metrics;
use crate::name::Host;
use crate::policy::path::Target;
use crate::policy::rule::OnLimit;

/// What follows from a finding.
pub(super) enum Ruling {
    /// The bytes may go on.
    Pass,
    /// They go on masked.
    Mask,
    /// They do not leave.
    Refuse(Refusal),
}

impl Ruling {
    /// Where nothing can be masked.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Pass | Self::Mask => None,
            Self::Refuse(refusal) => Some(refusal),
        }
    }
}

/// Stands in records and metrics for a detector where a body was not scanned to its end.
const UNSCANNED: &str = "unscanned";
/// What is recorded and counted where something was masked.
const REDACTED: &str = "redacted";
/// A name of a header field that is shorter says nothing.
const FIELD_NAME: usize = 16;

/// What scans one request.
#[derive(Clone)]
pub struct Scanner {
    /// The detectors in force when the request began.
    pub detectors: Arc<Detectors>,
    /// How strictly.
    pub profile: Profile,
    /// What follows where the body cannot be decoded.
    pub on_limit: OnLimit,
    /// Most bytes that a body is decoded to.
    pub decoded_bytes: u64,
    /// Where the request goes.
    pub host: Host,
    /// Keys fingerprints.
    pub key: Arc<FingerprintKey>,
    /// What was found.
    pub found: Arc<Found>,
    /// Counts findings.
    pub metrics: Arc<Metrics>,
    /// Stand-ins look like what they stand for; where they belong is judged elsewhere.
    pub stand_ins: Option<Guard>,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanner({:?}, {:?})", self.profile, self.detectors)
    }
}

impl Scanner {
    /// Scans the URL, as it is and percent-decoded. What was decided on it stays as it is, so
    /// nothing in it is masked.
    ///
    /// # Errors
    /// [`Reason::Detected`], naming detector and place.
    pub fn target(&self, target: &Target) -> Result<(), Refusal> {
        let query = target.query().unwrap_or_default().as_bytes();
        self.text(|_, _| Place::Path, target.path().as_bytes(), false)?;
        let place = |finding: &Finding, is_decoded| {
            // Once decoded, what separates parameters cannot be told from what is in them.
            let spot = if is_decoded {
                Spot::Outside
            } else {
                parameter(query, middle(finding))
            };
            Place::Query(spot)
        };
        self.text(place, query, false)?;
        Ok(())
    }

    /// Scans the header fields, as they are and percent-decoded, and masks in them.
    ///
    /// # Errors
    /// [`Reason::Detected`], naming detector and place.
    pub fn headers(&self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        self.names(headers)?;
        let may_mask = self.may_mask(headers);
        for (name, value) in headers.iter_mut() {
            let place = |_: &Finding, _| Place::Header(name.clone());
            let Some(masked) = self.text(place, value.as_bytes(), may_mask)? else {
                continue;
            };
            let masked = HeaderValue::from_bytes(&masked);
            *value = masked.map_err(|_| {
                Refusal::new(Reason::Internal, "a masked header field is none any more")
            })?;
        }
        Ok(())
    }

    /// Scans a body that is at hand, with its trailers, and masks in it; one that is not is
    /// made one that is scanned while it streams.
    ///
    /// # Errors
    /// [`Reason::Detected`]
    pub fn body(self, headers: &HeaderMap, body: Body) -> Result<Body, Refusal> {
        if body.is_end_stream() {
            return Ok(body);
        }
        let kind = Kind::of(headers);
        let escapes = match &body {
            // A form without escapes reads as it stands.
            Body::Held(data, _) => memchr2(b'%', b'+', data).is_some(),
            _ => true,
        };
        let may_be_sniffed = Decoding::may_be_sniffed(headers);
        let mut may_mask = self.may_mask(headers);
        let mut decoding = match Decoding::new(headers, &kind, escapes, &self) {
            Ok(decoding) => decoding,
            Err(stop) => self.stopped(stop).map(|()| None)?,
        };
        let mut trail = Trail::new(&kind);
        let Body::Held(data, trailers) = body else {
            let beginning = may_be_sniffed.then(Vec::new);
            return Ok(Body::Scanned(Box::new(Scanned::new(
                body,
                self,
                trail,
                (decoding, beginning),
                may_mask,
            ))));
        };
        let mut file = may_be_sniffed
            .then(|| Decoding::sniffed(&data, &self))
            .flatten();
        // A mask would break it.
        may_mask &= file.is_none();
        let place = |finding: &Finding| Place::Body(trail.spot(&data, 0, middle(finding)));
        let masked = self.bytes(&data, place, may_mask)?;
        let data = masked.map_or(data, Bytes::from);
        for decoding in [&mut decoding, &mut file].into_iter().flatten() {
            let decoded = decoding.push(&data).and_then(|()| decoding.finish());
            decoded.or_else(|stop| self.stopped(stop))?;
        }
        if let Some(trailers) = &trailers {
            self.trailers(trailers)?;
        }
        Ok(Body::Held(data, trailers))
    }

    /// Whether something may be masked in a request with these fields.
    fn may_mask(&self, headers: &HeaderMap) -> bool {
        self.detectors.redacting() && !is_sealed(headers)
    }

    fn trailers(&self, trailers: &HeaderMap) -> Result<(), Refusal> {
        self.names(trailers)?;
        for (name, value) in trailers {
            self.text(|_, _| Place::Trailer(name.clone()), value.as_bytes(), false)?;
        }
        Ok(())
    }

    fn names(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        for name in fields.keys().map(HeaderName::as_str) {
            if name.len() >= FIELD_NAME {
                self.bytes(name.as_bytes(), |_| Place::FieldName, false)?;
            }
        }
        Ok(())
    }

    /// Scans bytes as they are and, where they have escapes, decoded once and twice, which
    /// `place` is told; gives them back masked if something was.
    fn text(
        &self,
        place: impl Fn(&Finding, bool) -> Place,
        text: &[u8],
        may_mask: bool,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let masked = self.bytes(text, |finding| place(finding, false), may_mask)?;
        let mut text = Cow::Borrowed(masked.as_deref().unwrap_or(text));
        for _ in 0..2 {
            if !text.contains(&b'%') {
                break;
            }
            let decoded: Vec<u8> = percent_decode(&text).collect();
            if decoded == *text {
                break;
            }
            self.bytes(&decoded, |finding| place(finding, true), false)?;
            text = Cow::Owned(decoded);
        }
        Ok(masked)
    }

    /// Scans bytes that are all there; `place` says where in them a finding is. Gives them back masked if something was.
    fn bytes(
        &self,
        bytes: &[u8],
        mut place: impl FnMut(&Finding) -> Place,
        may_mask: bool,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        self.found.looked_at(bytes.len());
        let (mut refusal, mut masks, mut unsure) = (None, Masks::default(), false);
        dlp::scan(self.detectors.engine(), bytes, &mut |finding, data| {
            if may_mask
                && self.action(&finding) == Action::Redact
                && !Masks::is_exact(&finding, data)
            {
                // Perhaps the same as one that is masked.
                unsure = true;
                return;
            }
            match self.judge(&place(&finding), &finding, data, may_mask) {
                Ruling::Pass => {}
                Ruling::Mask => masks.push(&finding),
                Ruling::Refuse(blocked) => refusal = graver(refusal.take(), Some(blocked)),
            }
        });
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if masks.is_empty() && !unsure {
            return Ok(None);
        }
        let mut masked = bytes.to_vec();
        masks.apply(&mut masked, 0);
        self.is_gone(&masked, place)?;
        Ok(Some(masked))
    }

    /// Whether masking left nothing that must not leave.
    fn is_gone(
        &self,
        bytes: &[u8],
        mut place: impl FnMut(&Finding) -> Place,
    ) -> Result<(), Refusal> {
        let mut refusal = None;
        dlp::scan(self.detectors.engine(), bytes, &mut |finding, data| {
            let ruling = match self.action(&finding) {
                Action::Off | Action::Alert => Ruling::Pass,
                Action::Redact | Action::Block => {
                    self.judge(&place(&finding), &finding, data, false)
                }
            };
            refusal = graver(refusal.take(), ruling.refusal());
        });
        refusal.map_or(Ok(()), Err)
    }

    fn action(&self, finding: &Finding) -> Action {
        let detector = self.detectors.of(finding);
        detector.map_or(Action::Off, |detector| detector.action(self.profile))
    }

    /// What follows from a finding; records and counts it. `can_mask`: its bytes are still
    /// here, and nothing vouches for them.
    pub(super) fn judge(
        &self,
        place: &Place,
        finding: &Finding,
        data: &[u8],
        can_mask: bool,
    ) -> Ruling {
        let Some(detector) = self.detectors.of(finding) else {
            return Ruling::Pass;
        };
        let action = detector.action(self.profile);
        let at_home = place.may_authenticate() && detector.is_at_home(&self.host)
            || detector.authenticates && place.authenticates();
        let stand_in = |guard: &Guard| guard.is_stand_in(data);
        if action == Action::Off || at_home || self.stand_ins.as_ref().is_some_and(stand_in) {
            return Ruling::Pass;
        }
        let masks = action == Action::Redact && can_mask;
        let refuses = action == Action::Block || action == Action::Redact && !can_mask;
        let detection = Detection {
            detector: (*detector.name).into(),
            action: match (masks, refuses) {
                (true, _) => REDACTED,
                (false, true) => Action::Block.word(),
                (false, false) => action.word(),
            },
            place: place.at(finding, place.name().and_then(|name| self.told(name))),
            fingerprint: self.key.of(data),
        };
        let sentence = format!(
            "{} {} must not leave (detector `{}`); remove it from the request",
            detector.title, detection.place, detector.name
        );
        if self.found.is_new(place, &detection) {
            self.metrics.dlp.found(&detector.name, detection.action);
            if detector.honeytoken {
                self.metrics.dlp.honeytoken(&detector.name);
            }
            self.found.record(detection);
        }
        match (masks, refuses) {
            (true, _) => Ruling::Mask,
            (false, true) => Ruling::Refuse(Refusal::new(reason(detector), sentence)),
            (false, false) => Ruling::Pass,
        }
    }

    /// A name that the agent chose, unless it holds what must not be told.
    fn told<'a>(&self, name: &'a Name) -> Option<&'a str> {
        let text = name.text()?;
        let mut clean = true;
        dlp::scan(self.detectors.engine(), text.as_bytes(), &mut |_, _| {
            clean = false;
        });
        clean.then_some(text)
    }

    /// What follows where decoding ended early.
    ///
    /// # Errors
    /// What was found; where `on_limit` denies, that the body could not be judged.
    fn stopped(&self, stop: Stop) -> Result<(), Refusal> {
        let why = match stop {
            Stop::Found(refusal) => return Err(refusal),
            Stop::Limit(why) => why,
        };
        let action = match self.on_limit {
            OnLimit::Deny => "block",
            OnLimit::Alert => "alert",
            OnLimit::Allow => "allow",
        };
        self.metrics.dlp.found(UNSCANNED, action);
        self.found.record(Detection {
            detector: UNSCANNED.into(),
            action,
            place: format!("the body {why}"),
            fingerprint: "-".to_owned(),
        });
        if self.on_limit != OnLimit::Deny {
            return Ok(());
        }
        let sentence = format!("the request's body {why}; {}", why.remedy());
        Err(Refusal::new(Reason::Detected, sentence))
    }

    /// More tokens were open at once than can be followed, or their beginnings took too long.
    pub(super) fn saturated() -> Refusal {
        Refusal::new(
            Reason::Detected,
            "the body has more that looks like the beginnings of secrets than can be followed",
        )
    }
}

fn reason(detector: &Detector) -> Reason {
    if detector.honeytoken {
        return Reason::Honeytoken;
    }
    Reason::Detected
}

/// The one of two refusals that is told: a honeytoken looks like another token, too.
pub(super) fn graver(old: Option<Refusal>, new: Option<Refusal>) -> Option<Refusal> {
    let is_alarm = |refusal: &Refusal| refusal.reason == Reason::Honeytoken;
    match (old, new) {
        (Some(_), Some(new)) if is_alarm(&new) => Some(new),
        (old, new) => old.or(new),
    }
}

/// A byte of a finding: where it begins, is known only about where it is encoded.
pub(super) fn middle(finding: &Finding) -> u64 {
    finding.start.saturating_add(u64::from(finding.length) / 2)
}

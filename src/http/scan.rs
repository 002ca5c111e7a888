//! Step 8: what leaves is held against the detectors. The URL and the header fields first;
//! then the body: whole where it is held, else as it streams, with no byte of what may
//! become a finding let go.

mod found;
mod message;
pub(in crate::http) mod outline;
mod place;
mod scanned;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use memchr::memchr2;
use percent_encoding::percent_decode;

pub use self::found::{FingerprintKey, Found};
pub use self::message::Messages;
use self::outline::{Kind, Name, Trail};
pub use self::place::Place;
pub use self::scanned::Scanned;
use super::body::Body;
use super::decode::{Decoding, Stop};
use crate::audit::Detection;
use crate::credential::placeholder::Guard;
use crate::dlp::{self, Action, Detectors, Finding, Profile};
use crate::error::{Reason, Refusal};
use crate::metrics::Metrics;
use crate::name::Host;
use crate::policy::path::Target;
use crate::policy::rule::OnLimit;

/// Stands in records and metrics for a detector where a body was not scanned to its end.
const UNSCANNED: &str = "unscanned";
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
    /// Scans the URL and the header fields, as they are and percent-decoded.
    ///
    /// # Errors
    /// [`Reason::Detected`], naming detector and place.
    pub fn head(&self, target: &Target, headers: &HeaderMap) -> Result<(), Refusal> {
        self.text(&Place::Path, target.path().as_bytes())?;
        self.text(&Place::Query, target.query().unwrap_or_default().as_bytes())?;
        self.fields(headers, Place::Header)
    }

    /// Scans a body that is at hand, with its trailers; one that is not is made one that is
    /// scanned while it streams.
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
        let mut decoding = match Decoding::new(headers, &kind, escapes, &self) {
            Ok(decoding) => decoding,
            Err(stop) => self.stopped(stop).map(|()| None)?,
        };
        if let Body::Held(data, trailers) = &body {
            let mut trail = Trail::new(&kind);
            self.bytes(data, |start| Place::Body(trail.spot(data, 0, start)))?;
            if let Some(decoding) = &mut decoding {
                let decoded = decoding.push(data).and_then(|()| decoding.finish());
                decoded.or_else(|stop| self.stopped(stop))?;
            }
            if let Some(trailers) = trailers {
                self.fields(trailers, Place::Trailer)?;
            }
            return Ok(body);
        }
        let trail = Trail::new(&kind);
        Ok(Body::Scanned(Box::new(Scanned::new(
            body, self, trail, decoding,
        ))))
    }

    fn fields(&self, fields: &HeaderMap, place: fn(HeaderName) -> Place) -> Result<(), Refusal> {
        for name in fields.keys().map(HeaderName::as_str) {
            if name.len() >= FIELD_NAME {
                self.bytes(name.as_bytes(), |_| Place::FieldName)?;
            }
        }
        for (name, value) in fields {
            self.text(&place(name.clone()), value.as_bytes())?;
        }
        Ok(())
    }

    /// Scans bytes as they are and, where they have escapes, decoded once and twice.
    fn text(&self, place: &Place, text: &[u8]) -> Result<(), Refusal> {
        self.bytes(text, |_| place.clone())?;
        let mut text = text.to_vec();
        for _ in 0..2 {
            if !text.contains(&b'%') {
                break;
            }
            let decoded: Vec<u8> = percent_decode(&text).collect();
            if decoded == text {
                break;
            }
            self.bytes(&decoded, |_| place.clone())?;
            text = decoded;
        }
        Ok(())
    }

    /// Scans bytes that are all there; `place` says where in them something is that starts
    /// at a byte.
    fn bytes(&self, bytes: &[u8], mut place: impl FnMut(u64) -> Place) -> Result<(), Refusal> {
        self.found.looked_at(bytes.len());
        let mut refusal = None;
        dlp::scan(self.detectors.engine(), bytes, &mut |finding, data| {
            let blocked = self.judge(&place(finding.start), &finding, data);
            refusal = refusal.take().or(blocked);
        });
        refusal.map_or(Ok(()), Err)
    }

    /// What follows from a finding; records and counts it.
    pub(super) fn judge(&self, place: &Place, finding: &Finding, data: &[u8]) -> Option<Refusal> {
        let detector = self.detectors.of(finding)?;
        let action = detector.action(self.profile);
        let at_home = place.may_authenticate() && detector.is_at_home(&self.host)
            || detector.authenticates && place.authenticates();
        let stand_in = |guard: &Guard| guard.is_stand_in(data);
        if action == Action::Off || at_home || self.stand_ins.as_ref().is_some_and(stand_in) {
            return None;
        }
        let detection = Detection {
            detector: (*detector.name).into(),
            action: action.word(),
            place: place.at(finding, place.name().and_then(|name| self.told(name))),
            fingerprint: self.key.of(data),
        };
        let sentence = format!(
            "{} {} must not leave (detector `{}`); remove it from the request",
            detector.title, detection.place, detector.name
        );
        if self.found.is_new(place, &detection) {
            self.metrics.dlp.found(&detector.name, action.word());
            self.found.record(detection);
        }
        (action == Action::Block).then(|| Refusal::new(Reason::Detected, sentence))
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
        let sentence =
            format!("the request's body {why}; send it without, or with gzip, deflate, br or zstd");
        Err(Refusal::new(Reason::Detected, sentence))
    }

    /// More tokens were open at once than can be followed.
    pub(super) fn saturated() -> Refusal {
        Refusal::new(
            Reason::Detected,
            "the body has more that looks like secrets at one place than can be told apart",
        )
    }
}

//! Step 8: what leaves is held against the detectors. The URL and the header fields first;
//! then the body: whole where it is held, else as it streams, with no byte of what may
//! become a finding let go.

mod message;
mod scanned;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName, header};
use http_body::Body as _;
use parking_lot::Mutex;
use percent_encoding::percent_decode;

pub use self::message::Messages;
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

/// Most findings of one request that are recorded; more are counted.
const RECORDED: usize = 32;
/// Stands in records and metrics for a detector where a body was not scanned to its end.
const UNSCANNED: &str = "unscanned";
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// Where something was found, as the agent and the record read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path.
    Path,
    /// The query.
    Query,
    /// A header field, the cookie field among them.
    Header(HeaderName),
    /// The body, so many bytes from its beginning.
    Body,
    /// The body as it is once decoded, so many bytes from its beginning.
    Decoded,
    /// A trailer field.
    Trailer(HeaderName),
    /// A message of a WebSocket, so many bytes from its beginning.
    Message,
}

impl Place {
    fn at(&self, finding: &Finding) -> String {
        let start = finding.start;
        let place = match self {
            Self::Path => "in the path".to_owned(),
            Self::Query => "in the query".to_owned(),
            Self::Header(name) => format!("in header `{name}`"),
            Self::Body => format!("in the body at byte {start}"),
            Self::Decoded => format!("in the decoded body at byte {start}"),
            Self::Trailer(name) => format!("in trailer `{name}`"),
            Self::Message => format!("in a WebSocket message at byte {start}"),
        };
        match finding.coding.word() {
            Some(coding) => format!("{place}, in {coding}"),
            None => place,
        }
    }

    /// Whether it is made for telling who is asking.
    fn authenticates(&self) -> bool {
        match self {
            Self::Header(name) => *name == header::AUTHORIZATION || *name == header::COOKIE,
            Self::Path
            | Self::Query
            | Self::Body
            | Self::Decoded
            | Self::Trailer(_)
            | Self::Message => false,
        }
    }

    /// Whether data that belongs to the host may stand here: it authenticates there, while
    /// in a body it is content.
    fn may_authenticate(&self) -> bool {
        match self {
            Self::Path | Self::Query | Self::Header(_) => true,
            Self::Body | Self::Decoded | Self::Trailer(_) | Self::Message => false,
        }
    }
}

/// What was found in one request; shared with its record.
#[derive(Debug, Default)]
pub struct Found(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    detections: Vec<Detection>,
    /// Where each was found first, by detector and fingerprint.
    places: Vec<(Place, Box<str>, String)>,
    in_path: bool,
    in_query: bool,
    scanned: u64,
}

impl Found {
    /// What was found so far, for the record.
    #[must_use]
    pub fn detections(&self) -> Vec<Detection> {
        self.0.lock().detections.clone()
    }

    /// Whether path and query hold something that no record may show.
    #[must_use]
    pub fn in_target(&self) -> (bool, bool) {
        let state = self.0.lock();
        (state.in_path, state.in_query)
    }

    /// Whether this was not found at the same place before: what is encoded is found in more
    /// than one way.
    fn is_new(&self, place: &Place, detection: &Detection) -> bool {
        let mut state = self.0.lock();
        state.in_path |= *place == Place::Path;
        state.in_query |= *place == Place::Query;
        let known = state.places.iter().any(|(seen, detector, fingerprint)| {
            let same = (detector, fingerprint) == (&detection.detector, &detection.fingerprint);
            seen == place && same
        });
        if !known && state.places.len() < RECORDED {
            let Detection {
                detector,
                fingerprint,
                ..
            } = detection;
            let seen = (place.clone(), detector.clone(), fingerprint.clone());
            state.places.push(seen);
        }
        !known
    }

    fn record(&self, detection: Detection) {
        let mut state = self.0.lock();
        if state.detections.len() < RECORDED {
            state.detections.push(detection);
        }
    }

    /// Bytes that were looked at.
    #[must_use]
    pub fn scanned(&self) -> u64 {
        self.0.lock().scanned
    }
}

/// Keys the fingerprints of findings: who has two records can tell whether they are about the
/// same data, and nobody can try values. Made anew at each start.
pub struct FingerprintKey(hmac::Key);

impl FingerprintKey {
    /// A random key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        hmac::Key::generate(hmac::HMAC_SHA256, &random).map(Self)
    }

    fn of(&self, data: &[u8]) -> String {
        let tag = hmac::sign(&self.0, data);
        let mut hex = String::new();
        for byte in tag.as_ref().iter().take(FINGERPRINT / 2) {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}

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
        let mut decoding = match Decoding::new(headers, &self) {
            Ok(decoding) => decoding,
            Err(stop) => self.stopped(stop).map(|()| None)?,
        };
        if let Body::Held(data, trailers) = &body {
            self.bytes(&Place::Body, data)?;
            if is_form(headers) {
                self.form(data)?;
            }
            if let Some(decoding) = &mut decoding {
                let decoded = decoding.push(data).and_then(|()| decoding.finish());
                decoded.or_else(|stop| self.stopped(stop))?;
            }
            if let Some(trailers) = trailers {
                self.fields(trailers, Place::Trailer)?;
            }
            return Ok(body);
        }
        Ok(Body::Scanned(Box::new(Scanned::new(body, self, decoding))))
    }

    fn fields(&self, fields: &HeaderMap, place: fn(HeaderName) -> Place) -> Result<(), Refusal> {
        for (name, value) in fields {
            self.text(&place(name.clone()), value.as_bytes())?;
        }
        Ok(())
    }

    /// Scans bytes as they are and, where they have escapes, decoded once and twice.
    fn text(&self, place: &Place, text: &[u8]) -> Result<(), Refusal> {
        self.bytes(place, text)?;
        let mut text = text.to_vec();
        for _ in 0..2 {
            if !text.contains(&b'%') {
                break;
            }
            let decoded: Vec<u8> = percent_decode(&text).collect();
            if decoded == text {
                break;
            }
            self.bytes(place, &decoded)?;
            text = decoded;
        }
        Ok(())
    }

    /// Scans a form as its reader will: `+` is a space, `%XX` a byte.
    fn form(&self, data: &[u8]) -> Result<(), Refusal> {
        let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
        let spaced: Vec<u8> = data.iter().map(space).collect();
        let decoded: Vec<u8> = percent_decode(&spaced).collect();
        if decoded == data {
            return Ok(());
        }
        self.bytes(&Place::Decoded, &decoded)
    }

    fn bytes(&self, place: &Place, bytes: &[u8]) -> Result<(), Refusal> {
        self.found.0.lock().scanned += bytes.len() as u64;
        let mut refusal = None;
        dlp::scan(self.detectors.engine(), bytes, &mut |finding, data| {
            let blocked = self.judge(place, &finding, data);
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
            place: place.at(finding),
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

/// Whether the body is a form (WHATWG URL, application/x-www-form-urlencoded).
fn is_form(headers: &HeaderMap) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    headers.get_all(header::CONTENT_TYPE).iter().any(|value| {
        let start = value.as_bytes().get(..FORM.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(FORM))
    })
}

//! What was found in a request, for its record, and how findings are told apart without
//! telling what they are.

use std::fmt::{self, Write as _};

use aws_lc_rs::hmac;
use parking_lot::Mutex;

use super::Place;
use crate::audit::Detection;

/// Most findings of one request that are recorded; more are counted.
const RECORDED: usize = 32;
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// What was found in one request; shared with its record.
#[derive(Debug, Default)]
pub struct Found(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    detections: Vec<Detection>,
    /// Where each was found first.
    places: Vec<(Place, Detection)>,
    in_host: bool,
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

    /// Whether the host's name holds something that no record may show.
    #[must_use]
    pub fn in_host(&self) -> bool {
        self.0.lock().in_host
    }

    /// Whether path and query hold something that no record may show.
    #[must_use]
    pub fn in_target(&self) -> (bool, bool) {
        let state = self.0.lock();
        (state.in_path, state.in_query)
    }

    /// Whether this was not found at the same place before: what is encoded is found in more
    /// than one way.
    pub(super) fn is_new(&self, place: &Place, detection: &Detection) -> bool {
        let mut state = self.0.lock();
        state.in_host |= *place == Place::Host;
        state.in_path |= *place == Place::Path;
        state.in_query |= matches!(place, Place::Query(_));
        let known = state.places.iter().any(|(seen, first)| {
            let same = first.detector == detection.detector
                && first.fingerprint == detection.fingerprint
                && first.action == detection.action;
            same && seen.is_same(place)
        });
        if !known && state.places.len() < RECORDED {
            state.places.push((place.clone(), detection.clone()));
        }
        !known
    }

    pub(super) fn record(&self, detection: Detection) {
        let mut state = self.0.lock();
        if state.detections.len() < RECORDED {
            state.detections.push(detection);
        }
    }

    /// So many more bytes were looked at.
    pub(super) fn looked_at(&self, bytes: usize) {
        self.0.lock().scanned += bytes as u64;
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

    pub(super) fn of(&self, data: &[u8]) -> String {
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

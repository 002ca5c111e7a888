//! What was found in a request, for its record, and how findings are told apart without
//! telling what they are.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
pub struct Found {
    state: Mutex<State>,
    scanned: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    detections: Vec<Detection>,
    /// Where each was found first.
    places: Vec<(Place, Detection)>,
    in_host: bool,
    in_path: bool,
    in_query: bool,
}

/// What a record says of it.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each with its place.
    pub detections: Vec<Detection>,
    /// The host's name holds something that no record may show.
    pub in_host: bool,
    /// So does the path.
    pub in_path: bool,
    /// So does the query.
    pub in_query: bool,
}

impl Found {
    /// What was found so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let state = self.state.lock();
        Findings {
            detections: state.detections.clone(),
            in_host: state.in_host,
            in_path: state.in_path,
            in_query: state.in_query,
        }
    }

    /// Whether this was not found at the same place before: what is encoded is found in more
    /// than one way.
    pub(super) fn is_new(&self, place: &Place, detection: &Detection) -> bool {
        let mut state = self.state.lock();
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
        let mut state = self.state.lock();
        if state.detections.len() < RECORDED {
            state.detections.push(detection);
        }
    }

    /// So many more bytes were looked at.
    pub(super) fn looked_at(&self, bytes: usize) {
        self.scanned.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that were looked at.
    #[must_use]
    pub fn scanned(&self) -> u64 {
        self.scanned.load(Relaxed)
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

//! The file by which a privileged `verify` tells the unprivileged gateway what it found.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Error, file};

/// How far a clock may have been set back before a time in the future is no time at all.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// Packets and bytes of one named counter since the table was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Packets counted.
    pub packets: u64,
    /// Bytes counted.
    pub bytes: u64,
}

/// What the last verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the live table is the applied one, and that the configured one.
    pub correct: bool,
    /// When, in seconds since 1970.
    pub checked_at: u64,
    /// What differs, one sentence each; empty where `correct`.
    pub differences: Vec<String>,
    /// The table's counters by name.
    pub counters: BTreeMap<String, Counter>,
}

impl Status {
    /// A status as of now.
    pub(super) fn new(
        now: SystemTime,
        differences: Vec<String>,
        counters: BTreeMap<String, Counter>,
    ) -> Self {
        Self {
            correct: differences.is_empty(),
            checked_at: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            differences,
            counters,
        }
    }

    /// Whether the table may be called correct `now`: it was found so, and not longer ago
    /// than two periods of the timer that checks.
    #[must_use]
    pub fn holds(&self, now: SystemTime, period: Duration) -> bool {
        let checked_at = UNIX_EPOCH.checked_add(Duration::from_secs(self.checked_at));
        let recent = checked_at.is_some_and(|checked_at| match now.duration_since(checked_at) {
            Ok(age) => age <= period.saturating_mul(2),
            Err(ahead) => ahead.duration() <= CLOCK_SLACK,
        });
        self.correct && recent
    }

    /// Replaces the status file, which is whole at every moment.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        file::write(path, self).map_err(|source| Error::Status {
            path: path.to_owned(),
            source,
        })
    }
}

/// The status file, `None` where there is none or it is not readable as one: then nothing
/// is known of the table, and it counts as not correct.
#[must_use]
pub fn read_status(path: &Path) -> Option<Status> {
    file::read(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(correct: bool, checked_at: u64) -> Status {
        Status {
            correct,
            checked_at,
            differences: Vec::new(),
            counters: BTreeMap::from([(
                "quic_refused".into(),
                Counter {
                    packets: 1,
                    bytes: 2,
                },
            )]),
        }
    }

    #[test]
    fn a_status_holds_for_two_periods() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        assert!(status(true, 1000).holds(at(1120), minute));
        assert!(!status(true, 1000).holds(at(1121), minute));
        assert!(!status(false, 1000).holds(at(1000), minute));
        assert!(status(true, 1000).holds(at(996), minute));
        assert!(!status(true, 1000).holds(at(990), minute));
        assert!(!status(true, u64::MAX).holds(at(1000), minute));
    }

    #[test]
    fn a_status_file_is_read_back_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join("status.json");
        assert_eq!(read_status(&path), None);
        for correct in [true, false] {
            status(correct, 7).write(&path).unwrap();
            assert_eq!(read_status(&path), Some(status(correct, 7)));
        }
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
        std::fs::write(&path, "{\"correct\": true").unwrap();
        assert_eq!(read_status(&path), None);
    }

    #[test]
    fn a_status_that_cannot_be_written_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        std::fs::create_dir(&path).unwrap();
        let error = status(true, 7).write(&path).unwrap_err().to_string();
        assert!(error.contains("status.json"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! The log's mode and numbers.

use std::time::SystemTime;

/// What happens to new requests while the file cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnwritable {
    /// They are refused.
    #[default]
    Deny,
    /// They pass; records that find no place are counted, and a gap record tells of them.
    Continue,
}

/// The log's numbers as of one moment; counts are since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Records that are not in the file yet.
    pub queued: usize,
    /// Slots given out and not yet used.
    pub reserved: usize,
    /// Places in all.
    pub capacity: usize,
    /// Since when the file takes nothing.
    pub unwritable_since: Option<SystemTime>,
    /// Records in the file.
    pub written: u64,
    /// Reservations refused.
    pub refused: u64,
    /// Records that will never be in the file.
    pub lost: u64,
    /// Slots dropped without a record: each is a defect of the gateway.
    pub abandoned: u64,
}

//! What a record is about, and what a gap record says.

/// What a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A connection that ended, or was refused, without a request of its own to speak for it.
    Connection,
    /// A request that ended.
    #[default]
    Request,
    /// A request or connection that goes on; its numbers are those until now.
    Interim,
    /// The gateway started.
    Start,
    /// The gateway stopped in good order; nothing follows it but a start.
    Stop,
    /// Records are missing here.
    Gap,
    /// Rules and credentials were reloaded, or failed to.
    Reload,
    /// The log was reopened for rotation: a file that was begun anew is never without a
    /// record, so that a restart finds where the sequence stands.
    Rotate,
}

impl Kind {
    /// The word in records, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Interim => "interim",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Gap => "gap",
            Self::Reload => "reload",
            Self::Rotate => "rotate",
        }
    }
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// The gateway ended without a stop record: those of the last ten milliseconds that had
    /// not reached the file, and those of everything that still ran, are missing.
    Killed,
    /// The queue was full while the log could not be written and was told to continue.
    Dropped,
    /// Connections or requests still ran when the gateway stopped.
    Unfinished,
    /// The disk refused to make records durable; after a power failure they may be missing.
    Unsynced,
}

impl GapCause {
    /// The word in records, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Dropped => "dropped",
            Self::Unfinished => "unfinished",
            Self::Unsynced => "unsynced",
        }
    }
}

/// What a gap record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// The last record found in the file after a kill.
    pub last_sequence: Option<u64>,
    /// Whether the file's last line was cut off.
    pub torn: Option<bool>,
    /// How many are missing, where that is known.
    pub lost: Option<u64>,
}

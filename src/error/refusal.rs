//! What was decided, and what an agent reads where it was refused.

use std::fmt;

use super::Reason;

/// What was decided about a connection or request, as records and metrics name it.
///
/// A request that was allowed and failed later is still `allow`; its reason says what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may go.
    Allow,
    /// It may not.
    Deny,
    /// It would have been denied, and was let through in observe mode.
    Observe,
    /// It passed undecrypted.
    Splice,
}

impl Verdict {
    /// Every verdict, for metrics and tests.
    pub const ALL: &'static [Self] = &[Self::Allow, Self::Deny, Self::Observe, Self::Splice];

    /// The word in metrics and records, stable.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Observe => "observe",
            Self::Splice => "splice",
        }
    }
}

/// A refusal that an agent reads: the reason, and one sentence that says what would help.
///
/// The sentence holds no secret and no internal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub reason: Reason,
    /// One sentence a person or a model can act on.
    pub sentence: String,
}

impl Refusal {
    /// A refusal with its sentence.
    #[must_use]
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self {
            reason,
            sentence: sentence.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

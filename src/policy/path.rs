//! Canonical request targets and path patterns.

/// A pattern of a rule's `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern;

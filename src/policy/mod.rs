//! Rules to verdicts.

pub mod path;
pub mod rule;

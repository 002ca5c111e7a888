//! Request targets in the one form that is decided on and sent, and the patterns they meet.
//!
//! A path that two servers could read as two different paths is refused, so that the path
//! a rule allowed is the path the server serves. What is accepted goes out octet by octet
//! as it came in (I7): nothing here is normalised, only understood.

mod pattern;
pub(super) mod percent;
pub(super) mod query;
mod target;

pub use pattern::{PathPattern, PatternError};
pub use target::{Target, TargetError};

//! Echo: secrets that come back. What to look for, and looking for it in a stream (I5).
//!
//! All secrets that any rule of an agent may attach, in all their forms, are one automaton,
//! made once for each policy and secret and shared by all of the agent's responses. Pure:
//! bytes in, bytes and findings out.

mod forms;
mod needles;
mod newer;
mod sample;
mod scan;
mod short;

pub use needles::{Finding, Needles};
pub use sample::PART_LEAST;
pub use scan::{Found, Scan};

//! What holds while agents and servers misbehave: invariants I6, I7, I9, I10, I12 and I13,
//! observe mode and the drain. Every test names its invariant and judges by what servers
//! received, what the agent could read and what was recorded.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod common;

#[path = "holding/audit.rs"]
mod audit;
#[path = "holding/authority.rs"]
mod authority;
#[path = "holding/bounds.rs"]
mod bounds;
#[path = "holding/denials.rs"]
mod denials;
#[path = "holding/drain.rs"]
mod drain;
#[path = "holding/frames.rs"]
mod frames;
#[path = "holding/hostile.rs"]
mod hostile;
#[path = "holding/lab.rs"]
mod lab;
#[path = "holding/limits.rs"]
mod limits;
#[allow(dead_code, reason = "also used by others")]
#[path = "destination/name_server.rs"]
mod name_server;
#[path = "holding/observe.rs"]
mod observe;
#[path = "holding/once.rs"]
mod once;
#[path = "holding/reuse.rs"]
mod reuse;
#[path = "holding/seen.rs"]
mod seen;
#[path = "holding/sharing.rs"]
mod sharing;
#[path = "holding/smuggling.rs"]
mod smuggling;
#[path = "holding/streams.rs"]
mod streams;
#[path = "holding/targets.rs"]
mod targets;
#[path = "holding/timeouts.rs"]
mod timeouts;
#[path = "holding/unknown.rs"]
mod unknown;

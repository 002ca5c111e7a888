//! Looking for data that must not leave, in bytes as they come.
//!
//! Pure: no I/O, no clock, no globals. The way of a byte: the prefilter looks for anchors
//! ([`prefilter`]); what stands around one is read by the shape of a token ([`shape`]),
//! once and without going back; what has the shape must pass its [`check`]. A [`Stream`]
//! carries all that over chunks, and takes encodings off ([`unwrap`]). Nothing here is super-linear, and no regular expression
//! runs over a body.

pub mod anchor;
pub mod check;
pub mod class;
pub mod coding;
mod dense;
pub mod detector;
pub mod engine;
mod fields;
mod hints;
pub mod imported;
pub mod kind;
pub mod known;
pub mod mint;
mod numbers;
pub mod parts;
pub mod pass;
mod phrases;
pub mod planes;
pub mod prefilter;
mod random;
mod readers;
pub mod shape;
pub mod stream;
pub mod unwrap;
mod view;
mod wallet;

pub use check::Check;
pub use coding::Coding;
pub use detector::{Action, Detector, Detectors, Home, Profile};
pub use engine::{Boundary, Engine, Finding, Pattern};
pub use kind::Kind;
pub use shape::{Shape, ShapeError};
pub use stream::{Stream, scan};

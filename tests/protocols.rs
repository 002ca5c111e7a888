//! What is more than a request and its response: `WebSocket`, and connections passed undecrypted.

// A test may give up.
#![allow(
    clippy::decimal_bitwise_operands,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    missing_docs
)]

mod common;

#[path = "protocols/endings.rs"]
mod endings;
#[path = "protocols/frames.rs"]
mod frames;
#[path = "protocols/handshakes.rs"]
mod handshakes;
#[path = "protocols/inspection.rs"]
mod inspection;
#[path = "protocols/splice.rs"]
mod splice;
#[path = "protocols/trust.rs"]
mod trust;
#[path = "protocols/ws.rs"]
mod ws;

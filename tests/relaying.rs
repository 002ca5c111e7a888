//! HTTP on both legs: what an agent asks and what the server receives, what the server answers
//! and what the agent gets, HTTP/1 and HTTP/2 on each side in all four pairs.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::large_enum_variant,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

mod common;

#[path = "relaying/agent.rs"]
mod agent;
#[path = "relaying/bench.rs"]
mod bench;
#[path = "relaying/bulk.rs"]
mod bulk;
#[path = "relaying/cutting.rs"]
mod cutting;
#[path = "relaying/fields.rs"]
mod fields;
#[path = "relaying/framing.rs"]
mod framing;
#[path = "relaying/h1.rs"]
mod h1;
#[path = "relaying/interim.rs"]
mod interim;
#[path = "relaying/pooling.rs"]
mod pooling;
#[path = "relaying/server.rs"]
mod server;
#[path = "relaying/sse.rs"]
mod sse;
#[path = "relaying/streaming.rs"]
mod streaming;
#[path = "relaying/transfers.rs"]
mod transfers;

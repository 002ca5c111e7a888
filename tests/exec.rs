//! `portreeve exec` and `portreeve demo` with the real binary: what a command reaches, what it
//! is, what it cannot do, and what is left of it.
//!
//! What needs servers runs in the test world; the rest runs where the test runs, so that
//! an ordinary user is one and root is root.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod common;

#[path = "exec/demo.rs"]
mod demo;
#[path = "exec/ends.rs"]
mod ends;
#[path = "exec/escapes.rs"]
mod escapes;
#[path = "exec/failures.rs"]
mod failures;
#[path = "exec/hidden.rs"]
mod hidden;
#[path = "exec/jail.rs"]
mod jail;
#[path = "exec/network.rs"]
mod network;
#[path = "exec/reach.rs"]
mod reach;
#[path = "exec/same.rs"]
mod same;
#[path = "exec/sockets.rs"]
mod sockets;
#[path = "exec/summary.rs"]
mod summary;
#[path = "exec/terminal.rs"]
mod terminal;
#[path = "exec/trust.rs"]
mod trust;

//! Where requests go: by the rule and the gateway's own lookup, and nowhere else (I1–I4, I8).
//!
//! Every test here asserts on what servers received; a server that should have seen nothing
//! is shown to have seen nothing by [`town::assert_untouched`].

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod common;

#[path = "destination/certificates.rs"]
mod certificates;
#[path = "destination/credential.rs"]
mod credential;
#[path = "destination/default_deny.rs"]
mod default_deny;
#[path = "destination/dns.rs"]
mod dns;
#[path = "destination/foreign.rs"]
mod foreign;
#[path = "destination/name_forms.rs"]
mod name_forms;
#[path = "destination/name_server.rs"]
mod name_server;
#[path = "destination/networks.rs"]
mod networks;
#[path = "destination/one_name.rs"]
mod one_name;
#[path = "destination/one_port.rs"]
mod one_port;
#[path = "destination/origin.rs"]
mod origin;
#[path = "destination/rebinding.rs"]
mod rebinding;
#[path = "destination/resumption.rs"]
mod resumption;
#[path = "destination/spelling.rs"]
mod spelling;
#[path = "destination/town.rs"]
mod town;
#[path = "destination/trust.rs"]
mod trust;

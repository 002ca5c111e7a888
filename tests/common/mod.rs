//! The test world: agents, gateway and internet in network namespaces of their own.
//!
//! ```ignore
//! mod common;
//! use common::{World, inside};
//!
//! #[test]
//! fn agents_reach_what_a_rule_allows() {
//!     inside(|| {
//!         let world = World::new();
//!         let server = Upstream::start(&world.internet, &world.ca, &["good.test"], |_| Answer::ok("hi"));
//!         let gateway = world.gateway_process(CONFIG, &[("good.toml", RULES)]);
//!         // ... act in `world.agent`, assert on `server.requests()`.
//!     });
//! }
//! ```
//!
//! No root, no internet, no running service: [`inside`] runs the test in a user namespace.
//! Waiting is always for an event, with [`DEADLINE`] as the point where the test fails.

// Each test file uses a part of this, and may do what the gateway may not: give up.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::format_push_string,
    clippy::many_single_char_names,
    clippy::missing_panics_doc,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    unused_imports
)]

pub mod client;
pub mod events;
pub mod gateway;
pub mod inside;
pub mod ns;
pub mod pki;
pub mod probe;
pub mod table;
pub mod upstream;
pub mod wire;
pub mod world;

use std::time::Duration;

pub use gateway::GatewayProcess;
pub use inside::{inside, inside_with_users};
pub use ns::Ns;
pub use pki::TestCa;
pub use upstream::Upstream;
pub use wire::{Answer, Request};
pub use world::World;

/// How long anything may take before the test fails. Far above what is needed: nothing is
/// ever asserted on how long something took.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits `future`, or fails the test at the deadline, saying `what` did not happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: nothing happened within {DEADLINE:?}"))
}

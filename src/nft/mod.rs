//! The nftables table that brings every connection of an agent to the gateway, or refuses it.
//!
//! The text templates under `nft/` are the source of truth. [`render()`] puts the operator's
//! settings into one; [`apply()`] loads it in one transaction and keeps a snapshot of what
//! the kernel then lists; [`verify()`] lists again and compares. Listing needs privileges
//! that the gateway does not have, so a root timer verifies and writes a [`Status`] file,
//! which the gateway reads ([`read_status`]) and exports.
//!
//! Only the one table is ever touched: never the rest of the ruleset, and never a rule in
//! place.

mod command;
mod error;
mod file;
mod render;
mod snapshot;
mod status;
mod verify;

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

pub use error::Error;
pub use render::{Rendered, render};
pub use snapshot::Snapshot;
pub use status::{Counter, Status, read_status};
pub use verify::{Verdict, verify};

/// Where `apply` leaves its snapshot and `verify` looks for it.
pub const SNAPSHOT_FILE: &str = "/run/portreeve/nft-applied.json";
/// Where the verify timer leaves its status and the gateway looks for it.
pub const STATUS_FILE: &str = "/run/portreeve/nft-status.json";

/// How often the shipped timer verifies (`systemd/portreeve-nft-verify.timer`).
pub const VERIFY_PERIOD: Duration = Duration::from_secs(60);

/// The one table, of family `inet`.
const TABLE: &str = "portreeve";

/// Where the agents are, as the gateway sees it: one template each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A forwarding box: agents behind interfaces of their own.
    Box,
    /// One network namespace in which every address is local.
    Namespace,
    /// One host: agents are users of the machine that the gateway runs on.
    Uid,
}

/// What a table is rendered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Interfaces behind which agents are; unused in [`Topology::Namespace`].
    pub interfaces: Vec<String>,
    /// TCP ports whose connections go to the proxy.
    pub ports: Vec<u16>,
    /// All TCP ports in place of `ports`, but those on which servers speak first: what is
    /// spoken there the proxy does not understand. [`Topology::Namespace`] only.
    pub every_port: bool,
    /// Where the transparent listener is.
    pub proxy_port: u16,
    /// Where the DNS responder is, UDP and TCP.
    pub dns_port: u16,
    /// Where the admin server is, if it has a port; only counts its refusals apart.
    pub admin_port: Option<u16>,
    /// Agents bound to an interface, with their sources. On an interface all of whose agents
    /// have sources, every other source is dropped.
    pub agents: Vec<(String, Vec<IpNet>)>,
    /// Users who are agents, by name or number; [`Topology::Uid`] only.
    pub users: Vec<String>,
    /// TCP ports on loopback that stay open to them.
    pub local_ports: Vec<u16>,
}

/// Loads the table in one transaction: on any error the old one stays as it is.
///
/// # Errors
/// [`Error`], where `nft` cannot run, may not change the ruleset or refuses the table.
pub fn apply(rendered: &Rendered) -> Result<(), Error> {
    command::load(rendered.text())
}

/// [`apply()`], then writes the snapshot that [`verify()`] compares with.
///
/// # Errors
/// As [`apply()`]; [`Error::Snapshot`] where the table is in force but could not be recorded.
pub fn apply_with_snapshot(rendered: &Rendered, snapshot: &Path) -> Result<(), Error> {
    apply(rendered)?;
    Snapshot::take(rendered)?.write(snapshot)
}

/// Removes the table, and nothing else. Returns whether there was one.
///
/// # Errors
/// [`Error`], where `nft` cannot run or may not change the ruleset.
pub fn remove() -> Result<bool, Error> {
    // Deleting through an empty declaration works whether or not there is a table.
    let present = command::list_table()?.is_some();
    command::load(&format!("table inet {TABLE}\ndelete table inet {TABLE}\n"))?;
    Ok(present)
}

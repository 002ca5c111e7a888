//! What can go wrong with the table, each with its remedy.

use std::io;
use std::path::PathBuf;

/// Why a table could not be rendered, loaded, listed or recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without interfaces a box would redirect nothing and refuse nothing.
    #[error(
        "no agent interface: name at least one in `[redirect] interfaces` or an `[[agent]]`'s `interface`"
    )]
    NoInterfaces,
    /// A name that no agent interface has, or that would end its quotes in the table.
    #[error("interface {name:?} {problem}")]
    Interface {
        /// As configured.
        name: String,
        /// The tail of the sentence, with the remedy.
        problem: &'static str,
    },
    /// Without users a host would redirect nothing and refuse nothing.
    #[error("no agent user: name at least one in `[redirect] users`")]
    NoUsers,
    /// A name that is no user's, or that would become a rule.
    #[error("user {0:?} has a character other than letters, digits, `-` and `_`")]
    User(String),
    /// Without ports nothing would be redirected.
    #[error("no port to redirect: list at least one in `[redirect] ports`")]
    NoPorts,
    /// A port that cannot be redirected, or not listened on.
    #[error("{what} {port} {problem}")]
    Port {
        /// Whose port: the key it comes from.
        what: &'static str,
        /// The number.
        port: u16,
        /// The tail of the sentence, with the remedy.
        problem: &'static str,
    },
    /// There is no `nft` in `PATH` nor in the system's folders for it.
    #[error("cannot find `nft`: install the package nftables")]
    NoCommand,
    /// `nft` is there and does not start, or its pipes broke.
    #[error("cannot run {}", path.display())]
    Run {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `CAP_NET_ADMIN` is missing.
    #[error("not permitted to use nftables: run as root, or in a namespace of your own")]
    NotPermitted,
    /// `nft` ended with an error.
    #[error("nft failed to {task}: {message}")]
    Failed {
        /// What it was to do.
        task: &'static str,
        /// What it said.
        message: String,
    },
    /// `nft` listed something that is no JSON listing of a table.
    #[error("nft listed the table in an unknown form: {0}")]
    Listing(String),
    /// The table is gone or changed within the moment after it was loaded.
    #[error(
        "the table was changed while it was being applied: {0}; see what else manages nftables here"
    )]
    Interfered(String),
    /// The table is in force, but `verify` will have nothing to compare it with.
    #[error("the table is in force, but its snapshot {} cannot be written", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The verdict could not be left for the gateway.
    #[error("cannot write the status file {}", path.display())]
    Status {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer could not be printed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

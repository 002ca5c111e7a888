//! Commands. A command is listed once it works.

mod ca;
pub mod check;
mod harden;
mod log;
pub mod nft;
mod run;
mod wiring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A finding, or a start that failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Bad usage or configuration.
pub(crate) const EXIT_USAGE: u8 = 2;

/// The gateway between AI agents and the internet.
#[derive(Debug, Parser)]
#[command(
    name = "portreeve",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::Args),
    /// Check the configuration and the rules
    Check(wiring::CheckArgs),
    /// Make, show and export the CA that agents trust
    Ca(wiring::CaArgs),
    /// Render, apply, verify and remove the packet filter table
    Nft(wiring::NftArgs),
}

/// Reads the command line and runs it. Exit codes: 0 fine, 1 a finding or failure, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => wiring::check(&args),
        Command::Ca(args) => wiring::ca(&args),
        Command::Nft(args) => wiring::nft(&args),
    }
}

/// Says on standard error what went wrong.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn complain(what: &str) {
    eprintln!("portreeve: {what}");
}

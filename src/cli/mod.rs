//! Commands. A command is listed once it works.

mod ca;
pub mod check;
mod credential;
mod demo;
pub mod dlp;
mod exec;
mod harden;
mod log;
pub mod nft;
mod run;
mod tried;
mod wiring;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Findings;

/// A finding, or a start that failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Bad usage or configuration.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Help of `--config`.
pub(crate) const CONFIG_HELP: &str = "The configuration [default: $PORTREEVE_CONFIG, else \
                                      /etc/portreeve/portreeve.toml if it is there]";

const AFTER_HELP: &str = "\
Exit codes:
  0  fine
  1  a finding, or a start that failed
  2  wrong usage or configuration, or a command that could not do its work

Environment:
  PORTREEVE_CONFIG  the configuration, where --config names none
  PORTREEVE_LOG     what `run` logs on standard error: error, warn, info (default), debug";

/// The gateway between AI agents and the internet.
#[derive(Debug, Parser)]
#[command(
    name = "portreeve",
    version,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::Args),
    /// Run one command that reaches only what rules allow
    Exec(exec::Args),
    /// Show what the gateway does, without the internet
    Demo(demo::Args),
    /// Check the configuration and the rules
    Check(wiring::CheckArgs),
    /// Make, show and export the CA that agents trust
    Ca(wiring::CaArgs),
    /// Show what agents hold in place of secrets
    Credential(wiring::CredentialArgs),
    /// Look for data that must not leave, and show how
    Dlp(wiring::DlpArgs),
    /// Render, apply, verify and remove the packet filter table
    Nft(wiring::NftArgs),
}

/// Reads the command line and runs it. Exit codes: 0 fine, 1 a finding or failure, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => wiring::check(&args),
        Command::Ca(args) => wiring::ca(&args),
        Command::Credential(args) => wiring::credential(&args),
        Command::Dlp(args) => wiring::dlp(&args),
        Command::Nft(args) => wiring::nft(&args),
    }
}

/// Says on standard error what went wrong, with all its causes on one line.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn complain(error: &dyn Error) {
    eprintln!("error: {}", chain(error));
}

/// Says on standard error what went wrong, where there is no error value to say it.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn complain_that(what: &str) {
    eprintln!("error: {what}");
}

/// Says on standard error what may not be meant.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn warn_that(what: &str) {
    eprintln!("warning: {what}");
}

/// Says on standard error what is wrong with the configuration. Findings come with their own
/// places and words, as `check` prints them.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn complain_of(findings: &Findings) {
    eprint!("{findings}");
}

/// Says on standard error what in the configuration may not be meant.
#[allow(
    clippy::print_stderr,
    reason = "this is what a command says to its user"
)]
pub(crate) fn warn_of(findings: &Findings) {
    eprint!("{findings}");
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

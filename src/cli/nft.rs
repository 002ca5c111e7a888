//! `portreeve nft`: render, apply, verify and remove the table.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::nft::{self, Error, SNAPSHOT_FILE, Settings, Topology, Verdict};

/// The table that redirects agents' connections.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the agents are, as the gateway sees it
    #[arg(long, global = true, value_enum, default_value_t = Topology::Box)]
    topology: Topology,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the table
    Render,
    /// Load the table in one transaction; doing it twice is doing it once
    Apply {
        /// Where to leave what `verify` compares with
        #[arg(long, value_name = "FILE", default_value = SNAPSHOT_FILE)]
        snapshot: PathBuf,
    },
    /// Tell whether the table is in force, unchanged and up to date
    Verify {
        /// Where `apply` left its snapshot
        #[arg(long, value_name = "FILE", default_value = SNAPSHOT_FILE)]
        snapshot: PathBuf,
        /// Leave verdict, counters and time here for the gateway to export
        #[arg(long, value_name = "FILE")]
        status_file: Option<PathBuf>,
    },
    /// Remove the table: agents are then cut off only while forwarding is off
    Remove,
}

/// How a command ended; errors are the third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Fine,
    /// Exit code 1: `verify` found a difference.
    Finding,
}

/// Runs one command. `settings` is called only where the command needs them: removing works
/// without a valid configuration.
///
/// # Errors
/// What `settings` returns, or an [`Error`]; exit code 2.
pub fn run<E: From<Error>>(
    args: &Args,
    settings: impl FnOnce() -> Result<Settings, E>,
    out: &mut dyn Write,
) -> Result<Outcome, E> {
    match &args.command {
        Command::Render => {
            let rendered = nft::render(args.topology, &settings()?)?;
            out.write_all(rendered.text().as_bytes())
                .map_err(Error::from)?;
            Ok(Outcome::Fine)
        }
        Command::Apply { snapshot } => {
            let rendered = nft::render(args.topology, &settings()?)?;
            nft::apply_with_snapshot(&rendered, snapshot)?;
            say(out, "The table inet portreeve is in force.")?;
            Ok(Outcome::Fine)
        }
        Command::Verify {
            snapshot,
            status_file,
        } => {
            let verdict = settings().and_then(|settings| {
                let rendered = nft::render(args.topology, &settings)?;
                Ok(nft::verify(&rendered, snapshot)?)
            });
            report(verdict, status_file.as_deref(), out)
        }
        Command::Remove => {
            let removed = nft::remove()?;
            say(
                out,
                if removed {
                    "Removed the table inet portreeve."
                } else {
                    "There was no table inet portreeve."
                },
            )?;
            Ok(Outcome::Fine)
        }
    }
}

/// Prints a verdict and leaves it in the status file. What could not be verified is left
/// there as not correct: the gateway must not go on exporting the last good news.
fn report<E: From<Error>>(
    verdict: Result<Verdict, E>,
    status_file: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Outcome, E> {
    if let Some(path) = status_file {
        let unknown = || Verdict {
            differences: vec!["the table could not be verified".to_owned()],
            ..Verdict::default()
        };
        let known = verdict.as_ref().map_or_else(|_| unknown(), Clone::clone);
        known.write(path, SystemTime::now())?;
    }
    let verdict = verdict?;
    if verdict.is_correct() {
        say(
            out,
            "The table inet portreeve is in force, unchanged and up to date.",
        )?;
        return Ok(Outcome::Fine);
    }
    for difference in &verdict.differences {
        say(out, difference)?;
    }
    Ok(Outcome::Finding)
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), Error> {
    writeln!(out, "{line}").map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn settings() -> Settings {
        Settings {
            interfaces: vec!["tap7".into()],
            ports: vec![443],
            proxy_port: 8443,
            dns_port: 8053,
            ..Settings::default()
        }
    }

    fn run_line(line: &str) -> (Result<Outcome, Error>, String) {
        let cli = Cli::parse_from(std::iter::once("nft").chain(line.split(' ')));
        let mut out = Vec::new();
        let outcome = run(&cli.args, || Ok(settings()), &mut out);
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn render_prints_the_topology_asked_for() {
        let (outcome, text) = run_line("render");
        assert_eq!(outcome.unwrap(), Outcome::Fine);
        assert!(text.contains("define interfaces = { \"tap7\" }"));
        let (_, text) = run_line("render --topology namespace");
        assert!(!text.contains("tap7"));
    }

    #[test]
    fn what_could_not_be_verified_is_left_as_not_correct() {
        let folder = tempfile::tempdir().unwrap();
        let status = folder.path().join("status.json");
        let verdict = Err(Error::NotPermitted);
        let outcome = report(verdict, Some(&status), &mut Vec::new());
        assert!(matches!(outcome, Err(Error::NotPermitted)));
        assert!(!nft::read_status(&status).unwrap().correct);
    }
}

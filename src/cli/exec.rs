//! `portreeve exec`: one command in a jail, with a gateway of its own.
//!
//! Everything that may be wrong with the command line or the configuration is told before
//! anything starts. What follows is the jail ([`crate::jail`]) and, in the gateway's own
//! process, [`serve`].

mod learn;
mod serve;
mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{EXIT_FAILED, EXIT_USAGE, complain, complain_of, complain_that, warn_of, warn_that};
use crate::config::{self, CommandLine, Config, Env, Loaded};
use crate::credential::{Source, Spec};
use crate::jail::{self, Plan};
use crate::nft::{self, Topology};

/// Runs a command that reaches only what rules allow.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Connections of the command go through a gateway that verifies, decides and attaches \
credentials as `portreeve run` does. No root, no proxy variables, no client configuration.

Example: portreeve exec --allow api.anthropic.com -- claude")]
pub struct Args {
    /// A rules folder, or one file of rules [default: `rules` beside the configuration]
    #[arg(long, value_name = "FILE|DIR")]
    rules: Option<PathBuf>,
    /// Allow everything on this host, as in the `hosts` of a rule; may be given many times
    #[arg(long, value_name = "HOST[:PORT]")]
    allow: Vec<String>,
    /// The configuration [default: that of the environment's `PORTREEVE_CONFIG`, or none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave this path visible that would be hidden (`~/.ssh`, what is in `/tmp` …)
    #[arg(long, value_name = "PATH")]
    show: Vec<PathBuf>,
    /// Hide this file or folder, too (`.env`, say)
    #[arg(long, value_name = "PATH")]
    hide: Vec<PathBuf>,
    /// Leave this variable set that would be unset
    #[arg(long, value_name = "NAME")]
    keep_env: Vec<String>,
    /// As root: run the command as this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Forbid user namespaces and Unix sockets, too
    #[arg(long)]
    strict: bool,
    /// Write the least rules that allow what the command asked for
    #[arg(long, value_name = "FILE")]
    learn: Option<PathBuf>,
    /// Write the gateway's metrics at the end, as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// The summary as one JSON object, on the last line of standard error
    #[arg(long)]
    json: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs to the command's end; its exit code.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    super::log::init_at("warn");
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(findings) => {
            complain_of(&findings);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Some(path) = args.learn.as_deref().filter(|path| path.exists()) {
        complain_that(&format!(
            "{} is there already: name a new file for --learn",
            path.display()
        ));
        return ExitCode::from(EXIT_USAGE);
    }
    let plan = match plan(args, &loaded) {
        Ok(plan) => plan,
        Err(error) => {
            complain_that(&format!("cannot tell the working folder: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    if let Err(error) = plan.check() {
        complain(&error);
        return ExitCode::from(error.exit_code());
    }
    warn_of(&loaded.warnings);
    if args.user.is_none() && rustix::process::geteuid().is_root() {
        warn_that(
            "as root this is a network jail only: the command may change every file that \
             root may. Give `--user NAME` for a jail that holds",
        );
    }
    let report = summary::Options {
        json: args.json,
        learn: args.learn.clone(),
        metrics: args.metrics.clone(),
    };
    ExitCode::from(start(&plan, loaded, &report))
}

/// The jail of `plan` around a gateway of `loaded`; the exit code.
fn start(plan: &Plan, loaded: Loaded, report: &summary::Options) -> u8 {
    match jail::run(plan, load_table, |link| serve::run(&link, loaded, report)) {
        Ok(code) => code,
        // It said so itself.
        Err(jail::Error::Gateway(code)) if code != 0 => code,
        Err(error) => {
            complain(&error);
            error.exit_code()
        }
    }
}

fn load(args: &Args) -> Result<Loaded, config::Findings> {
    let command_line = CommandLine {
        rules: args.rules.clone(),
        allow: args.allow.clone(),
    };
    let mut loaded =
        config::load_for_command(args.config.as_deref(), &Env::system(), command_line)?;
    serve::keep_records_apart(&mut loaded.config);
    Ok(loaded)
}

fn plan(args: &Args, loaded: &Loaded) -> std::io::Result<Plan> {
    let absolute = |paths: &[PathBuf]| -> std::io::Result<Vec<PathBuf>> {
        paths.iter().map(std::path::absolute).collect()
    };
    let config = args
        .config
        .as_deref()
        .map(std::path::absolute)
        .transpose()?;
    let read_only = config.into_iter().chain(loaded.config.rules.clone());
    let mut hidden = absolute(&args.hide)?;
    hidden.extend(secrets_of(loaded));
    Ok(Plan {
        command: args.command.clone(),
        folder: std::env::current_dir()?,
        show: absolute(&args.show)?,
        keep_env: args.keep_env.clone(),
        read_only: read_only.collect(),
        hidden,
        strict: args.strict,
        user: args.user.clone(),
    })
}

/// The files of secrets, and the state with the records of all runs.
fn secrets_of(loaded: &Loaded) -> Vec<PathBuf> {
    let file = |source: &Source| match source {
        Source::File(path) => Some(path.clone()),
        Source::Systemd(_) => std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        Source::Env(_) | Source::Command { .. } | Source::Vault(_) => None,
    };
    let secrets = loaded
        .credentials
        .iter()
        .flat_map(Spec::local_sources)
        .chain(loaded.secrets.iter().map(|listed| &listed.source))
        .filter_map(file);
    secrets
        .chain(state_of(&loaded.config).map(Path::to_owned))
        .collect()
}

fn state_of(config: &Config) -> impl Iterator<Item = &Path> {
    let key = match &config.ca {
        config::Ca::Own { key, .. } => Some(key.as_path()),
        config::Ca::Made { .. } => None,
    };
    std::iter::once(config.state_dir.as_path()).chain(key)
}

/// Loads the table of a namespace into the one this process is in.
fn load_table(bound: jail::Ports) -> Result<(), String> {
    let settings = nft::Settings {
        every_port: true,
        proxy_port: bound.transparent,
        dns_port: bound.dns,
        ..nft::Settings::default()
    };
    let text = |error: nft::Error| {
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    };
    let rendered = nft::render(Topology::Namespace, &settings).map_err(text)?;
    nft::apply(&rendered).map_err(text)
}

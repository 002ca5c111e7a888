//! From the configuration to the plain values that the smaller commands take.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{
    CONFIG_HELP, EXIT_FAILED, EXIT_USAGE, ca, check, complain, complain_of, credential, dlp, nft,
};
use crate::config::{self, Config, Env, Findings};
use crate::gateway::assemble::make_state_dir;
use crate::nft::Settings;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Also have every secret: read files, run commands, ask vaults, get tokens
    #[arg(long)]
    credentials: bool,
}

/// Options of `ca`.
#[derive(Debug, clap::Args)]
pub struct CaArgs {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: ca::Command,
}

/// Options of `credential`.
#[derive(Debug, clap::Args)]
pub struct CredentialArgs {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: credential::Command,
}

/// Options of `dlp`.
#[derive(Debug, clap::Args)]
pub struct DlpArgs {
    /// The configuration [default: /etc/portreeve/portreeve.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: dlp::Command,
}

/// Options of `nft`.
#[derive(Debug, clap::Args)]
pub struct NftArgs {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    #[command(flatten)]
    args: nft::Args,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(Findings),
    #[error(transparent)]
    Nft(#[from] crate::nft::Error),
}

pub fn check(args: &CheckArgs) -> ExitCode {
    let done = check::run(
        args.config.as_deref(),
        &Env::system(),
        check::Options {
            json: args.json,
            credentials: args.credentials,
        },
        &mut io::stdout().lock(),
    );
    match done {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => failed(&error),
    }
}

pub fn dlp(args: &DlpArgs) -> ExitCode {
    let detectors = match config::detectors(args.config.as_deref(), &Env::system()) {
        Ok(detectors) => detectors,
        Err(findings) => return usage(&Failure::Config(findings)),
    };
    match dlp::run(&args.command, detectors, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

pub fn credential(args: &CredentialArgs) -> ExitCode {
    let loaded = match config::load(args.config.as_deref(), &Env::system()) {
        Ok(loaded) => loaded,
        Err(findings) => return usage(&Failure::Config(findings)),
    };
    if let Err(error) = make_state_dir(&loaded.config.state_dir) {
        complain(&error);
        return ExitCode::from(EXIT_USAGE);
    }
    match credential::run(&args.command, loaded, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

pub fn ca(args: &CaArgs) -> ExitCode {
    if let ca::Command::IssueIntermediate(_) = &args.command {
        // There is no gateway where an offline root is, and so no configuration.
        let nowhere = ca::Location::Own {
            state: PathBuf::new(),
        };
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        return ExitCode::from(ca::run(&args.command, &nowhere, &mut out, &mut err));
    }
    let config = match load(args.config.as_deref()) {
        Ok(config) => config,
        Err(failure) => return usage(&failure),
    };
    let location = match config.ca {
        config::Ca::Made { .. } => ca::Location::Own {
            state: config.state_dir,
        },
        config::Ca::Own {
            certificate,
            key,
            chain,
        } => ca::Location::Operator {
            certificate,
            chain,
            key,
        },
    };
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    ExitCode::from(ca::run(&args.command, &location, &mut out, &mut err))
}

pub fn nft(args: &NftArgs) -> ExitCode {
    let settings = || nft_settings(args.config.as_deref());
    match nft::run(&args.args, settings, &mut io::stdout().lock()) {
        Ok(nft::Outcome::Fine) => ExitCode::SUCCESS,
        Ok(nft::Outcome::Finding) => ExitCode::from(EXIT_FAILED),
        Err(failure) => usage(&failure),
    }
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    config::load(file, &Env::system())
        .map(|loaded| loaded.config)
        .map_err(Failure::Config)
}

fn nft_settings(file: Option<&Path>) -> Result<Settings, Failure> {
    let loaded = config::load(file, &Env::system()).map_err(Failure::Config)?;
    let listen = &loaded.config.listen;
    let bound = |agent: &config::Agent| {
        let interface = agent.interface.clone()?;
        Some((interface, agent.sources.clone()))
    };
    Ok(Settings {
        interfaces: loaded.config.redirect.interfaces,
        ports: loaded.config.redirect.ports,
        every_port: false,
        proxy_port: listen.transparent.port(),
        dns_port: listen.dns.map_or(0, |address| address.port()),
        admin_port: listen.admin.map(|address| address.port()),
        users: loaded.config.redirect.users,
        local_ports: loaded.config.redirect.local_ports,
        agents: loaded.agents.iter().filter_map(bound).collect(),
    })
}

fn failed(error: &io::Error) -> ExitCode {
    complain(error);
    ExitCode::from(EXIT_FAILED)
}

fn usage(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Config(findings) => complain_of(findings),
        Failure::Nft(error) => complain(error),
    }
    ExitCode::from(EXIT_USAGE)
}

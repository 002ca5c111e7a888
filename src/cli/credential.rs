//! `portreeve credential`: what there is to know of credentials, without their values.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::tried;
use crate::config::Loaded;
use crate::credential::placeholder::StandIns;
use crate::credential::{Attach, Source, Spec, State};
use crate::gateway::assemble::fetcher;
use crate::sources::{Report, Reported, Tried};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List all credentials: source, hosts, state, age and fingerprint; never a value
    List,
    /// Have a secret as the gateway would, and say whether that works; never a value
    Test {
        /// The credential
        name: String,
    },
    /// Print the stand-in that agents hold in place of a secret
    Placeholder {
        /// A credential that says `attach = { placeholder = … }`
        name: String,
    },
}

/// Runs a command; whether all is fine.
///
/// # Errors
/// The credential is not there, or not of that kind; the state folder cannot be read.
pub fn run(command: &Command, loaded: Loaded, out: &mut impl Write) -> io::Result<bool> {
    match command {
        Command::List => list(&loaded, out).map(|()| true),
        Command::Test { name } => test(name, &loaded, out),
        Command::Placeholder { name } => placeholder(name, loaded, out).map(|()| true),
    }
}

/// A line for each credential: what is configured, and what the running gateway last said.
fn list(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let reported = reported(loaded)?;
    for spec in &loaded.credentials {
        write!(out, "{}; ", configured(spec))?;
        let name = &spec.name;
        let known = reported.iter().find(|known| known.name == name.as_str());
        match known {
            None => writeln!(out, "no gateway has said anything of it yet")?,
            Some(known) => writeln!(out, "{}", told(known))?,
        }
    }
    Ok(())
}

/// What the running gateway last said of all credentials.
fn reported(loaded: &Loaded) -> io::Result<Vec<Reported>> {
    match Report::new(&loaded.config.state_dir).read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

fn configured(spec: &Spec) -> String {
    let hosts: Vec<String> = spec.hosts.iter().map(ToString::to_string).collect();
    let (source, hosts) = (source(&spec.source), hosts.join(", "));
    format!("{}: from {source}, for {hosts}", spec.name)
}

/// What is configured, what the running gateway last said, and what comes of having the value
/// now, from here.
fn test(name: &str, loaded: &Loaded, out: &mut impl Write) -> io::Result<bool> {
    let mut specs = loaded.credentials.iter();
    let spec = specs.find(|spec| spec.name.as_str() == name);
    let spec = spec.ok_or_else(|| unknown(name))?;
    writeln!(out, "{}", configured(spec))?;
    let report = Report::new(&loaded.config.state_dir);
    let reported = reported(loaded)?;
    let known = reported.iter().find(|known| known.name == name);
    match known {
        None => writeln!(out, "gateway: has not said anything of it yet")?,
        Some(known) => writeln!(out, "gateway: last said {}", told(known))?,
    }
    let attempt = async {
        let fetcher = fetcher(&loaded.config).await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(fetcher.try_once(spec).await)
    };
    let tried = tried::wait(attempt).map_err(io::Error::other)??;
    let by_gateway = known.is_some_and(|known| known.state != State::Absent.label());
    match tried {
        Ok(Tried::Had { secret, lifetime }) => {
            let mark = report.known_fingerprint(&secret);
            let mark = mark.map_or(String::new(), |mark| format!(", fingerprint {mark}"));
            let left = lifetime.map(|it| format!(", valid for {} s", it.as_secs()));
            writeln!(out, "now: it can be had{mark}{}", left.unwrap_or_default())?;
            Ok(true)
        }
        Ok(Tried::Left(why)) => {
            writeln!(out, "now: not tried, because {why}")?;
            Ok(by_gateway)
        }
        Err(cause) if cause.is_of_environment() && known.is_some() => {
            let why = cause.in_full();
            writeln!(
                out,
                "now: not to be had from here ({why}); the gateway has an environment of its own"
            )?;
            Ok(by_gateway)
        }
        Err(cause) => {
            let why = cause.in_full();
            writeln!(out, "now: credential `{name}` cannot be had: {why}")?;
            Ok(false)
        }
    }
}

fn unknown(name: &str) -> io::Error {
    let why = format!("no credential is called `{name}`: see `portreeve credential list`");
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn source(source: &Source) -> String {
    match source {
        Source::File(path) => format!("file {}", path.display()),
        Source::Env(name) => format!("environment variable {name}"),
        Source::Systemd(name) => format!("systemd credential {name}"),
        Source::Command { argv, .. } => {
            format!("command {}", argv.first().map_or("", String::as_str))
        }
        Source::Vault(vault) => {
            let (host, path) = (&vault.host, &vault.path);
            format!("vault {host}:{}, {path}", vault.port)
        }
    }
}

/// What a gateway said of a credential.
fn told(known: &Reported) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let age = known.obtained.map(|at| now.saturating_sub(at));
    let parts = [
        age.map(|age| format!(", obtained {age} s ago")),
        known
            .fingerprint
            .as_ref()
            .map(|it| format!(", fingerprint {it}")),
        known.trouble.as_ref().map(|it| format!("; {it}")),
    ];
    let parts: String = parts.into_iter().flatten().collect();
    format!("{}{parts}", known.state)
}

fn placeholder(name: &str, mut loaded: Loaded, out: &mut impl Write) -> io::Result<()> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    loaded.credentials.retain(|spec| spec.name.as_str() == name);
    match loaded.credentials.first().map(|spec| &spec.attach) {
        None => return Err(unknown(name)),
        Some(Attach::Placeholder { .. }) => {}
        Some(_) => {
            return Err(wrong(format!(
                "the credential `{name}` has no stand-in: agents send nothing in its place"
            )));
        }
    }
    StandIns::fill(&loaded.config.state_dir, &mut loaded.credentials)?;
    for spec in &loaded.credentials {
        if let Attach::Placeholder {
            value: Some(value), ..
        } = &spec.attach
        {
            writeln!(out, "{value}")?;
        }
    }
    Ok(())
}

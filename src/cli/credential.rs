//! `portreeve credential`: what there is to know of credentials, without their values.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Loaded;
use crate::credential::placeholder::StandIns;
use crate::credential::{Attach, Source};
use crate::sources::{Report, Reported};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List all credentials: source, hosts, state, age and fingerprint; never a value
    List,
    /// Print the stand-in that agents hold in place of a secret
    Placeholder {
        /// A credential that says `attach = { placeholder = … }`
        name: String,
    },
}

/// Runs a command.
///
/// # Errors
/// The credential is not there, or not of that kind; the state folder cannot be read.
pub fn run(command: &Command, loaded: Loaded, out: &mut impl Write) -> io::Result<()> {
    match command {
        Command::List => list(&loaded, out),
        Command::Placeholder { name } => placeholder(name, loaded, out),
    }
}

/// A line for each credential: what is configured, and what the running gateway last said.
fn list(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let reported = match Report::new(&loaded.config.state_dir).read() {
        Ok(reported) => reported,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for spec in &loaded.credentials {
        let hosts: Vec<String> = spec.hosts.iter().map(ToString::to_string).collect();
        let (name, source, hosts) = (&spec.name, source(&spec.source), hosts.join(", "));
        write!(out, "{name}: from {source}, for {hosts}; ")?;
        let known = reported.iter().find(|known| known.name == name.as_str());
        match known {
            None => writeln!(out, "no gateway has said anything of it yet")?,
            Some(known) => writeln!(out, "{}", told(known))?,
        }
    }
    Ok(())
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
        None => return Err(wrong(format!("no credential is called `{name}`"))),
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

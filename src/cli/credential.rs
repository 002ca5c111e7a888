//! `portreeve credential`: what there is to know of credentials, without their values.

use std::io::{self, Write};

use crate::config::Loaded;
use crate::credential::Attach;
use crate::credential::placeholder::StandIns;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
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
        Command::Placeholder { name } => placeholder(name, loaded, out),
    }
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

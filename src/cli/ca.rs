//! `portreeve ca`: make, show and export the CA.
//!
//! Nothing here shows a private key. `show` and `export` read only certificates, so they work
//! for anybody who may enter the state folder, root included.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::chain;
use crate::ca::{CaCertificate, CaError, CertificateAuthority, issue_intermediate};

/// Done.
const FINE: u8 = 0;
/// Done, and something is not as it should be.
const FINDING: u8 = 1;
/// Not done.
const FAILED: u8 = 2;

/// Make, show or export the CA that signs what agents see.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make the CA, unless it is there. `run` does the same on its first start.
    Init,
    /// Show the CA: subject, fingerprint, validity, files. Exit code 1 if there is none yet
    /// or it is not valid now.
    Show(Show),
    /// Write the certificate that agents must trust; never the key.
    Export(Export),
    /// Where an offline root is: make a key and an intermediate for a gateway.
    IssueIntermediate(IssueIntermediate),
}

/// Options of `ca show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `ca export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// How the certificate is encoded.
    #[arg(long, value_enum, default_value_t = Format::Pem)]
    pub format: Format,
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Options of `ca issue-intermediate`.
#[derive(Debug, clap::Args)]
pub struct IssueIntermediate {
    /// The root's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// The root's key (PEM, not encrypted, readable by its owner only).
    #[arg(long, value_name = "FILE")]
    pub root_key: PathBuf,
    /// The gateway's name, as it stands in the certificate.
    #[arg(long, value_parser = plain_name)]
    pub name: String,
    /// Where to put gateway.pem, gateway.key and root.pem; nothing there is overwritten.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// How long it is valid; never beyond the root.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// What a common name may be (RFC 5280 appendix A: 64 characters).
fn plain_name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|letter| !letter.is_control());
    if text.trim() != text || text.is_empty() || text.chars().count() > 64 || !plain {
        return Err("a name of 1 to 64 printable characters".to_owned());
    }
    Ok(text.to_owned())
}

/// How an exported certificate is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text, for nearly everything on Linux.
    Pem,
    /// Binary, for Java and Windows.
    Der,
}

/// Which CA the configuration says to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The gateway's own, in this state folder.
    Own {
        /// The state folder.
        state: PathBuf,
    },
    /// The operator's.
    Operator {
        /// The certificate that signs.
        certificate: PathBuf,
        /// Its issuers.
        chain: Option<PathBuf>,
        /// Its private key.
        key: PathBuf,
    },
}

/// Runs a command; `out` gets the result and `err` what went wrong. Returns the exit code.
pub fn run(command: &Command, location: &Location, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match command {
        Command::Init => init(location, out),
        Command::Show(options) => show(location, options, out),
        Command::Export(options) => export(location, options, out, err),
        Command::IssueIntermediate(options) => issue(options, out),
    };
    match done {
        Ok(code) => code,
        // `portreeve ca export | head -1`
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => FINE,
        Err(failure) => {
            // Where standard error is gone too, the exit code is all there is.
            let _ = writeln!(err, "error: {}", chain(&failure));
            match failure {
                Failure::Ca(CaError::Absent { .. }) => FINDING,
                Failure::Ca(_) | Failure::Output(_) | Failure::File { .. } => FAILED,
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    #[error("cannot write {path}")]
    File { path: PathBuf, source: io::Error },
}

fn init(location: &Location, out: &mut dyn Write) -> Result<u8, Failure> {
    let (ca, what) = match location {
        Location::Own { state } => {
            let (ca, created) = CertificateAuthority::init(state)?;
            (
                ca,
                if created {
                    "made a new CA"
                } else {
                    "the CA is already there"
                },
            )
        }
        Location::Operator {
            certificate,
            chain,
            key,
        } => {
            let ca = CertificateAuthority::load(certificate, chain.as_deref(), key)?;
            (
                ca,
                "the operator's CA is in use and can sign; nothing to make",
            )
        }
    };
    writeln!(out, "{what}: {}", ca.subject())?;
    writeln!(out, "certificate: {}", certificate_path(location).display())?;
    writeln!(out, "SHA-256:     {}", ca.fingerprint())?;
    Ok(FINE)
}

/// What `ca show` says; the keys of the JSON object are stable.
#[derive(Serialize)]
struct Facts<'a> {
    subject: &'a str,
    fingerprint_sha256: &'a str,
    /// RFC 3339, UTC.
    not_before: String,
    /// RFC 3339, UTC.
    not_after: String,
    valid: bool,
    certificate: &'a Path,
    key: &'a Path,
    operator: bool,
}

fn show(location: &Location, options: &Show, out: &mut dyn Write) -> Result<u8, Failure> {
    let found = signing(location)?;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let key = match location {
        Location::Own { state } => CertificateAuthority::key_path(state),
        Location::Operator { key, .. } => key.clone(),
    };
    let facts = Facts {
        subject: found.subject(),
        fingerprint_sha256: found.fingerprint(),
        not_before: rfc3339(found.not_before()),
        not_after: rfc3339(found.not_after()),
        valid: (found.not_before()..=found.not_after()).contains(&now),
        certificate: &certificate_path(location),
        key: &key,
        operator: matches!(location, Location::Operator { .. }),
    };
    if options.json {
        let text = serde_json::to_string_pretty(&facts).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        write_facts(&facts, now > found.not_after(), out)?;
    }
    Ok(if facts.valid { FINE } else { FINDING })
}

fn write_facts(facts: &Facts<'_>, over: bool, out: &mut dyn Write) -> io::Result<()> {
    let state = match (facts.valid, over) {
        (true, _) => "",
        (false, true) => " (expired)",
        (false, false) => " (not valid yet)",
    };
    writeln!(out, "subject:     {}", facts.subject)?;
    writeln!(out, "SHA-256:     {}", facts.fingerprint_sha256)?;
    writeln!(out, "valid from:  {}", facts.not_before)?;
    writeln!(out, "valid until: {}{state}", facts.not_after)?;
    writeln!(out, "certificate: {}", facts.certificate.display())?;
    let whose = if facts.operator {
        " (the operator's)"
    } else {
        ""
    };
    writeln!(out, "key:         {}{whose}", facts.key.display())
}

fn export(
    location: &Location,
    options: &Export,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let root = root(location)?;
    if !root.is_root() {
        // A warning that cannot be written is no reason to export nothing.
        let _ = writeln!(
            err,
            "note: {} is an intermediate; some clients trust only roots, so put its root last \
             into the chain file",
            root.subject()
        );
    }
    let bytes = match options.format {
        Format::Pem => root.pem().into_bytes(),
        Format::Der => root.der().to_vec(),
    };
    if let Some(path) = &options.out {
        std::fs::write(path, bytes).map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })?;
    } else {
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(FINE)
}

fn issue(options: &IssueIntermediate, out: &mut dyn Write) -> Result<u8, Failure> {
    let root = (options.root.as_path(), options.root_key.as_path());
    let validity = Duration::from_secs(u64::from(options.days) * 24 * 3600);
    let issued = issue_intermediate(root, &options.name, validity, &options.out)?;
    writeln!(out, "certificate: {}", issued.certificate.display())?;
    writeln!(out, "key:         {}", issued.key.display())?;
    writeln!(out, "chain:       {}", issued.chain.display())?;
    writeln!(out, "valid until: {}", rfc3339(issued.not_after))?;
    writeln!(
        out,
        "bring all three to the gateway and name them in `[ca]`"
    )?;
    Ok(FINE)
}

/// The certificate that signs leaves.
fn signing(location: &Location) -> Result<CaCertificate, CaError> {
    let path = certificate_path(location);
    match (location, CaCertificate::read(&path)) {
        (Location::Own { .. }, Err(CaError::Io { source, .. }))
            if source.kind() == io::ErrorKind::NotFound =>
        {
            let folder = path.parent().unwrap_or(&path).to_owned();
            Err(CaError::Absent { folder })
        }
        (_, read) => read,
    }
}

/// The certificate that agents must trust.
fn root(location: &Location) -> Result<CaCertificate, CaError> {
    match location {
        Location::Operator {
            certificate,
            chain: Some(chain),
            ..
        } => CaCertificate::read_root(certificate, chain),
        Location::Operator { chain: None, .. } | Location::Own { .. } => signing(location),
    }
}

fn certificate_path(location: &Location) -> PathBuf {
    match location {
        Location::Own { state } => CertificateAuthority::certificate_path(state),
        Location::Operator { certificate, .. } => certificate.clone(),
    }
}

fn rfc3339(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("second {unix} of Unix time"))
}

#[cfg(test)]
mod tests;

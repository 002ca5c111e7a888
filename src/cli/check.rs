//! `portreeve check`: is this configuration right?

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use super::tried;
use crate::config::{Env, Findings, Loaded, load};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found.
    Fine,
    /// The gateway would start, but something may not be meant.
    Warnings,
    /// It would not start.
    Errors,
}

impl Outcome {
    /// 0, 1 or 2.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Warnings => 1,
            Self::Errors => 2,
        }
    }
}

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Write one JSON object.
    pub json: bool,
    /// Also have every secret, as the gateway would.
    pub credentials: bool,
}

/// Checks the configuration in `file`, or the one [`Env::config_file`] finds, and writes every
/// finding and a summary to `out`: as text, or as one JSON object.
///
/// # Errors
/// Those of writing to `out`.
pub fn run(
    file: Option<&Path>,
    env: &Env,
    options: Options,
    out: &mut impl Write,
) -> io::Result<Outcome> {
    let (summary, findings) = match load(file, env) {
        Ok(mut loaded) => {
            if options.credentials {
                let tried = tried::wait(tried::credentials(&loaded)).map_err(io::Error::other)?;
                loaded.warnings.append(tried);
            }
            (Some(Summary::of(&loaded)), loaded.warnings)
        }
        Err(findings) => (None, findings),
    };
    let outcome = match (&summary, findings.is_empty()) {
        (None, _) => Outcome::Errors,
        (Some(_), false) => Outcome::Warnings,
        (Some(_), true) => Outcome::Fine,
    };
    if options.json {
        write_json(summary.as_ref(), &findings, out)?;
    } else {
        write_text(summary.as_ref(), &findings, out)?;
    }
    Ok(outcome)
}

/// How much there is of everything.
struct Summary {
    rules: usize,
    credentials: usize,
    agents: usize,
}

impl Summary {
    fn of(loaded: &Loaded) -> Self {
        Self {
            rules: loaded.rules.len(),
            credentials: loaded.credentials.len(),
            agents: loaded.agents.len(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            credentials,
            agents,
        } = *self;
        let (rules, credentials, agents) = (
            count(rules, "rule"),
            count(credentials, "credential"),
            count(agents, "agent"),
        );
        write!(f, "{rules}, {credentials}, {agents}")
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn write_text(
    summary: Option<&Summary>,
    findings: &Findings,
    out: &mut impl Write,
) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let warnings = findings.len() - findings.errors();
    match summary {
        Some(summary) if warnings == 0 => writeln!(out, "ok: {summary}"),
        Some(summary) => writeln!(out, "{}: {summary}", count(warnings, "warning")),
        None if warnings == 0 => writeln!(out, "{}", count(findings.errors(), "error")),
        None => {
            let errors = count(findings.errors(), "error");
            writeln!(out, "{errors}, {}", count(warnings, "warning"))
        }
    }
}

fn write_json(
    summary: Option<&Summary>,
    findings: &Findings,
    out: &mut impl Write,
) -> io::Result<()> {
    let findings: Vec<_> = findings
        .iter()
        .map(crate::config::Finding::to_json)
        .collect();
    let summary = summary.map(|summary| {
        serde_json::json!({
            "rules": summary.rules,
            "credentials": summary.credentials,
            "agents": summary.agents,
        })
    });
    let report = serde_json::json!({
        "usable": summary.is_some(),
        "summary": summary,
        "findings": findings,
    });
    writeln!(out, "{report}")
}

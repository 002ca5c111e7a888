//! What a run did, read from its own records: on standard error for people or machines, and
//! as rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::learn::{Asked, Place};
use crate::cli::{EXIT_FAILED, complain_that};
use crate::error::{Reason, Verdict};

/// Hosts that are told to people; machines and rules get all.
const SHOWN: usize = 20;

/// How to tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// As one JSON object.
    pub json: bool,
    /// Where to write rules.
    pub learn: Option<PathBuf>,
    /// Where to write metrics.
    pub metrics: Option<PathBuf>,
}

/// A host that something was denied on.
#[derive(Debug, Default)]
struct Denial {
    count: u64,
    reason: String,
    sentence: String,
    /// What a rule would have to allow; empty where no rule would help.
    asked: Asked,
}

/// A run in numbers and names.
#[derive(Debug, Default)]
struct Summary {
    requests: u64,
    denied: u64,
    credentials: BTreeMap<String, u64>,
    denials: BTreeMap<Place, Denial>,
    /// All that was asked for and no rule forbids.
    asked: BTreeMap<Place, Asked>,
}

/// Tells it; the exit code.
pub(super) fn tell(file: &Path, metrics: &str, options: &Options) -> u8 {
    let told = Summary::read(file).and_then(|summary| {
        say(&summary, file, options)?;
        if let Some(path) = &options.metrics {
            write_new(path, metrics)?;
        }
        options
            .learn
            .as_deref()
            .map_or(Ok(()), |path| write_new(path, &summary.rules()))
    });
    match told {
        Ok(()) => 0,
        Err(error) => {
            complain_that(&format!("cannot sum the run up: {error}"));
            EXIT_FAILED
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "this is what the command says to its user"
)]
fn say(summary: &Summary, file: &Path, options: &Options) -> io::Result<()> {
    if options.json {
        eprintln!("{}", summary.json(file));
    } else if summary.requests > 0 || !summary.denials.is_empty() {
        eprint!("{}", summary.text(file).map_err(io::Error::other)?);
    }
    Ok(())
}

/// Never over a file, nor through a link, that the command may have put there.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| io::Error::other(format!("cannot write {}: {error}", path.display())))
}

impl Summary {
    fn read(file: &Path) -> io::Result<Self> {
        let mut summary = Self::default();
        for line in BufReader::new(fs::File::open(file)?).lines() {
            let record: Value = serde_json::from_str(&line?)?;
            summary.add(&record);
        }
        Ok(summary)
    }

    fn add(&mut self, record: &Value) {
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let kind = text("portreeve.record.kind");
        if !matches!(kind, Some("request" | "connection")) {
            return;
        }
        let verdict = text("portreeve.verdict").unwrap_or_default();
        let denied = verdict == Verdict::Deny.label();
        if kind == Some("request") {
            self.requests += 1;
        } else if !denied {
            return;
        }
        let names = text("portreeve.credential").unwrap_or_default();
        for credential in names.split(", ").filter(|name| !name.is_empty()) {
            *self.credentials.entry(credential.to_owned()).or_default() += 1;
        }
        let reason = text("portreeve.reason").unwrap_or_default();
        let place = Place::of(record);
        let by_no_rule = reason == Reason::NoRule.label();
        if let Some(place) = place.clone().filter(|_| !denied || by_no_rule) {
            self.asked.entry(place).or_default().add(record);
        }
        if denied {
            self.denied += 1;
            let denial = self.denials.entry(place.unwrap_or_default()).or_default();
            denial.count += 1;
            if by_no_rule {
                denial.asked.add(record);
            }
            // A rule that is missing is the reason that helps most.
            if by_no_rule || denial.reason.is_empty() {
                reason.clone_into(&mut denial.reason);
                text("portreeve.sentence")
                    .unwrap_or_default()
                    .clone_into(&mut denial.sentence);
            }
        }
    }

    fn text(&self, file: &Path) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        write!(text, "portreeve: {}", counted(self.requests, "request"))?;
        write!(text, ", {} denied", self.denied)?;
        if !self.credentials.is_empty() {
            let used = |(name, count): (&String, &u64)| format!("{name} ({count})");
            let used: Vec<String> = self.credentials.iter().map(used).collect();
            write!(text, "; credentials used: {}", used.join(", "))?;
        }
        writeln!(text, "; records in {}", file.display())?;
        for (place, denial) in self.denials.iter().take(SHOWN) {
            writeln!(
                text,
                "  denied: {place} ({}): {}",
                denial.count, denial.sentence
            )?;
            if !denial.asked.is_empty() {
                writeln!(text, "  this rule would have allowed it:")?;
                for line in denial.asked.rule(place).lines() {
                    writeln!(text, "    {line}")?;
                }
            }
        }
        let more = self.denials.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(text, "  and {more} more hosts; --json tells all")?;
        }
        Ok(text)
    }

    fn rules(&self) -> String {
        let heading = "# What one run of a command asked for, by `portreeve exec --learn`.\n";
        let rules = self.asked.iter().map(|(place, asked)| asked.rule(place));
        std::iter::once(heading.to_owned())
            .chain(rules)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn json(&self, file: &Path) -> Value {
        let denial = |(place, denial): (&Place, &Denial)| {
            let rule = (!denial.asked.is_empty()).then(|| denial.asked.rule(place));
            json!({
                "scheme": place.scheme,
                "host": place.host,
                "port": place.port,
                "count": denial.count,
                "reason": denial.reason,
                "sentence": denial.sentence,
                "rule": rule,
            })
        };
        json!({
            "requests": self.requests,
            "denied": self.denied,
            "credentials": self.credentials,
            "denials": self.denials.iter().map(denial).collect::<Vec<_>>(),
            "records": file.display().to_string(),
        })
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

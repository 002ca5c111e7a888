//! `portreeve demo`: what the gateway does, shown on this machine and without the internet.
//!
//! A server of its own with a CA of its own stands for the internet; everything else is what
//! users have: a configuration, `portreeve exec` around real `curl`, records and metrics.
//! Each step says what must happen, and is checked on both sides: by what the command got,
//! and by what the server received.

mod server;
mod steps;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use uuid::Uuid;

use self::server::Server;
use self::steps::{DENIED, HOST, RULES, STEPS, TOKEN, leak};
use super::{EXIT_FAILED, complain, complain_that};

/// Between the outputs of two steps; no page of ours holds it.
const MARK: &str = "\u{1e}";

/// Shows what the gateway does, with a server of its own and real `curl`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs all steps; the exit code is 0 when each went as told.
#[must_use]
pub fn run(_args: &Args) -> ExitCode {
    match demo(&mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain_that("the demo did not go as told; see above");
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Whether every step went as told.
fn demo(out: &mut dyn Write) -> io::Result<bool> {
    let server = Server::start(HOST)?;
    let folder = Folder::new()?;
    let rules = RULES.replace("PORT", &server.port.to_string());
    folder.configure(&server, &rules)?;
    writeln!(
        out,
        "Portreeve demo. `portreeve exec` puts a command into a network of its own, in which \
         every\nconnection leads to a gateway. A server on this machine stands for the \
         internet.\n\nThe rules:\n"
    )?;
    for line in rules.lines() {
        writeln!(out, "    {line}")?;
    }
    let output = folder.exec(&script(server.port))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.split(MARK);
    let mut as_told = output.status.success();
    for (number, step) in (1..).zip(STEPS) {
        let got = parts.next().unwrap_or_default().trim();
        let received = server.received(step.path);
        writeln!(out, "\n{number}. {}", step.title)?;
        writeln!(out, "    $ {}", command(step.command, server.port))?;
        say(out, "the command got", got)?;
        say(out, "the server got", &received)?;
        let right = (step.check)(got, &received);
        as_told &= right;
        let verdict = if right { step.lesson } else { "NOT AS TOLD" };
        writeln!(out, "    => {verdict}")?;
    }
    as_told &= leftovers(out, &folder, &output)?;
    Ok(as_told)
}

fn say(out: &mut dyn Write, who: &str, what: &str) -> io::Result<()> {
    let what = if what.is_empty() { "nothing" } else { what };
    let mut lines = what.lines();
    writeln!(out, "    {who}: {}", lines.next().unwrap_or_default())?;
    for line in lines {
        writeln!(out, "    {:>width$}  {line}", "", width = who.len())?;
    }
    Ok(())
}

fn command(template: &str, port: u16) -> String {
    template.replace("PORT", &port.to_string())
}

/// All steps, in one jail, as one shell script.
fn script(port: u16) -> String {
    let step = |step: &steps::Step| format!("{}\nprintf '{MARK}'", command(step.command, port));
    let steps: Vec<String> = STEPS.iter().map(step).collect();
    format!("LEAK={}\n{}", leak(), steps.join("\n"))
}

/// What an operator has of it all: the records, the metrics, and the summary of the run.
fn leftovers(out: &mut dyn Write, folder: &Folder, output: &Output) -> io::Result<bool> {
    let summary = String::from_utf8_lossy(&output.stderr);
    let summary = summary.lines().last().unwrap_or_default();
    let summary: serde_json::Value = serde_json::from_str(summary).map_err(|_| {
        let text = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("`portreeve exec` failed: {}", text.trim()))
    })?;
    let records = text(&summary, "records");
    let records = fs::read_to_string(records)?;
    let number = STEPS.len() + 1;
    writeln!(
        out,
        "\n{number}. Everything left a record; here are the denials', in part."
    )?;
    let mut shown = 0;
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        if text(&record, "portreeve.verdict") != "deny" {
            continue;
        }
        if shown > 0 {
            writeln!(out)?;
        }
        shown += 1;
        for key in steps::SHOWN_KEYS {
            writeln!(out, "    {key}: {}", text(&record, key))?;
        }
    }
    writeln!(out, "\n{}. Everything was counted.", number + 1)?;
    let metrics = fs::read_to_string(folder.path("metrics.txt"))?;
    let families = [
        "portreeve_rule_requests_total{",
        "portreeve_credentials_attached_total{",
        "portreeve_dlp_findings_total{",
    ];
    let counted = |line: &&str| {
        families.iter().any(|family| line.starts_with(family)) && !line.ends_with(" 0")
    };
    let counted: Vec<&str> = metrics.lines().filter(counted).collect();
    for line in &counted {
        writeln!(out, "    {line}")?;
    }
    writeln!(
        out,
        "\nNow with the internet: portreeve exec --allow example.org -- bash"
    )?;
    let told = |secret: &str| records.contains(secret) || metrics.contains(secret);
    Ok(shown == DENIED
        && summary.get("denied") == Some(&DENIED.into())
        && !counted.is_empty()
        && !told(TOKEN)
        && !told(&leak()))
}

fn text<'v>(value: &'v serde_json::Value, key: &str) -> &'v str {
    let text = value.get(key).and_then(serde_json::Value::as_str);
    text.unwrap_or_default()
}

/// The demo's files, which go with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("portreeve-demo-{}", Uuid::now_v7()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn configure(&self, server: &Server, rules: &str) -> io::Result<()> {
        fs::write(self.path("portreeve.toml"), steps::CONFIG)?;
        fs::write(self.path("server-ca.pem"), &server.ca)?;
        fs::create_dir(self.path("rules"))?;
        fs::write(self.path("rules/demo.toml"), rules)?;
        write_secret(&self.path("token"), TOKEN)
    }

    /// Runs a script with this very program's `exec`.
    fn exec(&self, script: &str) -> io::Result<Output> {
        Command::new(std::env::current_exe()?)
            .args(["exec", "--json", "--config"])
            .arg(self.path("portreeve.toml"))
            .arg("--metrics")
            .arg(self.path("metrics.txt"))
            .args(["--", "sh", "-c", script])
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
    }
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret.as_bytes())
}

//! `portreeve nft render | apply | verify | remove` on a live ruleset.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use portreeve::cli::nft::{Args, Outcome, run};
use portreeve::nft::{self, Error, Settings};

use crate::common::world::tool;
use crate::common::{Ns, inside};
use crate::settings;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A namespace with a foreign table, and a folder for the files of the command.
struct Host {
    ns: Ns,
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Host {
    fn new() -> Self {
        let ns = Ns::new("host");
        ns.nft("table inet foreign {\n chain c {\n type filter hook input priority 0\n tcp dport 9 drop\n }\n}\n");
        Self {
            ns,
            folder: tempfile::tempdir().unwrap(),
            settings: settings(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `portreeve nft LINE` and returns how it ended, and what it printed.
    fn portreeve(&self, line: &str) -> (Result<Outcome, Error>, String) {
        let folder = self.folder.path().to_owned();
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if ["apply", "verify"].contains(&words[0].as_str()) {
            words.extend(["--snapshot".into(), file("snapshot.json")]);
        }
        if words[0] == "verify" {
            words.extend(["--status-file".into(), file("status.json")]);
        }
        let cli = Cli::parse_from(std::iter::once("nft".to_owned()).chain(words));
        let settings = self.settings.clone();
        self.ns.run(move || {
            let mut out = Vec::new();
            let outcome = run(&cli.args, || Ok::<_, Error>(settings), &mut out);
            (outcome, String::from_utf8(out).unwrap())
        })
    }

    fn verify(&self) -> (Outcome, String) {
        let (outcome, text) = self.portreeve("verify");
        (outcome.unwrap(), text)
    }

    fn apply(&self) {
        assert_eq!(self.portreeve("apply").0.unwrap(), Outcome::Fine);
    }

    fn list(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(tool("nft"));
        command.arg("list").args(arguments);
        String::from_utf8(self.ns.output(command).stdout).unwrap()
    }
}

#[test]
fn applying_twice_is_applying_once() {
    inside(|| {
        let host = Host::new();
        host.apply();
        let first = host.list(&["ruleset"]);
        host.apply();
        assert_eq!(host.list(&["ruleset"]), first);
        assert_eq!(host.verify().0, Outcome::Fine);
        let status = nft::read_status(&host.path("status.json")).unwrap();
        assert!(status.correct);
        assert!(status.counters.contains_key("quic_refused"));
    });
}

#[test]
fn a_table_that_does_not_load_leaves_the_old_one_in_force() {
    inside(|| {
        let mut host = Host::new();
        host.apply();
        let before = host.list(&["ruleset"]);
        host.settings.interfaces.push("a\" }".into());
        assert!(matches!(
            host.portreeve("apply").0,
            Err(Error::Interface { .. })
        ));
        assert_eq!(host.list(&["ruleset"]), before);
    });
}

#[test]
fn removing_removes_nothing_else() {
    inside(|| {
        let host = Host::new();
        let before = host.list(&["ruleset"]);
        host.apply();
        assert_ne!(host.list(&["ruleset"]), before);
        assert_eq!(
            host.portreeve("remove").1,
            "Removed the table inet portreeve.\n"
        );
        assert_eq!(host.list(&["ruleset"]), before);
        assert_eq!(
            host.portreeve("remove").1,
            "There was no table inet portreeve.\n"
        );
        assert_eq!(host.list(&["ruleset"]), before);
    });
}

/// Changes the live table as somebody else might, and returns what `verify` says.
fn spoiled(change: &str) -> String {
    let host = Host::new();
    host.apply();
    let handle = rule_handle(&host, "refusals: QUIC");
    host.ns.nft(&change.replace("HANDLE", &handle));
    let (outcome, text) = host.verify();
    assert_eq!(outcome, Outcome::Finding, "{change}: {text}");
    let status = nft::read_status(&host.path("status.json")).unwrap();
    assert!(!status.correct);
    assert_eq!(status.differences.join("\n"), text.trim_end());
    text
}

fn rule_handle(host: &Host, comment: &str) -> String {
    let mut command = Command::new(tool("nft"));
    command.args(["-a", "list", "table", "inet", "portreeve"]);
    let listing = String::from_utf8(host.ns.output(command).stdout).unwrap();
    let rule = listing.lines().find(|line| line.contains(comment)).unwrap();
    rule.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn verify_finds_every_change() {
    inside(|| {
        let t = "inet portreeve";
        for (change, finding) in [
            (
                format!("delete rule {t} refusals handle HANDLE\n"),
                r#"missing: rule "refusals: QUIC" in chain refusals"#,
            ),
            (
                format!(
                    "replace rule {t} refusals handle HANDLE accept comment \"refusals: QUIC\"\n"
                ),
                "changed: rule",
            ),
            (
                format!("insert rule {t} arrivals accept\n"),
                "unknown: rule",
            ),
            (
                format!(
                    "add rule {t} refusals udp dport 443 counter name quic_refused reject with icmpx port-unreachable comment \"refusals: QUIC\"\n"
                ),
                "some are there twice",
            ),
            (
                format!("delete element {t} ports {{ 443 }}\n"),
                "changed: set ports",
            ),
            (
                format!("add element {t} interfaces {{ \"tap9\" }}\n"),
                "changed: set interfaces",
            ),
            (
                format!("add chain {t} more {{ type nat hook prerouting priority -150; }}\n"),
                "unknown: chain more",
            ),
            (
                format!("flush chain {t} arrivals\n"),
                "missing: rule \"arrivals:",
            ),
            (
                format!("add table {t} {{ flags dormant; }}\n"),
                "changed: table portreeve",
            ),
            (
                format!("delete table {t}\n"),
                "there is no table inet portreeve",
            ),
            ("flush ruleset\n".into(), "there is no table inet portreeve"),
        ] {
            let text = spoiled(&change);
            assert!(text.contains(finding), "{change}: {text}");
        }
    });
}

#[test]
fn verify_finds_a_changed_configuration_and_a_lost_snapshot() {
    inside(|| {
        let mut host = Host::new();
        host.apply();
        host.settings.ports.push(8080);
        let (outcome, text) = host.verify();
        assert_eq!(outcome, Outcome::Finding);
        assert!(
            text.contains("the configuration changed since the last apply"),
            "{text}"
        );
        host.apply();
        assert_eq!(host.verify().0, Outcome::Fine);
        std::fs::remove_file(host.path("snapshot.json")).unwrap();
        let (outcome, text) = host.verify();
        assert_eq!(outcome, Outcome::Finding);
        assert!(text.contains("no snapshot of the last apply"), "{text}");
    });
}

#[test]
fn traffic_and_foreign_tables_are_no_difference() {
    inside(|| {
        let host = Host::new();
        host.apply();
        host.ns.nft(
            "add rule inet foreign c tcp dport 10 drop\nreset counters table inet portreeve\n",
        );
        assert_eq!(
            host.verify(),
            (
                Outcome::Fine,
                "The table inet portreeve is in force, unchanged and up to date.\n".into()
            )
        );
    });
}

#[test]
fn a_snapshot_that_cannot_be_written_is_told() {
    inside(|| {
        let host = Host::new();
        std::fs::create_dir(host.path("snapshot.json")).unwrap();
        let error = host.portreeve("apply").0.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the table is in force, but its snapshot"),
            "{error}"
        );
    });
}

#[test]
fn render_is_what_apply_loads() {
    inside(|| {
        let host = Host::new();
        for topology in ["box", "namespace"] {
            let (_, text) = host.portreeve(&format!("render --topology {topology}"));
            let file = host.path("table.nft");
            std::fs::write(&file, text).unwrap();
            assert!(check(&host.ns, &file), "{topology}");
        }
    });
}

fn check(ns: &Ns, file: &Path) -> bool {
    let mut command = Command::new(tool("nft"));
    command.args(["-c", "-f"]).arg(file);
    ns.output(command).status.success()
}

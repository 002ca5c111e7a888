//! The tables agree with the code, row by row.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use portreeve::audit::KEYS;
use portreeve::config::{Env, Limits, Timeouts, load};
use portreeve::error::Reason;
use portreeve::metrics::{FAMILIES, Kind};
use serde_json::Value;

use crate::{README, block, blocks};

/// The cells of all rows below this heading row, up to the end of its table.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let mut lines = README.lines().skip_while(|line| !line.starts_with(heading));
    assert!(lines.next().is_some(), "no table {heading}");
    let rows = lines.take_while(|line| line.starts_with('|')).skip(1);
    let cells = |row: &'static str| {
        let row = row.trim_start_matches("| ").trim_end_matches('|').trim();
        row.split(" | ").map(str::trim).collect()
    };
    rows.map(cells).collect()
}

fn bare(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_metric_is_documented() {
    let rows: Vec<String> = table("| metric |")
        .iter()
        .map(|row| row.join(" | "))
        .collect();
    let documented = FAMILIES.iter().map(|family| {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = labels.join(", ");
        format!("`{}` | {kind} | {labels} | {}", family.name, family.help)
    });
    // A family without labels has an empty cell.
    let tidy = |row: String| row.replace(" |  | ", " | | ");
    let rows: Vec<_> = rows.into_iter().map(tidy).collect();
    assert_eq!(rows, documented.map(tidy).collect::<Vec<_>>());
}

#[test]
fn every_audit_key_is_documented() {
    let rows = table("| key | what it says |");
    let rows: Vec<_> = rows.iter().map(|row| (bare(row[0]), row[1])).collect();
    assert_eq!(rows, KEYS);
}

#[test]
fn every_reason_is_documented() {
    let rows = table("| reason |");
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (bare(row[0]), row[1].to_owned()))
        .collect();
    let reasons = Reason::ALL.iter();
    let reasons: Vec<_> = reasons
        .map(|reason| (reason.label(), reason.status().as_u16().to_string()))
        .collect();
    assert_eq!(rows, reasons);
}

#[test]
fn the_example_record_has_only_keys_that_records_have() {
    let record: serde_json::Map<String, Value> = serde_json::from_str(&block("record")).unwrap();
    for key in record.keys() {
        assert!(KEYS.iter().any(|(known, _)| known == key), "{key}");
    }
}

#[test]
fn limits_and_timeouts_are_those_of_the_code() {
    let mut text = String::new();
    let fields = |debug: String| -> Vec<String> {
        let lines = debug
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| !line.starts_with([' ', ')']))
            .map(|line| line.split(':').next().unwrap().to_owned());
        lines.collect()
    };
    for (section, fields) in [
        ("limits", fields(format!("{:#?}", Limits::default()))),
        ("timeouts", fields(format!("{:#?}", Timeouts::default()))),
    ] {
        let rows = table(&format!("| `[{section}]` |"));
        let keys: Vec<_> = rows.iter().map(|row| bare(row[0])).collect();
        assert_eq!(keys, fields);
        writeln!(text, "[{section}]").unwrap();
        for row in rows {
            writeln!(text, "{} = {}", bare(row[0]), bare(row[1])).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portreeve.toml");
    fs::write(&file, &text).unwrap();
    let env = Env::fixed(folder.path(), [("STATE_DIRECTORY", "/state")]);
    let loaded = load(Some(&file), &env).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(loaded.config.limits, Limits::default());
    assert_eq!(loaded.config.timeouts, Timeouts::default());
}

/// I9: a limit that no test configures is a promise that nobody has seen kept.
#[test]
fn every_limit_and_timeout_has_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for area in [
        "destination",
        "dlp",
        "floods",
        "holding",
        "hostile",
        "load",
        "protocols",
        "relaying",
    ] {
        read_all(&root.join("tests").join(area), &mut sources);
        let file = root.join("tests").join(area).with_extension("rs");
        sources.push_str(&fs::read_to_string(file).unwrap());
    }
    for heading in ["| `[limits]` |", "| `[timeouts]` |"] {
        for row in table(heading) {
            let key = bare(row[0]);
            // A line of a config, in a raw string or behind an escaped line end; or the name
            // alone, for a helper to put into one.
            let line = [format!("\n{key} = "), format!("\\n{key} = ")];
            let ways = [format!("\"{key} = "), format!("\"{key}\"")];
            let mut ways = line.iter().chain(&ways);
            assert!(
                ways.any(|way| sources.contains(way)),
                "no test sets `{key}`"
            );
        }
    }
}

/// The keys of the configuration, as `src/config/written.rs` lists them.
#[test]
fn every_key_of_the_configuration_is_documented() {
    let source = include_str!("../../src/config/written.rs");
    let words: BTreeSet<&str> = README
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let tables = source.split("table! {").skip(1);
    let fields = tables.flat_map(|table| {
        let end = table.find("\n}").unwrap();
        let (_, body) = table[..end].rsplit_once("/// ").unwrap();
        let body = &body[body.find('{').unwrap()..];
        body.split([',', '{', '\n'])
            .filter_map(|field| field.trim().split_once(':'))
            .map(|(key, _)| key)
    });
    let keys: BTreeSet<&str> = fields.collect();
    assert!(keys.len() > 80, "{keys:?}");
    for key in keys {
        assert!(words.contains(key), "`{key}` is not in the README");
    }
}

#[test]
fn every_command_there_is_one() {
    let mut commands = BTreeSet::new();
    let code = blocks().into_iter().map(|block| block.text);
    let inline = README.split('`').skip(1).step_by(2).map(str::to_owned);
    for text in code.chain(inline) {
        for line in text.lines().map(str::trim) {
            let words = line.strip_prefix("portreeve ").map(str::split_whitespace);
            let words: Vec<String> = words.into_iter().flatten().map(str::to_owned).collect();
            let two = words
                .get(1)
                .filter(|_| ["ca", "nft"].contains(&words[0].as_str()));
            if let Some(first) = words.first() {
                commands.insert((first.clone(), two.cloned()));
            }
        }
    }
    assert!(commands.len() >= 6, "{commands:?}");
    for (first, second) in commands {
        // Announced, and said to be so.
        if first == "demo" {
            continue;
        }
        let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .arg(&first)
            .args(&second)
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "portreeve {first} {second:?}");
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let rows = table("| | | enforced in |");
    assert_eq!(rows.len(), 13);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    read_all(&root.join("tests"), &mut sources);
    for (number, row) in rows.iter().enumerate() {
        let name = bare(row[3]);
        let prefix = format!("i{}_", number + 1);
        assert!(name.starts_with(&prefix), "{row:?}");
        let test = format!("#[test]\nfn {name}()");
        assert!(sources.contains(&test), "there is no test {name}");
    }
}

/// The text of every Rust file below a folder.
fn read_all(folder: &std::path::Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

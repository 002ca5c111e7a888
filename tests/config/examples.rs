//! The shipped examples load, and a slip in any table of them is told with its place.

use std::fs;

use crate::{Folder, root};

const BOX: &str = "tests/config/examples/portreeve.toml";
/// Tables whose keys are the operator's own.
const FREE: [&str; 4] = ["query", "headers", "set_headers", "resolve"];

/// The shipped files with their texts.
fn shipped() -> Vec<(String, String)> {
    let mut names = vec![BOX.to_owned()];
    for entry in fs::read_dir(root().join("rules")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if std::path::Path::new(&name)
            .extension()
            .is_some_and(|end| end == "toml")
        {
            names.push(format!("rules/{name}"));
        }
    }
    assert!(names.len() > 4, "the shipped rules are there");
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(root().join(&name)).unwrap();
            (name, text)
        })
        .collect()
}

fn folder(files: &[(String, String)]) -> Folder {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    Folder::new(&files)
}

fn load(folder: &Folder) -> Result<portreeve::config::Loaded, portreeve::config::Findings> {
    portreeve::config::load(Some(&folder.path(BOX)), &folder.env())
}

#[test]
fn shipped_examples_load_without_a_finding() {
    let loaded = load(&folder(&shipped())).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert!(loaded.rules.len() > 8);
    assert!(loaded.credentials.len() > 4);
    assert_eq!(loaded.agents.len(), 2);
}

#[test]
fn each_shipped_rules_file_stands_alone() {
    for (name, text) in shipped().into_iter().filter(|(name, _)| name != BOX) {
        let folder = Folder::new(&[("portreeve.toml", ""), (&name, &text)]);
        let loaded = folder
            .load()
            .unwrap_or_else(|findings| panic!("{findings}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}

#[test]
fn the_example_box_shows_the_defaults() {
    let folder = Folder::new(&[("portreeve.toml", "")]);
    let default = folder.load().unwrap().config;
    let example = load(&self::folder(&shipped())).unwrap().config;
    assert_eq!(example.listen, default.listen);
    assert_eq!(example.redirect.ports, default.redirect.ports);
    assert_eq!(example.upstream.trust, default.upstream.trust);
    assert_eq!(example.dns, default.dns);
    assert_eq!(example.limits, default.limits);
    assert_eq!(example.timeouts, default.timeouts);
    assert_eq!(example.audit.queue, default.audit.queue);
    assert_eq!(
        example.audit.file.file_name(),
        default.audit.file.file_name()
    );
    assert_eq!(example.audit.when_unwritable, default.audit.when_unwritable);
}

/// A text with an unknown key put in, and where it stands.
struct Mutation {
    text: String,
    line: u32,
    column: u32,
    free: bool,
}

/// One for the top, one below each header, one in each inline table.
fn mutations(text: &str) -> Vec<Mutation> {
    let mut all = vec![Mutation {
        text: format!("zzz_unknown = 1\n{text}"),
        line: 1,
        column: 1,
        free: false,
    }];
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let number = u32::try_from(index + 1).unwrap();
        let mut replace = |new: String, line, column, free| {
            let mut lines = lines.clone();
            lines[index] = &new;
            all.push(Mutation {
                text: lines.join("\n"),
                line,
                column,
                free,
            });
        };
        if line.starts_with('[') {
            replace(format!("{line}\nzzz_unknown = 1"), number + 1, 1, false);
        } else if let Some(at) = line.find("= {").filter(|_| !line.starts_with('#')) {
            let (before, after) = line.split_at(at + 3);
            let key = line.split_whitespace().next().unwrap();
            let column = u32::try_from(before.chars().count() + 2).unwrap();
            replace(
                format!("{before} zzz_unknown = 1,{after}"),
                number,
                column,
                FREE.contains(&key),
            );
        }
    }
    all
}

#[test]
fn an_unknown_key_in_any_table_of_any_example_is_an_error_with_its_place() {
    let files = shipped();
    let mut tables = 0;
    for index in 0..files.len() {
        for mutation in mutations(&files[index].1) {
            let mut mutated = files.clone();
            mutated[index].1 = mutation.text;
            let folder = folder(&mutated);
            let findings = load(&folder).expect_err(&mutated[index].0);
            let found = findings.iter().find(|finding| {
                finding
                    .place
                    .as_ref()
                    .is_some_and(|place| place.line == mutation.line)
            });
            let finding = found.unwrap_or_else(|| panic!("line {}: {findings}", mutation.line));
            let place = finding.place.as_ref().unwrap();
            assert!(
                folder
                    .neutral(&place.file)
                    .ends_with(&mutated[index].0.rsplit('/').next().unwrap())
            );
            if mutation.free {
                assert!(finding.message.ends_with(", found a number"), "{finding}");
            } else {
                assert_eq!(place.column, mutation.column, "{finding}");
                assert!(
                    finding.message.starts_with("unknown key `zzz_unknown`"),
                    "{finding}"
                );
                assert!(finding.help.is_some(), "{finding}");
            }
            assert_eq!(findings.len(), 1, "one slip, one finding: {findings}");
            tables += 1;
        }
    }
    assert!(tables >= 50, "{tables}");
}

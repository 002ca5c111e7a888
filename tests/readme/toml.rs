//! Every piece of TOML loads without a finding, together and alone.

use std::fs;
use std::path::Path;

use portreeve::config::{Env, Loaded, load};

use crate::blocks;

/// Name and text of each block; its first line says which file it is.
fn files() -> Vec<(String, String)> {
    let toml = blocks()
        .into_iter()
        .filter(|block| block.language == "toml");
    let named = toml.map(|block| {
        let name = block.text.lines().next().and_then(|l| l.strip_prefix("# "));
        let name = name.unwrap_or_else(|| panic!("which file is this?\n{}", block.text));
        (name.to_owned(), block.text)
    });
    named.collect()
}

fn load_files(folder: &Path, files: &[&(String, String)]) -> Loaded {
    let detectors = files.iter().any(|(name, _)| name.starts_with("detectors/"));
    fs::create_dir_all(folder.join("rules")).unwrap();
    fs::create_dir_all(folder.join("detectors")).unwrap();
    for (name, text) in files {
        let text = match name.as_str() {
            "portreeve.toml" if detectors => format!("dlp = \"detectors\"\n{text}"),
            _ => text.clone(),
        };
        fs::write(folder.join(name), text).unwrap();
    }
    let env = Env::fixed(folder, [("STATE_DIRECTORY", "/state")]);
    let loaded = load(Some(&folder.join("portreeve.toml")), &env);
    let loaded = loaded.unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded
}

#[test]
fn every_example_loads_without_a_finding() {
    let files = files();
    let is_box = |file: &&(String, String)| file.0 == "portreeve.toml";
    let (box_file, rules): (Vec<_>, Vec<_>) = files.iter().partition(is_box);
    assert_eq!(box_file.len(), 1);
    assert!(rules.len() > 2);
    let all: Vec<_> = files.iter().collect();
    let folder = tempfile::tempdir().unwrap();
    let loaded = load_files(folder.path(), &all);
    assert_eq!(loaded.agents.len(), 2);
    assert!(loaded.rules.len() > 9);
    let alone = rules.into_iter();
    for file in alone.filter(|(name, _)| name.starts_with("rules/")) {
        let folder = tempfile::tempdir().unwrap();
        load_files(folder.path(), &[box_file[0], file]);
    }
}

/// What is not commented out and stands for a default is one.
#[test]
fn the_example_box_shows_the_defaults() {
    let load_box = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = ("portreeve.toml".to_owned(), text.to_owned());
        let rule = "[[rule]]\nname = \"a\"\nagents = [\"any\"]\nhosts = [\"a.example\"]\n";
        let rule = ("rules/a.toml".to_owned(), rule.to_owned());
        load_files(folder.path(), &[&file, &rule]).config
    };
    let files = files();
    let (_, text) = files
        .iter()
        .find(|(name, _)| name == "portreeve.toml")
        .unwrap();
    let (shown, default) = (load_box(text), load_box(""));
    assert_eq!(shown.listen, default.listen);
    assert_eq!(shown.redirect.ports, default.redirect.ports);
    assert_eq!(shown.upstream.trust, default.upstream.trust);
    assert_eq!(shown.dns, default.dns);
    assert_eq!(shown.audit, default.audit);
}

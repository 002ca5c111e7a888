//! Rules of gitleaks (v8), as detectors.
//!
//! The file is another program's: what is not known in it is passed over. What cannot run here
//! becomes a detector that finds nothing and says why; `portreeve dlp check` names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::check::Check;
use super::written;
use crate::dlp::imported::{Allow, Imported, Target, Written};
use crate::dlp::{Action, Detector};

/// Most files that extend each other; as gitleaks has it.
const DEPTH: usize = 3;
/// Most bytes of a file.
const FILE_MAX: u64 = 4 << 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    extend: Extend,
    allowlist: Option<List>,
    allowlists: Vec<List>,
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Extend {
    use_default: bool,
    path: Option<PathBuf>,
    disabled_rules: Vec<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    id: String,
    description: String,
    regex: Option<String>,
    secret_group: Option<usize>,
    entropy: Option<f32>,
    keywords: Vec<String>,
    allowlist: Option<List>,
    allowlists: Vec<List>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct List {
    condition: String,
    regex_target: String,
    regexes: Vec<String>,
    stopwords: Vec<String>,
    paths: Vec<String>,
    commits: Vec<String>,
    target_rules: Vec<String>,
}

impl List {
    fn allow(&self) -> Allow {
        Allow {
            all: self.condition.eq_ignore_ascii_case("and"),
            target: match self.regex_target.as_str() {
                "match" => Target::Match,
                "line" => Target::Line,
                _ => Target::Secret,
            },
            regexes: self.regexes.clone(),
            stopwords: self
                .stopwords
                .iter()
                .map(|word| word.to_lowercase())
                .collect(),
            elsewhere: !(self.paths.is_empty() && self.commits.is_empty()),
        }
    }
}

impl Rule {
    fn lists(&self) -> impl Iterator<Item = &List> {
        self.allowlist.iter().chain(&self.allowlists)
    }

    /// What `other`, of the same id, says over it.
    fn extended(mut self, other: Self) -> Self {
        if !other.description.is_empty() {
            self.description = other.description;
        }
        self.regex = other.regex.or(self.regex);
        self.secret_group = other.secret_group.or(self.secret_group);
        self.entropy = other.entropy.or(self.entropy);
        self.keywords.extend(other.keywords);
        self.allowlists.extend(other.allowlist);
        self.allowlists.extend(other.allowlists);
        self
    }
}

/// All rules and the lists for all of them, those of extended files among them.
#[derive(Default)]
struct All {
    rules: Vec<Rule>,
    lists: Vec<List>,
    default: bool,
}

impl Check<'_> {
    /// The rules of a file of gitleaks.
    pub(super) fn gitleaks(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Gitleaks>,
    ) -> Vec<Detector> {
        let written = table.get_ref();
        let Some(file) = &written.file else {
            self.absent(damaged, table, "gitleaks", "file");
            return Vec::new();
        };
        let actions = (
            self.dlp_action("default", written.default.as_ref()),
            self.dlp_action("strict", written.strict.as_ref()),
        );
        let path = self.file.resolve(file.get_ref());
        match load(&path, DEPTH) {
            Ok(all) => all.detectors(actions),
            Err(why) => {
                let help = "the TOML of gitleaks v8; relative paths are relative to this file";
                self.error(file.span(), why, help);
                Vec::new()
            }
        }
    }
}

fn load(path: &Path, depth: usize) -> Result<All, String> {
    let place = path.display();
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(format!("`{place}` is extended too deeply"));
    };
    let failed = |error: std::io::Error| format!("`{place}` cannot be read: {error}");
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(format!("`{place}` is longer than {FILE_MAX} bytes"));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let file: File = toml::from_str(&text)
        .map_err(|error| format!("`{place}` does not read: {}", error.message()))?;
    let mut all = match &file.extend.path {
        Some(base) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            load(&folder.join(base), deeper)?
        }
        None => All::default(),
    };
    all.default |= file.extend.use_default;
    let disabled = &file.extend.disabled_rules;
    all.rules.retain(|rule| !disabled.contains(&rule.id));
    for rule in file.rules {
        match all.rules.iter_mut().find(|known| known.id == rule.id) {
            Some(known) => *known = std::mem::take(known).extended(rule),
            None => all.rules.push(rule),
        }
    }
    all.lists.extend(file.allowlist);
    all.lists.extend(file.allowlists);
    Ok(all)
}

impl All {
    fn detectors(&self, actions: (Action, Action)) -> Vec<Detector> {
        let mut detectors = Vec::new();
        if self.default {
            let why = "the rules that gitleaks brings are no part of Portreeve, which has its own; \
                       name a file with them as `path`";
            detectors.push(Detector::imported(
                "useDefault",
                Err(why.to_owned()),
                actions,
            ));
        }
        for rule in &self.rules {
            let global = self.lists.iter().filter(|list| {
                let targets = &list.target_rules;
                targets.is_empty() || targets.contains(&rule.id)
            });
            let allow = rule.lists().chain(global).map(List::allow).collect();
            let keywords = rule.keywords.iter().map(|word| word.to_lowercase());
            let imported = match &rule.regex {
                None => Err("it is about names of files".to_owned()),
                Some(regex) => Imported::new(Written {
                    regex: regex.clone(),
                    group: rule.secret_group.unwrap_or(0),
                    entropy: rule.entropy.unwrap_or(0.0),
                    keywords: keywords.collect(),
                    allow,
                }),
            };
            let imported = imported.map(Arc::new);
            detectors.push(Detector::imported(&rule.id, imported, actions));
        }
        detectors
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Env, detectors};
    use super::*;
    use crate::dlp::{Detectors, scan};

    const BASE: &str = r#"
title = "base"
[[rules]]
id = "acme-key"
description = "Acme"
regex = '''(?i)(?:acme)[\w-]{0,20}[\s'"]{0,3}(?:=|:)[\s'"]{0,3}([a-z0-9]{16})(?:['"\s;]|$)'''
keywords = ["ACME"]
entropy = 2.5
[[rules]]
id = "gone"
regex = '''gone_[a-z]{8}'''
[[rules]]
id = "files"
path = '''\.p12$'''
[[rules]]
id = "boundless"
regex = '''[a-z0-9]{32}'''
"#;

    const OWN: &str = r#"
[extend]
path = "base.toml"
disabledRules = ["gone"]
[allowlist]
stopwords = ["EXAMPLE"]
[[allowlists]]
targetRules = ["other"]
regexes = ['''.*''']
[[rules]]
id = "acme-key"
[[rules.allowlists]]
condition = "AND"
regexTarget = "match"
regexes = ['''acme-test''']
stopwords = ["q7"]
[[rules]]
id = "other"
regex = '''oth_([a-z]{8})'''
secretGroup = 1
"#;

    fn all(own: &str) -> Result<Detectors, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("dlp/gitleaks")).unwrap();
        fs::write(path("portreeve.toml"), "dlp = \"dlp\"\n").unwrap();
        let import = "[[gitleaks]]\nfile = \"gitleaks/own.toml\"\nstrict = \"alert\"\n";
        fs::write(path("dlp/import.toml"), import).unwrap();
        fs::write(path("dlp/gitleaks/base.toml"), BASE).unwrap();
        fs::write(path("dlp/gitleaks/own.toml"), own).unwrap();
        let env = Env::fixed(Path::new("/nonexistent"), []);
        let loaded = detectors(Some(&path("portreeve.toml")), &env);
        loaded
            .map(Detectors::new)
            .map_err(|findings| findings.to_string())
    }

    fn found(all: &Detectors, text: &str) -> Vec<String> {
        let mut names = Vec::new();
        scan(all.engine(), text.as_bytes(), &mut |finding, _| {
            let name = &all.of(&finding).unwrap().name;
            if name.starts_with("gitleaks:") {
                names.push(name.to_string());
            }
        });
        names
    }

    #[test]
    fn rules_extend_are_disabled_allowed_and_left_out() {
        let all = all(OWN).unwrap();
        assert_eq!(
            found(&all, "acme_key=q7w3e9r2t5y8u1i4&x"),
            ["gitleaks:acme-key"]
        );
        for text in [
            "gone_abcdefgh",
            "oth_abcdefgh",
            "acme-test=q7w3e9r2t5y8u1i4",
            "acme_key=q7w3exampley8u1i",
            "acme_key=aaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(found(&all, text), [] as [&str; 0], "{text}");
        }
        let left_out: Vec<&str> = all
            .iter()
            .filter(|detector| detector.left_out.is_some())
            .map(|detector| &*detector.name)
            .collect();
        assert_eq!(left_out, ["gitleaks:files", "gitleaks:boundless"]);
        let acme = all
            .iter()
            .find(|detector| &*detector.name == "gitleaks:acme-key");
        let acme = acme.unwrap();
        assert_eq!((acme.default, acme.strict), (Action::Block, Action::Alert));
    }

    #[test]
    fn what_does_not_read_is_an_error_at_its_place() {
        for (own, said) in [
            ("rules = 1", "does not read"),
            ("[extend]\npath = \"missing.toml\"", "cannot be read"),
            ("[extend]\npath = \"own.toml\"", "too deeply"),
        ] {
            let error = all(own).unwrap_err();
            assert!(
                error.contains(said) && error.contains("import.toml:2"),
                "{error}"
            );
        }
    }
}

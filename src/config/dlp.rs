//! Detectors: those that are part of the program, and those of the operator's folder.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::adjust::{Adjustment, Adjustments};
use super::check::{Check, plain_name};
use super::finding::Findings;
use super::hosts::pattern;
use super::load::Load;
use super::locate::Env;
use super::read::{Read, read};
use super::rules::is_true;
use super::source::{File, shortest};
use super::units::Complaint;
use super::written::{self, Text, Texts};
use crate::credential::Source;
use crate::dlp::detector::ENTROPY;
use crate::dlp::{Action, Boundary, Check as Proof, Detector, Home, Kind, Shape, ShapeError};
use crate::policy::rule::{HostPattern, Place};
use crate::secret::Secret;

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// The shipped files, by their place in the repository.
        const SHIPPED: &[(&str, &str)] = &[$((
            concat!("rules/dlp/", $name, ".toml"),
            include_str!(concat!("../../rules/dlp/", $name, ".toml")),
        )),*];
    };
}

shipped!(
    "chat-and-mail",
    "clouds",
    "code-hosts",
    "databases",
    "fields",
    "keys",
    "model-apis",
    "package-registries",
    "payment",
    "personal",
    "services",
);

/// A secret that is looked for in what leaves, and goes nowhere.
#[derive(Clone, Debug)]
pub struct ListedSecret {
    /// Its name in records and metrics, behind `secret:`.
    pub name: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// Where its value is.
    pub source: Source,
}

/// All that is looked for.
#[derive(Debug, Default)]
pub(super) struct LookedFor {
    pub(super) detectors: Vec<Detector>,
    pub(super) secrets: Vec<ListedSecret>,
}

/// What a file of detectors holds.
#[derive(Debug, Default)]
struct Listed {
    /// Each with where it stands.
    detectors: Vec<(Range<usize>, Detector)>,
    adjustments: Vec<Adjustment>,
}

/// All detectors: the shipped ones, and those of the folder that the configuration names.
///
/// # Errors
/// Everything that is wrong with them.
pub fn detectors(file: Option<&Path>, env: &Env) -> Result<Vec<Detector>, Findings> {
    let mut load = Load::default();
    let path = env.config_file(file);
    let looked_for = load.all_detectors(path.as_deref());
    if load.findings.has_errors() {
        return Err(load.findings);
    }
    Ok(looked_for.detectors)
}

impl Load {
    fn all_detectors(&mut self, path: Option<&Path>) -> LookedFor {
        let (file, written) = match path {
            Some(path) => {
                let Some(file) = self.file(path) else {
                    return LookedFor::default();
                };
                let Some(written) = read::<written::Box>(&file, &mut self.findings) else {
                    return LookedFor::default();
                };
                (file, written)
            }
            None => (File::none(), Read::default()),
        };
        self.detectors(path, &file, &written)
    }

    /// The shipped detectors, and the operator's: one of the same name takes the shipped
    /// one's place.
    pub(super) fn detectors(
        &mut self,
        path: Option<&Path>,
        file: &File,
        written: &Read<written::Box>,
    ) -> LookedFor {
        let mut all = Vec::new();
        let mut secrets = Vec::new();
        for (name, text) in SHIPPED {
            let file = File::embedded(name, text);
            let listed = self.detector_file(&file, &mut secrets).detectors;
            all.extend(listed.into_iter().map(|(_, detector)| detector));
        }
        let mut own: Vec<Detector> = Vec::new();
        let mut adjustments = Adjustments::new();
        if let Some(text) = &written.value.dlp {
            let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
            let folder = shortest(&folder.join(text.get_ref()));
            if text.get_ref().is_empty() || !folder.is_dir() {
                let message = format!("there is no folder `{}`", folder.display());
                let help = "make it; relative paths are relative to this file";
                self.check(file).error(text.span(), message, help);
                return LookedFor {
                    detectors: all,
                    secrets,
                };
            }
            for path in self.listed(&folder) {
                let Some(file) = self.file(&path) else {
                    continue;
                };
                let listed = self.detector_file(&file, &mut secrets);
                for (span, detector) in listed.detectors {
                    if own.iter().any(|known| known.name == detector.name) {
                        let message = format!("two detectors are called `{}`", detector.name);
                        self.check(&file).error(span, message, "rename one of them");
                    }
                    own.push(detector);
                }
                adjustments.push((file, listed.adjustments));
            }
        }
        all.retain(|shipped: &Detector| own.iter().all(|own| own.name != shipped.name));
        all.extend(own);
        let mut adjusted = HashSet::new();
        for (file, adjustments) in adjustments {
            self.check(&file)
                .adjust(adjustments, &mut all, &mut adjusted);
        }
        LookedFor {
            detectors: all,
            secrets,
        }
    }

    fn check<'a>(&'a mut self, file: &'a File) -> Check<'a> {
        Check {
            file,
            findings: &mut self.findings,
        }
    }

    fn detector_file(&mut self, file: &File, secrets: &mut Vec<ListedSecret>) -> Listed {
        let Some(written) = read::<written::DetectorFile>(file, &mut self.findings) else {
            return Listed::default();
        };
        let mut check = self.check(file);
        for (index, table) in written.value.secret.iter().enumerate() {
            let damaged = written.is_damaged("secret", index);
            if let Some(secret) = check.listed(damaged, table) {
                if secrets.iter().any(|known| known.name == secret.name) {
                    let message = format!("two secrets are called `{}`", secret.name);
                    check.error(table.span(), message, "rename one of them");
                }
                secrets.push(secret);
            }
        }
        let tables = written.value.detector.iter().enumerate();
        let mut all: Vec<_> = tables
            .filter_map(|(index, table)| {
                let damaged = written.is_damaged("detector", index);
                Some((table.span(), check.detector(damaged, table)?))
            })
            .collect();
        for (index, table) in written.value.honeytoken.iter().enumerate() {
            let damaged = written.is_damaged("honeytoken", index);
            let detectors = check.honeytoken(damaged, table).unwrap_or_default();
            all.extend(
                detectors
                    .into_iter()
                    .map(|detector| (table.span(), detector)),
            );
        }
        for (index, table) in written.value.gitleaks.iter().enumerate() {
            let damaged = written.is_damaged("gitleaks", index);
            let detectors = check.gitleaks(damaged, table).into_iter();
            all.extend(detectors.map(|detector| (table.span(), detector)));
        }
        let tables = written.value.adjust.iter().enumerate();
        let adjustments = tables.filter_map(|(index, table)| {
            check.adjustment(written.is_damaged("adjust", index), table)
        });
        Listed {
            adjustments: adjustments.collect(),
            detectors: all,
        }
    }
}

impl Check<'_> {
    fn listed(
        &mut self,
        damaged: bool,
        table: &Spanned<written::ListedSecret>,
    ) -> Option<ListedSecret> {
        let written = table.get_ref();
        let there = [
            ("name", written.name.is_some()),
            ("secret", written.secret.is_some()),
        ];
        for (key, _) in there.iter().filter(|(_, there)| !there) {
            self.absent(damaged, table, "secret", key);
        }
        let name = written.name.as_ref();
        let name = name.and_then(|text| self.parse(text, |text| plain_name(text).map(Arc::from)));
        let source = written.secret.as_ref();
        let source = source.and_then(|secret| self.local("secret", damaged, secret));
        Some(ListedSecret {
            name: name?,
            place: self.file.place(table.span().start),
            source: source?,
        })
    }

    fn honeytoken(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Honeytoken>,
    ) -> Option<Vec<Detector>> {
        let written = table.get_ref();
        let there = [
            ("name", written.name.is_some()),
            ("token", written.token.is_some()),
        ];
        for (key, _) in there.iter().filter(|(_, there)| !there) {
            self.absent(damaged, table, "honeytoken", key);
        }
        let mut plain = |text: &Option<Text>| {
            let text = text.as_ref()?;
            self.parse(text, |text| plain_name(text).map(str::to_owned))
        };
        let (name, agent) = (plain(&written.name), plain(&written.agent));
        let (name, token) = (name?, written.token.as_ref()?);
        let secret = Secret::new(token.get_ref().clone().into_bytes());
        let detectors = Detector::of_honeytoken(&name, agent.as_deref(), &secret);
        if detectors.is_empty() {
            let message = "`token` is too short to be told from other text";
            self.error(
                token.span(),
                message,
                "`portreeve dlp honeytoken` makes some",
            );
        }
        Some(detectors)
    }

    fn detector(&mut self, damaged: bool, table: &Spanned<written::Detector>) -> Option<Detector> {
        let written = table.get_ref();
        let name = self.needed(damaged, table, "name", written.name.as_ref());
        let name = name.and_then(|text| self.parse(text, |text| plain_name(text).map(Arc::from)));
        let title = self.needed(damaged, table, "title", written.title.as_ref());
        let title = title.and_then(|text| self.parse(text, title_text));
        let kind = written.kind.as_ref();
        let kind = kind.map(|text| self.word("kind", text, Kind::WORDS));
        let shapes = match (&kind, &written.shapes) {
            (None, shapes) => Some(self.needed(damaged, table, "shapes", shapes.as_ref())?),
            (Some(_), None) => None,
            (Some(_), Some(shapes)) => {
                let message = "a detector has either `kind` or `shapes`";
                self.error(shapes.span(), message, "make two detectors of it");
                None
            }
        };
        let boundary = self.boundary(written.boundary.as_ref());
        Some(Detector {
            name: name?,
            title: title?,
            written: texts(shapes),
            shapes: shapes.map_or_else(Vec::new, |shapes| self.shapes(shapes, boundary)),
            kind: kind.flatten(),
            imported: None,
            left_out: None,
            parts: Vec::new(),
            boundary,
            check: self.proof(written.check.as_ref()),
            entropy: self.entropy(written.entropy.as_ref()),
            default: self.dlp_action("default", written.default.as_ref()),
            strict: self.dlp_action("strict", written.strict.as_ref()),
            allow_to: self.homes(written.allow_to.as_ref()),
            authenticates: is_true(written.authenticates.as_ref()),
            honeytoken: false,
            examples: texts(written.examples.as_ref()),
            counter_examples: texts(written.counter_examples.as_ref()),
        })
    }

    fn needed<'a, T>(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Detector>,
        key: &str,
        value: Option<&'a T>,
    ) -> Option<&'a T> {
        if value.is_none() {
            self.absent(damaged, table, "detector", key);
        }
        value
    }

    fn boundary(&mut self, text: Option<&Text>) -> Boundary {
        let words = [("token", Boundary::Token), ("none", Boundary::None)];
        text.and_then(|text| self.word("boundary", text, &words))
            .unwrap_or_default()
    }

    fn proof(&mut self, text: Option<&Text>) -> Proof {
        text.and_then(|text| self.word("check", text, Proof::WORDS))
            .unwrap_or_default()
    }

    /// Absent: `block`, because nobody writes a detector for data that may leave.
    pub(super) fn dlp_action(&mut self, key: &str, text: Option<&Text>) -> Action {
        text.and_then(|text| self.word(key, text, &Action::WORDS))
            .unwrap_or(Action::Block)
    }

    fn entropy(&mut self, number: Option<&Spanned<f64>>) -> f32 {
        let Some(number) = number else {
            return ENTROPY;
        };
        let value = *number.get_ref();
        if !(0.0..=8.0).contains(&value) {
            let message = format!("{value} is no entropy");
            self.error(number.span(), message, "bits a byte, from 0.0 to 8.0");
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a small number of few digits"
        )]
        let value = value as f32;
        value
    }

    pub(super) fn homes(&mut self, list: Option<&Texts>) -> Vec<Home> {
        let Some(list) = list else {
            return Vec::new();
        };
        let homes = self.list("allow_to", list, pattern);
        homes
            .into_iter()
            .map(|home| match home {
                HostPattern::Exact(host) => Home { host, under: false },
                HostPattern::Under(host) => Home { host, under: true },
            })
            .collect()
    }

    fn shapes(&mut self, list: &Texts, boundary: Boundary) -> Vec<Shape> {
        self.not_empty("shapes", list);
        let mut shapes = Vec::new();
        for text in list.get_ref() {
            let parsed = self.parse(text, |text| {
                let shapes = Shape::parse(text).map_err(|error| complaint(&error))?;
                let endless = |shape: &Shape| boundary == Boundary::None && shape.longest() > 512;
                if shapes.iter().any(endless) {
                    let message = "a shape of more than 512 bytes needs `boundary = \"token\"`";
                    return Err(Complaint::new(message).help("so that reading it stays linear"));
                }
                Ok(shapes)
            });
            shapes.extend(parsed.unwrap_or_default());
        }
        shapes
    }
}

const HELP: &str = "characters, classes `[A-Z]`, counts `{n}`, `{n,m}`, `{n,}`, groups `(a|b)`";

fn complaint(error: &ShapeError) -> Complaint {
    Complaint::new(format!("this is no shape: {error}")).help(HELP)
}

fn title_text(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| !c.is_control() && c.is_ascii();
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new("`title` is no title").help("1 to 64 characters that agents read"))
}

/// The texts of a list; a backtick in one is dropped, so that a file of examples is not
/// taken for a leak itself.
fn texts(list: Option<&Texts>) -> Vec<String> {
    let texts = list.into_iter().flat_map(Spanned::get_ref);
    texts.map(|text| text.get_ref().replace('`', "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_detectors_read_and_keep_their_examples() {
        let mut load = Load::default();
        let all = load.all_detectors(None).detectors;
        assert!(load.findings.is_empty(), "{}", load.findings);
        assert!(all.len() >= 80, "{}", all.len());
        let mut wrong = Vec::new();
        for detector in &all {
            let engine = detector.engine();
            assert!(!detector.examples.is_empty(), "{}", detector.name);
            assert!(!detector.counter_examples.is_empty(), "{}", detector.name);
            if let Some((text, missed)) = detector.wrong_example(&engine) {
                wrong.push(format!("{}: {text:?} {missed}", detector.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

//! `[[adjust]]` in a file of detectors: what follows from another detector's findings, and
//! where such data may go, without repeating what it looks like.

use std::collections::HashSet;

use toml::Spanned;

use super::check::Check;
use super::nearest::suggest;
use super::source::File;
use super::written;
use crate::dlp::{Action, Detector, Home};

/// A change to the detector of that name.
#[derive(Debug)]
pub(super) struct Adjustment {
    detector: Spanned<String>,
    default: Option<Action>,
    strict: Option<Action>,
    /// Hosts more.
    allow_to: Vec<Home>,
}

impl Check<'_> {
    pub(super) fn adjustment(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Adjust>,
    ) -> Option<Adjustment> {
        let written = table.get_ref();
        let Some(detector) = &written.detector else {
            self.absent(damaged, table, "adjust", "detector");
            return None;
        };
        let says = written.default.is_some() || written.strict.is_some();
        if !damaged && !says && written.allow_to.is_none() {
            let message = "this changes nothing";
            let help = "say `default`, `strict` or `allow_to`";
            self.error(table.span(), message, help);
        }
        let mut action = |key, text: &Option<written::Text>| {
            let text = text.as_ref()?;
            self.word(key, text, &Action::WORDS)
        };
        Some(Adjustment {
            detector: detector.clone(),
            default: action("default", &written.default),
            strict: action("strict", &written.strict),
            allow_to: self.homes(written.allow_to.as_ref()),
        })
    }

    /// Changes the detectors that a file names. Honeytokens stay what they are: nothing makes
    /// one leave. `adjusted` are those that were changed before.
    pub(super) fn adjust(
        &mut self,
        adjustments: Vec<Adjustment>,
        all: &mut [Detector],
        adjusted: &mut HashSet<String>,
    ) {
        for change in adjustments {
            let name = change.detector.get_ref().as_str();
            if !adjusted.insert(name.to_owned()) {
                let message = format!("`{name}` is adjusted twice");
                self.error(change.detector.span(), message, "make one of the two");
                continue;
            }
            let known = all.iter_mut().filter(|detector| !detector.honeytoken);
            let Some(detector) = { known }.find(|detector| *detector.name == *name) else {
                let names: Vec<&str> = all.iter().map(|detector| &*detector.name).collect();
                let near = suggest(name, &names);
                let help = if names.len() > 8 && near.starts_with("one of") {
                    "`portreeve dlp list` has their names".to_owned()
                } else {
                    near
                };
                let message = format!("no detector is called `{name}`");
                self.error(change.detector.span(), message, help);
                continue;
            };
            if let Some(default) = change.default {
                detector.default = default;
                // Stricter is never less, unless somebody says so.
                detector.strict = detector.strict.max(default);
            }
            detector.strict = change.strict.unwrap_or(detector.strict);
            detector.allow_to.extend(change.allow_to);
        }
    }
}

/// What a file wants changed once all detectors are there.
pub(super) type Adjustments = Vec<(File, Vec<Adjustment>)>;

//! From TOML text to the written form, telling every wrong key and type, not only the first.
//!
//! serde stops at its first error. So each error is kept with the entry it happened in, and
//! the document is read again without that entry, until nothing is wrong any more. That needs
//! an error type that carries the entry and tells an unknown key from a wrong type, hence a
//! deserializer of our own over `toml`'s parsed tree; it is the only one, and has no leniency.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Step;
use super::finding::{Findings, Severity};
use super::node::Node;
use super::source::File;

/// So many wrong entries of one file are told; who has more has given the wrong file.
const ERRORS_MAX: usize = 50;

/// The written form of a file, and which of its entries were left out because they are wrong.
#[derive(Debug, Default)]
pub(super) struct Read<T> {
    pub(super) value: T,
    /// Tables of which some entry was left out, as section and index (0 for plain tables).
    damaged: HashSet<(String, usize)>,
}

impl<T> Read<T> {
    /// Whether a table lost an entry, so that its absence says nothing.
    pub(super) fn is_damaged(&self, section: &str, index: usize) -> bool {
        self.damaged.contains(&(section.to_owned(), index))
    }

    /// Whether any table of this section lost an entry.
    pub(super) fn any_damaged(&self, section: &str) -> bool {
        self.damaged.iter().any(|(name, _)| name == section)
    }
}

/// Reads a file. `None` when it is no TOML, or cannot be read as anything; the findings say why.
pub(super) fn read<T: DeserializeOwned>(file: &File, findings: &mut Findings) -> Option<Read<T>> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    for error in errors.iter().take(ERRORS_MAX) {
        let span = error.span().unwrap_or(0..0);
        findings.push(file.finding(Severity::Error, span, error.message().to_owned()));
    }
    if !errors.is_empty() {
        return None;
    }
    let document = Spanned::new(document.span(), DeValue::Table(document.into_inner()));
    let mut skip = HashSet::new();
    let mut damaged = HashSet::new();
    loop {
        let error = match T::deserialize(Node {
            value: &document,
            skip: &skip,
        }) {
            Ok(value) => return Some(Read { value, damaged }),
            Err(error) => error,
        };
        error.report(file, findings);
        if let [Step::Key(section), rest @ ..] = error.path.as_slice() {
            let index = rest.first().map_or(0, Step::index);
            damaged.insert((section.clone(), index));
        }
        let entry = error.entry?;
        if !skip.insert(entry) || skip.len() >= ERRORS_MAX {
            return None;
        }
    }
}

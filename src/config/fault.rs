//! An error of reading: an unknown key or a wrong type, with its place in the document.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Expected, Unexpected};

use super::finding::{Findings, Severity};
use super::nearest::suggest;
use super::source::File;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Error {
    fault: Fault,
    span: Option<Range<usize>>,
    /// The offset of the innermost key or array element around it.
    pub(super) entry: Option<usize>,
    /// From the top to the entry.
    pub(super) path: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Fault {
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    WrongType {
        found: String,
        expected: String,
    },
    Other(String),
}

#[derive(Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Index(_) => "",
        }
    }

    pub(super) fn index(&self) -> usize {
        match self {
            Self::Key(_) => 0,
            Self::Index(index) => *index,
        }
    }
}

impl Error {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            fault,
            span: None,
            entry: None,
            path: Vec::new(),
        }
    }

    pub(super) fn at(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }

    pub(super) fn inside(mut self, step: Step, entry: usize) -> Self {
        self.entry.get_or_insert(entry);
        self.path.insert(0, step);
        self
    }

    pub(super) fn report(&self, file: &File, findings: &mut Findings) {
        let (message, help) = match &self.fault {
            Fault::UnknownKey { key, known } => {
                let table = self.table();
                (
                    format!("unknown key `{key}`{table}"),
                    Some(suggest(key, known)),
                )
            }
            Fault::WrongType { found, expected } => {
                let help = self.type_help(found, expected);
                (format!("expected {expected}, found {found}"), help)
            }
            Fault::Other(message) => (message.clone(), None),
        };
        let mut finding = file.finding(Severity::Error, self.span.clone().unwrap_or(0..0), message);
        finding.maybe_help(help);
        findings.push(finding);
    }

    /// How the value would be written.
    fn type_help(&self, found: &str, expected: &str) -> Option<String> {
        let section = self.path.first().map_or("", Step::key);
        let key = self.path.last().map_or("", Step::key);
        Some(match (found, expected) {
            ("a table", "a list") => format!("write `[[{key}]]` above each of them"),
            ("a string", "a list") => "put it in brackets: `[\"…\"]`".to_owned(),
            (_, "a string") if section == "timeouts" => {
                "write it like `\"10s\"`, `\"500ms\"`, `\"1h30m\"`".to_owned()
            }
            (_, "a string") if key.ends_with("_bytes") => {
                "write it like `\"512B\"`, `\"64KiB\"`, `\"10MB\"`".to_owned()
            }
            ("a number" | "a boolean", "a string") => "put it in quotes".to_owned(),
            _ if key == "secret" => "write it like `secret = { file = \"/path\" }`".to_owned(),
            _ if key == "attach" => "write it like `attach = { bearer = true }`".to_owned(),
            _ => return None,
        })
    }

    /// The table of the entry, as ` in [limits]` or ` in [[rule]]`; nothing at the top.
    fn table(&self) -> String {
        let around = self.path.split_last().map_or(&[][..], |(_, around)| around);
        let mut name = String::new();
        let mut list = false;
        for step in around {
            match step {
                Step::Key(key) if name.is_empty() => name.push_str(key),
                Step::Key(key) => {
                    name.push('.');
                    name.push_str(key);
                    list = false;
                }
                Step::Index(_) => list = true,
            }
        }
        match (name.is_empty(), list) {
            (true, _) => String::new(),
            (false, true) => format!(" in [[{name}]]"),
            (false, false) => format!(" in [{name}]"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Fault::Other(message.to_string()))
    }

    /// Without the value: it may be a secret in the wrong place.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Fault::WrongType {
            found: match found {
                Unexpected::Bool(_) => "a boolean",
                Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
                Unexpected::Float(_) => "a fraction",
                Unexpected::Str(_) => "a string",
                Unexpected::Seq => "a list",
                Unexpected::Map => "a table",
                Unexpected::Other(other) => other,
                _ => "something else",
            }
            .to_owned(),
            expected: match expected.to_string().as_str() {
                "a sequence" => "a list".to_owned(),
                "a map" => "a table".to_owned(),
                "a boolean" => "`true` or `false`".to_owned(),
                "i64" => "a whole number".to_owned(),
                other => other.to_owned(),
            },
        })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownKey {
            key: key.to_owned(),
            known,
        })
    }
}

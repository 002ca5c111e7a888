//! What is wrong with a configuration: each finding names its place and its remedy.

use std::fmt;

use serde::Serialize;

use crate::policy::rule::Place;

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot: nothing of it is used.
    Error,
    /// It can, but the operator may not have meant it.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where the offending text starts; `None` where no line of a file is to blame.
    pub place: Option<Place>,
    /// How many characters of the line the offending text takes, at least 1.
    pub width: usize,
    /// The line itself, with everything masked that may be a secret.
    pub excerpt: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Another place that has to do with it, and what is there.
    pub related: Option<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    /// A finding about no line in particular.
    #[must_use]
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            place: None,
            width: 1,
            excerpt: None,
            message: message.into(),
            related: None,
            help: None,
        }
    }

    /// Says what to do.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do, if something is known.
    pub(super) fn maybe_help(&mut self, help: Option<String>) -> &mut Self {
        self.help = help;
        self
    }

    /// Names another place.
    pub(super) fn related(&mut self, place: Place, what: impl Into<String>) -> &mut Self {
        self.related = Some((place, what.into()));
        self
    }

    /// Hides the line, because a secret may stand on it.
    pub(super) fn without_excerpt(&mut self) -> &mut Self {
        self.excerpt = None;
        self
    }

    /// The finding as one JSON object, for `--json`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let place = |place: &Place| {
            serde_json::json!({
                "file": &*place.file, "line": place.line, "column": place.column,
            })
        };
        serde_json::json!({
            "severity": self.severity,
            "place": self.place.as_ref().map(place),
            "message": self.message,
            "related": self.related.as_ref().map(|(at, what)| {
                serde_json::json!({ "place": place(at), "message": what })
            }),
            "help": self.help,
        })
    }
}

/// `file:line:column: error: message`, the line with a caret under it, and the help.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        if let Some(Place { file, line, column }) = &self.place {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        writeln!(f, "{severity}: {}", self.message)?;
        if let (Some(place), Some(line)) = (&self.place, &self.excerpt) {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(usize::try_from(place.column).unwrap_or(1).saturating_sub(1));
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {line}")?;
            writeln!(f, "{margin} | {indent}{}", "^".repeat(self.width))?;
        }
        if let Some((Place { file, line, column }, what)) = &self.related {
            writeln!(f, "note: {what} at {file}:{line}:{column}")?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "help: {help}")?;
        }
        Ok(())
    }
}

/// All findings about one configuration, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Puts one more at the end.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Puts all of `others` at the end.
    pub fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Every finding.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of them are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count()
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Names the option where the place is in what options were made into: `each` lines of
    /// the file `name` for every one of `values`.
    pub(super) fn name_options(&mut self, name: &str, each: usize, values: &[String]) {
        for finding in &mut self.0 {
            let Some(place) = finding.place.take_if(|place| *place.file == *name) else {
                continue;
            };
            let line = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
            let value = line.checked_div(each).and_then(|index| values.get(index));
            let value = value.map(String::as_str).unwrap_or_default();
            finding.message = format!("{name} {value}: {}", finding.message);
            finding.excerpt = None;
        }
    }

    /// Puts them in reading order, file by file, those without a place first.
    pub(super) fn sort(&mut self, files: &[std::sync::Arc<str>]) {
        let rank = |finding: &Finding| {
            finding.place.as_ref().map(|place| {
                let file = files.iter().position(|file| *file == place.file);
                (file, place.line, place.column)
            })
        };
        self.0.sort_by_key(rank);
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

//! One file of the configuration: its text, and where in it something stands.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::finding::{Finding, Severity};
use crate::policy::rule::Place;

/// The longest file, in bytes; a rule takes some 300.
const FILE_MAX: u64 = 8 * 1024 * 1024;
/// A longer line is not shown.
const LINE_MAX: usize = 400;
/// Keys beside which a secret may have been written by mistake.
const SECRET_KEYS: [&str; 4] = ["secret", "format", "basic", "set_headers"];

/// A file that was read.
#[derive(Debug)]
pub(super) struct File {
    /// As the operator named it, or as found in the rules folder.
    pub(super) name: Arc<str>,
    /// What relative paths in it are relative to; absolute.
    folder: PathBuf,
    pub(super) text: String,
    /// Where each line begins, once somebody has asked for a place: rules have one each, and
    /// there may be ten thousand.
    lines: OnceLock<Box<[usize]>>,
}

impl File {
    /// Reads a file of UTF-8 text.
    pub(super) fn read(path: &Path) -> Result<Self, Box<Finding>> {
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("`{}` cannot be read: {error}", path.display());
            Box::new(Finding::new(Severity::Error, message))
        };
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder =
            std::path::absolute(parent.unwrap_or(Path::new("."))).map_err(|e| failed(&e))?;
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(|e| failed(&e))?;
        file.take(FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| failed(&e))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(failed(&io::Error::other("it is longer than 8 MiB")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = count_lines(error.as_bytes(), error.utf8_error().valid_up_to());
            failed(&format!("line {line} is not UTF-8"))
        })?;
        Ok(Self {
            name: path.display().to_string().into(),
            folder,
            text,
            lines: OnceLock::new(),
        })
    }

    /// A file that is part of the program.
    pub(super) fn embedded(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            folder: PathBuf::new(),
            text: text.to_owned(),
            lines: OnceLock::new(),
        }
    }

    /// Stands for no file at all: nothing is written in it.
    pub(super) fn none() -> Self {
        Self {
            name: "".into(),
            folder: PathBuf::new(),
            text: String::new(),
            lines: OnceLock::new(),
        }
    }

    /// What options of the command line amount to.
    pub(super) fn of_command_line(option: &str, text: String) -> Self {
        Self {
            name: option.into(),
            folder: PathBuf::new(),
            text,
            lines: OnceLock::new(),
        }
    }

    /// A path as written in this file, made absolute.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        shortest(&self.folder.join(path))
    }

    /// Where a byte offset is.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let lines = self.lines.get_or_init(|| line_starts(&self.text));
        let line = lines.partition_point(|start| *start <= before.len());
        let start = line.checked_sub(1).and_then(|at| lines.get(at));
        let column = before.get(start.copied().unwrap_or(0)..);
        Place {
            file: self.name.clone(),
            line: number(line),
            column: number(column.map_or(0, |column| column.chars().count()) + 1),
        }
    }

    /// A finding about what starts at this place, to the end of its line.
    pub(super) fn finding_at(&self, severity: Severity, place: &Place, message: String) -> Finding {
        let before = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
        let lines = self.text.split_inclusive('\n').take(before);
        let start =
            lines.map(str::len).sum::<usize>() + usize::try_from(place.column).unwrap_or(1) - 1;
        self.finding(severity, start..self.text.len(), message)
    }

    /// A finding about this stretch of the text.
    pub(super) fn finding(
        &self,
        severity: Severity,
        span: Range<usize>,
        message: String,
    ) -> Finding {
        let start = self.text.get(..span.start).map_or(0, str::len);
        let line_start = self
            .text
            .get(..start)
            .and_then(|s| s.rfind('\n'))
            .map_or(0, |at| at + 1);
        let line = self
            .text
            .get(line_start..)
            .and_then(|s| s.lines().next())
            .unwrap_or("");
        let line_end = line_start + line.len();
        let marked = self
            .text
            .get(start..span.end.clamp(start, line_end.max(start)));
        let mut finding = Finding::new(severity, message);
        finding.place = Some(self.place(start));
        finding.width = marked.map_or(1, |text| text.chars().count().max(1));
        finding.excerpt = self
            .text
            .get(..line_start)
            .map(|before| excerpt(before, line));
        finding.excerpt = finding.excerpt.filter(|_| line.len() <= LINE_MAX);
        finding
    }
}

fn line_starts(text: &str) -> Box<[usize]> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes());
    std::iter::once(0).chain(ends.map(|end| end + 1)).collect()
}

fn count_lines(text: &[u8], end: usize) -> usize {
    memchr::memchr_iter(b'\n', text.get(..end).unwrap_or(text)).count() + 1
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The line as it may be shown, as wide as it was: control characters become spaces, and
/// values become asterisks where a secret may have been written by mistake.
fn excerpt(before: &str, line: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let key = SECRET_KEYS.iter().filter_map(|key| line.find(key)).min();
    let continued = continues_secret(before);
    let (shown, rest) = match key {
        _ if continued => ("", line),
        Some(from) => line.split_at_checked(from).unwrap_or(("", line)),
        None => (line, ""),
    };
    let mut text: String = shown.chars().map(plain).collect();
    let mut hidden = continued && !begins_with_key(rest);
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        // The keys of an inline table stay readable.
        let separates = quote.is_none() && matches!(c, '{' | ',');
        hidden = hidden && !(separates && rest.get(at + 1..).is_some_and(begins_with_key));
        text.push(if hidden && !c.is_whitespace() {
            '*'
        } else {
            plain(c)
        });
        match (quote, c) {
            (Some(open), _) => quote = quote.filter(|_| c != open),
            (None, '"' | '\'') if hidden => quote = Some(c),
            (None, '=') => hidden = true,
            _ => {}
        }
    }
    text
}

/// Whether this goes on with `key =`.
fn begins_with_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let text = text.trim_start();
    let rest = text.trim_start_matches(plain);
    rest.len() < text.len() && rest.trim_start().starts_with('=')
}

/// Whether what follows this text is still about such a key: in its own table, or in an inline
/// table or string over several lines.
fn continues_secret(before: &str) -> bool {
    let names = |text: &str| SECRET_KEYS.iter().any(|key| text.contains(key));
    let header = before
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with('['));
    if header.is_some_and(names) {
        return true;
    }
    let last = SECRET_KEYS.iter().filter_map(|key| before.rfind(key)).max();
    last.and_then(|at| before.get(at..)).is_some_and(|rest| {
        let count = |pattern: &str| rest.matches(pattern).count();
        count("{") > count("}") || count("\"\"\"") % 2 == 1 || count("'''") % 2 == 1
    })
}

/// The same place without `folder/..`, as far as that is the same: behind a symbolic link `..`
/// leads to where the link does, so that one stays, as does a folder that is not there.
pub(super) fn shortest(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        let is_folder = || fs::symlink_metadata(&short).is_ok_and(|it| it.is_dir());
        let is_named = matches!(short.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && is_named && is_folder() {
            short.pop();
        } else {
            short.push(part);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_shown_the_short_way_where_that_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("rules/own")).unwrap();
        fs::create_dir_all(root.join("far/away")).unwrap();
        symlink("far/away", root.join("link")).unwrap();
        for (written, short) in [
            ("rules/../secrets/k", "secrets/k"),
            ("rules/own/../../k", "k"),
            ("rules/./own/k", "rules/own/k"),
            ("rules/own/..", "rules"),
            ("link/../k", "link/../k"),
            ("none/../k", "none/../k"),
            ("rules/../link/../k", "link/../k"),
            ("link/../../rules/../k", "link/../../k"),
        ] {
            assert_eq!(shortest(&root.join(written)), root.join(short), "{written}");
        }
        assert_eq!(shortest(Path::new("/../k")), Path::new("/../k"));
        assert_eq!(shortest(Path::new("../k")), Path::new("../k"));
    }

    fn file(text: &str) -> File {
        File {
            name: "a.toml".into(),
            folder: "/".into(),
            text: text.into(),
            lines: OnceLock::new(),
        }
    }

    #[test]
    fn places_count_characters_from_one() {
        let file = file("a = 1\r\nb = \"é\" # x\n");
        for (needle, line, column) in [("a", 1, 1), ("b", 2, 1), ("\"é", 2, 5), ("#", 2, 9)] {
            let place = file.place(file.text.find(needle).unwrap());
            assert_eq!((place.line, place.column), (line, column), "{needle}");
        }
        assert_eq!(file.place(usize::MAX).line, 3);
        for (offset, line, column) in [(6, 1, 7), (7, 2, 1), (18, 2, 11), (20, 3, 1)] {
            let place = file.place(offset);
            assert_eq!((place.line, place.column), (line, column), "{offset}");
        }
    }

    #[test]
    fn spans_over_several_lines_are_marked_to_the_end_of_the_first() {
        let file = file("a = [\n1,\n]\n");
        let finding = file.finding(Severity::Error, 4..11, String::new());
        assert_eq!(
            (finding.width, finding.excerpt.as_deref()),
            (1, Some("a = ["))
        );
        let end = file.finding(Severity::Error, 11..11, String::new());
        assert_eq!(end.width, 1);
    }

    #[test]
    fn i5_an_excerpt_shows_no_secret_written_by_mistake() {
        for line in [
            "secret = \"sk-live-123\"",
            "secret = sk-live-123",
            "secret = { value = \"sk-live-123\" }",
            "secret = { value = sk-live-123 }",
            "secret = { value = \"{a = 1, sk-live-123\" }",
            "secret = a,sk-live-123",
            "attach = { header = \"a\", format = \"{secret} sk-live-123\" }",
            "credential = { name = \"a\", secret = 'sk-live-123' }",
            "attach = { header = \"x-api-key\", format = \"Bearer sk-live-123\" }",
            "attach = { basic = \"user:sk-live-123\" }",
            "set_headers = { authorization = \"sk-live-123\" }",
        ] {
            let shown = excerpt("", line);
            assert!(!shown.contains("sk-live"), "{shown}");
            assert_eq!(shown.chars().count(), line.chars().count());
        }
        for before in [
            "[credential.secret]\n",
            "[rule.set_headers]\nx-team = \"a\"\n",
            "secret = {\n",
            "secret = \"\"\"\n",
        ] {
            for line in [
                "value = \"sk-live-123\"",
                "value = sk-live-123",
                "sk-live-123",
            ] {
                let shown = excerpt(before, line);
                assert!(!shown.contains("sk-live"), "{before}{shown}");
            }
        }
        let after = "secret = { env = \"A\" }\n";
        assert_eq!(
            excerpt(after, "hosts = [\"a.test\"]"),
            "hosts = [\"a.test\"]"
        );
        assert_eq!(
            excerpt("", "secret = { fiel = \"/a\", env = \"B\" }"),
            "secret = { fiel = ****, env = *** *"
        );
        assert_eq!(excerpt("", "a\t= \"\u{1b}[31m\""), "a = \" [31m\"");
    }
}

//! `portreeve dlp`: what the detectors are, what they find, and whether they keep their word.

mod honeytoken;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::dlp::{Action, Detector, Detectors, Finding, Stream};

/// Bytes read at a time.
const READ: usize = 64 * 1024;
/// Bytes before a reading that are kept for context.
const KEPT: usize = 8 * 1024;
/// Bytes of context shown on each side.
const CONTEXT: usize = 24;
/// A word of the context that is as long as this may be a secret itself.
const WORD: usize = 16;
/// So many detectors are named where many are alike.
const NAMED: usize = 8;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Hold every detector against its own examples
    Check,
    /// List the detectors
    List {
        /// As one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show what a detector looks for
    Explain {
        /// Its name, as `list` shows it
        detector: String,
    },
    /// Make tokens that look real and open nothing; one that leaves is an alarm
    Honeytoken {
        /// For whom; stands in the record of the alarm
        #[arg(long)]
        agent: Option<String>,
        /// Like those of this detector; may be given again
        #[arg(long = "like", value_name = "DETECTOR")]
        likes: Vec<String>,
    },
    /// Look for what must not leave; exit code 1 if there is any
    Scan {
        /// What to read; `-` for standard input
        file: PathBuf,
        /// As one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command; the answer is whether all is well.
///
/// # Errors
/// Those of reading the file and of writing to `out`; an unknown detector.
pub fn run(command: &Command, detectors: Vec<Detector>, out: &mut impl Write) -> io::Result<bool> {
    match command {
        Command::Check => check(&detectors, out),
        Command::List { json } => list(&detectors, *json, out),
        Command::Explain { detector } => explain(&detectors, detector, out),
        Command::Honeytoken { agent, likes } => {
            honeytoken::make(&detectors, agent.as_deref(), likes, out).map(|()| true)
        }
        Command::Scan { file, json } => scan_file(&Detectors::new(detectors), file, *json, out),
    }
}

fn check(detectors: &[Detector], out: &mut impl Write) -> io::Result<bool> {
    let (mut wrong, mut left_out, mut slow) = (0, 0, Vec::new());
    for detector in detectors {
        if let Some(why) = &detector.left_out {
            writeln!(out, "{}: left out: {why}", detector.name)?;
            left_out += 1;
        }
        let engine = detector.engine();
        if engine.searches_words() {
            slow.push(&*detector.name);
        }
        if detector.written.is_empty() && detector.kind.is_none() {
            // A honeytoken, or of another scanner's file: there are no examples.
            continue;
        }
        if let Some((text, missed)) = detector.wrong_example(&engine) {
            let what = if missed {
                "does not find its example"
            } else {
                "finds its counter-example"
            };
            writeln!(out, "{}: {what} {text:?}", detector.name)?;
            wrong += 1;
        } else if detector.examples.is_empty() {
            writeln!(out, "{}: has no example", detector.name)?;
            wrong += 1;
        }
    }
    slowed(&slow, out)?;
    let total = detectors.len();
    match wrong {
        0 if left_out > 0 => {
            writeln!(
                out,
                "ok: {} detectors; {left_out} left out",
                total - left_out
            )?;
        }
        0 => writeln!(out, "ok: {total} detectors")?,
        _ => writeln!(out, "{wrong} of {total} detectors are wrong")?,
    }
    Ok(wrong == 0)
}

/// Says what makes all scans slower.
fn slowed(by: &[&str], out: &mut impl Write) -> io::Result<()> {
    let (first, more) = by.split_at(by.len().min(NAMED));
    if first.is_empty() {
        return Ok(());
    }
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    writeln!(
        out,
        "all scans are slower by {}{more}, as words have to be searched, too. For a shape they need not where \
         ten bytes in a row, among them the four by which it is found, are no quotes, brackets or spaces and \
         nearly always hold one of these: a digit, `://`, eight capitals in a row, four of `+-/_` in a row, \
         four changes between capitals and small letters",
        first.join(", ")
    )
}

fn list(detectors: &[Detector], json: bool, out: &mut impl Write) -> io::Result<bool> {
    for detector in detectors {
        let (default, strict) = (detector.default.word(), detector.strict.word());
        if json {
            let line = serde_json::json!({
                "detector": &*detector.name, "title": detector.title,
                "default": default, "strict": strict,
            });
            writeln!(out, "{line}")?;
        } else {
            let (name, title) = (&detector.name, &detector.title);
            writeln!(out, "{name:32} {default:6} {strict:6} {title}")?;
        }
    }
    Ok(true)
}

fn named<'a>(detectors: &'a [Detector], name: &str) -> io::Result<&'a Detector> {
    let found = detectors.iter().find(|detector| &*detector.name == name);
    found.ok_or_else(|| {
        let message = format!("no detector is called `{name}`; `portreeve dlp list` names them");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

fn explain(detectors: &[Detector], name: &str, out: &mut impl Write) -> io::Result<bool> {
    let detector = named(detectors, name)?;
    writeln!(out, "{}: {}", detector.name, detector.title)?;
    for shape in &detector.written {
        writeln!(out, "  looks like   {shape}")?;
    }
    if let Some(kind) = detector.kind {
        writeln!(out, "  looks for    {}", kind.word())?;
    }
    if let Some(check) = detector.check.word() {
        writeln!(out, "  must pass    {check}")?;
    }
    if detector.entropy > 0.0 {
        writeln!(
            out,
            "  entropy      at least {} bits a byte",
            detector.entropy
        )?;
    }
    writeln!(out, "  in `default` {}", detector.default.word())?;
    writeln!(out, "  in `strict`  {}", detector.strict.word())?;
    for home in &detector.allow_to {
        let star = if home.under { "*." } else { "" };
        writeln!(out, "  may go to    {star}{} in headers and URL", home.host)?;
    }
    Ok(true)
}

fn scan_file(
    detectors: &Detectors,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    if path == Path::new("-") {
        return scan(detectors, io::stdin().lock(), json, out);
    }
    let file = File::open(path).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", path.display());
        io::Error::new(error.kind(), message)
    })?;
    scan(detectors, BufReader::with_capacity(READ, file), json, out)
}

/// The last bytes read, for the context of findings and the number of a line.
#[derive(Default)]
struct Recent {
    bytes: Vec<u8>,
    base: u64,
    line: u64,
}

fn scan(
    detectors: &Detectors,
    mut input: impl BufRead,
    json: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut stream = Stream::new();
    let mut recent = Recent {
        line: 1,
        ..Recent::default()
    };
    let mut clean = true;
    loop {
        let data = input.fill_buf()?;
        let length = data.len();
        let mut findings = Vec::new();
        recent.push(data);
        if length == 0 {
            stream.finish(detectors.engine(), &mut |finding, _| findings.push(finding));
        } else {
            stream.push(detectors.engine(), data, &mut |finding, _| {
                findings.push(finding);
            });
        }
        input.consume(length);
        findings.sort_unstable();
        findings.dedup();
        for finding in &findings {
            let Some(detector) = detectors.of(finding) else {
                continue;
            };
            clean &= detector.default == Action::Off;
            tell(detector, finding, &recent, &findings, json, out)?;
        }
        if length == 0 {
            return Ok(clean);
        }
        recent.forget();
    }
}

fn tell(
    detector: &Detector,
    finding: &Finding,
    recent: &Recent,
    all: &[Finding],
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let (line, context) = (recent.line_of(finding), recent.context(finding, all));
    if json {
        let line = serde_json::json!({
            "detector": &*detector.name, "title": detector.title,
            "default": detector.default.word(), "strict": detector.strict.word(),
            "offset": finding.start, "length": finding.length, "line": line,
            "coding": finding.coding.word(), "context": context,
        });
        return writeln!(out, "{line}");
    }
    let (name, title) = (&detector.name, &detector.title);
    let action = detector.default.word();
    let coding = finding.coding.word().unwrap_or("plain");
    writeln!(
        out,
        "line {line}, byte {}: {title} ({name}, {coding}, {action}): {context}",
        finding.start
    )
}

impl Recent {
    fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    fn forget(&mut self) {
        let drop = self.bytes.len().saturating_sub(KEPT);
        let dropped = self.bytes.drain(..drop);
        self.line += dropped.filter(|byte| *byte == b'\n').count() as u64;
        self.base += drop as u64;
    }

    /// Where a finding is in the bytes; clipped to what is there.
    fn range(&self, finding: &Finding) -> (usize, usize) {
        let start = finding.start.saturating_sub(self.base);
        let start = usize::try_from(start)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let end = start.saturating_add(finding.length as usize);
        (start, end.min(self.bytes.len()))
    }

    fn line_of(&self, finding: &Finding) -> u64 {
        let (start, _) = self.range(finding);
        let before = self.bytes.get(..start).unwrap_or_default();
        self.line + memchr::memchr_iter(b'\n', before).count() as u64
    }

    /// What stands around a finding on its line, with it and every other finding masked.
    fn context(&self, finding: &Finding, all: &[Finding]) -> String {
        let (start, end) = self.range(finding);
        let mut masked = self.bytes.clone();
        for other in all {
            let (start, end) = self.range(other);
            masked.get_mut(start..end).unwrap_or_default().fill(b'*');
        }
        let before = masked.get(start.saturating_sub(CONTEXT)..start);
        let before = before.unwrap_or_default();
        let line = before.iter().rposition(|byte| *byte == b'\n');
        let before = before
            .get(line.map_or(0, |at| at + 1)..)
            .unwrap_or_default();
        let after = masked.get(end..).unwrap_or_default();
        let after = after.get(..CONTEXT).unwrap_or(after);
        let after = after
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let length = finding.length;
        format!("{}[{length} bytes]{}", shown(before), shown(after))
    }
}

/// Printable, and with long words masked: one may be a secret that nobody described.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for word in bytes.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
        if word.len() >= WORD {
            text.push('…');
        } else {
            text.push_str(&word.escape_ascii().to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, detectors};
    use crate::dlp::Shape;

    fn shipped() -> Vec<Detector> {
        detectors(None, &Env::fixed(Path::new("/nonexistent"), [])).unwrap()
    }

    fn example(name: &str) -> String {
        let all = shipped();
        let detector = all.iter().find(|detector| &*detector.name == name);
        detector.unwrap().examples[0].clone()
    }

    #[test]
    fn a_scan_names_what_it_found_and_shows_nothing_of_it() {
        let token = example("anthropic-key");
        let input = format!("# notes\nkey: \"{token}\" # mine\n");
        for json in [false, true] {
            let mut out = Vec::new();
            let all = Detectors::new(shipped());
            assert!(!scan(&all, input.as_bytes(), json, &mut out).unwrap());
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.contains("anthropic-key") && text.contains("# mine"),
                "{text}"
            );
            assert!(!text.contains(token.split_at(16).0), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let mut out = Vec::new();
        let all = Detectors::new(shipped());
        assert!(scan(&all, &b"nothing here"[..], false, &mut out).unwrap());
        assert!(out.is_empty());
    }

    #[test]
    fn the_shipped_detectors_are_right() {
        let mut out = Vec::new();
        assert!(run(&Command::Check, shipped(), &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().starts_with("ok: "));
    }

    #[test]
    fn check_says_what_makes_scans_slower() {
        let slow = |shape: &str| {
            let mut detector = shipped().remove(0);
            detector.shapes = Shape::parse(shape).unwrap();
            let mut out = Vec::new();
            run(&Command::Check, vec![detector], &mut out).unwrap();
            String::from_utf8(out).unwrap().contains("slower")
        };
        assert!(slow("tok_[a-z]{12}"));
        assert!(slow("tok_[a-z0-9]{12}"));
        assert!(slow("tok_[a-z0-9(]{12}"));
        assert!(!slow("tok_[a-z0-9]{26}"));
    }

    #[test]
    fn explain_knows_every_detector_of_list() {
        for detector in shipped() {
            let mut out = Vec::new();
            let command = Command::Explain {
                detector: detector.name.to_string(),
            };
            assert!(run(&command, shipped(), &mut out).unwrap());
        }
        let unknown = Command::Explain {
            detector: "nope".to_owned(),
        };
        assert!(run(&unknown, shipped(), &mut Vec::new()).is_err());
    }
}

//! The file behind the log: opening it, and what its end says about the run before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Deserialize;

use super::kind::{Gap, GapCause};

/// How much of the file's end is read: more than the longest record.
const TAIL: u64 = 64 * 1024;

/// Where the writer puts its bytes.
pub(super) trait Sink: Send {
    /// As [`std::io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Whether something stands there that does not end with a newline.
    fn ends_mid_line(&self) -> bool;
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.sync_data() {
            // "fd is bound to a special file which does not support synchronization"
            // (fsync(2)): pipes and devices have nothing to make durable.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }

    fn ends_mid_line(&self) -> bool {
        let mut last = [b'\n'];
        match self.metadata().map(|metadata| metadata.len()) {
            Ok(len) if len > 0 => self.read_exact_at(&mut last, len - 1).is_ok() && last != *b"\n",
            _ => false,
        }
    }
}

/// Opens the log for appending; a new file is readable by its owner alone.
///
/// # Errors
/// Names the path and what to do about it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let result = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    result.map_err(|error| {
        let shown = path.display();
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let remedy = match (error.kind(), folder) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                format!("the folder {} does not exist: create it", folder.display())
            }
            (io::ErrorKind::PermissionDenied, _) => {
                format!("{error}: the gateway's user must be able to read and write it")
            }
            _ => error.to_string(),
        };
        io::Error::new(
            error.kind(),
            format!("cannot open the audit log {shown}: {remedy}"),
        )
    })
}

/// What the end of an existing log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last number given to a record; 0 in a new file.
    pub(super) sequence: u64,
    /// What must be recorded before anything else, if the run before did not end in order.
    pub(super) gap: Option<Gap>,
}

/// The part of a record that is looked at again.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "portreeve.record.sequence")]
    sequence: u64,
    #[serde(rename = "portreeve.record.kind")]
    kind: String,
}

/// Reads the end of the log. Files that cannot be read backwards, such as pipes and
/// devices, have length 0 and count as new.
pub(super) fn tail(file: &File) -> io::Result<Tail> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(len - from).unwrap_or_default()];
    file.read_exact_at(&mut bytes, from)?;
    Ok(judge(&bytes))
}

fn judge(bytes: &[u8]) -> Tail {
    if bytes.is_empty() {
        return Tail::default();
    }
    let cut = bytes.strip_suffix(b"\n");
    let lines = cut.unwrap_or(bytes).rsplit(|&byte| byte == b'\n');
    let mut seen = lines.map(|line| serde_json::from_slice::<Seen>(line).ok());
    let last = seen.next().flatten();
    // A last line without its newline that still reads as a record lost nothing.
    let torn = cut.is_none() && last.is_none();
    if let Some(last) = &last
        && last.kind == "stop"
    {
        return Tail {
            sequence: last.sequence,
            gap: None,
        };
    }
    // Of a torn line the number is unknown, but it was the next: it stays a hole.
    let last = last
        .or_else(|| seen.flatten().next())
        .map(|last| last.sequence);
    Tail {
        sequence: last.unwrap_or(0).saturating_add(torn.into()),
        gap: Some(Gap {
            cause: GapCause::Killed,
            last_sequence: last,
            torn: Some(torn),
            lost: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64, kind: &str) -> String {
        format!(
            "{{\"portreeve.record.sequence\":{sequence},\"portreeve.record.kind\":\"{kind}\"}}\n"
        )
    }

    fn killed(last_sequence: Option<u64>, torn: bool) -> Gap {
        Gap {
            cause: GapCause::Killed,
            last_sequence,
            torn: Some(torn),
            lost: None,
        }
    }

    #[test]
    fn the_end_of_the_file_tells_how_the_run_ended() {
        let stopped = line(6, "request") + &line(7, "stop");
        let running = line(6, "stop") + &line(7, "request");
        let torn = format!("{running}{{\"portreeve.record.seq");
        for (text, sequence, gap) in [
            ("", 0, None),
            (stopped.as_str(), 7, None),
            (stopped.trim_end(), 7, None),
            (running.as_str(), 7, Some(killed(Some(7), false))),
            (running.trim_end(), 7, Some(killed(Some(7), false))),
            (torn.as_str(), 8, Some(killed(Some(7), true))),
            ("not ours\n", 0, Some(killed(None, false))),
            ("\n", 0, Some(killed(None, false))),
            ("{\"portreeve", 1, Some(killed(None, true))),
        ] {
            assert_eq!(judge(text.as_bytes()), Tail { sequence, gap }, "{text:?}");
        }
        // A foreign line at the end hides neither the number nor the kill.
        let foreign = stopped.clone() + "foreign\n";
        assert_eq!(
            judge(foreign.as_bytes()),
            Tail {
                sequence: 7,
                gap: Some(killed(Some(7), false))
            }
        );
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut text = String::new();
        for sequence in 1..=3_000 {
            text += &line(sequence, "request");
        }
        assert!(text.len() as u64 > 2 * TAIL);
        std::fs::write(&path, &text).unwrap();
        let file = open(&path).unwrap();
        assert_eq!(
            tail(&file).unwrap(),
            Tail {
                sequence: 3_000,
                gap: Some(killed(Some(3_000), false))
            }
        );
        assert!(!file.ends_mid_line());
        std::fs::write(&path, "torn").unwrap();
        assert!(file.ends_mid_line());
    }
}

//! What the shipped detectors find where there is nothing: false alarms by detector.
//!
//! `cargo bench --bench precision -- [--config FILE] [--random MIB] [NAME=FOLDER …]` scans
//! every file of the folders (those in gzip decompressed) as it is, as a JSON string and in
//! base64, and streams of random base64, hexadecimal, UUIDs, digits and words. Keys that are
//! published with the material and really are keys stand in `benches/precision.known`, by
//! detector, fingerprint and place. The results of a run are in `benches/precision.md`.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::read::MultiGzDecoder;
use portreeve::config::{Env, detectors};
use portreeve::dlp::{Action, Detectors, scan};

/// Bytes of a random stream that are scanned at once.
const PIECE: usize = 4 << 20;
/// Larger files are cut, decompressed ones too.
const FILE_MAX: u64 = 32 << 20;

#[derive(Default)]
struct Counts {
    bytes: u64,
    default: u64,
    strict: u64,
    alerts: u64,
    known: u64,
}

struct Run {
    detectors: Detectors,
    known: BTreeSet<String>,
    corpora: BTreeMap<String, Counts>,
    by_detector: BTreeMap<String, [u64; 3]>,
    /// The same file may stand in a corpus twice, and each has three views.
    seen: BTreeSet<String>,
}

impl Run {
    fn scan(&mut self, corpus: &str, place: &str, bytes: &[u8]) {
        let counts = self.corpora.entry(corpus.to_owned()).or_default();
        counts.bytes += bytes.len() as u64;
        let (detectors, known) = (&self.detectors, &self.known);
        let (by_detector, seen) = (&mut self.by_detector, &mut self.seen);
        scan(detectors.engine(), bytes, &mut |finding, data| {
            let detector = detectors.of(&finding).expect("its detector");
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
            let mut hash = String::new();
            for byte in digest.as_ref().iter().take(8) {
                let _ = write!(hash, "{byte:02x}");
            }
            let line = format!("{} {hash} {place}", detector.name);
            let id = format!("{} {hash}", detector.name);
            if known.contains(&id) {
                counts.known += 1;
                return;
            }
            let all = by_detector.entry(detector.name.to_string()).or_default();
            let strict = detector.strict == Action::Block;
            counts.strict += u64::from(strict);
            counts.default += u64::from(detector.default == Action::Block);
            counts.alerts += u64::from(!strict);
            all[0] += u64::from(detector.default == Action::Block);
            all[1] += u64::from(strict);
            all[2] += 1;
            if seen.insert(id) {
                let action = if strict { "block" } else { "alert" };
                println!("{action} {line} at {}", finding.start);
                if std::env::var_os("SHOW").is_some() {
                    println!("      {}", data.escape_ascii());
                }
            }
        });
    }

    fn folder(&mut self, name: &str, folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            let Ok(entries) = fs::read_dir(&next) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                let Ok(meta) = path.symlink_metadata() else {
                    continue;
                };
                if meta.is_dir() {
                    folders.push(path);
                } else if meta.is_file() {
                    let place = path.strip_prefix(folder).expect("under its folder");
                    self.file(name, &format!("{name}/{}", place.display()), &path);
                }
            }
        }
    }

    fn file(&mut self, name: &str, place: &str, path: &Path) {
        let Ok(file) = fs::File::open(path) else {
            return;
        };
        let mut bytes = Vec::new();
        let read = if path.extension().is_some_and(|end| end == "gz") {
            MultiGzDecoder::new(file)
                .take(FILE_MAX)
                .read_to_end(&mut bytes)
        } else {
            file.take(FILE_MAX).read_to_end(&mut bytes)
        };
        if read.is_err() {
            return;
        }
        self.scan(name, place, &bytes);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let json = serde_json::to_string(text).expect("a string");
            self.scan(&format!("{name}, JSON"), place, json.as_bytes());
        }
        let text = STANDARD.encode(&bytes);
        self.scan(&format!("{name}, base64"), place, text.as_bytes());
    }

    fn random(&mut self, mib: usize) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (name, make) in STREAMS {
            let mut left = mib << 20;
            while left > 0 {
                let text = make(&mut random);
                self.scan(name, name, text.as_bytes());
                left = left.saturating_sub(text.len());
            }
        }
    }

    fn report(&self) {
        println!(
            "\n| corpus | MB | blocks `default` | blocks `strict` | alerts `strict` | known |"
        );
        println!("|---|---|---|---|---|---|");
        let mut sum = Counts::default();
        let row = |name: &str, counts: &Counts| {
            let Counts {
                bytes,
                default,
                strict,
                alerts,
                known,
            } = counts;
            let mb = bytes / 1_000_000;
            println!("| {name} | {mb} | {default} | {strict} | {alerts} | {known} |");
        };
        for (name, counts) in &self.corpora {
            row(name, counts);
            sum.bytes += counts.bytes;
            sum.default += counts.default;
            sum.strict += counts.strict;
            sum.alerts += counts.alerts;
            sum.known += counts.known;
        }
        row("all", &sum);
        println!(
            "\n| detector | blocks `default` | blocks `strict` | findings |\n|---|---|---|---|"
        );
        for (name, [default, strict, all]) in &self.by_detector {
            println!("| {name} | {default} | {strict} | {all} |");
        }
    }
}

/// xorshift64: the same streams at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count / 8)
            .flat_map(|_| self.next().to_le_bytes())
            .collect()
    }
}

type Make = fn(&mut Random) -> String;

const STREAMS: [(&str, Make); 8] = [
    ("random base64", |random| {
        STANDARD.encode(random.bytes(PIECE / 4 * 3))
    }),
    ("random base64url", |random| {
        URL_SAFE_NO_PAD.encode(random.bytes(PIECE / 4 * 3))
    }),
    ("random base64url words", |random| {
        pieces(random, |random| {
            let size = 16 + usize::try_from(random.next() % 12).expect("small") * 8;
            URL_SAFE_NO_PAD.encode(random.bytes(size))
        })
    }),
    ("random base64 of base64", |random| {
        STANDARD.encode(STANDARD.encode(random.bytes(PIECE / 16 * 9)))
    }),
    ("random hexadecimal", |random| {
        random
            .bytes(PIECE / 2)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }),
    ("random SHA-256 list", |random| {
        pieces(random, |random| {
            let mut line = String::new();
            for _ in 0..4 {
                let _ = write!(line, "{:016x}", random.next());
            }
            line
        })
    }),
    ("random UUIDs", |random| {
        pieces(random, |random| {
            let (a, b) = (random.next(), random.next());
            let id = uuid::Uuid::from_u64_pair(a, b);
            id.to_string()
        })
    }),
    ("random digits", |random| {
        pieces(random, |random| {
            format!("{}", random.next() >> (random.next() % 40))
        })
    }),
];

/// Many short texts, separated as JSON, CSV and logs do.
fn pieces(random: &mut Random, make: fn(&mut Random) -> String) -> String {
    let mut text = String::new();
    while text.len() < PIECE {
        text.push_str(&make(random));
        text.push_str(match random.next() % 5 {
            0 => "\", \"",
            1 => ",",
            2 => " ",
            3 => "\n",
            _ => "/",
        });
    }
    text
}

fn main() {
    let mut config = None;
    let mut mib = 128;
    let mut folders = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--config" => config = arguments.next().map(PathBuf::from),
            "--random" => {
                let number = arguments.next().expect("--random MIB");
                mib = number.parse().expect("--random MIB");
            }
            _ => folders.push(argument),
        }
    }
    let env = Env::fixed(Path::new("/nonexistent"), []);
    let all = detectors(config.as_deref(), &env);
    let all = all.unwrap_or_else(|findings| panic!("{findings}"));
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/precision.known");
    let known = fs::read_to_string(known).unwrap_or_default();
    let id = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    let mut run = Run {
        detectors: Detectors::new(all),
        known: known
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(id)
            .collect(),
        corpora: BTreeMap::new(),
        by_detector: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    run.random(mib);
    for folder in folders {
        let (name, folder) = folder.split_once('=').expect("NAME=FOLDER");
        run.folder(name, Path::new(folder));
    }
    run.report();
}

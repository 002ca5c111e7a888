//! How fast what leaves is scanned, on one core: the search for anchors alone, the whole
//! engine with all shipped detectors, the stream, and what an attacker would send.
//!
//! `cargo bench --bench dlp`; clean traffic is JSON and source made from this crate's own
//! files, so that the numbers can be compared between machines.

#![allow(clippy::expect_used, clippy::format_collect, missing_docs)]

use std::fs;
use std::path::Path;

use base64::Engine as _;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portreeve::config::{Env, detectors};
use portreeve::dlp::pass::SLICE;
use portreeve::dlp::planes::Planes;
use portreeve::dlp::prefilter::Place;
use portreeve::dlp::{Detectors, Stream, scan};

/// Bytes of a body.
const BODY: usize = 4 << 20;
/// Bytes of a chunk of one that streams.
const CHUNK: usize = 16 << 10;

fn shipped() -> Detectors {
    let env = Env::fixed(Path::new("/nonexistent"), []);
    Detectors::new(detectors(None, &env).expect("the shipped detectors"))
}

/// All sources of this crate, again and again.
fn source() -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(file) = fs::read_to_string(entry.path()) {
                text.push_str(&file);
            }
        }
    }
    long(&text)
}

fn base64(data: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}

fn long(text: &str) -> String {
    text.repeat(BODY / text.len() + 1)
}

fn corpora() -> Vec<(&'static str, String)> {
    let source = source();
    let json = serde_json::json!({ "messages": [{ "role": "user", "content": &source }] });
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let nested = base64(base64(source.get(..BODY / 2).unwrap_or(&source)));
    let hex: String = (0..BODY / 16).map(|_| format!("{:016x}", next())).collect();
    vec![
        ("source", source),
        ("json", json.to_string()),
        ("hex", hex),
        ("nested-base64", nested),
        ("flood-of-anchors", long("ghp_,eyJ.xoxb-1\"sk-proj-")),
        ("flood-of-urls", long("postgres://a:,")),
        ("flood-of-keys", long("-----BEGIN RSA PRIVATE KEY-----")),
        ("flood-of-digits", long("1234567890")),
    ]
}

fn bench(criterion: &mut Criterion) {
    let all = shipped();
    let engine = all.engine();
    for (name, text) in corpora() {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("prefilter", |bencher| {
            bencher.iter(|| {
                let mut hits = 0;
                for slice in text.as_bytes().chunks(SLICE) {
                    let planes = Planes::of(slice);
                    let mut place = Place::default();
                    engine.search(slice, &planes, &mut place, &mut |_, _| hits += 1);
                }
                hits
            });
        });
        group.bench_function("engine", |bencher| {
            bencher.iter(|| scan(engine, text.as_bytes(), &mut |_, _| {}));
        });
        group.bench_function("stream", |bencher| {
            bencher.iter(|| {
                let mut stream = Stream::new();
                for chunk in text.as_bytes().chunks(CHUNK) {
                    stream.push(engine, chunk, &mut |_, _| {});
                }
                stream.finish(engine, &mut |_, _| {});
            });
        });
    }
    let mut group = criterion.benchmark_group("small");
    let source = source();
    for size in [1024, 2048] {
        let text = source.get(..size).unwrap_or_default();
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| scan(engine, text.as_bytes(), &mut |_, _| {}));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

//! Encoded bodies: what is found, what is held, and what is refused.

use std::io::Read;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;

use super::super::scan::{FingerprintKey, Found};
use super::*;
use crate::dlp::{Detector, Detectors, Profile};
use crate::metrics::Metrics;
use crate::name::Host;
use crate::secret::Secret;

const SECRET: &str = "held-7Gq2zR9vLk4mX1wB";

fn scanner() -> Scanner {
    let detector = Detector::of_secret("a", &Secret::new(SECRET.into())).unwrap();
    Scanner {
        detectors: Arc::new(Detectors::new(vec![detector])),
        profile: Profile::Default,
        host: Host::from_config("good.test").unwrap(),
        key: Arc::new(FingerprintKey::random().unwrap()),
        found: Arc::new(Found::default()),
        metrics: Arc::new(Metrics::new()),
    }
}

fn headers(codings: &str) -> HeaderMap {
    let value = HeaderValue::from_str(codings).unwrap();
    [(header::CONTENT_ENCODING, value)].into_iter().collect()
}

fn encode(coding: &str, data: &[u8]) -> Vec<u8> {
    let level = Compression::new(6);
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "bare" => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut all = Vec::new();
            let mut encoder = brotli::CompressorReader::new(data, 4096, 5, 20);
            encoder.read_to_end(&mut all).unwrap();
            all
        }
        "zstd" => zstd::encode_all(data, 3).unwrap(),
        _ => data.to_vec(),
    }
}

/// The refusal, and how many raw bytes had gone on before it.
fn run(codings: &str, raw: &[u8], size: usize) -> (Option<Refusal>, usize) {
    let mut decoding = Decoding::new(&headers(codings), &scanner())
        .unwrap()
        .unwrap();
    let (mut pushed, mut gone) = (0, 0);
    for piece in raw.chunks(size) {
        if let Err(refusal) = decoding.push(piece) {
            return (Some(refusal), gone);
        }
        pushed += piece.len();
        gone = gone.max(pushed - decoding.held());
    }
    (decoding.finish().err(), gone)
}

/// Text that does not compress to nothing.
fn text(lines: u64) -> String {
    let line = |number: u64| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..lines).map(line).collect()
}

#[test]
fn tokens_are_found_through_every_encoding_and_two_of_them() {
    for (codings, layers) in [
        ("gzip", &["gzip"][..]),
        ("X-GZIP", &["gzip"]),
        ("deflate", &["deflate"]),
        ("deflate", &["bare"]),
        ("br", &["br"]),
        ("zstd", &["zstd"]),
        ("identity, gzip", &["gzip"]),
        ("gzip, br", &["gzip", "br"]),
        ("zstd,gzip", &["zstd", "gzip"]),
    ] {
        for (before, after) in [(0, 0), (3_000, 0), (3_000, 3_000)] {
            let body = |middle: &str| format!("{}{middle}{}", text(before), text(after));
            let encoded = |middle: &str| {
                let plain = body(middle).into_bytes();
                layers
                    .iter()
                    .fold(plain, |data, coding| encode(coding, &data))
            };
            for size in [1, 100, 1 << 20] {
                let (refusal, _) = run(codings, &encoded(SECRET), size);
                let refusal = refusal.unwrap_or_else(|| panic!("{codings} {before} {size}"));
                assert!(refusal.sentence.contains("credential `a`"), "{refusal:?}");
                assert!(refusal.sentence.contains("decoded body"), "{refusal:?}");
                let (refusal, gone) = run(codings, &encoded("clean"), size);
                assert!(refusal.is_none(), "{codings} {before} {size} {refusal:?}");
                assert_eq!(gone, encoded("clean").len());
            }
        }
    }
}

#[test]
fn what_goes_on_before_a_finding_does_not_decode_to_it() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let encoded = encode(
            coding,
            format!("{}{SECRET}{}", text(2_000), text(50)).as_bytes(),
        );
        for size in [1, 7, 300, 5_000] {
            let (refusal, gone) = run(coding, &encoded, size);
            assert!(refusal.is_some());
            let sink = Arc::new(Mutex::new(Vec::new()));
            let mut decoder = decoder(coding, Box::new(Keep(sink.clone()))).unwrap();
            let _ = decoder.write_all(&encoded[..gone]);
            let _ = decoder.flush();
            let plain = sink.lock().clone();
            let found = plain
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!found, "{coding} {size}");
        }
    }
}

struct Keep(Arc<Mutex<Vec<u8>>>);

impl Write for Keep {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn i9_bombs_end_at_their_budget() {
    let zeros = vec![0; 64 << 20];
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let bomb = encode(coding, &zeros);
        let (refusal, _) = run(coding, &bomb, 1 << 16);
        let refusal = refusal.unwrap_or_else(|| panic!("{coding}"));
        assert!(
            refusal.sentence.contains("more bytes"),
            "{coding} {refusal:?}"
        );
        let twice = format!("{coding}, gzip");
        let (refusal, _) = run(&twice, &encode("gzip", &bomb), 1 << 16);
        assert!(refusal.is_some(), "{twice}");
    }
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let (refusal, _) = run(coding, b"\xffno such thing at all, whatever it is", 8);
        let refusal = refusal.unwrap_or_else(|| panic!("{coding}"));
        assert!(refusal.sentence.contains("not encoded"), "{refusal:?}");
    }
    for codings in ["aes128gcm", "gzip, gzip, gzip", "gzip, foo"] {
        let decoding = Decoding::new(&headers(codings), &scanner());
        assert_eq!(decoding.unwrap_err().reason, Reason::Detected, "{codings}");
    }
    assert!(
        Decoding::new(&headers("identity"), &scanner())
            .unwrap()
            .is_none()
    );
    assert!(
        Decoding::new(&HeaderMap::new(), &scanner())
            .unwrap()
            .is_none()
    );
}

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
use crate::policy::rule::OnLimit;
use crate::secret::Secret;

const SECRET: &str = "held-7Gq2zR9vLk4mX1wB";

fn scanner() -> Scanner {
    let known = Detector::of_secret("a", "secret", &Secret::new(SECRET.into()));
    Scanner {
        detectors: Arc::new(Detectors::new(known)),
        profile: Profile::Default,
        on_limit: OnLimit::Deny,
        decoded_bytes: 64 << 20,
        host: Host::from_config("good.test").unwrap(),
        key: Arc::new(FingerprintKey::random().unwrap()),
        found: Arc::new(Found::default()),
        metrics: Arc::new(Metrics::new()),
        stand_ins: None,
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

/// Why it ended, and how many raw bytes had gone on before that.
fn run(codings: &str, raw: &[u8], size: usize) -> (Option<String>, usize) {
    run_of(&headers(codings), raw, size)
}

fn decoding(headers: &HeaderMap, scanner: &Scanner) -> Result<Option<Decoding>, Stop> {
    Decoding::new(headers, &Kind::of(headers), true, scanner)
}

/// The same with other headers.
fn run_of(headers: &HeaderMap, raw: &[u8], size: usize) -> (Option<String>, usize) {
    let why = |stop| match stop {
        Stop::Found(refusal) => refusal.sentence,
        Stop::Limit(why) => why.to_string(),
    };
    let mut decoding = decoding(headers, &scanner()).unwrap().unwrap();
    let (mut pushed, mut gone) = (0, 0);
    for piece in raw.chunks(size) {
        if let Err(stop) = decoding.push(piece) {
            return (Some(why(stop)), gone);
        }
        pushed += piece.len();
        gone = gone.max(pushed - decoding.held());
    }
    (decoding.finish().err().map(why), gone)
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
                assert!(refusal.contains("detector `a`"), "{refusal:?}");
                assert!(refusal.contains("decoded body"), "{refusal:?}");
                let (refusal, gone) = run(codings, &encoded("clean"), size);
                assert!(refusal.is_none(), "{codings} {before} {size} {refusal:?}");
                assert_eq!(gone, encoded("clean").len());
            }
        }
    }
}

#[test]
fn files_are_told_by_how_they_begin() {
    for (beginning, coding) in [
        (&b"\x1f\x8b\x08\x00"[..], Some("gzip")),
        (b"\x1f\x8b\x08\xe0 and more", Some("gzip")),
        (b"\x1f\x9e\x08\x00", Some("gzip")),
        (b"\x28\xb5\x2f\xfd", Some("zstd")),
        (b"\x50\x2a\x4d\x18", Some("zstd")),
        (b"\x1f\x8b\x07\x00", None),
        (b"\x28\xb5\x2f\xfc", None),
        (b"\x1f\x8b", None),
        (b"{\"a\"", None),
    ] {
        assert_eq!(sniff(beginning), coding, "{beginning:x?}");
    }
}

#[test]
fn a_long_file_is_scanned_to_its_end_and_a_bomb_is_not() {
    let scanner = Scanner {
        decoded_bytes: 100_000,
        ..scanner()
    };
    let file = |plain: &[u8]| {
        let raw = encode("gzip", plain);
        let mut decoding = Decoding::sniffed(&raw, &scanner).unwrap();
        decoding.push(&raw).and_then(|()| decoding.finish())
    };
    let long = text(20_000);
    assert!(file(long.as_bytes()).is_ok());
    let found = file(format!("{long}{SECRET}").as_bytes());
    assert!(matches!(found, Err(Stop::Found(_))));
    for bomb in [vec![0; 900_000], vec![0; 3 << 20]] {
        assert!(matches!(file(&bomb), Err(Stop::Limit(_))));
    }
    let mut coded = decoding(&headers("gzip"), &scanner).unwrap().unwrap();
    let coded = coded.push(&encode("gzip", long.as_bytes()));
    assert!(matches!(coded, Err(Stop::Limit(_))));
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
        assert!(refusal.contains("more bytes"), "{coding} {refusal:?}");
        let twice = format!("{coding}, gzip");
        let (refusal, _) = run(&twice, &encode("gzip", &bomb), 1 << 16);
        assert!(refusal.is_some(), "{twice}");
    }
}

#[test]
fn i9_bombs_between_two_encodings_end_too() {
    // Empty members decode to nothing, however many there are.
    let members = encode("gzip", b"").repeat(400_000);
    let (why, _) = run("gzip, gzip", &encode("gzip", &members), 1 << 16);
    assert!(why.is_some_and(|why| why.contains("more bytes")));
    let (why, _) = run("gzip", &members[..200_000], 1 << 16);
    assert_eq!(why, None);
}

#[test]
fn i9_large_windows_are_refused() {
    // RFC 7932 §9.1: the pattern that no stream begins with; some use it for large windows.
    let (why, _) = run("br", &[0x11, 30, 0, 0, 0], 8);
    assert!(why.is_some_and(|why| why.contains("not encoded")));
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(text(2_000).as_bytes()).unwrap();
    let (why, _) = run("zstd", &encoder.finish().unwrap(), 1 << 16);
    assert!(why.is_some_and(|why| why.contains("not encoded")));
}

#[test]
fn the_budget_is_the_limit() {
    let body = encode("gzip", text(200_000).as_bytes());
    let mut scanner = scanner();
    scanner.decoded_bytes = 2 << 20;
    let mut decoding = decoding(&headers("gzip"), &scanner).unwrap().unwrap();
    let stop = decoding.push(&body).unwrap_err();
    assert!(matches!(stop, Stop::Limit(Unscanned::Length)));
    let metrics = scanner.metrics.encode();
    let line = format!("{{limit=\"{DECODED_LIMIT}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
}

/// Nanoseconds of CPU that this thread has used, and most KiB of memory that the process has.
fn used() -> (u64, u64) {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = |text: &str| text.split_whitespace().find_map(|word| word.parse().ok());
    (number(&schedstat).unwrap(), peak.and_then(number).unwrap())
}

/// `cargo test --release --lib bombs_cost -- --ignored --nocapture`
#[test]
#[ignore = "measures CPU time and memory of the release build"]
fn bombs_cost_a_second_and_64_mib_at_most() {
    let zeros = vec![0; 64 << 20];
    // Compresses to a ratio below what ends a bomb early.
    #[allow(clippy::format_collect, reason = "a test")]
    let slow: String = (0..700_000_u64)
        .map(|number| {
            format!(
                "{:02x}{}\n",
                number.wrapping_mul(0x9e37_79b9) >> 24 & 255,
                "0".repeat(120)
            )
        })
        .collect();
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let zeros = encode(coding, &zeros);
        let repeats = if matches!(coding, "gzip" | "zstd") {
            160
        } else {
            1
        };
        let slow = encode(coding, slow.as_bytes());
        for (kind, codings, bomb) in [
            ("zeros", coding.to_owned(), zeros.repeat(repeats)),
            ("slow", coding.to_owned(), slow),
            ("nested", format!("{coding}, gzip"), encode("gzip", &zeros)),
        ] {
            let (cpu, memory) = used();
            let (why, _) = run(&codings, &bomb, 1 << 16);
            let (cpu, memory) = (used().0 - cpu, used().1 - memory);
            let raw = bomb.len();
            println!("{codings} {kind}: {raw} bytes, {cpu} ns, {memory} KiB more, {why:?}");
            assert!(cpu < 1_000_000_000 && memory < 64 << 10, "{codings} {kind}");
        }
    }
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let (refusal, _) = run(coding, b"\xffno such thing at all, whatever it is", 8);
        let refusal = refusal.unwrap_or_else(|| panic!("{coding}"));
        assert!(refusal.contains("not encoded"), "{refusal:?}");
    }
    for codings in ["aes128gcm", "gzip, gzip, gzip", "gzip, foo"] {
        let decoding = decoding(&headers(codings), &scanner());
        assert!(matches!(decoding, Err(Stop::Limit(_))), "{codings}");
    }
    for codings in ["identity", "aws-chunked", " , identity"] {
        let decoding = decoding(&headers(codings), &scanner());
        assert!(decoding.unwrap().is_none(), "{codings}");
    }
    assert!(decoding(&HeaderMap::new(), &scanner()).unwrap().is_none());
}

/// A form that streams.
fn form() -> HeaderMap {
    let value = HeaderValue::from_static("application/x-www-form-urlencoded");
    [(header::CONTENT_TYPE, value)].into_iter().collect()
}

#[test]
fn forms_are_read_as_their_reader_will() {
    let secret = SECRET.replace('7', "%37");
    for size in [1, 2, 3, 100, 1 << 20] {
        let raw = format!("{}=x+y&b=%41%4+{secret}&c=1", text(300));
        let (refusal, gone) = run_of(&form(), raw.as_bytes(), size);
        let refusal = refusal.unwrap_or_else(|| panic!("{size}"));
        assert!(refusal.contains("in form field `b` at byte"), "{refusal}");
        assert!(gone <= raw.find(&secret).unwrap() + secret.len(), "{size}");
        let raw = raw.replace("%37", "%3z");
        assert_eq!(run_of(&form(), raw.as_bytes(), size), (None, raw.len()));
    }
}

fn call(coding: Option<&'static str>) -> HeaderMap {
    let kind = HeaderValue::from_static("application/grpc+proto");
    let coding = coding.map(|coding| {
        let name = http::HeaderName::from_static("grpc-encoding");
        (name, HeaderValue::from_static(coding))
    });
    [(header::CONTENT_TYPE, kind)]
        .into_iter()
        .chain(coding)
        .collect()
}

fn message(flag: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, data].concat()
}

#[test]
fn messages_of_calls_are_decoded_one_by_one() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let compressed = |text: &str| message(1, &encode(coding, text.as_bytes()));
        let calls = |middle: &str| {
            let (one, other) = (text(500), format!("{}{middle}", text(200)));
            let plain = message(0, b"not compressed");
            [compressed(&one), plain, compressed(""), compressed(&other)].concat()
        };
        for size in [1, 100, 1 << 20] {
            let (refusal, _) = run_of(&call(Some(coding)), &calls(SECRET), size);
            let refusal = refusal.unwrap_or_else(|| panic!("{coding} {size}"));
            let place = format!("in a decoded gRPC message at byte {}", text(200).len());
            assert!(refusal.contains(&place), "{refusal}");
            let clean = calls("clean");
            let (refusal, gone) = run_of(&call(Some(coding)), &clean, size);
            assert_eq!((refusal, gone), (None, clean.len()), "{coding} {size}");
        }
        // Two messages are two texts.
        let (one, other) = SECRET.split_at(9);
        let cut = [compressed(one), compressed(other)].concat();
        assert_eq!(run_of(&call(Some(coding)), &cut, 7), (None, cut.len()));
    }
}

#[test]
fn calls_in_a_coding_are_looked_at_whole() {
    let mut headers = call(Some("zstd"));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for inner in [
        message(0, SECRET.as_bytes()),
        message(1, &encode("zstd", SECRET.as_bytes())),
    ] {
        let raw = encode("gzip", &[message(0, b"x"), inner].concat());
        let (refusal, _) = run_of(&headers, &raw, 10);
        assert!(refusal.unwrap().contains("gRPC message at byte 0"));
    }
}

#[test]
fn calls_that_cannot_be_decoded_are_refused() {
    let why = |coding, raw: &[u8]| run_of(&call(coding), raw, 3).0.unwrap();
    let unknown = "has messages in an encoding that cannot be scanned";
    for coding in [None, Some("identity"), Some("snappy")] {
        assert_eq!(why(coding, &message(1, b"x")), unknown);
        let plain = message(0, b"clean");
        assert_eq!(run_of(&call(coding), &plain, 3), (None, plain.len()));
    }
    let two = [("grpc-encoding", "gzip"), ("grpc-encoding", "zstd")];
    let mut headers = call(None);
    for (name, coding) in two {
        headers.append(name, HeaderValue::from_static(coding));
    }
    let raw = message(1, &encode("zstd", SECRET.as_bytes()));
    assert_eq!(run_of(&headers, &raw, 3).0.unwrap(), unknown);
    assert!(why(Some("gzip"), &message(1, b"no gzip at all")).contains("encoded"));
    assert!(why(Some("gzip"), b"{\"json\": 1}").contains("not made of messages"));
}

#[test]
fn i9_bombs_in_messages_end_at_their_budget() {
    let zeros = encode("gzip", &vec![0; 8 << 20]);
    let bomb = message(1, &zeros).repeat(4);
    let (why, _) = run_of(&call(Some("gzip")), &bomb, 1 << 20);
    assert_eq!(why.unwrap(), "decodes to more bytes than can be scanned");
}

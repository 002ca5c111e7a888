//! The streaming contract, over arbitrary bytes and arbitrary cuts.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::dlp::check::Check;
use crate::dlp::coding::worked;
use crate::dlp::engine::{Boundary, Pattern, TELLING};
use crate::dlp::shape::Shape;

const SHAPES: [(&str, Boundary); 9] = [
    ("gh[pousr]_[A-Za-z0-9]{6}", Boundary::Token),
    ("gh[pousr]_[a-c0-9]{4}", Boundary::None),
    ("sk-ant-[a-c-]{3,9}AA", Boundary::Token),
    ("[a-c+]{5}\\+ASt[a-c]{2}==", Boundary::Token),
    ("eyJ[a-c]{2,}\\.eyJ[a-c]{2,}\\.[a-c]{2,}", Boundary::Token),
    ("postgres://[a-c]{1,8}:[^@ ]{2,40}@[a-c]", Boundary::None),
    ("hf_[a-z]{4}", Boundary::Token),
    ("-----BEGIN (RSA |)KEY-----[^-]{4,8}", Boundary::None),
    ("aaaaaaaa", Boundary::None),
];

/// The one of them with its anchor in the middle.
const INNER_ANCHOR: u32 = 3;

/// Made once: that takes longer than what it is used for.
static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

fn engine() -> Engine {
    let mut patterns = Vec::new();
    for (number, (text, boundary)) in SHAPES.iter().enumerate() {
        for shape in Shape::parse(text).unwrap() {
            patterns.push(Pattern {
                detector: u32::try_from(number).unwrap(),
                shape,
                boundary: *boundary,
                check: Check::None,
                entropy: 0.0,
                encoded: true,
            });
        }
    }
    Engine::new(patterns)
}

/// Whether the finding says what stands there.
fn is_there(text: &[u8], finding: &Finding, token: &[u8]) {
    let start = usize::try_from(finding.start).unwrap();
    let raw = &text[start..start + finding.length as usize];
    let mut decoded = vec![0; token.len()];
    let _ = finding.coding.decode(raw, &mut decoded);
    assert_eq!(token, decoded);
}

fn whole(engine: &Engine, text: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    scan(engine, text, &mut |finding, token| {
        is_there(text, &finding, token);
        findings.push(finding);
    });
    findings.sort_unstable();
    findings.dedup();
    findings
}

/// What was found, each with how many bytes had gone on before the push that told of it.
fn cut(engine: &Engine, text: &[u8], cuts: &[usize]) -> Vec<(Finding, u64)> {
    let mut findings = Vec::new();
    let mut stream = Pass::default();
    let mut rest = text;
    let (mut pushed, mut gone) = (0, 0);
    for size in cuts.iter().copied().chain([text.len()]) {
        let (now, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        pushed += now.len() as u64;
        push(&mut stream, engine, now, &mut |finding, token| {
            is_there(text, &finding, token);
            findings.push((finding, gone));
        });
        assert!(stream.window.len() + stream.open.len() * size_of::<Candidate>() <= 16 * 1024);
        assert!(stream.held() <= LONGEST);
        gone = gone.max(pushed - stream.held() as u64);
    }
    stream.finish(engine, &mut |finding, _| findings.push((finding, gone)));
    assert!(!stream.is_saturated());
    findings.sort_unstable();
    findings
}

fn push(pass: &mut Pass, engine: &Engine, bytes: &[u8], report: Report<'_>) {
    for slice in bytes.chunks(SLICE) {
        pass.push(engine, slice, report);
        pass.forget();
    }
    pass.hold(engine);
}

fn found(findings: Vec<(Finding, u64)>) -> Vec<Finding> {
    findings.into_iter().map(|(finding, _)| finding).collect()
}

/// Text that is full of tokens, nearly tokens and pieces of them.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-c]{0,4}",
        "gh[px]_[a-c0]{3,8}",
        "sk-ant-[a-c-]{2,6}A{1,3}",
        "[a-c+]{4,6}\\+ASt[a-c]{2}==",
        "eyJ[a-c]{1,5}\\.eyJ[a-c]{1,3}\\.[a-c]{0,5}",
        "postgres://[a-c]{1,3}:[^@ ]{0,5}[@ ][a-c]",
        "hf_[a-z]{3,5}",
        "-----BEGIN (RSA )?KEY-----[^-]{0,6}",
        "a{1,12}",
        "[ \",\\\\n%20._-]{0,3}",
        "(gh|ghp|post|sk-|-----BEG)",
    ];
    let encoded = (piece.clone(), 0..12_u8).prop_map(|(piece, how)| encode(&piece, how));
    proptest::collection::vec(encoded, 0..24).prop_map(|pieces| pieces.concat())
}

/// A piece in an encoding, more often in none.
fn encode(piece: &str, how: u8) -> Vec<u8> {
    let bytes = piece.bytes();
    match how {
        0 => STANDARD.encode(piece).into_bytes(),
        1 => STANDARD.encode(format!(".{piece}")).into_bytes(),
        2 => URL_SAFE.encode(format!("..{piece}.")).into_bytes(),
        3 => bytes
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
        4 => bytes.flat_map(|byte| [byte, 0]).collect(),
        5 => bytes.flat_map(|byte| [0, byte]).collect(),
        6 => {
            // Lines of another length than the usual 76.
            let text = STANDARD.encode(piece).into_bytes();
            text.chunks(13).collect::<Vec<_>>().join(&b"\r\n"[..])
        }
        7 => string_of_protobuf(b"\x12", piece.as_bytes()),
        8 => string_of_protobuf(b"\x08\x01B", piece.as_bytes()),
        _ => piece.into(),
    }
}

/// A string in a message, and the tag of the next field, which is a letter.
fn string_of_protobuf(tag: &[u8], text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let length = match length {
        0x80.. => vec![length, 1],
        _ => vec![length],
    };
    [tag, &length, text, b"J\x01x"].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_cut_finds_the_same(
        text in texts(),
        cuts in proptest::collection::vec(0_usize..40, 0..40),
    ) {
        let engine = &*ENGINE;
        prop_assert_eq!(found(cut(engine, &text, &cuts)), whole(engine, &text));
        let each = vec![1; text.len()];
        prop_assert_eq!(found(cut(engine, &text, &each)), whole(engine, &text));
    }

    #[test]
    fn hardly_a_beginning_of_a_finding_is_released(
        text in texts(),
        cuts in proptest::collection::vec(0_usize..40, 0..40),
    ) {
        let engine = &*ENGINE;
        for (finding, gone) in cut(engine, &text, &cuts) {
            let end = finding.start + u64::from(finding.length);
            prop_assert!(gone < end, "{finding:?}: {gone} bytes had gone on");
            // One whose anchor is not in its beginning shows only there that it is one.
            if finding.detector != INNER_ANCHOR && finding.coding == Coding::Plain {
                let most = finding.start + TELLING as u64 - 1;
                prop_assert!(gone <= most, "{finding:?}: {gone} bytes had gone on");
            }
        }
    }
}

/// A token that is cut, and before a value.
#[test]
fn what_is_searched_again_is_told_once() {
    let text = b" -----BEGIN KEY-----\xf0\x90\x80\x80a:{\xc2\xa1\xf0\x90\x80\x80J";
    let mut total = 0;
    for first in 0..text.len() {
        for second in 0..text.len() - first {
            let mut findings = cut(&ENGINE, text, &[first, second]);
            let all = findings.len();
            findings.dedup_by_key(|(finding, _)| *finding);
            assert_eq!(findings.len(), all, "{first} {second}");
            total += all;
        }
    }
    assert!(total > 0);
}

#[test]
fn a_clean_stream_holds_nothing() {
    let engine = &*ENGINE;
    let mut stream = Pass::default();
    for text in [
        "{\"model\":\"x\",\"messages\":[]}",
        "hello world\n",
        "data: 1\n\n",
    ] {
        push(&mut stream, engine, text.as_bytes(), &mut |_, _| {
            panic!("clean")
        });
        assert_eq!(stream.held(), 0, "{text}");
    }
}

#[test]
fn an_open_token_holds_its_own_bytes_only() {
    let engine = &*ENGINE;
    let mut stream = Pass::default();
    push(&mut stream, engine, b"key=ghp_ab", &mut |_, _| {
        panic!("open")
    });
    assert_eq!(stream.held(), 6);
    push(&mut stream, engine, b"!", &mut |_, _| panic!("failed"));
    assert_eq!(stream.held(), 0);
}

#[test]
fn tokens_begin_after_escapes() {
    let engine = &*ENGINE;
    for before in [
        "", "\"", "\\n", "\\\"", "%22", "\\u0022", "\\x22", "=", "&t=", "/", " ",
    ] {
        let text = format!("{before}hf_abcd");
        assert_eq!(whole(engine, text.as_bytes()).len(), 1, "{text}");
    }
    for before in ["a", "_", "-", "n", "0022"] {
        let text = format!("{before}hf_abcd");
        assert_eq!(whole(engine, text.as_bytes()).len(), 0, "{text}");
    }
}

#[test]
fn tokens_are_found_in_every_encoding() {
    let engine = &*ENGINE;
    for token in ["ghp_abcdef", "hf_abcd", "sk-ant-abcabcAA"] {
        for how in 0..=6 {
            for around in [("", ""), ("\"", "\""), ("key: ", "\n")] {
                let text = match how {
                    // Inside of the base64, so that it stands at every place of a group.
                    0..=2 | 6 => encode(&format!("{}{token}{}", around.0, around.1), how),
                    _ => [
                        around.0.as_bytes(),
                        &encode(token, how),
                        around.1.as_bytes(),
                    ]
                    .concat(),
                };
                let found = whole(engine, &text);
                assert_eq!(found.len(), 1, "{token} {how} {}", text.escape_ascii());
                let longer = encode(&format!("x{token}"), how);
                // Without a neighbour, one end first may be the other end first.
                assert_eq!(
                    whole(engine, &longer).len(),
                    usize::from(how == 4),
                    "{token} {how}"
                );
            }
        }
    }
}

/// Where the length before it and the tag behind it are letters, or digits.
#[test]
fn a_token_may_fill_a_string_of_protobuf() {
    let engine = &*ENGINE;
    for length in 14..200 {
        let token = match length % 2 {
            0 => format!("eyJab.eyJab.{}", "c".repeat(length - 12)),
            _ => format!("eyJ{}.eyJab.aa", "c".repeat(length - 12)),
        };
        let tag = if length % 3 == 0 {
            &b"\x12"[..]
        } else {
            b"\x08\x01B"
        };
        let message = string_of_protobuf(tag, token.as_bytes());
        let found = whole(engine, &message);
        let lengths: Vec<_> = found
            .iter()
            .map(|finding| finding.length as usize)
            .collect();
        assert_eq!(lengths, [length]);
        for size in 1..message.len() {
            assert_eq!(self::found(cut(engine, &message, &[size])), found);
        }
    }
    let message = string_of_protobuf(b"\x12", b"sk-ant-abcabcAA");
    for how in 0..=6 {
        let text = encode(str::from_utf8(&message).unwrap(), how);
        assert!(!whole(engine, &text).is_empty(), "{how}");
    }
}

fn pattern(shape: &str, entropy: f32) -> Pattern {
    Pattern {
        detector: 0,
        shape: Shape::parse(shape).unwrap().remove(0),
        boundary: Boundary::Token,
        check: Check::None,
        entropy,
        encoded: true,
    }
}

/// Each of these may be a token of hundreds of characters, and is one of none.
#[test]
fn beginnings_in_a_row_that_take_long_are_not_followed_for_ever() {
    let engine = Engine::new(vec![pattern("tok_[a-z_.]{30,900}", 9.0)]);
    let is_saturated = |text: &[u8]| {
        let mut pass = Pass::default();
        for slice in text.chunks(SLICE) {
            pass.push(&engine, slice, &mut |_, _| {});
            pass.forget();
        }
        pass.is_saturated()
    };
    let flood = "tok_abc.".repeat(20_000);
    let token = format!("tok_{} ", "abcdefgh".repeat(20)).repeat(1000);
    for how in [3, 4, 5, 9] {
        assert!(is_saturated(&encode(&flood, how)), "{how}");
        assert!(!is_saturated(&encode(&token, how)), "{how}");
    }
}

/// Who writes the beginnings of tokens in a row does not have each decoded to its longest.
#[test]
fn encoded_beginnings_in_a_row_cost_little() {
    let engine = Engine::new(vec![pattern("tok_[a-z]{30,900}", 0.0)]);
    for piece in ["tok_.", "tok_a ", "tok_abcdefghijklmnopqrst "] {
        for how in 0..=6 {
            let text = encode(&piece.repeat(3000 / piece.len()), how);
            let before = worked();
            whole(&engine, &text);
            let decoded = worked() - before;
            let most = 10 * text.len() as u64;
            assert!(decoded < most, "{piece} {how}: {decoded} of {}", text.len());
        }
    }
}

//! Tokens in encodings that the engine alone does not see through, in any cut.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::check::Check;
use super::super::engine::{Boundary, Finding, Pattern};
use super::super::planes::Planes;
use super::super::shape::Shape;
use super::super::stream::{Stream, scan};
use super::*;

/// Without a fixed beginning, with a fixed one, long.
const TOKENS: [(&str, &str); 3] = [
    (
        "[a-z0-9+/]{30}\\+ASt[a-z]{4}==",
        "q7r/k2v+9m4b8w1z5x3c6n0j8h2g4f+ASttrsq==",
    ),
    (
        "ghp_[A-Za-z0-9]{36}",
        "ghp_Zq3vK8mN2xT7bR5wL9pY4cD1fG6hJ0aB2eS8",
    ),
    (
        "eyJ[\\w-]{8,1500}\\.eyJ[\\w-]{8,1500}\\.[\\w-]{16,500}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsIm4iOjEyMzQ1Njc4OTB9.Zq3vK8mN2xT7bR5wL9pY4cD1fG6h",
    ),
];

static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

fn engine() -> Engine {
    let mut patterns = Vec::new();
    for (number, (text, _)) in TOKENS.iter().enumerate() {
        for shape in Shape::parse(text).unwrap() {
            patterns.push(Pattern {
                detector: u32::try_from(number).unwrap(),
                shape,
                boundary: Boundary::Token,
                check: Check::None,
                entropy: 0.0,
                encoded: true,
            });
        }
    }
    Engine::new(patterns)
}

const FORMS: usize = 15;

fn encode(text: &[u8], form: usize) -> Vec<u8> {
    let each = |form: fn(u8) -> String| {
        let forms = text.iter().map(|byte| form(*byte));
        forms.collect::<Vec<_>>().concat().into_bytes()
    };
    let special = |byte: u8| !byte.is_ascii_alphanumeric();
    match form {
        0 => STANDARD.encode(text).into_bytes(),
        1 => STANDARD.encode([b"x", text, b"y"].concat()).into_bytes(),
        2 => URL_SAFE_NO_PAD.encode([b"~~", text].concat()).into_bytes(),
        3 => {
            let text = STANDARD.encode([&[b' '; 40], text].concat()).into_bytes();
            text.chunks(64).collect::<Vec<_>>().join(&b"\r\n"[..])
        }
        4 => {
            let text = STANDARD.encode([&[b' '; 40], text].concat()).into_bytes();
            text.chunks(76).collect::<Vec<_>>().join(&b"\\n"[..])
        }
        5 => each(|byte| format!("{byte:02x}")),
        6 => each(|byte| format!("%{byte:02X}")),
        7 => each(|byte| format!("\\u00{byte:02x}")),
        8 => each(|byte| format!("\\x{byte:02x}")),
        9 => each(|byte| format!("&#{byte};")),
        10 => each(|byte| format!("&#x{byte:x};")),
        // Only what must be.
        11 => text
            .iter()
            .flat_map(|byte| match byte {
                byte if special(*byte) => format!("%{byte:02x}").into_bytes(),
                byte => vec![*byte],
            })
            .collect(),
        12 => text.iter().flat_map(|byte| [*byte, 0]).collect(),
        13 => text.iter().flat_map(|byte| [0, *byte]).collect(),
        _ => text
            .iter()
            .flat_map(|byte| match byte {
                b'/' => b"\\/".to_vec(),
                b'+' => b"\\u002b".to_vec(),
                byte => vec![*byte],
            })
            .collect(),
    }
}

fn around(text: &[u8]) -> Vec<u8> {
    let before = "{\"clean\": [1, 2, 3], \"more\": \"and something before it\", \"note\": \"";
    [before.as_bytes(), text, AFTER].concat()
}

const AFTER: &[u8] = b"\", \"after\": \"it\"}";

/// What was found, in any order. Where exactly depends on the cut: a finding may begin a few
/// characters early and end a few late.
fn tokens(findings: Vec<(Finding, Vec<u8>)>) -> BTreeSet<(u32, Vec<u8>)> {
    let token = |(finding, data): (Finding, _)| (finding.detector, data);
    findings.into_iter().map(token).collect()
}

fn whole(engine: &Engine, text: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    scan(engine, text, &mut |finding, _| findings.push(finding));
    findings.sort_unstable();
    findings
}

fn cut(engine: &Engine, text: &[u8], cuts: &[usize], end: u64) -> BTreeSet<(u32, Vec<u8>)> {
    let mut findings = Vec::new();
    let mut stream = Stream::new();
    let mut rest = text;
    let (mut pushed, mut gone) = (0, 0);
    for size in cuts.iter().copied().chain([text.len()]) {
        let (now, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        pushed += now.len() as u64;
        stream.push(engine, now, &mut |finding, data| {
            findings.push((finding, data.to_vec()));
        });
        if findings.is_empty() {
            gone = gone.max(pushed - stream.held() as u64);
        }
    }
    stream.finish(engine, &mut |finding, data| {
        findings.push((finding, data.to_vec()));
    });
    assert!(!stream.is_saturated());
    assert!(findings.is_empty() || gone < end, "{gone} of {end}");
    tokens(findings)
}

#[test]
fn tokens_are_found_two_encodings_deep() {
    let engine = &*ENGINE;
    let mut missed = Vec::new();
    for (number, (_, token)) in TOKENS.iter().enumerate() {
        for inner in 0..FORMS {
            for outer in 0..=FORMS {
                // Nobody reads UTF-16 in UTF-16.
                if (12..14).contains(&inner) && (12..14).contains(&outer) {
                    continue;
                }
                let quoted = format!("k: \"{token}\"");
                // Escapes of single characters leave their neighbours as they are.
                let once = encode(quoted.as_bytes(), inner);
                let text = match outer {
                    FORMS => once,
                    outer => encode(&[b" ", &once[..], b" "].concat(), outer),
                };
                let findings = whole(engine, &around(&text));
                if !findings
                    .iter()
                    .any(|finding| finding.detector as usize == number)
                {
                    missed.push((number, inner, outer));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_finding_covers_what_was_decoded() {
    let engine = &*ENGINE;
    let (_, token) = TOKENS[0];
    for form in 0..FORMS {
        let encoded = encode(format!("key: {token} ").as_bytes(), form);
        let text = [&around(b"")[..], &encoded, b"\"", &around(b"")].concat();
        let start = around(b"").len() as u64;
        let findings = whole(engine, &text);
        let finding = findings.first().unwrap_or_else(|| panic!("{form}"));
        let end = finding.start + u64::from(finding.length);
        assert!(
            finding.start >= start.saturating_sub(128),
            "{form} {finding:?}"
        );
        assert!(
            finding.start <= start + encoded.len() as u64 / 2,
            "{form} {finding:?}"
        );
        assert!(
            end + 16 >= start + encoded.len() as u64,
            "{form} {finding:?}"
        );
    }
}

#[test]
fn what_is_no_text_is_not_decoded() {
    let engine = &*ENGINE;
    let (_, token) = TOKENS[0];
    for text in [
        format!("{}{}", "0123456789abcdef".repeat(8), token),
        "aVeryLongNameOfAFunctionInSomeLanguageThatLikesThem".to_owned(),
        "\\u4f60\\u597d\\u4e16\\u754c".repeat(20),
    ] {
        let mut unwrap = Unwrap::new(1);
        let planes = Planes::of(text.as_bytes());
        let view = View::whole(text.as_bytes(), &planes);
        unwrap.look(engine, view, &mut |_, _| panic!("found"));
        assert!(unwrap.held_from().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_cut_finds_the_same_and_holds_the_end(
        which in 0..TOKENS.len(),
        inner in 0..FORMS,
        outer in 0..=FORMS,
        before in "[ a-zA-Z0-9/%\\\\\"\n]{0,60}",
        cuts in proptest::collection::vec(0_usize..70, 0..30),
    ) {
        let engine = &*ENGINE;
        let once = encode(format!("k: \"{}\"", TOKENS[which].1).as_bytes(), inner);
        let text = match outer {
            FORMS => once,
            outer => encode(&[b" ", &once[..], b" "].concat(), outer),
        };
        let text = [before.as_bytes(), b"\"", &text].concat();
        let end = (around(b"").len() - AFTER.len() + text.len()) as u64;
        let text = around(&text);
        let mut findings = Vec::new();
        scan(engine, &text, &mut |finding, data| findings.push((finding, data.to_vec())));
        let expected = tokens(findings);
        let found = cut(engine, &text, &cuts, end);
        prop_assert_eq!(&found, &expected);
        let each = vec![1; text.len()];
        prop_assert_eq!(&cut(engine, &text, &each, end), &expected);
    }
}

use std::sync::Arc;

use super::super::engine::{Engine, Sought};
use super::super::stream::{Stream, scan};
use super::*;

fn engine(written: Written) -> Engine {
    let rule = Arc::new(Imported::new(written).unwrap());
    Engine::compile(Sought {
        imported: vec![(0, rule)],
        ..Sought::default()
    })
}

fn rule(regex: &str) -> Written {
    Written {
        regex: regex.to_owned(),
        ..Written::default()
    }
}

fn found(engine: &Engine, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    scan(engine, text.as_bytes(), &mut |_, data| {
        all.push(String::from_utf8(data.to_vec()).unwrap());
    });
    for cut in 0..text.len() {
        let (one, other) = text.as_bytes().split_at(cut);
        let mut again = Vec::new();
        let mut stream = Stream::new();
        let mut report = |_, data: &[u8]| again.push(String::from_utf8(data.to_vec()).unwrap());
        stream.push(engine, one, &mut report);
        stream.push(engine, other, &mut report);
        stream.finish(engine, &mut report);
        assert_eq!(again, all, "{text} cut at {cut}");
    }
    all
}

/// As most rules of gitleaks are written.
const USUAL: &str = r#"(?i)[\w.-]{0,50}?(?:acme)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}([a-z0-9]{16})(?:[\x60'"\s;]|\\[nr]|$)"#;

#[test]
fn a_usual_rule_finds_its_secret_in_every_kind_of_request() {
    let engine = engine(rule(USUAL));
    for text in [
        "acme_key = \"q7w3e9r2t5y8u1i4\"",
        "my.acme.token: q7w3e9r2t5y8u1i4\n",
        "a=1&ACME_KEY=q7w3e9r2t5y8u1i4&b=2",
        "{\"acmeKey\":\"q7w3e9r2t5y8u1i4\"}",
        "{acme:q7w3e9r2t5y8u1i4}",
        "acme=q7w3e9r2t5y8u1i4,b",
        "acme=q7w3e9r2t5y8u1i4\\\"}",
        "acme=q7w3e9r2t5y8u1i4",
    ] {
        assert_eq!(found(&engine, text), ["q7w3e9r2t5y8u1i4"], "{text}");
    }
    for text in [
        "acme = q7w3e9r2t5y8u1i4x",
        "acme = q7w3e9r2t5y8u1i",
        "acne = q7w3e9r2t5y8u1i4",
    ] {
        assert_eq!(found(&engine, text), [] as [&str; 0], "{text}");
    }
}

#[test]
fn groups_entropy_keywords_and_allowlists_count() {
    let mut written = rule(r"\b(ax)_([a-z]{3})-([a-z0-9]{12})\b");
    written.group = 3;
    written.entropy = 3.0;
    written.keywords = vec!["ax_".to_owned()];
    written.allow = vec![
        Allow {
            stopwords: vec!["demo".to_owned()],
            ..Allow::default()
        },
        Allow {
            regexes: vec!["^ax_tst".to_owned()],
            target: Target::Match,
            ..Allow::default()
        },
        Allow {
            regexes: vec!["example".to_owned()],
            target: Target::Line,
            ..Allow::default()
        },
        Allow {
            all: true,
            regexes: vec!["^q7".to_owned()],
            stopwords: vec!["zz".to_owned()],
            ..Allow::default()
        },
    ];
    let engine = engine(written);
    assert_eq!(found(&engine, "ax_abc-q7w3e9r2t5y8"), ["q7w3e9r2t5y8"]);
    for text in [
        "xax_abc-q7w3e9r2t5y8",
        "ax_abc-q7q7q7q7q7q7",
        "ax_abc-q7demo2t5y8u",
        "ax_tst-q7w3e9r2t5y8",
        "an example: ax_abc-q7w3e9r2t5y8",
        "ax_abc-q7w3e9r2zzy8",
    ] {
        assert_eq!(found(&engine, text), [] as [&str; 0], "{text}");
    }
    assert_eq!(found(&engine, "an example:\nax_abc-q7w3e9r2t5y8").len(), 1);
}

#[test]
fn what_cannot_run_in_bounds_is_refused() {
    for regex in [
        "[a-z0-9]{32}",
        "(?:a|b)[0-9]+",
        "x{5000}acme",
        "(unclosed",
        r"key(?=x)",
    ] {
        assert!(Imported::new(rule(regex)).is_err(), "{regex}");
    }
}

#[test]
fn what_has_no_longest_match_ends_within_the_bound() {
    let engine = engine(rule(r"-----BEGIN ACME-----[\s\S]{8,}?-----END"));
    let text = format!("-----BEGIN ACME-----{}-----END", "x".repeat(100));
    assert_eq!(found(&engine, &text).len(), 1);
    let text = format!("-----BEGIN ACME-----{}-----END", "x".repeat(LONGEST));
    let mut count = 0;
    let mut stream = Stream::new();
    for piece in text.as_bytes().chunks(100) {
        stream.push(&engine, piece, &mut |_, _| count += 1);
        assert!(stream.held() <= LONGEST);
    }
    assert_eq!((count, stream.held()), (0, 0));
}

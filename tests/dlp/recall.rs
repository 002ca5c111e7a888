//! Every shipped detector's examples, in every context and encoding in which they may leave,
//! cut anywhere.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portreeve::config::{Env, detectors};
use portreeve::dlp::{Detectors, Stream, scan};

fn shipped() -> Detectors {
    let env = Env::fixed(Path::new("/nonexistent"), []);
    Detectors::new(detectors(None, &env).unwrap())
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// The same token as twelve kinds of content hold it.
fn contexts(token: &str) -> Vec<(&'static str, String)> {
    let line = token.replace('\n', "\\n");
    vec![
        (
            "json",
            format!("{{\"a\": 1, \"note\": {}, \"b\": []}}", json(token)),
        ),
        (
            "escaped json",
            json(&format!("{{\"note\": {}}}", json(token))),
        ),
        ("form", format!("a=1&token={line}&b=2")),
        ("query", format!("/search?q=x&k={line}")),
        ("header", format!("x-note: Bearer {line}\r\nhost: a\r\n")),
        ("yaml", format!("steps:\n  - token: {line}\n  - x: y\n")),
        ("env file", format!("export A=1\nTOKEN={line}\nB=2\n")),
        ("source", format!("let token = \"{line}\"; // mine\n")),
        (
            "multipart",
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n{token}\r\n--x--\r\n"
            ),
        ),
        ("markdown", format!("Use `{line}` as the **key**.\n")),
        ("url path", format!("https://a.test/v1/{line}/x")),
        ("xml", format!("<config><key>{line}</key></config>")),
    ]
}

fn encodings(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let each = |form: fn(u8) -> Vec<u8>| token.bytes().flat_map(form).collect::<Vec<u8>>();
    let quoted = |data: Vec<u8>| [b"{\"a\":\"", &data[..], b"\"}"].concat();
    vec![
        (
            "base64",
            quoted(STANDARD.encode(format!("\"{token}\"")).into_bytes()),
        ),
        (
            "base64",
            quoted(STANDARD.encode(format!("a \"{token}\"")).into_bytes()),
        ),
        (
            "base64",
            quoted(
                URL_SAFE_NO_PAD
                    .encode(format!("ab\"{token}\""))
                    .into_bytes(),
            ),
        ),
        (
            "hex",
            quoted(each(|byte| format!("{byte:02x}").into_bytes())),
        ),
        (
            "percent",
            quoted(each(|byte| format!("%{byte:02X}").into_bytes())),
        ),
        (
            "unicode",
            quoted(each(|byte| format!("\\u00{byte:02x}").into_bytes())),
        ),
        (
            "javascript",
            quoted(each(|byte| format!("\\x{byte:02x}").into_bytes())),
        ),
        (
            "html",
            quoted(each(|byte| format!("&#{byte};").into_bytes())),
        ),
        (
            "base64 of base64",
            quoted(
                STANDARD
                    .encode(STANDARD.encode(format!("k={token} ")))
                    .into_bytes(),
            ),
        ),
        (
            "hex of base64",
            quoted(
                STANDARD
                    .encode(format!("k={token} "))
                    .bytes()
                    .flat_map(|byte| format!("{byte:02x}").into_bytes())
                    .collect(),
            ),
        ),
        ("utf-16", quoted(each(|byte| vec![byte, 0]))),
        ("utf-16", quoted(each(|byte| vec![0, byte]))),
    ]
}

fn finds(detectors: &Detectors, name: &str, text: &[u8]) -> bool {
    let mut found = false;
    scan(detectors.engine(), text, &mut |finding, _| {
        found |= detectors
            .of(&finding)
            .is_some_and(|detector| &*detector.name == name);
    });
    found
}

#[test]
fn every_example_is_found_in_every_context() {
    let all = shipped();
    let mut missed = Vec::new();
    let mut tried = 0;
    for detector in all.iter() {
        for example in &detector.examples {
            for (context, text) in contexts(example) {
                tried += 1;
                if !finds(&all, &detector.name, text.as_bytes()) {
                    missed.push(format!("{} in {context}: {text}", detector.name));
                }
            }
        }
    }
    println!("{} of {tried} missed", missed.len());
    assert!(missed.len() * 1000 <= tried * 5, "{}", missed.join("\n"));
}

#[test]
fn every_example_is_found_in_every_encoding() {
    let all = shipped();
    let mut missed = BTreeSet::new();
    for detector in all.iter() {
        for example in &detector.examples {
            for (encoding, text) in encodings(example) {
                if !finds(&all, &detector.name, &text) {
                    missed.insert(format!("{} {encoding}", detector.name));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    let all = shipped();
    for detector in all.iter() {
        let example = &detector.examples[0];
        let text = format!("{{\"note\": \"{}\"}}", example.replace('\n', "\\n"));
        for cut in 0..text.len() {
            let (one, other) = text.as_bytes().split_at(cut);
            let mut found = false;
            let mut stream = Stream::new();
            for part in [one, other] {
                stream.push(all.engine(), part, &mut |finding, _| {
                    found |= all.of(&finding).is_some_and(|of| of.name == detector.name);
                });
            }
            assert!(found, "{} cut at {cut}", detector.name);
        }
    }
}

#[test]
fn broken_checksums_are_never_found() {
    let all = shipped();
    for detector in all.iter().filter(|detector| {
        detector
            .check
            .word()
            .is_some_and(|word| word.starts_with("crc32") || word == "bech32" || word == "xprv")
    }) {
        for example in &detector.examples {
            for at in 5..example.len() {
                let mut mutant = example.clone().into_bytes();
                mutant[at] = if mutant[at] == b'Q' { b'P' } else { b'Q' };
                assert!(
                    !finds(&all, &detector.name, &mutant),
                    "{} {at}",
                    detector.name
                );
            }
        }
    }
}

/// Who waits for its word to arrive before sending the next does not wait for ever.
#[test]
fn words_are_not_held() {
    let all = shipped();
    let mut stream = Stream::new();
    for word in [
        "piece",
        "ping 1",
        " the token gh",
        "{\"delta\": \"ey\"}",
        "x=1&y=%20",
        "aGVsbG8gd29ybGQ",
        "\n\n",
    ] {
        stream.push(all.engine(), word.as_bytes(), &mut |_, _| panic!("clean"));
        assert_eq!(stream.held(), 0, "{word}");
    }
}

//! What every shipped detector must find: tokens made by a seeded generator, in every context
//! and encoding in which they may leave, cut anywhere.

#[path = "generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::path::Path;

use generate::{Random, contexts, encodings, quoted};
use portreeve::config::{Env, detectors};
use portreeve::dlp::{Detector, Detectors, Kind, Stream, mint, scan};
use portreeve::secret::Secret;

/// Most cuts of one text.
const CUTS: usize = 500;

fn shipped() -> Detectors {
    let env = Env::fixed(Path::new("/nonexistent"), []);
    Detectors::new(detectors(None, &env).unwrap())
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

/// As [`finds`], in a stream of pieces.
fn finds_in(detectors: &Detectors, name: &str, pieces: &[&[u8]]) -> bool {
    let mut found = false;
    let mut report = |finding: portreeve::dlp::Finding, _: &[u8]| {
        let detector = detectors.of(&finding);
        found |= detector.is_some_and(|detector| &*detector.name == name);
    };
    let mut stream = Stream::new();
    for piece in pieces {
        stream.push(detectors.engine(), piece, &mut report);
    }
    stream.finish(detectors.engine(), &mut report);
    found
}

/// What was tried and missed, by detector, context and encoding.
#[derive(Default)]
struct Tally {
    tried: usize,
    missed: usize,
    by_case: BTreeMap<String, usize>,
}

impl Tally {
    fn note(&mut self, found: bool, name: &str, case: &str) {
        self.tried += 1;
        if !found {
            self.missed += 1;
            *self.by_case.entry(format!("{name}, {case}")).or_default() += 1;
        }
    }

    /// At least so many of a thousand are found.
    fn assert(&self, of_thousand: usize) {
        let Self { tried, missed, .. } = self;
        assert!(
            missed * 1000 <= tried * (1000 - of_thousand),
            "{missed} of {tried} missed: {:#?}",
            self.by_case
        );
    }
}

/// A token in all contexts as they are, and encoded alone and with its context.
fn cases(token: &str, random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let mut cases = Vec::new();
    for (context, text) in contexts(token, random) {
        for (encoding, data) in encodings(text.as_bytes()) {
            cases.push((format!("{context} in {encoding}"), quoted(&data)));
        }
        cases.push((context.to_owned(), text.into_bytes()));
    }
    for (encoding, data) in encodings(token.as_bytes()) {
        cases.push((encoding.to_owned(), quoted(&data)));
    }
    cases
}

/// Of each shape of each detector one token.
fn minted(detectors: &Detectors, random: &mut Random) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for detector in detectors.iter() {
        let tokens = mint::tokens(detector, &mut |bound| random.below(bound));
        let ways = detector.shapes.len() + usize::from(detector.kind.is_some());
        assert_eq!(tokens.len(), ways, "{}", detector.name);
        for token in tokens {
            let token = String::from_utf8(token).unwrap();
            all.push((detector.name.to_string(), token));
        }
    }
    all
}

/// Every eighth case, cut at random; the next run of eight seeds has tried all.
#[test]
fn what_every_detector_is_for_is_found() {
    let mut random = Random::new(7);
    let all = shipped();
    let mut tally = Tally::default();
    for (name, token) in minted(&all, &mut random) {
        let cases = cases(&token, &mut random);
        let skip = random.index(8);
        for (case, text) in cases.into_iter().skip(skip).step_by(8) {
            let found = finds_in(&all, &name, &random.cut(&text));
            tally.note(found, &name, &case);
        }
    }
    tally.assert(995);
}

/// `cargo test --release --test dlp recall -- --ignored`
#[test]
#[ignore = "takes minutes"]
fn what_every_detector_is_for_is_found_wherever_it_is_cut() {
    let mut random = Random::new(7);
    let all = shipped();
    let mut tally = Tally::default();
    for (name, token) in minted(&all, &mut random) {
        for (case, text) in cases(&token, &mut random) {
            // Of a long text not all, but other ones in each.
            let step = 1 + text.len() / CUTS;
            let first = random.below(u32::try_from(step).unwrap());
            for cut in (first as usize..text.len()).step_by(step) {
                let (one, other) = text.split_at(cut);
                tally.note(finds_in(&all, &name, &[one, other]), &name, &case);
            }
        }
    }
    tally.assert(995);
}

/// Secrets of all kinds: random text, words, random bytes, one with everything to escape.
fn secrets(random: &mut Random) -> Vec<Vec<u8>> {
    let mut secrets = vec![
        b"hunter2hunter2".to_vec(),
        b"correct horse battery staple".to_vec(),
        b"a/b+c=\"d\"\\e&f%g'h<i>".to_vec(),
    ];
    for length in [12, 16, 20, 32, 64, 200] {
        let bytes = (0..length).map(|_| u8::try_from(random.below(256)).unwrap());
        secrets.push(bytes.collect());
        let text = (0..length).map(|_| b'!' + u8::try_from(random.below(94)).unwrap());
        secrets.push(text.collect());
    }
    secrets
}

#[test]
fn known_secrets_are_found_in_everything() {
    let mut random = Random::new(11);
    let mut tally = Tally::default();
    for secret in secrets(&mut random) {
        let known = Detector::of_secret("held", "secret", &Secret::new(secret.clone()));
        let all = Detectors::new(known);
        let text = std::str::from_utf8(&secret);
        let mut cases: Vec<(String, Vec<u8>)> = encodings(&secret)
            .into_iter()
            // In HTML there are characters and no bytes.
            .filter(|(encoding, _)| text.is_ok() || !encoding.starts_with("html"))
            .map(|(encoding, data)| (encoding.to_owned(), quoted(&data)))
            .collect();
        cases.push(("as it is".to_owned(), quoted(&secret)));
        if let Ok(text) = text {
            cases.extend(self::cases(text, &mut random));
        }
        for (case, text) in cases {
            let found = finds_in(&all, "held", &random.cut(&text));
            tally.note(found, &secret.escape_ascii().to_string(), &case);
        }
    }
    tally.assert(1000);
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
    let mut random = Random::new(3);
    let all = shipped();
    for detector in all.iter().filter(|detector| {
        detector
            .check
            .word()
            .is_some_and(|word| word.starts_with("crc32") || word == "bech32" || word == "xprv")
    }) {
        let minted = mint::tokens(detector, &mut |bound| random.below(bound));
        let minted = minted
            .into_iter()
            .map(|token| String::from_utf8(token).unwrap());
        for example in detector.examples.iter().cloned().chain(minted) {
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

/// As [`broken_checksums_are_never_found`], of numbers: any other digit at any place.
#[test]
fn numbers_with_a_wrong_digit_are_never_found() {
    let mut random = Random::new(5);
    let all = shipped();
    let told = |detector: &&Detector| matches!(detector.kind, Some(Kind::Card | Kind::Iban));
    for detector in all.iter().filter(told) {
        for _ in 0..40 {
            let text = mint::token(detector, &mut |bound| random.below(bound)).unwrap();
            assert!(finds(&all, &detector.name, &text));
            for at in 0..text.len() {
                if text[at].is_ascii_digit() {
                    let mut mutant = text.clone();
                    let other = (text[at] - b'0' + 1 + u8::try_from(random.below(9)).unwrap()) % 10;
                    mutant[at] = b'0' + other;
                    assert!(
                        !finds(&all, &detector.name, &mutant),
                        "{}",
                        mutant.escape_ascii()
                    );
                }
            }
        }
    }
}

/// Judged by another implementation.
#[test]
fn phrases_with_a_wrong_word_are_never_found() {
    let mut random = Random::new(5);
    let all = shipped();
    let list = bip39::Language::English.word_list();
    let phrase = all
        .iter()
        .find(|detector| detector.kind == Some(Kind::SeedPhrase));
    let mut broken = 0;
    for _ in 0..40 {
        let text = mint::token(phrase.unwrap(), &mut |bound| random.below(bound)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        for place in 0..words.len() {
            let mut mutant = words.clone();
            mutant[place] = list[random.index(list.len())];
            let mutant = mutant.join(" ");
            let english = bip39::Language::English;
            let valid = bip39::Mnemonic::parse_in_normalized(english, &mutant).is_ok();
            assert_eq!(
                finds(&all, "seed-phrase", mutant.as_bytes()),
                valid,
                "{mutant}"
            );
            broken += usize::from(!valid);
        }
    }
    assert!(broken > 500);
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

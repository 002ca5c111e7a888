use super::super::pass::{Pass, scan};
use super::super::stream::Stream;
use super::super::{Engine, Kind};
use super::*;

const CARD: u32 = 0;
const IBAN: u32 = 1;
const SSN: u32 = 2;

fn engine() -> Engine {
    let kinds = [(Kind::Card, CARD), (Kind::Iban, IBAN), (Kind::UsSsn, SSN)];
    Engine::looking_for(kinds)
}

fn found(text: &str) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    scan(&engine(), text.as_bytes(), &mut |finding, data| {
        all.push((finding.detector, String::from_utf8(data.to_vec()).unwrap()));
    });
    all
}

/// What is found wherever the text stands, and wherever it is cut.
fn found_everywhere(text: &str) -> Vec<(u32, String)> {
    let (engine, first) = (engine(), found(text));
    // Around the end of a block of the planes, too.
    for before in (0..9).chain(44..66) {
        let text = format!("{}{text}", " .".repeat(33).get(..before).unwrap());
        assert_eq!(found(&text), first, "{before} before {text}");
        for cut in 0..text.len() {
            let (one, other) = text.as_bytes().split_at(cut);
            let mut all = Vec::new();
            let mut stream = Stream::new();
            let mut report = |finding: Finding, data: &[u8]| {
                all.push((finding.detector, String::from_utf8(data.to_vec()).unwrap()));
            };
            stream.push(&engine, one, &mut report);
            stream.push(&engine, other, &mut report);
            stream.finish(&engine, &mut report);
            assert_eq!(all, first, "{text} cut at {cut}");
        }
    }
    first
}

fn one(detector: u32, number: &str) -> Vec<(u32, String)> {
    vec![(detector, number.to_owned())]
}

#[test]
fn numbers_are_found_in_every_way_to_write_them() {
    for (detector, before, number) in [
        (CARD, "card: ", "4539148803436467"),
        (CARD, "{\"cardNumber\":\"", "4539 1488 0343 6467"),
        (CARD, "CREDIT_CARD=", "4539-1488-0343-6467"),
        (CARD, "amex ", "3454 990951 45478"),
        (CARD, "visa\\n", "4539148803436467"),
        (IBAN, "", "DE44500105175407324931"),
        (IBAN, "iban=", "GB94 BARC 1020 1530 0934 59"),
        (IBAN, "", "NL39RABO0300065264"),
        (IBAN, "to ", "NO83 3000 1234 567"),
        (SSN, "SSN: ", "536-22-8726"),
        (SSN, "social security no. ", "536 22 8726"),
        (SSN, "\"ssn\":\"", "536228726"),
    ] {
        for after in ["", "\"", ", ", ".", ". x", " 12/29"] {
            let text = format!("{before}{number}{after}");
            let found = found_everywhere(&text);
            assert_eq!(found, one(detector, number), "{text}");
        }
    }
}

#[test]
fn what_only_looks_like_one_is_none() {
    for text in [
        // No word near by; a wrong check digit; a test number; no issuer.
        "order 4539148803436467 of today",
        "card 4539148803436468",
        "card 4242424242424242",
        "card 9539148803436466",
        "discard 4539148803436467",
        // Parts of something longer.
        "card 45391488034364670",
        "card x4539148803436467",
        "card 0.4539148803436467",
        "card 4539148803436467.5",
        "card 4539148803436467-a",
        "DE45500105175407324931",
        "DE4450010517540732493",
        "XX44500105175407324931",
        "aDE44500105175407324931",
        "GB82WEST12345698765432",
        "call 536-22-8726",
        "ssn 666-22-8726",
        "ssn 111-22-3333",
        "ssn 536-00-8726",
        "ssn 123-45-6789",
        "ssn 536-22 8726",
        "ssn 536-22-87261",
        "mission 536-22-8726",
    ] {
        assert_eq!(found_everywhere(text), [], "{text}");
    }
}

#[test]
fn several_cards_in_a_row_need_no_name() {
    let number = |text: String| {
        let sum = (0..10).map(|last| format!("{text}{last}"));
        sum.into_iter().find(|card| luhn(card.as_bytes())).unwrap()
    };
    let made: Vec<String> = (0..8)
        .map(|n| number(format!("45391{n}8803{n}3646")))
        .collect();
    let text = made.join("\n");
    assert_eq!(found_everywhere(&text).len(), made.len() - 5);
    // The same again and again is one number; others between are an order's.
    assert_eq!(found(&format!("{}\n", made[0]).repeat(20)), []);
    let mixed = made.join("\n4539148803436468\n");
    assert_eq!(found(&mixed), []);
    // Nor are codes of characters, whatever their sums say.
    let grouped = made.iter().map(|card| {
        let groups = card.as_bytes().chunks(4).map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join(" ")
    });
    let grouped: Vec<String> = grouped.collect();
    assert_eq!(found_everywhere(&grouped.join("\n")).len(), made.len() - 5);
    assert_eq!(found(&format!("420E {}", grouped.join(" "))), []);
    assert_eq!(found("259CC 7AEC\n4201 4202 4203 4204 4205"), []);
}

#[test]
fn a_named_number_is_held_and_others_are_not() {
    let engine = engine();
    for (text, held) in [
        ("card 4539148803", 10),
        ("card 4539 1488 03", 12),
        ("ssn 536-22-8", 8),
        ("GB94BARC1020", 12),
        ("order 4539148803", 0),
        ("port 8080", 0),
        ("card 4539", 0),
        ("1732688400", 0),
    ] {
        let mut pass = Pass::default();
        pass.push(&engine, text.as_bytes(), &mut |_, _| panic!("{text}"));
        pass.forget();
        pass.hold(&engine);
        assert_eq!(pass.held(), held, "{text}");
    }
}

#[test]
fn long_runs_are_passed_over_once() {
    for unit in [
        "1234567890",
        "ABC123",
        "1234 ",
        "12345678 ",
        "DE44 ",
        "123-45-",
    ] {
        let text = unit.repeat(20_000);
        assert_eq!(found(&text), [], "{unit}");
    }
}

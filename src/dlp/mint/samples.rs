//! Data that is told by its checksum and by what is said near by, made up.

use super::super::kind::Kind;
use super::super::numbers::{COUNTRIES, luhn, remainder, runs};
use super::super::phrases::{Words, phrase};
use super::{Below, index};

/// Words with data of this kind.
pub(super) fn of(kind: Kind, below: Below<'_>) -> Option<Vec<u8>> {
    let text = match kind {
        Kind::Card => format!("card number: {}", card(below)?),
        Kind::Iban => format!("account {}", iban(below)?),
        Kind::UsSsn => {
            let (area, group) = (100 + below(500), 10 + below(90));
            format!("SSN: {area}-{group}-{:04}", 1000 + below(9000))
        }
        Kind::SeedPhrase => {
            let length = 16 + 4 * below(5);
            let entropy = (0..length).map(|_| u8::try_from(below(256)).unwrap_or(0));
            phrase(&Words::english(), &entropy.collect::<Vec<_>>())?
        }
        Kind::SecretField => field(below)?,
        Kind::WalletKey => return Some(super::wallet_key(below)),
    };
    Some(text.into_bytes())
}

/// As forms, settings, YAML and JSON write it.
fn field(below: Below<'_>) -> Option<String> {
    const NAMES: [&str; 8] = [
        "password",
        "api_key",
        "client_secret",
        "secret",
        "accessToken",
        "X-Api-Key",
        "AWS_SECRET_ACCESS_KEY",
        "auth_token",
    ];
    let name = NAMES.get(index(NAMES.len(), below))?;
    let value = super::letters(usize::try_from(20 + below(24)).ok()?, below);
    let (between, end) = *[("=", ""), (": ", ""), (" = '", "'")].get(index(3, below))?;
    Some(format!("{name}{between}{value}{end}"))
}

fn digits(count: usize, below: Below<'_>) -> String {
    let mut digit = |_| char::from_digit(below(10), 10);
    (0..count).filter_map(&mut digit).collect()
}

/// A number of sixteen digits, together or in groups.
fn card(below: Below<'_>) -> Option<String> {
    const ISSUERS: [&str; 6] = ["4", "51", "55", "2345", "6011", "3528"];
    let issuer = ISSUERS.get(index(ISSUERS.len(), below))?;
    let body = format!("{issuer}{}", digits(15 - issuer.len(), below));
    let number = (0..10).map(|last| format!("{body}{last}"));
    let number = number.into_iter().find(|number| luhn(number.as_bytes()))?;
    let separator = *["", " ", "-"].get(index(3, below))?;
    Some(groups(&number, separator))
}

fn iban(below: Below<'_>) -> Option<String> {
    let (country, structure) = COUNTRIES.get(index(COUNTRIES.len(), below))?;
    let country = std::str::from_utf8(*country).ok()?;
    let mut account = String::new();
    for (count, kind) in runs(structure) {
        for _ in 0..count {
            let number = match kind {
                'n' => below(10),
                'a' => 10 + below(26),
                _ => below(36),
            };
            account.extend(char::from_digit(number, 36).map(|c| c.to_ascii_uppercase()));
        }
    }
    let sum = remainder(format!("{country}00{account}").as_bytes())?;
    let separator = *["", " "].get(index(2, below))?;
    Some(groups(
        &format!("{country}{:02}{account}", 98 - sum),
        separator,
    ))
}

/// In groups of four.
fn groups(number: &str, separator: &str) -> String {
    let mut text = String::new();
    for (place, character) in number.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push_str(separator);
        }
        text.push(character);
    }
    text
}

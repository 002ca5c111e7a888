//! Whether a value looks as if chance made it: how surprising each of its characters is after
//! the one before, in English words and names as programs have them.

use super::check;

/// How surprising a letter is after another, in bits, at most 9; rows and columns from `a` to
/// `z`. Counted over the sources of crates, Python's library and Debian's documentation.
const SURPRISE: [&[u8; 26]; 26] = [
    b"85446659597343959333677669",
    b"46573789359385357557399549",
    b"47673694594479278453588679",
    b"47541758398587476556586679",
    b"46446569779453766234867569",
    b"46763359299464389455599979",
    b"58682874399574579445499989",
    b"39972999399678479473498989",
    b"56445459999452469643959795",
    b"47882989697976358818589998",
    b"47561777399755669736687989",
    b"37852488378399378854589959",
    b"36772999499538339956498979",
    b"49433639596686469833568979",
    b"76448579696542649255455899",
    b"39773886597479459344289759",
    b"37655877799777686558195989",
    b"37552759396655379444578959",
    b"58582875497567549742498959",
    b"49663793399678459354597749",
    b"62564659499353859333999799",
    b"28751789399658545978899698",
    b"37874894299674379437996999",
    b"45444487599739446843989876",
    b"66676789697534429533887799",
    b"57681897599767577558788877",
];

/// Bits a character from which on it is chance: of random letters and digits, 99 of 100 values
/// of 16 have as many; of names and paths, one of 20.
const LEAST: u32 = 45;
/// Tenths of a bit.
const TENTH: u32 = 10;
/// So many different characters, at least.
const DIFFERENT: usize = 8;
/// Random hexadecimal is told by its length.
const HEX: usize = 32;

/// What stands in examples, tests and settings, and in a random value hardly ever.
const WORDS: [&[u8]; 26] = [
    b"test", b"dummy", b"fake", b"sample", b"mock", b"secret", b"passw", b"token", b"apikey",
    b"api_key", b"redact", b"insert", b"null", b"none", b"default", b"invalid", b"config",
    b"value", b"string", b"process", b"environ", b"here", b"demo", b"http", b"sha256", b"sha512",
];

/// Whether `value` looks random; `hex`: also as hexadecimal.
#[must_use]
pub fn looks_random(value: &[u8], hex: bool) -> bool {
    if different(value) < DIFFERENT || check::is_placeholder(value) || has_word(value) {
        return false;
    }
    if value.iter().all(u8::is_ascii_hexdigit) {
        let letters = value.iter().any(|byte| !byte.is_ascii_digit());
        return hex && letters && value.len() >= HEX;
    }
    !is_uuid(value) && surprise(value) >= LEAST && !is_encoded_text(value)
}

/// Whether it is base64 of something that was written: `not my real password`.
fn is_encoded_text(value: &[u8]) -> bool {
    let text = check::decode_base64(value).unwrap_or_default();
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    text.len() >= DIFFERENT && text.iter().all(printable) && surprise(&text) < LEAST
}

/// How surprising the characters are on average, in tenths of a bit.
fn surprise(value: &[u8]) -> u32 {
    let pairs = value.iter().zip(value.iter().skip(1));
    let sum: u32 = pairs.map(|(one, other)| pair(*one, *other)).sum();
    let count = u32::try_from(value.len()).unwrap_or(u32::MAX);
    sum * TENTH / count.saturating_sub(1).max(1)
}

fn pair(one: u8, other: u8) -> u32 {
    let letter = |byte: u8| usize::from(byte.to_ascii_lowercase().wrapping_sub(b'a'));
    if one.is_ascii_alphabetic() && other.is_ascii_alphabetic() {
        if one.is_ascii_lowercase() && other.is_ascii_uppercase() {
            // As in a name of several words.
            return 4;
        }
        let row = SURPRISE.get(letter(one));
        let bits = row.and_then(|row| row.get(letter(other)));
        return u32::from(bits.copied().unwrap_or(b'0') - b'0');
    }
    match (
        one.is_ascii_digit(),
        other.is_ascii_digit(),
        one.is_ascii_alphabetic(),
        other.is_ascii_alphabetic(),
    ) {
        (true, true, ..) => 3,
        (_, true, true, _) => 5,
        (true, _, _, true) => 6,
        _ => 2,
    }
}

fn different(value: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in value {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

fn has_word(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    WORDS
        .iter()
        .any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` (RFC 9562): a name, as a rule.
fn is_uuid(value: &[u8]) -> bool {
    let lengths = value.split(|byte| *byte == b'-').map(<[u8]>::len);
    let hex = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    lengths.eq([8, 4, 4, 4, 12]) && value.iter().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_words_names_and_paths() {
        for value in [
            "q7Rk2vX9mT4bL8wZ1nC6",
            "kXp2Wz8vN4cQ7tRb1LsY",
            "vmqpzxkwtjrhgnbcvqxz",
            "0f3a9c1e7b5d2846a0c4e8f1b3d5970e",
            "Zm9vYmF6cXV4+k/9dXNlcg",
        ] {
            assert!(looks_random(value.as_bytes(), true), "{value}");
        }
        for value in [
            "my-service-account-name",
            "getCurrentUserCredentials",
            "src/gateway/credentials.rs",
            "correct-horse-battery-staple",
            "AWS_SESSION_IDENTIFIER_2",
            "550e8400-e29b-41d4-a716-446655440000",
            "00000000000000000000000000000000",
            "12345678901234567890",
            "your_api_key_q7Rk2vX9mT4bL8wZ1nC6",
            "sha256-q7Rk2vX9mT4bL8wZ1nC6kXp2Wz8v",
            "2024-11-27T06:20:27.123456Z",
            "com.example.android.services",
            "bm90IG15IHJlYWwgcGFzc3dvcmQ=",
        ] {
            assert!(!looks_random(value.as_bytes(), true), "{value}");
        }
        assert!(!looks_random(b"0f3a9c1e7b5d2846a0c4e8f1b3d5970e", false));
    }
}

//! What a token's bytes must say beyond their shape: checksums where the maker published
//! one, structure, and that it is no placeholder.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Digits of base 62, as GitHub and npm write it.
pub(super) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of Bech32 (BIP-173).
pub(super) const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Digits of Base58, as Bitcoin writes it.
pub(super) const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A test on the bytes of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// None beyond shape and entropy.
    #[default]
    None,
    /// The last six characters are the CRC-32 of those before them and after the first `_`,
    /// in base 62 (GitHub, npm).
    Crc32Base62,
    /// The last eight characters are the CRC-32 of all before them, in hexadecimal
    /// (Atlassian).
    Crc32Hex,
    /// As `Crc32Hex`, with a `_` between, over what stands before the `_` (Grafana).
    Crc32HexTail,
    /// Bech32 (age, BIP-173).
    Bech32,
    /// A JSON Web Token: the header is JSON with `alg` (RFC 7515).
    Jwt,
    /// What follows the last `.`, `-` or `_` separated prefix decodes from base64 to JSON.
    Base64Json,
    /// A Discord bot's token: its first part is a decimal number in base64.
    DecimalBase64,
    /// The body of a private key follows.
    KeyBody,
    /// `Base58Check` of 78 bytes (BIP-32 private keys).
    Xprv,
    /// A URL with a password that is no placeholder, to a host that is not this machine.
    UrlPassword,
    /// No `AAA` after the first four bytes: random characters hardly have it, programs in
    /// base64 do.
    NoZeros,
}

impl Check {
    /// Every check, by its word in files.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("crc32-base62", Self::Crc32Base62),
        ("crc32-hex", Self::Crc32Hex),
        ("crc32-hex-tail", Self::Crc32HexTail),
        ("bech32", Self::Bech32),
        ("jwt", Self::Jwt),
        ("base64-json", Self::Base64Json),
        ("decimal-base64", Self::DecimalBase64),
        ("key-body", Self::KeyBody),
        ("xprv", Self::Xprv),
        ("url-password", Self::UrlPassword),
        ("no-zeros", Self::NoZeros),
    ];

    /// Its word in files.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        let found = Self::WORDS.iter().find(|(_, check)| *check == self);
        found.map(|(word, _)| *word)
    }

    /// Whether `token` passes.
    #[must_use]
    pub fn passes(self, token: &[u8]) -> bool {
        let passes = match self {
            Self::None => Some(true),
            Self::Crc32Base62 => crc32_base62(token),
            Self::Crc32Hex => crc32_hex(token, 0),
            Self::Crc32HexTail => crc32_hex(token, 1),
            Self::Bech32 => bech32(token),
            Self::Jwt => jwt(token),
            Self::Base64Json => base64_json(token),
            Self::DecimalBase64 => decimal_base64(token),
            Self::KeyBody => Some(key_body(token)),
            Self::Xprv => base58check(token).map(|data| data.len() == 78),
            Self::UrlPassword => url_password(token),
            Self::NoZeros => Some(no_zeros(token)),
        };
        passes.unwrap_or(false)
    }
}

/// Base64 in either alphabet, with or without padding.
#[must_use]
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG);
    let urlsafe = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => *byte,
    };
    ENGINE
        .decode(text.iter().map(urlsafe).collect::<Vec<u8>>())
        .ok()
}

fn crc32_base62(token: &[u8]) -> Option<bool> {
    let start = token.iter().position(|byte| *byte == b'_')? + 1;
    let (body, sum) = token.get(start..)?.split_last_chunk::<6>()?;
    let value = sum.iter().try_fold(0_u64, |value, byte| {
        let digit = BASE62.iter().position(|known| known == byte)?;
        Some(value * 62 + digit as u64)
    })?;
    Some(value == u64::from(crc32fast::hash(body)))
}

fn crc32_hex(token: &[u8], between: usize) -> Option<bool> {
    let (body, sum) = token.split_last_chunk::<8>()?;
    let body = body.get(..body.len().checked_sub(between)?)?;
    let sum = std::str::from_utf8(sum).ok()?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    Some(sum == crc32fast::hash(body))
}

fn bech32(token: &[u8]) -> Option<bool> {
    let values = bech32_values(&token.to_ascii_lowercase())?;
    Some(bech32_sum(&values) == 1)
}

/// What the characters of a Bech32 string stand for, prefix first.
pub(super) fn bech32_values(token: &[u8]) -> Option<Vec<u8>> {
    let one = token.iter().rposition(|byte| *byte == b'1')?;
    let (prefix, data) = (token.get(..one)?, token.get(one + 1..)?);
    let mut values: Vec<u8> = prefix.iter().map(|byte| byte >> 5).collect();
    values.push(0);
    values.extend(prefix.iter().map(|byte| byte & 31));
    for byte in data {
        let digit = BECH32.iter().position(|known| known == byte)?;
        values.push(u8::try_from(digit).ok()?);
    }
    Some(values)
}

/// The checksum of Bech32, which is 1 where it is right.
pub(super) fn bech32_sum(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    values.iter().fold(1_u32, |sum, value| {
        let top = sum >> 25;
        let sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(*value);
        let bits = GENERATOR.iter().enumerate();
        bits.fold(sum, |sum, (bit, word)| {
            if (top >> bit) & 1 == 1 {
                sum ^ word
            } else {
                sum
            }
        })
    })
}

fn jwt(token: &[u8]) -> Option<bool> {
    let header = token.split(|byte| *byte == b'.').next()?;
    let header: serde_json::Value = serde_json::from_slice(&decode_base64(header)?).ok()?;
    Some(header.get("alg")?.is_string())
}

fn base64_json(token: &[u8]) -> Option<bool> {
    let start = token.windows(3).position(|window| window == b"eyJ")?;
    let body = token.get(start..)?;
    let end = body
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+/-_".contains(byte)));
    // Cut to whole groups: the JSON may go on after what was read.
    let body = body.get(..end.unwrap_or(body.len()))?;
    let text = decode_base64(body.get(..body.len() / 4 * 4)?)?;
    Some(text.starts_with(b"{\"") && text.iter().all(|byte| (0x20..0x7f).contains(byte)))
}

fn decimal_base64(token: &[u8]) -> Option<bool> {
    let first = token.split(|byte| *byte == b'.').next()?;
    let number = decode_base64(first)?;
    let number: u64 = std::str::from_utf8(&number).ok()?.parse().ok()?;
    Some(number >= 1000)
}

/// After the header of a key come line ends, in any escape, and then base64.
fn key_body(token: &[u8]) -> bool {
    let header = b"-----";
    let end = token
        .windows(header.len())
        .rposition(|window| window == header);
    let body = end.and_then(|end| token.get(end + header.len()..));
    let body = body.unwrap_or_default();
    let skip = |byte: &&u8| b" \t\r\n\\rn\"'+,%0DA".contains(byte);
    let start = body.iter().take_while(skip).count();
    let body = body.get(start..).unwrap_or_default();
    let run = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    body.starts_with(b"Proc-Type:")
        || body.starts_with(b"Version:")
        || body.starts_with(b"Comment:")
        || body.iter().take_while(run).count() >= 16
}

/// Decodes Base58 and takes the checksum off: the first four bytes of SHA-256 twice.
pub(super) fn base58check(token: &[u8]) -> Option<Vec<u8>> {
    let mut data: Vec<u8> = Vec::new();
    for byte in token {
        let mut carry = BASE58.iter().position(|known| known == byte)?;
        for place in &mut data {
            carry += usize::from(*place) * 58;
            *place = u8::try_from(carry & 0xff).ok()?;
            carry >>= 8;
        }
        while carry > 0 {
            data.push(u8::try_from(carry & 0xff).ok()?);
            carry >>= 8;
        }
    }
    let zeros = token.iter().take_while(|byte| **byte == b'1').count();
    data.extend(std::iter::repeat_n(0, zeros));
    data.reverse();
    let (body, sum) = data.split_last_chunk::<4>()?;
    let once = digest::digest(&digest::SHA256, body);
    let twice = digest::digest(&digest::SHA256, once.as_ref());
    twice.as_ref().starts_with(sum).then(|| body.to_vec())
}

fn no_zeros(token: &[u8]) -> bool {
    let body = token.get(4..).unwrap_or_default();
    !body.windows(3).any(|window| window == b"AAA")
}

fn url_password(token: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(token).ok()?;
    let (_, rest) = text.split_once("://")?;
    let (user_info, host) = rest.rsplit_once('@')?;
    let (_, password) = user_info.split_once(':')?;
    let local = [
        "localhost",
        "127.",
        "0.0.0.0",
        "example",
        "host",
        "[::1]",
        "db.example",
    ];
    let word = password.to_ascii_lowercase();
    let dull = [
        "pass", "pw", "secret", "user", "example", "changeme", "postgres", "root", "admin",
    ];
    let marked =
        word.contains(['$', '{', '<', '*']) || word.starts_with('%') || word.contains("...");
    let varied = word
        .bytes()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        >= 5;
    let dull = dull
        .iter()
        .any(|dull| word.starts_with(dull) || word.ends_with(dull));
    Some(!local.iter().any(|local| host.starts_with(local)) && varied && !marked && !dull)
}

/// Shannon's entropy of the bytes, in bits a byte.
#[must_use]
pub fn entropy(bytes: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let total = f32::from(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).max(1.0);
    let bits = |count: &u16| {
        let share = f32::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

/// Whether this is what documentation writes where a secret would stand.
#[must_use]
pub fn is_placeholder(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 9] = [
        b"example",
        b"placeholder",
        b"changeme",
        b"xxxxx",
        b"redacted",
        b"your_",
        b"your-",
        b"abcdefgh",
        b"12345678",
    ];
    let lower = bytes.to_ascii_lowercase();
    let has = |word: &&[u8]| lower.windows(word.len()).any(|window| window == *word);
    let same = bytes
        .windows(6)
        .any(|window| window.iter().all(|byte| Some(byte) == window.first()));
    same || WORDS.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        for (check, good) in [
            // BIP-173's valid strings.
            (Check::Bech32, "A12UEL5L"),
            (
                Check::Bech32,
                "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
            ),
        ] {
            assert!(check.passes(good.as_bytes()), "{good}");
            let mut bad = good.as_bytes().to_vec();
            let last = bad.last_mut().unwrap();
            *last = if *last == b'q' { b'p' } else { b'q' };
            assert!(!check.passes(&bad), "{good} mutated");
        }
    }

    #[test]
    fn entropies_and_placeholders() {
        assert!(entropy(b"aaaaaaaa") < 0.01);
        assert!((entropy(b"abcdefgh") - 3.0).abs() < 0.01);
        assert!(is_placeholder(b"xxxxxxxxxxxx"));
        assert!(is_placeholder(b"YOUR_TOKEN_HERE"));
        assert!(!is_placeholder(b"q7Rk2vX9mT4bL8wZ"));
    }
}

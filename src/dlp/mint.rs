//! Tokens that look like real ones and open nothing: of a detector's shape, with the
//! checksum that its maker would have given them.

mod samples;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::check::{BASE58, BASE62, BECH32, Check, bech32_sum, bech32_values};
use super::class::Class;
use super::detector::Detector;
use super::engine::Engine;
use super::kind::Kind;
use super::shape::Shape;
use super::stream::scan;

/// A random number below a bound, which is not 0.
pub type Below<'a> = &'a mut dyn FnMut(u32) -> u32;

/// How often a shape is filled until what it says holds together.
const TRIES: usize = 400;
/// A run whose longest is more than this is seldom longer.
const LONG: u16 = 64;
/// The private key of BIP-32: version, depth, parent, number, chain code, key.
const XPRV: [u8; 4] = [0x04, 0x88, 0xad, 0xe4];

/// A token that `detector` finds, from beginning to end. `None` where none could be made: its
/// check wants more than chance gives.
#[must_use]
pub fn token(detector: &Detector, below: Below<'_>) -> Option<Vec<u8>> {
    let engine = detector.engine();
    if let Some(kind) = detector.kind {
        return sample(kind, &engine, below);
    }
    (0..TRIES).find_map(|_| {
        let shape = detector.shapes.get(index(detector.shapes.len(), below))?;
        attempt(detector, shape, &engine, below)
    })
}

/// As [`token`], of each shape of the detector. One of a detector without shapes stands in
/// the words that tell it.
#[must_use]
pub fn tokens(detector: &Detector, below: Below<'_>) -> Vec<Vec<u8>> {
    let engine = detector.engine();
    if let Some(kind) = detector.kind {
        return sample(kind, &engine, below).into_iter().collect();
    }
    let mut of = |shape| (0..TRIES).find_map(|_| attempt(detector, shape, &engine, below));
    detector.shapes.iter().filter_map(&mut of).collect()
}

fn sample(kind: Kind, engine: &Engine, below: Below<'_>) -> Option<Vec<u8>> {
    (0..TRIES).find_map(|_| {
        let text = samples::of(kind, below)?;
        let mut found = false;
        scan(engine, &text, &mut |_, _| found = true);
        found.then_some(text)
    })
}

fn attempt(
    detector: &Detector,
    shape: &Shape,
    engine: &Engine,
    below: Below<'_>,
) -> Option<Vec<u8>> {
    let mut token = fill(shape, below);
    complete(detector.check, &mut token, below)?;
    let mut whole = false;
    scan(engine, &token, &mut |finding, data| {
        whole |= finding.start == 0 && data.len() == token.len();
    });
    whole.then_some(token)
}

fn index(count: usize, below: Below<'_>) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    below(count) as usize
}

/// Random bytes of a shape's classes: letters and digits where nearly anything may stand.
fn fill(shape: &Shape, below: Below<'_>) -> Vec<u8> {
    let mut token = Vec::new();
    for item in shape.items() {
        let spread = (item.most - item.least).min(LONG);
        let more = below(u32::from(spread) + 1);
        let letters = if item.class.len() > Class::WORD.len() {
            Class::of(BASE62)
        } else {
            item.class
        };
        let bytes: Vec<u8> = letters
            .bytes()
            .filter(|byte| item.class.contains(*byte))
            .collect();
        for _ in 0..u32::from(item.least) + more {
            token.extend(bytes.get(index(bytes.len(), below)));
        }
    }
    token
}

/// Makes `token` say what `check` wants to read.
fn complete(check: Check, token: &mut Vec<u8>, below: Below<'_>) -> Option<()> {
    match check {
        Check::None | Check::NoZeros | Check::DecimalBase64 | Check::UrlPassword => {}
        Check::Crc32Base62 => {
            let start = token.iter().position(|byte| *byte == b'_')? + 1;
            let (body, sum) = token.get_mut(start..)?.split_last_chunk_mut::<6>()?;
            let mut value = crc32fast::hash(body) as usize;
            for place in sum.iter_mut().rev() {
                *place = *BASE62.get(value % 62)?;
                value /= 62;
            }
        }
        Check::Crc32Hex => {
            let (body, sum) = token.split_last_chunk_mut::<8>()?;
            sum.copy_from_slice(format!("{:08X}", crc32fast::hash(body)).as_bytes());
        }
        Check::Crc32HexTail => {
            let (body, sum) = token.split_last_chunk_mut::<8>()?;
            let body = body.get(..body.len().checked_sub(1)?)?;
            sum.copy_from_slice(format!("{:08x}", crc32fast::hash(body)).as_bytes());
        }
        Check::Bech32 => bech32(token)?,
        Check::Jwt => jwt(token, below)?,
        Check::Base64Json => base64_json(token, below)?,
        Check::KeyBody => line_ends(token)?,
        Check::Xprv => *token = xprv(below),
    }
    Some(())
}

fn letters(count: usize, below: Below<'_>) -> String {
    let letter = |_| BASE62.get(index(BASE62.len(), below)).copied();
    (0..count).filter_map(letter).map(char::from).collect()
}

fn bech32(token: &mut [u8]) -> Option<()> {
    let lower = token.to_ascii_lowercase();
    let (body, _) = lower.split_last_chunk::<6>()?;
    let mut values = bech32_values(body)?;
    values.extend([0; 6]);
    let sum = bech32_sum(&values) ^ 1;
    let (_, tail) = token.split_last_chunk_mut::<6>()?;
    for (place, byte) in tail.iter_mut().enumerate() {
        let digit = (sum >> (5 * (5 - place))) & 31;
        *byte = BECH32.get(digit as usize)?.to_ascii_uppercase();
    }
    Some(())
}

/// Header and payload that say what such tokens say; the signature stays.
fn jwt(token: &mut Vec<u8>, below: Below<'_>) -> Option<()> {
    let signature = token.rsplit(|byte| *byte == b'.').next()?.to_vec();
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let subject = letters(12, below);
    let issued = 1_700_000_000 + below(100_000_000);
    let payload = format!(r#"{{"sub":"{subject}","iat":{issued}}}"#);
    *token = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(payload)).into_bytes();
    token.extend_from_slice(&signature);
    Some(())
}

/// JSON of about the length that was there.
fn base64_json(token: &mut Vec<u8>, below: Below<'_>) -> Option<()> {
    const FRAME: usize = r#"{"k":"","n":"agent","id":1}"#.len();
    let start = token.windows(3).position(|window| window == b"eyJ")?;
    let bytes = (token.len() - start).div_ceil(4) * 3;
    let key = letters(bytes.checked_sub(FRAME)?, below);
    token.truncate(start);
    let text = format!(r#"{{"k":"{key}","n":"agent","id":1}}"#);
    token.extend_from_slice(STANDARD_NO_PAD.encode(text).as_bytes());
    Some(())
}

/// The header stands on a line of its own.
fn line_ends(token: &mut Vec<u8>) -> Option<()> {
    const LINE: &[u8] = b"KEY-----";
    const BLOCK: &[u8] = b"BLOCK-----";
    let end = |line: &[u8]| {
        let at = token.windows(line.len()).position(|window| window == line);
        at.map(|at| at + line.len())
    };
    let start = end(LINE).or_else(|| end(BLOCK))?;
    let body = token.get_mut(start..)?;
    *body.first_mut()? = b'\n';
    let proc_type = body.windows(10).position(|window| window == b"Proc-Type:");
    token.drain(start + 1..start + proc_type.unwrap_or(1).max(1));
    Some(())
}

fn xprv(below: Below<'_>) -> Vec<u8> {
    let mut data = XPRV.to_vec();
    data.extend([0; 9]);
    data.extend((0..32).map(|_| u8::try_from(below(256)).unwrap_or(0)));
    data.push(0);
    data.extend((0..32).map(|_| u8::try_from(below(256)).unwrap_or(0)));
    base58check(data)
}

/// The private key of a wallet, as it is imported.
pub(super) fn wallet_key(below: Below<'_>) -> Vec<u8> {
    let mut data = vec![0x80];
    data.extend((0..32).map(|_| u8::try_from(below(256)).unwrap_or(0)));
    if below(2) == 1 {
        data.push(1);
    }
    base58check(data)
}

fn base58check(mut data: Vec<u8>) -> Vec<u8> {
    let once = digest::digest(&digest::SHA256, &data);
    let twice = digest::digest(&digest::SHA256, once.as_ref());
    data.extend(twice.as_ref().iter().take(4));
    base58(&data)
}

/// The first byte is not 0.
fn base58(data: &[u8]) -> Vec<u8> {
    let mut digits: Vec<usize> = Vec::new();
    for byte in data {
        let mut carry = usize::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let letter = |digit: &usize| BASE58.get(*digit).copied();
    digits.iter().rev().filter_map(letter).collect()
}

//! The forms in which a known secret may leave: as it is, and in every common encoding.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::class::Class;
use super::shape::{LONGEST, Shape};

/// A secret shorter than this would be found everywhere.
pub const SHORTEST: usize = 8;
/// A secret so short is too short a run of base64, once encoded, to be decoded; so its base64
/// in base64 is looked for as it is.
const SHORT: usize = 24;
/// One that is shorter is not looked for in lower case.
const FOLDED: usize = 12;
/// Of a longer secret, so many bytes are looked for.
const BYTES_MAX: usize = 256;

/// The shapes of all forms of `secret`; none for one that is shorter than [`SHORTEST`].
#[must_use]
pub fn forms(secret: &[u8]) -> Vec<Shape> {
    let secret = secret.get(..BYTES_MAX).unwrap_or(secret);
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let literal = |text: Vec<u8>| text.into_iter().map(Class::single).collect::<Vec<_>>();
    let mut forms = vec![literal(secret.to_vec())];
    // As in the name of a host. Of one without digits, words would be left.
    if secret.len() >= FOLDED && secret.iter().any(u8::is_ascii_digit) {
        forms.push(literal(secret.to_ascii_lowercase()));
    }
    for offset in 0..3 {
        forms.push(literal(base64(&STANDARD, secret, offset)));
        forms.push(literal(base64(&URL_SAFE, secret, offset)));
    }
    if secret.len() <= SHORT {
        let once = base64(&STANDARD, secret, 0);
        forms.push(literal(base64(&STANDARD, &once, 0)));
    }
    let each = |form: fn(&mut Vec<Class>, u8)| {
        let mut classes = Vec::new();
        for byte in secret {
            form(&mut classes, *byte);
        }
        classes
    };
    forms.push(each(hex));
    forms.push(each(percent));
    forms.push(each(|classes, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            classes.push(Class::single(byte));
        }
        _ => percent(classes, byte),
    }));
    forms.push(each(|classes, byte| json(classes, byte, b"\"\\")));
    forms.push(each(|classes, byte| json(classes, byte, b"\"\\/")));
    // A string in a string, as JSON in JSON is.
    forms.push(each(|classes, byte| match byte {
        b'"' => classes.extend(b"\\\\\\\"".map(Class::single)),
        b'\\' => classes.extend([Class::single(byte); 4]),
        _ => classes.push(Class::single(byte)),
    }));
    forms.push(each(|classes, byte| {
        classes.extend(b"\\u00".map(Class::single));
        hex(classes, byte);
    }));
    forms.push(each(|classes, byte| {
        classes.extend(b"\\x".map(Class::single));
        hex(classes, byte);
    }));
    forms.push(each(|classes, byte| {
        classes.extend([byte, 0].map(Class::single));
    }));
    forms.push(each(|classes, byte| {
        classes.extend([0, byte].map(Class::single));
    }));
    let mut unique: Vec<Vec<Class>> = Vec::new();
    for form in forms {
        if form.len() >= SHORTEST && form.len() <= LONGEST && !unique.contains(&form) {
            unique.push(form);
        }
    }
    unique.into_iter().filter_map(Shape::exact).collect()
}

/// The characters that `secret` alone decides where it stands `offset` bytes after a
/// multiple of three: those at the edges mix with its neighbours.
fn base64(engine: &impl base64::Engine, secret: &[u8], offset: usize) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(secret);
    let text = engine.encode(&padded).into_bytes();
    let mixed = [0, 2, 3].get(offset).copied().unwrap_or(0);
    let whole = padded.len() * 8 / 6;
    text.get(mixed..whole).unwrap_or_default().to_vec()
}

fn hex(classes: &mut Vec<Class>, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        let digit = b"0123456789abcdef".get(usize::from(nibble)).copied();
        let mut class = Class::default();
        if let Some(digit) = digit {
            class.insert(digit);
            class.insert(digit.to_ascii_uppercase());
        }
        classes.push(class);
    }
}

fn percent(classes: &mut Vec<Class>, byte: u8) {
    classes.push(Class::single(b'%'));
    hex(classes, byte);
}

fn json(classes: &mut Vec<Class>, byte: u8, escaped: &[u8]) {
    if escaped.contains(&byte) {
        classes.push(Class::single(b'\\'));
    }
    classes.push(Class::single(byte));
}

//! The forms in which a secret comes back: as it is, and as the usual encoders write it.
//!
//! A server that wants to tell a secret can write it in a way that nobody looks for, and it
//! has the secret anyway. This is about servers that echo what they got: debug pages, error
//! messages, dumps of headers in JSON or HTML. Their encoders are few and known.

use std::fmt::Write;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use zeroize::Zeroizing;

/// The shortest encoded form that is looked for. A shorter one is a few letters of any text;
/// the secret itself is looked for whatever its length.
const SHORTEST: usize = 4;

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD);

/// What encoders of percent-encoding leave alone beside letters and digits, widest first:
/// JavaScript's `encodeURI`, `encodeURIComponent`, a path of RFC 3986, its unreserved set,
/// Python's `quote`, HTML forms, and those that leave only letters and digits.
const UNESCAPED: [&[u8]; 7] = [
    b"-_.!~*'();/?:@&=+$,#",
    b"-_.!~*'()",
    b"-_.~!$&'()*+,;=:@/",
    b"-_.~",
    b"-_.~/",
    b"-_.*",
    b"",
];

/// Every form of `value` once, the value itself among them, in order.
pub(super) fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut plain = Vec::new();
    base64_forms(value, &mut plain);
    plain.push(map(value, |text, byte| {
        text.put(format_args!("{byte:02x}"));
    }));
    plain.push(map(value, |text, byte| {
        text.put(format_args!("{byte:02X}"));
    }));
    let mut all = Vec::new();
    for form in &plain {
        // An encoder may have met another: `+`, `/` and `=` in a query, `\/` in JSON.
        escaped_forms(form, &mut all);
    }
    escaped_forms(value, &mut all);
    all.extend(plain);
    let mut all: Vec<_> = all.into_iter().map(Zeroizing::new).collect();
    all.retain(|form| form.len() >= SHORTEST);
    all.push(Zeroizing::new(value.to_vec()));
    all.sort_unstable_by(|one, other| one.as_slice().cmp(other));
    all.dedup_by(|one, other| one.as_slice() == other.as_slice());
    all
}

/// Base64 of any text around the value: by where it begins in a group of three bytes, the
/// characters that depend on the value alone.
fn base64_forms(value: &[u8], into: &mut Vec<Vec<u8>>) {
    for before in [&b""[..], b"\0", b"\0\0"] {
        let text = Zeroizing::new([before, value].concat());
        // Characters that also hold bits of what stands before or after are left out.
        let first = (before.len() * 8).div_ceil(6);
        let end = text.len() * 8 / 6;
        for engine in [&STANDARD, &URL] {
            let encoded = engine.encode(&*text);
            into.extend(encoded.as_bytes().get(first..end).map(<[u8]>::to_vec));
        }
    }
}

fn escaped_forms(value: &[u8], into: &mut Vec<Vec<u8>>) {
    for unescaped in UNESCAPED {
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || unescaped.contains(&byte);
        into.push(map(value, |text, byte| {
            if kept(byte) {
                text.byte(byte);
            } else {
                text.put(format_args!("%{byte:02X}"));
            }
        }));
        into.push(map(value, |text, byte| {
            if kept(byte) {
                text.byte(byte);
            } else {
                text.put(format_args!("%{byte:02x}"));
            }
        }));
        // Forms write a space as `+`.
        into.push(map(value, |text, byte| match byte {
            b' ' => text.byte(b'+'),
            byte if kept(byte) => text.byte(byte),
            byte => text.put(format_args!("%{byte:02X}")),
        }));
    }
    into.push(map(value, |text, byte| {
        text.put(format_args!("%{byte:02X}"));
    }));
    into.push(map(value, |text, byte| {
        text.put(format_args!("%{byte:02x}"));
    }));
    json_forms(value, into);
    html_forms(value, into);
}

/// RFC 8259 §7, and what encoders escape beyond that: `/`, and what HTML would read.
fn json_forms(value: &[u8], into: &mut Vec<Vec<u8>>) {
    for (short, unicode) in [
        (&b"\"\\"[..], &b""[..]),
        (b"\"\\/", b""),
        (b"\"\\", b"<>&"),
        (b"\"\\", b"<>&'"),
        (b"\\", b"<>&'\""),
        (b"\\", b"<>&'\"+`"),
        (b"\"\\/", b"<>&'"),
        (b"\\/", b"<>&'\""),
    ] {
        into.push(map(value, |text, byte| {
            if short.contains(&byte) {
                text.byte(b'\\');
                text.byte(byte);
            } else if unicode.contains(&byte) {
                text.put(format_args!("\\u{byte:04x}"));
            } else {
                text.byte(byte);
            }
        }));
        into.push(map(value, |text, byte| {
            if short.contains(&byte) {
                text.byte(b'\\');
                text.byte(byte);
            } else if unicode.contains(&byte) {
                text.put(format_args!("\\u{byte:04X}"));
            } else {
                text.byte(byte);
            }
        }));
    }
    into.push(map(value, |text, byte| {
        text.put(format_args!("\\u{byte:04x}"));
    }));
    into.push(map(value, |text, byte| {
        text.put(format_args!("\\u{byte:04X}"));
    }));
    into.push(map(value, |text, byte| {
        text.put(format_args!("\\x{byte:02x}"));
    }));
    into.push(map(value, |text, byte| {
        text.put(format_args!("\\x{byte:02X}"));
    }));
}

fn html_forms(value: &[u8], into: &mut Vec<Vec<u8>>) {
    const NAMED: &[(u8, &str)] = &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;")];
    let styles: [&[(u8, &str)]; 7] = [
        &[],
        &[(b'"', "&quot;")],
        &[(b'"', "&quot;"), (b'\'', "&#39;")],
        &[(b'"', "&quot;"), (b'\'', "&#x27;")],
        &[(b'"', "&quot;"), (b'\'', "&#039;")],
        &[(b'"', "&quot;"), (b'\'', "&apos;")],
        &[(b'"', "&#34;"), (b'\'', "&#39;")],
    ];
    for style in styles {
        into.push(entities(value, &[NAMED, style]));
    }
    // Templates that also escape what ends attributes.
    let wide: &[(u8, &str)] = &[
        (b'"', "&quot;"),
        (b'\'', "&#39;"),
        (b'/', "&#x2F;"),
        (b'`', "&#x60;"),
        (b'=', "&#x3D;"),
    ];
    into.push(entities(value, &[NAMED, wide]));
    into.push(map(value, |text, byte| text.put(format_args!("&#{byte};"))));
    into.push(map(value, |text, byte| {
        text.put(format_args!("&#x{byte:x};"));
    }));
    into.push(map(value, |text, byte| {
        text.put(format_args!("&#x{byte:X};"));
    }));
}

fn entities(value: &[u8], tables: &[&[(u8, &str)]]) -> Vec<u8> {
    map(value, |text, byte| {
        let mut rows = tables.iter().flat_map(|table| table.iter());
        match rows.find(|(escaped, _)| *escaped == byte) {
            Some((_, entity)) => text.put(format_args!("{entity}")),
            None => text.byte(byte),
        }
    })
}

fn map(value: &[u8], mut write: impl FnMut(&mut Text, u8)) -> Vec<u8> {
    let mut text = Text(Vec::with_capacity(value.len()));
    for &byte in value {
        write(&mut text, byte);
    }
    text.0
}

/// Bytes that can be formatted into; secrets need not be UTF-8.
struct Text(Vec<u8>);

impl Text {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a vector does not fail.
        let _ = self.write_fmt(text);
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &[u8], form: &str) -> bool {
        forms(value)
            .iter()
            .any(|known| known.as_slice() == form.as_bytes())
    }

    #[test]
    fn base64_is_found_wherever_the_secret_stands_in_it() {
        let secret = b"sk-live/4f+9?x~";
        let all = forms(secret);
        for before in 0..7 {
            for after in 0..4 {
                let text = [&b"Aladdin"[..before], secret, &b":zzz"[..after]].concat();
                for encoded in [STANDARD.encode(&text), URL.encode(&text)] {
                    let found = all.iter().any(|form| {
                        form.len() > 16
                            && encoded
                                .as_bytes()
                                .windows(form.len())
                                .any(|w| w == form.as_slice())
                    });
                    assert!(found, "{before} {after}");
                }
            }
        }
    }

    #[test]
    fn escapes() {
        let secret = br#"a b/"<&'\+="#;
        for form in [
            r#"a b/"<&'\+="#,
            "a%20b%2F%22%3C%26%27%5C%2B%3D",
            "a%20b%2f%22%3c%26%27%5c%2b%3d",
            "a+b%2F%22%3C%26%27%5C%2B%3D",
            "a%20b/%22%3C&'%5C+=",
            r#"a b/\"<&'\\+="#,
            r#"a b\/\"<&'\\+="#,
            r#"a b/\"\u003c\u0026'\\+="#,
            "a b/&quot;&lt;&amp;&#39;\\+=",
            "a b/&#34;&lt;&amp;&#39;\\+=",
            "6120622f223c26275c2b3d",
            "6120622F223C26275C2B3D",
        ] {
            assert!(has(secret, form), "{form}");
        }
        // In a query, base64's own characters are escaped once more.
        assert!(
            has(b"\xfb\xff\xfe?>", "%2B%2F%2F%2BPz4") || has(b"\xfb\xff\xfe?>", "%2B%2F%2F%2BPz")
        );
    }

    #[test]
    fn of_a_plain_token_there_are_few_forms() {
        let all = forms(b"sk0live0abcdefghijklmnop0123456789");
        assert!(all.len() < 64, "{}", all.len());
    }
}

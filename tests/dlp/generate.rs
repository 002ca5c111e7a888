//! Seeded material: tokens, the contexts in which they stand, the encodings in which they
//! leave, and ways to cut what leaves.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// xorshift64: the same numbers at every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 32) % u64::from(bound)).unwrap()
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.below(u32::try_from(length).unwrap()) as usize
    }

    /// `text` in one to four pieces.
    pub fn cut<'a>(&mut self, text: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut rest = text;
        for _ in 0..self.below(4) {
            let (piece, after) = rest.split_at(self.index(rest.len() + 1));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

type Named<T> = (&'static str, T);

/// The same token as twelve kinds of content hold it; `random` says what stands around.
pub fn contexts(token: &str, random: &mut Random) -> Vec<Named<String>> {
    const WORDS: [&str; 6] = ["note", "x", "data", "value-1", "k_2", "items"];
    let line = token.replace('\n', "\\n");
    let word = WORDS[random.index(WORDS.len())];
    let more = "lorem ipsum, dolor. ".repeat(random.index(4));
    vec![
        (
            "json",
            format!(
                "{{\"a\": \"{more}\", \"{word}\": {}, \"b\": []}}",
                json(token)
            ),
        ),
        (
            "escaped json",
            json(&format!("{{\"{word}\":\"{more}\",\"t\":{}}}", json(token))),
        ),
        ("form", format!("a=1&{word}={line}&b=2")),
        ("query", format!("/search?q={word}&k={line}")),
        ("header", format!("x-{word}: Bearer {line}\r\nhost: a\r\n")),
        (
            "yaml",
            format!("{more}\nsteps:\n  - {word}: {line}\n  - x: y\n"),
        ),
        (
            "env file",
            format!("export A='{more}'\nTOKEN={line}\nB=2\n"),
        ),
        ("source", format!("let {word} = \"{line}\"; // {more}\n")),
        (
            "multipart",
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"{word}\"\r\n\r\n{token}\r\n--x--\r\n"
            ),
        ),
        ("markdown", format!("{more}Use `{line}` as the **key**.\n")),
        ("url path", format!("https://{word}.test/v1/{line}/x")),
        ("xml", format!("<{word}><key>{line}</key>{more}</{word}>")),
    ]
}

/// What `data` is in each encoding.
pub fn encodings(data: &[u8]) -> Vec<Named<Vec<u8>>> {
    let each = |form: fn(u8) -> Vec<u8>| data.iter().copied().flat_map(form).collect::<Vec<u8>>();
    let base64 = STANDARD.encode(data).into_bytes();
    let hex = each(|byte| format!("{byte:02x}").into_bytes());
    vec![
        ("base64url", URL_SAFE_NO_PAD.encode(data).into_bytes()),
        ("base64 of base64", STANDARD.encode(&base64).into_bytes()),
        ("base64 of hex", STANDARD.encode(&hex).into_bytes()),
        (
            "hex of base64",
            base64
                .iter()
                .flat_map(|byte| format!("{byte:02X}").into_bytes())
                .collect(),
        ),
        ("base64", base64),
        ("hex", hex),
        ("HEX", each(|byte| format!("{byte:02X}").into_bytes())),
        ("percent", each(|byte| format!("%{byte:02X}").into_bytes())),
        (
            "percent as needed",
            each(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => vec![byte],
                _ => format!("%{byte:02x}").into_bytes(),
            }),
        ),
        (
            "unicode",
            each(|byte| format!("\\u00{byte:02x}").into_bytes()),
        ),
        (
            "javascript",
            each(|byte| format!("\\x{byte:02x}").into_bytes()),
        ),
        ("html", each(|byte| format!("&#{byte};").into_bytes())),
        (
            "html in hex",
            each(|byte| format!("&#x{byte:X};").into_bytes()),
        ),
        ("utf-16le", each(|byte| vec![byte, 0])),
        ("utf-16be", each(|byte| vec![0, byte])),
    ]
}

/// What is encoded, as a value in JSON.
pub fn quoted(data: &[u8]) -> Vec<u8> {
    [b"{\"a\":\"", data, b"\"}"].concat()
}

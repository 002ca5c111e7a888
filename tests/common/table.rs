//! Tables of hostile bytes (`tests/hostile/*.txt`): a line is what is expected, a bar, and bytes
//! with the escapes `\r`, `\n`, `\t`, `\\` and `\xNN`. Lines that begin with `#` are comments.

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub expect: String,
    pub bytes: Vec<u8>,
    /// The line as it is written, for messages.
    pub line: &'static str,
}

/// Every row of a table.
pub fn rows(text: &'static str) -> Vec<Row> {
    let lines = text.lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (expect, bytes) = line
                .split_once(" | ")
                .unwrap_or_else(|| panic!("no bar in {line:?}"));
            Row {
                expect: String::from_utf8(unescaped(expect)).unwrap(),
                bytes: unescaped(bytes),
                line,
            }
        })
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, after) = rest.split_first().expect("something after a backslash");
        rest = after;
        match escape {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                let digits = std::str::from_utf8(digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            other => panic!("\\{} in {text:?}", char::from(*other)),
        }
    }
    bytes
}

/// `bytes` with every `{word}` replaced.
pub fn filled(bytes: &[u8], word: &str, with: &[u8]) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = bytes;
    while let Some(at) = super::wire::find(rest, word.as_bytes()) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(with);
        rest = &rest[at + word.len()..];
    }
    filled.extend_from_slice(rest);
    filled
}

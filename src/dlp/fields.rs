//! Secrets that their field tells: `password`, `api_key`, `clientSecret` and the like, in
//! JSON, forms, queries, YAML, settings and source, where the value looks as if chance made it.
//!
//! The names have anchors of their own. Around one, the name is read both ways, then what may
//! stand between a name and a value, then the value: at most 400 bytes in all, and most of
//! the time a handful.

use super::anchor::ANCHOR;
use super::class::Class;
use super::random::looks_random;
use super::readers::Read;

/// Most bytes of a name on each side of its anchor.
const NAME_MAX: usize = 40;
/// Bytes before an anchor that may be needed.
pub(super) const BEFORE: usize = NAME_MAX + 2;
/// The shortest and longest values.
const VALUE_MIN: usize = 16;
const VALUE_MAX: usize = 200;
/// The shortest of a password with letters of both cases, digits and more.
const PASSWORD_MIN: usize = 12;
/// Most spaces in a row between name and value, and characters that escape a quote.
const SPACES: usize = 12;
const ESCAPES: usize = 3;
/// What is between a name and its value is read within so many bytes.
const FAR: usize = 128;
/// A value of which less is there is not held back.
const TELLING: usize = 8;

/// How a value is written, and so what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Password,
    Token,
    Key,
}

/// What is searched for: four neighbouring bytes of every name.
#[must_use]
pub(super) fn anchors() -> Vec<[Class; ANCHOR]> {
    let either = |byte: u8| Class::single(byte).union(&Class::single(byte.to_ascii_uppercase()));
    let word = |word: &[u8; ANCHOR]| word.map(either);
    let lower = |mut class: Class| {
        class.insert_range(b'a', b'z');
        class.insert_range(b'0', b'9');
        class
    };
    let mut letters = lower(Class::default());
    letters.insert_range(b'A', b'Z');
    let [key, e, y] = [b'K', b'e', b'y'].map(Class::single);
    let end = Class::of(b"=:\"'\\ <>]");
    vec![
        [either(b's'), either(b's'), either(b'w'), Class::of(b"oOdD")],
        word(b"assp"),
        word(b"secr"),
        word(b"oken"),
        word(b"apik"),
        [letters, Class::of(b"_-"), either(b'k'), either(b'e')],
        [lower(Class::default()), key, e, y],
        [either(b'p'), either(b'w'), either(b'd'), end],
    ]
}

/// Reads what stands around the anchor at `at`. `ended`: no byte follows the window.
pub(super) fn read<'a>(
    anchors: &(impl Iterator<Item = &'a [Class; ANCHOR]> + Clone),
    window: &[u8],
    at: usize,
    ended: bool,
) -> Read {
    let Some((start, end)) = name(window, at) else {
        return Read::Nothing;
    };
    let name = window.get(start..end).unwrap_or_default();
    // What the name of a resource says of its kind: `arn:…:123456789012:secret:name`.
    let before = window.get(start.saturating_sub(2)..start);
    if matches!(before, Some([b'0'..=b'9', b':'])) {
        return Read::Nothing;
    }
    let open = |hold| {
        let start = start.saturating_sub(1);
        if ended {
            Read::Nothing
        } else {
            Read::Open { start, hold }
        }
    };
    if end == window.len() {
        return open(None);
    }
    let Some(sort) = sort(name) else {
        return Read::Nothing;
    };
    if !is_last(anchors, window, at, end) {
        return Read::Nothing;
    }
    // With so few bytes behind the name, more may be read in another way.
    let nothing = || {
        if window.len() - end < FAR {
            open(None)
        } else {
            Read::Nothing
        }
    };
    let mut reader = Reader { window, at: end };
    let quote = match reader.between() {
        Some(Between::Value(quote)) => quote,
        Some(Between::Open) => return open(None),
        None => return nothing(),
    };
    let from = reader.at;
    let value = reader.value(sort, quote);
    let to = from + value.len();
    let rest = window.get(to..).unwrap_or_default();
    if value.len() > VALUE_MAX {
        return Read::Nothing;
    }
    match rest.first() {
        None if !ended => return open((value.len() >= TELLING).then_some(from)),
        Some(next) if !ends(*next, quote) => return nothing(),
        Some(_) | None => {}
    }
    if is_secret(value, sort) {
        return Read::Found { from, to };
    }
    nothing()
}

/// Where the name around an anchor begins and ends.
fn name(window: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = window.get(at.saturating_sub(NAME_MAX + 1)..at)?;
    let left = before
        .iter()
        .rev()
        .take_while(|byte| is_name(**byte))
        .count();
    let right = window.get(at..)?.iter().take(NAME_MAX + 1);
    let right = right.take_while(|byte| is_name(**byte)).count();
    if left > NAME_MAX || right > NAME_MAX {
        return None;
    }
    let mut start = at - left;
    let escaped = start.checked_sub(1).and_then(|before| window.get(before)) == Some(&b'\\');
    if escaped && left > 0 && matches!(window.get(start), Some(b'n' | b'r' | b't')) {
        start += 1;
    }
    Some((start, at + right))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether no anchor follows in the name: one field is told once.
fn is_last<'a>(
    anchors: &(impl Iterator<Item = &'a [Class; ANCHOR]> + Clone),
    window: &[u8],
    at: usize,
    end: usize,
) -> bool {
    let rest = window
        .get(at + 1..(end + 1).min(window.len()))
        .unwrap_or_default();
    let is_anchor = |bytes: &[u8]| {
        let fits = |anchor: &[Class; ANCHOR]| {
            let mut pairs = anchor.iter().zip(bytes);
            pairs.all(|(class, byte)| class.contains(*byte))
        };
        anchors.clone().any(fits)
    };
    !rest.windows(ANCHOR).any(is_anchor)
}

/// Which secret a field of this name holds.
fn sort(name: &[u8]) -> Option<Sort> {
    let mut words = words(name);
    let aside = |word: &Vec<u8>| {
        let number = word
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'v');
        number || ASIDE.contains(&word.as_slice())
    };
    while words.last().is_some_and(aside) {
        words.pop();
    }
    if words.iter().any(|word| NOT.contains(&word.as_slice())) {
        return None;
    }
    let last = words.pop()?;
    let before = words.last().map(Vec::as_slice).unwrap_or_default();
    match last.as_slice() {
        b"password" | b"passwd" | b"passphrase" | b"pwd" => Some(Sort::Password),
        b"secret" | b"apikey" | b"secretkey" | b"accesskey" | b"privatekey" | b"authkey"
        | b"clientsecret" => Some(Sort::Key),
        b"key" if KEYS.contains(&before) => Some(Sort::Key),
        b"token" | b"accesstoken" | b"authtoken" | b"apitoken" => Some(Sort::Token),
        _ => None,
    }
}

/// What may follow the word that tells.
const ASIDE: [&[u8]; 8] = [
    b"value",
    b"prod",
    b"production",
    b"live",
    b"dev",
    b"staging",
    b"base64",
    b"default",
];
/// What makes a name that of something else.
const NOT: [&[u8]; 24] = [
    b"public",
    b"csrf",
    b"xsrf",
    b"next",
    b"page",
    b"continuation",
    b"cancel",
    b"cancellation",
    b"sync",
    b"stop",
    b"cursor",
    b"pagination",
    b"resume",
    b"marker",
    b"pagetoken",
    b"nextpage",
    b"hash",
    b"hashed",
    b"digest",
    b"idempotency",
    b"push",
    b"device",
    b"pub",
    b"id",
];
/// Before `key`, what makes it one that opens something.
const KEYS: [&[u8]; 26] = [
    b"api",
    b"access",
    b"private",
    b"secret",
    b"auth",
    b"encryption",
    b"encrypt",
    b"signing",
    b"sign",
    b"master",
    b"account",
    b"app",
    b"application",
    b"client",
    b"service",
    b"storage",
    b"shared",
    b"admin",
    b"deploy",
    b"hmac",
    b"jwt",
    b"subscription",
    b"consumer",
    b"webhook",
    b"aes",
    b"server",
];

/// The words of a name, in lower case.
fn words(name: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut last = 0_u8;
    for byte in name {
        let camel = byte.is_ascii_uppercase() && last.is_ascii_lowercase();
        let separator = matches!(byte, b'_' | b'-');
        if camel || separator {
            words.push(Vec::new());
        }
        if !separator && let Some(word) = words.last_mut() {
            word.push(byte.to_ascii_lowercase());
        }
        last = *byte;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What stands between a name and its value.
enum Between {
    /// A value follows, in these quotes.
    Value(Option<u8>),
    /// More bytes tell.
    Open,
}

struct Reader<'a> {
    window: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.window.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, wanted: &[u8], most: usize) -> usize {
        let rest = self.rest().iter().take(most);
        let count = rest.take_while(|byte| wanted.contains(byte)).count();
        self.at += count;
        count
    }

    /// A quote, perhaps escaped.
    fn quote(&mut self) -> Option<u8> {
        let start = self.at;
        self.skip(b"\\", ESCAPES);
        let quote = self.rest().first().copied();
        match quote {
            Some(b'"' | b'\'' | b'`') => self.at += 1,
            _ => self.at = start,
        }
        quote.filter(|_| self.at > start)
    }

    fn take(&mut self, text: &[u8]) -> bool {
        let there = self.rest().starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    /// Reads up to the value; `None` if none follows.
    fn between(&mut self) -> Option<Between> {
        let quoted = self.quote().is_some();
        self.skip(b" \t", SPACES);
        self.skip(b"])", 1);
        self.skip(b" \t", SPACES);
        if self.rest().is_empty() {
            return Some(Between::Open);
        }
        let multipart = quoted && (self.take(b"\r\n\r\n") || self.take(b"\\r\\n\\r\\n"));
        if multipart || self.take(b">") {
            // The value follows at once.
        } else if quoted && self.take(b",") || self.skip(b"\r\n", 2) > 0 {
            self.skip(b" \t", SPACES);
            self.quote();
            if self.rest().len() < 6 {
                return Some(Between::Open);
            }
            if !self.take(b"value") {
                return None;
            }
            self.quote();
            self.skip(b" \t", SPACES);
            if !self.take(b":") {
                return None;
            }
        } else if !self.assigned() {
            return None;
        }
        self.skip(b" \t", SPACES);
        let prefix = self.rest();
        if let [b'b' | b'r' | b'f' | b'@', b'"' | b'\'', ..] = prefix {
            self.at += 1;
        }
        if self.rest().len() < 2 {
            return Some(Between::Open);
        }
        Some(Between::Value(self.quote()))
    }

    /// `:`, `=`, `:=`, `=>`, and a type before `=` as in `key: &str = `.
    fn assigned(&mut self) -> bool {
        match self.rest() {
            [b':', b'=', ..] | [b'=', b'>', ..] => self.at += 2,
            [b'=', b'=', ..] => return false,
            [b'=', ..] => self.at += 1,
            [b':', rest @ ..] => {
                self.at += 1;
                let kind = |byte: &&u8| byte.is_ascii_alphabetic() || b" &'".contains(byte);
                let length = rest.iter().take(NAME_MAX).take_while(kind).count();
                let kind = rest.get(..length).unwrap_or_default();
                let follows = rest.get(length) == Some(&b'=');
                if follows && kind.first() == Some(&b' ') {
                    self.at += length + 1;
                }
            }
            _ => return false,
        }
        true
    }

    /// The bytes that may be a value, up to one more than the longest.
    fn value(&self, sort: Sort, quote: Option<u8>) -> &'a [u8] {
        let rest = self.rest();
        let rest = rest.get(..=VALUE_MAX).unwrap_or(rest);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_.~-".contains(byte);
        let special = sort == Sort::Password && quote.is_some();
        let wanted = |byte: &&u8| plain(byte) || special && b"!@#%^&*?:;,|=".contains(byte);
        let mut length = rest.iter().take_while(wanted).count();
        if !special {
            let padding = rest.get(length..).unwrap_or_default().iter().take(3);
            length += padding.take_while(|byte| **byte == b'=').count();
        }
        rest.get(..length).unwrap_or_default()
    }
}

/// Whether a value may end before `next`.
fn ends(next: u8, quote: Option<u8>) -> bool {
    match quote {
        Some(quote) => next == quote || next == b'\\',
        None => b" \t\r\n\"'`&,;)}]<\\#|".contains(&next),
    }
}

fn is_secret(value: &[u8], sort: Sort) -> bool {
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    let mixed =
        has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let least = match sort {
        Sort::Password if mixed => PASSWORD_MIN,
        Sort::Password | Sort::Token | Sort::Key => VALUE_MIN,
    };
    // A token of its own kind.
    let known = value.starts_with(b"eyJ");
    value.len() >= least && !known && looks_random(value, sort == Sort::Key)
}

#[cfg(test)]
mod tests {
    use super::super::stream::{Stream, scan};
    use super::super::{Engine, Finding, Kind};
    use super::*;

    const VALUE: &str = "q7Rk2vX9mT4bL8wZ1nC6";

    fn engine() -> Engine {
        Engine::looking_for([(Kind::SecretField, 0)])
    }

    fn found(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        scan(&engine(), text.as_bytes(), &mut |_, data| {
            all.push(String::from_utf8(data.to_vec()).unwrap());
        });
        all
    }

    /// How many are found of what comes in pieces of so many bytes.
    fn pieces(text: &str, size: usize) -> usize {
        let engine = engine();
        let mut all = std::collections::BTreeSet::new();
        let mut report = |finding: Finding, _: &[u8]| {
            all.insert(finding.start);
        };
        let mut stream = Stream::new();
        for piece in text.as_bytes().chunks(size) {
            stream.push(&engine, piece, &mut report);
        }
        stream.finish(&engine, &mut report);
        all.len()
    }

    #[test]
    fn values_are_found_in_every_way_to_write_a_field() {
        for text in [
            "{\"password\":\"VALUE\"}",
            "{\"client_secret\": \"VALUE\", \"a\": 1}",
            "\"{\\\"apiKey\\\":\\\"VALUE\\\"}\"",
            "{\\\\\\\"api_key\\\\\\\": \\\\\\\"VALUE\\\\\\\"}",
            "a=1&api-key=VALUE&b=2",
            "/v1?access_token=VALUE",
            "x-api-key: VALUE\r\n",
            "db:\n  password: VALUE\n",
            "export AWS_SECRET_ACCESS_KEY=VALUE\n",
            "SECRET_KEY='VALUE'",
            "DB_PWD=VALUE",
            "let api_key: &str = \"VALUE\";",
            "const clientSecret = `VALUE`;",
            "os.environ[\"API_TOKEN\"] = \"VALUE\"",
            "password => \"VALUE\",",
            "token := \"VALUE\"",
            "<password>VALUE</password>",
            "name=\"password\"\r\n\r\nVALUE\r\n--x",
            "{\"name\": \"API_KEY\", \"value\": \"VALUE\"}",
            "- name: API_KEY\n  value: VALUE\n",
            "line\\npassword=VALUE\\nmore",
            "SECRET_KEY = b'VALUE'",
            "auth_token_v2=VALUE",
            "\"token\"=VALUE;",
        ] {
            for before in ["", " ", "ab ", "abc "] {
                let text = format!("{before}{}", text.replace("VALUE", VALUE));
                assert_eq!(found(&text), [VALUE], "{text}");
                for size in [1, 2, 3, 7] {
                    assert_eq!(pieces(&text, size), 1, "{text} in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_none() {
        for text in [
            "password: hunter2",
            "password=correcthorsebatterystaple",
            "password = getPasswordFromVault();",
            "api_key: ${API_KEY}",
            "api_key=your_api_key_here_1234567890",
            "token: \"550e8400-e29b-41d4-a716-446655440000\"",
            "\"integrity\": \"q7Rk2vX9mT4bL8wZ1nC6\"",
            "secret_name = \"q7Rk2vX9mT4bL8wZ1nC6\"",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:snowflake-q7Rk2v",
            "next_page_token=q7Rk2vX9mT4bL8wZ1nC6",
            "csrf_token=q7Rk2vX9mT4bL8wZ1nC6",
            "public_key=q7Rk2vX9mT4bL8wZ1nC6",
            "primary_key=q7Rk2vX9mT4bL8wZ1nC6",
            "the token q7Rk2vX9mT4bL8wZ1nC6",
            "token == q7Rk2vX9mT4bL8wZ1nC6",
            "token = q7Rk2vX9mT4bL8wZ1nC6(x)",
            "password_file: /etc/portreeve/secrets/db",
            "secret: /run/credentials/portreeve.service/db1",
            "tokens: q7Rk2vX9mT4bL8wZ1nC6",
            "token: 0f3a9c1e7b5d2846a0c4e8f1b3d5970e",
            "tokenizer=q7Rk2vX9mT4bL8wZ1nC6",
            "{\"password\": \"\", \"x\": \"q7Rk2vX9mT4bL8wZ1nC6\"}",
        ] {
            assert_eq!(found(text), [] as [&str; 0], "{text}");
        }
    }

    #[test]
    fn a_cut_anywhere_finds_the_same_and_holds_the_value() {
        let engine = engine();
        for text in [
            format!("{{\"note\":1,\"client_secret\": \"{VALUE}\"}}"),
            format!("a\\napi_key={VALUE}&b"),
            format!("password: {VALUE}"),
            format!("- name: AUTH_TOKEN\n  value: {VALUE}\n"),
        ] {
            let value = text.find(VALUE).unwrap();
            for cut in 0..text.len() {
                let (one, other) = text.as_bytes().split_at(cut);
                let mut all = Vec::new();
                let mut report = |finding: Finding, _: &[u8]| all.push(finding.start);
                let mut stream = Stream::new();
                stream.push(&engine, one, &mut report);
                let gone = cut - stream.held();
                assert!(
                    gone < value + TELLING || cut >= value + VALUE.len(),
                    "{text} {cut}"
                );
                stream.push(&engine, other, &mut report);
                stream.finish(&engine, &mut report);
                assert_eq!(all, [value as u64], "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn names_alone_are_not_held() {
        let engine = engine();
        let mut stream = Stream::new();
        for text in ["the token", " and a password", ": no, a secret", "=", "x\n"] {
            stream.push(&engine, text.as_bytes(), &mut |_, _| panic!("{text}"));
            assert_eq!(stream.held(), 0, "{text}");
        }
    }

    #[test]
    fn floods_of_names_are_read_once() {
        for unit in [
            "token=",
            "token:",
            "secret",
            "api_key=a",
            "password \"",
            "pwd=",
        ] {
            assert_eq!(found(&unit.repeat(20_000)), [] as [&str; 0]);
        }
    }
}

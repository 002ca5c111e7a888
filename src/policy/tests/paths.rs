//! Targets and patterns.

use proptest::prelude::*;

use crate::policy::path::{PathPattern, PatternError, Target, TargetError};

fn matches(pattern: &str, target: &str) -> bool {
    PathPattern::parse(pattern)
        .unwrap()
        .matches(&Target::parse(target).unwrap())
}

fn matches_any_reading(pattern: &str, target: &str) -> bool {
    PathPattern::parse(pattern)
        .unwrap()
        .matches_any_reading(&Target::parse(target).unwrap())
}

#[test]
fn i7_accepted_targets_stay_as_sent() {
    for raw in [
        "/",
        "*",
        "/a/b/",
        "/a?",
        "/?a=b?c/../d",
        "/%41%7e/caf%C3%A9/a%20b/100%25/%2541/50%25%20off",
        "/a%2Fb/%2f",
        "/a;v=1/b;x,y=(z)!$&'*+@:",
        "/.../.a/a./..a/a..b/%2Ehidden",
        "/?q=[\\]^`{|}&r=%00%2e%2e%FF'",
        "/sites/https:%2F%2Fexample.com%2F/x",
    ] {
        let target = Target::parse(raw).unwrap();
        assert_eq!(target.as_str(), raw);
        let (path, query) = raw
            .split_once('?')
            .map_or((raw, None), |(p, q)| (p, Some(q)));
        assert_eq!((target.path(), target.query()), (path, query));
        // What carries it further must not change it either.
        let carried: http::uri::PathAndQuery = raw.parse().unwrap();
        assert_eq!(carried.as_str(), raw);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn targets_that_servers_read_differently_are_refused() {
    use TargetError::*;
    for (raw, error) in [
        ("", NotAbsolute),
        ("a", NotAbsolute),
        ("**", NotAbsolute),
        ("?a", NotAbsolute),
        ("*?a", NotAbsolute),
        ("http://good.test/", NotAbsolute),
        ("good.test:443", NotAbsolute),
        ("/a#b", Fragment),
        ("/a?b#c", Fragment),
        ("/a\tb", Control),
        ("/a\0", Control),
        ("/a\x7f", Control),
        ("/a?\r\n", Control),
        ("/a%00", Control),
        ("/a%0d%0aX:", Control),
        ("/a%7F", Control),
        ("/a%C2%85", Control),
        ("/a b", BadCharacter),
        ("/a\u{e9}", BadCharacter),
        ("/a\"", BadCharacter),
        ("/a<b>", BadCharacter),
        ("/a{b}", BadCharacter),
        ("/a|b", BadCharacter),
        ("/a[b]", BadCharacter),
        ("/a^`", BadCharacter),
        ("/?a b", BadCharacter),
        ("/?a<b", BadCharacter),
        ("/?a=\"b\"", BadCharacter),
        ("/?a\u{e9}", BadCharacter),
        ("/a%", BadEncoding),
        ("/a%2", BadEncoding),
        ("/a%zz", BadEncoding),
        ("/?a=100%", BadEncoding),
        ("/?a=%u0041", BadEncoding),
        ("/a\\b", Backslash),
        ("/a%5Cb", Backslash),
        ("/..%5cb", Backslash),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/;x/a", EmptySegment),
        ("/a/;x", EmptySegment),
        ("/a/%3Bx", EmptySegment),
        ("/a/%253Bx/b", EmptySegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/%2e%2E/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a/%2E/", DotSegment),
        ("/a/..;/b", DotSegment),
        ("/a/..;x=1/b", DotSegment),
        ("/a/.%2e;x", DotSegment),
        ("/a/..%3Bx", DotSegment),
        ("/a/..%253Bx", DotSegment),
        ("/a/..%2Fb", DotSegment),
        ("/a%2F..%2fb", DotSegment),
        ("/a%2F%2e%2e;x%2fb", DotSegment),
        ("/a/%252e%252e/b", DoubleEncoding),
        ("/a/.%252e/b", DoubleEncoding),
        ("/a/%25%32%65/b", DoubleEncoding),
        ("/a%252Fb", DoubleEncoding),
        ("/a%255cb", DoubleEncoding),
        ("/a%2500", DoubleEncoding),
        ("/a%250a", DoubleEncoding),
        ("/a%25C2%2585", DoubleEncoding),
        ("/a%25C0%25AE", DoubleEncoding),
        ("/a%25252e", DoubleEncoding),
        ("/a%2525252525252541", DoubleEncoding),
        ("/a%C0%AE", NotUtf8),
        ("/a%c0%af", NotUtf8),
        ("/a%E0%80%AF", NotUtf8),
        ("/a%ED%A0%80", NotUtf8),
        ("/a%FF", NotUtf8),
    ] {
        assert_eq!(Target::parse(raw).map(|_| ()), Err(error), "{raw:?}");
    }
}

/// Peeling layer by layer must not cost the square of the length.
#[test]
fn nested_encoding_is_given_up_early() {
    let raw = format!("/%{}41", "25".repeat(30_000));
    assert_eq!(Target::parse(&raw), Err(TargetError::DoubleEncoding));
}

#[test]
fn patterns_mean_what_they_say() {
    for (pattern, target, expected) in [
        ("/", "/", true),
        ("/", "/a", false),
        ("/a", "/a", true),
        ("/a", "/a?b=c", true),
        ("/a", "/a/", false),
        ("/a", "/A", false),
        ("/a/", "/a/", true),
        ("/a/", "/a", false),
        ("/a", "/%61", true),
        ("/gr\u{f6}\u{df}e", "/gr%C3%B6%c3%9fe", true),
        ("/gr%C3%B6%C3%9Fe", "/gr%C3%B6%c3%9fe", true),
        ("/a b", "/a%20b", true),
        ("/a b", "/a+b", false),
        ("/100%25", "/100%25", true),
        ("/%2A", "/*", true),
        ("/%2A", "/a", false),
        ("/*", "/a", true),
        ("/*", "/", false),
        ("/*", "/a/", false),
        ("/*", "/a/b", false),
        ("/*/b", "/a/b", true),
        ("/*/", "/a/", true),
        ("/a/*", "/a/", false),
        ("/**", "/", true),
        ("/**", "/a/b/", true),
        ("/**", "*", true),
        ("/*", "*", false),
        ("/a/**", "/a", true),
        ("/a/**", "/a/", true),
        ("/a/**", "/a/b/c", true),
        ("/a/**", "/ab", false),
        ("/a/**", "/", false),
        ("/a/*/**", "/a/b", true),
        ("/a/*/**", "/a", false),
        ("/a/*/**", "/a/", false),
        ("/a", "/a;x", false),
        ("/a;x", "/a;x", true),
        ("/p/*/r", "/p/a%2Fb/r", true),
        ("/p/a%2Fb/r", "/p/a%2fb/r", true),
        ("/p/a/b/r", "/p/a%2Fb/r", false),
        ("/%2541", "/A", false),
    ] {
        assert_eq!(matches(pattern, target), expected, "{pattern} on {target}");
    }
}

#[test]
fn deny_patterns_match_by_any_reading() {
    for (pattern, target, expected) in [
        ("/admin", "/admin;x", true),
        ("/admin/**", "/admin;x=1/y", true),
        ("/admin/**", "/%61dmin%3Bx/y", true),
        ("/admin/**", "/administrator", false),
        ("/admin/y", "/admin;x/y;z;w", true),
        ("/admin/*", "/admin%2Fy", true),
        ("/admin/**", "/x%2Fadmin", false),
        ("/x/admin", "/x%2F%2Fadmin", true),
        ("/admin", "/%2Fadmin", true),
        ("/p/*/secrets", "/p/a%2Fb/secrets", true),
        ("/p/a/secrets", "/p%2Fa;x%2Fsecrets", true),
        ("/admin", "/%2561dmin", true),
        ("/admin", "/%252561dmin", true),
        ("/x/admin", "/x%2F%2561dmin", true),
        ("/admin", "/admin/", false),
        ("/**", "*", true),
    ] {
        assert_eq!(
            matches_any_reading(pattern, target),
            expected,
            "{pattern} on {target}"
        );
    }
}

#[test]
fn patterns_that_mean_nothing_are_errors() {
    use PatternError::*;
    for (text, error) in [
        ("", NotAbsolute),
        ("a", NotAbsolute),
        ("*", NotAbsolute),
        ("**", NotAbsolute),
        ("https://good.test/a", NotAbsolute),
        ("/v*", PartialWildcard),
        ("/*.git/x", PartialWildcard),
        ("/a**", PartialWildcard),
        ("/***", PartialWildcard),
        ("/a/***", PartialWildcard),
        ("/**/a", InnerRest),
        ("/a/**/", InnerRest),
        ("/**/**", InnerRest),
        ("/a?b=c", QueryOrFragment),
        ("/a#b", QueryOrFragment),
        ("/100%", BadEncoding),
        ("/a/../b", NeverMatches(TargetError::DotSegment)),
        ("/a/%2e/b", NeverMatches(TargetError::DotSegment)),
        ("/a/..;x", NeverMatches(TargetError::DotSegment)),
        ("//a", NeverMatches(TargetError::EmptySegment)),
        ("//**", NeverMatches(TargetError::EmptySegment)),
        ("/a//**", NeverMatches(TargetError::EmptySegment)),
        ("/a/;x", NeverMatches(TargetError::EmptySegment)),
        ("/a\\b", NeverMatches(TargetError::Backslash)),
        ("/a\nb", NeverMatches(TargetError::Control)),
        ("/a%00", NeverMatches(TargetError::Control)),
        ("/a%FF", NeverMatches(TargetError::NotUtf8)),
        ("/a%252e", NeverMatches(TargetError::DoubleEncoding)),
    ] {
        assert_eq!(PathPattern::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn errors_read_as_sentences() {
    assert_eq!(
        format!("path /v* {}", PatternError::PartialWildcard),
        "path /v* has a * beside other characters; * stands for a whole segment, as in /repos/*/issues"
    );
    assert_eq!(
        PatternError::NeverMatches(TargetError::Backslash).to_string(),
        "can never match: every request target like it is refused, because it has a backslash in its path"
    );
    let refusal = crate::error::Refusal::from(TargetError::DotSegment);
    assert_eq!(refusal.reason, crate::error::Reason::BadPath);
    assert_eq!(
        refusal.sentence,
        "the request target has a . or .. segment in its path; spell out the path it stands for"
    );
}

#[test]
fn the_query_can_be_replaced_and_nothing_else() {
    let target = Target::parse("/a%2Fb?key=1").unwrap();
    let with = |query| {
        target
            .with_query(query)
            .map(|target| target.as_str().to_owned())
    };
    assert_eq!(with(Some("c=d")).unwrap(), "/a%2Fb?c=d");
    assert_eq!(with(Some("")).unwrap(), "/a%2Fb?");
    assert_eq!(with(None).unwrap(), "/a%2Fb");
    assert_eq!(with(Some("a#b")), Err(TargetError::Fragment));
    assert_eq!(with(Some("a b")), Err(TargetError::BadCharacter));
    let asterisk = Target::parse("*").unwrap();
    assert_eq!(
        asterisk.with_query(Some("a")),
        Err(TargetError::NotAbsolute)
    );
    assert_eq!(asterisk.with_query(None), Ok(asterisk));
}

/// What a careless server makes of a path: decoded, whatever it holds.
fn decode_carelessly(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if text[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(text[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// Whether a server that resolves `path` would leave the folder it seems to be in.
fn climbs(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| {
            let name = segment.split(|&byte| byte == b';').next().unwrap();
            name == b"." || name == b".."
        })
}

/// Paths made of the pieces that attacks are made of.
fn hostile_path() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "/", "/", "a", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%25", "%", "25", "2e",
        "2f", "5c", "00", "%00", ";", "%3b", "3B", "%c0", "%ae", "%C3%A9", "41", "%61", "x=1", "*",
    ]);
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_accepted_path_climbs_however_often_it_is_decoded(raw in hostile_path()) {
        if let Ok(target) = Target::parse(&raw) {
            prop_assert_eq!(target.as_str(), &raw);
            let slashes = |path: &[u8]| memchr::memchr_iter(b'/', path).count();
            let once = decode_carelessly(raw.as_bytes());
            let mut path = raw.clone().into_bytes();
            for _ in 0..6 {
                prop_assert!(!climbs(&path), "{:?}", String::from_utf8_lossy(&path));
                prop_assert!(!path.contains(&b'\\') && !path.contains(&0));
                path = decode_carelessly(&path);
                // The first decoding may add slashes if they are known of; no later one.
                prop_assert_eq!(slashes(&path), slashes(&once));
            }
            prop_assert_eq!(slashes(&once) > slashes(raw.as_bytes()), target.has_encoded_slash());
            prop_assert!(raw.parse::<http::uri::PathAndQuery>().is_ok());
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(raw in "\\PC*|[ -~]{0,40}", pattern in "/[ -~]{0,20}") {
        let target = Target::parse(&raw);
        let pattern = PathPattern::parse(&pattern);
        if let (Ok(target), Ok(pattern)) = (target, pattern)
            && pattern.matches(&target)
        {
            prop_assert!(pattern.matches_any_reading(&target));
        }
    }

    /// Each of these spellings of a denied segment is still denied.
    #[test]
    fn no_spelling_evades_a_deny(
        spelled in proptest::collection::vec((proptest::bool::ANY, 0..3_usize), 5),
        parameter in proptest::option::of("[a-z=,]{0,5}"),
        slash in proptest::sample::select(vec!["/", "%2F", "%2f", "%2F%2f"]),
    ) {
        let mut path = format!("/in{slash}");
        for (letter, (upper, layers)) in "admin".chars().zip(&spelled) {
            let hex = format!("{:02x}", letter as u32);
            let hex = if *upper { hex.to_uppercase() } else { hex };
            match layers {
                0 => path.push(letter),
                1 => path.push_str(&["%", &hex].concat()),
                _ => path.push_str(&["%25", &hex].concat()),
            }
        }
        if let Some(parameter) = parameter {
            path.push_str(&[";", &parameter].concat());
        }
        let pattern = "/in/admin/**";
        prop_assert!(matches_any_reading(pattern, &path), "{} on {}", pattern, path);
        let deeper = format!("{path}/deeper");
        prop_assert!(matches_any_reading(pattern, &deeper));
    }
}

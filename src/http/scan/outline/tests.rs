//! What stands where, whichever way it is cut.

use http::HeaderValue;

use super::*;

fn kind(content_type: &str) -> Kind {
    let value = HeaderValue::from_str(content_type).unwrap();
    Kind::of(&[(header::CONTENT_TYPE, value)].into_iter().collect())
}

/// The spot of `needle`, when it is all there and when it comes in pieces.
fn spot(kind: &Kind, text: &str, needle: &str) -> Spot {
    let start = text.find(needle).unwrap() as u64;
    let bytes = text.as_bytes();
    let whole = Trail::new(kind).spot(bytes, 0, start);
    for size in [1, 2, 7, 64] {
        let mut trail = Trail::new(kind);
        let mut base = 0;
        for piece in bytes.chunks(size) {
            let end = base + piece.len() as u64;
            // What follows a file name tells that it is one.
            if !matches!(whole, Spot::FileName(_)) && (base..end).contains(&start) {
                assert_eq!(trail.spot(piece, base, start), whole, "{size}: {text}");
            }
            trail.follow(piece, base);
            base = end;
        }
        if !trail.forgot {
            assert_eq!(trail.remembered(start), whole, "{size}");
        }
    }
    whole
}

fn name(text: &str) -> Name {
    Name::of(text.as_bytes())
}

#[test]
fn json_fields_are_named_by_the_innermost_one() {
    let json = kind("application/json");
    for (text, expected) in [
        (r#"{"notes": "a @ b"}"#, Spot::Json(name("notes"))),
        (r#"{"a": {"b": [1, ["@"]]}}"#, Spot::Json(name("b"))),
        (r#"{"a": [{"b": 1}, "@"]}"#, Spot::Json(name("a"))),
        (r#"{"a": {"b": "}"}, "c": "@"}"#, Spot::Json(name("c"))),
        (
            r#"{"a\"b": 1, "c": "\\", "d": "\"@"}"#,
            Spot::Json(name("d")),
        ),
        (r#"  {"a": 1, "x@": 2}"#, Spot::JsonName),
        (r#"["x", "@"]"#, Spot::Outside),
        (r#"[{"a": 1}, "@"]"#, Spot::Json(Name::default())),
        ("{\"a\": 1}\n{\"b\": \"@\"}\n", Spot::Json(name("b"))),
        ("[1] @", Spot::Outside),
        ("text {\"a\": \"@\"}", Spot::Outside),
    ] {
        assert_eq!(spot(&json, text, "@"), expected, "{text}");
    }
    let deep = format!("{}\"@\"{}", "[{\"a\":".repeat(40), "}]".repeat(40));
    assert_eq!(spot(&json, &deep, "@"), Spot::Json(name("a")));
}

#[test]
fn form_fields_are_named_unless_it_is_json() {
    let form = kind("Application/X-WWW-Form-Urlencoded; charset=utf-8");
    for (text, expected) in [
        ("a=1&note=x+@&b=2", Spot::Form(name("note"))),
        ("a=1&user%5Bkey%5D=@", Spot::Form(name("user[key]"))),
        ("a=b=@", Spot::Form(name("a"))),
        ("a=1&@=2", Spot::FormName),
        ("@", Spot::FormName),
        (r#"{"note": "@"}"#, Spot::Json(name("note"))),
    ] {
        assert_eq!(spot(&form, text, "@"), expected, "{text}");
    }
}

#[test]
fn multipart_parts_and_their_file_names_are_named() {
    let parts = kind("multipart/form-data; charset=x; boundary=\"a;b\"");
    let text = "--a;b\r\nContent-Disposition: form-data; name=\"one\"\r\n\r\n1\r\n--a;bc\r\n\
                --a;b  \r\ncontent-type: text/plain\r\n\
                content-disposition: form-data; filename=\"2; \\\" name=x\"; name=two\r\n\r\n3\r\n\
                --a;b\r\n\r\n4\r\n--a;b--\r\n5";
    for (needle, expected) in [
        ("one", Spot::PartHeader),
        ("1\r\n", Spot::Part(name("one"))),
        ("a;bc", Spot::Part(name("one"))),
        ("text/", Spot::PartHeader),
        ("2; ", Spot::FileName(name("two"))),
        ("3\r\n", Spot::Part(name("two"))),
        ("4\r\n", Spot::Part(Name::default())),
        ("5", Spot::Outside),
    ] {
        assert_eq!(spot(&parts, text, needle), expected, "{needle}");
    }
}

#[test]
fn only_plain_names_are_told() {
    assert_eq!(name("a b-c[0]").text(), Some("a b-c[0]"));
    for text in [
        "",
        "a`b",
        "a\nb",
        "é",
        "a\\u0062",
        &"x".repeat(NAME_MAX + 1),
    ] {
        assert_eq!(name(text).text(), None, "{text}");
    }
}

#[test]
fn i9_next_to_nothing_is_kept_and_what_was_forgotten_is_read_again() {
    let fields: Vec<String> = (0..1_000).map(|n| format!("\"f{n}\":\"{n}\"")).collect();
    let text = format!("{{{},\"z\":0}}", fields.join(","));
    let mut trail = Trail::new(&Kind::Unknown);
    for round in 0..RESTARTS {
        let last = trail.spot(text.as_bytes(), 0, text.len() as u64 - 2);
        assert_eq!(last, Spot::Json(name("z")));
        let start = text.find("\"3\"").unwrap() as u64 + 1;
        let first = trail.spot(text.as_bytes(), 0, start);
        assert_eq!(first, Spot::Json(name("f3")), "{round}");
        assert!(trail.marks.len() <= MARKS);
    }
    trail.follow(text.as_bytes(), 0);
    assert_eq!(trail.spot(text.as_bytes(), 0, 10), Spot::Outside);
}

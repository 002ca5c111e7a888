use super::*;
use crate::name::Authority;
use crate::policy::Scheme;
use crate::policy::path::Target;
use bytes::Bytes;
use http::{HeaderMap, Method};

/// No byte stays as it is.
const ALL: percent_encoding::AsciiSet = every();

const fn every() -> percent_encoding::AsciiSet {
    let mut all = percent_encoding::AsciiSet::EMPTY;
    let mut byte = 0;
    while byte < 128 {
        all = all.add(byte);
        byte += 1;
    }
    all
}

const VALUE: &str = "standin-4f1c9a7be02d5836";
const SECRET: &str = "real\"key&41/";

fn placeholder(spots: &[Spot]) -> Arc<Placeholder> {
    let secret = Arc::new(Secret::new(SECRET.as_bytes().to_vec()));
    Arc::new(Placeholder::new(VALUE, spots, secret))
}

fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    Request {
        scheme: Scheme::Https,
        method: Method::GET,
        authority: Authority::parse(b"api.good.test", 443).unwrap(),
        target: Target::parse(target).unwrap(),
        headers,
    }
}

/// What stands in the head of `request` afterwards, or why it is refused.
fn head(spots: &[Spot], request: &Request) -> Result<Vec<String>, String> {
    let placeholder = placeholder(spots);
    let name = CredentialName::new("api");
    let guard = Guard::new([(&name, VALUE.as_bytes())]).unwrap();
    let mut taken = Taken::default();
    placeholder.take(request, &mut taken);
    guard
        .head(request, &taken)
        .map_err(|refusal| refusal.sentence)?;
    let fields = taken.fields.iter();
    let fields = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    let pairs = taken.pairs.iter().map(|pair| {
        let mut target = "/".to_owned();
        pair.append_to(&mut target);
        target
    });
    Ok(fields.chain(pairs).collect())
}

fn basic_of(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn in_its_place_it_becomes_the_secret() {
    let header = [Spot::Header(HeaderName::from_static("authorization"))];
    for (sent, arrives) in [
        (VALUE.to_owned(), SECRET.to_owned()),
        (format!("Bearer {VALUE}"), format!("Bearer {SECRET}")),
    ] {
        let request = request("/", &[("authorization", &sent)]);
        let expected = vec![format!("authorization: {arrives}")];
        assert_eq!(head(&header, &request), Ok(expected));
    }
    for (spot, sent, arrives) in [
        (
            Spot::BasicPassword,
            basic_of("git", VALUE),
            basic_of("git", SECRET),
        ),
        (Spot::BasicUser, basic_of(VALUE, ""), basic_of(SECRET, "")),
    ] {
        let request = request("/", &[("authorization", &sent)]);
        let expected = vec![format!("authorization: {arrives}")];
        assert_eq!(head(&[spot], &request), Ok(expected));
    }
    let query = [Spot::Query("key".to_owned())];
    let sent = request(&format!("/a?b=c&key={VALUE}"), &[]);
    let expected = vec!["/?key=real%22key%2641%2F".to_owned()];
    assert_eq!(head(&query, &sent), Ok(expected));
    // No stand-in: nothing is done, and nothing is wrong.
    assert_eq!(head(&query, &request("/a?key=x", &[])), Ok(Vec::new()));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn anywhere_else_the_request_is_refused() {
    let places = [
        Spot::Header(HeaderName::from_static("authorization")),
        Spot::BasicPassword,
        Spot::Query("key".to_owned()),
    ];
    let encoded = STANDARD.encode(format!("a{VALUE}b"));
    let hex = percent_encoding::percent_encode(VALUE.as_bytes(), &ALL).to_string();
    let twice = hex.replace('%', "%25");
    let two = format!("{VALUE}{VALUE}");
    for (what, request) in [
        ("another field", request("/", &[("x-api-key", VALUE)])),
        (
            "twice",
            request("/", &[("authorization", VALUE), ("authorization", "x")]),
        ),
        ("doubled", request("/", &[("authorization", &two)])),
        (
            "as the scheme too",
            request("/", &[("authorization", &format!("{VALUE} {VALUE}"))]),
        ),
        (
            "with more",
            request("/", &[("authorization", &format!("Bearer {VALUE}x"))]),
        ),
        (
            "as the user",
            request("/", &[("authorization", &basic_of(VALUE, "x"))]),
        ),
        (
            "as user and password",
            request("/", &[("authorization", &basic_of(VALUE, VALUE))]),
        ),
        (
            "in the user",
            request(
                "/",
                &[("authorization", &basic_of(&format!("a{VALUE}"), VALUE))],
            ),
        ),
        ("in base64", request("/", &[("x-data", &encoded)])),
        ("in the path", request(&format!("/a/{VALUE}"), &[])),
        ("as a key", request(&format!("/a?{VALUE}=key"), &[])),
        ("another key", request(&format!("/a?keys={VALUE}"), &[])),
        (
            "two of a key",
            request(&format!("/a?key={VALUE}&key={VALUE}"), &[]),
        ),
        (
            "two spellings of a key",
            request(&format!("/a?key={VALUE}&%6bey=1&key={VALUE}"), &[]),
        ),
        ("percent-encoded", request(&format!("/a?x={hex}"), &[])),
        ("encoded twice", request(&format!("/a?key={twice}"), &[])),
    ] {
        let refused = head(&places, &request);
        let refused = refused.as_ref().map_err(String::as_str);
        assert!(
            refused.is_err_and(|sentence| sentence.contains("`api`")),
            "{what}: {refused:?}"
        );
    }
}

/// The body with secrets marked, however it is split.
fn body(spots: &[Spot], kind: &'static str, text: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    let mut results = Vec::new();
    for size in 1..=text.len().max(1) {
        let mut rewriter = Rewriter::new(&[placeholder(spots)], &headers).unwrap();
        let mut pieces = Vec::new();
        for part in text.as_bytes().chunks(size) {
            rewriter.push(&Bytes::copy_from_slice(part), false, &mut pieces);
        }
        rewriter.push(&Bytes::new(), true, &mut pieces);
        let mut all = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Plain(bytes) => all.extend_from_slice(&bytes),
                Piece::Secret(bytes) => {
                    all.extend_from_slice(b"<");
                    all.extend_from_slice(&bytes);
                    all.extend_from_slice(b">");
                }
            }
        }
        results.push(String::from_utf8(all).unwrap());
    }
    results.dedup();
    assert_eq!(results.len(), 1, "splits differ: {results:?}");
    results.remove(0)
}

#[test]
fn json_members_by_their_path() {
    let spots = [Spot::Json(vec!["auth".into(), "key".into()])];
    let swapped = "<\"real\\\"key&41/\">";
    let json = |text: &str| body(&spots, "application/json; charset=utf-8", text);
    let quoted = format!("\"{VALUE}\"");
    let escaped = quoted.replace("4f1c", "\\u0034f1c");
    for (text, hit) in [
        (r#"{"auth":{"key":@}}"#, true),
        (
            r#" { "a":[1,{"b":-1.5e3}], "auth" : { "x":"y", "key" : @ , "z":null } } "#,
            true,
        ),
        (r#"{"\u0061uth":{"key":@}}"#, true),
        (r#"{"auth":{"key":@},"key":"x"}"#, true),
        (r#"{"key":@}"#, false),
        (r#"{"auth":{"keys":@}}"#, false),
        (r#"{"auth":[{"key":@}]}"#, false),
        (r#"{"auth":{"key":[@]}}"#, false),
        (r#"{"auth":{"key":{"key":@}}}"#, false),
        (r#"{"x":{"auth":{"key":@}}}"#, false),
        (r#"[{"auth":{"key":@}}]"#, false),
        // No JSON: what another reader makes of it is not known.
        (r#"{"auth":{"key" @}}"#, false),
        (r#"{"auth":{,"key":@}}"#, false),
        (r#"{}{"auth":{"key":@}}"#, false),
        ("{\"a\":\"\n\",\"auth\":{\"key\":@}}", false),
    ] {
        for value in [&quoted, &escaped] {
            let sent = text.replace('@', value);
            let expected = text.replace('@', if hit { swapped } else { value });
            assert_eq!(json(&sent), expected);
        }
        let other = text.replace('@', "\"standin-other\"");
        assert_eq!(json(&other), other);
        let longer = text.replace('@', &format!("\"x{VALUE}\""));
        assert_eq!(json(&longer), longer);
    }
    let long = format!(r#"{{"auth":{{"key":"{}"}}}}"#, "y".repeat(600));
    assert_eq!(json(&long), long);
    let cut = format!(r#"{{"auth":{{"key":"{VALUE}"#);
    assert_eq!(json(&cut), cut);
}

#[test]
fn form_values_by_their_key() {
    let spots = [Spot::Form("client secret".to_owned())];
    let form = |text: &str| body(&spots, "application/x-www-form-urlencoded", text);
    for (text, hit) in [
        ("client+secret=@", true),
        ("a=b&client%20secret=@&c=d", true),
        ("&&client+secret=@&", true),
        ("secret=@", false),
        ("client+secret=x@", false),
        ("client+secret=a=@", false),
        ("@=client+secret", false),
    ] {
        let sent = text.replace('@', VALUE);
        let expected = if hit { "<real%22key%2641%2F>" } else { VALUE };
        assert_eq!(form(&sent), text.replace('@', expected));
    }
    let long = format!("client+secret={}&x", "y".repeat(600));
    assert_eq!(form(&long), long);
}

#[test]
fn only_in_bodies_of_their_kind() {
    let spots = [Spot::Json(vec!["key".into()])];
    let rewriter = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Rewriter::new(&[placeholder(&spots)], &headers).is_some()
    };
    assert!(rewriter(&[("content-type", "Application/JSON")]));
    assert!(rewriter(&[("content-type", "application/vnd.api+json")]));
    assert!(!rewriter(&[("content-type", "text/plain")]));
    assert!(!rewriter(&[]));
    let json = ("content-type", "application/json");
    assert!(!rewriter(&[json, json]));
    assert!(!rewriter(&[json, ("content-encoding", "gzip")]));
}

/// Messages with secrets marked, however they are split.
fn message(spots: &[Spot], text: &str) -> String {
    let rewriter = Rewriter::of_messages(&[placeholder(spots)]).unwrap();
    let mut results = Vec::new();
    for size in 1..=text.len().max(1) {
        let (mut rewriter, mut pieces) = (rewriter.clone(), Vec::new());
        for part in text.as_bytes().chunks(size) {
            rewriter.push(&Bytes::copy_from_slice(part), false, &mut pieces);
        }
        rewriter.push(&Bytes::new(), true, &mut pieces);
        let marked = pieces.into_iter().map(|piece| match piece {
            Piece::Plain(bytes) => bytes.to_vec(),
            Piece::Secret(bytes) => [b"<", &bytes[..], b">"].concat(),
        });
        results.push(String::from_utf8(marked.flatten().collect()).unwrap());
    }
    results.dedup();
    assert_eq!(results.len(), 1, "splits differ: {results:?}");
    results.remove(0)
}

#[test]
fn words_of_messages() {
    let swapped = format!("<{SECRET}>");
    for (text, hit) in [
        ("@", true),
        ("AUTH @\r\n", true),
        ("{\"key\":\"@\"}", true),
        ("@ @", true),
        ("a=@&b", true),
        ("x@", false),
        ("@x", false),
        ("-@", false),
        ("@@", false),
        ("@_", false),
        ("stand @9", false),
    ] {
        let sent = text.replace('@', VALUE);
        let expected = text.replace('@', if hit { &swapped } else { VALUE });
        assert_eq!(message(&[Spot::MessageText], &sent), expected, "{text}");
    }
    let (most, _) = VALUE.split_at(23);
    let near = format!("{most} standin-4f1c {VALUE}");
    let expected = format!("{most} standin-4f1c {swapped}");
    assert_eq!(message(&[Spot::MessageText], &near), expected);
}

#[test]
fn members_of_messages_and_words_beside_them() {
    let member = Spot::MessageJson(vec!["auth".into(), "key".into()]);
    let quoted = "<\"real\\\"key&41/\">";
    let login = format!(r#"{{"auth":{{"key":"{VALUE}"}},"note":"{VALUE}"}}"#);
    let only_member = format!(r#"{{"auth":{{"key":{quoted}}},"note":"{VALUE}"}}"#);
    assert_eq!(message(std::slice::from_ref(&member), &login), only_member);
    let both = [member, Spot::MessageText];
    let note = format!("<{SECRET}>");
    let expected = format!(r#"{{"auth":{{"key":{quoted}}},"note":"{note}"}}"#);
    assert_eq!(message(&both, &login), expected);
    assert_eq!(message(&both, VALUE), note);
    // Other places are none in a message.
    assert!(Rewriter::of_messages(&[placeholder(&[Spot::Json(vec!["key".into()])])]).is_none());
}

//! AWS requests signed anew, checked by two who did not make the signature: the published
//! algorithm, written out here once more, and botocore where it is installed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::{digest, hmac};

use crate::common::{Answer, GatewayProcess, Request, World, inside};
use crate::{CONFIG, assert_refused, contains, received, send, server};

const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN//////////wEaDOdummy==";

const RULES: &str = r#"
[[credential]]
name = "aws"
secret = { file = "../aws" }
hosts = ["api.good.test"]
attach = { sigv4 = true, key_id = "AKIAIOSFODNN7EXAMPLE" }
[[credential]]
name = "session"
secret = { file = "../session" }
hosts = ["api.good.test"]
attach = { sigv4 = true, region = "eu-central-1", service = "s3" }
[[rule]]
name = "session"
agents = ["builder"]
hosts = ["api.good.test"]
paths = ["/session/**"]
credential = "session"
[[rule]]
name = "aws"
agents = ["builder"]
hosts = ["api.good.test"]
credential = "aws"
"#;

fn gateway(world: &World) -> GatewayProcess<'_> {
    let session = format!(
        r#"{{"Version":1,"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"{KEY}","SessionToken":"{TOKEN}"}}"#
    );
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", RULES)
        .secret("aws", KEY)
        .secret("session", &session)
        .start()
}

/// A request as an SDK with a dummy key sends it.
fn signed(method: &str, target: &str, service: &str, lines: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: api.good.test\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKIADUMMY/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host;x-amz-date, Signature=0123\r\n\
         x-amz-date: 20200101T000000Z\r\nx-amz-security-token: dummy\r\n\
         content-length: {}\r\n{lines}\r\n{body}",
        body.len()
    )
}

fn hex(bytes: &[u8]) -> String {
    let one = |all: String, byte: &u8| all + &format!("{byte:02x}");
    bytes.iter().fold(String::new(), one)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// The parts of an `Authorization` field: credential, signed fields, signature.
fn parts(request: &Request) -> (String, String, String) {
    let value = request.header("authorization").unwrap();
    let rest = value.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let part = |name: &str| {
        let found = rest.split(", ").find_map(|part| part.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("{name} in {value}"))
            .to_owned()
    };
    (
        part("Credential="),
        part("SignedHeaders="),
        part("Signature="),
    )
}

fn escape(text: &str, kept: &str) -> String {
    let one = |byte: u8| {
        let keep = byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte);
        if keep {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(one).collect()
}

/// The signature that AWS would compute over what arrived.
fn expected(request: &Request, query: &str) -> String {
    let (credential, names, _) = parts(request);
    let scope: Vec<&str> = credential.splitn(2, '/').collect();
    let words: Vec<&str> = scope[1].split('/').collect();
    let path = request.target.split('?').next().unwrap();
    let path = if words[2] == "s3" {
        path.to_owned()
    } else {
        escape(path, "-_.~/")
    };
    let mut fields = String::new();
    for name in names.split(';') {
        let value = request.header_all(name).join(",");
        let words: Vec<&str> = value.split_whitespace().collect();
        fields.push_str(&format!("{name}:{}\n", words.join(" ")));
    }
    let payload = request
        .header("x-amz-content-sha256")
        .map_or_else(|| sha256(&request.body), str::to_owned);
    let canonical = format!(
        "{}\n{path}\n{query}\n{fields}\n{names}\n{payload}",
        request.method
    );
    let date = request.header("x-amz-date").unwrap();
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}\n{}",
        scope[1],
        sha256(canonical.as_bytes())
    );
    let mut key = format!("AWS4{KEY}").into_bytes();
    for word in words {
        key = hmac(&key, word);
    }
    hex(&hmac(&key, &text))
}

/// The Python that has the modules which clients need, if any has; see `tests/clients`.
fn python() -> Command {
    let named = std::env::var_os("PORTREEVE_TEST_PYTHON").filter(|path| !path.is_empty());
    Command::new(named.unwrap_or_else(|| "python3".into()))
}

/// What botocore makes of it; `None` where it is not installed.
fn botocore(request: &Request) -> Option<String> {
    const SCRIPT: &str = r#"
import json, sys
from botocore.auth import SigV4Auth, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
it = json.load(sys.stdin)
kind = S3SigV4Auth if it["service"] == "s3" else SigV4Auth
auth = kind(Credentials("id", it["key"]), it["service"], it["region"])
request = AWSRequest(it["method"], it["url"], headers=it["headers"], data=it["body"].encode())
request.context["timestamp"] = it["headers"]["x-amz-date"]
auth._timestamp = it["headers"]["x-amz-date"]
text = auth.string_to_sign(request, auth.canonical_request(request))
print(auth.signature(text, request), end="")
"#;
    let (credential, names, _) = parts(request);
    let words: Vec<&str> = credential.split('/').collect();
    let headers: serde_json::Map<_, _> = names
        .split(';')
        .map(|name| (name.to_owned(), request.header(name).unwrap().into()))
        .collect();
    let input = serde_json::json!({
        "key": KEY, "region": words[2], "service": words[3], "method": request.method,
        "url": format!("https://api.good.test{}", request.target),
        "headers": headers, "body": String::from_utf8(request.body.clone()).unwrap(),
    });
    let mut python = python()
        .args(["-I", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = python.stdin.take().unwrap();
    // A Python without botocore ends before it reads.
    let _ = stdin.write_all(input.to_string().as_bytes());
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("No module named") {
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn signatures_are_those_of_the_published_algorithm_and_of_botocore() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = gateway(&world);
        let json = "content-type: application/x-amz-json-1.0\r\nx-amz-target:  DynamoDB_20120810.GetItem\r\n";
        let hash = format!("x-amz-content-sha256: {}\r\n", sha256(b"a dummy"));
        let unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nrange: bytes=0-9\r\n";
        let cases = [
            (
                signed("POST", "/", "dynamodb", json, r#"{"TableName":"t"}"#),
                "",
            ),
            (
                signed(
                    "GET",
                    "/bucket/a%20b/c=d:e?prefix=x%2Fy&list-type=2&acl",
                    "s3",
                    &hash,
                    "",
                ),
                "acl=&list-type=2&prefix=x%2Fy",
            ),
            (
                signed("GET", "/2015-03-31/functions/a%3Ab", "lambda", "", ""),
                "",
            ),
            (
                signed("PUT", "/bucket/key", "s3", unsigned, "some data"),
                "",
            ),
            (
                signed("PUT", "/session/key", "ignored", &hash, "some data"),
                "",
            ),
            (
                "GET /session/b HTTP/1.1\r\nhost: api.good.test\r\n\r\n".to_owned(),
                "",
            ),
            (
                signed(
                    "GET",
                    "/~a-b_c.d/%E2%82%AC?b=%E2%82%AC&a=%2B~%20",
                    "lambda",
                    "",
                    "",
                ),
                "a=%2B~%20&b=%E2%82%AC",
            ),
        ];
        for (index, (request, query)) in cases.into_iter().enumerate() {
            let response = send(&world, &gateway, "api.good.test", request);
            assert_eq!(response.status, 200, "{}", response.text());
            let seen = server.requests().pop().unwrap();
            let (credential, names, signature) = parts(&seen);
            assert_eq!(signature, expected(&seen, query), "{index}: {seen:?}");
            if let Some(theirs) = botocore(&seen) {
                assert_eq!(signature, theirs, "{index}: {seen:?}");
            } else {
                assert!(std::env::var_os("CI").is_none(), "CI installs botocore");
                println!("skipped: botocore is not installed");
            }
            let id = credential.split('/').next().unwrap().to_owned();
            let session = seen.target.starts_with("/session");
            let real = if session {
                "ASIAIOSFODNN7EXAMPLE"
            } else {
                "AKIAIOSFODNN7EXAMPLE"
            };
            assert_eq!(id, real);
            let token = seen.header_all("x-amz-security-token");
            assert_eq!(token, if session { vec![TOKEN] } else { Vec::new() });
            assert_ne!(seen.header("x-amz-date"), Some("20200101T000000Z"));
            for name in names.split(';') {
                assert!(seen.header(name).is_some(), "{name}");
            }
            let signs = |name: &str| names.split(';').any(|signed| signed == name);
            let amz = seen.headers.iter().map(|(name, _)| name.to_lowercase());
            for name in amz.filter(|name| name.starts_with("x-amz-")) {
                assert!(signs(&name), "{name} is not signed");
            }
        }
        assert!(!contains(&received(&server), "AKIADUMMY"));
        assert!(
            !contains(&received(&server), KEY),
            "the key itself never leaves"
        );
    });
}

#[test]
fn what_cannot_be_signed_is_refused_with_the_reason() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let gateway = gateway(&world);
        let chunks = "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n";
        let presigned = "GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0 HTTP/1.1\r\nhost: api.good.test\r\n\r\n";
        let none = "GET /b/k HTTP/1.1\r\nhost: api.good.test\r\n\r\n";
        let several = signed("GET", "/b/k", "s3", "", "")
            .replace("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 ");
        let long = signed("POST", "/", "dynamodb", "", &"x".repeat(300_000));
        let line = "x-amz-meta-a: caf_\r\n";
        let mut no_text = signed("PUT", "/b/k", "s3", line, "").into_bytes();
        let at = no_text.windows(4).position(|it| it == b"caf_").unwrap();
        no_text[at + 3] = 0xe9;
        let response = send(&world, &gateway, "api.good.test", no_text);
        assert_refused(&response, 403, "unsignable");
        assert!(
            response.text().contains("`x-amz-meta-a`"),
            "{}",
            response.text()
        );
        for (request, word) in [
            (
                signed("GET", "/b/k?a=%FF", "s3", "", ""),
                "as UTF-8 in the query",
            ),
            (
                signed("PUT", "/b/k", "s3", chunks, "10;chunk-signature=0\r\n"),
                "chunks",
            ),
            (presigned.to_owned(), "presigned"),
            (none.to_owned(), "region and service"),
            (several, "SigV4A"),
            (long, "limits.hold_bytes"),
        ] {
            let response = send(&world, &gateway, "api.good.test", request);
            assert_refused(&response, 403, "unsignable");
            assert!(response.text().contains(word), "{}", response.text());
        }
        assert!(server.requests().is_empty());
        // Over TLS, S3 takes a long body unsigned, and trailing checksums without signatures.
        let long = signed("PUT", "/b/k", "s3", "", &"x".repeat(300_000));
        assert_eq!(send(&world, &gateway, "api.good.test", long).status, 200);
        let line = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n";
        let trailer = signed("PUT", "/b/k", "s3", line, "1\r\nx\r\n0\r\n\r\n");
        assert_eq!(send(&world, &gateway, "api.good.test", trailer).status, 200);
        for seen in server.requests() {
            assert_eq!(parts(&seen).2, expected(&seen, ""));
        }
    });
}

#[test]
fn i5_a_session_token_that_comes_back_is_masked() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |request| {
            let token = request.header("x-amz-security-token").unwrap_or("none");
            Answer::ok(format!("{token} {KEY}")).header("x-echo", token)
        });
        let gateway = gateway(&world);
        let request = signed("GET", "/session/k", "s3", "", "");
        let response = send(&world, &gateway, "api.good.test", request);
        assert_eq!(response.status, 200);
        let shown = format!("{response:?}{}", response.text());
        assert!(
            !shown.contains("EXAMPLETOKEN") && !shown.contains("EXAMPLEKEY"),
            "{shown}"
        );
    });
}

#[test]
fn i5_no_level_of_the_log_shows_what_is_signed() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_| Answer::ok("fine"));
        let session = format!(
            r#"{{"Version":1,"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"{KEY}","SessionToken":"{TOKEN}"}}"#
        );
        let mut gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", RULES)
            .secret("aws", KEY)
            .secret("session", &session)
            .env("PORTREEVE_LOG", "trace,aws_sigv4::http_request=trace")
            .start();
        let request = signed("GET", "/session/k", "s3", "", "");
        assert_eq!(send(&world, &gateway, "api.good.test", request).status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!(seen.header("x-amz-security-token"), Some(TOKEN));
        gateway.terminate();
        let log = gateway.log();
        assert!(log.contains("TRACE"), "it says a lot at this level");
        for secret in [TOKEN, KEY, &parts(&seen).2] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    });
}

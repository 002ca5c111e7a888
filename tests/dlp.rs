//! What must not leave, does not: detectors on the data path, judged by what servers received.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

#[path = "dlp/bombs.rs"]
mod bombs;
mod common;
#[path = "dlp/files.rs"]
mod files;
#[path = "dlp/honeytokens.rs"]
mod honeytokens;
#[path = "dlp/long.rs"]
mod long;
#[path = "dlp/places.rs"]
mod places;
#[path = "dlp/recall.rs"]
mod recall;
#[path = "dlp/redact.rs"]
mod redact;

use std::io::Write;

use base64::Engine as _;
use common::client::{H1, H2, Tls};
use common::wire::{self, Response};
use common::world::SERVER;
use common::{Answer, GatewayProcess, Upstream, World, inside};
use portreeve::dlp::Check;
use serde_json::Value;

const CONFIG: &str = r#"
rules = "rules"
dlp = "detectors"
[listen]
transparent = "[::]:8443"
dns = "[::]:8053"
admin = "127.0.0.1:9464"
[redirect]
interfaces = ["lan0"]
[limits]
hold_bytes = "64KiB"
decoded_request_bytes = "4MiB"
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"good.test" = ["203.0.113.10"]
"h1.test" = ["203.0.113.10"]
[[agent]]
name = "alice"
sources = ["10.0.1.0/24"]
"#;

const RULES: &str = r#"
[[credential]]
name = "held"
secret = { file = "../held" }
hosts = ["good.test"]
attach = { header = "x-held" }
[[rule]]
name = "with-credential"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/attach"]
credential = "held"
[[rule]]
name = "unscanned"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/off"]
dlp = "off"
[[rule]]
name = "strict"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/strict"]
dlp = "strict"
[[rule]]
name = "limit-alert"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/limit-alert"]
on_limit = "alert"
[[rule]]
name = "limit-allow"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/limit-allow"]
on_limit = "allow"
[[rule]]
name = "silent"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/silent"]
[[rule]]
name = "all"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
record_query = true
"#;

/// A kind of token of the operator's own, which is at home at `good.test`.
const OWN: &str = r#"
[[detector]]
name = "acme-token"
title = "Acme token"
shapes = ['acme_[a-z0-9]{16}']
allow_to = ["good.test"]
[[detector]]
name = "red-token"
title = "Red token"
shapes = ['red_[a-z0-9]{16}']
default = "redact"
strict = "block"
[[secret]]
name = "db"
secret = { file = "../db" }
[[honeytoken]]
name = "trap"
agent = "alice"
token = "acme_z9x8c7v6b5n4m3q2"
"#;

const SECRET: &str = "held-7Gq2zR9vLk4mX1wB";
const LISTED: &str = "db-q7R2vX9mT4bL8wZ1nC6pY3dK5fH0";
const ACME: &str = "acme_q7w3e9r2t5y8u1i4";

fn gzip(data: &[u8]) -> Vec<u8> {
    gzip_at(6, data)
}

fn gzip_at(level: u32, data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Random hexadecimal, a number a line: it compresses to no less than half.
fn random_lines(count: u64) -> String {
    let line = |number: u64| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..count).map(line).collect()
}

/// Built here, so that no scanner takes this file for a leak.
fn anthropic() -> String {
    let body = "Zq3vK8_mN2-xT7bR".repeat(6);
    format!("sk-ant-{}-{}AA", "api03", &body[..93])
}

fn github() -> String {
    let body = "Zq3vK8mN2xT7bR5wL9pY4cD1fG6hJ0";
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut sum = crc32fast::hash(body.as_bytes());
    let mut tail = [0_u8; 6];
    for place in tail.iter_mut().rev() {
        *place = digits[sum as usize % 62];
        sum /= 62;
    }
    let token = format!("gh{}_{body}{}", "p", std::str::from_utf8(&tail).unwrap());
    assert!(Check::Crc32Base62.passes(token.as_bytes()));
    token
}

struct Lab<'w> {
    world: &'w World,
    gateway: GatewayProcess<'w>,
    server: Upstream,
    trust: Tls,
    trust_h2: Tls,
}

impl<'w> Lab<'w> {
    fn new(world: &'w World, h2_upstream: bool) -> Self {
        let mut tls = world.ca.server(&["good.test", "h1.test"]);
        if !h2_upstream {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let server = Upstream::https(&world.internet, SERVER, 443, tls, |_| Answer::ok("fine"));
        Self::with_server(world, server)
    }

    fn with_server(world: &'w World, server: Upstream) -> Self {
        let builder = world.gateway_builder(CONFIG).rule("rules.toml", RULES);
        let folder = world.path("gateway").join("detectors");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("own.toml"), OWN).unwrap();
        let gateway = builder.secret("held", SECRET).secret("db", LISTED).start();
        let ca = gateway.ca_pem();
        Self {
            world,
            gateway,
            server,
            trust: Tls::new(&ca, &["http/1.1"]),
            trust_h2: Tls::new(&ca, &["h2"]),
        }
    }

    /// Sends pieces on a connection of their own and reads the answer, if there is one.
    fn send(&self, pieces: Vec<Vec<u8>>) -> Option<Response> {
        let trust = self.trust.clone();
        self.world.agent.block_on(async move {
            let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
            let mut h1 = H1::new(stream);
            for piece in pieces {
                // The gateway may have answered and closed.
                if h1.send(piece).await.is_err() {
                    break;
                }
            }
            h1.response().await.ok()
        })
    }

    /// As `send`, once the server has received `arrived` more bytes after `first`: so the
    /// gateway has dealt with all of it before the rest comes.
    fn send_after(&self, first: Vec<u8>, arrived: usize, rest: Vec<u8>) -> Option<Response> {
        let before = self.server.received();
        let trust = self.trust.clone();
        let mut h1 = self.world.agent.block_on(async move {
            let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
            let mut h1 = H1::new(stream);
            h1.send(first).await.unwrap();
            h1
        });
        self.server.wait_received(before + arrived);
        self.world.agent.block_on(async move {
            // The gateway may have answered and closed.
            let _ = h1.send(rest).await;
            h1.response().await.ok()
        })
    }

    fn ask(&self, head: &str, body: &[u8]) -> Response {
        let length = body.len();
        let head = format!("{head}\r\nhost: good.test\r\ncontent-length: {length}\r\n\r\n");
        self.send(vec![head.into_bytes(), body.to_vec()])
            .expect("an answer")
    }

    fn ask_h2(&self, body: Vec<u8>, trailers: Vec<(String, String)>) -> Option<Response> {
        let trust = self.trust_h2.clone();
        self.world.agent.block_on(async move {
            let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
            let h2 = H2::new(stream).await.unwrap();
            let request = http::Request::post("https://good.test/h2")
                .body(())
                .unwrap();
            h2.request(request, &body, &trailers).await.ok()
        })
    }

    /// The record of the request whose reason is `detected`, after `count` such.
    fn detected(&self, count: usize) -> Value {
        let wanted = |record: &Value| record["portreeve.reason"] == "detected";
        self.gateway.wait_records(count, wanted).pop().unwrap()
    }

    /// Neither servers nor the gateway's own files have seen `token`.
    fn nowhere(&self, token: &str) {
        for connection in self.server.connections() {
            assert_eq!(wire::find(&connection.bytes, token.as_bytes()), None);
        }
        let records = format!("{:?}", self.gateway.audit_records());
        assert!(!records.contains(token), "{records}");
        assert!(!self.gateway.log().contains(token));
    }
}

fn detections(record: &Value) -> &str {
    record["portreeve.detections"].as_str().unwrap_or_default()
}

fn refused(response: &Response, detector: &str, place: &str) {
    let text = response.text();
    assert_eq!(response.status, 403, "{text}");
    assert!(text.contains(detector) && text.contains(place), "{text}");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn tokens_in_every_place_of_a_request_are_refused_before_anything_is_dialled() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let token = anthropic();
        let escaped: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = escaped.replace('%', "%25");
        let json = format!("{{\"note\": \"use {token}\\nplease\"}}");
        let wrapped = base64::engine::general_purpose::STANDARD.encode(&json);
        let wrapped = format!("{{\"blob\":\"{wrapped}\"}}");
        let cases = [
            (
                format!("GET /a HTTP/1.1\r\nx-note: {token}"),
                "",
                "in header `x-note`",
            ),
            (
                format!("GET /a HTTP/1.1\r\ncookie: a=b; t={token}"),
                "",
                "in header `cookie`",
            ),
            (format!("GET /{token} HTTP/1.1"), "", "in the path"),
            (
                format!("GET /a/{escaped} HTTP/1.1"),
                "",
                "in the path, in escapes",
            ),
            (
                format!("GET /a?q={token} HTTP/1.1"),
                "",
                "in query parameter `q`",
            ),
            (format!("GET /a?{token} HTTP/1.1"), "", "in the query"),
            (
                format!("GET /a?b=1&{token}={token} HTTP/1.1"),
                "",
                "in the query",
            ),
            (
                format!("GET /a?q={escaped}&r=1 HTTP/1.1"),
                "",
                "in query parameter `q`, in escapes",
            ),
            (
                format!("GET /a?q={twice} HTTP/1.1"),
                "",
                "in query parameter `q`, in escapes",
            ),
            (
                "POST /a HTTP/1.1".to_owned(),
                wrapped.as_str(),
                "in JSON field `blob` at byte 25, in base64",
            ),
            (
                "POST /a HTTP/1.1".to_owned(),
                json.as_str(),
                "in JSON field `note` at byte 14",
            ),
        ];
        for (count, (head, body, place)) in (1..).zip(cases) {
            let response = lab.ask(&head, body.as_bytes());
            refused(&response, "Anthropic key", place);
            let record = lab.detected(count);
            let detection = record["portreeve.detections"].as_str().unwrap();
            let (what, rest) = detection.split_at("anthropic-key block ".len());
            assert_eq!(what, "anthropic-key block ");
            assert!(rest[..16].bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(&rest[17..], place);
            assert_eq!(record["portreeve.verdict"], "deny");
            assert!(!record.to_string().contains(&escaped[..60]), "{record}");
        }
        assert!(lab.server.connections().is_empty(), "nothing was dialled");
        lab.nowhere(&token);
        let labels = [("detector", "anthropic-key"), ("action", "block")];
        assert!(lab.gateway.metric("portreeve_dlp_findings_total", &labels) >= 8.0);
        assert!(lab.gateway.metric("portreeve_dlp_scanned_bytes_total", &[]) > 0.0);
    });
}

#[test]
fn one_that_streams_is_broken_off_before_its_last_bytes() {
    inside(|| {
        for h2_upstream in [false, true] {
            let world = World::new();
            let lab = Lab::new(&world, h2_upstream);
            let token = github();
            let clean = "{\"line\": \"nothing to see here\"}\n".repeat(20_000);
            let (one, other) = token.split_at(17);
            let length = clean.len() + token.len() + 1;
            let head = "POST /stream HTTP/1.1\r\nhost: good.test\r\n";
            // By length, cut inside the token.
            let response = lab.send_after(
                format!("{head}content-length: {length}\r\n\r\n{clean}{one}").into_bytes(),
                clean.len(),
                format!("{other}\n").into_bytes(),
            );
            if let Some(response) = response {
                refused(&response, "GitHub token", "in the body at byte");
            }
            let record = lab.detected(1);
            assert!(detections(&record).starts_with("github-token block "));
            // In chunks, one of them a single byte, the token's last.
            let (most, last) = token.split_at(token.len() - 1);
            let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
            let (clean_chunk, most, last) = (chunk(&clean), chunk(most), chunk(last));
            lab.send_after(
                format!("{head}transfer-encoding: chunked\r\n\r\n{clean_chunk}{most}").into(),
                clean.len(),
                format!("{last}0\r\n\r\n").into(),
            );
            lab.detected(2);
            // Over HTTP/2.
            lab.ask_h2(format!("{clean}{token}").into_bytes(), Vec::new());
            lab.detected(3);
            // In a trailer.
            let trailers = vec![("x-note".to_owned(), token.clone())];
            lab.ask_h2(clean.clone().into_bytes(), trailers);
            let record = lab.detected(4);
            assert!(detections(&record).ends_with(" in trailer `x-note`"));

            // An HTTP/2 connection outlives its streams.
            for connection in lab
                .server
                .connections()
                .iter()
                .filter(|one| !h2_upstream && wire::find(&one.bytes, b"/stream").is_some())
            {
                lab.server
                    .wait_connection("its end", |one| one.peer == connection.peer && one.closed);
            }
            assert!(
                lab.server
                    .requests()
                    .iter()
                    .all(|one| one.target == "/ping"),
                "a body ended cleanly"
            );
            lab.nowhere(&token);
            // Nothing of a token that begins with its anchor.
            lab.nowhere(&token[..12]);
        }
    });
}

#[test]
fn clean_bodies_arrive_octet_by_octet() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let broken = github().replace("Zq3", "Zq4");
        let text = format!("ghp_ sk-ant-api03- -----BEGIN {broken} eyJ.eyJ gh\n").repeat(4_000);
        let body = format!("{text}ghp_unfinished");
        let head = "POST /stream HTTP/1.1\r\nhost: good.test\r\n";
        let length = body.len();
        let whole = format!("{head}content-length: {length}\r\n\r\n{body}");
        let pieces = whole.as_bytes().chunks(7_777).map(<[u8]>::to_vec).collect();
        assert_eq!(lab.send(pieces).unwrap().status, 200);
        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
        for piece in body.as_bytes().chunks(1_000) {
            let piece = std::str::from_utf8(piece).unwrap();
            chunked.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        chunked.push_str("0\r\n\r\n");
        assert_eq!(lab.send(vec![chunked.into_bytes()]).unwrap().status, 200);
        let received = lab.server.wait_requests(2);
        for request in received {
            assert!(request.body == body.as_bytes());
        }
    });
}

#[test]
fn compressed_bodies_and_forms_hide_nothing() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let token = anthropic();
        let compress = |text: &str| gzip(text.as_bytes());
        let gzip = "POST /a HTTP/1.1\r\ncontent-encoding: gzip";
        let clean = lab.ask(gzip, &compress("nothing here"));
        assert_eq!(clean.status, 200);
        let response = lab.ask(gzip, &compress(&format!("key {token}")));
        refused(&response, "Anthropic key", "in the decoded body at byte 4");
        // One that streams: it does not compress to less than is held.
        let text = random_lines(40_000);
        let raw = compress(&format!("{text}{token}\n{}", &text[..2_000]));
        assert!(raw.len() > 128 * 1024, "{}", raw.len());
        let head = format!(
            "{gzip}\r\nhost: good.test\r\ncontent-length: {}\r\n\r\n",
            raw.len()
        );
        let pieces = raw.chunks(10_000).map(<[u8]>::to_vec);
        lab.send([head.into_bytes()].into_iter().chain(pieces).collect());
        lab.detected(2);
        assert_eq!(lab.server.requests().len(), 1, "the clean one alone");
        for body in [&b"this is certainly no gzip"[..], b""] {
            let response = lab.ask(gzip, body);
            assert_eq!(response.status, if body.is_empty() { 200 } else { 403 });
        }
        let form = "POST /a HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded";
        let key = format!(
            "-----BEGIN+RSA+PRIVATE+KEY-----%0A{}",
            "Zq3vK8mN2xT7bR".repeat(4)
        );
        let response = lab.ask(form, format!("a=1&key={key}&b=2").as_bytes());
        refused(
            &response,
            "private key",
            "in form field `key` at byte 8 of the decoded body",
        );
    });
}

#[test]
fn what_cannot_be_decoded_follows_the_rule() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        // One shrinks more than any content does, one is over `decoded_request_bytes`.
        let mut state = 1_u32;
        let letters: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (state >> 24) as u8 % 26
            })
            .collect();
        let (bomb, long) = (gzip(&vec![0; 3 << 20]), gzip(&letters.repeat(260)));
        let too_much = "decodes to more bytes than can be scanned";
        for (count, (path, action, arrives)) in (1..).zip([
            ("/silent", "block", false),
            ("/limit-alert", "alert", true),
            ("/limit-allow", "allow", true),
        ]) {
            for (coding, body, why, records) in [
                (
                    "foo",
                    &b"no such coding"[..],
                    "has an encoding that cannot be scanned",
                    1,
                ),
                ("gzip", &bomb, too_much, 1),
                ("gzip", &long, too_much, 2),
            ] {
                let head = format!("POST {path} HTTP/1.1\r\ncontent-encoding: {coding}");
                let response = lab.ask(&head, body);
                if arrives {
                    assert_eq!(response.status, 200);
                    let seen = lab.server.wait_requests(1).pop().unwrap();
                    assert!(seen.target == path && seen.body == body);
                } else {
                    refused(&response, why, "; send it ");
                }
                let wanted = format!("unscanned {action} - the body {why}");
                let told = |record: &Value| detections(record) == wanted;
                lab.gateway.wait_records(records, told);
            }
            let labels = [("detector", "unscanned"), ("action", action)];
            let counted = lab.gateway.metric("portreeve_dlp_findings_total", &labels);
            assert!(counted >= 3.0, "{count} {counted}");
        }
        // As it is, it is scanned all the same; also where the rule says nothing of it.
        for head in [
            "POST /silent HTTP/1.1",
            "POST /limit-allow HTTP/1.1\r\ncontent-encoding: foo",
        ] {
            let response = lab.ask(head, anthropic().as_bytes());
            refused(&response, "Anthropic key", "in the body");
        }
    });
}

#[test]
fn i5_the_gateways_own_secrets_do_not_leave_in_any_encoding() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        assert_eq!(lab.ask("POST /attach HTTP/1.1", b"clean").status, 200);
        let arrived = lab.server.wait_requests(1);
        assert_eq!(arrived[0].header("x-held"), Some(SECRET));
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("me:{SECRET}"));
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
        let forms = [SECRET.to_owned(), format!("Basic {basic}"), hex];
        for form in &forms {
            let response = lab.ask(&format!("GET /a HTTP/1.1\r\nx-note: {form}"), b"");
            refused(&response, "credential `held`", "in header `x-note`");
            // Also to its own host: there the gateway attaches it.
            let response = lab.ask("POST /attach HTTP/1.1", form.as_bytes());
            refused(&response, "credential `held`", "in the body at byte");
        }
        assert_eq!(lab.server.requests().len(), 1);
    });
}

#[test]
fn listed_secrets_and_parts_of_secrets_do_not_leave() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let head = "POST /a HTTP/1.1";
        let listed = "secret `db` of the operator's list";
        let whole = format!("{{\"password\": \"{LISTED}\"}}");
        refused(&lab.ask(head, whole.as_bytes()), listed, "at byte 14");
        let part = format!("{{\"password\": \"{}\"}}", &LISTED[9..21]);
        refused(
            &lab.ask(head, part.as_bytes()),
            "part of the secret `db`",
            "at byte 14",
        );
        let wrapped = base64::engine::general_purpose::STANDARD.encode(&part);
        let response = lab.ask(head, wrapped.as_bytes());
        refused(&response, "part of the secret `db`", "in base64");
        let less = format!("{{\"password\": \"{}\"}}", &LISTED[9..20]);
        assert_eq!(lab.ask(head, less.as_bytes()).status, 200);
        assert_eq!(lab.server.wait_requests(1).len(), 1);
        // One that cannot be had would leave unseen: the old stays in force.
        lab.gateway.write_secret("db", "");
        lab.gateway.reload();
        lab.gateway.wait_log("secret `db`: the secret is empty");
        refused(&lab.ask(head, whole.as_bytes()), listed, "at byte 14");
    });
}

#[test]
fn profiles_and_homes_decide_what_follows() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let token = anthropic();
        assert_eq!(lab.ask("POST /off HTTP/1.1", token.as_bytes()).status, 200);
        let browser_key = format!("AI{}Zq3vK8_mN2-xT7bR5wL9pY4cD1fG6hJ0aB2", "za");
        let response = lab.ask("POST /alert HTTP/1.1", browser_key.as_bytes());
        assert_eq!(response.status, 200);
        let alerted = |record: &Value| detections(record).starts_with("google-api-key alert ");
        let record = lab.gateway.wait_records(1, alerted).pop().unwrap();
        assert_eq!(record["portreeve.verdict"], "allow");
        let response = lab.ask("POST /strict HTTP/1.1", browser_key.as_bytes());
        refused(&response, "Google API key", "in the body at byte 0");
        // The operator's own kind, at home: in a header, not in a body.
        let header = format!("GET /home HTTP/1.1\r\nauthorization: Bearer {ACME}");
        assert_eq!(lab.ask(&header, b"").status, 200);
        let response = lab.ask("POST /home HTTP/1.1", ACME.as_bytes());
        refused(&response, "Acme token", "in the body at byte 0");
        assert_eq!(lab.server.wait_requests(3).len(), 3);
        let output = lab.gateway.command(&["dlp", "check"]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "the operator's has no example"
        );
        let output = lab.gateway.command(&["dlp", "explain", "acme-token"]);
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("good.test")
        );
    });
}

//! What is masked: the server gets the request, with as many stars as the data had bytes.

use super::*;

const RED: &str = "red_q7w3e9r2t5y8u1i4";

fn masked(text: &str) -> String {
    text.replace(RED, &"*".repeat(RED.len()))
}

fn chunked(head: &str, body: &str, size: usize) -> Vec<u8> {
    let mut raw = format!("{head}\r\nhost: good.test\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(size) {
        let piece = std::str::from_utf8(piece).unwrap();
        raw.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    raw.push_str("0\r\n\r\n");
    raw.into_bytes()
}

fn redacted(lab: &Lab<'_>, count: usize, place: &str) {
    let wanted = |record: &Value| detections(record).contains(" redacted ");
    let record = lab.gateway.wait_records(count, wanted).pop().unwrap();
    assert!(detections(&record).contains(place), "{record}");
    assert_eq!(record["portreeve.verdict"], "allow");
}

#[test]
fn bodies_pass_masked_and_as_long_as_they_were() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let body = format!("{{\"a\": \"{RED}\", \"b\": [\"{RED}\", 1]}}");
        assert_eq!(lab.ask("POST /a HTTP/1.1", body.as_bytes()).status, 200);
        redacted(&lab, 1, "in JSON field `a` at byte 7");
        redacted(&lab, 1, "in JSON field `b` at byte 37");
        // Forms, too, although they are read a second time.
        let head = "POST /a HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded";
        let form = format!("a=1+%41&b={RED}&c=%42");
        assert_eq!(lab.ask(head, form.as_bytes()).status, 200);
        redacted(&lab, 2, "in form field `b` at byte 10");
        // As they stream, cut anywhere.
        for size in [1, 7, 31, 4_000] {
            let raw = chunked("POST /a HTTP/1.1", &body, size);
            assert_eq!(lab.send(vec![raw]).unwrap().status, 200, "{size}");
        }
        let long = format!(
            "{}{RED} {}",
            "clean line\n".repeat(20_000),
            "x ".repeat(9_000)
        );
        assert_eq!(lab.ask("POST /a HTTP/1.1", long.as_bytes()).status, 200);
        let response = lab.ask_h2(long.clone().into_bytes(), Vec::new());
        assert_eq!(response.unwrap().status, 200);
        // Encoded, as many bytes as it has there.
        let hex =
            |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
        let encoded = format!("<{}>", hex(RED));
        assert_eq!(lab.ask("POST /a HTTP/1.1", encoded.as_bytes()).status, 200);
        let stars = format!("<{}>", "*".repeat(RED.len() * 2));
        let mut expected = vec![masked(&body), masked(&form)];
        expected.extend(vec![masked(&body); 4]);
        expected.extend([masked(&long), masked(&long), stars]);
        let received = lab.server.wait_requests(expected.len());
        for (request, expected) in received.iter().zip(&expected) {
            // Three bytes may have gone before anything told that a token begins.
            let text = String::from_utf8_lossy(&request.body).replace("red*", "****");
            assert!(text == *expected, "{}", expected.len());
        }
        lab.nowhere(RED);
        let labels = [("detector", "red-token"), ("action", "redacted")];
        let counted = lab.gateway.metric("portreeve_dlp_findings_total", &labels);
        assert!(counted >= 9.0, "{counted}");
    });
}

#[test]
fn header_fields_pass_masked() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let head = format!(
            "GET /a HTTP/1.1\r\nauthorization: Bearer {RED}\r\ncookie: a=%41; b={RED}\r\nx-a: {RED},{RED}"
        );
        assert_eq!(lab.ask(&head, b"").status, 200);
        redacted(&lab, 1, "in header `cookie`");
        let request = lab.server.wait_requests(1).pop().unwrap();
        let stars = "*".repeat(RED.len());
        for (name, value) in [
            ("authorization", format!("Bearer {stars}")),
            ("cookie", format!("a=%41; b={stars}")),
            ("x-a", format!("{stars},{stars}")),
        ] {
            let field = request.headers.iter().find(|(key, _)| key == name);
            assert_eq!(field.unwrap().1, value);
        }
        lab.nowhere(RED);
    });
}

#[test]
fn what_cannot_be_masked_is_refused() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, true);
        let gzip = gzip(RED.as_bytes());
        let escaped = format!("{{\"a\": \"\\u0072{}\"}}", &RED[1..]);
        let post = "POST /a HTTP/1.1";
        let cases = [
            // What was decided on stays as it is.
            (format!("GET /{RED} HTTP/1.1"), Vec::new(), "in the path"),
            (
                format!("GET /a?b={RED} HTTP/1.1"),
                Vec::new(),
                "in query parameter `b`",
            ),
            // Something vouches for the bytes.
            (
                format!("{post}\r\ncontent-digest: sha-256=:x:"),
                RED.into(),
                "in the body at byte 0",
            ),
            (
                format!("{post}\r\ncontent-encoding: gzip"),
                gzip,
                "in the decoded body at byte 0",
            ),
            // It is not known which they are.
            (post.to_owned(), escaped.into_bytes(), "in escapes"),
            (
                "POST /strict HTTP/1.1".to_owned(),
                RED.into(),
                "in the body at byte 0",
            ),
        ];
        for (count, (head, body, place)) in (1..).zip(cases) {
            refused(&lab.ask(&head, &body), "Red token", place);
            let record = lab.detected(count);
            assert!(
                detections(&record).starts_with("red-token block "),
                "{record}"
            );
        }
        let trailers = vec![("x-note".to_owned(), RED.to_owned())];
        lab.ask_h2(b"clean".to_vec(), trailers);
        let record = lab.detected(7);
        assert!(detections(&record).ends_with(" in trailer `x-note`"));
        lab.nowhere(RED);
    });
}

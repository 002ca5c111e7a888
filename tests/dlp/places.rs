//! Where things are found, in bodies that have names for their parts, and in messages that
//! are compressed one by one.

use super::*;

/// Bodies of which each kind has its own places, with the words for them.
#[allow(clippy::too_many_lines, reason = "a table")]
fn places(token: &str) -> Vec<(&'static str, String, String)> {
    let form = "application/x-www-form-urlencoded";
    let parts = "multipart/form-data; boundary=\"b 1\"";
    let part = |disposition: &str, content: &str| {
        format!(
            "--b 1\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n--b 1--\r\n"
        )
    };
    let at = |text: &str| text.find(token).unwrap();
    let file = part(&format!("name=\"doc\"; filename=\"{token}.txt\""), "x");
    let content = part("name=\"doc\"; filename=\"a.txt\"", &format!("key {token}"));
    let json = format!("{{\"a\": {{\"notes\": [\"x\", \"{token}\"]}}}}");
    let escaped = format!(
        "a=1&user%5Bkey%5D=1+{}%{:02x}",
        &token[..50],
        token.as_bytes()[50]
    );
    let escaped = format!("{escaped}{}", &token[51..]);
    vec![
        (
            form,
            format!("a=1&note=x+{token}&b=2"),
            "in form field `note` at byte 11".to_owned(),
        ),
        (
            form,
            escaped,
            "in form field `user[key]` at byte ".to_owned(),
        ),
        (
            form,
            format!("a=1&{token}=2"),
            "in the name of a form field at byte 4".to_owned(),
        ),
        (
            form,
            json.clone(),
            format!("in JSON field `notes` at byte {}", at(&json)),
        ),
        (
            "application/json",
            format!("{{\"{token}\": 1}}"),
            "in the name of a JSON field at byte 2".to_owned(),
        ),
        // Not as a place either.
        (
            "text/plain",
            format!("[{{\"x{token}\": \"{token}\"}}]"),
            "in a JSON field at byte ".to_owned(),
        ),
        (
            parts,
            file.clone(),
            format!(
                "in the file name of multipart part `doc` at byte {}",
                at(&file)
            ),
        ),
        (
            parts,
            content.clone(),
            format!("in multipart part `doc` at byte {}", at(&content)),
        ),
    ]
}

#[test]
fn the_place_of_a_finding_is_named_and_its_data_is_not() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let token = anthropic();
        for (count, (kind, body, place)) in (1..).zip(places(&token)) {
            let head = format!("POST /a HTTP/1.1\r\ncontent-type: {kind}");
            let response = lab.ask(&head, body.as_bytes());
            refused(&response, "Anthropic key", &place);
            assert!(!response.text().contains(&token[20..]));
            let record = lab.detected(count);
            assert!(detections(&record).contains(&place), "{record}");
        }
        // As they stream, of no declared length.
        let already = places(&token).len();
        for (count, (kind, body, place)) in (already + 1..).zip(places(&token)) {
            let mut raw = format!(
                "POST /a HTTP/1.1\r\nhost: good.test\r\ncontent-type: {kind}\r\n\
                 transfer-encoding: chunked\r\n\r\n"
            );
            for piece in body.as_bytes().chunks(60) {
                let piece = std::str::from_utf8(piece).unwrap();
                raw.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
            }
            raw.push_str("0\r\n\r\n");
            lab.send(vec![raw.into_bytes()]);
            let record = lab.detected(count);
            assert!(detections(&record).contains(&place), "{record}");
        }
        let name = format!("GET /a HTTP/1.1\r\nx-{}: 1", hex(&token));
        refused(
            &lab.ask(&name, b""),
            "Anthropic key",
            "in the name of a header",
        );
        lab.nowhere(&token[20..]);
        lab.nowhere(&hex(&token));
    });
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn messages_of_grpc_hide_nothing() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, true);
        let token = anthropic();
        let message = |flag: u8, data: &[u8]| {
            let length = u32::try_from(data.len()).unwrap().to_be_bytes();
            [&[flag][..], &length, data].concat()
        };
        let zstd = |text: &str| message(1, &zstd::encode_all(text.as_bytes(), 3).unwrap());
        let request = |coding: &str, body: Vec<u8>| {
            let request = http::Request::post("https://good.test/a.Service/Call")
                .header("content-type", "application/grpc")
                .header("grpc-encoding", coding)
                .header("te", "trailers")
                .body(())
                .unwrap();
            let trust = lab.trust_h2.clone();
            lab.world.agent.block_on(async move {
                let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
                let h2 = H2::new(stream).await.unwrap();
                h2.request(request, &body, &Vec::new()).await.ok()
            })
        };
        let clean = [message(0, b"clean"), zstd("clean"), zstd("clean, too")].concat();
        assert_eq!(request("zstd", clean.clone()).unwrap().status, 200);
        assert_eq!(lab.server.wait_requests(1)[0].body, clean);
        let dirty = [clean, zstd(&format!("key {token}")), zstd("clean")].concat();
        request("zstd", dirty);
        let record = lab.detected(1);
        let place = " in a decoded gRPC message at byte 4";
        assert!(detections(&record).ends_with(place), "{record}");
        // Its length, 108, is the code of `l`, and the field that follows begins with `J`.
        assert_eq!(token.len(), 108);
        let string = [b"\x0al", token.as_bytes(), b"J\x01x"].concat();
        request("zstd", message(0, &string));
        let record = lab.detected(2);
        let place = " in the body at byte 7";
        assert!(detections(&record).ends_with(place), "{record}");
        request("snappy", message(1, b"what may this be"));
        let unscanned = |record: &Value| {
            detections(record)
                == "unscanned block - the body has messages in an encoding that cannot be scanned"
        };
        lab.gateway.wait_records(1, unscanned);
        lab.nowhere(&token);
    });
}

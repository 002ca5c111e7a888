//! I5: servers that echo what they got.

use crate::common::client::{H1, Tls};
use crate::common::world::{OTHER, SERVER};
use crate::common::{Answer, Upstream, World, inside};
use crate::forms::{assert_clean, echoes};
use crate::{
    CONFIG, COOKIE, RULES, SECRET, USER, gateway, get, get_h2, get_raw, server, server_h1,
};

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The forms of the secret as the server got it, one after the other.
fn everything(request: &crate::common::Request) -> String {
    let authorization = request.header("authorization").unwrap_or("none").to_owned();
    let mut text = format!("Authorization: {authorization}\n");
    for (form, echo) in echoes(SECRET) {
        text.push_str(&format!("{form}: {echo}\n"));
    }
    text
}

#[test]
fn i5_no_part_of_a_response_tells_a_credential() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request| {
            let authorization = request.header("authorization").unwrap_or("none");
            Answer::ok(everything(request))
                .header("x-echo", authorization)
                .header("x-echo", &echoes(SECRET)[1].1)
                .header("trailer", "x-sum")
                .trailer("x-sum", &format!("sum of {authorization}"))
        });
        let gateway = gateway(&world, RULES);
        for host in ["api.good.test", "git.good.test", "plain.good.test"] {
            let h1 = get(&world, &gateway, host, "/", "te: trailers\r\n")
                .pop()
                .unwrap();
            let h2 = get_h2(&world, &gateway, host, "/").unwrap();
            let sent = server.requests().pop().unwrap();
            for response in [h1, h2] {
                assert_eq!(response.status, 200);
                let all = format!("{response:?}");
                assert_clean(host, all.as_bytes(), SECRET);
                assert_clean(host, &response.body, SECRET);
                assert!(!all.contains(sent.header("authorization").unwrap_or("absent")));
                assert_eq!(response.body.len(), everything(&sent).len());
                assert!(response.text().contains("HEX: ****"), "{}", response.text());
                assert!(!response.trailers.is_empty(), "{response:?}");
            }
        }
        // The servers did get it, and the host without a rule for it did not.
        let requests = server.wait_requests(6);
        assert_eq!(
            requests[0].header("authorization"),
            Some(&*format!("Bearer {SECRET}"))
        );
        assert!(
            requests[2]
                .header("authorization")
                .unwrap()
                .starts_with("Basic ")
        );
        assert_eq!(requests[4].header("authorization"), None);
        let redacted = gateway.metric("portreeve_echo_redactions_total", &[]);
        assert!(redacted >= 100.0, "{redacted}");
        let record = gateway.wait_records(1, |record| {
            record["server.address"] == "plain.good.test"
                && record["portreeve.echo_redactions"].as_u64() > Some(15)
        });
        assert!(!record.is_empty());
        assert!(!format!("{record:?}").contains(SECRET));
        let _ = USER;
    });
}

#[test]
fn i5_not_in_interim_responses_nor_across_chunks() {
    inside(|| {
        let world = World::new();
        let _server = server_h1(&world, |request| {
            let authorization = request.header("authorization").unwrap();
            let size = request.target[1..].parse().unwrap();
            let mut raw = format!(
                "HTTP/1.1 103 Early Hints\r\nlink: <{authorization}>\r\n\r\n\
                 HTTP/1.1 200 {authorization}\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            .into_bytes();
            for chunk in everything(request).as_bytes().chunks(size) {
                raw.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                raw.extend_from_slice(chunk);
                raw.extend_from_slice(b"\r\n");
            }
            raw.extend_from_slice(b"0\r\n\r\n");
            Answer::raw(raw)
        });
        let gateway = gateway(&world, RULES);
        for size in [1, 2, 3, 7, 16, 61] {
            let responses = get(&world, &gateway, "api.good.test", &format!("/{size}"), "");
            assert_eq!(responses.len(), 2, "{responses:?}");
            assert!(responses[0].header("link").unwrap().contains("***"));
            for response in &responses {
                assert_clean("response", format!("{response:?}").as_bytes(), SECRET);
                assert_clean("response", &response.body, SECRET);
            }
        }
        // The words of the status line are the gateway's own.
        let raw = get_raw(&world, &gateway, "api.good.test", "/61", "");
        assert!(contains(&raw, b"HTTP/1.1 200 OK\r\n"));
        assert_clean("status line", &raw, SECRET);
    });
}

#[test]
fn i5_what_one_call_writes_no_other_reads() {
    inside(|| {
        let world = World::new();
        // Keeps what it got and gives it to whoever asks, in parts as well.
        let kept = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let _server = server_h1(&world, move |request| {
            let mut kept = kept.lock().unwrap();
            if let Some(authorization) = request.header("authorization") {
                authorization.clone_into(&mut kept);
                return Answer::ok("kept");
            }
            match request.header("range") {
                None => Answer::ok(kept.clone()),
                Some(range) => {
                    let from = range.trim_start_matches("bytes=");
                    let from: usize = from.trim_end_matches('-').parse().unwrap();
                    let to = (from + 10).min(kept.len());
                    Answer::ok(&kept.as_bytes()[from..to])
                        .status(206)
                        .header("content-range", &format!("bytes {from}-{to}/*"))
                }
            }
        });
        let gateway = gateway(&world, RULES);
        get(&world, &gateway, "api.good.test", "/", "");
        let whole = get(&world, &gateway, "plain.good.test", "/", "")
            .pop()
            .unwrap();
        assert_eq!(whole.text(), format!("Bearer {}", "*".repeat(SECRET.len())));
        for from in 0..SECRET.len() {
            let line = format!("range: bytes={from}-\r\n");
            let part = get(&world, &gateway, "plain.good.test", "/", &line)
                .pop()
                .unwrap();
            let told = part
                .body
                .windows(8)
                .any(|window| SECRET.as_bytes().windows(8).any(|secret| secret == window));
            assert!(!told, "{from}: {}", part.text());
            assert_eq!(part.status, 206);
        }
        // Seven bytes at a time, none of which tells.
        let line = "range: bytes=8-14\r\n";
        let whole = get(&world, &gateway, "plain.good.test", "/", line).pop();
        assert_eq!(
            whole.unwrap().text(),
            format!("Bearer {}", "*".repeat(SECRET.len()))
        );
    });
}

#[test]
fn i5_refusals_tell_nothing() {
    inside(|| {
        let world = World::new();
        let gateway = gateway(&world, RULES);
        // The agent guesses: whether it was right must not show anywhere but in the mask.
        let guess = "canary-7d/41+f0=8c&\"29".replace('"', "%22");
        let lines = get_raw(
            &world,
            &gateway,
            "plain.good.test",
            &format!("/{guess}"),
            "x-a: b\r\n",
        );
        assert_clean("page", &lines, SECRET);
    });
}

#[test]
fn clean_responses_are_byte_identical_and_events_come_at_once() {
    inside(|| {
        let world = World::new();
        let body: Vec<u8> = (0..=255_u8).cycle().take(300_000).collect();
        let expected = body.clone();
        let server = server(&world, move |_| Answer::ok(body.clone()));
        let gateway = gateway(&world, RULES);
        for _ in 0..2 {
            let response = get(&world, &gateway, "api.good.test", "/", "")
                .pop()
                .unwrap();
            assert_eq!(response.body, expected);
            assert_eq!(
                get_h2(&world, &gateway, "api.good.test", "/").unwrap().body,
                expected
            );
        }
        assert!(
            server
                .requests()
                .iter()
                .all(|request| request.header("accept-encoding").is_some())
        );
        assert_eq!(gateway.metric("portreeve_echo_redactions_total", &[]), 0.0);
    });
}

#[test]
fn i5_a_compressed_echo_is_cut_and_what_is_clean_passes_unchanged() {
    inside(|| {
        let world = World::new();
        let clean = gzip(&"no secret here ".repeat(9000));
        let body = clean.clone();
        let server = server(&world, move |request| {
            let authorization = request.header("authorization").unwrap();
            let body = match request.target.as_str() {
                "/clean" => body.clone(),
                _ => gzip(&format!("{}{authorization} and more", noise(300_000))),
            };
            Answer::ok(body).header("content-encoding", "gzip")
        });
        let gateway = gateway(&world, RULES);
        let accept = "accept-encoding: gzip, compress, br;q=0.1\r\n";
        let whole = get(&world, &gateway, "api.good.test", "/clean", accept)
            .pop()
            .unwrap();
        assert_eq!(whole.body, clean);
        assert_eq!(
            get_h2(&world, &gateway, "api.good.test", "/clean")
                .unwrap()
                .body,
            clean
        );
        let sent = server.requests();
        assert_eq!(sent[0].header("accept-encoding"), Some("gzip, br;q=0.1"));
        assert_eq!(sent[1].header("accept-encoding"), Some("identity"));

        assert!(
            get(&world, &gateway, "api.good.test", "/echo", accept).is_empty(),
            "cut"
        );
        assert!(
            get_h2(&world, &gateway, "api.good.test", "/echo").is_err(),
            "reset"
        );
        let raw = get_raw(&world, &gateway, "api.good.test", "/echo", accept);
        let start = raw
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        let mut told = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&raw[start..]);
        let _ = std::io::Read::read_to_end(&mut reader, &mut told);
        assert_clean("cut body", &told, SECRET);
        let records = gateway.wait_records(3, |record| record["portreeve.reason"] == "echo_found");
        assert!(
            records
                .iter()
                .all(|record| record["portreeve.echo_redactions"] == 1)
        );
        assert!(gateway.metric("portreeve_echo_redactions_total", &[]) >= 3.0);
    });
}

/// Text that hardly compresses.
fn noise(length: usize) -> String {
    let mut state = 42_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'A' + u8::try_from((state >> 24) % 26).unwrap())
    };
    (0..length).map(|_| next()).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn i5_where_the_rule_says_so_a_compressed_echo_is_masked() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request| {
            let body = gzip(&everything(request));
            Answer::ok(body)
                .header("content-encoding", "gzip")
                .header("content-digest", "sha-256=:AAAA:")
                .header("etag", "\"of-these-bytes\"")
        });
        let rule = "name = \"api\"\nagents = [\"builder\"]\n";
        let rules = RULES.replace(rule, &format!("{rule}echo_recode = true\n"));
        assert_ne!(rules, RULES);
        let gateway = gateway(&world, &rules);
        let accept = "accept-encoding: gzip\r\n";
        let h1 = get(&world, &gateway, "api.good.test", "/", accept).pop();
        let h2 = get_h2(&world, &gateway, "api.good.test", "/");
        let sent = server.requests().pop().unwrap();
        for response in [h1.unwrap(), h2.unwrap()] {
            assert_clean("recoded", &response.body, SECRET);
            assert_eq!(response.body.len(), everything(&sent).len());
            assert!(response.text().contains("HEX: ****"), "{}", response.text());
            for name in ["content-encoding", "content-digest", "etag"] {
                assert_eq!(response.header(name), None, "{name}");
            }
        }
        // What `HEAD` says fits what `GET` gives.
        let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
        let head = world.agent.block_on(async move {
            let stream = tls.connect((SERVER[0], 443), "api.good.test").await;
            let mut h1 = H1::new(stream.unwrap());
            let request = "HEAD / HTTP/1.1\r\nhost: api.good.test\r\nconnection: close\r\n\r\n";
            h1.send(request).await.unwrap();
            h1.read_to_close().await.unwrap()
        });
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for name in ["content-encoding", "content-length", "etag"] {
            assert!(!head.contains(&format!("\r\n{name}:")), "{head}");
        }
        // On another rule it is cut, as ever.
        let cut = get(&world, &gateway, "git.good.test", "/", accept);
        assert!(cut.is_empty(), "{cut:?}");
        gateway.wait_records(1, |record| record["portreeve.reason"] == "echo_found");
    });
}

#[test]
fn i5_nor_in_chunks_and_frames_of_any_size() {
    inside(|| chunks_and_frames([1, 2, 3, 5, 8, 13, 21, 34].into_iter()));
}

#[test]
#[ignore = "every size, over both protocols: a minute"]
fn i5_nor_in_chunks_and_frames_of_every_size() {
    inside(|| chunks_and_frames(1..=200));
}

/// Every form, in chunks of HTTP/1 and DATA frames of HTTP/2, as events and compressed.
fn chunks_and_frames(sizes: impl Iterator<Item = usize>) {
    let world = World::new();
    let script = |request: &crate::common::Request| {
        let size = request.target[1..].parse().unwrap();
        let events = format!(
            "data: {}\n\n",
            everything(request).replace('\n', "\n\ndata: ")
        );
        let answer = match request.header("accept-encoding") {
            Some("gzip") => Answer::ok(gzip(&events)).header("content-encoding", "gzip"),
            _ => Answer::ok(events).header("content-type", "text/event-stream"),
        };
        answer.in_pieces_of(size)
    };
    let _h1 = server_h1(&world, script);
    let tls = world.ca.server(&["git.good.test"]);
    let _h2 = Upstream::https(&world.internet, OTHER, 443, tls, script);
    let config = CONFIG.replace(
        r#""git.good.test" = ["203.0.113.10", "2001:db8:1::10"]"#,
        r#""git.good.test" = ["203.0.113.11", "2001:db8:1::11"]"#,
    );
    let rules = RULES.replace("agents = [", "echo_recode = true\nagents = [");
    let gateway = world
        .gateway_builder(&config)
        .rule("rules.toml", &rules)
        .secret("canary", SECRET)
        .secret("cookie", COOKIE)
        .start();
    for size in sizes {
        for host in ["api.good.test", "git.good.test"] {
            let mut told = Vec::new();
            for lines in ["", "accept-encoding: gzip\r\n"] {
                let path = format!("/{size}");
                let response = get(&world, &gateway, host, &path, lines).pop().unwrap();
                assert_eq!(response.status, 200, "{host} {size}");
                assert_clean(host, &response.body, SECRET);
                assert!(response.text().contains("data: HEX: ****"));
                told.push(response.body);
            }
            assert_eq!(told[0], told[1], "{host} {size}");
        }
    }
}

#[test]
fn i5_a_body_that_cannot_be_looked_into_does_not_pass() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request| {
            let coding = request.target[1..].replace('+', ", ");
            Answer::ok("x").header("content-encoding", &coding)
        });
        let gateway = gateway(&world, RULES);
        for coding in ["compress", "rot13", "gzip+gzip", "dcb"] {
            let path = format!("/{coding}");
            let response = get(&world, &gateway, "plain.good.test", &path, "")
                .pop()
                .unwrap();
            assert_eq!(response.status, 502, "{coding}");
            assert!(
                response.text().contains("urn:portreeve:undecodable"),
                "{}",
                response.text()
            );
        }
        assert_eq!(server.requests().len(), 4);
    });
}

//! What is compressed by itself, though no header says so.

use super::*;

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

/// As chunks, of which the first are of one byte each.
fn chunked(head: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let head = format!("{head}\r\nhost: good.test\r\ntransfer-encoding: chunked\r\n\r\n");
    let (first, rest) = body.split_at(5);
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let chunks = first.chunks(1).chain(rest.chunks(10_000)).map(chunk);
    let end = b"0\r\n\r\n".to_vec();
    [head.into_bytes()]
        .into_iter()
        .chain(chunks)
        .chain([end])
        .collect()
}

#[test]
fn what_is_compressed_by_itself_hides_nothing() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let token = anthropic();
        let text = random_lines(40_000);
        let long = |middle: &str| format!("{text}{middle}\n{}", &text[..2_000]).into_bytes();
        let (mut found, mut clean) = (0, Vec::new());
        for compress in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
            // What curl calls a file comes first.
            for kind in [
                "application/x-www-form-urlencoded",
                "application/octet-stream",
            ] {
                let head = format!("POST /a HTTP/1.1\r\ncontent-type: {kind}");
                clean.push(compress(b"nothing here"));
                assert_eq!(lab.ask(&head, &clean[clean.len() - 1]).status, 200);
                let response = lab.ask(&head, &compress(format!("key {token}").as_bytes()));
                refused(&response, "Anthropic key", "in the decoded body at byte 4");
                clean.push(compress(&long("nothing here")));
                let response = lab.send(chunked(&head, &clean[clean.len() - 1]));
                assert_eq!(response.unwrap().status, 200);
                lab.send(chunked(&head, &compress(&long(&token))));
                found += 2;
                lab.detected(found);
            }
        }
        // What decoders skip, as their readers will: it is scanned as it stands.
        let skipped = format!("&x={token}");
        let length = u32::try_from(skipped.len()).unwrap().to_le_bytes();
        let skipped = [
            &zstd(b"")[..],
            b"\x50\x2a\x4d\x18",
            &length,
            skipped.as_bytes(),
        ]
        .concat();
        for head in [
            "POST /a HTTP/1.1",
            "POST /a HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded",
        ] {
            refused(&lab.ask(head, &skipped), "Anthropic key", "in ");
        }
        // Masked it would be broken: it stands there as it is.
        let stored = gzip_at(0, b"red_q7w3e9r2t5y8u1i4");
        assert_eq!(lab.ask("POST /a HTTP/1.1", &stored).status, 403);
        lab.send(chunked("POST /a HTTP/1.1", &stored));
        let broken = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff\xff";
        let response = lab.ask("POST /a HTTP/1.1", broken);
        refused(
            &response,
            "begins as gzip or zstd does",
            "before it is compressed",
        );
        let arrived: Vec<Vec<u8>> = lab
            .server
            .requests()
            .into_iter()
            .map(|it| it.body)
            .collect();
        assert!(arrived == clean, "{} of {}", arrived.len(), clean.len());
    });
}

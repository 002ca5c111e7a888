//! Honeytokens: what lies where only somebody who looks for secrets finds it never leaves.

use super::*;

/// Looks like one of the operator's tokens, which may go to this host in header fields.
const TRAP: &str = "acme_z9x8c7v6b5n4m3q2";

fn alarm(lab: &Lab<'_>, count: usize) -> Value {
    let wanted = |record: &Value| record["portreeve.reason"] == "honeytoken";
    lab.gateway.wait_records(count, wanted).pop().unwrap()
}

#[test]
fn a_honeytoken_is_refused_whatever_the_rule_says() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        // One of the same kind is at home here.
        let response = lab.ask(&format!("GET /a HTTP/1.1\r\nx-key: {ACME}"), b"");
        assert_eq!(response.status, 200, "{}", response.text());
        let connections = lab.server.connections().len();
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("key={TRAP}"));
        let body = format!("{{\"note\": \"{TRAP}\"}}");
        let mut count = 0;
        for path in ["/a", "/off", "/strict", "/attach", "/limit-allow"] {
            for (head, body, place) in [
                (
                    format!("GET {path} HTTP/1.1\r\nx-key: {TRAP}"),
                    "",
                    "in header `x-key`",
                ),
                (format!("POST {path} HTTP/1.1"), body.as_str(), "in "),
                (format!("POST {path} HTTP/1.1"), encoded.as_str(), "in "),
            ] {
                count += 1;
                let response = lab.ask(&head, body.as_bytes());
                refused(&response, "honeytoken `trap` of agent `alice`", place);
                let record = alarm(&lab, count);
                let found = detections(&record);
                assert!(found.contains("honeytoken:trap block "), "{path}: {found}");
            }
        }
        assert_eq!(
            lab.server.connections().len(),
            connections,
            "nothing more was dialled"
        );
        lab.nowhere(TRAP);
        let labels = [("detector", "honeytoken:trap")];
        let alarms = lab
            .gateway
            .metric("portreeve_dlp_honeytokens_total", &labels);
        assert!(alarms >= 15.0, "{alarms}");
    });
}

#[test]
fn a_honeytoken_that_streams_is_broken_off() {
    inside(|| {
        let world = World::new();
        let lab = Lab::new(&world, false);
        let clean = "{\"line\": \"nothing to see here\"}\n".repeat(20_000);
        for path in ["/off", "/a"] {
            let length = clean.len() + TRAP.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: good.test\r\ncontent-length: {length}\r\n\r\n"
            );
            let (most, last) = TRAP.split_at(TRAP.len() - 1);
            let first = format!("{head}{clean}{most}").into_bytes();
            lab.send_after(first, clean.len(), last.into());
        }
        let record = alarm(&lab, 2);
        assert!(detections(&record).contains("honeytoken:trap block "));
        lab.nowhere(TRAP);
    });
}

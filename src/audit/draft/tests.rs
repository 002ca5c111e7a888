//! What a line of the log looks like.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::*;
use crate::audit::record::Messages;
use crate::audit::{Gap, GapCause, KEYS, Kind};
use crate::name::{Authority, ClientAddr, Origin};

fn line(record: &Record) -> String {
    let (mut draft, mut line) = (Draft::default(), Vec::new());
    // What was there before must not show.
    draft.write(&full());
    draft.write(record);
    draft.append(7, &mut line);
    String::from_utf8(line).unwrap()
}

/// Every field, named: a new one does not compile until it stands here and in the table.
fn full() -> Record {
    Record {
        time: Some(UNIX_EPOCH + Duration::from_micros(1_767_323_045_000_042)),
        id: Some(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)),
        kind: Kind::Request,
        agent: Some(AgentName::new("builder")),
        verdict: Some(Verdict::Allow),
        reason: Some(Reason::UpstreamClosed),
        sentence: Some("the server closed early".to_owned()),
        rule: Some(RuleName::new("anthropic-messages")),
        rule_place: Some(("rules/anthropic.toml".into(), 7)),
        credential: Some(CredentialName::new("anthropic")),
        detections: vec![Detection {
            detector: "github-token".into(),
            action: "alert",
            place: "in header `x-note`".to_owned(),
            fingerprint: "0123456789abcdef".to_owned(),
        }],
        generation: Some(3),
        client: Some(ClientAddr("10.0.1.5:50000".parse().unwrap())),
        origin: Some(Origin("[2001:db8::1]:443".parse().unwrap())),
        server: Some(Authority::parse(b"api.anthropic.com", 443).unwrap()),
        peer: Some("[2001:db8::2]:443".parse().unwrap()),
        tls_version: Some("1.3"),
        server_name: Some(Host::parse(b"api.anthropic.com").unwrap()),
        version: Some(Version::HTTP_11),
        upstream_version: Some(Version::HTTP_2),
        upstream_reused: Some(true),
        method: Some(Method::POST),
        scheme: Some("https"),
        path: Some("/v1/messages".to_owned()),
        query: Some("beta=true".to_owned()),
        status: Some(StatusCode::OK),
        request_bytes: Some(1),
        response_bytes: Some(2),
        trailers_lost: Some(0),
        echo_redactions: Some(1),
        messages: Some(Messages {
            request: 5,
            response: 6,
            close: Some(1000),
        }),
        requests: Some(4),
        duration: Some(Duration::from_millis(1_500)),
        connect_duration: Some(Duration::from_micros(250)),
        first_byte_duration: Some(Duration::from_nanos(1_999)),
        gateway_version: Some("0.1.0"),
        gap: Some(Gap {
            cause: GapCause::Killed,
            last_sequence: Some(6),
            torn: Some(true),
            lost: Some(1),
        }),
    }
}

/// The keys of a flat object, in the order of the text.
fn keys(line: &str) -> Vec<&'static str> {
    let mut found: Vec<_> = KEYS
        .iter()
        .filter_map(|(key, _)| line.find(&format!("\"{key}\":")).map(|at| (at, *key)))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, key)| key).collect()
}

#[test]
fn a_full_record_has_exactly_the_documented_keys_in_their_order() {
    let line = line(&full());
    let object: Value = serde_json::from_str(&line).unwrap();
    let object = object.as_object().unwrap();
    assert_eq!(object.len(), KEYS.len());
    assert!(
        object
            .values()
            .all(|value| !value.is_object() && !value.is_array())
    );
    assert_eq!(
        keys(&line),
        KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>()
    );
}

#[test]
fn values_are_as_documented() {
    let object: Value = serde_json::from_str(&line(&full())).unwrap();
    for (key, value) in [
        ("time", Value::from("2026-01-02T03:04:05.000042Z")),
        (
            "portreeve.record.id",
            "01920000-0000-7000-8000-000000000001".into(),
        ),
        ("portreeve.record.sequence", 7.into()),
        ("portreeve.origin", "[2001:db8::1]:443".into()),
        ("network.peer.address", "2001:db8::2".into()),
        ("server.port", 443.into()),
        ("network.protocol.version", "1.1".into()),
        ("portreeve.upstream.protocol.version", "2".into()),
        ("http.response.status_code", 200.into()),
        ("portreeve.reason", "upstream_closed".into()),
        ("portreeve.duration", 1.5.into()),
        ("portreeve.connect.duration", 0.000_25.into()),
        ("portreeve.first_byte.duration", 0.000_001.into()),
    ] {
        assert_eq!(object[key], value, "{key}");
    }
}

#[test]
fn absent_fields_are_left_out() {
    let line = line(&Record::new(Kind::Stop));
    assert_eq!(
        line,
        "{\"portreeve.record.sequence\":7,\"portreeve.record.kind\":\"stop\"}\n"
    );
}

#[test]
fn whatever_an_agent_sends_is_one_printable_line() {
    let hostile = "/\r\n{\"forged\":1}\0\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{200b}\u{feff}\u{e0041}\\\"é😀";
    let record = Record {
        path: Some(hostile.to_owned()),
        sentence: Some(hostile.to_owned()),
        rule_place: Some((hostile.into(), 1)),
        ..Record::default()
    };
    let line = line(&record);
    let text = line.strip_suffix('\n').unwrap();
    for character in text.chars() {
        let printable = !character.is_control() && !('\u{2000}'..'\u{2070}').contains(&character);
        assert!(
            printable && character < '\u{e0000}' && character != '\u{feff}',
            "{character:?}"
        );
    }
    // Nothing is lost by it.
    let object: Value = serde_json::from_str(text).unwrap();
    assert_eq!(object["url.path"], hostile);
}

#[test]
fn i9_values_are_capped_at_a_character() {
    let record = Record {
        path: Some("é".repeat(1_025)),
        query: Some("q".repeat(LONG)),
        sentence: Some(format!("a{}", "é".repeat(200))),
        method: Some(Method::from_bytes(&[b'M'; 300]).unwrap()),
        ..Record::default()
    };
    let object: Value = serde_json::from_str(&line(&record)).unwrap();
    assert_eq!(object["url.path"], format!("{}…", "é".repeat(1_024)));
    assert_eq!(object["url.query"], "q".repeat(LONG));
    assert_eq!(
        object["portreeve.sentence"],
        format!("a{}…", "é".repeat(127))
    );
    assert_eq!(
        object["http.request.method"],
        format!("{}…", "M".repeat(SHORT))
    );
}

#[test]
fn times_before_and_after_common_years_do_not_break_the_line() {
    for seconds in [0, 253_402_300_799, 253_402_300_800, 1 << 40] {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let record = Record {
            time: Some(time),
            ..Record::default()
        };
        let object: Value = serde_json::from_str(&line(&record)).unwrap();
        assert_eq!(object["time"].as_str().unwrap().len(), 27);
    }
}

//! Field lines, and the fields that are about the connection.

use super::*;

#[test]
fn field_lines_are_one_name_colon_value() {
    refused_fields(&[
        (b": x\r\n", E::FieldName),
        (b":\r\n", E::FieldName),
        (b"x\r\n", E::NoColon),
        (b"X : 1\r\n", E::FieldName),
        (b"X\t: 1\r\n", E::FieldName),
        (b"X Y: 1\r\n", E::FieldName),
        (b"X\x85: 1\r\n", E::FieldName),
        (b"X\x7f: 1\r\n", E::FieldName),
        (b"X\x01: 1\r\n", E::FieldName),
        (b"\xffX: 1\r\n", E::FieldName),
        (b"X(: 1\r\n", E::FieldName),
        (b"\"X\": 1\r\n", E::FieldName),
        (b"X: 1\r\n 2\r\n", E::ObsFold),
        (b"X: 1\r\n\t2\r\n", E::ObsFold),
        (b"X: 1\r\n \r\n", E::ObsFold),
        (b"X: a\x01b\r\n", E::FieldValue),
        (b"X: a\x0bb\r\n", E::FieldValue),
        (b"X: a\x7fb\r\n", E::FieldValue),
        (b"X: a\x1b[0m\r\n", E::FieldValue),
        (b"X: a\x08\r\n", E::FieldValue),
        (b"X: a\rb\r\n", E::BareCr),
        (b"X: a\x00b\r\n", E::Nul),
    ]);
    let head = accepted(b"X:\t a \xff\"\tb \t\r\nX:\r\nX:c\r\n");
    let values: Vec<_> = head
        .headers
        .get_all("x")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(values, [&b"a \xff\"\tb"[..], b"", b"c"]);
}

#[test]
fn connection_fields_are_taken_out() {
    refused_fields(&[
        (b"Connection: host\r\n", E::ConnectionNames),
        (b"Connection: close, Content-Length\r\n", E::ConnectionNames),
        (b"Connection: x,Transfer-Encoding\r\n", E::ConnectionNames),
        (b"Connection: a b\r\n", E::ConnectionOption),
        (b"Connection: \xff\r\n", E::ConnectionOption),
        (b"Connection: close;x\r\n", E::ConnectionOption),
        (b"Trailer: a b\r\n", E::TrailerList),
        (
            b"Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
            E::DuplicateUpgrade,
        ),
    ]);
    let head = accepted(
        b"X-Api-Key: k\r\nAuthorization: b\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
          TE: gzip;q=0.1, Trailers\r\nTrailer: grpc-status, X-T\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\
          Connection: , close,x-api-key ,Authorization, TE,\r\nHTTP2-Settings: x\r\n\
          Connection: HTTP2-Settings\r\nExpect: 100-Continue\r\n",
    );
    let left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-kept"]);
    assert_eq!(
        head.connection,
        ["x-api-key", "authorization", "te", "http2-settings"]
    );
    assert_eq!(head.declared_trailers, ["grpc-status", "x-t"]);
    assert!(head.te_trailers && !head.keep_alive);
    assert_eq!(head.upgrade, None, "Connection does not name it");
    assert_eq!(head.expect, Some(Expect::Continue));
    let head = accepted(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(head.upgrade.unwrap(), "websocket");
}

#[test]
fn expectations_are_one_known_word() {
    for odd in [
        &b"Expect: 200-ok\r\n"[..],
        b"Expect:\r\n",
        b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
        b"Expect: 100-continue, x\r\n",
        b"Expect: 100 continue\r\n",
    ] {
        assert_eq!(
            accepted(odd).expect,
            Some(Expect::Unknown),
            "{}",
            odd.escape_ascii()
        );
    }
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(request(old).unwrap().unwrap().0.expect, None);
}

#[test]
fn connections_persist_by_version_and_option() {
    for (version, option, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive, CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{option}\r\n");
        assert_eq!(
            request(head.as_bytes()).unwrap().unwrap().0.keep_alive,
            expected,
            "{head}"
        );
        let head = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{option}\r\n");
        let (head, _) = response(head.as_bytes(), &Method::GET).unwrap().unwrap();
        assert_eq!(head.keep_alive, expected, "{head:?}");
    }
    let (head, _) = response(b"HTTP/1.1 200 OK\r\n\r\n", &Method::GET)
        .unwrap()
        .unwrap();
    assert!(!head.keep_alive, "its body ends with the connection");
}

//! Request lines, targets, line ends, Host, and the limits of heads.

use super::*;

#[test]
fn request_lines_have_one_spelling() {
    refused(&[
        (b"GET /\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"GET\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", E::Version),
        (b"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"GET /\x0bHTTP/1.1\r\nHost: a\r\n\r\n", E::RequestLine),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/1.1337\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", E::Version),
        (b"GET / ICY\r\nHost: a\r\n\r\n", E::Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E::Http2Preface),
        (b"G=\":<> / HTTP/1.1\r\nHost: a\r\n\r\n", E::Method),
        (b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", E::Method),
        (b"GET\x7f / HTTP/1.1\r\nHost: a\r\n\r\n", E::Method),
        (b"\xc7ET / HTTP/1.1\r\nHost: a\r\n\r\n", E::Method),
        (b"GET, / HTTP/1.1\r\nHost: a\r\n\r\n", E::Method),
    ]);
}

#[test]
fn targets_fit_the_method() {
    refused(&[
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET /\ta HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET file:///etc HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (
            b"CONNECT http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n",
            E::Target,
        ),
        (b"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", E::Target),
        (
            b"GET https://evil/ HTTP/1.1\r\nHost: good\r\n\r\n",
            E::HostMismatch,
        ),
        (
            b"GET https://u@good/ HTTP/1.1\r\nHost: good\r\n\r\n",
            E::HostMismatch,
        ),
        (
            b"GET https://good:443/ HTTP/1.1\r\nHost: good\r\n\r\n",
            E::HostMismatch,
        ),
    ]);
    let (head, _) = request(b"GET https://GOOD/x HTTP/1.1\r\nhost:good\r\n\r\n")
        .unwrap()
        .unwrap();
    assert!(matches!(head.target, RequestTarget::Absolute { path, .. } if path == "/x"));
    let (head, _) = request(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(head.target, RequestTarget::Authority("a:443".into()));
    // Methods are case-sensitive tokens; whether a rule knows this one is not judged here.
    let (head, _) = request(b"get / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_ne!(head.method, Method::GET);
}

#[test]
fn lines_end_in_crlf_only() {
    refused(&[
        (b"GET / HTTP/1.1\nHost: a\n\n", E::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", E::BareLf),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n",
            E::BareLf,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", E::BareLf),
        (b"GET / HTTP/1.1\rHost: a\r\r", E::BareCr),
        (b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", E::BareCr),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", E::BareCr),
        (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", E::BareCr),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::BareCr),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\x00.b\r\n\r\n", E::Nul),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", E::Nul),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n", E::Nul),
        (b"\x00GET / HTTP/1.1\r\nHost: a\r\n\r\n", E::Nul),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\nX: y\r\n\r\n",
            E::BareLf,
        ),
    ]);
    // Refused as the line ends, without waiting for a head that will not come.
    assert_eq!(request(b"GET / HTTP/1.1\n").map(|_| ()), Err(E::BareLf));
    // One empty line before a request is what old clients send after a body.
    let (_, used) = request(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest")
        .unwrap()
        .unwrap();
    assert_eq!(used, 29);
}

#[test]
fn hosts_are_there_once() {
    refused(&[
        (b"GET / HTTP/1.1\r\n\r\n", E::NoHost),
        (b"GET / HTTP/1.0\r\n\r\n", E::NoHost),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", E::NoHost),
        (b"GET / HTTP/1.1\r\nHost: \t \r\n\r\n", E::NoHost),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            E::DuplicateHost,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nhOST: b\r\n\r\n",
            E::DuplicateHost,
        ),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", E::FieldName),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", E::ObsFold),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", E::ObsFold),
    ]);
}

#[test]
fn limits_have_their_own_answers() {
    let limits = HeadLimits {
        bytes: 64,
        uri: 10,
        fields: 3,
    };
    let parse = |bytes: &[u8]| parse_request(bytes, &limits).map(|head| head.is_some());
    assert_eq!(
        parse(b"GET /234567890 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Ok(true)
    );
    assert_eq!(
        parse(b"GET /2345678901 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Err(E::UriTooLong)
    );
    assert_eq!(
        parse(format!("GET /{}", "a".repeat(70)).as_bytes()),
        Err(E::UriTooLong)
    );
    assert_eq!(parse("G".repeat(64).as_bytes()), Err(E::TooLarge));
    assert_eq!(parse("G".repeat(63).as_bytes()), Ok(false));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(36));
    assert_eq!(parse(long.as_bytes()), Err(E::TooLarge));
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nB:2\r\n\r\n"),
        Ok(true)
    );
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nB:2\r\nC:3\r\n\r\n"),
        Err(E::TooManyFields)
    );
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d\r\n\r\n"),
        Err(E::TooManyFields)
    );
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nTrailer: a,b,c,d\r\n\r\n"),
        Err(E::TooManyFields)
    );
    let answer = parse_response(&b"HTTP/1.1 200 ".repeat(9), &limits, &Method::GET);
    assert_eq!(answer.map(|_| ()), Err(E::TooLarge));
}

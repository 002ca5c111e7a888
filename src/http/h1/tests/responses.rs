//! Status lines, and where the bodies of responses end.

use http::StatusCode;

use super::*;

#[test]
fn status_lines_have_one_spelling() {
    for (line, expected) in [
        (&b"HTTP/1.1"[..], E::StatusLine),
        (b"HTTP/1.1 ", E::StatusLine),
        (b"HTTP/1.1  200 OK", E::StatusLine),
        (b"HTTP/1.1 20 OK", E::StatusLine),
        (b"HTTP/1.1 2000 OK", E::StatusLine),
        (b"HTTP/1.1 099 OK", E::StatusLine),
        (b"HTTP/1.1 +20 OK", E::StatusLine),
        (b"HTTP/1.1 2x0 OK", E::StatusLine),
        (b"HTTP/1.1 200\tOK", E::StatusLine),
        (b"HTTP/1.1 200 O\x01K", E::StatusLine),
        (b"HTTP/1.1 200 O\x7fK", E::StatusLine),
        (b"HTTP/1.1 200 O\rK", E::BareCr),
        (b"HTTP/1.1 200 O\nK", E::BareLf),
        (b"HTTP/1.1 200 O\0K", E::Nul),
        (b"HTTP/1.2 200 OK", E::Version),
        (b"HTTP/2 200 OK", E::Version),
        (b"http/1.1 200 OK", E::Version),
        (b"ICY 200 OK", E::Version),
        (b" HTTP/1.1 200 OK", E::Version),
        (b"\r\nHTTP/1.1 200 OK", E::StatusLine),
        (b"<html>", E::StatusLine),
    ] {
        let got = response(&[line, b"\r\n\r\n"].concat(), &Method::GET).map(|_| ());
        assert_eq!(got, Err(expected), "{}", line.escape_ascii());
    }
    for (line, status) in [
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 404 N\u{f6}t  F\tound", 404),
        ("HTTP/1.1 999 x", 999),
    ] {
        let (head, _) = response(format!("{line}\r\n\r\n").as_bytes(), &Method::GET)
            .unwrap()
            .unwrap();
        assert_eq!(head.status.as_u16(), status);
    }
}

#[test]
fn response_bodies_end_by_method_and_status() {
    use Framing as F;
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    const FIVE: &str = "Content-Length: 5\r\n";
    let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
    for (method, status, fields, expected) in [
        (&get, 200, FIVE, Ok(F::Length(5))),
        (&get, 200, CHUNKED, Ok(F::Chunked)),
        (&get, 200, "", Ok(F::UntilClose)),
        (&get, 500, "", Ok(F::UntilClose)),
        (&get, 205, "Content-Length: 0\r\n", Ok(F::Length(0))),
        (&head, 200, FIVE, Ok(F::None)),
        (&head, 200, CHUNKED, Ok(F::None)),
        (&head, 200, "", Ok(F::None)),
        (&get, 304, FIVE, Ok(F::None)),
        (&get, 304, CHUNKED, Ok(F::None)),
        (&get, 204, "", Ok(F::None)),
        (&get, 204, "Content-Length: 0\r\n", Ok(F::None)),
        (&get, 204, FIVE, Err(E::UnexpectedBody)),
        (&get, 204, CHUNKED, Err(E::UnexpectedBody)),
        (&get, 100, "", Ok(F::None)),
        (&get, 103, "Link: x\r\n", Ok(F::None)),
        (&get, 103, FIVE, Err(E::UnexpectedBody)),
        (&get, 100, CHUNKED, Err(E::UnexpectedBody)),
        (&get, 101, "", Ok(F::Tunnel)),
        (&get, 101, FIVE, Err(E::UnexpectedBody)),
        (&connect, 200, FIVE, Ok(F::Tunnel)),
        (&connect, 407, FIVE, Ok(F::Length(5))),
    ] {
        let bytes = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let got = response(bytes.as_bytes(), method).map(|head| head.unwrap().0.framing);
        assert_eq!(got, expected, "{method} {bytes}");
    }
    let (head, _) = response(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", &head)
        .unwrap()
        .unwrap();
    assert_eq!(
        (head.declared_length, head.status),
        (Some(7), StatusCode::OK)
    );
}

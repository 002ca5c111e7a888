//! Messages byte by byte: the classes of request smuggling, response splitting and parser
//! discrepancies that are publicly known, in both directions, and beside each what is
//! legitimate and has to pass. Then what holds for all inputs, and the reader and writer over
//! transports in memory.

mod chunks;
mod encoding;
mod fields;
mod framing;
mod heads;
mod properties;
mod reading;
mod responses;
mod writing;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::HeadError as E;
use super::*;

fn request(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, E> {
    parse_request(bytes, &HeadLimits::default())
}

fn response(bytes: &[u8], method: &Method) -> Result<Option<(ResponseHead, usize)>, E> {
    parse_response(bytes, &HeadLimits::default(), method)
}

/// The error of whole request heads.
fn refused(cases: &[(&[u8], E)]) {
    for (bytes, expected) in cases {
        let got = request(bytes).map(|head| head.map(|(_, used)| used));
        assert_eq!(got, Err(*expected), "{}", bytes.escape_ascii());
    }
}

/// A good request with these field lines added, each with its CRLF.
fn with(lines: &[u8]) -> Vec<u8> {
    [b"POST /p HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat()
}

fn refused_fields(cases: &[(&[u8], E)]) {
    for (lines, expected) in cases {
        let got = request(&with(lines)).map(|head| head.map(|(_, used)| used));
        assert_eq!(got, Err(*expected), "{}", lines.escape_ascii());
        // A server that sends the like is refused for the same reason.
        let answer = [b"HTTP/1.1 200 OK\r\n", *lines, b"\r\n"].concat();
        let got = response(&answer, &Method::GET).map(|head| head.map(|(_, used)| used));
        assert_eq!(got, Err(*expected), "response {}", lines.escape_ascii());
    }
}

fn accepted(lines: &[u8]) -> RequestHead {
    let bytes = with(lines);
    let parsed = request(&bytes);
    let Ok(Some((head, used))) = parsed else {
        panic!("{}: {parsed:?}", lines.escape_ascii());
    };
    assert_eq!(used, bytes.len());
    head
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(field).collect()
}

//! What holds for all inputs: the split of the input never matters, and what is written is
//! read as the same message.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::super::encode::{chunk_size, last_chunk};
use super::super::head;
use super::super::scan::Scan;
use super::*;

/// Heads good, bad and in between: lines put together from pieces that matter to a parser.
fn head_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST /p?q HTTP/1.1",
        "GET / HTTP/1.0",
        "GET  / HTTP/1.1",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 204",
        "",
    ]);
    let line = prop::sample::select(vec![
        "Host: a",
        "Host: a",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Connection: close, x",
        "X: y",
        "x:\u{e9}",
        "bad",
        " fold",
        "",
        "X: a\u{1}",
    ]);
    let end = prop::sample::select(vec![
        "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\0",
    ]);
    let lines = prop::collection::vec((line, end), 0..6);
    (first, lines, 0..3_usize).prop_map(|(first, lines, tail)| {
        let mut bytes = format!("{first}\r\n").into_bytes();
        for (line, end) in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(end.as_bytes());
        }
        bytes.extend_from_slice(["", "\r\n", "\r\n\r\nGET"][tail].as_bytes());
        bytes
    })
}

/// Feeds growing prefixes, each longer by the next step, and gives the first outcome.
fn fed<T>(
    bytes: &[u8],
    steps: &[usize],
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, HeadError>,
) -> Result<Option<T>, HeadError> {
    let (mut end, mut steps) = (0, steps.iter().cycle());
    while end < bytes.len() {
        end = (end + steps.next().unwrap()).min(bytes.len());
        let outcome = parse(&bytes[..end])?;
        if outcome.is_some() {
            return Ok(outcome);
        }
    }
    Ok(None)
}

/// The whole of a parsed head, to compare: `HeaderMap` has no order that matters here.
fn show<T: std::fmt::Debug>(outcome: &Result<Option<T>, HeadError>) -> String {
    format!("{outcome:?}")
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^`|~-]{1,20}"
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop::collection::vec(
        prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
        0..30,
    );
    prop::collection::vec((token(), value), 0..12).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            // With a prefix no name is one that the codec manages itself.
            let name = HeaderName::from_bytes(format!("x-{name}").as_bytes()).unwrap();
            let value = HeaderValue::from_bytes(value.trim_ascii()).unwrap();
            map.append(name, value);
        }
        map
    })
}

/// A chunked body of these chunks, the size of each padded with zeros.
fn chunked(
    chunks: &[Vec<u8>],
    zeros: usize,
    trailers: &HeaderMap,
    names: &[HeaderName],
) -> Vec<u8> {
    let mut buf = BytesMut::new();
    for chunk in chunks {
        buf.extend_from_slice("0".repeat(zeros).as_bytes());
        chunk_size(&mut buf, chunk.len());
        buf.extend_from_slice(chunk);
        buf.extend_from_slice(b"\r\n");
    }
    assert_eq!(last_chunk(&mut buf, Some(trailers), names), 0);
    buf.to_vec()
}

/// The outcome of decoding `bytes` in steps: data, trailers, what is left; or the error.
fn decoded(bytes: &[u8], steps: &[usize]) -> Result<(Vec<u8>, HeaderMap, bool), ChunkError> {
    let mut decoder = ChunkDecoder::new(HeadLimits::default());
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    let (mut rest, mut buf, mut steps) = (bytes, BytesMut::new(), steps.iter().cycle());
    loop {
        match decoder.decode(&mut buf)? {
            Some(ChunkEvent::Data(piece)) => data.extend_from_slice(&piece),
            Some(ChunkEvent::Trailers(map)) => trailers = map,
            Some(ChunkEvent::End) => return Ok((data, trailers, true)),
            None if rest.is_empty() => return Ok((data, trailers, false)),
            None => {
                let (now, later) = rest.split_at((*steps.next().unwrap()).min(rest.len()));
                buf.extend_from_slice(now);
                rest = later;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_split_of_a_request_head_never_matters(
        bytes in head_bytes(),
        steps in prop::collection::vec(1..20_usize, 1..8),
        bound in 1..90_usize,
        uri in 0..40_usize,
    ) {
        let limits = HeadLimits { bytes: bound, uri, fields: 4 };
        let whole = show(&parse_request(&bytes, &limits));
        let mut scan = Scan::request();
        let split = show(&fed(&bytes, &steps, |buf| head::request(&mut scan, buf, &limits)));
        prop_assert_eq!(&whole, &split);
        let mut scan = Scan::request();
        let single = show(&fed(&bytes, &[1], |buf| head::request(&mut scan, buf, &limits)));
        prop_assert_eq!(&whole, &single);
    }

    #[test]
    fn a_split_of_a_response_head_never_matters(bytes in head_bytes(), steps in prop::collection::vec(1..20_usize, 1..8)) {
        let limits = HeadLimits { fields: 4, ..HeadLimits::default() };
        let whole = show(&parse_response(&bytes, &limits, &Method::GET));
        let mut scan = Scan::default();
        let split = show(&fed(&bytes, &steps, |buf| head::response(&mut scan, buf, &limits, &Method::GET)));
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = HeadLimits::default();
        let _ = parse_request(&bytes, &limits);
        let _ = parse_response(&bytes, &limits, &Method::GET);
        let _ = decoded(&bytes, &[3]);
    }

    #[test]
    fn a_written_request_is_read_as_the_same(
        method in token(),
        path in "/[!\"$-~]{0,40}",
        headers in headers(),
        length in 0..=i64::MAX as u64,
        kind in 0..3,
        te_trailers: bool,
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        prop_assume!(method != Method::CONNECT);
        let framing = match kind {
            0 => BodyFraming::None,
            1 => BodyFraming::Length(length),
            _ => BodyFraming::Chunked,
        };
        let names = [HeaderName::from_static("x-t")];
        let hops = Hops { te_trailers, trailers: &names, ..Hops::default() };
        let out = RequestOut { method: &method, target: &path, host: "a.b:1", headers: &headers, framing, hops };
        let mut buf = BytesMut::new();
        encode_request(&mut buf, &out).unwrap();
        let (head, used) = parse_request(&buf, &HeadLimits::default()).unwrap().unwrap();
        prop_assert_eq!(used, buf.len());
        prop_assert_eq!(&head.method, &method);
        prop_assert_eq!(head.target, RequestTarget::Origin(path.clone()));
        prop_assert_eq!(head.host.as_bytes(), b"a.b:1");
        prop_assert_eq!(&head.headers, &headers);
        prop_assert_eq!(BodyFraming::from(head.framing), framing);
        prop_assert_eq!(head.te_trailers, te_trailers);
        prop_assert_eq!(head.declared_trailers.len(), usize::from(kind == 2));
        prop_assert!(head.keep_alive && head.expect.is_none() && head.upgrade.is_none());
    }

    #[test]
    fn a_written_response_is_read_as_the_same(
        status in 200..1000_u16,
        headers in headers(),
        length in prop::option::of(0..=i64::MAX as u64),
        old: bool,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let agent = if old { Version::Http10 } else { Version::Http11 };
        let framing = BodyFraming::of_response(&Method::GET, agent, status, length);
        let hops = Hops { persist: Persist::Close, ..Hops::default() };
        let mut buf = BytesMut::new();
        encode_response(&mut buf, &ResponseOut { status, headers: &headers, framing, hops }).unwrap();
        let (head, used) = parse_response(&buf, &HeadLimits::default(), &Method::GET).unwrap().unwrap();
        prop_assert_eq!(used, buf.len());
        prop_assert_eq!((head.status, &head.headers, head.keep_alive), (status, &headers, false));
        match framing {
            BodyFraming::None => prop_assert_eq!(head.framing, Framing::None),
            BodyFraming::Declared(length) => {
                prop_assert_eq!((head.framing, head.declared_length), (Framing::None, Some(length)));
            }
            sent => prop_assert_eq!(BodyFraming::from(head.framing), sent),
        }
    }

    #[test]
    fn any_chunking_decodes_to_the_same_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        zeros in 0..12_usize,
        trailers in headers(),
        steps in prop::collection::vec(1..400_usize, 1..8),
    ) {
        let names: Vec<_> = trailers.keys().cloned().collect();
        prop_assume!(!names.iter().any(is_forbidden_trailer));
        let bytes = chunked(&chunks, zeros, &trailers, &names);
        let expected = Ok((chunks.concat(), trailers, true));
        prop_assert_eq!(&decoded(&bytes, &steps), &expected);
        prop_assert_eq!(&decoded(&bytes, &[1]), &expected);
    }

    #[test]
    fn a_split_of_broken_chunks_never_matters(
        bytes in "[05a;x \r\n]{0,30}|(1\r\n[a\r]\r\n){0,3}0\r\n(X: y\r?\n){0,2}[ \r\nX]{0,3}",
        steps in prop::collection::vec(1..10_usize, 1..8),
    ) {
        let whole = decoded(bytes.as_bytes(), &[1000]);
        prop_assert_eq!(&whole, &decoded(bytes.as_bytes(), &steps));
        prop_assert_eq!(&whole, &decoded(bytes.as_bytes(), &[1]));
    }
}

//! Canonical heads.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::*;

#[test]
fn framings_are_chosen_by_who_listens() {
    use BodyFraming as B;
    let ok = StatusCode::OK;
    assert_eq!(
        B::of_response(&Method::GET, Version::Http11, ok, None),
        B::Chunked
    );
    assert_eq!(
        B::of_response(&Method::GET, Version::Http10, ok, None),
        B::UntilClose
    );
    assert_eq!(
        B::of_response(&Method::GET, Version::Http10, ok, Some(1)),
        B::Length(1)
    );
    assert_eq!(
        B::of_response(&Method::HEAD, Version::Http11, ok, None),
        B::None
    );
    assert_eq!(B::of_request(&Method::GET, None, true), B::None);
    assert_eq!(B::of_request(&Method::POST, None, true), B::Length(0));
    assert_eq!(B::of_request(&Method::GET, Some(0), true), B::Length(0));
    assert_eq!(B::of_request(&Method::POST, None, false), B::Chunked);
}

#[test]
fn request_heads_are_canonical() {
    let headers = map(&[
        ("x-a", "1"),
        ("content-length", "9"),
        ("transfer-encoding", "gzip"),
        ("host", "evil"),
        ("connection", "x-a"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("te", "gzip"),
        ("trailer", "x"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("x-b", "2"),
    ]);
    let websocket = HeaderValue::from_static("websocket");
    let trailers = ["x-t", "host", "x-u"].map(HeaderName::from_static);
    let hops = Hops {
        persist: Persist::Close,
        te_trailers: true,
        trailers: &trailers,
        upgrade: Some(&websocket),
        expects_continue: true,
    };
    let method = Method::POST;
    let out = RequestOut {
        method: &method,
        target: "/p?q",
        host: "good",
        headers: &headers,
        framing: BodyFraming::Chunked,
        hops,
    };
    let mut buf = BytesMut::new();
    encode_request(&mut buf, &out).unwrap();
    assert_eq!(
        std::str::from_utf8(&buf).unwrap(),
        "POST /p?q HTTP/1.1\r\nhost: good\r\nx-a: 1\r\nx-b: 2\r\ntransfer-encoding: chunked\r\n\
         connection: close, te, upgrade\r\nte: trailers\r\nupgrade: websocket\r\nexpect: 100-continue\r\ntrailer: x-t, x-u\r\n\r\n"
    );
}

#[test]
fn what_cannot_be_written_is_not_begun() {
    let (headers, method) = (HeaderMap::new(), Method::GET);
    let good = RequestOut {
        method: &method,
        target: "/",
        host: "a",
        headers: &headers,
        framing: BodyFraming::None,
        hops: Hops::default(),
    };
    let mut buf = BytesMut::new();
    for bad in ["", "/ HTTP/1.1\r\nX: y", "/a b", "/\u{e9}", "/\0", "/\t"] {
        assert_eq!(
            encode_request(
                &mut buf,
                &RequestOut {
                    target: bad,
                    ..good
                }
            ),
            Err(EncodeError::Target)
        );
        let host = bad.trim_start_matches('/');
        if host != bad || host.is_empty() {
            let out = RequestOut { host, ..good };
            assert_eq!(
                encode_request(&mut buf, &out),
                Err(EncodeError::Target),
                "{host:?}"
            );
        }
    }
    for framing in [BodyFraming::UntilClose, BodyFraming::Declared(1)] {
        assert_eq!(
            encode_request(&mut buf, &RequestOut { framing, ..good }),
            Err(EncodeError::Framing)
        );
    }
    assert!(buf.is_empty());
}

#[test]
fn responses_have_the_framing_their_status_allows() {
    let headers = HeaderMap::new();
    let mut buf = BytesMut::new();
    for (status, framing) in [
        (204, BodyFraming::Length(0)),
        (204, BodyFraming::Declared(1)),
        (304, BodyFraming::Chunked),
        (101, BodyFraming::UntilClose),
        (200, BodyFraming::UntilClose),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let out = ResponseOut {
            status,
            headers: &headers,
            framing,
            hops: Hops::default(),
        };
        assert_eq!(
            encode_response(&mut buf, &out),
            Err(EncodeError::Framing),
            "{out:?}"
        );
    }
    let interim = ResponseOut {
        status: StatusCode::CONTINUE,
        headers: &headers,
        framing: BodyFraming::None,
        hops: Hops::default(),
    };
    assert_eq!(
        encode_response(&mut buf, &interim),
        Err(EncodeError::Status)
    );
    assert_eq!(
        encode_interim(&mut buf, StatusCode::OK, &headers),
        Err(EncodeError::Status)
    );
    assert_eq!(
        encode_interim(&mut buf, StatusCode::SWITCHING_PROTOCOLS, &headers),
        Err(EncodeError::Status)
    );
    assert!(buf.is_empty());
}

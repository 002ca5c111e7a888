//! The chunked coding and its trailers.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::*;

fn dechunk(
    bytes: &[u8],
    limits: HeadLimits,
) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Option<ChunkError>> {
    let mut decoder = ChunkDecoder::new(limits);
    let mut buf = BytesMut::from(bytes);
    let (mut data, mut trailers) = (Vec::new(), None);
    loop {
        match decoder.decode(&mut buf).map_err(Some)?.ok_or(None)? {
            ChunkEvent::Data(piece) => data.extend_from_slice(&piece),
            ChunkEvent::Trailers(map) => trailers = Some(map),
            ChunkEvent::End => return Ok((data, trailers, buf.len())),
        }
    }
}

#[test]
fn chunks_have_one_spelling() {
    use ChunkError as C;
    for (bytes, expected) in [
        (&b"5;\nx\r\nhello\r\n0\r\n\r\n"[..], C::Extension),
        (b"5;a=b\r\nhello\r\n0\r\n\r\n", C::Extension),
        (b"0;a\r\n\r\n", C::Extension),
        (b"5 \r\nhello\r\n0\r\n\r\n", C::Size),
        (b"5\t;x\r\nhello\r\n0\r\n\r\n", C::Size),
        (b" 5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"5\nhello\r\n0\r\n\r\n", C::SizeEnd),
        (b"5\r\rhello\r\n0\r\n\r\n", C::SizeEnd),
        (b"5\rhello\r\n0\r\n\r\n", C::SizeEnd),
        (b"\r\n5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"\n5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"0x5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"+5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"-5\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"1_0\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"5.0\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"5,\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"5\x00\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"g\r\nhello\r\n0\r\n\r\n", C::Size),
        (b";\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"00000000000000005\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"10000000000000005\r\nhello\r\n0\r\n\r\n", C::Size),
        (b"00000000000000000\r\n\r\n", C::Size),
        (b"5\r\nhelloX\r\n0\r\n\r\n", C::DataEnd),
        (b"5\r\nhello0\r\n\r\n", C::DataEnd),
        (b"5\r\nhello\n0\r\n\r\n", C::DataEnd),
        (b"5\r\nhello\r0\r\n\r\n", C::DataEnd),
        (b"4\r\nhello\r\n0\r\n\r\n", C::DataEnd),
        (b"0\n\r\n", C::SizeEnd),
        (b"0\r\n\n", C::Trailers(E::BareLf)),
        (b"0\r\nX\r\n\r\n", C::Trailers(E::NoColon)),
        (b"0\r\nX: 1\n\r\n", C::Trailers(E::BareLf)),
        (b"0\r\nX : 1\r\n\r\n", C::Trailers(E::FieldName)),
        (b"0\r\n: 1\r\n\r\n", C::Trailers(E::FieldName)),
        (b"0\r\n X: 1\r\n\r\n", C::Trailers(E::ObsFold)),
        (b"0\r\nX: a\x01\r\n\r\n", C::Trailers(E::FieldValue)),
        (b"0\r\nX: a\0\r\n\r\n", C::Trailers(E::Nul)),
        (b"0\r\nX: a\rY: b\r\n\r\n", C::Trailers(E::BareCr)),
        (
            b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            C::Trailers(E::NoColon),
        ),
    ] {
        let got = dechunk(bytes, HeadLimits::default()).map(|_| ());
        assert_eq!(got, Err(Some(expected)), "{}", bytes.escape_ascii());
    }
}

#[test]
fn good_chunks_pass() {
    for (bytes, data, left) in [
        (&b"0\r\n\r\n"[..], &b""[..], 0),
        (b"000\r\n\r\nnext", b"", 4),
        (b"0000000000000000\r\n\r\n", b"", 0),
        (b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", 3),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (
            b"a\r\n0\r\n\r\n67890\r\n1\r\nx\r\n0\r\n\r\n",
            b"0\r\n\r\n67890x",
            0,
        ),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
    ] {
        let got = dechunk(bytes, HeadLimits::default()).unwrap();
        assert_eq!(
            (got.0.as_slice(), got.1, got.2),
            (data, None, left),
            "{}",
            bytes.escape_ascii()
        );
    }
    // Cut short, the body is not complete, wherever the cut is.
    let whole = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(
            dechunk(&whole[..end], HeadLimits::default()),
            Err(None),
            "{end}"
        );
    }
}

#[test]
fn trailers_are_filtered_and_bounded() {
    let bytes = b"0\r\nAuthorization: evil\r\nHost: evil\r\nContent-Length: 4\r\n\
        Transfer-Encoding: chunked\r\nContent-Type: x\r\nCookie: c\r\nConnection: x\r\n\
        grpc-status: 0\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let mut decoder = ChunkDecoder::new(HeadLimits::default());
    let mut buf = BytesMut::from(&bytes[..]);
    let Ok(Some(ChunkEvent::Trailers(map))) = decoder.decode(&mut buf) else {
        panic!("no trailers");
    };
    assert_eq!(map.len(), 3);
    assert_eq!(
        (map["grpc-status"].as_bytes(), decoder.dropped_trailers()),
        (&b"0"[..], 7)
    );
    assert!(decoder.is_done());
    assert_eq!(decoder.decode(&mut buf), Ok(Some(ChunkEvent::End)));

    let limits = HeadLimits {
        bytes: 32,
        uri: 0,
        fields: 2,
    };
    let flood = dechunk(b"0\r\nA:1\r\nB:1\r\nC:1\r\n\r\n", limits);
    assert_eq!(flood, Err(Some(ChunkError::Trailers(E::TooManyFields))));
    let flood = dechunk(format!("0\r\nA:{}", "1".repeat(40)).as_bytes(), limits);
    assert_eq!(flood, Err(Some(ChunkError::Trailers(E::TooLarge))));
}

#[test]
fn a_failed_decoder_stays_failed() {
    let mut decoder = ChunkDecoder::new(HeadLimits::default());
    assert_eq!(
        decoder.decode(&mut BytesMut::from(&b"x"[..])),
        Err(ChunkError::Size)
    );
    let good = Bytes::from_static(b"0\r\n\r\n");
    assert_eq!(
        decoder.decode(&mut BytesMut::from(good)),
        Err(ChunkError::Size)
    );
}

//! Content-Length and Transfer-Encoding.

use super::*;

#[test]
fn content_lengths_have_one_spelling() {
    refused_fields(&[
        (
            b"Content-Length: 1\r\nContent-Length: 1\r\n",
            E::DuplicateContentLength,
        ),
        (
            b"Content-Length: 1\r\nContent-Length: 2\r\n",
            E::DuplicateContentLength,
        ),
        (
            b"Content-Length: 0\r\ncontent-length: 44\r\n",
            E::DuplicateContentLength,
        ),
        (b"Content-Length: 5, 5\r\n", E::ContentLength),
        (b"Content-Length: 5,\r\n", E::ContentLength),
        (b"Content-Length: ,5\r\n", E::ContentLength),
        (b"Content-Length:\r\n", E::ContentLength),
        (b"Content-Length: \t\r\n", E::ContentLength),
        (b"Content-Length: +1\r\n", E::ContentLength),
        (b"Content-Length: -1\r\n", E::ContentLength),
        (b"Content-Length: -0\r\n", E::ContentLength),
        (b"Content-Length: 1_0\r\n", E::ContentLength),
        (b"Content-Length: 1 0\r\n", E::ContentLength),
        (b"Content-Length: 0x10\r\n", E::ContentLength),
        (b"Content-Length: 007\r\n", E::ContentLength),
        (b"Content-Length: 00\r\n", E::ContentLength),
        (b"Content-Length: 1.0\r\n", E::ContentLength),
        (b"Content-Length: 1e1\r\n", E::ContentLength),
        (b"Content-Length: 1;x\r\n", E::ContentLength),
        (b"Content-Length: \"1\"\r\n", E::ContentLength),
        (b"Content-Length: a\r\n", E::ContentLength),
        (b"Content-Length: \xb2\r\n", E::ContentLength),
        (b"Content-Length: 1\x0b\r\n", E::FieldValue),
        (b"Content-Length: 9223372036854775808\r\n", E::ContentLength),
        (
            b"Content-Length: 18446744073709551616\r\n",
            E::ContentLength,
        ),
        (
            b"Content-Length: 18446744073709551621\r\n",
            E::ContentLength,
        ),
        (b"Content-Length : 1\r\n", E::FieldName),
        (b"Content-Length\x0b: 1\r\n", E::FieldName),
        (b"Content_Length: 1\r\n", E::Lookalike),
        (b"Content-Length: 1\r\n 2\r\n", E::ObsFold),
    ]);
    assert_eq!(
        accepted(b"Content-Length: 0\r\n").framing,
        Framing::Length(0)
    );
    assert_eq!(
        accepted(b"CONTENT-LENGTH:\t12 \r\n").framing,
        Framing::Length(12)
    );
    assert_eq!(accepted(b"").framing, Framing::None);
    assert!(accepted(b"Content-Length: 1\r\n").headers.is_empty());
}

/// Transfer-Encoding as it is bent to be seen by one parser and missed by another.
const CODINGS: &[(&[u8], E)] = &[
    (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        E::LengthAndChunked,
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        E::LengthAndChunked,
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        E::LengthAndChunked,
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        E::DuplicateTransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        E::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        E::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked, chunked\r\n",
        E::TransferEncoding,
    ),
    (b"Transfer-Encoding: gzip, chunked\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked, gzip\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: gzip\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: identity\r\n", E::TransferEncoding),
    (b"Transfer-Encoding:\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: xchunked\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunkedx\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked;x\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked;q=1\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: ,chunked\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked,\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: \"chunked\"\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: 'chunked'\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chun ked\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked\xa0\r\n", E::TransferEncoding),
    (
        b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n",
        E::TransferEncoding,
    ),
    (b"Transfer-Encoding: \x0bchunked\r\n", E::FieldValue),
    (b"Transfer-Encoding: chunked\x0c\r\n", E::FieldValue),
    (b"Transfer-Encoding:\r\n chunked\r\n", E::TransferEncoding),
    (b"Transfer-Encoding: chunked\r\n \r\n", E::ObsFold),
    (b"Transfer-Encoding : chunked\r\n", E::FieldName),
    (b"Transfer-Encoding\t: chunked\r\n", E::FieldName),
    (b" Transfer-Encoding: chunked\r\n", E::ObsFold),
    (b"Transfer_Encoding: chunked\r\n", E::Lookalike),
    (b"X: y\rTransfer-Encoding: chunked\r\n", E::BareCr),
    (b"X: y\nTransfer-Encoding: chunked\r\n", E::BareLf),
];

#[test]
fn transfer_encodings_are_chunked_alone() {
    refused_fields(CODINGS);
    assert_eq!(
        accepted(b"Transfer-Encoding: chunked\r\n").framing,
        Framing::Chunked
    );
    assert_eq!(
        accepted(b"TRANSFER-encoding:\tChunkeD\t\r\n").framing,
        Framing::Chunked
    );
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(old).map(|_| ()), Err(E::TransferEncodingHttp10));
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        response(old, &Method::GET).map(|_| ()),
        Err(E::TransferEncodingHttp10)
    );
}

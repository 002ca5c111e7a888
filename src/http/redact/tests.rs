//! Compressed bodies, as a server sends them and as an agent reads what passes.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use http::{Method, Response};

use super::Echo;
use super::calls::Calls;
use super::coded::Coded;
use super::coding::Coding;
use crate::credential::echo::{Found, Needles};
use crate::http::body::BodyError;
use crate::metrics::Metrics;
use crate::name::CredentialName;

mod splits;

const SECRET: &str = "hunter2-hunter2/42";
const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

fn needles() -> Arc<Needles> {
    let name = CredentialName::new("a");
    Arc::new(Needles::new([(&name, SECRET.as_bytes())]).unwrap().unwrap())
}

/// Compresses texts, with a flush behind each.
fn compress(coding: Coding, texts: &[&[u8]]) -> Vec<Vec<u8>> {
    fn flushed<W: Write>(
        mut writer: W,
        texts: &[&[u8]],
        taken: impl Fn(&mut W) -> Vec<u8>,
    ) -> (W, Vec<Vec<u8>>) {
        let mut pieces = Vec::new();
        for text in texts {
            writer.write_all(text).unwrap();
            writer.flush().unwrap();
            pieces.push(taken(&mut writer));
        }
        (writer, pieces)
    }
    let level = flate2::Compression::default();
    match coding {
        Coding::Identity => texts.iter().map(|text| text.to_vec()).collect(),
        Coding::Gzip => {
            let writer = flate2::write::GzEncoder::new(Vec::new(), level);
            let (writer, mut pieces) =
                flushed(writer, texts, |writer| std::mem::take(writer.get_mut()));
            pieces.push(writer.finish().unwrap());
            pieces
        }
        Coding::Deflate => {
            let writer = flate2::write::ZlibEncoder::new(Vec::new(), level);
            let (writer, mut pieces) =
                flushed(writer, texts, |writer| std::mem::take(writer.get_mut()));
            pieces.push(writer.finish().unwrap());
            pieces
        }
        Coding::Brotli => {
            let writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            let (writer, mut pieces) =
                flushed(writer, texts, |writer| std::mem::take(writer.get_mut()));
            pieces.push(writer.into_inner());
            pieces
        }
        Coding::Zstd => zstd(texts),
    }
}

fn zstd(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut context = zstd_safe::CCtx::create();
    context
        .set_parameter(zstd_safe::CParameter::ChecksumFlag(true))
        .unwrap();
    let mut pieces = Vec::new();
    let ends = std::iter::repeat_n(
        zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush,
        texts.len(),
    );
    let ends = ends.chain([zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_end]);
    for (text, end) in texts.iter().chain([&&b""[..]]).zip(ends) {
        let mut out = vec![0; text.len() + 1024];
        let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut input = zstd_safe::InBuffer::around(text);
        let left = context
            .compress_stream2(&mut output, &mut input, end)
            .unwrap();
        assert_eq!(left, 0);
        let length = output.pos();
        out.truncate(length);
        pieces.push(out);
    }
    pieces
}

/// All that an agent can make of the beginning of a body.
fn read(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut buffer = [0; 1];
    let mut reader: Box<dyn Read> = match coding {
        Coding::Identity => Box::new(bytes),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 1)),
        Coding::Zstd => return read_zstd(bytes),
    };
    while let Ok(1) = reader.read(&mut buffer) {
        text.extend_from_slice(&buffer);
    }
    text
}

fn read_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut context = zstd_safe::DCtx::create();
    let mut text = vec![0; 1 << 20];
    let mut output = zstd_safe::OutBuffer::around(&mut text[..]);
    for byte in bytes {
        let byte = [*byte];
        let mut input = zstd_safe::InBuffer::around(&byte);
        context.decompress_stream(&mut output, &mut input).unwrap();
    }
    let length = output.pos();
    text.truncate(length);
    text
}

/// Passes a body in pieces of `size`: what came out, and how it ended.
fn pass(coding: Coding, bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), BodyError>) {
    let mut coded = Coded::new(coding, &needles(), 1 << 20).unwrap();
    let (mut out, mut found) = (Vec::new(), Found::new());
    for piece in bytes.chunks(size) {
        match coded.pass(&Bytes::copy_from_slice(piece), false, &mut found) {
            Ok(passed) => out.extend_from_slice(&passed),
            Err(error) => return (out, Err(error)),
        }
    }
    match coded.pass(&Bytes::new(), true, &mut found) {
        Ok(passed) => out.extend_from_slice(&passed),
        Err(error) => return (out, Err(error)),
    }
    (out, Ok(()))
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Text that does not compress much and never holds a secret.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        b'A' + u8::try_from(state % 26).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn i5_an_echo_in_a_compressed_body_cuts_it_at_every_split() {
    for coding in CODINGS {
        let text = [&noise(7, 90)[..], SECRET.as_bytes(), &noise(9, 40)].concat();
        let bytes = compress(coding, &[&text]).concat();
        for size in 1..=bytes.len() {
            let (out, end) = pass(coding, &bytes, size);
            assert!(
                matches!(end, Err(BodyError::Echo)),
                "{coding:?} {size}: {end:?}"
            );
            let told = read(coding, &out);
            // Nothing of it but, at most, its first byte.
            assert!(
                !contains(&told, &SECRET.as_bytes()[..2]),
                "{coding:?} {size}"
            );
            assert!(
                !contains(&out, &SECRET.as_bytes()[..4]),
                "{coding:?} {size}"
            );
        }
    }
}

#[test]
fn events_are_not_delayed() {
    let events: [&[u8]; 4] = [
        b"data: one\n\n",
        b": \n\n",
        b"data: hunter2\n\n",
        b"data: [DONE]\n\n",
    ];
    for coding in CODINGS {
        let mut coded = Coded::new(coding, &needles(), 1 << 20).unwrap();
        let mut out = Vec::new();
        let mut expected = Vec::new();
        for (piece, event) in compress(coding, &events).iter().zip(events) {
            let passed = coded.pass(&Bytes::copy_from_slice(piece), false, &mut Found::new());
            out.extend_from_slice(&passed.unwrap());
            expected.extend_from_slice(event);
            assert_eq!(read(coding, &out), expected, "{coding:?}");
        }
    }
}

#[test]
fn bombs_end_at_the_budget() {
    for coding in CODINGS {
        let bytes = compress(coding, &[&vec![0; 2 << 20]]).concat();
        let (_, end) = pass(coding, &bytes, 1 << 14);
        assert!(
            matches!(end, Err(BodyError::Undecodable(why)) if why.contains("decoded_bytes")),
            "{coding:?} {end:?}"
        );
    }
}

#[test]
fn i5_not_beside_what_is_decoded() {
    // In the name of a gzip file, behind the end of a body, in a block to be skipped.
    let mut named = flate2::GzBuilder::new()
        .filename(SECRET)
        .write(Vec::new(), flate2::Compression::fast());
    named.write_all(b"text").unwrap();
    let named = named.finish().unwrap();
    let mut skipped = vec![0x50, 0x2a, 0x4d, 0x18, 18, 0, 0, 0];
    skipped.extend_from_slice(SECRET.as_bytes());
    skipped.extend(zstd(&[b"text"]).concat());
    let trailing = |coding| [compress(coding, &[b"text"]).concat(), SECRET.into()].concat();
    for (coding, bytes) in [
        (Coding::Gzip, named),
        (Coding::Gzip, trailing(Coding::Gzip)),
        (Coding::Deflate, trailing(Coding::Deflate)),
        (Coding::Brotli, trailing(Coding::Brotli)),
        (Coding::Zstd, skipped),
    ] {
        for size in 1..40 {
            let (out, end) = pass(coding, &bytes, size);
            assert!(end.is_err(), "{coding:?}");
            assert!(!contains(&out, SECRET.as_bytes()), "{coding:?} {size}");
        }
    }
}

#[test]
fn several_members_and_raw_deflate() {
    let two = [
        compress(Coding::Gzip, &[b"one"]).concat(),
        compress(Coding::Gzip, &[b"two"]).concat(),
    ]
    .concat();
    assert_eq!(pass(Coding::Gzip, &two, 5).0, two);
    let told = [
        compress(Coding::Gzip, &[b"one"]).concat(),
        compress(Coding::Gzip, &[SECRET.as_bytes()]).concat(),
    ]
    .concat();
    assert!(matches!(
        pass(Coding::Gzip, &told, 5).1,
        Err(BodyError::Echo)
    ));
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    raw.write_all(SECRET.as_bytes()).unwrap();
    let raw = raw.finish().unwrap();
    assert!(matches!(
        pass(Coding::Deflate, &raw, 3).1,
        Err(BodyError::Echo)
    ));
}

/// A message of gRPC.
fn message(flag: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], data].concat()
}

fn pass_calls(bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), BodyError>) {
    let mut calls = Calls::new(Coding::Gzip, &needles(), 1 << 16);
    let (mut out, mut found) = (Vec::new(), Found::new());
    let pieces = bytes.chunks(size).map(Bytes::copy_from_slice);
    for (piece, last) in pieces
        .map(|piece| (piece, false))
        .chain([(Bytes::new(), true)])
    {
        match calls.pass(piece, last, &mut found) {
            Ok(passed) => out.extend_from_slice(&passed),
            Err(error) => return (out, Err(error)),
        }
    }
    (out, Ok(()))
}

#[test]
fn i5_messages_of_grpc_are_looked_into_one_by_one() {
    let gzip = |text: &[u8]| compress(Coding::Gzip, &[text]).concat();
    let clean = [
        message(0, b"plain"),
        message(1, &gzip(&noise(3, 5000))),
        message(0, b""),
        message(1, b""),
        message(1, &gzip(b"")),
        message(0, &noise(5, 300)),
    ]
    .concat();
    let (start, end) = SECRET.as_bytes().split_at(9);
    // Two messages are two: nobody puts them together.
    let clean = [clean, message(0, start), message(1, &gzip(end))].concat();
    let stars = vec![b'*'; SECRET.len()];
    for size in [1, 3, 5, 6, 100, clean.len()] {
        let (out, ended) = pass_calls(&clean, size);
        assert!(ended.is_ok(), "{size}: {ended:?}");
        assert_eq!(out, clean, "{size}");
        let plain = [&clean[..], &message(0, SECRET.as_bytes())].concat();
        let masked = [&clean[..], &message(0, &stars)].concat();
        assert_eq!(pass_calls(&plain, size).0, masked, "{size}");
        let coded = [&clean[..], &message(1, &gzip(SECRET.as_bytes()))].concat();
        let (out, ended) = pass_calls(&coded, size);
        assert!(matches!(ended, Err(BodyError::Echo)), "{size}: {ended:?}");
        assert!(out.len() < coded.len() - SECRET.len() / 2);
    }
    // What the prefix says does not hold, or is not known.
    for bad in [message(1, SECRET.as_bytes()), message(2, b"x")] {
        let (_, ended) = pass_calls(&bad, 4);
        assert!(matches!(
            ended,
            Err(BodyError::Undecodable(_) | BodyError::Echo)
        ));
    }
    // The budget is that of the whole call.
    let zeros = message(1, &gzip(&vec![0; 40_000]));
    assert!(pass_calls(&zeros, 64).1.is_ok());
    let (_, ended) = pass_calls(&[&zeros[..], &zeros].concat(), 64);
    assert!(matches!(ended, Err(BodyError::Undecodable(_))), "{ended:?}");
    // The beginning of a message passes at once.
    let mut calls = Calls::new(Coding::Gzip, &needles(), 1 << 16);
    let first = Bytes::from(message(0, b"ping"));
    let passed = calls.pass(first.clone(), false, &mut Found::new()).unwrap();
    assert_eq!((passed, calls.held()), (first, 0));
}

fn echo() -> Echo {
    let name = CredentialName::new("a");
    let needles = Needles::new([(&name, &b"hunter2-hunter2"[..])]).unwrap();
    Echo::new(needles.map(Arc::new), 1 << 20, Arc::new(Metrics::new()))
}

#[test]
fn fields_are_masked_and_telling_names_removed() {
    let echo = echo();
    let mut headers = http::HeaderMap::new();
    headers.insert("x-echo", "Bearer hunter2-hunter2".parse().unwrap());
    headers.append("x-echo", "b64 aHVudGVyMi1odW50ZXIy".parse().unwrap());
    headers.insert("x-clean", "hunter2".parse().unwrap());
    headers.insert("x-hunter2-hunter2", "1".parse().unwrap());
    echo.headers(&mut headers);
    let values: Vec<_> = headers.get_all("x-echo").iter().collect();
    assert_eq!(
        values,
        ["Bearer ***************", "b64 ********************"]
    );
    assert_eq!(headers["x-clean"], "hunter2");
    assert_eq!(headers.len(), 3);
    assert_eq!(echo.count(), 3);
}

#[test]
fn bodies_in_an_unknown_coding_are_refused() {
    let echo = echo();
    let response = |coding: &'static str| {
        Response::builder()
            .header("content-encoding", coding)
            .body(())
            .unwrap()
    };
    for (coding, fine) in [
        ("identity", true),
        ("x-rot13", false),
        ("", true),
        ("gzip", true),
    ] {
        let checked = echo.check(&response(coding), &Method::GET);
        assert_eq!(checked.is_ok(), fine, "{coding}");
    }
    assert!(echo.check(&response("x-rot13"), &Method::HEAD).is_ok());
    let nothing = Echo::new(None, 1 << 20, Arc::new(Metrics::new()));
    assert!(nothing.check(&response("x-rot13"), &Method::GET).is_ok());
}

proptest! {
    /// Clean bodies pass byte for byte, whatever they are split into; what is no body in
    /// its coding never panics and never passes a secret.
    #[test]
    fn clean_bodies_are_byte_identical(seed: u32, length in 0..200_000_usize, size in 1..20_000_usize, repeat: bool) {
        let mut text = noise(seed, length);
        if repeat {
            text.extend_from_within(..length / 2);
        }
        for coding in CODINGS {
            let bytes = compress(coding, &[&text]).concat();
            let (out, end) = pass(coding, &bytes, size);
            prop_assert!(end.is_ok(), "{:?} {:?}", coding, end);
            prop_assert_eq!(&out, &bytes);
        }
    }

    #[test]
    fn broken_bodies_are_no_way_out(seed: u32, at: prop::sample::Index, bit in 0..8_u8, size in 1..300_usize) {
        let text = [&noise(seed, 300)[..], SECRET.as_bytes(), &noise(seed, 300)].concat();
        for coding in CODINGS {
            let mut bytes = compress(coding, &[&text]).concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (out, _) = pass(coding, &bytes, size);
            if coding != Coding::Zstd {
                prop_assert!(!contains(&read(coding, &out), SECRET.as_bytes()));
            }
            prop_assert!(!contains(&out, SECRET.as_bytes()));
        }
    }
}

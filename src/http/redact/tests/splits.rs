//! I5 at every split: responses with each encoded form of a secret, through what every body
//! and every WebSocket passes on its way to an agent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::*;
use crate::http::redact::message::Messages;
use crate::http::websocket::{Direction, Inspector, Side};

/// How servers write a secret, made independently of the gateway.
#[path = "../../../../tests/credentials/forms.rs"]
mod forms;

/// With a character for every kind of escape.
const TOLD: &str = "canary-7d/41+f0=8c&\"29";

fn echo_of(secret: &str) -> Echo {
    let name = CredentialName::new("a");
    let needles = Needles::new([(&name, secret.as_bytes())]).unwrap();
    Echo::new(needles.map(Arc::new), 1 << 20, Arc::new(Metrics::new()))
}

/// A body whose frames are all there.
struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an agent gets of a response.
#[derive(Default)]
struct Got {
    headers: HeaderMap,
    frames: Vec<Bytes>,
    trailers: HeaderMap,
    error: Option<BodyError>,
}

impl Got {
    fn body(&self) -> Vec<u8> {
        self.frames.concat()
    }
}

/// Whether compressed bodies are handed on as they are or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Beside,
    Recoded,
}

fn respond(
    echo: &Echo,
    fields: &[(&'static str, &str)],
    frames: impl IntoIterator<Item = Frame<Bytes>>,
    way: Way,
) -> Got {
    let mut response = Response::new(Frames(frames.into_iter().collect()));
    for (name, value) in fields {
        let value = value.parse().unwrap();
        response.headers_mut().append(*name, value);
    }
    let (parts, mut body) = echo.response(response, way == Way::Recoded).into_parts();
    let mut got = Got {
        headers: parts.headers,
        ..Got::default()
    };
    // As writers do: whoever says that it is at its end is not asked again.
    while !body.is_end_stream() {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => got.frames.push(data),
                Err(frame) => got.trailers = frame.into_trailers().unwrap(),
            },
            Poll::Ready(Some(Err(error))) => got.error = Some(error),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("all frames are there"),
        }
        if got.error.is_some() {
            break;
        }
    }
    got
}

fn data(piece: &[u8]) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(piece))
}

fn coding_field(coding: Coding) -> &'static str {
    match coding {
        Coding::Identity => "identity",
        Coding::Gzip => "gzip",
        Coding::Deflate => "deflate",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    }
}

/// A text with one echo, and the same with stars in its place where the whole of it tells.
fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let forms = forms::echoes(TOLD);
    let text = |echo: &str| format!("data: {{\"echo\": \"{echo}\"}}\n\n").into_bytes();
    forms
        .into_iter()
        .map(|(form, echo)| (form, text(&echo)))
        .collect()
}

#[test]
fn i5_every_form_in_two_and_three_frames() {
    let echo = echo_of(TOLD);
    for (form, text) in texts() {
        let whole = respond(&echo, &[], [data(&text)], Way::Beside).body();
        assert_eq!(whole.len(), text.len(), "{form}");
        for one in 0..=text.len() {
            for two in [one, one + 1, one + 2, one + 9, text.len()] {
                let two = two.clamp(one, text.len());
                let frames = [&text[..one], &text[one..two], &text[two..]].map(data);
                let got = respond(&echo, &[], frames, Way::Beside);
                assert!(got.error.is_none());
                assert_eq!(got.body(), whole, "{form} {one} {two}");
                forms::assert_clean(form, &whole, TOLD);
            }
        }
    }
}

#[test]
#[ignore = "every pair of splits of every form: a quarter of a minute"]
fn i5_every_form_in_any_three_frames() {
    let echo = echo_of(TOLD);
    for (form, text) in texts() {
        let whole = respond(&echo, &[], [data(&text)], Way::Beside).body();
        forms::assert_clean(form, &whole, TOLD);
        for one in 0..=text.len() {
            for two in one..=text.len() {
                let frames = [&text[..one], &text[one..two], &text[two..]].map(data);
                let got = respond(&echo, &[], frames, Way::Beside);
                assert_eq!(got.body(), whole, "{form} {one} {two}");
            }
        }
    }
}

/// A compressed body with one echo in every form, at every split.
fn compressed(way: Way) {
    let echo = echo_of(TOLD);
    for coding in CODINGS {
        let fields = [("content-encoding", coding_field(coding))];
        for (form, text) in texts() {
            // What comes before has passed when the echo comes.
            let text = [&noise(3, 70), &text[..], &noise(5, 30)].concat();
            let plain = respond(&echo, &[], [data(&text)], Way::Beside).body();
            let bytes = compress(coding, &[&text]).concat();
            for at in 0..=bytes.len() {
                let (one, two) = bytes.split_at(at);
                let got = respond(&echo, &fields, [data(one), data(two)], way);
                let told = match way {
                    Way::Beside => read(coding, &got.body()),
                    Way::Recoded => got.body(),
                };
                forms::assert_clean(form, &told, TOLD);
                forms::assert_clean(form, &got.body(), TOLD);
                match (way, got.error) {
                    (Way::Beside, Some(BodyError::Echo)) => {}
                    (Way::Recoded, None) => assert_eq!(told, plain, "{form} {at}"),
                    (_, error) => panic!("{coding:?} {form} {at}: {error:?}"),
                }
            }
            let got = respond(&echo, &fields, bytes.chunks(1).map(data), way);
            if way == Way::Recoded {
                assert_eq!(got.body(), plain, "{form}, byte by byte");
            }
        }
    }
}

#[test]
fn i5_every_form_in_every_coding_cuts_the_response() {
    compressed(Way::Beside);
}

/// In frames as connections bring them, of which only the end is fed in small steps.
#[test]
fn i5_an_echo_anywhere_in_a_long_compressed_body_cuts_it() {
    let echo = echo_of(TOLD);
    let (form, text) = texts().swap_remove(0);
    for coding in CODINGS {
        let fields = [("content-encoding", coding_field(coding))];
        for before in (0..50).map(|step| step * 1201) {
            let text = [&noise(7, before), &text[..], &noise(9, 30_000)].concat();
            let bytes = compress(coding, &[&text]).concat();
            let frames = bytes.chunks(16 << 10).map(data);
            let got = respond(&echo, &fields, frames, Way::Beside);
            assert!(
                matches!(got.error, Some(BodyError::Echo)),
                "{coding:?} {before}"
            );
            forms::assert_clean(form, &read(coding, &got.body()), TOLD);
        }
        let clean = compress(coding, &[&noise(7, 90_000)]).concat();
        for size in [4 << 10, 5000, 16 << 10, 20_000, clean.len()] {
            let frames = clean.chunks(size).map(data);
            let got = respond(&echo, &fields, frames, Way::Beside);
            assert!(
                got.error.is_none() && got.body() == clean,
                "{coding:?} {size}"
            );
        }
    }
}

#[test]
fn i5_every_form_in_every_coding_is_masked_where_it_is_recoded() {
    compressed(Way::Recoded);
}

#[test]
fn clean_streams_are_byte_identical_and_no_event_waits() {
    let echo = echo_of(TOLD);
    // Each ends with what a form might begin with, as far as events can.
    let events: [&[u8]; 5] = [
        b"data: canary-7d\n\n",
        b": Y2FuYXJ5\r\n\r\n",
        b"event: 63616e61\ndata: {\"a\": \"canary\"}\n\n",
        b"data: &#99;&#97;\n\n",
        b"data: [DONE]\n\n",
    ];
    for coding in [Coding::Identity].into_iter().chain(CODINGS) {
        let field = [("content-encoding", coding_field(coding))];
        let pieces = compress(coding, &events);
        for way in [Way::Beside, Way::Recoded] {
            for at in 0..40 {
                let (mut expected, mut frames) = (Vec::new(), Vec::new());
                for (piece, event) in pieces.iter().zip(events) {
                    let (one, two) = piece.split_at(at.min(piece.len()));
                    frames.extend([one.to_vec(), two.to_vec()]);
                    expected.extend_from_slice(event);
                    // The response has not ended: what came of it so far must be out.
                    let open = frames.iter().map(|frame| data(frame));
                    let got = until_pending(&echo, &field, open, way);
                    let told = match way {
                        Way::Beside => read(coding, &got),
                        Way::Recoded => got.clone(),
                    };
                    assert_eq!(told, expected, "{coding:?} {way:?} {at}");
                    if way == Way::Beside {
                        assert_eq!(got, frames.concat(), "{coding:?}");
                    }
                }
            }
        }
    }
    assert_eq!(echo.count(), 0);
}

/// What passes of a body that goes on after these frames.
fn until_pending(
    echo: &Echo,
    fields: &[(&'static str, &str)],
    frames: impl IntoIterator<Item = Frame<Bytes>>,
    way: Way,
) -> Vec<u8> {
    struct Open(Frames);
    impl http_body::Body for Open {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match Pin::new(&mut self.0).poll_frame(cx) {
                Poll::Ready(None) => Poll::Pending,
                next => next,
            }
        }
    }
    let mut response = Response::new(Open(Frames(frames.into_iter().collect())));
    for (name, value) in fields {
        let value = value.parse().unwrap();
        response.headers_mut().append(*name, value);
    }
    let mut body = echo.response(response, way == Way::Recoded).into_body();
    let mut out = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(&mut context) {
        out.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
    }
    out
}

#[test]
fn i5_a_part_of_something_larger_tells_no_fragment_at_its_edges() {
    let echo = echo_of(TOLD);
    for (form, text) in texts() {
        let echoed = text
            .strip_prefix(b"data: {\"echo\": \"")
            .and_then(|text| text.strip_suffix(b"\"}\n\n"))
            .unwrap();
        // Base64 of more than the secret begins and ends with what is not of it.
        let own = if form.starts_with("base64") {
            &echoed[4..echoed.len() - 8]
        } else {
            echoed
        };
        for length in 8..own.len().min(24) {
            let ends = [
                [&own[own.len() - length..], b" and what follows"].concat(),
                [b"what comes before ", &own[..length]].concat(),
            ];
            for body in ends {
                for at in 0..=body.len() {
                    let (one, two) = body.split_at(at);
                    let mut response = Response::new(Frames([data(one), data(two)].into()));
                    *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
                    let mut passed = echo.response(response, true).into_body();
                    let mut out = Vec::new();
                    let mut context = Context::from_waker(Waker::noop());
                    while let Poll::Ready(Some(frame)) =
                        Pin::new(&mut passed).poll_frame(&mut context)
                    {
                        out.extend_from_slice(&frame.unwrap().into_data().unwrap());
                    }
                    assert_eq!(out.len(), body.len());
                    let told = out.windows(8).any(|window| contains(own, window));
                    assert!(!told, "{form} {length} {at}: {}", out.escape_ascii());
                }
            }
        }
    }
}

/// A short frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    if let Ok(length @ ..=125) = u8::try_from(length) {
        bytes.push(length);
    } else {
        bytes.push(126);
        bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
    }
    [&bytes[..], payload].concat()
}

/// The payloads of frames, joined, and how many bytes their headers have.
fn payloads(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [_, short, rest @ ..] = bytes {
        let (length, rest) = match short {
            126 => {
                let (length, rest) = rest.split_first_chunk().unwrap();
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            short => (usize::from(*short), rest),
        };
        all.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    all
}

fn down(echo: &Echo) -> Direction {
    let messages = Messages::new(echo).unwrap();
    let inspector = Inspector::Redact(Box::new(messages));
    Direction::new(Side::Server, inspector, None, Arc::default())
}

#[test]
fn i5_every_form_in_messages_and_fragments_of_a_websocket() {
    let echo = echo_of(TOLD);
    for (form, text) in texts() {
        let plain = respond(&echo, &[], [data(&text)], Way::Beside).body();
        for at in 0..=text.len() {
            let (one, two) = text.split_at(at);
            // In fragments with a ping between them, in one message, in pieces of one read.
            let fragments = [frame(0x01, one), frame(0x89, b"?"), frame(0x80, two)].concat();
            let mut out = BytesMut::new();
            let pushed = down(&echo).push(BytesMut::from(&fragments[..]), &mut out);
            assert!(pushed.is_ok());
            let told = payloads(&out);
            let told: Vec<u8> = told.iter().copied().filter(|byte| *byte != b'?').collect();
            let expected: Vec<u8> = plain.iter().copied().filter(|byte| *byte != b'?').collect();
            assert_eq!(told, expected, "{form} {at}");
            let whole = frame(0x82, &text);
            let (mut direction, mut out) = (down(&echo), BytesMut::new());
            let (one, two) = whole.split_at(at);
            for read in [one, two] {
                let pushed = direction.push(BytesMut::from(read), &mut out);
                assert!(pushed.is_ok());
            }
            assert_eq!(payloads(&out), plain, "{form} {at}");
        }
    }
}

#[test]
fn clean_messages_are_byte_identical_and_none_waits() {
    let echo = echo_of(TOLD);
    let mut direction = down(&echo);
    let messages: [&[u8]; 4] = [b"canary-7d", b"", b"Y2FuYXJ5", b"{\"a\": \"63616e61"];
    for message in messages {
        for bytes in [frame(0x81, message), frame(0x8a, message)] {
            let mut out = BytesMut::new();
            assert!(direction.push(BytesMut::from(&bytes[..]), &mut out).is_ok());
            assert_eq!(out, bytes);
        }
    }
}

#[test]
fn what_is_said_of_compressed_bytes_is_taken_out_with_them() {
    let echo = echo_of(TOLD);
    let body = compress(Coding::Gzip, &[b"text"]).concat();
    let length = body.len().to_string();
    let digests = [
        ("content-digest", "sha-256=:AAAA:"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("digest", "sha-256=AAAA"),
        ("content-md5", "AAAA"),
    ];
    let mut fields = vec![
        ("content-encoding", "gzip"),
        ("content-length", &*length),
        ("etag", "\"strong\""),
        ("x-kept", "yes"),
    ];
    fields.extend(digests);
    let mut trailers = HeaderMap::new();
    trailers.insert("content-digest", "sha-256=:AAAA:".parse().unwrap());
    trailers.insert("x-sum", "1".parse().unwrap());
    let frames = || [data(&body), Frame::trailers(trailers.clone())];
    let got = respond(&echo, &fields, frames(), Way::Recoded);
    assert_eq!(got.body(), b"text");
    let names =
        |headers: &HeaderMap| -> Vec<String> { headers.keys().map(ToString::to_string).collect() };
    assert_eq!(names(&got.headers), ["x-kept"]);
    assert_eq!(names(&got.trailers), ["x-sum"]);
    // A weak tag stands for what both forms mean.
    let weak = [("content-encoding", "gzip"), ("etag", "W/\"weak\"")];
    let got = respond(&echo, &weak, frames(), Way::Recoded);
    assert_eq!(names(&got.headers), ["etag"]);
    // As it is: where nothing is compressed, nothing is looked for, or nobody asked.
    fields.retain(|(name, _)| *name != "content-encoding");
    let kept = fields.len();
    let got = respond(&echo, &fields, [data(&body)], Way::Recoded);
    assert_eq!((got.headers.len(), got.body()), (kept, body.clone()));
    fields.push(("content-encoding", "gzip"));
    let nothing = Echo::new(None, 1 << 20, Arc::new(Metrics::new()));
    for (echo, way) in [(&nothing, Way::Recoded), (&echo, Way::Beside)] {
        let got = respond(echo, &fields, frames(), way);
        assert_eq!(got.headers.len(), fields.len());
        assert_eq!(got.body(), body);
        assert_eq!(got.trailers.len(), 2);
    }
}

#[test]
fn recoded_bodies_stay_within_bounds_and_tell_their_end() {
    let echo = echo_of(TOLD);
    for coding in CODINGS {
        let fields = [("content-encoding", coding_field(coding))];
        let bytes = compress(coding, &[&vec![0; 2 << 20]]).concat();
        let got = respond(&echo, &fields, [data(&bytes)], Way::Recoded);
        assert!(
            matches!(got.error, Some(BodyError::Undecodable(why)) if why.contains("decoded_bytes")),
            "{coding:?} {:?}",
            got.error
        );
        assert!(got.frames.iter().all(|frame| frame.len() <= 32 * 1024));
        let text = noise(1, 5000);
        let bytes = compress(coding, &[&text]).concat();
        for cut in [1, 2, 9, bytes.len() / 2] {
            let got = respond(
                &echo,
                &fields,
                [data(&bytes[..bytes.len() - cut])],
                Way::Recoded,
            );
            assert!(
                matches!(got.error, Some(BodyError::Undecodable(_))),
                "{coding:?} {cut}"
            );
        }
        let trailing = [&bytes[..], b"more"].concat();
        let got = respond(&echo, &fields, [data(&trailing)], Way::Recoded);
        assert!(got.error.is_some(), "{coding:?}");
        // An empty body is one, in whatever coding.
        let got = respond(&echo, &fields, [], Way::Recoded);
        assert!(got.error.is_none() && got.body().is_empty());
        let got = respond(&echo, &fields, bytes.chunks(100).map(data), Way::Recoded);
        assert_eq!(got.body(), text);
    }
}

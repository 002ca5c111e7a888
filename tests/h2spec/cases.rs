//! The table.

use crate::Case;
use crate::frames::{DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use crate::link::{
    ACK, COMPRESSION, CONTINUATION, EH, ES, Expect, FLOW_CONTROL, FRAME_SIZE, Link, PAD, PING,
    PRIO, PRIORITY, PROTOCOL, PUSH_PROMISE, REFUSED_STREAM, STREAM_CLOSED, WINDOW_UPDATE,
    block as block_of,
};

/// Where the h2 crate does otherwise than the suite expects, and why that is safe.
const CODE: &str = "the connection ends as it should, with PROTOCOL_ERROR for a more telling code";
const WHOLE: &str = "the connection ends, or its end is PROTOCOL_ERROR, where one stream could:                      the agent loses its other streams, nobody else anything";
const DROPPED: &str = "pseudo-fields in trailers are dropped and the rest passes: the server gets                        the method that was decided on, which the test asserts";

const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// `custom-key` and `custom-value` in Huffman coding (RFC 7541 appendix C.4.3).
const KEY: &[u8] = b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f";
const VALUE: &[u8] = b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";

/// A GET with these bytes after its header block.
fn after(link: &mut Link<'_>, bytes: &[u8]) {
    let block = [&link.block("GET", &[]), bytes].concat();
    link.frame(HEADERS, EH | ES, 1, &block);
}

/// A GET with these bytes before its header block.
fn before(link: &mut Link<'_>, bytes: &[u8]) {
    let block = [bytes, &link.block("GET", &[])].concat();
    link.frame(HEADERS, EH | ES, 1, &block);
}

/// Once three bytes came, a window of -1, which two more bytes make one.
fn negative(link: &mut Link<'_>) {
    loop {
        let frame = link.raw.next().unwrap();
        if frame.kind == DATA {
            assert_eq!(frame.payload.len(), 3);
            break;
        }
    }
    link.setting(4, 2);
    link.window(1, 2);
}

fn case(id: &'static str, send: fn(&mut Link<'_>), expect: Expect) -> Case {
    Case {
        id,
        send,
        expect,
        unlike: None,
    }
}

impl Case {
    /// A case in which the library does otherwise.
    fn unlike(mut self, why: &'static str) -> Self {
        self.unlike = Some(why);
        self
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    [generic(), connections(), frames(), requests(), hpack()]
        .into_iter()
        .flatten()
        .collect()
}

/// What every server must do.
#[rustfmt::skip]
fn generic() -> Vec<Case> {
    vec![
        case("generic/1/1", |_| {}, Expect::Settings),
        case("generic/2/1", |l| { l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]); l.get(1); }, Expect::Answer(1)),
        case("generic/2/2", |l| { l.get(1); l.window(1, 100); }, Expect::Answer(1)),
        case("generic/2/3", |l| { l.get(1); l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]); }, Expect::Answer(1)),
        case("generic/2/4", |l| { l.get(1); l.frame(RST_STREAM, 0, 1, &CANCEL); }, Expect::Alive),
        case("generic/2/5", |l| { l.get(1); l.wait_end(1); l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]); }, Expect::Alive),
        case("generic/3.1/1", |l| { l.post(1); l.frame(DATA, ES, 1, b"test"); }, Expect::Answer(1)),
        case("generic/3.1/2", |l| { l.post(1); l.frame(DATA, 0, 1, b"test"); l.frame(DATA, ES, 1, b"test"); }, Expect::Answer(1)),
        case("generic/3.1/3", |l| { l.post(1); l.frame(DATA, ES | PAD, 1, b"\x06test\0\0\0\0\0\0"); }, Expect::Answer(1)),
        case("generic/3.2/1", |l| l.get(1), Expect::Answer(1)),
        case("generic/3.2/2", |l| { let block = [&[3][..], &l.block("GET", &[]), &[0; 3]].concat(); l.frame(HEADERS, EH | ES | PAD, 1, &block); }, Expect::Answer(1)),
        case("generic/3.2/3", |l| { let block = [&[0, 0, 0, 0, 255][..], &l.block("GET", &[])].concat(); l.frame(HEADERS, EH | ES | PRIO, 1, &block); }, Expect::Answer(1)),
        case("generic/3.3/1", |l| { l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]); l.get(1); }, Expect::Answer(1)),
        case("generic/3.3/2", |l| { l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]); l.get(1); }, Expect::Answer(1)),
        case("generic/3.3/3", |l| { l.frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 255]); l.get(1); }, Expect::Answer(1)),
        case("generic/3.3/4", |l| { l.frame(PRIORITY, 0, 1, &[0x80, 0, 0, 3, 255]); l.get(1); }, Expect::Answer(1)),
        case("generic/3.3/5", |l| { l.frame(PRIORITY, 0, 5, &[0x80, 0, 0, 0, 255]); l.get(1); }, Expect::Answer(1)),
        case("generic/3.4/1", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &CANCEL); }, Expect::Alive),
        case("generic/3.5/1", |l| l.setting(3, 100), Expect::Acked),
        case("generic/3.7/1", |_| {}, Expect::Alive),
        case("generic/3.8/1", |l| { l.frame(GOAWAY, 0, 0, &[0; 8]); }, Expect::Connection(&[0])),
        case("generic/3.9/1", |l| { l.window(0, 1); l.get(1); }, Expect::Answer(1)),
        case("generic/3.9/2", |l| { l.get(1); l.window(1, 1); }, Expect::Answer(1)),
        case("generic/3.10/1", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block[..10]); l.frame(CONTINUATION, EH, 1, &block[10..]); }, Expect::Answer(1)),
        case("generic/3.10/2", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block[..10]); l.frame(CONTINUATION, 0, 1, &block[10..20]); l.frame(CONTINUATION, EH, 1, &block[20..]); }, Expect::Answer(1)),
        case("generic/4/1", |l| l.get(1), Expect::Answer(1)),
        case("generic/4/2", |l| { let block = l.block("HEAD", &[]); l.frame(HEADERS, EH | ES, 1, &block); }, Expect::Answer(1)),
        case("generic/4/3", |l| { l.post(1); l.frame(DATA, ES, 1, b"test"); }, Expect::Answer(1)),
        case("generic/4/4", |l| { let block = l.block("POST", &[("trailer", "x-test")]); l.frame(HEADERS, EH, 1, &block); l.frame(DATA, 0, 1, b"test"); let trailers = block_of(&[("x-test", "ok")]); l.frame(HEADERS, EH | ES, 1, &trailers); }, Expect::Answer(1)),
        case("generic/5/1", |l| after(l, b"\x90"), Expect::Answer(1)),
        case("generic/5/2", |l| after(l, b"\x7a\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/3", |l| after(l, &[b"\x7a\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/4", |l| after(l, b"\x40\x0acustom-key\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/5", |l| after(l, &[b"\x40\x88", KEY, b"\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/6", |l| after(l, b"\x0f\x2b\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/7", |l| after(l, &[b"\x0f\x2b\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/8", |l| after(l, b"\x00\x0acustom-key\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/9", |l| after(l, &[b"\x00\x88", KEY, b"\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/10", |l| after(l, b"\x1f\x2b\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/11", |l| after(l, &[b"\x1f\x2b\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/12", |l| after(l, b"\x10\x0acustom-key\x0ccustom-value"), Expect::Answer(1)),
        case("generic/5/13", |l| after(l, &[b"\x10\x88", KEY, b"\x89", VALUE].concat()), Expect::Answer(1)),
        case("generic/5/14", |l| before(l, &[0x3f, 0x61]), Expect::Answer(1)),
        case("generic/5/15", |l| before(l, &[0x20, 0x3f, 0x61]), Expect::Answer(1)),
    ]
}

/// Sections 3 to 5 of RFC 7540.
#[rustfmt::skip]
fn connections() -> Vec<Case> {
    vec![
        case("http2/3.5/1", |l| { l.preface(); }, Expect::Settings),
        case("http2/3.5/2", |l| { l.bytes(b"INVALID CONNECTION PREFACE\r\n\r\n"); l.frame(SETTINGS, 0, 0, &[]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/4.1/1", |l| { l.frame(0xff, 0, 0, &[0; 8]); }, Expect::Alive),
        case("http2/4.1/2", |l| { l.frame(PING, 0x16, 0, b"h2spec!!"); }, Expect::Alive),
        case("http2/4.1/3", |l| { l.frame(PING, 0, 0x8000_0000, b"h2spec!!"); }, Expect::Alive),
        case("http2/4.2/1", |l| { l.post(1); l.frame(DATA, ES, 1, &[b'x'; 16_384]); }, Expect::Answer(1)),
        case("http2/4.2/2", |l| { l.post(1); l.frame(DATA, ES, 1, &[b'x'; 16_385]); }, Expect::Stream(1, &[FRAME_SIZE])),
        case("http2/4.2/3", |l| { let long = "x".repeat(17_000); let block = l.block("GET", &[("x", &long)]); l.frame(HEADERS, EH | ES, 1, &block); }, Expect::Connection(&[FRAME_SIZE])),
        case("http2/4.3/1", |l| { l.frame(HEADERS, EH | ES, 1, b"\x00\x7f\x80\x80\x80\x80\x80\x80\x80\x01"); }, Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("http2/4.3/2", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]); l.frame(CONTINUATION, EH, 1, &[]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/4.3/3", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(HEADERS, EH | ES, 3, &block); l.frame(CONTINUATION, EH, 1, &[]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/5.1/1", |l| { l.frame(DATA, ES, 1, b"test"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/5.1/2", |l| { l.frame(RST_STREAM, 0, 1, &CANCEL); }, Expect::Connection(&[PROTOCOL])),
        case("http2/5.1/3", |l| l.window(1, 100), Expect::Connection(&[PROTOCOL])),
        case("http2/5.1/4", |l| { let block = l.block("GET", &[]); l.frame(CONTINUATION, EH, 1, &block); }, Expect::Connection(&[PROTOCOL])),
        case("http2/5.1/5", |l| { l.get(1); l.frame(DATA, ES, 1, b"test"); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/5.1/6", |l| { l.get(1); l.get(1); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/5.1/7", |l| { l.get(1); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[STREAM_CLOSED, PROTOCOL])),
        case("http2/5.1/8", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &CANCEL); l.frame(DATA, ES, 1, b"test"); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/5.1/9", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &CANCEL); l.get(1); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/5.1/10", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &CANCEL); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[STREAM_CLOSED, PROTOCOL])),
        case("http2/5.1/11", |l| { l.get(1); l.wait_end(1); l.frame(DATA, ES, 1, b"test"); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/5.1/12", |l| { l.get(1); l.wait_end(1); l.get(1); }, Expect::Connection(&[STREAM_CLOSED, PROTOCOL])),
        case("http2/5.1/13", |l| { l.get(1); l.wait_end(1); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[STREAM_CLOSED, PROTOCOL])),
        case("http2/5.1.1/1", |l| l.get(2), Expect::Connection(&[PROTOCOL])),
        case("http2/5.1.1/2", |l| { l.get(5); l.wait_end(5); l.get(3); }, Expect::Connection(&[PROTOCOL, STREAM_CLOSED])),
        case("http2/5.1.2/1", |l| { for stream in 0..101 { l.post(1 + 2 * stream); }; }, Expect::Stream(201, &[PROTOCOL, REFUSED_STREAM])),
        case("http2/5.3.1/1", |l| { let block = [&[0, 0, 0, 1, 255][..], &l.block("GET", &[])].concat(); l.frame(HEADERS, EH | ES | PRIO, 1, &block); }, Expect::Stream(1, &[PROTOCOL])),
        case("http2/5.3.1/2", |l| { l.frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 255]); }, Expect::Stream(1, &[PROTOCOL])),
        case("http2/5.4.1/1", |l| { l.frame(PING, 0, 0, &[0; 6]); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/5.4.1/2", |l| { l.frame(GOAWAY, 0, 1, &[0; 8]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/5.5/1", |l| { l.frame(0x16, 0, 0, &[0; 8]); }, Expect::Alive),
        case("http2/5.5/2", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(0x16, 0, 0, &[0; 8]); l.frame(CONTINUATION, EH, 1, &[]); }, Expect::Connection(&[PROTOCOL])),
    ]
}

/// Sections 6 and 7.
#[rustfmt::skip]
fn frames() -> Vec<Case> {
    vec![
        case("http2/6.1/1", |l| { l.frame(DATA, ES, 0, b"test"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.1/2", |l| { l.get(1); l.frame(DATA, ES, 1, b"test"); }, Expect::Stream(1, &[STREAM_CLOSED])).unlike(WHOLE),
        case("http2/6.1/3", |l| { l.post(1); l.frame(DATA, ES | PAD, 1, b"\x06test"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.2/1", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.2/2", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(HEADERS, EH | ES, 3, &block); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.2/3", |l| l.get(0), Expect::Connection(&[PROTOCOL])),
        case("http2/6.2/4", |l| { let mut block = l.block("GET", &[]); block.insert(0, 255); l.frame(HEADERS, EH | ES | PAD, 1, &block); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.3/1", |l| { l.frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 255]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.3/2", |l| { l.post(1); l.frame(PRIORITY, 0, 1, &[0, 0, 0, 0]); }, Expect::Stream(1, &[FRAME_SIZE])).unlike(WHOLE),
        case("http2/6.4/1", |l| { l.frame(RST_STREAM, 0, 0, &CANCEL); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.4/2", |l| { l.frame(RST_STREAM, 0, 1, &CANCEL); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.4/3", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &[0; 3]); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/6.5/1", |l| { l.frame(SETTINGS, ACK, 0, &[0]); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/6.5/2", |l| { l.frame(SETTINGS, 0, 1, &[]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.5/3", |l| { l.frame(SETTINGS, 0, 0, &[0; 3]); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/6.5.2/1", |l| l.setting(2, 2), Expect::Connection(&[PROTOCOL])),
        case("http2/6.5.2/2", |l| l.setting(4, 0x8000_0000), Expect::Connection(&[FLOW_CONTROL])).unlike(CODE),
        case("http2/6.5.2/3", |l| l.setting(5, 16_383), Expect::Connection(&[PROTOCOL])),
        case("http2/6.5.2/4", |l| l.setting(5, 16_777_216), Expect::Connection(&[PROTOCOL])),
        case("http2/6.5.2/5", |l| l.setting(0xff, 1), Expect::Alive),
        case("http2/6.5.3/1", |l| { l.frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x64\0\x04\0\0\0\x01"); l.get(1); }, Expect::Data(1, 1)),
        case("http2/6.5.3/2", |l| l.setting(1, 0), Expect::Acked),
        case("http2/6.7/1", |_| {}, Expect::Alive),
        case("http2/6.7/2", |l| { l.frame(PING, ACK, 0, b"invalid!"); }, Expect::Alive),
        case("http2/6.7/3", |l| { l.frame(PING, 0, 1, b"h2spec!!"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.7/4", |l| { l.frame(PING, 0, 0, b"h2spec"); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/6.8/1", |l| { l.frame(GOAWAY, 0, 1, &[0; 8]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.9/1", |l| l.window(0, 0), Expect::Connection(&[PROTOCOL])),
        case("http2/6.9/2", |l| { l.post(1); l.window(1, 0); }, Expect::Stream(1, &[PROTOCOL])),
        case("http2/6.9/3", |l| { l.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]); }, Expect::Connection(&[FRAME_SIZE])).unlike(CODE),
        case("http2/6.9.1/1", |l| { l.setting(4, 1); l.get(1); }, Expect::Data(1, 1)),
        case("http2/6.9.1/2", |l| { l.window(0, 0x7fff_ffff); l.window(0, 0x7fff_ffff); }, Expect::Connection(&[FLOW_CONTROL])),
        case("http2/6.9.1/3", |l| { l.post(1); l.window(1, 0x7fff_ffff); l.window(1, 0x7fff_ffff); }, Expect::Stream(1, &[FLOW_CONTROL])),
        case("http2/6.9.2/1", |l| { l.setting(4, 0); l.get(1); l.setting(4, 1); }, Expect::Data(1, 1)),
        case("http2/6.9.2/2", |l| { l.setting(4, 3); l.get(1); negative(l); }, Expect::Data(1, 1)),
        case("http2/6.9.2/3", |l| l.setting(4, 0x8000_0000), Expect::Connection(&[FLOW_CONTROL])).unlike(CODE),
        case("http2/6.10/1", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block[..9]); l.frame(CONTINUATION, 0, 1, &block[9..]); l.frame(CONTINUATION, EH, 1, &[]); }, Expect::Answer(1)),
        case("http2/6.10/2", |l| { let block = l.block("POST", &[]); l.frame(HEADERS, 0, 1, &block); l.frame(CONTINUATION, 0, 1, &[]); l.frame(DATA, ES, 1, b"test"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.10/3", |l| { let block = l.block("GET", &[]); l.frame(HEADERS, ES, 1, &block); l.frame(CONTINUATION, EH, 0, &[]); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.10/4", |l| { l.post(1); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.10/5", |l| { let block = l.block("POST", &[]); l.frame(HEADERS, 0, 1, &block); l.frame(CONTINUATION, EH, 1, &[]); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/6.10/6", |l| { l.post(1); l.frame(DATA, ES, 1, b"test"); l.frame(CONTINUATION, EH, 1, b"\x90"); }, Expect::Connection(&[PROTOCOL])),
        case("http2/7/1", |l| { l.frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 255]); }, Expect::Connection(&[0, PROTOCOL])),
        case("http2/7/2", |l| { l.post(1); l.frame(RST_STREAM, 0, 1, &[0, 0, 0, 255]); }, Expect::Alive),
    ]
}

/// Section 8.
#[rustfmt::skip]
fn requests() -> Vec<Case> {
    vec![
        case("http2/8.1/1", |l| { l.post(1); l.frame(DATA, 0, 1, b"test"); let trailers = block_of(&[("x-test", "ok")]); l.frame(HEADERS, EH, 1, &trailers); }, Expect::Refused(1)),
        case("http2/8.1.2/1", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), ("X-TEST", "ok")]); }, Expect::Refused(1)),
        case("http2/8.1.2.1/1", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), (":test", "ok")]); }, Expect::Refused(1)),
        case("http2/8.1.2.1/2", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), (":status", "200")]); }, Expect::Refused(1)),
        case("http2/8.1.2.1/3", |l| { let block = l.block("POST", &[("trailer", "x-test")]); l.frame(HEADERS, EH, 1, &block); l.frame(DATA, 0, 1, b"test"); let trailers = block_of(&[(":method", "200")]); l.frame(HEADERS, EH | ES, 1, &trailers); }, Expect::Answer(1)).unlike(DROPPED),
        case("http2/8.1.2.1/4", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), ("x-test", "ok"), (":path", &path)]); }, Expect::Refused(1)),
        case("http2/8.1.2.2/1", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), ("connection", "keep-alive")]); }, Expect::Refused(1)),
        case("http2/8.1.2.2/2", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), ("te", "trailers, deflate")]); }, Expect::Refused(1)),
        case("http2/8.1.2.3/1", |l| l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", "")]), Expect::Refused(1)),
        case("http2/8.1.2.3/2", |l| { let path = l.path.clone(); l.fields(&[(":scheme", "https"), (":authority", "good.test"), (":path", &path)]); }, Expect::Refused(1)),
        case("http2/8.1.2.3/3", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":authority", "good.test"), (":path", &path)]); }, Expect::Refused(1)),
        case("http2/8.1.2.3/4", |l| l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test")]), Expect::Refused(1)),
        case("http2/8.1.2.3/5", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), (":method", "GET")]); }, Expect::Refused(1)),
        case("http2/8.1.2.3/6", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), (":scheme", "https")]); }, Expect::Refused(1)),
        case("http2/8.1.2.3/7", |l| { let path = l.path.clone(); l.fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "good.test"), (":path", &path), (":path", &path)]); }, Expect::Refused(1)),
        case("http2/8.1.2.6/1", |l| { let block = l.block("POST", &[("content-length", "1")]); l.frame(HEADERS, EH, 1, &block); l.frame(DATA, ES, 1, b"test"); }, Expect::Refused(1)),
        case("http2/8.1.2.6/2", |l| { let block = l.block("POST", &[("content-length", "1")]); l.frame(HEADERS, EH, 1, &block); l.frame(DATA, 0, 1, b"test"); l.frame(DATA, ES, 1, b"test"); }, Expect::Refused(1)),
        case("http2/8.2/1", |l| { let block = [&[0, 0, 0, 4][..], &l.block("GET", &[])].concat(); l.frame(PUSH_PROMISE, EH, 1, &block); }, Expect::Connection(&[PROTOCOL])),
    ]
}

/// RFC 7541.
#[rustfmt::skip]
fn hpack() -> Vec<Case> {
    vec![
        case("hpack/2.3.3/1", |l| after(l, b"\xbe"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/2.3.3/2", |l| after(l, b"\x7f\x00\x01x"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/4.2/1", |l| after(l, b"\x3f\x61"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/5.2/1", |l| after(l, b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\x49\x50\x9f\xff\xff\xff\xff\xff"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/5.2/2", |l| after(l, b"\x00\x85\xf2\xb2\x4a\x87\xff\x83\x49\x50\x90"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/5.2/3", |l| after(l, b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/6.1/1", |l| after(l, b"\x80"), Expect::Connection(&[COMPRESSION])).unlike(CODE),
        case("hpack/6.3/1", |l| before(l, &[0x3f, 0xe2, 0x1f]), Expect::Connection(&[COMPRESSION])).unlike(CODE),
    ]
}

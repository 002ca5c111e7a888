use proptest::prelude::*;

use super::*;

/// What comes out of a direction in pieces of `size`, and what broke it off.
fn pass(mut direction: Direction, bytes: &[u8], size: usize) -> (Vec<u8>, Option<u16>, Direction) {
    let mut out = BytesMut::new();
    for piece in bytes.chunks(size) {
        if let Err(violation) = direction.push(BytesMut::from(piece), &mut out) {
            return (out.to_vec(), Some(violation.code), direction);
        }
    }
    (out.to_vec(), None, direction)
}

fn server(limit: Option<u64>) -> Direction {
    Direction::new(Side::Server, Inspector::None, limit, Arc::default())
}

fn agent() -> Direction {
    Direction::new(Side::Agent, Inspector::None, None, Arc::default())
}

/// A frame as a server sends it.
fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let header = Header {
        fin,
        opcode: match opcode {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            _ => Opcode::Pong,
        },
        mask: None,
        length: payload.len() as u64,
    };
    header.encode(&mut bytes);
    [&bytes[..], payload].concat()
}

/// The same frames without their masks.
fn unmasked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    while let Some((header, used)) = Header::parse(bytes, Side::Agent).unwrap() {
        let length = usize::try_from(header.length).unwrap();
        let mut payload = bytes[used..used + length].to_vec();
        bytes = &bytes[used + length..];
        apply_mask(&mut payload, header.mask, 0);
        Header {
            mask: None,
            ..header
        }
        .encode(&mut out);
        out.extend_from_slice(&payload);
    }
    assert!(bytes.is_empty());
    out.to_vec()
}

/// The same frames with masks, as an agent sends them.
fn masked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    while let Some((header, used)) = Header::parse(bytes, Side::Server).unwrap() {
        let length = usize::try_from(header.length).unwrap();
        let mut payload = bytes[used..used + length].to_vec();
        bytes = &bytes[used + length..];
        let mask = Some([1, 2, 3, 250]);
        Header { mask, ..header }.encode(&mut out);
        apply_mask(&mut payload, mask, 0);
        out.extend_from_slice(&payload);
    }
    out.to_vec()
}

#[test]
fn fragments_are_neither_joined_nor_split() {
    let text = [
        frame(false, 1, b"one "),
        frame(true, 9, b"are you there?"),
        frame(false, 0, b""),
        frame(true, 10, b""),
        frame(true, 0, &vec![b'x'; 70_000]),
        frame(true, 2, &[b'y'; 126]),
        frame(true, 8, b"\x03\xe8bye"),
        b"what comes after is nothing".to_vec(),
    ];
    let until_close = text[..7].concat();
    for size in [1, 2, 7, 8192, usize::MAX] {
        let size = size.min(100_000);
        let (out, code, direction) = pass(server(None), &text.concat(), size);
        assert_eq!((&out, code), (&until_close, None), "{size}");
        assert!(direction.is_closed() && direction.is_between_frames());
        assert_eq!(direction.tally().messages.load(Relaxed), 2);
        assert_eq!(direction.tally().close.load(Relaxed), 1000);
    }
    let (out, code, _) = pass(agent(), &masked(&until_close), 1000);
    assert_eq!((unmasked(&out), code), (until_close.clone(), None));
    // The key is the gateway's own.
    assert_ne!(out, masked(&until_close));
}

#[test]
fn what_may_not_follow_breaks_off() {
    for (bytes, code) in [
        (frame(true, 0, b"x"), 1002),
        ([frame(false, 1, b"x"), frame(true, 2, b"y")].concat(), 1002),
        (frame(true, 8, b"x"), 1002),
        (frame(true, 8, &1005_u16.to_be_bytes()), 1002),
        (frame(true, 8, &999_u16.to_be_bytes()), 1002),
        (frame(true, 8, &5000_u16.to_be_bytes()), 1002),
        (frame(true, 2, &[0; 101]), 1009),
        (
            [frame(false, 2, &[0; 60]), frame(true, 0, &[0; 41])].concat(),
            1009,
        ),
    ] {
        let (_, got, _) = pass(server(Some(100)), &bytes, 1);
        assert_eq!(got, Some(code), "{bytes:x?}");
    }
    let (_, code, direction) = pass(server(Some(100)), &frame(true, 8, b""), 1);
    assert_eq!(code, None);
    assert_eq!(direction.tally().close.load(Relaxed), 1005);
}

#[test]
fn what_is_whole_before_a_violation_still_passes() {
    let good = frame(true, 1, b"good");
    let (out, code, direction) = pass(
        server(None),
        &[good.clone(), frame(true, 0, b"bad")].concat(),
        9999,
    );
    assert_eq!((out, code), (good, Some(1002)));
    assert!(direction.is_between_frames());
}

#[test]
fn reasons_are_cut_at_a_character() {
    let frame = close_frame(Side::Server, 1008, &"ü".repeat(100)).unwrap();
    assert_eq!(frame[1], 124);
    assert!(std::str::from_utf8(&frame[4..]).is_ok());
}

proptest! {
    /// However frames are cut into reads, the same passes.
    #[test]
    fn reads_change_nothing(
        lengths in prop::collection::vec(0..300_usize, 1..20),
        size in 1..700_usize,
    ) {
        let mut bytes = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let opcode = if number == 0 { 2 } else { 0 };
            let payload = vec![u8::try_from(number).unwrap(); *length];
            bytes.extend(frame(number + 1 == lengths.len(), opcode, &payload));
            bytes.extend(frame(true, 9, b"ping"));
        }
        let (out, code, _) = pass(server(None), &bytes, size);
        prop_assert_eq!((out, code), (bytes.clone(), None));
        let (out, code, direction) = pass(agent(), &masked(&bytes), size);
        prop_assert_eq!((unmasked(&out), code), (bytes, None));
        prop_assert_eq!(direction.tally().messages.load(Relaxed), 1);
    }
}

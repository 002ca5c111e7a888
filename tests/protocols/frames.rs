//! The case classes of the Autobahn test suite, and where each is a case of ours.
//!
//! | class | what | here | what becomes of it |
//! |---|---|---|---|
//! | 1 | text and binary, every form of length, in chops | [`frames_pass_one_by_one`], [`bytes_pass_in_any_pieces`] | passes |
//! | 2 | pings and pongs, unasked ones, ten at once, byte by byte | the same | pass |
//! | 2.5 | a ping of 126 bytes | `endings::broken_frames_end_it` | 1002 |
//! | 3 | reserved bits | `endings::broken_frames_end_it` | 1002 |
//! | 4 | reserved opcodes | `endings::broken_frames_end_it` | 1002 |
//! | 5 | fragments, control frames in between | [`frames_pass_one_by_one`] | pass as they came |
//! | 5 | fragmented control frames, fragments of nothing | `endings::broken_frames_end_it` | 1002 |
//! | 6 | text that is no UTF-8, whole and in fragments | [`frames_pass_one_by_one`] | passes, for the endpoints to judge |
//! | 7.1 | frames behind a close frame | [`what_follows_a_close_frame_does_not_pass`] | do not pass |
//! | 7.3, 7.5, 7.7 | close frames, their codes and reasons | [`close_frames_pass_whole`] | pass |
//! | 7.3, 7.9 | bad close frames and codes | `endings::broken_frames_end_it` | 1002 |
//! | 7.9, 7.13 | codes from 1016 to 2999 | [`close_frames_pass_whole`] | pass, for the endpoints to judge |
//! | 9 | messages up to 16 MiB, in one frame and in many; many small ones | [`messages_of_16_mib_pass`], [`bytes_pass_in_any_pieces`] | pass |
//! | 10 | fragments made by who sends | as 5: no frame is joined or cut | pass as they came |
//! | 12, 13 | compression | `handshakes`: the extension is taken out | nothing is compressed |

use crate::common::{World, inside};
use crate::ws::{
    Agent, BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, TEXT, accept, echo, frame, gateway,
    record, server,
};

/// Random enough that no two places look alike.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(next).collect()
}

/// Each frame comes back before the next is sent: fragments and control frames pass as they
/// come, and none is joined with another.
#[test]
fn frames_pass_one_by_one() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        // With detectors and echoes looked for, and without.
        for host in ["ws.test", "plain.test"] {
            let agent = agent.clone();
            world.agent.block_on(async move {
                let mut ws = agent.open(host, "/echo").await;
                let mut cases = vec![
                    // 1: text and binary of every form of length.
                    (FIN | TEXT, Vec::new()),
                    (FIN | TEXT, "Grüße, κόσμε".into()),
                ];
                for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
                    cases.push((FIN | BINARY, noise(length)));
                }
                // 2: pings and pongs, with and without payload, unasked pongs.
                for payload in [&b""[..], b"ping", &[0xff; 125]] {
                    cases.push((FIN | PING, payload.to_vec()));
                    cases.push((FIN | PONG, payload.to_vec()));
                }
                // 5: fragments, empty ones too, and control frames in between.
                cases.extend([
                    (TEXT, b"one ".to_vec()),
                    (FIN | PING, b"in between".to_vec()),
                    (CONTINUATION, Vec::new()),
                    (CONTINUATION, b"two ".to_vec()),
                    (FIN | PONG, Vec::new()),
                    (FIN | CONTINUATION, b"three".to_vec()),
                    (BINARY, Vec::new()),
                    (FIN | CONTINUATION, Vec::new()),
                ]);
                // 6: what is no UTF-8 is for the endpoints to judge.
                cases.extend([
                    (FIN | TEXT, b"\xce\xba\xed\xa0\x80edited".to_vec()),
                    (TEXT, b"\xf4".to_vec()),
                    (FIN | CONTINUATION, b"\x90\x80\x80".to_vec()),
                ]);
                for (first, payload) in cases {
                    ws.send(first, &payload).await.unwrap();
                    let back = if first == FIN | PING {
                        FIN | PONG
                    } else {
                        first
                    };
                    assert_eq!(ws.next().await, Some(Frame(back, payload)));
                }
                // 7: the close handshake, with code and reason.
                ws.send(FIN | CLOSE, b"\x0f\xa0goodbye").await.unwrap();
                assert_eq!(
                    ws.next().await,
                    Some(Frame(FIN | CLOSE, b"\x0f\xa0goodbye".into()))
                );
                assert_eq!(ws.next().await, None);
            });
        }
        let record = record(&gateway, "/echo");
        assert_eq!(record["portreeve.verdict"], "allow");
        assert_eq!(record["portreeve.reason"], serde_json::Value::Null);
        assert_eq!(record["http.response.status_code"], 101);
        assert_eq!(record["portreeve.websocket.request_messages"], 15);
        assert_eq!(record["portreeve.websocket.response_messages"], 15);
        assert_eq!(record["portreeve.websocket.close_code"], 4000);
        assert_eq!(
            record["http.request.body.size"],
            record["http.response.body.size"]
        );
        // It began with a record, too.
        let began = gateway.wait_records(2, |record| {
            record["portreeve.record.kind"] == "interim" && record["url.path"] == "/echo"
        });
        assert_eq!(began[0]["http.response.status_code"], 101);
        assert_eq!(began[0]["portreeve.websocket.request_messages"], 0);
        let family = "portreeve_websocket_messages_total";
        assert_eq!(gateway.metric(family, &[("direction", "request")]), 30.0);
        assert_eq!(gateway.metric("portreeve_websockets_open", &[]), 0.0);
    });
}

/// Bytes sent in chops arrive as the frames that they are, and many at once in their order.
#[test]
fn bytes_pass_in_any_pieces() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        for host in ["ws.test", "plain.test"] {
            let agent = agent.clone();
            world.agent.block_on(async move {
                let mut ws = agent.open(host, "/pieces").await;
                let key = Some([9, 8, 7, 6]);
                for (first, payload, size) in [
                    (FIN | PING, noise(125), 1),
                    (FIN | TEXT, b"byte by byte".to_vec(), 1),
                    (FIN | BINARY, noise(65_536), 997),
                ] {
                    for piece in frame(first, &payload, key).chunks(size) {
                        ws.raw(piece).await.unwrap();
                    }
                    let back = if first == FIN | PING {
                        FIN | PONG
                    } else {
                        first
                    };
                    assert_eq!(ws.next().await, Some(Frame(back, payload)));
                }
                // All in one write; 9.7 and 9.8 on a small scale.
                let pings: Vec<Vec<u8>> = (0..10).map(|n| vec![n; 5]).collect();
                let texts: Vec<Vec<u8>> = (0..1000).map(|n| format!("{n:64}").into()).collect();
                let ping = |payload: &Vec<u8>| frame(FIN | PING, payload, key);
                let text = |payload: &Vec<u8>| frame(FIN | TEXT, payload, key);
                let all: Vec<u8> = pings
                    .iter()
                    .flat_map(ping)
                    .chain(texts.iter().flat_map(text))
                    .collect();
                ws.raw(&all).await.unwrap();
                for payload in pings {
                    assert_eq!(ws.next().await, Some(Frame(FIN | PONG, payload)));
                }
                for payload in texts {
                    assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, payload)));
                }
            });
        }
    });
}

/// Codes and reasons are the endpoints' own, as far as they may be sent at all.
#[test]
fn close_frames_pass_whole() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let codes = [
                1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 1016, 1100, 2000,
                2999, 3000, 3999, 4000, 4999_u16,
            ];
            let mut payloads = vec![Vec::new()];
            payloads.extend(codes.map(|code| code.to_be_bytes().to_vec()));
            payloads.push([&[3, 0xe8][..], &[b'x'; 123]].concat());
            payloads.push(b"\x03\xe8no UTF-8: \xce\xba\xed\xa0\x80".to_vec());
            for payload in payloads {
                let mut ws = agent.open("plain.test", "/close").await;
                ws.send(FIN | CLOSE, &payload).await.unwrap();
                assert_eq!(ws.next().await, Some(Frame(FIN | CLOSE, payload)));
                assert_eq!(ws.next().await, None);
            }
        });
    });
}

/// RFC 6455 §5.5.1: after its close frame a side sends nothing more.
#[test]
fn what_follows_a_close_frame_does_not_pass() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            let mut seen = Vec::new();
            while let Some(Frame(first, _)) = ws.next().await {
                seen.push(first);
                if first == FIN | CLOSE {
                    ws.send(FIN | CLOSE, &[3, 0xe8]).await?;
                }
            }
            assert_eq!(seen, [FIN | TEXT, FIN | CLOSE]);
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/after").await;
            let key = Some([9, 8, 7, 6]);
            let all = [
                frame(FIN | TEXT, b"before", key),
                frame(FIN | CLOSE, &[3, 0xe8], key),
                frame(FIN | PING, b"", key),
                frame(FIN | TEXT, b"after", key),
                frame(FIN | CLOSE, &[3, 0xe8], key),
            ];
            ws.raw(&all.concat()).await.unwrap();
            assert_eq!(ws.next().await.unwrap().close().0, 1000);
            assert_eq!(ws.next().await, None);
        });
        let seen = server.wait_connection("an end", |seen| seen.closed);
        let start = crate::common::wire::find(&seen.bytes, b"\r\n\r\n").unwrap() + 4;
        // Two frames, each with a mask: 2 + 4 + 6 and 2 + 4 + 2 bytes.
        assert_eq!(seen.bytes.len() - start, 20);
    });
}

/// The most memory that the gateway ever had, in KiB.
fn most_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// 9: messages of 16 MiB, in one frame and in many, are the same bytes at the other end. The
/// gateway holds a small piece of them.
#[test]
fn messages_of_16_mib_pass() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let pid = gateway.pid();
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/large").await;
            // What the first of everything takes is not the messages'.
            ws.send(FIN | TEXT, b"small").await.unwrap();
            assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, b"small".into())));
            let before = most_memory(pid);
            let large = noise(16 << 20);
            ws.send(FIN | BINARY, &large).await.unwrap();
            let back = ws.next().await.unwrap();
            assert!(back == Frame(FIN | BINARY, large.clone()));
            let pieces = large.chunks(128 * 1024);
            let count = pieces.len();
            for (number, piece) in pieces.enumerate() {
                // The end of a fragment waits for the next one where a secret may begin in
                // it; none begins with this.
                let piece = [&piece[1..], b"\n"].concat();
                let opcode = if number == 0 { BINARY } else { CONTINUATION };
                let fin = if number + 1 == count { FIN } else { 0 };
                ws.send(fin | opcode, &piece).await.unwrap();
                let back = ws.next().await.unwrap();
                assert!(back == Frame(fin | opcode, piece));
            }
            ws.send(FIN | CLOSE, b"").await.unwrap();
            assert_eq!(ws.next().await, Some(Frame(FIN | CLOSE, Vec::new())));
            let most = most_memory(pid);
            // Half of a message.
            assert!(most < before + 8 * 1024, "{before} KiB, then {most} KiB");
        });
        let record = record(&gateway, "/large");
        assert_eq!(record["portreeve.websocket.close_code"], 1005);
        assert_eq!(record["http.request.body.size"], (32 << 20) + 5);
    });
}

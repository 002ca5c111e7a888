//! The case classes of the Autobahn test suite that concern who stands in between: what one
//! side sends, the other gets, frame by frame.

use crate::common::{World, inside};
use crate::ws::{
    Agent, BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, TEXT, echo, gateway, record, server,
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

/// 9: messages of 16 MiB, in one frame and in many, are the same bytes at the other end.
#[test]
fn messages_of_16_mib_pass() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/large").await;
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
        });
        let record = record(&gateway, "/large");
        assert_eq!(record["portreeve.websocket.close_code"], 1005);
        assert_eq!(record["http.request.body.size"], 32 << 20);
    });
}

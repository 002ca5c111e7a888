//! How a WebSocket ends: by rules broken, limits reached, a side that goes, the gateway that
//! goes.

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::common::{World, inside};
use crate::ws::{
    Agent, BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, TEXT, accept, echo, frame, gateway,
    record, server,
};

/// What breaks the rules, by the classes of the Autobahn suite.
fn broken(key: Option<[u8; 4]>) -> Vec<Vec<u8>> {
    let mut all = vec![
        frame(FIN | TEXT, b"not masked", None),
        // 2.5: a ping of 126 bytes. A length in more bytes than it takes.
        vec![FIN | PING, 0xfe, 0, 126],
        vec![FIN | TEXT, 0xfe, 0, 125],
        vec![FIN | TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        vec![FIN | TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        // 5.1, 5.2, 5.10 to 5.18: fragments of control frames, and of nothing; a message in
        // the middle of another.
        frame(PING, b"", key),
        frame(PONG, b"", key),
        frame(CLOSE, b"", key),
        frame(FIN, b"continues nothing", key),
        frame(CONTINUATION, b"continues nothing", key),
        [frame(TEXT, b"one", key), frame(FIN | TEXT, b"two", key)].concat(),
        [frame(BINARY, b"one", key), frame(TEXT, b"two", key)].concat(),
        // 7.3: close frames of one byte, and of 126.
        frame(FIN | CLOSE, b"x", key),
        vec![FIN | CLOSE, 0xfe, 0, 126],
    ];
    // 3: reserved bits, for which no extension was agreed on.
    for bits in [0x40, 0x20, 0x10, 0x50, 0x70] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            all.push(frame(FIN | bits | opcode, b"", key));
        }
    }
    // 4: reserved opcodes.
    for opcode in (3..=7).chain(11..=15) {
        all.push(frame(FIN | opcode, b"", key));
    }
    // 7.9: codes that are never sent.
    for code in [0, 999, 1004, 1005, 1006, 1015, 5000, 65535_u16] {
        all.push(frame(FIN | CLOSE, &code.to_be_bytes(), key));
    }
    all
}

/// Whoever breaks the rules of frames is told so; the other side is told that it is over.
#[test]
fn broken_frames_end_it() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request, _, stream| async move {
            let mut ws = accept(stream).await?;
            if request.target == "/server" {
                // Masked, which servers never do.
                ws.raw(&frame(FIN | TEXT, b"x", Some([1, 2, 3, 4]))).await?;
            }
            while let Some(frame) = ws.next().await {
                if frame.0 == FIN | CLOSE {
                    ws.send(frame.0, &frame.1).await?;
                    break;
                }
            }
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let asking = agent.clone();
        world.agent.block_on(async move {
            let key = Some([1, 2, 3, 4]);
            for bytes in broken(key) {
                let mut ws = asking.open("plain.test", "/agent").await;
                ws.raw(&bytes).await.unwrap();
                let (code, reason) = ws.next().await.unwrap().close();
                assert_eq!(code, 1002, "{bytes:x?}");
                assert!(reason.contains("WebSocket of the agent"), "{reason}");
                assert_eq!(ws.next().await, None);
            }
            let mut ws = asking.open("plain.test", "/server").await;
            assert_eq!(ws.next().await.unwrap().close().0, 1001);
        });
        let of_agent = |record: &serde_json::Value| {
            record["url.path"] == "/agent" && record["portreeve.record.kind"] == "request"
        };
        for record in gateway.wait_records(broken(None).len(), of_agent) {
            assert_eq!(record["portreeve.reason"], "malformed");
        }
        let of_server = record(&gateway, "/server");
        assert_eq!(of_server["portreeve.reason"], "upstream_malformed");
        // Nothing of a broken frame arrives, only the goodbye: ten bytes less than `x`.
        for seen in server.wait_connections(broken(None).len() + 1) {
            let start = crate::common::wire::find(&seen.bytes, b"\r\n\r\n").unwrap() + 4;
            let mut rest = &seen.bytes[start..];
            // The fragment `one`, with its mask, breaks no rule yet.
            if let [TEXT | BINARY, ..] = rest {
                rest = &rest[2 + 4 + 3..];
            }
            if !rest.is_empty() {
                assert_eq!(rest[0], FIN | CLOSE, "{rest:x?}");
            }
        }
    });
}

#[test]
fn limits_end_it() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |request, _, stream| async move {
            let mut ws = accept(stream).await?;
            if request.target == "/large-answer" {
                ws.send(FIN | BINARY, &[0; 5000]).await?;
            }
            while ws.next().await.is_some() {}
            Ok(())
        });
        let gateway = gateway(
            &world,
            "[limits]\nmessage_bytes = \"4KiB\"\n[timeouts]\nclose = \"200ms\"\n",
        );
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/large").await;
            ws.send(BINARY, &[0; 4096]).await.unwrap();
            ws.send(FIN, &[0; 1]).await.unwrap();
            assert_eq!(ws.next().await.unwrap().close().0, 1009);
            let mut ws = agent.open("plain.test", "/large-answer").await;
            assert_eq!(ws.next().await.unwrap().close().0, 1001);
            // A server that never answers the close frame is not waited for.
            let mut ws = agent.open("plain.test", "/unanswered").await;
            ws.send(FIN | CLOSE, &[3, 0xe8]).await.unwrap();
            assert_eq!(ws.next().await, None);
        });
        for path in ["/large", "/large-answer"] {
            assert_eq!(
                record(&gateway, path)["portreeve.reason"],
                "message_too_large"
            );
        }
        assert_eq!(
            record(&gateway, "/unanswered")["portreeve.websocket.close_code"],
            1000
        );
        let reached = [("limit", "limits.message_bytes")];
        assert_eq!(
            gateway.metric("portreeve_limit_reached_total", &reached),
            2.0
        );
    });
}

#[test]
fn what_is_idle_ends() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "[timeouts]\ntunnel = \"500ms\"\n");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/idle").await;
            assert_eq!(ws.next().await.unwrap().close().0, 1001);
        });
        assert_eq!(
            record(&gateway, "/idle")["portreeve.reason"],
            "idle_timeout"
        );
        server.wait_connection("an end", |seen| seen.closed);
    });
}

/// However much passes: it has a life, and both sides are told of its end.
#[test]
fn a_long_life_ends() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world, "[timeouts]\ntunnel_life = \"2s\"\n");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/long").await;
            // Never idle.
            let end = loop {
                let _ = ws.send(FIN | TEXT, b"more").await;
                match ws.next().await {
                    Some(Frame(first, _)) if first == FIN | TEXT => {}
                    end => break end,
                }
            };
            let (code, reason) = end.unwrap().close();
            assert_eq!(code, 1001);
            assert!(reason.contains("may not last longer"), "{reason}");
        });
        assert_eq!(
            record(&gateway, "/long")["portreeve.reason"],
            "tunnel_expired"
        );
        let reached = [("limit", "timeouts.tunnel_life")];
        let family = "portreeve_limit_reached_total";
        assert_eq!(gateway.metric(family, &reached), 1.0);
        server.wait_connection("an end", |seen| seen.closed);
    });
}

/// A side that goes without a word takes the other with it, also without a word.
#[test]
fn a_side_that_goes_is_noticed() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request, _, stream| async move {
            let mut ws = accept(stream).await?;
            if request.target == "/server" {
                // Half a frame, and the end.
                ws.raw(&frame(FIN | TEXT, b"abc", None)[..4]).await?;
                return ws.stream.shutdown().await;
            }
            while ws.next().await.is_some() {}
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let ws = agent.open("plain.test", "/server").await;
            assert_eq!(ws.rest().await, frame(FIN | TEXT, b"abc", None)[..4]);
            let ws = agent.open("plain.test", "/agent").await;
            drop(ws);
        });
        assert_eq!(
            record(&gateway, "/server")["portreeve.reason"],
            "upstream_closed"
        );
        assert_eq!(
            record(&gateway, "/agent")["portreeve.reason"],
            "agent_closed"
        );
        let seen = server.wait_connections(2);
        assert_eq!(seen.len(), 2);
        server.wait_connection("an end", |seen| {
            seen.closed && seen.bytes.starts_with(b"GET /agent")
        });
    });
}

#[test]
fn a_gateway_that_goes_says_so() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            ws.send(FIN | TEXT, b"hello").await?;
            while ws.next().await.is_some() {}
            Ok(())
        });
        let mut gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let mut ws = world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/drained").await;
            assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, b"hello".into())));
            ws
        });
        gateway.signal(Signal::TERM);
        world.agent.block_on(async move {
            let (code, reason) = ws.next().await.unwrap().close();
            assert_eq!((code, reason.as_str()), (1001, "the gateway is going away"));
            ws.send(FIN | CLOSE, &1001_u16.to_be_bytes()).await.unwrap();
            assert_eq!(ws.next().await, None);
        });
        assert!(gateway.wait_exit().success());
        assert_eq!(record(&gateway, "/drained")["portreeve.reason"], "draining");
        let seen = server.wait_connection("an end", |seen| seen.closed);
        let start = crate::common::wire::find(&seen.bytes, b"\r\n\r\n").unwrap() + 4;
        assert_eq!(seen.bytes[start], FIN | CLOSE);
    });
}

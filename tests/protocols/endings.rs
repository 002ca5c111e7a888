//! How a WebSocket ends: by rules broken, limits reached, a side that goes, the gateway that
//! goes.

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::common::{World, inside};
use crate::ws::{Agent, BINARY, CLOSE, FIN, Frame, TEXT, accept, frame, gateway, record, server};

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
            for bytes in [
                frame(FIN | TEXT, b"not masked", None),
                frame(FIN | 0x40 | TEXT, b"rsv1", key),
                frame(FIN | 3, b"reserved", key),
                frame(FIN | 11, b"reserved", key),
                frame(FIN, b"continues nothing", key),
                frame(CLOSE, b"", key),
                frame(FIN | CLOSE, b"x", key),
                frame(FIN | CLOSE, &1006_u16.to_be_bytes(), key),
                vec![FIN | 9, 0xfe, 0, 126],
                vec![FIN | TEXT, 0xfe, 0, 125],
            ] {
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
        assert_eq!(record(&gateway, "/agent")["portreeve.reason"], "malformed");
        let of_server = record(&gateway, "/server");
        assert_eq!(of_server["portreeve.reason"], "upstream_malformed");
        // Nothing of a broken frame arrives, only the goodbye: ten bytes less than `x`.
        for seen in server.wait_connections(11) {
            let start = crate::common::wire::find(&seen.bytes, b"\r\n\r\n").unwrap() + 4;
            let rest = &seen.bytes[start..];
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
            "[limits]\nmessage_bytes = \"4KiB\"\n[timeouts]\ntunnel = \"500ms\"\nclose = \"200ms\"\n",
        );
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/large").await;
            ws.send(BINARY, &[0; 4096]).await.unwrap();
            ws.send(FIN, &[0; 1]).await.unwrap();
            assert_eq!(ws.next().await.unwrap().close().0, 1009);
            let mut ws = agent.open("plain.test", "/large-answer").await;
            assert_eq!(ws.next().await.unwrap().close().0, 1001);
            let mut ws = agent.open("plain.test", "/idle").await;
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
            record(&gateway, "/idle")["portreeve.reason"],
            "idle_timeout"
        );
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
        let mut ws = world
            .agent
            .block_on(async move { agent.open("plain.test", "/drained").await });
        gateway.signal(Signal::TERM);
        world.agent.block_on(async move {
            assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, b"hello".into())));
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

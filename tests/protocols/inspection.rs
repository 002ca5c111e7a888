//! What messages say: nothing leaves that must not, and no credential comes back.

use crate::common::{World, inside};
use crate::ws::{
    Agent, BINARY, CLOSE, CONFIG, CONTINUATION, FIN, Frame, PING, RULES, SECRET, TEXT, accept,
    gateway, record, server,
};

/// A token that is to be masked, and what says so.
const RED: &str = "red_q7w3e9r2t5y8u1i4";
const RED_DETECTOR: &str = r#"
[[detector]]
name = "red-token"
title = "Red token"
shapes = ['red_[a-z0-9]{16}']
default = "redact"
"#;

/// However a secret is cut into fragments, its last byte does not reach the server.
#[test]
fn a_secret_does_not_leave_in_messages() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            while ws.next().await.is_some() {}
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let cut = SECRET.len() / 2;
        let (one, two) = SECRET.split_at(cut);
        let cases: [(&str, Vec<(u8, String)>); 4] = [
            ("/whole", vec![(FIN | TEXT, format!("say {SECRET} twice"))]),
            (
                "/fragments",
                vec![
                    (TEXT, format!("clean start, {one}")),
                    (FIN | PING, "in between".into()),
                    (FIN | CONTINUATION, format!("{two} end")),
                ],
            ),
            (
                "/bytes",
                SECRET
                    .char_indices()
                    .map(|(at, byte)| (if at == 0 { BINARY } else { 0 }, byte.to_string()))
                    .chain([(FIN, String::new())])
                    .collect(),
            ),
            ("/ping", vec![(FIN | PING, SECRET.into())]),
        ];
        for (number, (path, frames)) in cases.into_iter().enumerate() {
            let agent = agent.clone();
            let (code, reason) = world.agent.block_on(async move {
                let mut ws = agent.open("ws.test", path).await;
                ws.send(FIN | TEXT, b"first").await.unwrap();
                for (first, payload) in frames {
                    let _ = ws.send(first, payload.as_bytes()).await;
                }
                let close = ws.next().await.unwrap().close();
                assert_eq!(ws.next().await, None);
                close
            });
            assert_eq!(code, 1008, "{path}");
            assert!(reason.contains("must not leave"), "{reason}");
            let record = record(&gateway, path);
            assert_eq!(record["portreeve.verdict"], "deny");
            assert_eq!(record["portreeve.reason"], "detected");
            assert!(
                record["portreeve.detections"]
                    .as_str()
                    .unwrap()
                    .contains("in a WebSocket message"),
                "{record}"
            );
            assert_eq!(record["portreeve.websocket.request_messages"], 1);
            let seen = server.wait_connection("an end", |seen| {
                seen.closed && String::from_utf8_lossy(&seen.bytes).contains(&format!("{path} "))
            });
            let text = payloads(&seen.bytes);
            assert!(text.starts_with(b"first"), "{}", text.escape_ascii());
            let text = String::from_utf8_lossy(&text);
            // Not even its first half: it is held until it is known what it is.
            assert!(!text.contains(&SECRET[..8]), "{number}: {text}");
        }
    });
}

/// What is to be masked is, over fragments, and the frames are as long as they were.
#[test]
fn messages_pass_masked() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            while ws.next().await.is_some() {}
            Ok(())
        });
        let builder = world
            .gateway_builder(&format!("dlp = \"detectors\"\n{CONFIG}"))
            .rule("rules.toml", RULES)
            .secret("canary", SECRET);
        let folder = world.path("gateway").join("detectors");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("red.toml"), RED_DETECTOR).unwrap();
        let gateway = builder.start();
        let agent = Agent::new(&gateway);
        let (one, two) = RED.split_at(9);
        world.agent.block_on(async move {
            let mut ws = agent.open("plain.test", "/red").await;
            ws.send(FIN | TEXT, format!("whole {RED}!").as_bytes())
                .await
                .unwrap();
            ws.send(TEXT, format!("cut {one}").as_bytes())
                .await
                .unwrap();
            ws.send(FIN | PING, RED.as_bytes()).await.unwrap();
            ws.send(FIN | CONTINUATION, format!("{two}!").as_bytes())
                .await
                .unwrap();
            ws.send(FIN | TEXT, format!("clean {one}").as_bytes())
                .await
                .unwrap();
            ws.send(FIN | CLOSE, &[3, 0xe8]).await.unwrap();
            while ws.next().await.is_some() {}
        });
        let record = record(&gateway, "/red");
        assert_eq!(record["portreeve.verdict"], "allow", "{record}");
        let detections = record["portreeve.detections"].as_str().unwrap();
        assert!(detections.starts_with("red-token redacted "), "{record}");
        let seen = server.wait_connection("an end", |seen| seen.closed);
        let text = payloads(&seen.bytes);
        let stars = "*".repeat(RED.len());
        // The ping may stand before the fragment that waited.
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with(&format!("whole {stars}!cut ")), "{text}");
        assert!(text.contains(&format!("!clean {one}")), "{text}");
        assert_eq!(text.matches('*').count(), 3 * RED.len(), "{text}");
        assert!(!text.contains(two), "{text}");
    });
}

/// I9: what stands behind a fragment that is held back has a limit, though it carries nothing.
#[test]
fn i9_empty_frames_do_not_pile_up() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            while ws.next().await.is_some() {}
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let (code, reason) = world.agent.block_on(async move {
            let mut ws = agent.open("ws.test", "/empty").await;
            let begun = &SECRET.as_bytes()[..SECRET.len() / 2];
            ws.send(TEXT, begun).await.unwrap();
            for _ in 0..1000 {
                let _ = ws.send(CONTINUATION, b"").await;
            }
            ws.next().await.unwrap().close()
        });
        assert_eq!(code, 1008);
        assert!(reason.contains("too many frames"), "{reason}");
        assert_eq!(record(&gateway, "/empty")["portreeve.reason"], "malformed");
    });
}

/// The payload of all whole data frames after the head, and of the last one as far as it came.
fn payloads(bytes: &[u8]) -> Vec<u8> {
    let start = crate::common::wire::find(bytes, b"\r\n\r\n").unwrap() + 4;
    let mut rest = &bytes[start..];
    let mut all = Vec::new();
    while rest.len() >= 6 {
        // Only short frames are sent here.
        let length = usize::from(rest[1] & 0x7f);
        assert!(length < 126);
        let key = &rest[2..6];
        let end = rest.len().min(6 + length);
        let payload = rest[6..end].iter().zip(key.iter().cycle());
        all.extend(payload.map(|(byte, key)| byte ^ key));
        rest = &rest[end..];
    }
    all
}

/// I5: in whatever fragments a server echoes a credential, the agent reads stars.
#[test]
fn i5_messages_echo_no_credential() {
    inside(|| {
        let world = World::new();
        let _server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            let (one, two) = SECRET.split_at(9);
            ws.send(FIN | TEXT, format!("you sent {SECRET}!").as_bytes())
                .await?;
            ws.send(TEXT, format!("<{one}").as_bytes()).await?;
            ws.send(FIN | PING, SECRET.as_bytes()).await?;
            ws.send(FIN | CONTINUATION, format!("{two}>").as_bytes())
                .await?;
            ws.send(FIN | CLOSE, &[&[3, 0xe8][..], SECRET.as_bytes()].concat())
                .await?;
            ws.next().await;
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        // Also to a host that was not given it.
        for (host, path) in [("ws.test", "/own"), ("plain.test", "/others")] {
            let agent = agent.clone();
            world.agent.block_on(async move {
                let mut ws = agent.open(host, path).await;
                let stars = "*".repeat(SECRET.len());
                let said = format!("you sent {stars}!").into_bytes();
                assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, said)));
                let one = format!("<{}", "*".repeat(9)).into_bytes();
                assert_eq!(ws.next().await, Some(Frame(TEXT, one)));
                assert_eq!(
                    ws.next().await,
                    Some(Frame(FIN | PING, stars.clone().into_bytes()))
                );
                let two = format!("{}>", "*".repeat(SECRET.len() - 9)).into_bytes();
                assert_eq!(ws.next().await, Some(Frame(FIN | CONTINUATION, two)));
                assert_eq!(ws.next().await.unwrap().close(), (1000, stars));
                ws.send(FIN | CLOSE, &[3, 0xe8]).await.unwrap();
                assert_eq!(ws.next().await, None);
            });
            let record = record(&gateway, path);
            assert_eq!(record["portreeve.echo_redactions"], 4, "{record}");
        }
    });
}

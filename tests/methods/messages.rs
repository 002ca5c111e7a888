//! Stand-ins in messages: swapped in text ones to the host that they are for, refused anywhere
//! else, and never worth anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::upstream::Connection;
use crate::common::{GatewayProcess, World, inside};
use crate::contains;
use crate::placeholder::percent;
use crate::ws::{
    Agent, BINARY, CONFIG, CONTINUATION, FIN, Frame, PING, PONG, TEXT, accept, echo, record, server,
};

const SECRET: &str = "real-canary-5d1f\"08a7&c3";

const RULES: &str = r#"
[[credential]]
name = "api"
secret = { file = "../canary" }
hosts = ["ws.test"]
[credential.attach]
placeholder = ["websocket:text", "websocket:json:auth.key"]
like = "sk-test-[A-Za-z0-9]{40}"
[[rule]]
name = "none"
agents = ["builder"]
hosts = ["ws.test"]
paths = ["/none/**"]
[[rule]]
name = "api"
agents = ["builder"]
hosts = ["ws.test"]
credential = "api"
dlp = "strict"
[[rule]]
name = "plain"
agents = ["builder"]
hosts = ["plain.test"]
"#;

fn gateway(world: &World) -> GatewayProcess<'_> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", RULES)
        .secret("canary", SECRET)
        .start()
}

fn stand_in(gateway: &GatewayProcess<'_>) -> String {
    let output = gateway.command(&["credential", "placeholder", "api"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A host, a path, and what is sent there.
type Case = (&'static str, &'static str, Vec<(u8, String)>);

/// The frames that a server got.
fn frames(connection: &Connection) -> Vec<Frame> {
    let start = crate::common::wire::find(&connection.bytes, b"\r\n\r\n").unwrap() + 4;
    let mut rest = &connection.bytes[start..];
    let mut all = Vec::new();
    while rest.len() >= 6 {
        let (length, at) = match usize::from(rest[1] & 0x7f) {
            126 => (usize::from(rest[2]) << 8 | usize::from(rest[3]), 4),
            length => (length, 2),
        };
        let key = &rest[at..at + 4];
        let end = rest.len().min(at + 4 + length);
        let payload = rest[at + 4..end].iter().zip(key.iter().cycle());
        let payload = payload.map(|(byte, key)| byte ^ key).collect();
        all.push(Frame(rest[0], payload));
        rest = &rest[end..];
    }
    all
}

/// The messages among frames; those of control frames are left out.
fn messages(frames: &[Frame]) -> Vec<String> {
    let (mut all, mut message) = (Vec::new(), Vec::new());
    for Frame(first, payload) in frames.iter().filter(|frame| frame.0 & 0x08 == 0) {
        assert_eq!(
            first & 0x0f == CONTINUATION,
            !message.is_empty(),
            "{frames:?}"
        );
        message.extend_from_slice(payload);
        if first & FIN != 0 {
            all.push(String::from_utf8(std::mem::take(&mut message)).unwrap());
        }
    }
    all
}

#[test]
fn stand_ins_are_swapped_in_text_messages_however_they_are_cut() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| echo(stream));
        let gateway = gateway(&world);
        let token = stand_in(&gateway);
        let login = format!(r#"{{"type":"auth","auth":{{"key":"{token}"}}}}"#);
        let line = format!("AUTH {token}\n");
        let sent = [login.clone(), line.clone(), token.clone(), "plain".into()];
        let escaped = SECRET.replace('"', "\\\"");
        let expected = [
            login.replace(&token, &escaped),
            line.replace(&token, SECRET),
            SECRET.to_owned(),
            "plain".to_owned(),
        ];
        let mut expected_in_all = expected.to_vec();
        let agent = Agent::new(&gateway);
        let cuts = 1..login.len();
        for _ in cuts.clone() {
            expected_in_all.push(expected[0].clone());
        }
        let stars = "*".repeat(SECRET.len());
        let masked = [format!("AUTH {stars}\n"), stars.clone(), "plain".into()];
        world.agent.block_on(async move {
            let mut ws = agent.open("ws.test", "/swap").await;
            for (text, masked) in sent.iter().zip([None].into_iter().chain(masked.map(Some))) {
                ws.send(FIN | TEXT, text.as_bytes()).await.unwrap();
                let Frame(first, back) = ws.next().await.unwrap();
                assert_eq!(first, FIN | TEXT, "one frame stays one");
                let back = String::from_utf8(back).unwrap();
                // What comes back of it is masked, so that the agent sees none of it.
                assert!(!back.contains("real-canary"), "{back}");
                if let Some(masked) = masked {
                    assert_eq!(back, masked);
                }
            }
            for at in cuts {
                let (one, two) = login.split_at(at);
                ws.send(TEXT, one.as_bytes()).await.unwrap();
                ws.send(FIN | PING, b"still there?").await.unwrap();
                ws.send(FIN, two.as_bytes()).await.unwrap();
                let mut pongs = 0;
                loop {
                    let Frame(first, back) = ws.next().await.unwrap();
                    pongs += usize::from(first == FIN | PONG);
                    assert!(!String::from_utf8_lossy(&back).contains("real-canary"));
                    if first & 0x08 == 0 && first & FIN != 0 {
                        break;
                    }
                }
                assert_eq!(pongs, 1);
            }
        });
        let seen = server.wait_connections(1).remove(0);
        assert_eq!(messages(&frames(&seen)), expected_in_all);
        let record = record(&gateway, "/swap");
        assert_eq!(record["portreeve.credential"], "api");
        assert!(!format!("{record}").contains("real-canary"));
    });
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn anywhere_else_they_end_the_websocket_and_no_server_sees_a_secret() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            let mut ws = accept(stream).await?;
            while ws.next().await.is_some() {}
            Ok(())
        });
        let gateway = gateway(&world);
        let token = stand_in(&gateway);
        let (ws_host, plain) = ("ws.test", "plain.test");
        let base64 = STANDARD.encode(format!("x{token}"));
        let percent = percent(&token);
        let hex = percent.replace('%', "");
        let (one, two) = token.split_at(20);
        let refused: Vec<Case> = vec![
            // To another host, and on a rule without the credential.
            (plain, "/host", vec![(FIN | TEXT, token.clone())]),
            (plain, "/cut", vec![(TEXT, one.into()), (FIN, two.into())]),
            (ws_host, "/none/rule", vec![(FIN | TEXT, token.clone())]),
            // In what is no text.
            (ws_host, "/binary", vec![(FIN | BINARY, token.clone())]),
            (ws_host, "/ping", vec![(FIN | PING, token.clone())]),
            (
                ws_host,
                "/cut-binary",
                vec![(BINARY, one.into()), (FIN, two.into())],
            ),
            // As a part of a longer word, and encoded.
            (ws_host, "/longer", vec![(FIN | TEXT, format!("x{token}"))]),
            (
                ws_host,
                "/twice",
                vec![(FIN | TEXT, format!("{token}{token}"))],
            ),
            (ws_host, "/base64", vec![(FIN | TEXT, base64.clone())]),
            (ws_host, "/hex", vec![(FIN | TEXT, hex)]),
            (ws_host, "/percent", vec![(FIN | TEXT, percent.clone())]),
        ];
        let agent = Agent::new(&gateway);
        for (host, path, frames) in refused {
            let agent = agent.clone();
            let url = path.to_owned();
            let (code, reason) = world.agent.block_on(async move {
                let mut ws = agent.open(host, &url).await;
                for (first, payload) in frames {
                    let _ = ws.send(first, payload.as_bytes()).await;
                }
                ws.next().await.unwrap().close()
            });
            assert_eq!(code, 1008, "{path}");
            assert!(
                reason.contains("stand-in of the credential `api`"),
                "{reason}"
            );
            let record = record(&gateway, path);
            assert_eq!(record["portreeve.verdict"], "deny", "{path}");
            assert_eq!(record["portreeve.reason"], "placeholder_misplaced");
        }
        // Out of sight, or not whole in one message: it goes, and is worth nothing.
        let near = format!(
            "{}{}",
            &token[..47],
            if token.ends_with('x') { 'y' } else { 'x' }
        );
        let worthless = [
            STANDARD.encode(base64),
            percent.replace('%', "%25"),
            one.to_owned(),
            two.to_owned(),
            near,
        ];
        let sent = worthless.clone();
        world.agent.block_on(async move {
            let mut ws = agent.open("ws.test", "/worthless").await;
            for text in sent {
                ws.send(FIN | TEXT, text.as_bytes()).await.unwrap();
            }
            ws.send(FIN | crate::ws::CLOSE, b"").await.unwrap();
            while ws.next().await.is_some() {}
        });
        record(&gateway, "/worthless");
        let seen = server.wait_connection("the last", |seen| {
            seen.closed && contains(&seen.bytes, "/worthless ")
        });
        assert_eq!(messages(&frames(&seen)), worthless);
        for connection in server.connections() {
            for Frame(_, payload) in frames(&connection) {
                assert!(!contains(&payload, "real-canary"));
                assert!(!contains(&payload, &STANDARD.encode(SECRET)[..20]));
            }
        }
    });
}

//! Opening a WebSocket: both sides must mean it, and nothing hides behind the wish.

use tokio::io::AsyncWriteExt;

use crate::common::{World, inside};
use crate::ws::{
    ACCEPT, Agent, FIN, Frame, KEY, SECRET, TEXT, Ws, accept, frame, gateway, record, server,
    switching, wish,
};

#[test]
fn the_server_gets_the_handshake_with_the_credential_and_without_extensions() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request, early, mut stream| async move {
            assert_eq!(early, b"", "nothing is sent before the server agrees");
            let lines = match request.header("sec-websocket-protocol") {
                Some("chat, soap") => "Sec-WebSocket-Protocol: soap\r\nSet-Cookie: a=b\r\n",
                Some(other) => panic!("{other}"),
                None => "",
            };
            stream.write_all(switching(lines).as_bytes()).await?;
            let mut ws = Ws::server(stream);
            let Frame(first, payload) = ws.next().await.unwrap();
            ws.send(first, &payload).await
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        world.agent.block_on(async move {
            let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n\
                Sec-WebSocket-Protocol: chat, soap\r\nOrigin: https://ws.test\r\n\
                Authorization: Bearer mine\r\n";
            // What is sent before the answer is kept until there is one.
            let mut bytes = wish("ws.test", "/chat?room=1", lines).into_bytes();
            bytes.extend(frame(FIN | TEXT, b"early", Some([1, 2, 3, 4])));
            let (response, mut ws) = agent.ask("ws.test", &bytes).await;
            assert_eq!(response.status, 101);
            let header = |name| crate::common::wire::field(&response.headers, name);
            assert_eq!(header("sec-websocket-accept"), Some(ACCEPT));
            assert_eq!(header("sec-websocket-protocol"), Some("soap"));
            assert_eq!(header("sec-websocket-extensions"), None);
            assert_eq!(header("upgrade"), Some("websocket"));
            assert_eq!(header("connection"), Some("upgrade"));
            // As the rule says of every response.
            assert_eq!(header("set-cookie"), None);
            assert_eq!(ws.next().await, Some(Frame(FIN | TEXT, b"early".into())));
        });
        let bytes = server.wait_connection("a request", |seen| !seen.bytes.is_empty());
        let text = String::from_utf8_lossy(&bytes.bytes).to_ascii_lowercase();
        assert!(text.starts_with("get /chat?room=1 http/1.1\r\n"), "{text}");
        for line in [
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
            &format!("authorization: bearer {SECRET}"),
            &format!("sec-websocket-key: {}", KEY.to_ascii_lowercase()),
            "origin: https://ws.test",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
        }
        assert!(
            !text.contains("extensions") && !text.contains("mine"),
            "{text}"
        );
        assert_eq!(bytes.alpn.as_deref(), Some("http/1.1"));
        let record = record(&gateway, "/chat");
        assert_eq!(record["portreeve.credential"], "api");
    });
}

/// A server that does not agree properly ends in a refusal; one that answers something else
/// has answered, and both legs stay HTTP.
#[test]
fn only_a_server_that_agrees_gets_a_websocket() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |request, _, mut stream| async move {
            let good = switching("");
            let answer = match request.target.as_str() {
                "/wrong-accept" => good.replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
                "/no-accept" => good.replace("Sec-WebSocket-Accept", "X-Accept"),
                "/no-upgrade" => good.replace("Upgrade: websocket\r\n", ""),
                "/no-connection" => good.replace("Connection: Upgrade\r\n", ""),
                "/h2c" => good.replace("websocket", "h2c"),
                "/extension" => switching("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                "/protocol" => switching("Sec-WebSocket-Protocol: chat\r\n"),
                "/body" => switching("Content-Length: 5\r\n"),
                "/unasked" => good,
                "/get-only" => panic!("the rule does not pass it"),
                _ => {
                    let body = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";
                    stream.write_all(body).await?;
                    // What comes behind would be the agent's next request, were it sent here.
                    return accept(stream).await.map(drop);
                }
            };
            stream.write_all(answer.as_bytes()).await?;
            let mut ws = Ws::server(stream);
            assert_eq!(ws.next().await, None, "{}", request.target);
            Ok(())
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        for path in [
            "/wrong-accept",
            "/no-accept",
            "/no-upgrade",
            "/no-connection",
            "/h2c",
            "/extension",
            "/protocol",
            "/body",
        ] {
            let agent = agent.clone();
            world.agent.block_on(async move {
                let text = wish("plain.test", path, "");
                let (response, _) = agent.ask("plain.test", text.as_bytes()).await;
                assert_eq!(response.status, 502, "{path}");
            });
            assert_eq!(
                record(&gateway, path)["portreeve.reason"],
                "upstream_malformed"
            );
        }
        let asked = agent.clone();
        world.agent.block_on(async move {
            let get = b"GET /unasked HTTP/1.1\r\nHost: plain.test\r\n\r\n";
            assert_eq!(asked.ask("plain.test", get).await.0.status, 502);
            // An answer that is none to the wish: the next request is a request again, and
            // not what the server reads as frames.
            let wish = wish("plain.test", "/plain", "");
            let (response, mut ws) = asked.ask("plain.test", wish.as_bytes()).await;
            assert_eq!(response.status, 200);
            let next = b"GET /denied HTTP/1.1\r\nHost: other.test\r\n\r\n";
            ws.raw(next).await.unwrap();
            let rest = String::from_utf8(ws.rest_until(b"misdirected").await).unwrap();
            assert!(rest.starts_with("plainHTTP/1.1 421 "), "{rest}");
        });
        let received = server.connections();
        let last = received.last().unwrap();
        assert!(!String::from_utf8_lossy(&last.bytes).contains("denied"));
    });
}

#[test]
fn a_bad_wish_is_refused_before_anything_is_dialled() {
    inside(|| {
        let world = World::new();
        let server = server(&world, |_, _, stream| async move {
            accept(stream).await.map(drop)
        });
        let gateway = gateway(&world, "");
        let agent = Agent::new(&gateway);
        let wish = |path: &str| wish("plain.test", path, "");
        let cases = [
            (wish("/version").replace("Version: 13", "Version: 8"), 501),
            (wish("/key").replace(KEY, "c2hvcnQ="), 400),
            (wish("/post").replace("GET ", "POST "), 400),
            (
                wish("/body").replace("Upgrade: ", "Content-Length: 3\r\nUpgrade: ") + "abc",
                400,
            ),
            (
                wish("/chunked").replace("Upgrade: ", "Transfer-Encoding: chunked\r\nUpgrade: ")
                    + "0\r\n\r\n",
                400,
            ),
            (
                wish("/expect").replace("Upgrade: ", "Expect: 100-continue\r\nUpgrade: "),
                400,
            ),
            (wish("/two").replace("websocket", "websocket, h2c"), 501),
            (wish("/other").replace("websocket", "tls/1.3"), 501),
            // A list of methods without a word about WebSockets.
            (wish("/get-only"), 501),
        ];
        for (text, status) in cases {
            let agent = agent.clone();
            world.agent.block_on(async move {
                let got = agent.ask("plain.test", text.as_bytes()).await.0.status;
                assert_eq!(got, status, "{text}");
            });
        }
        assert_eq!(server.connections().len(), 0);
        let record = record(&gateway, "/get-only");
        assert_eq!(record["portreeve.verdict"], "deny");
        assert_eq!(record["portreeve.reason"], "upgrade_refused");
    });
}

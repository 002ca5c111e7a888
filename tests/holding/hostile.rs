//! I7 in the other direction: servers whose responses have two readings, or no end.

use bytes::Bytes;

use crate::common::wire::Response;
use crate::common::{Answer, Upstream, World, inside};
use crate::frames::{DATA, END_STREAM, GOAWAY, RST_STREAM, Raw, get};
use crate::lab::{
    Agents, Alice, GOOD, h1, h1_custom, next_request, reason, start, wait_reason, write,
};

/// `h1.test` that answers `/N` with the Nth of these.
fn scripted(world: &World, answers: Vec<Vec<u8>>) -> Upstream {
    h1(world, move |request| {
        let number: usize = request.target[1..].parse().unwrap();
        Answer::raw(answers[number % 100].clone())
    })
}

#[test]
fn i7_endless_heads_and_interim_responses_are_cut_off() {
    inside(|| {
        let world = World::new();
        let field = "x: 0123456789\r\n".repeat(70);
        h1_custom(&world, move |mut stream| {
            let field = field.clone();
            async move {
                let mut buffer = Vec::new();
                let request = next_request(&mut stream, &mut buffer).await?.unwrap();
                let endless = match request.target.as_str() {
                    "/head" => field.as_str(),
                    "/line" => "0123456789",
                    _ => "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                };
                if request.target != "/interim" {
                    write(&mut stream, b"HTTP/1.1 200 ").await?;
                }
                if request.target == "/head" {
                    write(&mut stream, b"OK\r\n").await?;
                }
                loop {
                    // Ends when the gateway closes.
                    write(&mut stream, endless.as_bytes()).await?;
                }
            }
        });
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut one = agents.h1(Alice, "h1.test");
        for path in ["/head", "/line", "/interim"] {
            let mut interims = 0;
            let mut response = one.get(path).unwrap();
            while response.status == 103 {
                interims += 1;
                response = one.response().unwrap();
            }
            assert_eq!(response.status, 502, "{path}: {}", response.text());
            assert_eq!(reason(&gateway, path), "upstream_malformed", "{path}");
            assert_eq!(interims, if path == "/interim" { 16 } else { 0 });
        }
    });
}

/// What an agent must not get.
const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";

#[test]
fn i7_bytes_after_a_bodiless_response_are_no_response() {
    inside(|| {
        let world = World::new();
        let server = h1_custom(&world, |mut stream| async move {
            let mut buffer = Vec::new();
            while let Some(request) = next_request(&mut stream, &mut buffer).await? {
                let head = match request.target.as_str() {
                    "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 44\r\n\r\n",
                    "/head" => "HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nclean",
                };
                let extra = if request.target == "/" { "" } else { POISON };
                write(&mut stream, format!("{head}{extra}").as_bytes()).await?;
            }
            Ok(())
        });
        let gateway = start(&world, "");
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        for (method, path) in [("GET", "/204"), ("GET", "/304"), ("HEAD", "/head")] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: h1.test\r\n\r\n");
            client.send(request).unwrap();
            client.read_until(b"\r\n\r\n").unwrap();
            let after: Response = client.get("/").unwrap();
            assert_eq!(after.text(), "clean", "after {path}");
        }
        // Each poisoned one was dropped; the clean one before it was used again.
        assert_eq!(server.connections().len(), 4);
    });
}

/// `good.test` over HTTP/2, answering by the path: interim responses without end, another
/// length than declared, or a reset in the middle.
fn hostile_h2(world: &World) -> Upstream {
    let mut tls = world.ca.server(&["good.test"]);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Upstream::custom(&world.internet, GOOD, 443, Some(tls), |stream| async move {
        let other = std::io::Error::other;
        let mut connection = h2::server::handshake(stream).await.map_err(other)?;
        while let Some(accepted) = connection.accept().await {
            let (request, mut respond) = accepted.map_err(other)?;
            tokio::spawn(async move {
                let response = http::Response::builder();
                let length = match request.uri().path() {
                    "/interim" => {
                        for _ in 0..40 {
                            let hint = http::Response::builder().status(103).body(()).unwrap();
                            respond.send_informational(hint)?;
                        }
                        Some("5")
                    }
                    "/short" => Some("10"),
                    "/long" => Some("3"),
                    _ => None,
                };
                let response = match length {
                    Some(length) => response.header("content-length", length),
                    None => response,
                };
                let mut body = respond.send_response(response.body(()).unwrap(), false)?;
                if request.uri().path() == "/reset" {
                    body.send_data(Bytes::from_static(b"hello"), false)?;
                    body.send_reset(h2::Reason::INTERNAL_ERROR);
                    return Ok(());
                }
                body.send_data(Bytes::from_static(b"hello"), true)?;
                Ok::<_, h2::Error>(())
            });
        }
        Ok(())
    })
}

#[test]
fn i7_an_h2_server_cannot_make_half_an_answer_look_whole() {
    inside(|| {
        let world = World::new();
        hostile_h2(&world);
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        assert_eq!(
            agents.h1(Alice, "good.test").get("/").unwrap().text(),
            "hello"
        );
        for path in ["/short", "/long", "/reset"] {
            let one = agents.h1(Alice, "good.test").get(path);
            let refused = |r: &Response| r.status == 502;
            assert!(one.as_ref().map_or(true, refused), "{path}: {one:?}");
            let two = agents.h2(Alice, "good.test").get(path);
            assert!(two.as_ref().map_or(true, refused), "{path}: {two:?}");
        }
        let mut one = agents.h1(Alice, "good.test");
        let mut response = one.get("/interim").unwrap();
        while response.status == 103 {
            response = one.response().unwrap();
        }
        assert_eq!(response.status, 502);
        wait_reason(&gateway, 1, "upstream_malformed");
    });
}

#[test]
fn i7_a_cut_response_resets_the_stream_and_nothing_else() {
    inside(|| {
        let world = World::new();
        let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        scripted(&world, vec![cut.into()]);
        let gateway = start(&world, "");
        let mut raw = Raw::new(&Agents::new(&world, &gateway), Alice, "h1.test");
        for stream in [1, 3] {
            raw.headers(stream, &get("h1.test", "/0"), true);
            // Its head may come before the reset, or be overtaken by it.
            let end = loop {
                let frame = raw.next().unwrap();
                assert!(
                    frame.kind != DATA || frame.flags & END_STREAM == 0,
                    "{frame:?}"
                );
                if frame.kind == RST_STREAM {
                    break frame;
                }
                assert_ne!(frame.kind, GOAWAY);
            };
            assert_eq!(end.stream, stream);
        }
    });
}

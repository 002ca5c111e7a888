//! Lengths, chunks, closes and frames into each other; trailers on both ways.

use std::io;

use crate::bench::{Bench, LEGS, Version, keeping, last};
use crate::common::inside;
use crate::common::wire::Fields;
use crate::h1::Framing;
use crate::server::Call;

const LONG: usize = 300 * 1024;

#[test]
fn request_bodies_are_framed_anew() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                // Held and streamed ones.
                for length in [1, 1000, LONG] {
                    let body: Vec<u8> = (0..=250).cycle().take(length).collect();
                    for framing in [Framing::Length(length), Framing::Chunked] {
                        agent.ask("POST", "/", &[], framing).await.unwrap();
                        for piece in body.chunks(length / 3 + 1) {
                            agent.send(piece).await.unwrap();
                        }
                        agent.end(&[]).await.unwrap();
                        assert_eq!(agent.head().await.unwrap().status, 200);
                        agent.rest().await.unwrap();
                        let got = last(&seen);
                        assert!(got.body == body, "{length} {framing:?}");
                        let declared = got.header("content-length").map(str::to_owned);
                        let chunked = got.header("transfer-encoding").map(str::to_owned);
                        let expected = match framing {
                            Framing::Length(length) => (Some(length.to_string()), None),
                            _ if dial.legs.server == Version::H1 => (None, Some("chunked".into())),
                            _ => (None, None),
                        };
                        assert_eq!((declared, chunked), expected, "{length} {framing:?}");
                    }
                }
            }
        });
    });
}

async fn in_framing(mut call: Call) -> io::Result<()> {
    call.rest().await?;
    let body: Vec<u8> = (0..=250).cycle().take(LONG).collect();
    let framing = match call.target.as_str() {
        "/length" => Framing::Length(LONG),
        "/chunked" => Framing::Chunked,
        _ => Framing::Close,
    };
    call.answer(200, &[], framing).await?;
    for piece in body.chunks(LONG / 3 + 1) {
        call.send(piece).await?;
    }
    call.end(&[]).await
}

#[test]
fn response_bodies_are_framed_anew() {
    inside(|| {
        let bench = Bench::new(in_framing);
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            for target in ["/length", "/chunked", "/close", "/length"] {
                let (head, body) = agent.get(target).await.unwrap();
                assert_eq!(body.len(), LONG, "{target}");
                assert!(body.into_iter().eq((0..=250).cycle().take(LONG)));
                let length = (target == "/length").then(|| LONG.to_string());
                assert_eq!(head.header("content-length"), length.as_deref(), "{target}");
                let chunked = dial.legs.agent == Version::H1 && target != "/length";
                let encoding = chunked.then_some("chunked");
                assert_eq!(head.header("transfer-encoding"), encoding, "{target}");
            }
        });
    });
}

#[test]
fn http_1_0_agents_get_no_chunks_and_keep_their_connection_where_they_may() {
    inside(|| {
        let bench = Bench::new(in_framing);
        bench.some(&LEGS[..2], |dial| async move {
            let mut agent = dial.connect().await;
            agent.version = "HTTP/1.0";
            for _ in 0..2 {
                let keep = [("connection", "keep-alive")];
                let answered = agent.exchange("GET", "/length", &keep, b"").await;
                let (head, body) = answered.unwrap();
                assert_eq!(body.len(), LONG);
                assert_eq!(head.header("connection"), Some("keep-alive"));
            }
            let keep = [("connection", "keep-alive")];
            let answered = agent.exchange("GET", "/chunked", &keep, b"").await;
            let (head, body) = answered.unwrap();
            assert_eq!(body.len(), LONG);
            assert_eq!(head.header("transfer-encoding"), None);
            assert_eq!(head.header("connection"), Some("close"));
            let mut agent = dial.connect().await;
            agent.version = "HTTP/1.0";
            agent.get("/length").await.unwrap();
            agent.closed().await;
        });
    });
}

/// They end by closing or declare a length, and keep the connection only where they say so.
#[test]
fn servers_of_http_1_0_are_understood() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            let asked = call.rest().await?.len();
            call.line = "HTTP/1.0";
            let text = format!("{asked} on {}", call.connection);
            let (headers, framing): (&[_], _) = match call.target.as_str() {
                "/close" => (&[], Framing::Close),
                "/length" => (&[], Framing::Length(text.len())),
                _ => (&[("connection", "keep-alive")], Framing::Length(text.len())),
            };
            call.answer(200, headers, framing).await?;
            call.send(text.as_bytes()).await?;
            call.end(&[]).await
        });
        for (index, legs) in [LEGS[0], LEGS[2]].into_iter().enumerate() {
            let dial = bench.dial(legs);
            bench.run(async move {
                let mut agent = dial.connect().await;
                let mut connection = index * 3;
                for (target, kept) in [
                    ("/close", false),
                    ("/length", false),
                    ("/keep", true),
                    ("/close", false),
                ] {
                    let sent = agent.exchange("POST", target, &[], b"data").await;
                    let (head, body) = sent.unwrap();
                    let text = String::from_utf8(body).unwrap();
                    assert_eq!(head.status, 200);
                    assert_eq!(text, format!("4 on {connection}"), "{target}");
                    connection += usize::from(!kept);
                }
            });
        }
    });
}

fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

const TRAILERS: [(&str, &str); 4] = [
    ("x-sum", "17"),
    ("x-undeclared", "1"),
    ("authorization", "Bearer stolen"),
    ("x-forwarded-for", "1.2.3.4"),
];

#[test]
fn trailers_of_requests_pass_where_they_are_declared() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                let declared = [("trailer", "x-sum, authorization")];
                agent
                    .ask("POST", "/", &declared, Framing::Chunked)
                    .await
                    .unwrap();
                agent.send(b"data").await.unwrap();
                agent.end(&TRAILERS).await.unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                agent.rest().await.unwrap();
                let got = last(&seen);
                assert_eq!(got.body, b"data");
                assert_eq!(got.header("trailer"), Some("x-sum"));
                let expected: &[&str] = match dial.legs.server {
                    Version::H1 => &["x-sum"],
                    Version::H2 => &["x-sum", "x-undeclared"],
                };
                assert_eq!(names(&got.trailers), expected);
                assert_eq!(got.trailers[0].1, "17");
            }
        });
        // Toward HTTP/1 at least the undeclared one is lost, and said to be.
        let lost = |record: &serde_json::Value| {
            record["portreeve.trailers_lost"].as_u64() > Some(0)
                && record["portreeve.upstream.protocol.version"] == "1.1"
        };
        bench.gateway.wait_records(2, lost);
        let lost = bench.gateway.metric("portreeve_trailers_lost_total", &[]);
        assert!(lost >= 2.0, "{lost}");
    });
}

#[test]
fn trailers_of_responses_pass_where_they_are_declared() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            let declared = [("trailer", "x-sum, set-cookie")];
            call.answer(200, &declared, Framing::Chunked).await?;
            call.send(b"data").await?;
            call.end(&[
                ("x-sum", "17"),
                ("x-undeclared", "1"),
                ("set-cookie", "a=b"),
                ("alt-svc", "h3=\":443\""),
            ])
            .await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            let (head, body) = agent.get("/").await.unwrap();
            assert_eq!(body, b"data");
            assert_eq!(head.header("trailer"), Some("x-sum"));
            let expected: &[&str] = match dial.legs.agent {
                Version::H1 => &["x-sum"],
                Version::H2 => &["x-sum", "x-undeclared"],
            };
            assert_eq!(names(&agent.trailers), expected);
        });
    });
}

#[test]
fn te_trailers_is_made_anew() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                let asked: &[(&str, &str)] = match dial.legs.agent {
                    Version::H1 => &[("te", "trailers, deflate;q=0.5"), ("connection", "te")],
                    Version::H2 => &[("te", "trailers")],
                };
                for (headers, te) in [(asked, Some("trailers")), (&[], None)] {
                    agent.exchange("GET", "/", headers, b"").await.unwrap();
                    assert_eq!(last(&seen).header("te"), te);
                }
            }
        });
    });
}

/// As a unary gRPC call, and as one that fails at once: trailers in the place of headers.
#[test]
fn calls_as_those_of_grpc_pass() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            let asked = call.rest().await?;
            assert_eq!(call.header("te"), Some("trailers"));
            let kind = [("content-type", "application/grpc")];
            if call.target == "/fails" {
                let status = [kind[0], ("grpc-status", "5")];
                call.answer(200, &status, Framing::Nothing).await?;
                return call.end(&[]).await;
            }
            call.answer(200, &kind, Framing::Chunked).await?;
            call.send(&asked).await?;
            call.end(&[("grpc-status", "0"), ("grpc-message", "fine")])
                .await
        });
        bench.some(&LEGS[3..], |dial| async move {
            let mut agent = dial.connect().await;
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            agent
                .ask("POST", "/works", &headers, Framing::Chunked)
                .await
                .unwrap();
            agent.send(b"\0\0\0\0\x02hi").await.unwrap();
            agent.end(&[]).await.unwrap();
            assert_eq!(agent.head().await.unwrap().status, 200);
            assert_eq!(agent.rest().await.unwrap(), b"\0\0\0\0\x02hi");
            assert_eq!(names(&agent.trailers), ["grpc-status", "grpc-message"]);
            agent
                .ask("POST", "/fails", &headers, Framing::Chunked)
                .await
                .unwrap();
            agent.end(&[]).await.unwrap();
            assert_eq!(agent.head().await.unwrap().header("grpc-status"), Some("5"));
            assert!(agent.rest().await.unwrap().is_empty());
        });
    });
}

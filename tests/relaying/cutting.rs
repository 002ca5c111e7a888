//! What is broken off on one leg is broken off on the other, and never looks whole.

use std::io;

use h2::Reason;

use crate::agent::code;
use crate::bench::{Bench, LEGS, Scripted, Setup, Version};
use crate::common::events::Events;
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;

/// How an exchange ended at a server.
type End = (Version, Option<Reason>);

/// How the server saw the exchange end: the code of a reset, none for a closed connection.
fn watching(answer: bool) -> (Events<End>, impl Fn(Call) -> Scripted + Send + Sync) {
    let ends = Events::new();
    let sink = ends.clone();
    let script = move |mut call: Call| -> Scripted {
        let sink = sink.clone();
        let run = async move {
            call.rest().await?;
            sink.push((call.version, Some(Reason::NO_ERROR)));
            if answer {
                call.answer(200, &[], Framing::Chunked).await?;
                call.send(b"data: 0\n\n").await?;
            }
            let how = call.given_up().await;
            sink.push((call.version, how));
            Ok(())
        };
        Box::pin(run)
    };
    (ends, script)
}

fn expected(server: Version) -> End {
    let how = (server == Version::H2).then_some(Reason::CANCEL);
    (server, how)
}

#[test]
fn an_agent_that_gives_up_while_it_waits_is_given_up_upstream() {
    inside(|| {
        let (ends, script) = watching(false);
        let bench = Bench::new(script);
        for (index, legs) in LEGS.into_iter().enumerate() {
            println!("{legs}");
            let dial = bench.dial(legs);
            let agent = bench.run(async move {
                let mut agent = dial.connect().await;
                agent.ask("GET", "/", &[], Framing::Nothing).await.unwrap();
                agent
            });
            ends.wait_count(index * 2 + 1);
            bench.run(async move { agent.give_up() });
            let all = ends.wait_count(index * 2 + 2);
            assert_eq!(all[index * 2 + 1], expected(legs.server));
        }
        let gone = |record: &serde_json::Value| record["portreeve.reason"] == "agent_closed";
        bench.gateway.wait_records(4, gone);
    });
}

/// Between two events nothing is written that would tell.
#[test]
fn an_agent_that_gives_up_between_events_is_given_up_upstream() {
    inside(|| {
        let (ends, script) = watching(true);
        let bench = Bench::new(script);
        for (index, legs) in LEGS.into_iter().enumerate() {
            println!("{legs}");
            let dial = bench.dial(legs);
            bench.run(async move {
                let mut agent = dial.connect().await;
                agent.ask("GET", "/", &[], Framing::Nothing).await.unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                agent.expect(b"data: 0\n\n").await;
                agent.give_up();
            });
            let all = ends.wait_count(index * 2 + 2);
            assert_eq!(all[index * 2 + 1], expected(legs.server));
        }
        let gone = |record: &serde_json::Value| record["portreeve.reason"] == "agent_closed";
        bench.gateway.wait_records(4, gone);
    });
}

/// `close_notify` and FIN say that no more is sent; the answer may still be read (RFC 8446 §6.1).
#[test]
fn an_agent_that_closes_its_own_direction_gets_its_answer() {
    inside(|| {
        let setup = Setup {
            config: "[timeouts]\nclose = \"10m\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, |mut call: Call| async move {
            let length = call.rest().await?.len();
            crate::streaming::acknowledged().await;
            call.answer(200, &[], Framing::Chunked).await?;
            call.send(format!("{length}").as_bytes()).await?;
            crate::streaming::acknowledged().await;
            call.send(b" bytes").await?;
            call.end(&[]).await
        });
        bench.some(&LEGS[..2], |dial| async move {
            let mut agent = dial.connect().await;
            let framing = Framing::Length(5);
            agent.ask("POST", "/", &[], framing).await.unwrap();
            agent.send(b"whole").await.unwrap();
            agent.close_half().await;
            // What comes next goes through the gateway after that.
            dial.connect().await.get("/denied").await.unwrap();
            crate::streaming::ACK.add_permits(1);
            assert_eq!(agent.head().await.unwrap().status, 200);
            agent.expect(b"5").await;
            crate::streaming::ACK.add_permits(1);
            assert_eq!(agent.rest().await.unwrap(), b" bytes");
            agent.closed().await;
        });
    });
}

/// Who closes in order and is gone costs the server's time no longer than `close` allows.
#[test]
fn an_agent_that_closes_in_order_is_not_waited_for_without_end() {
    inside(|| {
        let (ends, script) = watching(false);
        let setup = Setup {
            config: "[timeouts]\nclose = \"200ms\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        for (index, legs) in LEGS.into_iter().take(2).enumerate() {
            println!("{legs}");
            let dial = bench.dial(legs);
            bench.run(async move {
                let mut agent = dial.connect().await;
                agent.ask("GET", "/", &[], Framing::Nothing).await.unwrap();
                agent.close_half().await;
            });
            let all = ends.wait_count(index * 2 + 2);
            assert_eq!(all[index * 2 + 1], expected(legs.server));
        }
        let gone = |record: &serde_json::Value| record["portreeve.reason"] == "agent_closed";
        bench.gateway.wait_records(2, gone);
    });
}

/// An upload that ends too early never looks whole to the server.
#[test]
fn an_upload_that_is_broken_off_is_broken_off_upstream() {
    inside(|| {
        let ends = Events::new();
        let sink = ends.clone();
        let bench = Bench::new(move |mut call: Call| {
            let sink = sink.clone();
            async move {
                call.data().await?;
                sink.push(String::new());
                let rest = call.rest().await;
                sink.push(match rest {
                    Ok(rest) => format!("whole, with {} bytes more", rest.len()),
                    Err(_) => "broken off".into(),
                });
                Ok(())
            }
        });
        let mut count = 0;
        for legs in LEGS {
            for framing in [Framing::Length(1 << 20), Framing::Chunked] {
                println!("{legs} {framing:?}");
                let dial = bench.dial(legs);
                let agent = bench.run(async move {
                    let mut agent = dial.connect().await;
                    agent.ask("POST", "/", &[], framing).await.unwrap();
                    agent.send(b"the first of much").await.unwrap();
                    agent
                });
                ends.wait_count(count + 1);
                bench.run(async move { agent.give_up() });
                count += 2;
                assert_eq!(ends.wait_count(count)[count - 1], "broken off");
            }
        }
    });
}

/// A reset keeps its code from HTTP/2 to HTTP/2; an HTTP/1 agent sees no proper end.
#[test]
fn a_response_that_is_broken_off_never_looks_whole() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            let framing = match call.target.as_str() {
                "/length" => Framing::Length(100),
                _ => Framing::Chunked,
            };
            call.answer(200, &[], framing).await?;
            call.send(b"half of it").await?;
            // So that it is sent before the reset takes its place.
            crate::streaming::acknowledged().await;
            call.cut(Reason::ENHANCE_YOUR_CALM);
            Ok(())
        });
        bench.each(|dial| async move {
            for target in ["/length", "/chunked"] {
                let mut agent = dial.connect().await;
                agent
                    .ask("GET", target, &[], Framing::Nothing)
                    .await
                    .unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                agent.expect(b"half of it").await;
                crate::streaming::ACK.add_permits(1);
                let error = agent.rest().await.expect_err("an end that looks proper");
                match (dial.legs.agent, dial.legs.server) {
                    (Version::H1, _) => {
                        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    }
                    (Version::H2, Version::H1) => assert!(code(&error).is_some(), "{error}"),
                    (Version::H2, Version::H2) => {
                        assert_eq!(code(&error), Some(Reason::ENHANCE_YOUR_CALM));
                    }
                }
            }
        });
        let closed = |record: &serde_json::Value| record["portreeve.reason"] == "upstream_closed";
        bench.gateway.wait_records(8, closed);
    });
}

#[test]
fn a_server_that_breaks_off_before_its_answer_is_a_502() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            call.cut(Reason::INTERNAL_ERROR);
            Ok(())
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            for _ in 0..2 {
                let (head, body) = agent.get("/").await.unwrap();
                assert_eq!(head.status, 502);
                assert!(!body.is_empty());
                assert!(head.header("proxy-status").is_some());
            }
        });
    });
}

//! Both bodies while they run: pieces at once, echoes, early answers.

use std::io;

use crate::bench::{Bench, LEGS, Setup, Version};
use crate::common::events::Events;
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;
use tokio::sync::Semaphore;

/// More than is held: such a body streams.
const STREAMED: usize = 1 << 20;

pub static ACK: Semaphore = Semaphore::const_new(0);

/// Waits for the agent's word, which comes through the test and not through the gateway.
pub async fn acknowledged() {
    crate::common::within("the agent's word", ACK.acquire())
        .await
        .unwrap()
        .forget();
}

#[test]
fn each_piece_of_an_upload_arrives_before_the_agent_sends_the_next() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            let mut pieces = 0;
            while let Some(data) = call.data().await? {
                // The end may come as a frame of its own.
                if !data.is_empty() {
                    pieces += 1;
                    ACK.add_permits(1);
                }
            }
            call.reply(200, &[], format!("{pieces}").as_bytes()).await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            agent.ask("POST", "/", &[], Framing::Chunked).await.unwrap();
            for _ in 0..3 {
                agent.send(b"piece").await.unwrap();
                acknowledged().await;
            }
            agent.end(&[]).await.unwrap();
            assert_eq!(agent.head().await.unwrap().status, 200);
            assert_eq!(agent.rest().await.unwrap(), b"3");
        });
    });
}

#[test]
fn both_directions_stream_at_once() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.answer(200, &[], Framing::Chunked).await?;
            while let Some(data) = call.data().await? {
                call.send(&data).await?;
            }
            call.end(&[]).await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            agent.ask("POST", "/", &[], Framing::Chunked).await.unwrap();
            assert_eq!(agent.head().await.unwrap().status, 200);
            for number in 0..20 {
                let ping = format!("ping {number}");
                agent.send(ping.as_bytes()).await.unwrap();
                agent.expect(ping.as_bytes()).await;
            }
            agent.end(&[]).await.unwrap();
            assert!(agent.rest().await.unwrap().is_empty());
        });
    });
}

/// A server that has seen enough answers and closes. The agent gets the answer, not an error.
#[test]
fn a_final_answer_during_the_upload_arrives() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.data().await?;
            if call.version == Version::H1 {
                call.answer(413, &[], Framing::Close).await?;
                call.send(b"enough").await?;
                return call.end(&[]).await;
            }
            call.answer(413, &[], Framing::Length(6)).await?;
            call.send(b"enough").await?;
            call.end(&[]).await
        });
        bench.each(|dial| async move {
            for framing in [Framing::Length(STREAMED), Framing::Chunked] {
                let mut agent = dial.connect().await;
                agent.ask("POST", "/", &[], framing).await.unwrap();
                agent.send(b"the first of much").await.unwrap();
                assert_eq!(agent.head().await.unwrap().status, 413);
                assert_eq!(agent.rest().await.unwrap(), b"enough");
            }
        });
    });
}

/// RFC 9113 section 8.1: after its whole answer the server says that it needs no more of
/// the request, by a reset that says `NO_ERROR`. The answer stays whole.
#[test]
fn an_answer_whose_server_wants_no_more_of_the_upload_is_whole() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.data().await?;
            let framing = match call.target.as_str() {
                "/length" => Framing::Length(9),
                _ => Framing::Chunked,
            };
            call.answer(200, &[], framing).await?;
            call.send(b"good enou").await?;
            call.end_and_reset()
        });
        bench.some(&[LEGS[1], LEGS[3]], |dial| async move {
            for target in ["/length", "/undeclared"] {
                for _ in 0..5 {
                    let mut agent = dial.connect().await;
                    agent
                        .ask("POST", target, &[], Framing::Chunked)
                        .await
                        .unwrap();
                    agent.send(b"the first of much").await.unwrap();
                    assert_eq!(agent.head().await.unwrap().status, 200);
                    let body = agent.rest().await;
                    assert_eq!(body.expect(target), b"good enou");
                }
            }
        });
    });
}

/// Answers to the end, and then reads the request to its end.
async fn answer_first(mut call: Call, received: Events<Option<usize>>) -> io::Result<()> {
    if call.method == "GET" {
        return call.reply(200, &[], b"the next").await;
    }
    let first = call.data().await?.unwrap_or_default().len();
    let framing = match call.target.as_str() {
        "/length" => Framing::Length(9),
        "/empty" => Framing::Length(0),
        _ => Framing::Chunked,
    };
    call.answer(200, &[], framing).await?;
    if call.target != "/empty" {
        call.send(b"good enou").await?;
    }
    call.end_answer(&[]).await?;
    let rest = call.rest().await;
    received.push(rest.map(|rest| first + rest.len()).ok());
    call.done();
    Ok(())
}

/// RFC 9113 section 8.1, RFC 9112 section 9.3: a server that has said all may still take the
/// rest of the request, and a next request follows on the agent's connection.
#[test]
fn a_whole_answer_does_not_cut_the_upload() {
    inside(|| {
        let received = Events::new();
        let sink = received.clone();
        let bench = Bench::new(move |call: Call| answer_first(call, sink.clone()));
        let mut count = 0;
        for legs in LEGS {
            for target in ["/length", "/chunked", "/empty"] {
                for framing in [Framing::Length(STREAMED), Framing::Chunked] {
                    println!("{legs} {target} {framing:?}");
                    let (dial, so_far) = (bench.dial(legs), received.clone());
                    let agent = bench.run(async move {
                        let mut agent = dial.connect().await;
                        agent.ask("POST", target, &[], framing).await.unwrap();
                        agent.send(b"first").await.unwrap();
                        let head = agent.head().await.unwrap();
                        assert_eq!((head.status, head.header("connection")), (200, None));
                        let body = agent.rest().await.unwrap();
                        let expected: &[u8] = if target == "/empty" {
                            b""
                        } else {
                            b"good enou"
                        };
                        assert_eq!(body, expected);
                        // Only now, with the whole answer at hand.
                        assert_eq!(so_far.len(), count);
                        agent.send(&vec![b'x'; STREAMED - 5]).await.unwrap();
                        agent.end(&[]).await.unwrap();
                        agent
                    });
                    count += 1;
                    assert_eq!(received.wait_count(count)[count - 1], Some(STREAMED));
                    bench.run(async move {
                        let mut agent = agent;
                        let (head, body) = agent.get("/").await.unwrap();
                        assert_eq!((head.status, body.as_slice()), (200, &b"the next"[..]));
                    });
                }
            }
        }
        // The record comes when all is over, and counts all of it.
        let whole = |record: &serde_json::Value| {
            record["http.request.body.size"] == STREAMED && record["portreeve.reason"].is_null()
        };
        bench.gateway.wait_records(count, whole);
    });
}

#[test]
fn an_upload_goes_on_while_its_answer_does() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            let first = call.data().await?.unwrap_or_default();
            call.answer(200, &[], Framing::Chunked).await?;
            call.send(b"started;").await?;
            let rest = call.rest().await?;
            let text = format!("{}", first.len() + rest.len());
            call.send(text.as_bytes()).await?;
            call.end(&[]).await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            agent
                .ask("POST", "/", &[], Framing::Length(STREAMED))
                .await
                .unwrap();
            agent.send(b"first").await.unwrap();
            assert_eq!(agent.head().await.unwrap().status, 200);
            agent.expect(b"started;").await;
            agent.send(&vec![b'x'; STREAMED - 5]).await.unwrap();
            agent.end(&[]).await.unwrap();
            assert_eq!(agent.rest().await.unwrap(), STREAMED.to_string().as_bytes());
        });
    });
}

#[test]
fn short_bodies_are_whole_before_the_server_is_dialled() {
    inside(|| {
        let setup = Setup {
            config: "[limits]\nhold_bytes = \"64KiB\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, |mut call: Call| async move {
            ACK.add_permits(1);
            let body = call.rest().await?;
            call.reply(200, &[], body.len().to_string().as_bytes())
                .await
        });
        for legs in LEGS {
            println!("{legs}");
            let before = bench.server(legs.server).connections().len();
            let dial = bench.dial(legs);
            let mut agent = bench.run(async move {
                let mut agent = dial.connect().await;
                let all = Framing::Length(64 << 10);
                agent.ask("POST", "/", &[], all).await.unwrap();
                agent.send(&vec![b'x'; (64 << 10) - 1]).await.unwrap();
                // Once the gateway answers another, it has had time for this one: its
                // bytes came first.
                let (head, _) = dial.connect().await.get("/denied").await.unwrap();
                assert_eq!(head.status, 403);
                agent
            });
            bench.world.settle();
            assert_eq!(bench.server(legs.server).connections().len(), before);
            assert_eq!(ACK.available_permits(), 0, "the server was asked");
            let agent = bench.run(async move {
                agent.send(b"x").await.unwrap();
                agent.end(&[]).await.unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                assert_eq!(agent.rest().await.unwrap(), b"65536");
                acknowledged().await;
                agent
            });
            drop(agent);
            // One byte more is not held: the server is asked before the body is whole.
            let dial = bench.dial(legs);
            bench.run(async move {
                let mut agent = dial.connect().await;
                let all = Framing::Length((64 << 10) + 1);
                agent.ask("POST", "/", &[], all).await.unwrap();
                acknowledged().await;
                agent.send(&vec![b'x'; (64 << 10) + 1]).await.unwrap();
                agent.end(&[]).await.unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                assert_eq!(agent.rest().await.unwrap(), b"65537");
            });
        }
    });
}

//! Interim responses and expectations.

use std::io;

use crate::bench::{Bench, LEGS, Received, Setup, Version, keeping, last};
use crate::common::events::Events;
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;

#[test]
fn interim_responses_come_at_once_and_in_order() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.interim(102, &[]).await?;
            let early = [
                ("link", "</style.css>; rel=preload"),
                ("alt-svc", "h3=\":443\""),
            ];
            call.interim(103, &early).await?;
            // The end of the request is the agent's word that it has them.
            call.rest().await?;
            call.reply(200, &[], b"done").await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            // Longer than what is held, so that the server is asked at once.
            let length = Framing::Length(1 << 20);
            agent.ask("POST", "/", &[], length).await.unwrap();
            assert_eq!(agent.interim().await.unwrap().status, 102);
            let early = agent.interim().await.unwrap();
            assert_eq!(early.status, 103);
            assert_eq!(early.header("link"), Some("</style.css>; rel=preload"));
            assert_eq!(early.header("alt-svc"), None);
            agent.send(&vec![b'x'; 1 << 20]).await.unwrap();
            agent.end(&[]).await.unwrap();
            assert_eq!(agent.head().await.unwrap().status, 200);
            assert_eq!(agent.rest().await.unwrap(), b"done");
            assert_eq!(agent.interims.len(), 2);
        });
    });
}

#[test]
fn http_1_0_agents_get_no_interim_response() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            call.interim(103, &[("link", "</style.css>")]).await?;
            call.reply(200, &[], b"done").await
        });
        bench.some(&LEGS[..2], |dial| async move {
            let mut agent = dial.connect().await;
            agent.version = "HTTP/1.0";
            let expect = [("expect", "100-continue")];
            let (head, body) = agent.exchange("POST", "/", &expect, b"data").await.unwrap();
            assert_eq!((head.status, body.as_slice()), (200, &b"done"[..]));
            assert!(agent.interims.is_empty(), "{:?}", agent.interims);
        });
    });
}

const EXPECT: [(&str, &str); 1] = [("expect", "100-continue")];
/// More than is held.
const STREAMED: usize = 1 << 20;

/// A body that is held is read before any server is asked.
#[test]
fn an_expectation_of_a_held_body_is_answered_by_the_gateway() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                for length in [5, 1000] {
                    let framing = Framing::Length(length);
                    agent.ask("POST", "/", &EXPECT, framing).await.unwrap();
                    assert_eq!(agent.interim().await.unwrap().status, 100);
                    agent.send(&vec![b'x'; length]).await.unwrap();
                    agent.end(&[]).await.unwrap();
                    assert_eq!(agent.head().await.unwrap().status, 200);
                    agent.rest().await.unwrap();
                    assert_eq!(agent.interims.len(), 1);
                    let got = last(&seen);
                    assert_eq!(got.header("expect"), None);
                    assert_eq!(got.body.len(), length);
                }
                // Nothing follows this one, so that nobody waits for anything.
                let (_, body) = agent.exchange("POST", "/", &EXPECT, b"").await.unwrap();
                assert_eq!(body, b"POST /");
                assert!(agent.interims.is_empty());
            }
        });
    });
}

/// Asks for the body where the path says 200, else answers without it. What it said and, at
/// the end of a refused request, 1 where no byte of the body came.
async fn wants_or_not(mut call: Call, said: Events<u16>) -> io::Result<()> {
    assert_eq!(call.header("expect"), Some("100-continue"));
    let status = call.target.trim_start_matches('/').parse().unwrap();
    said.push(status);
    if status == 200 {
        call.interim(100, &[]).await?;
        call.interim(100, &[]).await?;
        let length = call.rest().await?.len();
        return call.reply(200, &[], length.to_string().as_bytes()).await;
    }
    let elsewhere = [("location", "https://h1.test/other")];
    call.answer(status, &elsewhere, Framing::Length(2)).await?;
    call.send(b"no").await?;
    call.end_answer(&[]).await?;
    let nothing = matches!(call.data().await, Err(_) | Ok(None));
    said.push(u16::from(nothing));
    Ok(())
}

/// A body that streams is sent once its server wants it; a server that says no, or sends the
/// agent elsewhere, gets none of it.
#[test]
fn an_expectation_of_a_streamed_body_is_the_servers_to_answer() {
    inside(|| {
        let said = Events::new();
        let server_said = said.clone();
        let setup = Setup {
            config: "[timeouts]\nexpect = \"10m\"\nbody = \"20m\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, move |call| wants_or_not(call, server_said.clone()));
        let mut count = 0;
        for legs in LEGS {
            for framing in [Framing::Length(STREAMED), Framing::Chunked] {
                for status in [200, 307, 403] {
                    println!("{legs} {framing:?} {status}");
                    let (dial, heard) = (bench.dial(legs), said.clone());
                    let agent = bench.run(async move {
                        let mut agent = dial.connect().await;
                        let target = format!("/{status}");
                        agent.ask("PUT", &target, &EXPECT, framing).await.unwrap();
                        if status == 200 {
                            assert_eq!(agent.interim().await.unwrap().status, 100);
                            assert_eq!(heard.len(), count + 1, "before the server said so");
                            agent.send(&vec![b'x'; STREAMED]).await.unwrap();
                            agent.end(&[]).await.unwrap();
                        }
                        assert_eq!(agent.head().await.unwrap().status, status);
                        let body = agent.rest().await.unwrap();
                        if status == 200 {
                            assert_eq!(body, STREAMED.to_string().as_bytes());
                            assert_eq!(agent.interims.len(), 1);
                        } else {
                            assert_eq!(body, b"no");
                            assert!(agent.interims.is_empty());
                        }
                        agent
                    });
                    count += if status == 200 { 1 } else { 2 };
                    let all = said.wait_count(count);
                    assert_eq!(all[count - 1], if status == 200 { 200 } else { 1 });
                    drop(agent);
                }
            }
        }
    });
}

/// Many servers do not know expectations: the agent is told to go on all the same.
#[test]
fn an_expectation_that_no_server_answers_ends() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let setup = Setup {
            config: "[timeouts]\nexpect = \"100ms\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                let framing = Framing::Length(STREAMED);
                for _ in 0..2 {
                    agent.ask("PUT", "/", &EXPECT, framing).await.unwrap();
                    assert_eq!(agent.interim().await.unwrap().status, 100);
                    agent.send(&vec![b'x'; STREAMED]).await.unwrap();
                    agent.end(&[]).await.unwrap();
                    assert_eq!(agent.head().await.unwrap().status, 200);
                    agent.rest().await.unwrap();
                    let got = last(&seen);
                    assert_eq!(got.header("expect"), Some("100-continue"));
                    assert_eq!(got.body.len(), STREAMED);
                }
            }
        });
    });
}

#[test]
fn a_servers_own_100_is_not_passed_on() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.interim(100, &[]).await?;
            call.rest().await?;
            call.reply(200, &[], b"").await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            let (head, _) = agent.exchange("POST", "/", &[], b"data").await.unwrap();
            assert_eq!(head.status, 200);
            assert!(agent.interims.is_empty());
        });
    });
}

/// A refused request gets its answer and never a 100: the agent must not send the body.
#[test]
fn refused_requests_get_no_100() {
    inside(|| {
        let seen = Events::<Received>::new();
        let sink = seen.clone();
        let setup = Setup {
            config: "[limits]\nbody_bytes = \"1MiB\"\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, move |mut call: Call| {
            let sink = sink.clone();
            async move {
                sink.push(Received::of(&mut call).await?);
                call.reply(200, &[], b"").await
            }
        });
        bench.each(|dial| async move {
            for (target, expectation, length, status) in [
                ("/denied", "100-continue", 5, 403),
                ("/denied", "100-continue", 1 << 19, 403),
                ("/", "100-continue", (1 << 20) + 1, 413),
                ("/", "200-ok", 5, 417),
            ] {
                let mut agent = dial.connect().await;
                let framing = Framing::Length(length);
                let expect = [("expect", expectation)];
                agent.ask("POST", target, &expect, framing).await.unwrap();
                let head = agent.head().await.unwrap();
                assert_eq!(head.status, status, "{target}");
                assert!(agent.interims.is_empty(), "{target} {status}");
                assert!(!agent.rest().await.unwrap().is_empty());
            }
        });
        assert_eq!(seen.len(), 0);
        for version in [Version::H1, Version::H2] {
            assert!(bench.server(version).connections().is_empty());
        }
    });
}

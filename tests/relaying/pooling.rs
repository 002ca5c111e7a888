//! Connections: kept, shared, given up, and retried where that is harmless.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use h2::Reason;
use serde_json::Value;
use tokio::sync::Barrier;

use crate::bench::{Bench, LEGS, Setup, keeping, last};
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;

#[test]
fn a_connection_to_the_server_serves_one_request_after_the_other() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                let mut connections = HashSet::new();
                for _ in 0..5 {
                    assert_eq!(agent.get("/").await.unwrap().0.status, 200);
                    connections.insert(last(&seen).connection);
                }
                assert_eq!(connections, HashSet::from([0]), "{}", dial.legs);
            }
        });
    });
}

/// `Connection: close` is between the agent and the gateway.
#[test]
fn an_agent_that_closes_does_not_cost_the_servers_connection() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.some(&LEGS[..2], |dial| {
            let seen = seen.clone();
            async move {
                for _ in 0..3 {
                    let mut agent = dial.connect().await;
                    let close = [("connection", "close")];
                    let (head, _) = agent.exchange("GET", "/", &close, b"").await.unwrap();
                    assert_eq!(head.header("connection"), Some("close"));
                    agent.closed().await;
                    assert_eq!(last(&seen).header("connection"), None);
                    assert_eq!(last(&seen).connection, 0);
                }
            }
        });
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.some(&LEGS[..2], |dial| {
            let before = seen.len();
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                let host = dial.host;
                let mut bytes = String::new();
                for number in 0..10 {
                    bytes += &format!(
                        "POST /{number} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\n\r\nGET "
                    );
                    bytes += &format!("GET /{number} HTTP/1.1\r\nhost: {host}\r\n\r\n");
                }
                agent.raw(bytes.as_bytes()).await.unwrap();
                for number in 0..10 {
                    for method in ["POST", "GET"] {
                        assert_eq!(agent.head().await.unwrap().status, 200);
                        let body = agent.rest().await.unwrap();
                        assert_eq!(body, format!("{method} /{number}").as_bytes());
                    }
                }
                assert_eq!(seen.len(), before + 20);
            }
        });
    });
}

/// All hundred are at the server before the first is answered.
#[test]
fn a_hundred_streams_run_at_once() {
    inside(|| {
        let barrier = Arc::new(Barrier::new(100));
        let bench = Bench::new(move |mut call: Call| {
            let barrier = Arc::clone(&barrier);
            async move {
                let body = call.rest().await?;
                crate::common::within("the other 99", barrier.wait()).await;
                call.reply(200, &[], &body).await
            }
        });
        bench.some(&LEGS[2..], hundred);
    });
}

async fn hundred(dial: crate::agent::Dial) {
    let first = dial.connect().await;
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let mut agent = first.another();
            tokio::spawn(async move {
                let body = format!("body {number}").into_bytes();
                let (head, echo) = agent.exchange("POST", "/", &[], &body).await.unwrap();
                assert_eq!((head.status, echo), (200, body));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Whoever waits while another request dials does not take that for the server's time.
#[test]
fn the_wait_for_anothers_connection_is_not_the_servers() {
    inside(|| {
        let (_, script) = keeping(&[]);
        let setup = Setup {
            handshake: Duration::from_secs(1),
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        bench.some(&LEGS[3..], |dial| async move {
            // Whoever dials second may do so before the server has said that it takes more than
            // one stream; the others find a connection.
            let agent = dial.connect().await;
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let mut agent = agent.another();
                    tokio::spawn(async move { agent.get("/").await.unwrap().0.status })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 200);
            }
        });
        let records = bench
            .gateway
            .wait_records(4, |record| record["url.path"] == "/");
        let of = |reused: bool, key: &str| {
            let known = |record: &&Value| record["portreeve.upstream.reused"] == reused;
            records.iter().find(known).unwrap()[key].as_f64().unwrap()
        };
        let dialled = of(false, "portreeve.connect.duration");
        assert!(of(true, "portreeve.first_byte.duration") < dialled / 2.0);
    });
}

/// A server that takes one stream at a time: more connections, not a queue behind a stream
/// that may never end.
#[test]
fn a_server_of_single_streams_gets_more_connections() {
    inside(|| {
        let barrier = Arc::new(Barrier::new(5));
        let setup = Setup {
            streams: 1,
            ..Setup::default()
        };
        let bench = Bench::with(&setup, move |mut call: Call| {
            let barrier = Arc::clone(&barrier);
            async move {
                call.rest().await?;
                crate::common::within("the other 4", barrier.wait()).await;
                call.reply(200, &[], b"").await
            }
        });
        bench.some(&[LEGS[1], LEGS[3]], |dial| async move {
            let tasks: Vec<_> = (0..5)
                .map(|_| {
                    let dial = dial.clone();
                    tokio::spawn(async move {
                        let mut agent = dial.connect().await;
                        assert_eq!(agent.get("/").await.unwrap().0.status, 200);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(bench.h2.connections().len(), 5);
    });
}

static TRIES: AtomicUsize = AtomicUsize::new(0);

async fn refuse_first(mut call: Call) -> io::Result<()> {
    let body = call.rest().await?;
    if TRIES.fetch_add(1, Relaxed).is_multiple_of(2) {
        call.cut(Reason::REFUSED_STREAM);
        return Ok(());
    }
    call.reply(200, &[], &body).await
}

#[test]
fn a_stream_that_the_server_refused_is_sent_again() {
    inside(|| {
        let bench = Bench::new(refuse_first);
        bench.some(&[LEGS[1], LEGS[3]], |dial| async move {
            let mut agent = dial.connect().await;
            let before = TRIES.load(Relaxed);
            let (head, body) = agent.exchange("POST", "/", &[], b"once").await.unwrap();
            assert_eq!((head.status, body.as_slice()), (200, &b"once"[..]));
            assert_eq!(TRIES.load(Relaxed), before + 2);
        });
    });
}

/// `GOAWAY` names the last stream that counts: what came after is sent elsewhere.
#[test]
fn what_a_server_going_away_has_not_looked_at_is_sent_elsewhere() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let setup = Setup {
            goes_away: true,
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        bench.some(&LEGS[3..], |dial| async move {
            let mut agent = dial.connect().await;
            let (head, _) = agent.exchange("POST", "/", &[], b"once").await.unwrap();
            assert_eq!(head.status, 200);
        });
        assert_eq!(bench.h2.connections().len(), 2);
        let got = seen.all();
        assert_eq!((got.len(), got[0].body.as_slice()), (1, &b"once"[..]));
    });
}

#[test]
fn what_a_server_going_away_has_begun_is_answered() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.some(&[LEGS[1], LEGS[3]], |dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                for away in [&[("x-go-away", "1")][..], &[]] {
                    for _ in 0..3 {
                        let answered = agent.exchange("POST", "/", away, b"once").await;
                        assert_eq!(answered.unwrap().0.status, 200);
                        assert_eq!(last(&seen).body, b"once");
                    }
                }
            }
        });
        assert_eq!(seen.len(), 12);
    });
}

/// An HTTP/1 server may close a kept connection just when a request goes out on it.
#[test]
fn a_kept_connection_that_died_costs_a_harmless_request_nothing() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            let first = call.connection;
            if call.target == "/die" {
                // Closes without an answer, if it is not the first request there.
                return Ok(());
            }
            call.reply(200, &[], first.to_string().as_bytes()).await
        });
        bench.some(&[LEGS[0], LEGS[2]], |dial| async move {
            let mut agent = dial.connect().await;
            let (_, one) = agent.get("/").await.unwrap();
            // On the kept connection, then on a new one, where no answer is final.
            let (head, _) = agent.get("/die").await.unwrap();
            assert_eq!(head.status, 502);
            let (head, two) = agent.get("/").await.unwrap();
            assert_eq!(head.status, 200);
            let number = |text: Vec<u8>| String::from_utf8(text).unwrap().parse::<usize>().unwrap();
            assert_eq!(number(one) + 2, number(two));
        });
    });
}

#[test]
fn keep_alive_is_the_agents_own() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            // The server's connection ends with each answer; the agent's goes on.
            call.answer(200, &[], Framing::Close).await?;
            call.send(b"bye").await?;
            call.end(&[]).await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            for _ in 0..3 {
                let (head, body) = agent.get("/").await.unwrap();
                assert_eq!((head.status, body.as_slice()), (200, &b"bye"[..]));
                assert_eq!(head.header("connection"), None);
            }
        });
    });
}

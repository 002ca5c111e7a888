//! Interim responses and expectations.

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

#[test]
fn an_expectation_is_answered_by_the_gateway_and_not_passed_on() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                for length in [5, 1 << 20] {
                    let expect = [("expect", "100-continue")];
                    let framing = Framing::Length(length);
                    agent.ask("POST", "/", &expect, framing).await.unwrap();
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

//! Server-sent events and long polls: each event at once, compressed or not, looked into or
//! not, for as long as they last.

use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::process::Signal;

use crate::agent::{Agent, Dial};
use crate::bench::{Bench, LEGS, Setup};
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;
use crate::streaming::{ACK, acknowledged};

/// All of what the agent gets is searched for this.
const CREDENTIAL: &str = r#"
[[credential]]
name = "key"
secret = { env = "KEY" }
hosts = ["h1.test", "h2.test"]
attach = { header = "x-key" }
"#;

const LOOKED_INTO: Setup = Setup {
    config: "",
    rules: CREDENTIAL,
    all: "credential = \"key\"\n",
    streams: 250,
    goes_away: false,
    handshake: Duration::ZERO,
    env: &[("KEY", "sesame-open-the-gates")],
};

/// What a model says, word by word; the beginning of the secret among it.
const EVENTS: [&str; 4] = [
    "event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
    "data: {\"delta\":\"sesame-open\"}\n\n",
    ": keep-alive\n\n",
    "data: [DONE]\n\n",
];

/// A compressor that is flushed behind each event.
enum Coder {
    Identity(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Coder {
    fn new(coding: &str) -> Self {
        match coding {
            "gzip" => Self::Gzip(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            )),
            "br" => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4096,
                5,
                20,
            ))),
            _ => Self::Identity(Vec::new()),
        }
    }

    fn event(&mut self, text: &str) -> Vec<u8> {
        match self {
            Self::Identity(_) => text.into(),
            Self::Gzip(writer) => {
                writer.write_all(text.as_bytes()).unwrap();
                writer.flush().unwrap();
                std::mem::take(writer.get_mut())
            }
            Self::Brotli(writer) => {
                writer.write_all(text.as_bytes()).unwrap();
                writer.flush().unwrap();
                std::mem::take(writer.get_mut())
            }
        }
    }

    fn end(self) -> Vec<u8> {
        match self {
            Self::Identity(rest) => rest,
            Self::Gzip(writer) => writer.finish().unwrap(),
            Self::Brotli(writer) => writer.into_inner(),
        }
    }
}

/// All that can be made of the beginning of a body.
fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 1)),
        _ => Box::new(bytes),
    };
    let (mut text, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = reader.read(&mut byte) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Sends each event once the agent has the one before.
async fn events(mut call: Call) -> io::Result<()> {
    call.rest().await?;
    let coding = call
        .header("accept-encoding")
        .unwrap_or("identity")
        .to_owned();
    let mut coder = Coder::new(&coding);
    let fields = [
        ("content-type", "text/event-stream"),
        ("content-encoding", coding.as_str()),
    ];
    call.answer(200, &fields, Framing::Chunked).await?;
    for event in EVENTS {
        acknowledged().await;
        call.send(&coder.event(event)).await?;
    }
    acknowledged().await;
    let rest = coder.end();
    if !rest.is_empty() {
        call.send(&rest).await?;
    }
    call.end(&[]).await
}

async fn each_event_in_turn(dial: Dial) {
    let mut agent = dial.connect().await;
    for coding in ["identity", "gzip", "br"] {
        let accept = [("accept-encoding", coding), ("accept", "text/event-stream")];
        agent
            .ask("GET", "/", &accept, Framing::Nothing)
            .await
            .unwrap();
        // The head comes before any event.
        let head = agent.head().await.unwrap();
        assert_eq!(head.header("content-encoding"), Some(coding));
        let (mut bytes, mut expected) = (Vec::new(), String::new());
        for event in EVENTS {
            ACK.add_permits(1);
            expected.push_str(event);
            while decoded(coding, &bytes) != expected {
                let more = agent.data().await.unwrap();
                bytes.extend(more.expect("more of the response"));
            }
        }
        ACK.add_permits(1);
        bytes.extend(agent.rest().await.unwrap());
        assert_eq!(decoded(coding, &bytes), expected);
    }
}

#[test]
fn each_event_passes_at_once_through_every_coding() {
    inside(|| Bench::new(events).each(each_event_in_turn));
}

#[test]
fn each_event_passes_at_once_where_echoes_are_looked_for() {
    inside(|| Bench::with(&LOOKED_INTO, events).each(each_event_in_turn));
}

/// What a server relays of later requests on a stream that began before.
#[test]
fn i5_a_stream_tells_no_value_that_is_newer_than_itself() {
    const NEW: &str = "another-word-for-the-gates";
    inside(|| {
        let setup = Setup {
            env: &[("KEY", "sesame-open-the-gates"), ("NEW", NEW)],
            ..LOOKED_INTO
        };
        let bench = Bench::with(&setup, |mut call: Call| async move {
            call.rest().await?;
            if call.target == "/ask" {
                assert_eq!(call.header("x-key"), Some(NEW));
                return call.reply(200, &[], b"fine").await;
            }
            call.answer(200, &[], Framing::Chunked).await?;
            call.send(b"old: sesame-open-the-gates\n").await?;
            acknowledged().await;
            call.send(format!("new: {NEW}, old: sesame-open-the-gates\n").as_bytes())
                .await?;
            call.end(&[]).await
        });
        let dials: Vec<Dial> = LEGS.into_iter().map(|legs| bench.dial(legs)).collect();
        let (old, new) = ("*".repeat(21), "*".repeat(NEW.len()));
        let first = format!("old: {old}\n");
        let streams = bench.run({
            let dials = dials.clone();
            async move {
                let mut streams = Vec::new();
                for dial in dials {
                    let mut stream = begun(dial, "/stream").await;
                    assert_eq!(stream.head().await.unwrap().status, 200);
                    stream.expect(first.as_bytes()).await;
                    streams.push(stream);
                }
                streams
            }
        });
        let rules = setup.rules_file().replace("\"KEY\"", "\"NEW\"");
        bench.gateway.write_rule("all.toml", &rules);
        bench.gateway.reload();
        let told = bench.run(async move {
            for dial in dials {
                let (head, _) = dial.connect().await.get("/ask").await.unwrap();
                assert_eq!(head.status, 200);
            }
            ACK.add_permits(streams.len());
            let mut told = Vec::new();
            for mut stream in streams {
                told.push(String::from_utf8(stream.rest().await.unwrap()).unwrap());
            }
            told
        });
        assert_eq!(told, [(); 4].map(|()| format!("new: {new}, old: {old}\n")));
    });
}

async fn begun(dial: Dial, target: &'static str) -> Agent {
    let mut agent = dial.connect().await;
    agent
        .ask("GET", target, &[], Framing::Nothing)
        .await
        .unwrap();
    agent
}

/// Lets polls have their answers and streams their events, all of them up to their ends.
async fn finish(mut streams: Vec<Agent>, polls: Vec<Agent>) {
    ACK.add_permits(polls.len() + streams.len());
    for mut poll in polls {
        assert_eq!(poll.head().await.unwrap().status, 200);
        assert_eq!(poll.rest().await.unwrap(), b"news");
    }
    for event in EVENTS {
        for stream in &mut streams {
            stream.expect(event.as_bytes()).await;
        }
        ACK.add_permits(streams.len());
    }
    for mut stream in streams {
        assert!(stream.rest().await.unwrap().is_empty());
    }
}

/// A stream and a long poll on each pair of legs, begun: all wait for their first word.
fn waiting(setup: &Setup) -> (Bench, Vec<Agent>, Vec<Agent>) {
    let asked = crate::common::events::Events::new();
    let sink = asked.clone();
    let bench = Bench::with(setup, move |mut call: Call| {
        let sink = sink.clone();
        async move {
            if call.target == "/stream" {
                return events(call).await;
            }
            // A long poll: the head itself takes its time.
            call.rest().await?;
            sink.push(());
            acknowledged().await;
            call.reply(200, &[], b"news").await
        }
    });
    let dials: Vec<Dial> = LEGS.into_iter().map(|legs| bench.dial(legs)).collect();
    let (streams, polls) = bench.run(async move {
        let (mut streams, mut polls) = (Vec::new(), Vec::new());
        for dial in dials {
            let mut stream = begun(dial.clone(), "/stream").await;
            assert_eq!(stream.head().await.unwrap().status, 200);
            streams.push(stream);
            polls.push(begun(dial, "/poll").await);
        }
        (streams, polls)
    });
    asked.wait_count(polls.len());
    (bench, streams, polls)
}

/// What is idle is the connection, not the exchange on it.
#[test]
fn polls_and_streams_outlive_the_idle_times() {
    inside(|| {
        let setup = Setup {
            config: "[timeouts]\nidle = \"3s\"\nhead = \"3s\"\nupstream_idle = \"100ms\"\n\
                hold = \"100ms\"\nbody = \"100ms\"\nupstream_age = \"100ms\"\n",
            ..LOOKED_INTO
        };
        let (bench, streams, polls) = waiting(&setup);
        bench.run(async move {
            // What passes here is the time in question, and nothing is waited for.
            tokio::time::sleep(Duration::from_secs(4)).await;
            finish(streams, polls).await;
        });
    });
}

/// While the gateway drains, what is short ends and streams go on; they are the last to end,
/// and then the gateway does.
#[test]
fn a_drain_ends_streams_last() {
    inside(|| {
        let setup = Setup {
            config: "[timeouts]\ndrain = \"10m\"\n",
            ..Setup::default()
        };
        let (mut bench, streams, polls) = waiting(&setup);
        bench.gateway.signal(Signal::TERM);
        bench.gateway.wait_log("draining");
        bench.run(finish(streams, polls));
        assert!(bench.gateway.wait_exit().success());
        assert!(!bench.gateway.log().contains("drain time is over"));
    });
}

/// A stream that does not end is cut when the drain time is over, and its record says so.
#[test]
fn a_drain_cuts_streams_that_do_not_end() {
    inside(|| {
        let setup = Setup {
            config: "[timeouts]\ndrain = \"300ms\"\n",
            ..Setup::default()
        };
        let mut bench = Bench::with(&setup, events);
        let dials: Vec<Dial> = LEGS.into_iter().map(|legs| bench.dial(legs)).collect();
        let streams = bench.run(async move {
            let mut streams = Vec::new();
            for dial in dials {
                let mut stream = begun(dial, "/").await;
                assert_eq!(stream.head().await.unwrap().status, 200);
                streams.push(stream);
            }
            streams
        });
        bench.gateway.signal(Signal::TERM);
        bench.run(async move {
            for mut stream in streams {
                assert!(stream.rest().await.is_err(), "it looks whole");
            }
        });
        assert!(bench.gateway.wait_exit().success());
        assert!(bench.gateway.log().contains("drain time is over"));
        let records = bench.gateway.wait_records(LEGS.len(), |record| {
            record["portreeve.record.kind"] == "request"
        });
        for record in records {
            assert_eq!(record["portreeve.reason"], "draining", "{record}");
        }
    });
}

//! Much data: streamed, with back-pressure from whoever reads slowly, in bounded memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::Semaphore;

use crate::agent::{Agent, Dial};
use crate::bench::{Bench, LEGS};
use crate::common::inside;
use crate::h1::Framing;
use crate::server::Call;

const PIECE: usize = 64 * 1024;
/// How many pieces there are: 32 MiB, or more where a test takes its time.
static PIECES: AtomicUsize = AtomicUsize::new(512);
/// What the gateway may take for one such stream, in KiB: far less than the whole, and
/// far above windows and socket buffers, of which the sockets' are the kernel's anyway.
const BOUND: usize = 12 * 1024;

fn pieces() -> usize {
    PIECES.load(Relaxed)
}

fn all() -> usize {
    PIECE * pieces()
}

/// How many pieces were taken off the producer's hands.
static PRODUCED: AtomicUsize = AtomicUsize::new(0);
/// The word that the consumer may begin.
static BEGIN: Semaphore = Semaphore::const_new(0);

/// Data that no compression or deduplication could make small.
pub fn piece(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let words = (0..PIECE / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}

fn digest_of_all() -> String {
    let mut context = Context::new(&SHA256);
    (0..pieces()).for_each(|number| context.update(&piece(number)));
    format!("{:?}", context.finish())
}

async fn begun() {
    crate::common::within("the word to begin", BEGIN.acquire())
        .await
        .unwrap()
        .forget();
}

/// Takes an upload once it may, and answers its digest; sends a download as it is taken.
async fn either(mut call: Call) -> io::Result<()> {
    if call.method == "GET" {
        call.answer(200, &[], Framing::Length(all())).await?;
        for number in 0..pieces() {
            call.send(&piece(number)).await?;
            PRODUCED.fetch_add(1, Relaxed);
        }
        return call.end(&[]).await;
    }
    begun().await;
    let mut context = Context::new(&SHA256);
    while let Some(data) = call.data().await? {
        context.update(&data);
    }
    let text = format!("{:?}", context.finish());
    call.reply(200, &[], text.as_bytes()).await
}

/// Waits until the producer gets nothing more off its hands: as often as `quiet` times in a
/// row, between which everybody had a turn. Returns how far it got.
async fn stalled() -> usize {
    let (mut before, mut quiet) = (usize::MAX, 0);
    while quiet < 20 {
        // Not a wait for the gateway, but the step of a poll, as of its memory below.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let now = PRODUCED.load(Relaxed);
        quiet = if now == before && now > 0 {
            quiet + 1
        } else {
            0
        };
        before = now;
    }
    before
}

/// Resident memory of a process, in KiB, and the most it ever was.
fn memory(pid: u32) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap().split_whitespace();
        words.into_iter().next().unwrap().parse().unwrap()
    };
    (of("VmRSS:"), of("VmHWM:"))
}

async fn download(dial: Dial) -> usize {
    let mut agent = dial.connect().await;
    agent.ask("GET", "/", &[], Framing::Nothing).await.unwrap();
    assert_eq!(agent.head().await.unwrap().status, 200);
    // Nobody reads: the server must not get rid of its data.
    let stalled = stalled().await;
    let mut context = Context::new(&SHA256);
    let mut length = 0;
    while let Some(data) = agent.data().await.unwrap() {
        length += data.len();
        context.update(&data);
    }
    assert_eq!(length, all());
    assert_eq!(format!("{:?}", context.finish()), digest_of_all());
    stalled
}

async fn send_all(mut agent: Agent) -> Agent {
    for number in 0..pieces() {
        agent.send(&piece(number)).await.unwrap();
        PRODUCED.fetch_add(1, Relaxed);
    }
    agent.end(&[]).await.unwrap();
    agent
}

async fn upload(dial: Dial) -> usize {
    let mut agent = dial.connect().await;
    let all = Framing::Length(all());
    agent.ask("POST", "/", &[], all).await.unwrap();
    let sending = tokio::spawn(send_all(agent));
    let stalled = stalled().await;
    BEGIN.add_permits(1);
    let mut agent = sending.await.unwrap();
    assert_eq!(agent.head().await.unwrap().status, 200);
    let digest = String::from_utf8(agent.rest().await.unwrap()).unwrap();
    assert_eq!(digest, digest_of_all());
    stalled
}

fn in_bounded_memory<F>(transfer: impl Fn(Dial) -> F)
where
    F: Future<Output = usize> + Send + 'static,
{
    let bench = Bench::new(either);
    // Kernels grow a socket's buffers up to 32 MiB, which would be all that is sent here.
    for ns in [
        &bench.world.agent,
        &bench.world.gateway,
        &bench.world.internet,
    ] {
        for direction in ["rmem", "wmem"] {
            ns.sysctl(&format!("net.ipv4.tcp_{direction}"), "4096 131072 1048576");
        }
    }
    // What the first of everything takes is not this transfer's.
    bench.each(|dial| async move {
        let mut agent = dial.connect().await;
        assert_eq!(agent.get("/denied").await.unwrap().0.status, 403);
    });
    let base = memory(bench.gateway.pid()).0;
    for legs in LEGS {
        PRODUCED.store(0, Relaxed);
        let stalled = bench.run(transfer(bench.dial(legs)));
        let most = memory(bench.gateway.pid()).1;
        println!(
            "{legs}: stalled at {stalled} of {}; memory {base} KiB, then {most} KiB",
            pieces()
        );
        assert!(stalled < pieces(), "all was taken off the producer's hands");
        assert!(most < base + BOUND, "{base} KiB, then {most} KiB");
    }
}

#[test]
fn a_download_waits_for_its_agent_in_bounded_memory() {
    inside(|| in_bounded_memory(download));
}

#[test]
fn an_upload_waits_for_its_server_in_bounded_memory() {
    inside(|| in_bounded_memory(upload));
}

#[test]
#[ignore = "100 MiB each way, on all pairs of legs"]
fn a_hundred_mib_pass_in_bounded_memory() {
    inside(|| {
        PIECES.store(1600, Relaxed);
        in_bounded_memory(download);
    });
}

#[test]
#[ignore = "100 MiB each way, on all pairs of legs"]
fn a_hundred_mib_are_sent_in_bounded_memory() {
    inside(|| {
        PIECES.store(1600, Relaxed);
        in_bounded_memory(upload);
    });
}

/// An agent that opens no window stalls its own stream, and no other: neither on its
/// connection nor on the one to the server that they share.
#[test]
fn streams_whose_agent_reads_nothing_stall_no_other() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            if call.target == "/short" {
                return call.reply(200, &[], b"short").await;
            }
            call.answer(200, &[], Framing::Length(all())).await?;
            let zeros = vec![0; PIECE];
            for _ in 0..pieces() {
                call.send(&zeros).await?;
                PRODUCED.fetch_add(1, Relaxed);
            }
            call.end(&[]).await
        });
        bench.some(&LEGS[2..], |dial| async move {
            PRODUCED.store(0, Relaxed);
            let mut first = dial.connect().await;
            let mut stuck = Vec::new();
            for _ in 0..10 {
                let mut agent = first.another();
                agent
                    .ask("GET", "/long", &[], Framing::Nothing)
                    .await
                    .unwrap();
                assert_eq!(agent.head().await.unwrap().status, 200);
                stuck.push(agent);
            }
            stalled().await;
            for _ in 0..3 {
                let (head, body) = first.get("/short").await.unwrap();
                assert_eq!((head.status, body.as_slice()), (200, &b"short"[..]));
            }
            // They are stuck, not broken.
            for agent in &mut stuck {
                assert!(agent.data().await.unwrap().is_some());
            }
        });
    });
}

/// Uploads that their server does not read stall no other request of the same agent.
#[test]
fn uploads_that_no_server_reads_stall_no_other() {
    inside(|| {
        let release = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&release);
        let bench = Bench::new(move |mut call: Call| {
            let gate = Arc::clone(&gate);
            async move {
                if call.target == "/stuck" {
                    gate.acquire().await.unwrap().forget();
                }
                let length = call.rest().await?.len();
                call.reply(200, &[], length.to_string().as_bytes()).await
            }
        });
        bench.some(&LEGS[2..], |dial| {
            let release = Arc::clone(&release);
            async move {
                PRODUCED.store(0, Relaxed);
                let mut first = dial.connect().await;
                let mut stuck = Vec::new();
                for _ in 0..10 {
                    let mut agent = first.another();
                    let all = Framing::Length(all());
                    agent.ask("POST", "/stuck", &[], all).await.unwrap();
                    stuck.push(tokio::spawn(send_all(agent)));
                }
                stalled().await;
                let short = first.exchange("POST", "/short", &[], b"short").await;
                let (head, body) = short.unwrap();
                assert_eq!((head.status, body.as_slice()), (200, &b"5"[..]));
                for task in stuck {
                    task.abort();
                }
                release.add_permits(10);
            }
        });
    });
}

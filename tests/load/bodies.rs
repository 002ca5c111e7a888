//! Large bodies flow through: the gateway holds a bounded piece of them, not the whole.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::client::{H1, H2, Tls};
use crate::common::world::SERVER;
use crate::common::{World, inside};
use crate::gauge::memory;
use crate::quiet_server::{Counts, PIECE, send_bytes};
use crate::{gateway, quiet_server, tls};

const MIB: u64 = 1 << 20;
/// By how much the gateway may grow while a body passes: windows and buffers of both legs,
/// and what the allocator keeps of them. An eighth of the smaller body.
const GROWTH_KIB: u64 = 16 * 1024;
/// How far ahead of the reader the server may get: the gateway's buffers and the kernel's.
const AHEAD: u64 = 32 * MIB;

/// The most memory the gateway had while bodies of `size` went `down` and up, over `alpn`
/// from the agent, to a server with HTTP/2 or without.
fn flat(size: u64, alpn: &'static str, server_h2: bool) {
    let world = World::new();
    let counts = quiet_server::start(&world, server_h2);
    let gateway = gateway(&world);
    let tls = tls(&gateway, alpn);
    let pid = gateway.pid();
    // Everything that is made once is made by a small body.
    for warm_up in [true, false] {
        let size = if warm_up { MIB } else { size };
        let before = memory(pid);
        let (tls, counts) = (tls.clone(), counts.clone());
        let most = world.agent.block_on(async move {
            if alpn == "h2" {
                transfer_h2(&tls, size, &counts, pid).await
            } else {
                transfer_h1(&tls, size, &counts, pid).await
            }
        });
        assert!(
            warm_up || most < before + GROWTH_KIB,
            "from {before} KiB to {most} KiB over {size} bytes"
        );
    }
}

async fn transfer_h1(tls: &Tls, size: u64, counts: &Arc<Counts>, pid: u32) -> u64 {
    let already = counts.sent.load(Relaxed);
    let stream = tls.connect((SERVER[0], 443), "good.test").await.unwrap();
    let mut client = H1::new(stream);
    let get = format!("GET /{size} HTTP/1.1\r\nHost: good.test\r\n\r\n");
    client.send(get).await.unwrap();
    client.read_until(b"\r\n\r\n").await.unwrap();
    // Small, so that next to nothing of the body is in the client's own buffer by now.
    let mut received = client.buffered() as u64;
    let mut piece = vec![0; PIECE];
    let mut most = 0;
    while received < size {
        let length = client.stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "cut off after {received} bytes");
        received += length as u64;
        if received % MIB < length as u64 {
            most = most.max(memory(pid));
            let ahead = counts.sent.load(Relaxed).saturating_sub(already + received);
            assert!(ahead < AHEAD, "{ahead} bytes on their way");
        }
    }
    let stream = tls.connect((SERVER[1], 443), "good.test").await.unwrap();
    let mut client = H1::new(stream);
    let post = "POST /sink HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(post).await.unwrap();
    let piece = vec![b'x'; PIECE];
    for sent in 0..size / PIECE as u64 {
        let stream = &mut client.stream;
        stream
            .write_all(format!("{PIECE:x}\r\n").as_bytes())
            .await
            .unwrap();
        stream.write_all(&piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
        if sent % 16 == 0 {
            most = most.max(memory(pid));
        }
    }
    let response = client.exchange("0\r\n\r\n").await.unwrap();
    assert_eq!(response.text(), size.to_string());
    most
}

async fn transfer_h2(tls: &Tls, size: u64, counts: &Arc<Counts>, pid: u32) -> u64 {
    let already = counts.sent.load(Relaxed);
    let stream = tls.connect((SERVER[0], 443), "good.test").await.unwrap();
    let client = H2::new(stream).await.unwrap();
    let mut sender = client.sender.clone().ready().await.unwrap();
    let get = http::Request::get(format!("https://good.test/{size}"));
    let (response, _) = sender.send_request(get.body(()).unwrap(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let (mut received, mut most) = (0, 0);
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
        received += length as u64;
        if received % MIB < length as u64 {
            most = most.max(memory(pid));
            let ahead = counts.sent.load(Relaxed).saturating_sub(already + received);
            assert!(ahead < AHEAD, "{ahead} bytes on their way");
        }
    }
    assert_eq!(received, size);
    let mut sender = sender.ready().await.unwrap();
    let post = http::Request::post("https://good.test/sink");
    let (response, mut stream) = sender.send_request(post.body(()).unwrap(), false).unwrap();
    let mut sent = 0;
    send_bytes(&mut stream, size, |length| {
        sent += length;
        if sent % MIB < length {
            most = most.max(memory(pid));
        }
    })
    .await
    .unwrap();
    let mut body = response.await.unwrap().into_body();
    let text = body.data().await.unwrap().unwrap();
    assert_eq!(text, size.to_string());
    most
}

#[test]
fn i9_memory_is_flat_over_128_mib_of_http_1() {
    inside(|| flat(128 * MIB, "http/1.1", false));
}

#[test]
fn i9_memory_is_flat_over_128_mib_of_http_2() {
    inside(|| flat(128 * MIB, "h2", true));
}

#[test]
fn i9_memory_is_flat_from_http_2_to_http_1() {
    inside(|| flat(32 * MIB, "h2", false));
}

#[test]
fn i9_memory_is_flat_from_http_1_to_http_2() {
    inside(|| flat(32 * MIB, "http/1.1", true));
}

#[test]
#[ignore = "1 GiB each way"]
fn i9_memory_is_flat_over_1_gib_of_http_1() {
    inside(|| flat(1024 * MIB, "http/1.1", false));
}

#[test]
#[ignore = "1 GiB each way"]
fn i9_memory_is_flat_over_1_gib_of_http_2() {
    inside(|| flat(1024 * MIB, "h2", true));
}

/// A reader that stops holds the server up, not the gateway's memory.
#[test]
fn i9_a_reader_that_stops_stops_the_server() {
    inside(|| {
        for alpn in ["http/1.1", "h2"] {
            let world = World::new();
            let counts = quiet_server::start(&world, alpn == "h2");
            let gateway = gateway(&world);
            let reader = tls(&gateway, alpn);
            let other = tls(&gateway, "http/1.1");
            let before = memory(gateway.pid());
            let size = 512 * MIB;
            world.agent.block_on(async move {
                let stream = reader.connect((SERVER[0], 443), "good.test").await.unwrap();
                let get = format!("GET /{size} HTTP/1.1\r\nHost: good.test\r\n\r\n");
                // Asked for, and then never read.
                if alpn == "h2" {
                    let mut sender = H2::new(stream).await.unwrap().sender;
                    let get = http::Request::get(format!("https://good.test/{size}"));
                    let asked = sender.send_request(get.body(()).unwrap(), true).unwrap();
                    let body = asked.0.await.unwrap().into_body();
                    busy(&other).await;
                    drop(body);
                } else {
                    let mut client = H1::new(stream);
                    client.send(get).await.unwrap();
                    busy(&other).await;
                    drop(client);
                }
            });
            let ahead = counts.sent.load(Relaxed);
            assert!(ahead > 0 && ahead < AHEAD, "{ahead} bytes, {alpn}");
            let after = memory(gateway.pid());
            assert!(
                after < before + GROWTH_KIB,
                "{before} to {after} KiB, {alpn}"
            );
        }
    });
}

/// Requests one after the other, through the same gateway and server: time in which both
/// could have gone on with anything else.
async fn busy(tls: &Tls) {
    let stream = tls.connect((SERVER[1], 443), "good.test").await.unwrap();
    let mut client = H1::new(stream);
    for _ in 0..500 {
        let request = "POST /sink HTTP/1.1\r\nHost: good.test\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(client.exchange(request).await.unwrap().text(), "1");
    }
}

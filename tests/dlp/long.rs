//! Long bodies with a secret in their last bytes: the server gets neither all of it nor an
//! end of the body, and the gateway keeps nothing.

use std::time::Duration;

use super::common::wire;
use super::*;
use tokio::io::AsyncReadExt;

const LONG: usize = 25 << 20;
/// What the gateway may need more than before, for buffers of connections and streams.
const MEMORY_KIB: u64 = 16 << 10;

fn body() -> Vec<u8> {
    let line = "{\"role\": \"user\", \"content\": \"nothing to see in this line\"}\n";
    let mut body = line.repeat(LONG / line.len()).into_bytes();
    body.extend_from_slice(github().as_bytes());
    body
}

/// A server that reads and never answers.
fn reader(world: &World, slow: bool) -> Upstream {
    let mut tls = world.ca.server(&["good.test"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let read = move |mut stream: super::common::upstream::Stream| async move {
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).await? > 0 {
            if slow {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    };
    Upstream::custom(&world.internet, SERVER, 443, Some(tls), read)
}

fn peak(lab: &Lab<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.gateway.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let words = peak.unwrap().split_whitespace();
    words.flat_map(str::parse).next().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks,
    H2Length,
    H2,
}

fn upload(lab: &Lab<'_>, framing: Framing, body: &[u8]) {
    let head = "POST /long HTTP/1.1\r\nhost: good.test\r\n";
    match framing {
        Framing::Length => {
            let head = format!("{head}content-length: {}\r\n\r\n", body.len());
            let pieces = body.chunks(1 << 20).map(<[u8]>::to_vec);
            lab.send([head.into_bytes()].into_iter().chain(pieces).collect());
        }
        Framing::Chunks => {
            let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
            let chunk = |data: &[u8]| {
                let size = format!("{:x}\r\n", data.len());
                [size.as_bytes(), data, b"\r\n"].concat()
            };
            let pieces = body.chunks(50_000).map(chunk);
            let all = [head.into_bytes()].into_iter().chain(pieces);
            lab.send(all.chain([b"0\r\n\r\n".to_vec()]).collect());
        }
        Framing::H2Length | Framing::H2 => {
            let mut request = http::Request::post("https://good.test/long");
            if matches!(framing, Framing::H2Length) {
                request = request.header("content-length", body.len());
            }
            let (trust, request) = (lab.trust_h2.clone(), request.body(()).unwrap());
            let body = body.to_vec();
            lab.world.agent.block_on(async move {
                let stream = trust.connect((SERVER[0], 443), "good.test").await.unwrap();
                let h2 = H2::new(stream).await.unwrap();
                // The gateway resets the stream, or answers.
                let _ = h2.request(request, &body, &Vec::new()).await;
            });
        }
    }
}

#[test]
fn the_last_bytes_of_25_mib_never_arrive() {
    inside(|| {
        let body = body();
        let token = github();
        for slow in [false, true] {
            let world = World::new();
            let lab = Lab::with_server(&world, reader(&world, slow));
            let framings = [
                Framing::Length,
                Framing::Chunks,
                Framing::H2Length,
                Framing::H2,
            ];
            // Everything that is made once is there.
            let short = format!("{}\n{token}", &String::from_utf8_lossy(&body[..LONG / 16]));
            upload(&lab, Framing::Length, short.as_bytes());
            lab.detected(1);
            let before = peak(&lab);
            for (count, framing) in (2..).zip(framings) {
                upload(&lab, framing, &body);
                let record = lab.detected(count);
                assert!(detections(&record).starts_with("github-token block "));
                let peer = lab.server.wait_connections(count)[count - 1].peer;
                let connection = lab
                    .server
                    .wait_connection("its end", |one| one.peer == peer && one.closed);
                let bytes = &connection.bytes;
                assert!(bytes.len() > LONG / 2, "{framing:?}: {}", bytes.len());
                assert_eq!(wire::find(bytes, &token.as_bytes()[..12]), None);
                assert!(!bytes.ends_with(b"0\r\n\r\n"), "{framing:?}");
                if matches!(framing, Framing::Length | Framing::H2Length) {
                    let head = wire::find(bytes, b"\r\n\r\n").unwrap() + 4;
                    assert!(bytes.len() - head < body.len(), "{framing:?}");
                }
                let grown = peak(&lab) - before;
                assert!(grown < MEMORY_KIB, "{framing:?}: {grown} KiB more");
            }
        }
    });
}

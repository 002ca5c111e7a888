//! I2: a table of hostile spellings, each in every place where a request names its host.
//!
//! None of them may be taken for `good.test`, and nothing may reach any server.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::world::SERVER;
use crate::common::{client, table};
use crate::common::{inside, within};
use crate::town::{Agent, Town, reason};

/// What it is in a `server_name`: a name (which gets its refusal as a page), or none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sni {
    Name,
    Bad,
}

/// What it is in `Host` or `:authority`: another host than that of the handshake, or no host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    Other,
    Bad,
}

/// After attacks published on `Host`, SNI and proxy allow-lists.
const ROWS: &str = include_str!("../hostile/names.txt");

/// The longest name and label, and what is one byte longer.
fn long_rows() -> Vec<(Vec<u8>, Sni, Host)> {
    let labels = |count: usize| [b"a.".repeat(count), b"b".to_vec()].concat();
    let label = |length: usize| [b"a".repeat(length), b".test".to_vec()].concat();
    vec![
        (labels(126), Sni::Name, Host::Other),
        (labels(127), Sni::Bad, Host::Bad),
        (label(63), Sni::Name, Host::Other),
        (label(64), Sni::Bad, Host::Bad),
        (b"a".repeat(5000), Sni::Bad, Host::Bad),
    ]
}

fn rows() -> Vec<(Vec<u8>, Sni, Host)> {
    let rows = table::rows(ROWS).into_iter().map(|row| {
        let (sni, host) = match row.expect.as_str() {
            "name other" => (Sni::Name, Host::Other),
            "bad other" => (Sni::Bad, Host::Other),
            "bad bad" => (Sni::Bad, Host::Bad),
            other => panic!("{other}"),
        };
        (row.bytes, sni, host)
    });
    rows.chain(long_rows()).collect()
}

#[test]
fn i2_no_hostile_server_name_reaches_anything() {
    inside(|| {
        let town = Town::new();
        let _gateway = town.start();
        for (bytes, sni, _) in rows() {
            let hello = client_hello(&bytes);
            let answer = town
                .world
                .agent
                .block_on(first_bytes((SERVER[0], 443), hello));
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            match sni {
                // A ServerHello, whose leaf is for exactly this name: it gets a page.
                Sni::Name => assert_eq!(answer[..3], [22, 3, 3], "{shown}"),
                // A fatal alert, decode_error.
                Sni::Bad => assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50], "{shown}"),
            }
        }
        town.assert_untouched();
    });
}

/// RFC 6066 section 3: at most one name of a type; and RFC 8446 section 4.2: one extension.
#[test]
fn i2_two_server_names_are_none() {
    inside(|| {
        let town = Town::new();
        let _gateway = town.start();
        let (good, evil) = (&b"good.test"[..], &b"evil.test"[..]);
        for names in [
            &[&[good, evil][..]][..],
            &[&[evil, good]],
            &[&[good, good]],
            &[&[good], &[evil]],
            &[&[evil], &[good]],
            &[&[good], &[good]],
        ] {
            let answer = first_bytes((SERVER[0], 443), hello_of(names));
            let answer = town.world.agent.block_on(answer);
            // An alert, or the end: no ServerHello.
            assert!(
                matches!(answer[..], [] | [21, 3, 3, ..]),
                "{names:?} {answer:?}"
            );
        }
        town.assert_untouched();
    });
}

#[test]
fn i2_no_hostile_host_reaches_anything_over_h1() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        for (bytes, _, host) in rows() {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let field = [b"GET / HTTP/1.1\r\nhost: ", &bytes[..], b"\r\n\r\n"].concat();
            let response = agent.https((SERVER[0], 443), "good.test", &field);
            let expected = match host {
                Host::Other => (421, Some("misdirected")),
                Host::Bad => (400, Some("malformed")),
            };
            assert_eq!((response.status, reason(&response)), expected, "{shown}");
            // In clear there is no name to compare with; there the rule decides.
            let response = agent.http((SERVER[0], 80), &field);
            let denied = matches!(response.status, 400 | 403 | 421);
            assert!(
                denied && reason(&response).is_some(),
                "{shown} {}",
                response.status
            );
            // In absolute form, with a `Host` that is as it should be.
            let line = [
                b"GET https://",
                &bytes[..],
                b"/ HTTP/1.1\r\nhost: good.test\r\n\r\n",
            ];
            let response = agent.https((SERVER[0], 443), "good.test", line.concat());
            let denied = matches!(response.status, 400 | 421);
            assert!(
                denied && reason(&response).is_some(),
                "{shown} {}",
                response.status
            );
        }
        town.assert_untouched();
    });
}

#[test]
fn i2_no_hostile_authority_reaches_anything_over_h2() {
    inside(|| {
        let town = Town::new();
        let gateway = town.start();
        let agent = Agent::new(&town.world, &gateway);
        let probe = |authority: &[u8]| {
            let (tls, bytes) = (agent.h2.clone(), h2_request(authority));
            town.world.agent.block_on(async move {
                let mut stream = tls.connect((SERVER[0], 443), "good.test").await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                end_of_stream(stream).await
            })
        };
        for (bytes, _, host) in rows() {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let end = probe(&bytes);
            match host {
                Host::Other => assert_eq!(end, End::Misdirected, "{shown}"),
                Host::Bad => assert!(
                    matches!(end, End::Malformed | End::Broken),
                    "{shown}: {end:?}"
                ),
            }
        }
        town.assert_untouched();
        // The same bytes with a good name are a good request.
        assert_eq!(probe(b"good.test"), End::Ok);
        assert_eq!(town.good.requests().len(), 1);
    });
}

/// What the gateway says first.
async fn first_bytes(to: (IpAddr, u16), hello: Vec<u8>) -> Vec<u8> {
    let mut stream = client::tcp(to).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    let mut answer = vec![0; 7];
    let read = within(
        "an answer to the ClientHello",
        stream.read_exact(&mut answer),
    )
    .await;
    read.map(|_| answer).unwrap_or_default()
}

/// A ClientHello of TLS 1.2 with these bytes for a name (RFC 5246 section 7.4.1.2).
fn client_hello(name: &[u8]) -> Vec<u8> {
    hello_of(&[&[name]])
}

/// As [`client_hello`], with these names in each `server_name` extension.
fn hello_of(names: &[&[&[u8]]]) -> Vec<u8> {
    let vec16 = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes(), bytes].concat()
    };
    let extension = |kind: u16, data: &[u8]| [&kind.to_be_bytes(), &vec16(data)[..]].concat();
    let entry = |name: &&[u8]| [&[0], &vec16(name)[..]].concat();
    let server_name = |names: &&[&[u8]]| {
        let entries: Vec<u8> = names.iter().flat_map(entry).collect();
        extension(0, &vec16(&entries))
    };
    let extensions = [
        names.iter().flat_map(server_name).collect(),
        extension(10, &vec16(&[0, 29])), // supported_groups: x25519
        extension(11, &[1, 0]),          // ec_point_formats: uncompressed
        extension(13, &vec16(&[4, 3])),  // signature_algorithms: ecdsa_secp256r1_sha256
        extension(16, &vec16(b"\x08http/1.1")), // ALPN
        extension(23, &[]),              // extended_master_secret
    ];
    let body = [
        &[3, 3][..],
        &[7; 32],              // random
        &[0],                  // session_id
        &vec16(&[0xc0, 0x2b]), // ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        &[1, 0],               // no compression
        &vec16(&extensions.concat()),
    ];
    let body = body.concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], &vec16(&message)[..]].concat()
}

/// The preface and `GET https://AUTHORITY/` on stream 1 (RFC 9113, RFC 7541), each octet of
/// the authority as it is.
fn h2_request(authority: &[u8]) -> Vec<u8> {
    let method_scheme_path = [0x82, 0x87, 0x84];
    // Literal without indexing, name 1 (`:authority`), not Huffman-coded.
    let mut block = [&method_scheme_path[..], &[0x01]].concat();
    let mut length = authority.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(authority);
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 0x05, 1, &block),
    ]
    .concat()
}

/// How the request on stream 1 ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// With status 200.
    Ok,
    /// With status 400.
    Malformed,
    /// With status 421.
    Misdirected,
    /// With another status.
    Other,
    /// With `RST_STREAM`, `GOAWAY`, or the connection.
    Broken,
}

async fn end_of_stream(mut stream: impl AsyncReadExt + Unpin) -> End {
    loop {
        let mut head = [0; 9];
        let mut payload = Vec::new();
        let read = within("an HTTP/2 frame", async {
            stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            payload.resize(usize::try_from(length).unwrap(), 0);
            stream.read_exact(&mut payload).await
        });
        if read.await.is_err() {
            return End::Broken;
        }
        match (head[3], head[8]) {
            // Indexed fields of the static table; 421 is a Huffman-coded literal.
            (1, 1) => {
                return match payload[..] {
                    [0x88, ..] => End::Ok,
                    [0x8c, ..] => End::Malformed,
                    [0x48, 0x82, 0x68, 0x41, ..] => End::Misdirected,
                    _ => End::Other,
                };
            }
            (3, 1) | (7, _) => return End::Broken,
            _ => {}
        }
    }
}

//! DNS queries of every kind, good, bad and broken, over both transports.

use std::net::IpAddr;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::common::table::{Row, filled};
use crate::common::world::{GATEWAY, SERVER};
use crate::common::{World, client, inside, within};
use crate::name_server::NameServer;
use crate::table;

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
nameservers = ["203.0.113.2"]
[[agent]]
name = "alice"
sources = ["10.0.1.0/24"]
"#;

const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test", "*.wild.test"]
"#;

const ASKED: u16 = 0x1234;
const LAST: u16 = 0x4321;

/// The row's bytes, and after them a query that is always answered.
fn queries(row: &Row) -> [Vec<u8>; 2] {
    let good = b"\x01\0\0\x01\0\0\0\0\0\0\x04good\x04test\0\0\x01\0\x01";
    [
        filled(&row.bytes, "{id}", &ASKED.to_be_bytes()),
        [&LAST.to_be_bytes(), &good[..]].concat(),
    ]
}

/// What is expected, and what came: code and number of answers, or nothing.
fn assert_reply(row: &Row, reply: Option<&[u8]>) {
    let shown = reply.map(|reply| {
        let reply = Message::from_vec(reply).unwrap();
        let code = u16::from(reply.metadata.response_code);
        format!("{code} {}", reply.answers.len())
    });
    let expected = Some(row.expect.clone()).filter(|expect| expect != "silence");
    assert_eq!(shown, expected, "{}", row.line);
}

async fn over_udp(gateway: IpAddr, row: &Row) {
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    socket.connect((gateway, 53)).await.unwrap();
    let [asked, last] = queries(row);
    socket.send(&asked).await.unwrap();
    socket.send(&last).await.unwrap();
    let mut reply = None;
    let mut done = false;
    // Replies may overtake each other, so both are waited for where both are expected.
    while !done || (reply.is_none() && row.expect != "silence") {
        let mut buffer = vec![0; 4096];
        let length = within("a reply", socket.recv(&mut buffer)).await.unwrap();
        buffer.truncate(length);
        if buffer.starts_with(&LAST.to_be_bytes()) {
            done = true;
        } else {
            reply = Some(buffer);
        }
    }
    assert_reply(row, reply.as_deref());
}

/// On a stream a query that has no answer may end it.
async fn over_tcp(gateway: IpAddr, row: &Row) {
    let mut stream = client::tcp((gateway, 53)).await.unwrap();
    let [asked, last] = queries(row);
    let mut bytes = Vec::new();
    for query in [asked, last] {
        bytes.extend_from_slice(&u16::try_from(query.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&query);
    }
    let _ = stream.write_all(&bytes).await;
    let mut reply = None;
    if let Ok(length) = within("a reply", stream.read_u16()).await {
        let mut buffer = vec![0; length.into()];
        stream.read_exact(&mut buffer).await.unwrap();
        reply = Some(buffer).filter(|reply| !reply.starts_with(&LAST.to_be_bytes()));
    }
    assert_reply(row, reply.as_deref());
}

#[test]
fn i8_no_query_of_an_agent_carries_anything_out() {
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |_, v6| vec![SERVER[usize::from(v6)]]);
        let _gateway = world.gateway_process(CONFIG, &[("rules.toml", RULES)]);
        for row in table("dns") {
            world.agent.block_on(async move {
                over_udp(GATEWAY[0], &row).await;
                over_tcp(GATEWAY[0], &row).await;
            });
        }
        for (name, kind) in server.asked() {
            assert_eq!(name, "good.test", "{kind}");
        }
        assert_eq!(world.leaked(), 0);
    });
}

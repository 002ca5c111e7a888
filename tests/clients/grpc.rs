//! gRPC: the cases of its interop tests between Python's `grpcio` on both sides, and what the
//! gateway's own refusals look like to it.

use serde_json::Value;

use crate::common::Upstream;
use crate::common::world::{OTHER, THIRD};
use crate::python::{Server, file, python};
use crate::{Site, inside, with_site};

const MESSAGES: &str = include_str!("grpc/messages.py");
const SERVER: &str = include_str!("grpc/server.py");
const CLIENT: &str = include_str!("grpc/client.py");

/// As gRPC's `interop-test-descriptions` names them.
const INTEROP: [&str; 18] = [
    "empty_unary",
    "large_unary",
    "client_compressed_unary",
    "server_compressed_unary",
    "client_streaming",
    "client_compressed_streaming",
    "server_streaming",
    "server_compressed_streaming",
    "ping_pong",
    "empty_stream",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
];

/// What a proxy may get wrong beyond them.
const OURS: [&str; 5] = [
    "back_pressure",
    "many_at_once",
    "denied_by_rule",
    "no_rule",
    "http_1_only",
];

/// Starts the server, and one that speaks HTTP/1 only.
fn servers(site: &Site<'_>) -> (Server, Upstream) {
    let text = format!("{MESSAGES}{SERVER}");
    let address = format!("{}:443", OTHER[0]);
    let server = Server::start(site, &text, "grpc.good.test", &address);
    let mut tls = site.world.ca.server(&["h1.good.test"]);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let http1 = Upstream::custom(
        &site.world.internet,
        THIRD,
        443,
        Some(tls),
        |mut stream| async move {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            Ok(())
        },
    );
    (server, http1)
}

/// Runs these cases; each prints its name once it holds.
fn run(site: &Site<'_>, cases: &[&str]) {
    let mut command = site.command(python().get_program());
    command
        .env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &site.ca)
        .arg("-I")
        .arg(file(site, "client.py", &format!("{MESSAGES}{CLIENT}")))
        .args(cases);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output.lines().collect::<Vec<_>>(), cases);
}

#[test]
fn grpc_interop_cases() {
    inside(|| {
        with_site(&["python3", "python: grpc"], |site| {
            let (_server, http1) = servers(site);
            run(site, &[&INTEROP[..], &OURS].concat());
            // Whoever speaks no HTTP/2 is not asked.
            assert!(http1.connections().iter().all(|seen| seen.bytes.is_empty()));
            compressed_calls_are_passed_compressed(site);
            let reason =
                |reason: &'static str| move |record: &Value| record["portreeve.reason"] == reason;
            let cancelled = site.gateway.wait_records(2, reason("agent_closed"));
            assert!(
                cancelled
                    .iter()
                    .all(|record| record["portreeve.credential"] == "api")
            );
            site.gateway.wait_records(2, reason("denied_by_rule"));
            site.gateway.wait_records(1, reason("no_rule"));
            site.gateway.wait_records(1, reason("no_http2"));
        });
    });
}

/// 271,828 zeros up or 314,159 down are next to nothing in gzip: some calls were that small.
fn compressed_calls_are_passed_compressed(site: &Site<'_>) {
    let small = |key: &'static str| {
        move |record: &Value| {
            let unary = record["url.path"] == "/grpc.testing.TestService/UnaryCall";
            unary && record[key].as_u64().is_some_and(|size| size < 10_000)
        }
    };
    site.gateway
        .wait_records(1, small("http.request.body.size"));
    site.gateway
        .wait_records(1, small("http.response.body.size"));
}

//! What was recorded, counted and received.

use std::time::Instant;

use serde_json::Value;

use crate::common::{DEADLINE, GatewayProcess, Request, Upstream};

/// The one record of a request to this path.
pub fn record(gateway: &GatewayProcess<'_>, path: &str) -> Value {
    let of_path = |record: &Value| record["url.path"] == path;
    let records = gateway.wait_records(1, of_path);
    assert_eq!(records.len(), 1, "{records:#?}");
    records[0].clone()
}

/// The reason of the one record of a request to this path.
pub fn reason(gateway: &GatewayProcess<'_>, path: &str) -> String {
    let record = record(gateway, path);
    record["portreeve.reason"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

/// Waits for records with this reason.
pub fn wait_reason(gateway: &GatewayProcess<'_>, count: usize, reason: &str) -> Vec<Value> {
    gateway.wait_records(count, |record| record["portreeve.reason"] == reason)
}

/// Waits until a metric is as it should be.
pub fn wait_metric(
    gateway: &GatewayProcess<'_>,
    family: &str,
    labels: &[(&str, &str)],
    wanted: impl Fn(f64) -> bool,
) {
    let begun = Instant::now();
    loop {
        let value = gateway.metric(family, labels);
        if wanted(value) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{family} is still {value}");
    }
}

/// Everything this server received is whole requests, one after the other; what is left of a
/// broken one was never complete. Returns their targets.
pub fn well_framed_targets(server: &Upstream) -> Vec<String> {
    let mut targets = Vec::new();
    for connection in server.connections() {
        let mut rest = &connection.bytes[..];
        while let Some((request, length)) = Request::parse(rest) {
            targets.push(request.target);
            rest = &rest[length..];
        }
        let shown = String::from_utf8_lossy(rest);
        let begun = shown.lines().filter(|line| line.ends_with("HTTP/1.1"));
        assert!(begun.count() <= 1, "one request hides in another: {shown}");
    }
    targets
}

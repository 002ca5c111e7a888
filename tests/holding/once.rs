//! I12: exactly one record for each request, however it ends.

use serde_json::Value;

use crate::common::{Answer, GatewayProcess, World, inside};
use crate::frames::{HEADERS, RST_STREAM, Raw, get};
use crate::lab::{
    Agents, Alice, Gate, good, h1, h1_custom, holding, next_request, record, start, wait_metric,
    write,
};

/// One record and no more for each of these paths, and all numbers agree.
fn once(gateway: &GatewayProcess<'_>, paths: &[(&str, &str)]) {
    wait_metric(gateway, "portreeve_audit_reserved_records", &[], |n| {
        n < 1.0
    });
    for (path, reason) in paths {
        let record = record(gateway, path);
        assert_eq!(
            record["portreeve.reason"].as_str().unwrap_or("none"),
            *reason,
            "{path}"
        );
    }
    let requests = |record: &Value| record["portreeve.record.kind"] == "request";
    let count = gateway.wait_records(paths.len(), requests).len();
    assert_eq!(count, paths.len(), "{:#?}", gateway.audit_records());
    assert!(gateway.metric("portreeve_audit_abandoned_total", &[]) < 0.5);
    assert!(gateway.metric("portreeve_audit_lost_total", &[]) < 0.5);
    let counted = gateway.metric("portreeve_agent_requests_total", &[("agent", "alice")]);
    assert!(
        (counted - f64::from(u32::try_from(count).unwrap())).abs() < 0.5,
        "{counted}"
    );
    assert!(gateway.metric("portreeve_panics_total", &[]) < 0.5);
}

#[test]
fn i12_one_record_for_each_request_that_the_agent_breaks_off() {
    inside(|| {
        let world = World::new();
        let server = holding(&world, &Gate::new());
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let arrived = |path: &'static str| {
            server.wait_connection(path, |c| {
                c.bytes
                    .windows(path.len())
                    .any(|part| part == path.as_bytes())
            });
        };
        let mut closes = agents.h1(Alice, "h1.test");
        closes
            .send("GET /hold-close HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        arrived("/hold-close");
        drop(closes);
        // In the middle of a body that is held, and of one that streams.
        for length in ["10", "1000000"] {
            let mut half = agents.h1(Alice, "h1.test");
            let head = format!("POST /half-{length} HTTP/1.1\r\nhost: h1.test\r\n");
            half.send(format!("{head}content-length: {length}\r\n\r\nhello"))
                .unwrap();
            half.finish();
            drop(half);
        }
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        raw.headers(1, &get("h1.test", "/hold-reset"), true);
        arrived("/hold-reset");
        raw.reset(1);
        raw.headers(3, &get("h1.test", "/hold-gone"), true);
        arrived("/hold-gone");
        drop(raw);
        once(
            &gateway,
            &[
                ("/hold-close", "agent_closed"),
                ("/half-10", "agent_closed"),
                ("/half-1000000", "agent_closed"),
                ("/hold-reset", "agent_closed"),
                ("/hold-gone", "agent_closed"),
            ],
        );
        // And the server hears of each: nothing runs on for nobody.
        let gone = |connections: Vec<crate::common::upstream::Connection>| {
            connections.iter().all(|connection| connection.closed)
        };
        while !gone(server.connections()) {
            world.settle();
        }
    });
}

#[test]
fn i12_one_record_for_each_response_that_the_agent_breaks_off() {
    inside(|| {
        let world = World::new();
        h1_custom(&world, |mut stream| async move {
            let mut buffer = Vec::new();
            while next_request(&mut stream, &mut buffer).await?.is_some() {
                let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello";
                write(&mut stream, half.as_bytes()).await?;
            }
            Ok(())
        });
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut one = agents.h1(Alice, "h1.test");
        one.send("GET /one HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        one.read_until(b"hello").unwrap();
        drop(one);
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        for (stream, path) in [(1, "/two"), (3, "/three")] {
            raw.headers(stream, &get("h1.test", path), true);
            assert_eq!(raw.fate(stream).unwrap().kind, HEADERS);
            if stream == 1 {
                raw.reset(1);
            }
        }
        drop(raw);
        let closed = "agent_closed";
        once(
            &gateway,
            &[("/one", closed), ("/two", closed), ("/three", closed)],
        );
    });
}

#[test]
fn i12_one_record_for_each_request_that_the_server_breaks_off() {
    inside(|| {
        let world = World::new();
        good(&world);
        h1(&world, |request| match request.target.as_str() {
            "/nothing" | "/nothing2" => Answer::raw(""),
            "/head" => Answer::raw("HTTP/1.1 200 OK\r\nx: "),
            _ => Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
        });
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        assert_eq!(
            agents.h1(Alice, "h1.test").get("/nothing").unwrap().status,
            502
        );
        assert_eq!(
            agents.h1(Alice, "h1.test").get("/head").unwrap().status,
            502
        );
        agents.h1(Alice, "h1.test").get("/half").unwrap_err();
        let mut raw = Raw::new(&agents, Alice, "h1.test");
        raw.headers(1, &get("h1.test", "/nothing2"), true);
        assert_eq!(raw.fate(1).unwrap().kind, HEADERS);
        raw.headers(3, &get("h1.test", "/half2"), true);
        while raw.fate(3).unwrap().kind != RST_STREAM {}
        assert_eq!(
            agents.h2(Alice, "good.test").get("/good").unwrap().status,
            200
        );
        let closed = "upstream_closed";
        once(
            &gateway,
            &[
                ("/nothing", closed),
                ("/head", closed),
                ("/half", closed),
                ("/nothing2", closed),
                ("/half2", closed),
                ("/good", "none"),
            ],
        );
    });
}

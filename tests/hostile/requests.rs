//! Paths and fields: which arrive, and as what.

use crate::common::table::Row;
use crate::common::{Upstream, World, inside};
use crate::frames::{Raw, get};
use crate::http2::is_ok;
use crate::lab::{Agents, Alice, Client, config, echo, good, h1};
use crate::table;

const PATHS: &str = r#"
[[rule]]
name = "public"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/pub/**"]
"#;

/// The targets that arrived, and those that should have.
fn assert_arrived(server: &Upstream, passed: &[String]) {
    let targets: Vec<_> = server.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, passed);
}

#[test]
fn i7_paths_over_h1() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", PATHS)]);
        let agents = Agents::new(&world, &gateway);
        let mut passed = Vec::new();
        for row in table("paths") {
            let target = String::from_utf8(row.bytes.clone()).unwrap();
            let mut client = agents.h1(Alice, "h1.test");
            let response = client.get(&target).unwrap();
            let expected = if row.expect == "pass" {
                passed.push(target);
                200
            } else {
                row.expect.parse().unwrap()
            };
            assert_eq!(response.status, expected, "{}", row.line);
        }
        assert_arrived(&server, &passed);
    });
}

#[test]
fn i7_paths_over_h2() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", PATHS)]);
        let agents = Agents::new(&world, &gateway);
        let mut passed = Vec::new();
        for row in table("paths") {
            let target = String::from_utf8(row.bytes.clone()).unwrap();
            let mut raw = Raw::new(&agents, Alice, "good.test");
            raw.headers(1, &get("good.test", &target), true);
            assert_eq!(is_ok(&mut raw, 1), row.expect == "pass", "{}", row.line);
            if row.expect == "pass" {
                passed.push(target);
            }
        }
        assert_arrived(&server, &passed);
    });
}

const CANARY: &str = "canary-5d1f0c77a2";
const CREDENTIAL: &str = r#"
[[credential]]
name = "canary"
secret = { env = "CANARY" }
hosts = ["h1.test"]
attach = { header = "x-api-key" }
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["h1.test"]
credential = "canary"
"#;

fn exchange(client: &mut Client<'_>, row: &Row) -> u16 {
    let head = b"GET /open HTTP/1.1\r\nhost: h1.test\r\n";
    let request = [&head[..], &row.bytes, b"\r\n\r\n"].concat();
    let mut response = client.exchange(request).unwrap();
    while response.status < 200 {
        response = client.response().unwrap();
    }
    response.status
}

#[test]
fn i4_no_field_of_an_agent_changes_who_asks_or_what_for() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world
            .gateway_builder(&config("", ""))
            .rule("rules.toml", CREDENTIAL)
            .env("CANARY", CANARY)
            .start();
        let agents = Agents::new(&world, &gateway);
        let mut arrived = 0;
        for row in table("headers") {
            let mut client = agents.h1(Alice, "h1.test");
            let status = exchange(&mut client, &row);
            if row.expect == "400" {
                assert_eq!(status, 400, "{}", row.line);
                assert_eq!(server.requests().len(), arrived, "{}", row.line);
                continue;
            }
            assert_eq!(status, 200, "{}", row.line);
            arrived += 1;
            let requests = server.requests();
            assert_eq!(requests.len(), arrived);
            let request = requests.last().unwrap();
            assert_eq!(request.header_all("x-api-key"), [CANARY], "{}", row.line);
            if let Some(name) = row.expect.strip_prefix('-') {
                assert_eq!(request.header_all(name), [""; 0], "{}", row.line);
            } else {
                let (name, value) = row.expect.split_once('=').unwrap();
                let value = value.replace("CANARY", CANARY);
                assert_eq!(request.header_all(name), [value], "{}", row.line);
            }
        }
    });
}

//! HTTP/1 in both directions: requests, chunked bodies, and what servers answer.

use std::io;

use crate::common::table::{Row, filled};
use crate::common::wire::Response;
use crate::common::{Answer, Upstream, World, inside};
use crate::lab::{
    ANYTHING, Agents, Alice, Client, config, echo, good, h1, reason, well_framed_targets,
};
use crate::table;

/// `/denied` is what attackers try to reach.
const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test", "h1.test"]
paths = ["/open"]
"#;

/// A request that must never be seen as one.
const HIDDEN: &str = "GET /denied HTTP/1.1\r\nhost: h1.test\r\n\r\n";

/// After a row that is refused the connection is over, if its end could not be told.
fn assert_over(client: &mut Client<'_>, response: &Response, row: &Row) {
    if row.expect == "400" {
        assert_eq!(response.header("connection"), Some("close"), "{}", row.line);
        assert!(client.read_to_close().is_empty(), "{}", row.line);
    }
}

#[test]
fn i7_a_request_with_two_readings_reaches_no_server() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let mut passed = 0;
        for row in table("http1_requests") {
            let mut client = agents.h1(Alice, "h1.test");
            let request = filled(&row.bytes, "{H}", b"host: h1.test\r\n");
            let response = client.exchange([&request, HIDDEN.as_bytes()].concat());
            let response = response.unwrap_or_else(|error| panic!("{}: {error}", row.line));
            let expected = match row.expect.as_str() {
                "pass" => 200,
                status => status.trim_start_matches("open ").parse().unwrap(),
            };
            assert_eq!(
                response.status,
                expected,
                "{} {}",
                row.line,
                response.text()
            );
            assert_over(&mut client, &response, &row);
            passed += usize::from(expected == 200);
            assert_eq!(server.requests().len(), passed, "{}", row.line);
        }
        assert_eq!(well_framed_targets(&server), vec!["/open"; passed]);
    });
}

#[test]
fn i7_a_body_with_two_readings_never_ends_well_at_the_server() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            let mut passed = 0;
            for row in table("http1_chunks") {
                let mut client = agents.h1(Alice, name);
                let head = format!(
                    "POST /open HTTP/1.1\r\nhost: {name}\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                let bytes = [head.as_bytes(), &row.bytes, HIDDEN.as_bytes()].concat();
                let response = client.exchange(bytes).unwrap();
                if row.expect == "pass" {
                    passed += 1;
                    assert_eq!(response.status, 200, "{}", row.line);
                    let last = server.requests().pop().unwrap();
                    assert_eq!(last.body, b"hello", "{}", row.line);
                    // Trailers route, frame and authenticate nothing.
                    for name in ["authorization", "host", "content-length"] {
                        let field = crate::common::wire::field(&last.trailers, name);
                        assert_eq!(field, None, "{}", row.line);
                    }
                } else {
                    assert_eq!(response.status.to_string(), row.expect, "{}", row.line);
                    assert_over(&mut client, &response, &row);
                }
                assert_eq!(server.requests().len(), passed, "{name}: {}", row.line);
            }
        }
        let targets = well_framed_targets(&servers[1]);
        assert_eq!(targets, vec!["/open"; servers[1].requests().len()]);
    });
}

/// `h1.test` that answers `/N` with the Nth of these.
fn scripted(world: &World, answers: Vec<Vec<u8>>) -> Upstream {
    h1(world, move |request| {
        let number: usize = request.target[1..].parse().unwrap();
        Answer::raw(answers[number % 1000].clone())
    })
}

/// The final response.
fn get(client: &mut Client<'_>, path: &str) -> io::Result<Response> {
    let mut response = client.get(path)?;
    while response.status < 200 {
        response = client.response()?;
    }
    Ok(response)
}

fn judge(row: &Row, response: io::Result<Response>) {
    match row.expect.as_str() {
        "502" => assert_eq!(response.unwrap().status, 502, "{}", row.line),
        "cut" | "garbled" => assert!(response.is_err(), "{}: {response:?}", row.line),
        "pass" => {
            let response = response.unwrap();
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "hello"),
                "{}",
                row.line
            );
            assert!(response.trailers.is_empty(), "{}", row.line);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn i7_a_response_with_two_readings_reaches_no_agent() {
    inside(|| {
        let world = World::new();
        let rows = table("http1_responses");
        let answers = rows.iter().map(|row| row.bytes.clone()).collect();
        let server = scripted(&world, answers);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", ANYTHING)]);
        let agents = Agents::new(&world, &gateway);
        let two = agents.h2(Alice, "h1.test");
        for (number, row) in rows.iter().enumerate() {
            let paths = [format!("/{number}"), format!("/{}", number + 1000)];
            judge(row, get(&mut agents.h1(Alice, "h1.test"), &paths[0]));
            judge(row, two.get(&paths[1]).map_err(io::Error::other));
            let expected = match row.expect.as_str() {
                "502" | "garbled" => "upstream_malformed",
                "cut" => "upstream_closed",
                _ => continue,
            };
            for path in paths {
                assert_eq!(reason(&gateway, &path), expected, "{path}: {}", row.line);
            }
        }
        // Not one was asked for twice.
        assert_eq!(server.requests().len(), 2 * rows.len());
    });
}

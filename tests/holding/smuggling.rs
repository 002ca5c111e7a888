//! I7: no request hides in another. HTTP/1, byte by byte.

use crate::common::{World, inside};
use crate::lab::{Agents, Alice, config, echo, good, h1, well_framed_targets};

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

#[test]
fn i7_a_request_in_a_body_stays_a_body() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            let mut client = agents.h1(Alice, name);
            for method in ["GET", "POST", "DELETE"] {
                let host = format!("{method} /open HTTP/1.1\r\nhost: {name}\r\n");
                let length = HIDDEN.len();
                for rest in [
                    format!("content-length: {length}\r\n\r\n{HIDDEN}"),
                    format!("transfer-encoding: chunked\r\n\r\n{chunk}"),
                ] {
                    let response = client.exchange(host.clone() + &rest).unwrap();
                    assert_eq!(response.text(), format!("{method} /open"));
                }
            }
            let requests = server.requests();
            assert_eq!(requests.len(), 6, "{name}");
            for request in requests {
                assert_eq!(
                    (request.target.as_str(), request.body.as_slice()),
                    ("/open", HIDDEN.as_bytes())
                );
            }
        }
        assert_eq!(well_framed_targets(&servers[1]).len(), 6);
    });
}

#[test]
fn i7_a_pipelined_request_is_judged_by_itself() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        let open = "POST /open HTTP/1.1\r\nhost: h1.test\r\ncontent-length: 5\r\n\r\nhello";
        client.send(format!("{open}{HIDDEN}{open}")).unwrap();
        let statuses = [(); 3].map(|()| client.response().unwrap().status);
        assert_eq!(statuses, [200, 403, 200]);
        assert_eq!(well_framed_targets(&server), ["/open", "/open"]);
    });
}

#[test]
fn i7_a_request_of_http_0_9_gets_nothing() {
    inside(|| {
        let world = World::new();
        let server = h1(&world, echo);
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        let response = client.exchange("GET /open\r\n\r\n").unwrap();
        assert_eq!(response.status, 400);
        client.read_to_close();
        assert!(server.connections().is_empty());
    });
}

//! SIGTERM: what runs comes to its end, nothing new begins, and there is an end to that.

use std::io;

use rustix::process::Signal;

use crate::common::client;
use crate::common::world::SERVER;
use crate::common::{GatewayProcess, World, inside};
use crate::frames::{GOAWAY, HEADERS, Raw, get};
use crate::lab::{Agents, Alice, Client, Gate, holding, reason, start};

/// A request that `h1.test` has and does not answer.
fn in_flight<'w>(agents: &Agents<'w>, server: &crate::common::Upstream) -> Client<'w> {
    let mut client = agents.h1(Alice, "h1.test");
    client
        .send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
        .unwrap();
    server.wait_connection("the request", |connection| {
        connection.bytes.starts_with(b"GET /hold")
    });
    client
}

/// Waits until a dial is refused by the kernel: nobody listens any more.
fn wait_refused(agents: &Agents<'_>, gateway: &GatewayProcess<'_>) {
    gateway.wait_log("draining");
    loop {
        let dialled = agents.ns.block_on(client::tcp((SERVER[0], 443)));
        match dialled {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            // Still in the backlog of the socket that is being closed: not served either.
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn sigterm_lets_a_running_request_end_and_refuses_new_connections() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let mut gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut one = in_flight(&agents, &server);
        let mut idle = agents.h1(Alice, "h1.test");
        assert_eq!(idle.get("/idle").unwrap().status, 200);
        let mut two = Raw::new(&agents, Alice, "h1.test");
        two.headers(1, &get("h1.test", "/hold2"), true);
        server.wait_connection("it", |c| c.bytes.windows(6).any(|part| part == b"/hold2"));
        gateway.signal(Signal::TERM);
        wait_refused(&agents, &gateway);
        // A connection without a request ends; HTTP/2 says that it is going away.
        assert!(idle.read_to_close().is_empty());
        while two.next().unwrap().kind != GOAWAY {}
        assert_eq!(gateway.admin("/readyz").0, 503);
        gate.open();
        let response = one.response().unwrap();
        assert_eq!(response.text(), "GET /hold");
        assert!(one.read_to_close().is_empty());
        while two.next().unwrap().kind != HEADERS {}
        drop(two);
        assert_eq!(gateway.wait_exit().code(), Some(0));
        assert_eq!(reason(&gateway, "/hold"), "none");
        assert_eq!(reason(&gateway, "/hold2"), "none");
        let last = gateway.audit_records().pop().unwrap();
        assert_eq!(last["portreeve.record.kind"], "stop");
    });
}

#[test]
fn sigterm_cuts_off_what_still_runs_after_the_drain_time() {
    inside(|| {
        let world = World::new();
        let server = holding(&world, &Gate::new());
        let mut gateway = start(&world, "[timeouts]\ndrain = \"100ms\"\n");
        let agents = Agents::new(&world, &gateway);
        let mut client = in_flight(&agents, &server);
        assert_eq!(gateway.terminate().code(), Some(0));
        assert!(gateway.log().contains("the drain time is over"));
        assert!(client.response().is_err());
        // What was cut off is not lost: its record is there.
        assert_eq!(reason(&gateway, "/hold"), "draining");
        let records = gateway.audit_records();
        assert_eq!(records.last().unwrap()["portreeve.record.kind"], "stop");
    });
}

//! I6: when a connection to a server may be used again, and what happens when the server
//! thinks otherwise.

use tokio::io::AsyncWriteExt;

use crate::common::{Upstream, World, inside};
use crate::lab::{
    ANYTHING, Agents, Alice, Bob, Gate, config, echo, good, h1, h1_custom, next_request, reason,
    start, well_framed_targets, write,
};

/// What a server does with the second request on its first connection.
#[derive(Clone, Copy)]
enum Second {
    /// Closes once it has read it.
    CloseAfter,
    /// Had closed before it came.
    CloseBefore,
}

/// `h1.test` whose first connection is of no use for a second request.
fn forgetful(world: &World, second: Second) -> Upstream {
    h1_custom(world, move |mut stream| async move {
        let mut buffer = Vec::new();
        let mut served = 0;
        while let Some(request) = next_request(&mut stream, &mut buffer).await? {
            if stream.index == 0 && served == 1 {
                return stream.shutdown().await;
            }
            write(&mut stream, &echo(&request).to_h1()).await?;
            served += 1;
            if stream.index == 0 && matches!(second, Second::CloseBefore) {
                return stream.shutdown().await;
            }
        }
        Ok(())
    })
}

#[test]
fn i6_a_get_is_sent_again_where_the_server_closed_an_idle_connection() {
    inside(|| {
        let world = World::new();
        let server = forgetful(&world, Second::CloseAfter);
        let gateway = start(&world, "");
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        assert_eq!(client.get("/first").unwrap().text(), "GET /first");
        assert_eq!(client.get("/second").unwrap().text(), "GET /second");
        // Lost once, sent once more, and no third time.
        let targets = well_framed_targets(&server);
        assert_eq!(targets, ["/first", "/second", "/second"]);
        assert_eq!(reason(&gateway, "/second"), "none");
    });
}

#[test]
fn i6_a_post_is_not_sent_again_once_it_left() {
    inside(|| {
        let world = World::new();
        let server = forgetful(&world, Second::CloseAfter);
        let gateway = start(&world, "");
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        assert_eq!(client.post("/first", "1").unwrap().status, 200);
        assert_eq!(client.post("/second", "2").unwrap().status, 502);
        assert_eq!(well_framed_targets(&server), ["/first", "/second"]);
        assert_eq!(reason(&gateway, "/second"), "upstream_closed");
    });
}

#[test]
fn i6_a_connection_known_to_be_closed_is_not_used() {
    inside(|| {
        let world = World::new();
        let server = forgetful(&world, Second::CloseBefore);
        let gateway = start(&world, "");
        let mut client = Agents::new(&world, &gateway).h1(Alice, "h1.test");
        assert_eq!(client.post("/first", "1").unwrap().status, 200);
        server.wait_connection("an end", |connection| connection.closed);
        // The end has reached the gateway before the next request does.
        world.settle();
        assert_eq!(client.post("/second", "2").unwrap().status, 200);
        let connections = server.connections();
        assert_eq!(well_framed_targets(&server), ["/first", "/second"]);
        assert_eq!(connections.len(), 2);
    });
}

/// `h1.test` that follows its first answer with one that nobody asked for: at once, or when
/// the gate opens.
fn talkative(world: &World, later: Option<Gate>, sent: Gate) -> Upstream {
    const EXTRA: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    h1_custom(world, move |mut stream| {
        let (later, sent) = (later.clone(), sent.clone());
        async move {
            let mut buffer = Vec::new();
            while let Some(request) = next_request(&mut stream, &mut buffer).await? {
                let mut answer = echo(&request).to_h1();
                if stream.index == 0 && later.is_none() {
                    answer.extend_from_slice(EXTRA);
                }
                write(&mut stream, &answer).await?;
                if let (0, Some(later)) = (stream.index, &later) {
                    later.passed().await;
                    write(&mut stream, EXTRA).await?;
                }
                sent.open();
            }
            Ok(())
        }
    })
}

#[test]
fn i6_a_response_nobody_asked_for_reaches_nobody() {
    inside(|| {
        for waits in [false, true] {
            let world = World::new();
            let (later, sent) = (Gate::new(), Gate::new());
            let server = talkative(&world, waits.then(|| later.clone()), sent.clone());
            // Agents that share are hit hardest.
            let rules = format!("{ANYTHING}share_upstream = true\n");
            let gateway = world.gateway_process(&config("", ""), &[("rules.toml", &rules)]);
            let agents = Agents::new(&world, &gateway);
            let alice = agents.h1(Alice, "h1.test").get("/alice").unwrap();
            assert_eq!(alice.text(), "GET /alice");
            later.open();
            world.internet.block_on(async move { sent.passed().await });
            world.settle();
            let bob = agents.h1(Bob, "h1.test").get("/bob").unwrap();
            assert_eq!(bob.text(), "GET /bob", "extra later: {waits}");
            assert_eq!(server.connections().len(), 2, "extra later: {waits}");
        }
    });
}

#[test]
fn i6_old_connections_take_no_new_requests() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = start(&world, "[timeouts]\nupstream_age = \"1ms\"\n");
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            let mut client = agents.h1(Alice, name);
            let renewed = (0..1000).any(|_| {
                assert_eq!(client.get("/").unwrap().status, 200);
                server.connections().len() > 1
            });
            assert!(renewed, "{name}: 1000 requests on a connection of 1 ms");
        }
    });
}

#[test]
fn i6_young_connections_are_used_again() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        for (server, name) in servers.iter().zip(["good.test", "h1.test"]) {
            for _ in 0..20 {
                assert_eq!(agents.h1(Alice, name).get("/").unwrap().status, 200);
            }
            assert_eq!(server.connections().len(), 1, "{name}");
        }
    });
}

//! I9: floods and slow attacks of one agent, while another one is served.
//!
//! Each attack is bounded in what it sends and in time; nothing is asserted on how long
//! anything takes. What a deadline does to a slow client is in tests/holding/timeouts.rs.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod common;

#[path = "floods/attacks.rs"]
mod attacks;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/frames.rs"]
mod frames;
#[path = "load/gauge.rs"]
mod gauge;
#[allow(dead_code, unused_imports, reason = "also used by others")]
#[path = "holding/lab.rs"]
mod lab;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/seen.rs"]
mod seen;

use std::io;

use attacks::{ATTACKS, Attacker};
use common::client::{H1, Tls};
use common::upstream::Stream;
use common::wire::Answer;
use common::world::SERVER;
use common::{World, inside};
use gauge::{descriptors, memory, wait_descriptors};
use lab::{ANYTHING, config, good, h1_custom, next_request, write};
use seen::wait_metric;

const LIMITS: &str = r#"
[limits]
connections_per_agent = 150
[timeouts]
# So that "back to the baseline" does not mean a minute later.
upstream_idle = "1s"
"#;

/// Requests of the well-behaved agent during each attack, and on how many connections.
const REQUESTS: usize = 100;
const CONNECTIONS: usize = 5;

/// The server that attacks are about: long bodies, and interim responses without end.
async fn hostile(mut stream: Stream) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut buffer).await? {
        match request.target.as_str() {
            "/big" => write(&mut stream, &Answer::ok(vec![b'x'; 4 << 20]).to_h1()).await?,
            // Ends when the gateway closes.
            "/interim" => loop {
                write(
                    &mut stream,
                    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                )
                .await?;
            },
            _ => write(&mut stream, &Answer::ok("fine").to_h1()).await?,
        }
    }
    Ok(())
}

/// How many of the well-behaved agent's requests are answered as they should be.
async fn served(tls: Tls) -> usize {
    let mut served = 0;
    for _ in 0..CONNECTIONS {
        let Ok(stream) = tls.connect((SERVER[1], 443), "good.test").await else {
            continue;
        };
        let mut client = H1::new(stream);
        for _ in 0..REQUESTS / CONNECTIONS {
            let request = "GET /well HTTP/1.1\r\nhost: good.test\r\n\r\n";
            match client.exchange(request).await {
                Ok(response) if response.status == 200 => served += 1,
                other => println!("not served: {other:?}"),
            }
        }
    }
    served
}

#[test]
fn i9_under_every_flood_another_agent_is_served() {
    inside(|| {
        let world = World::new();
        good(&world);
        h1_custom(&world, hostile);
        let gateway = world.gateway_process(&config("", LIMITS), &[("rules.toml", ANYTHING)]);
        let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
        let attacker = Attacker::new(&gateway.ca_pem());
        let baseline = descriptors(&gateway);
        let warm = tls.clone();
        let warmed = world.agent.block_on(async move { served(warm).await });
        assert_eq!(warmed, REQUESTS);
        let before = memory(gateway.pid());
        for (name, attack) in ATTACKS {
            let (attacker, tls) = (attacker.clone(), tls.clone());
            let served = world.agent.block_on(async move {
                let (held, served) = tokio::join!(attack(attacker), served(tls));
                drop(held);
                served
            });
            assert!(served * 100 >= REQUESTS * 99, "{name}: {served}");
            // All that the attacker held is gone with it.
            wait_metric(&gateway, "portreeve_connections_active", &[], |n| n < 0.5);
        }
        wait_descriptors(&gateway, baseline);
        let after = memory(gateway.pid());
        assert!(after < before + 48 * 1024, "from {before} to {after} KiB");
        assert!(gateway.metric("portreeve_panics_total", &[]) < 0.5);
        assert_eq!(world.leaked(), 0);
    });
}

//! What a request takes from the allocator, on the whole way through the gateway: a guard on
//! its speed that does not depend on how fast or busy the machine is.
//!
//! The gateway runs on one thread of this process, and only that thread is counted; agent and
//! server have threads of their own. The bounds lie a little above what was measured. Where a
//! change needs more, raise the bound in the commit that needs it and say there what for;
//! where one needs less, lower it, so that the gain is kept.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_enum_variant,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use common::client::{H1, H2, Tls};
use common::world::SERVER;
use common::{Answer, Upstream, World, inside};
use portreeve::config::{Env, load};
use portreeve::gateway::assemble::{assemble, bind};
use portreeve::gateway::{DrainSignal, serve};
use portreeve::metrics::Metrics;

/// How often the counted thread allocated, and how many bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    times: u64,
    bytes: u64,
}

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { times: 0, bytes: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    // Fails only while a thread ends, which no counted one does.
    let _ = TAKEN.try_with(|taken| {
        let before = taken.get();
        taken.set(Taken {
            times: before.times + 1,
            bytes: before.bytes + bytes as u64,
        });
    });
}

// SAFETY: everything is the system allocator's work; counting touches nothing of it and
// allocates nothing itself (a `Cell` made at compile time).
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"good.test" = ["203.0.113.10"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

/// Everything on: credential, detectors, the look for echoes, the audit log, metrics.
const RULES: &str = r#"
[[credential]]
name   = "good"
secret = { file = "../secret" }
hosts  = ["good.test"]
attach = { header = "x-api-key" }
[[rule]]
name   = "good"
agents = ["builder"]
hosts  = ["good.test"]
paths  = ["/v1/**"]
credential = "good"
dlp    = "default"
"#;

/// Connections are made, caches filled and metrics' series there after so many.
const WARM: usize = 32;
const COUNTED: usize = 256;

/// What one of [`COUNTED`] requests takes by the gateway's thread.
fn measure(alpn: &'static str) -> Taken {
    let world = World::new();
    let mut tls = world.ca.server(&["good.test"]);
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let body = vec![b'x'; 1024];
    let server = Upstream::https(&world.internet, SERVER, 443, tls, move |_| {
        Answer::ok(body.clone())
    });
    drop(
        world
            .gateway_builder(CONFIG)
            .rule("rules.toml", RULES)
            .secret("secret", "canary-5d1c80e2b7f94a36"),
    );
    world.apply_table();
    let folder = world.path("gateway");
    let (ca_pem, drain) = world.gateway.block_on(async move {
        let state = folder.join("state");
        let env = Env::fixed(&folder, [("STATE_DIRECTORY", state.to_str().unwrap())]);
        let loaded = load(Some(&folder.join("portreeve.toml")), &env)
            .unwrap_or_else(|findings| panic!("{findings}"));
        let sockets = bind(&loaded.config).unwrap();
        let gateway = assemble(loaded, Arc::new(Metrics::new())).await.unwrap();
        let ca_pem = gateway.leaves.ca().root_pem();
        let (signal, drain) = DrainSignal::new();
        tokio::spawn(serve(gateway, sockets.transparent, drain));
        (ca_pem, signal)
    });
    let tls = Tls::new(&ca_pem, &[alpn]);
    let agent = world
        .agent
        .block_on(async move { Agent::new(&tls, SERVER[0], alpn).await });
    let agent = requests(&world, agent, WARM);
    let before = taken(&world);
    let agent = requests(&world, agent, COUNTED);
    let after = taken(&world);
    world.agent.block_on(async move { drop(agent) });
    drain.begin();
    let seen = server.requests();
    assert_eq!(seen.len(), WARM + COUNTED);
    assert!(
        seen.iter()
            .all(|request| request.header("x-api-key") == Some("canary-5d1c80e2b7f94a36"))
    );
    Taken {
        times: (after.times - before.times) / COUNTED as u64,
        bytes: (after.bytes - before.bytes) / COUNTED as u64,
    }
}

fn taken(world: &World) -> Taken {
    world.gateway.block_on(async { TAKEN.with(Cell::get) })
}

fn requests(world: &World, mut agent: Agent, count: usize) -> Agent {
    world.agent.block_on(async move {
        for _ in 0..count {
            agent.request().await;
        }
        agent
    })
}

/// One connection, one request after the other.
enum Agent {
    H1(H1<common::client::TlsStream<tokio::net::TcpStream>>),
    H2(H2),
}

impl Agent {
    async fn new(tls: &Tls, server: IpAddr, alpn: &str) -> Self {
        let stream = tls.connect((server, 443), "good.test").await.unwrap();
        match alpn {
            "h2" => Self::H2(H2::new(stream).await.unwrap()),
            _ => Self::H1(H1::new(stream)),
        }
    }

    async fn request(&mut self) {
        let response = match self {
            Self::H1(client) => client
                .exchange("GET /v1/models HTTP/1.1\r\nHost: good.test\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
                .await
                .unwrap(),
            Self::H2(client) => client.get("https://good.test/v1/models").await.unwrap(),
        };
        assert_eq!((response.status, response.body.len()), (200, 1024));
    }
}

fn assert_within(taken: Taken, bound: Taken) {
    println!("a request takes {taken:?}, the bound is {bound:?}");
    assert!(
        taken.times <= bound.times && taken.bytes <= bound.bytes,
        "a request takes {taken:?}, more than {bound:?}; see the top of this file"
    );
}

#[test]
fn an_http_1_request_takes_few_allocations() {
    inside(|| {
        let bound = Taken {
            times: 45,
            bytes: 11 << 10,
        };
        assert_within(measure("http/1.1"), bound);
    });
}

#[test]
fn an_http_2_request_takes_few_allocations() {
    inside(|| {
        let bound = Taken {
            times: 40,
            bytes: 14 << 10,
        };
        assert_within(measure("h2"), bound);
    });
}

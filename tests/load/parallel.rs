//! Two hundred connections at once and ten thousand requests, without an error.

use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::{join_all, try_join_all};

use crate::common::client::{H1, H2};
use crate::common::world::SERVER;
use crate::common::{World, inside};
use crate::gauge::{descriptors, wait_descriptors};
use crate::{gateway, quiet_server, tls};

const CONNECTIONS: usize = 200;
const REQUESTS: usize = 10_000;
const EACH: usize = REQUESTS / CONNECTIONS;
/// Streams of one HTTP/2 connection at a time.
const STREAMS: usize = 10;
const REQUEST: &str = "GET /1000 HTTP/1.1\r\nHost: good.test\r\n\r\n";

#[test]
fn two_hundred_connections_over_http_1() {
    inside(|| {
        let world = World::new();
        let counts = quiet_server::start(&world, false);
        let gateway = gateway(&world);
        let baseline = descriptors(&gateway);
        let tls = tls(&gateway, "http/1.1");
        let (open, clients) = world.agent.block_on(async move {
            let greet = |index: usize| tls.connect((SERVER[index % 2], 443), "good.test");
            // All are open before the first is used, and stay so until the last is.
            let streams = try_join_all((0..CONNECTIONS).map(greet)).await.unwrap();
            let clients = streams.into_iter().map(|stream| async {
                let mut client = H1::new(stream);
                for _ in 0..EACH {
                    let response = client.exchange(REQUEST).await.unwrap();
                    assert_eq!((response.status, response.body.len()), (200, 1000));
                }
                client
            });
            let clients = join_all(clients).await;
            (clients.len(), clients)
        });
        assert_eq!(open, CONNECTIONS);
        assert_eq!(counts.requests.load(Relaxed), REQUESTS as u64);
        let active = gateway.metric("portreeve_connections_active", &[]);
        assert!(active >= 199.5, "{active}");
        world.agent.block_on(async move { drop(clients) });
        wait_descriptors(&gateway, baseline);
        assert_nothing_went_wrong(&gateway);
    });
}

#[test]
fn two_hundred_connections_over_http_2() {
    inside(|| {
        let world = World::new();
        let counts = quiet_server::start(&world, true);
        let gateway = gateway(&world);
        let baseline = descriptors(&gateway);
        let tls = tls(&gateway, "h2");
        let clients = world.agent.block_on(async move {
            let greet = |index: usize| tls.connect((SERVER[index % 2], 443), "good.test");
            let streams = try_join_all((0..CONNECTIONS).map(greet)).await.unwrap();
            let clients = streams.into_iter().map(|stream| async {
                let client = H2::new(stream).await.unwrap();
                for _ in 0..EACH / STREAMS {
                    let gets = (0..STREAMS).map(|_| client.get("https://good.test/1000"));
                    for response in try_join_all(gets).await.unwrap() {
                        assert_eq!((response.status, response.body.len()), (200, 1000));
                    }
                }
                client
            });
            join_all(clients).await
        });
        assert_eq!(counts.requests.load(Relaxed), REQUESTS as u64);
        world.agent.block_on(async move { drop(clients) });
        wait_descriptors(&gateway, baseline);
        assert_nothing_went_wrong(&gateway);
    });
}

/// By the gateway's own books: one record a request, all allowed, none lost.
fn assert_nothing_went_wrong(gateway: &crate::common::GatewayProcess<'_>) {
    let is_request = |record: &serde_json::Value| record["portreeve.record.kind"] == "request";
    let records = gateway.wait_records(REQUESTS, is_request);
    assert_eq!(records.len(), REQUESTS);
    assert!(
        records
            .iter()
            .all(|record| record["portreeve.verdict"] == "allow"
                && record["http.response.status_code"] == 200)
    );
    for family in [
        "portreeve_panics_total",
        "portreeve_connections_refused_total",
    ] {
        assert!(gateway.metric(family, &[]) < 0.5, "{family}");
    }
}

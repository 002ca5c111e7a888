//! Names without end, as an agent may invent them.

use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::common::client::H1;
use crate::common::world::SERVER;
use crate::common::{World, inside};
use crate::gauge::{descriptors, memory, wait_descriptors};
use crate::{gateway, quiet_server, tls};

const NAMES: usize = 2_000;
/// At a time.
const PARALLEL: usize = 32;

#[test]
fn i9_two_thousand_refused_names_leave_the_leaf_cache_bounded() {
    inside(|| {
        let world = World::new();
        let _counts = quiet_server::start(&world, false);
        let gateway = gateway(&world);
        let tls = tls(&gateway, "http/1.1");
        let baseline = descriptors(&gateway);
        let ask = move |name: String| {
            let tls = tls.clone();
            async move {
                let stream = tls.connect((SERVER[0], 443), &name).await.unwrap();
                let request = format!("GET /1 HTTP/1.1\r\nHost: {name}\r\n\r\n");
                H1::new(stream).exchange(request).await.unwrap().status
            }
        };
        let before = memory(gateway.pid());
        let statuses = world.agent.block_on(async move {
            assert_eq!(ask("good.test".into()).await, 200);
            let names = (0..NAMES).map(|number| format!("n{number}.invented.test"));
            let asked = iter(names.map(ask.clone())).buffer_unordered(PARALLEL);
            let statuses: Vec<u16> = asked.collect().await;
            // The one allowed name was not pushed out by them.
            assert_eq!(ask("good.test".into()).await, 200);
            statuses
        });
        assert_eq!(statuses, vec![403; NAMES]);
        let entries = |names| gateway.metric("portreeve_leaf_cache_entries", &[("names", names)]);
        assert!(
            (entries("allowed") - 1.0).abs() < 0.5,
            "{}",
            entries("allowed")
        );
        // The cache evicts in batches: it may be over its limit of 50 by a few.
        assert!(entries("refused") < 200.0, "{}", entries("refused"));
        let minted = gateway.metric("portreeve_leaf_mints_total", &[]);
        assert!((minted - 2001.0).abs() < 0.5, "{minted}");
        let after = memory(gateway.pid());
        assert!(after < before + 24 * 1024, "from {before} to {after} KiB");
        wait_descriptors(&gateway, baseline);
    });
}

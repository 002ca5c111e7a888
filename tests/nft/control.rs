//! The world itself: without table and with forwarding everything gets through, so that
//! what the other tests see refused is refused by what they test.

use crate::common::client::{H1, H2, Tls};
use crate::common::probe::{self, Pong};
use crate::common::world::{METADATA, SERVER};
use crate::common::{Answer, Upstream, World, inside};
use crate::{answer_datagrams, datagram, dial};

#[test]
fn where_nothing_keeps_them_apart_agent_and_internet_meet() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        Upstream::recorder(&world.internet, METADATA, 80);
        for (server, metadata) in SERVER.into_iter().zip(METADATA) {
            answer_datagrams(&world.internet, server, 443, b"quic");
            assert_eq!(dial(&world.agent, (metadata, 80)), None);
            assert_eq!(datagram(&world.agent, (server, 443)), None);
            assert_eq!(world.agent.run(move || probe::ping(server)), Pong::Reply);
        }
        assert!(world.leaked() >= 6, "{}", world.leaked());
    });
}

#[test]
fn servers_record_what_they_receive() {
    inside(|| {
        let world = World::new();
        world.forward(true);
        let server = Upstream::start(&world.internet, &world.ca, &["good.test"], |request| {
            let answer = Answer::ok(format!("{} {}", request.method, request.target));
            answer.header("x-seen", "yes").trailer("x-end", "1")
        });
        let h1 = Tls::new(world.ca.pem(), &["http/1.1"]);
        let h2 = Tls::new(world.ca.pem(), &["h2"]);
        for address in SERVER {
            let (h1, h2) = (h1.clone(), h2.clone());
            let responses = world.agent.block_on(async move {
                let stream = h1.connect((address, 443), "good.test").await.unwrap();
                let request = "POST /a HTTP/1.1\r\nHost: good.test\r\nContent-Length: 2\r\n\r\nhi";
                let first = H1::new(stream).exchange(request).await.unwrap();
                let stream = h2.connect((address, 443), "good.test").await.unwrap();
                let second = H2::new(stream)
                    .await
                    .unwrap()
                    .get("https://good.test/b?c")
                    .await
                    .unwrap();
                [first, second]
            });
            for (response, body) in responses.iter().zip(["POST /a", "GET /b?c"]) {
                assert_eq!((response.status, response.text().as_str()), (200, body));
                assert_eq!(response.header("X-Seen"), Some("yes"));
                assert_eq!(response.trailers, [("x-end".to_owned(), "1".to_owned())]);
            }
        }
        let requests = server.wait_requests(4);
        assert_eq!(requests[0].body, b"hi");
        assert_eq!(requests[0].header("HOST"), Some("good.test"));
        assert_eq!(requests[1].authority.as_deref(), Some("good.test"));
        assert_eq!(requests[3].sni.as_deref(), Some("good.test"));
        let connection = &server.connections()[0];
        assert!(
            connection
                .bytes
                .starts_with(b"POST /a HTTP/1.1\r\nHost: good.test\r\n")
        );
        assert!(connection.bytes.ends_with(b"\r\n\r\nhi"));
    });
}

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::name::AgentName;
use crate::net::lookups::LookupLimits;
use crate::net::own::OwnAddresses;
use crate::net::resolve::ResolverSettings;

/// Names resolve to these addresses only; nobody is asked.
fn dialler(fixed: &[(&str, &[&str])], allow: &[&str]) -> Dialler {
    let fixed = fixed.iter().map(|(name, ips)| {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        (Host::from_config(name).unwrap(), ips)
    });
    let resolver = Resolver::new(ResolverSettings {
        nameservers: vec!["127.0.0.1:9".parse().unwrap()],
        fixed: fixed.collect(),
        timeout: Duration::from_millis(100),
        cache_entries: 10,
        limits: LookupLimits::new(std::num::NonZeroU32::MAX, 256),
        own: OwnAddresses::fixed([]),
    });
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let networks = Networks::new(allow, OwnAddresses::fixed([]));
    let settings = DialSettings {
        connect_timeout: Duration::from_secs(5),
    };
    Dialler::new(resolver.unwrap(), networks, settings)
}

fn asker() -> Asker<'static> {
    static AGENT: std::sync::LazyLock<AgentName> = std::sync::LazyLock::new(|| AgentName::new("a"));
    Asker {
        agent: &AGENT,
        is_written: true,
    }
}

fn authority(host: &str, port: u16) -> Authority {
    let host = Host::from_config(host).unwrap();
    Authority { host, port }
}

async fn listener(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(address).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn i8_a_permitted_address_is_dialled_and_reported() {
    let (listener, port) = listener("127.0.0.1:0").await;
    let dialler = dialler(&[("good.test", &["127.0.0.1"])], &["127.0.0.1/32"]);
    let dialled = dialler
        .dial(asker(), &authority("good.test", port))
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert_eq!(
        accepted.peer_addr().unwrap(),
        dialled.stream.local_addr().unwrap()
    );
    assert_eq!(
        dialled.peer.addr(),
        SocketAddr::from(([127, 0, 0, 1], port))
    );
    assert_eq!(dialled.stream.peer_addr().unwrap(), dialled.peer.addr());
    assert!(dialled.stream.nodelay().unwrap());
    assert!(dialler.recheck(&dialled.peer));
}

#[tokio::test]
async fn i8_a_forbidden_address_is_never_connected_to() {
    let (listener, port) = listener("127.0.0.1:0").await;
    let names: &[(&str, &[&str])] = &[
        ("evil.test", &["127.0.0.1"]),
        ("mapped.test", &["::ffff:127.0.0.1", "0.0.0.0"]),
        ("private.test", &["10.0.0.1", "192.168.0.1"]),
    ];
    let dialler = dialler(names, &["127.0.0.2/32", "127.0.0.0/8"]);
    for name in ["evil.test", "mapped.test", "private.test", "127.0.0.1"] {
        let refusal = dialler
            .dial(asker(), &authority(name, port))
            .await
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::ForbiddenNetwork, "{name}");
        assert!(refusal.sentence.contains("allow_networks"), "{refusal}");
        assert!(!refusal.sentence.contains("10.0.0.1"), "{refusal}");
    }
    let nothing = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn i8_of_a_mixed_answer_only_the_permitted_part_is_used() {
    let (_listener, port) = listener("127.0.0.2:0").await;
    // Whoever has this port there: it must not be tried.
    let _forbidden = TcpListener::bind(("127.0.0.1", port)).await;
    let names: &[(&str, &[&str])] = &[("mixed.test", &["127.0.0.1", "10.0.0.1", "127.0.0.2"])];
    let dialler = dialler(names, &["127.0.0.2/32"]);
    let dialled = dialler
        .dial(asker(), &authority("mixed.test", port))
        .await
        .unwrap();
    assert_eq!(dialled.peer.addr().ip().to_string(), "127.0.0.2");
    let host = Host::from_config("mixed.test").unwrap();
    let given = dialler.addresses(asker(), &host).await.unwrap();
    assert_eq!(given, ["127.0.0.2".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn i8_own_addresses_are_checked_again() {
    let (_listener, port) = listener("127.0.0.1:0").await;
    let permissive = dialler(&[("good.test", &["127.0.0.1"])], &["127.0.0.1/32"]);
    let peer = permissive
        .dial(asker(), &authority("good.test", port))
        .await
        .unwrap()
        .peer;
    let strict = dialler(&[], &[]);
    assert!(!strict.recheck(&peer));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    // Reserved and closed again: nobody listens there, on either address.
    let (listener, port) = listener("127.0.0.3:0").await;
    let names: &[(&str, &[&str])] = &[("two.test", &["::1", "127.0.0.1", "127.0.0.3"])];
    let dialler = dialler(names, &["::1/128", "127.0.0.1/32", "127.0.0.3/32"]);
    let dialled = dialler
        .dial(asker(), &authority("two.test", port))
        .await
        .unwrap();
    assert_eq!(dialled.peer.addr().ip().to_string(), "127.0.0.3");
    drop(listener);
    let refusal = dialler
        .dial(asker(), &authority("two.test", port))
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::ConnectFailed);
    assert_eq!(
        refusal.sentence,
        format!("two.test:{port} refused the connection")
    );
}

#[tokio::test]
async fn silence_is_a_timeout() {
    // A listener whose queue is full answers no further SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let mut dialler = dialler(&[("slow.test", &["127.0.0.1"])], &["127.0.0.1/32"]);
    dialler.settings.connect_timeout = Duration::from_millis(100);
    let slow = authority("slow.test", address.port());
    let refusal = dialler.dial(asker(), &slow).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ConnectTimeout);
}

#[tokio::test]
async fn a_silent_address_does_not_hold_up_the_next() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 4], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let _good = TcpListener::bind(("127.0.0.5", address.port()))
        .await
        .unwrap();
    let names: &[(&str, &[&str])] = &[("half.test", &["127.0.0.4", "127.0.0.5"])];
    let dialler = dialler(names, &["127.0.0.4/32", "127.0.0.5/32"]);
    let dialled = dialler
        .dial(asker(), &authority("half.test", address.port()))
        .await
        .unwrap();
    assert_eq!(dialled.peer.addr().ip().to_string(), "127.0.0.5");
}

#[test]
fn families_take_turns() {
    let ips: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"]
        .map(|ip| ip.parse().unwrap())
        .into();
    let order: Vec<_> = interleaved(&ips).map(|ip| ip.to_string()).collect();
    assert_eq!(
        order,
        ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    );
}

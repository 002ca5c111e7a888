use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::Record;
use tokio::net::UdpSocket;

use super::*;
use crate::name::AgentName;

/// What the nameserver of these tests says to a question.
enum Says {
    Records(Vec<IpAddr>),
    Code(ResponseCode),
    Nothing,
}

struct Nameserver {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Nameserver {
    /// Answers over UDP with what `says` makes of a name and type.
    async fn start(says: impl Fn(&str, RecordType) -> Says + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..length]).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let question = query.queries[0].clone();
                let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
                match says(&question.name.to_string(), question.query_type) {
                    Says::Records(addresses) => reply.answers.extend(addresses.iter().map(|ip| {
                        let data = match *ip {
                            IpAddr::V4(ip) => RData::A(ip.into()),
                            IpAddr::V6(ip) => RData::AAAA(ip.into()),
                        };
                        Record::from_rdata(question.name.clone(), 300, data)
                    })),
                    Says::Code(code) => reply.metadata.response_code = code,
                    Says::Nothing => continue,
                }
                reply.queries.push(question);
                socket
                    .send_to(&reply.to_vec().unwrap(), peer)
                    .await
                    .unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn resolver(&self) -> Resolver {
        self.resolver_with(Duration::from_secs(5), HashMap::new())
    }

    /// On a machine whose interfaces have these addresses.
    fn resolver_at(&self, own: &[&str]) -> Resolver {
        Resolver {
            own: OwnAddresses::of_interfaces(ips(own)),
            ..self.resolver()
        }
    }

    fn resolver_with(&self, timeout: Duration, fixed: HashMap<Host, Vec<IpAddr>>) -> Resolver {
        Resolver::new(ResolverSettings {
            nameservers: vec![self.address],
            fixed,
            timeout,
            cache_entries: 100,
            limits: LookupLimits::new(NonZeroU32::MAX, 256),
            own: OwnAddresses::fixed([]),
        })
        .unwrap()
    }
}

fn asker() -> Asker<'static> {
    static AGENT: LazyLock<AgentName> = LazyLock::new(|| AgentName::new("a"));
    Asker {
        agent: &AGENT,
        is_written: true,
    }
}

fn host(name: &str) -> Host {
    Host::from_config(name).unwrap()
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn by_family(family: RecordType, v4: &[&str], v6: &[&str]) -> Says {
    Says::Records(ips(if family == RecordType::A { v4 } else { v6 }))
}

#[tokio::test]
async fn both_families_are_asked_once_for_the_name_as_it_is() {
    let server = Nameserver::start(|name, family| {
        assert_eq!(name, "good.test.", "no search domain");
        by_family(family, &["192.0.2.1", "10.0.0.1"], &["2001:db8::1"])
    })
    .await;
    let resolver = server.resolver();
    let name = host("good.test");
    let lookups = (0..20).map(|_| resolver.lookup(asker(), &name));
    for answer in futures_util::future::join_all(lookups).await {
        // Forbidden addresses are given too: whoever dials judges.
        assert_eq!(
            answer.unwrap(),
            ips(&["2001:db8::1", "192.0.2.1", "10.0.0.1"])
        );
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn fixed_answers_and_addresses_ask_nobody() {
    let server = Nameserver::start(|_, _| Says::Nothing).await;
    let fixed = HashMap::from([
        (host("git.internal"), ips(&["10.0.0.5"])),
        (host("192.0.2.9"), ips(&["10.0.0.6"])),
        (host("nowhere.internal"), Vec::new()),
    ]);
    let resolver = server.resolver_with(Duration::from_secs(5), fixed);
    for (name, expected) in [
        ("git.internal", "10.0.0.5"),
        ("192.0.2.9", "10.0.0.6"),
        ("192.0.2.10", "192.0.2.10"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(
            resolver.lookup(asker(), &host(name)).await.unwrap(),
            ips(&[expected])
        );
    }
    let refusal = resolver
        .lookup(asker(), &host("nowhere.internal"))
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::NameNotFound);
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_remembered() {
    let server = Nameserver::start(|_, _| Says::Code(ResponseCode::NXDomain)).await;
    let resolver = server.resolver();
    for _ in 0..3 {
        let refusal = resolver
            .lookup(asker(), &host("gone.test"))
            .await
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::NameNotFound);
        assert!(refusal.sentence.contains("gone.test"));
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn one_family_is_enough() {
    let server = Nameserver::start(|name, family| match (name, family) {
        ("v4.test.", RecordType::A) => Says::Records(ips(&["192.0.2.1"])),
        ("v4.test.", _) => Says::Code(ResponseCode::NoError),
        ("half.test.", RecordType::A) => Says::Records(ips(&["192.0.2.2"])),
        ("half.test.", _) => Says::Code(ResponseCode::ServFail),
        ("slow.test.", RecordType::A) => Says::Records(ips(&["192.0.2.3"])),
        _ => Says::Nothing,
    })
    .await;
    let resolver = server.resolver();
    assert_eq!(
        resolver.lookup(asker(), &host("v4.test")).await.unwrap(),
        ips(&["192.0.2.1"])
    );
    assert_eq!(
        resolver.lookup(asker(), &host("half.test")).await.unwrap(),
        ips(&["192.0.2.2"])
    );
    assert_eq!(
        resolver.lookup(asker(), &host("slow.test")).await.unwrap(),
        ips(&["192.0.2.3"])
    );
}

#[tokio::test]
async fn failures_and_silence_are_resolver_failures() {
    let server = Nameserver::start(|name, _| match name {
        "broken.test." => Says::Code(ResponseCode::ServFail),
        _ => Says::Nothing,
    })
    .await;
    let resolver = server.resolver_with(Duration::from_millis(300), HashMap::new());
    for name in ["broken.test", "silent.test"] {
        let refusal = resolver.lookup(asker(), &host(name)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ResolverFailed);
        let server = server.address.ip().to_string();
        assert!(!refusal.sentence.contains(&server), "{refusal}");
    }
}

#[tokio::test]
async fn i9_a_huge_answer_is_cut() {
    let server = Nameserver::start(|_, family| match family {
        RecordType::A => Says::Records((0..70).map(|n| IpAddr::from([192, 0, 2, n])).collect()),
        _ => Says::Code(ResponseCode::NoError),
    })
    .await;
    let addresses = server
        .resolver()
        .lookup(asker(), &host("big.test"))
        .await
        .unwrap();
    assert_eq!(addresses.len(), ADDRESSES_MAX);
}

#[test]
fn answers_are_kept_as_long_as_they_hold() {
    let second = Duration::from_secs;
    let v4 = |ttl| Answer::found(ips(&["192.0.2.1"]), second(ttl));
    let v6 = |ttl| Answer::found(ips(&["2001:db8::1"]), second(ttl));
    assert_eq!(v4(0).keep, second(1));
    assert_eq!(v4(1_000_000).keep, second(3600));
    assert_eq!(v4(300).merge(v6(60)).keep, second(60));
    assert_eq!(
        v4(300).merge(Answer::not_found(second(5))).keep,
        second(300)
    );
    assert_eq!(Answer::failed().merge(v6(300)).keep, KEEP_PARTIAL);
    assert_eq!(Answer::not_found(second(900)).keep, second(30));
}

#[tokio::test]
async fn i9_limits_count_queries_and_not_what_is_remembered() {
    let server = Nameserver::start(|_, _| Says::Records(ips(&["192.0.2.1"]))).await;
    let resolver = Resolver::new(ResolverSettings {
        nameservers: vec![server.address],
        fixed: HashMap::from([(host("fixed.test"), ips(&["192.0.2.2"]))]),
        timeout: Duration::from_secs(5),
        cache_entries: 100,
        limits: LookupLimits::new(NonZeroU32::MIN, 256),
        own: OwnAddresses::fixed([]),
    })
    .unwrap();
    let known = host("known.test");
    resolver.lookup(asker(), &known).await.unwrap();
    let mut names = (0..1000).map(|number| host(&format!("n{number}.test")));
    let refused = loop {
        let name = names.next().expect("the burst ends");
        if let Err(refusal) = resolver.lookup(asker(), &name).await {
            break refusal;
        }
    };
    assert_eq!(refused.reason, Reason::LookupLimit);
    for name in [known, host("fixed.test"), host("192.0.2.3")] {
        resolver.lookup(asker(), &name).await.unwrap();
    }
    let dense = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpi3dqmzsgq2tmnzygeydc.a.test";
    let chosen = Asker {
        is_written: false,
        ..asker()
    };
    let asked = server.asked();
    let refused = resolver.lookup(chosen, &host(dense)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NameEntropy);
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn ipv6_is_not_asked_for_where_it_leads_nowhere() {
    let server = Nameserver::start(|name, family| match (name, family) {
        ("good.test.", family) => by_family(family, &["192.0.2.1"], &["2001:db8::1"]),
        ("six.test.", family) => by_family(family, &[], &["2001:db8::1"]),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let without = server.resolver_at(&["127.0.0.1", "192.0.2.9", "fe80::9"]);
    let found = without.lookup(asker(), &host("good.test")).await;
    assert_eq!(found.unwrap(), ips(&["192.0.2.1"]));
    assert_eq!(server.asked(), 1);
    // A name that has only such an address is not one that does not exist.
    let found = without.lookup(asker(), &host("six.test")).await;
    assert_eq!(found.unwrap(), ips(&["2001:db8::1"]));
    let refused = without.lookup(asker(), &host("none.test")).await;
    assert_eq!(refused.unwrap_err().reason, Reason::NameNotFound);
    let with = server.resolver_at(&["192.0.2.9", "2001:db8::9"]);
    let found = with.lookup(asker(), &host("good.test")).await;
    assert_eq!(found.unwrap(), ips(&["2001:db8::1", "192.0.2.1"]));
}

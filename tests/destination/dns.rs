//! What agents are told about names, and that no query leaves for one that is not allowed.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::world::{ATTACKER, GATEWAY, SERVER};
use crate::common::{Upstream, World, client, inside, probe};
use crate::name_server::{ADDRESS, NameServer};
use crate::town::{Config, RULES, start};

/// What an agent asks with.
#[derive(Clone, Copy, Debug)]
enum Over {
    Udp,
    Tcp,
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut query = Message::query();
    query.metadata.id = 0x1234;
    query.metadata.recursion_desired = true;
    query
        .queries
        .push(Query::query(Name::from_ascii(name).unwrap(), kind));
    query.to_vec().unwrap()
}

/// Asks whatever resolver the agent believes in; the redirect brings it to the gateway.
fn ask(world: &World, over: Over, resolver: IpAddr, name: &str, kind: RecordType) -> Message {
    let (bytes, to) = (query(name, kind), (resolver, 53));
    let reply = match over {
        Over::Udp => world.agent.run(move || probe::udp(to, &bytes).unwrap()),
        Over::Tcp => world.agent.block_on(async move {
            let mut stream = client::tcp(to).await.unwrap();
            stream
                .write_u16(bytes.len().try_into().unwrap())
                .await
                .unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut reply = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut reply).await.unwrap();
            reply
        }),
    };
    Message::from_vec(&reply).unwrap()
}

fn addresses(reply: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => IpAddr::V4(a.0),
        RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
        other => panic!("{other:?}"),
    };
    reply
        .answers
        .iter()
        .map(|record| address(&record.data))
        .collect()
}

/// Every transport and resolver.
fn ways() -> impl Iterator<Item = (Over, IpAddr)> {
    let resolvers = GATEWAY.into_iter().chain(SERVER).chain(ATTACKER);
    resolvers.flat_map(|resolver| [(Over::Udp, resolver), (Over::Tcp, resolver)])
}

/// Names that carry data, or that no rule allows exactly.
const DENIED: [&str; 8] = [
    "evil.test.",
    "c2VjcmV0.evil.test.",
    "c2VjcmV0.good.test.",
    "test.",
    "wild.test.",
    "sub.wild.test.",
    "c2VjcmV0.sub.wild.test.",
    "EVIL.test.",
];

fn config() -> Config {
    Config {
        resolve: Vec::new(),
        ..Config::default()
    }
}

/// Asserts that only these names were asked for, after all that the gateway has asked.
fn assert_asked_only(world: &World, server: &NameServer, names: &[&str]) {
    world.settle();
    let last = query("last.test.", RecordType::A);
    world
        .internet
        .run(move || probe::udp(ADDRESS, &last).unwrap());
    server.wait_asked("last.test");
    for (name, kind) in server.asked() {
        let address = matches!(kind, RecordType::A | RecordType::AAAA);
        let expected = names.contains(&name.as_str()) || name == "last.test";
        assert!(address && expected, "{kind} {name} was asked for");
    }
    assert_eq!(world.leaked(), 0);
}

#[test]
fn i8_dns_answers_allowed_exact_names_and_asks_for_no_other() {
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |name, v6| match name {
            "good.test" => vec![SERVER[usize::from(v6)]],
            _ => vec![ATTACKER[usize::from(v6)]],
        });
        let gateway = start(&world, &config(), RULES);
        let placeholder = ["198.18.0.1", "100::1"].map(|text| text.parse::<IpAddr>().unwrap());
        for (over, resolver) in ways() {
            for (index, kind) in [RecordType::A, RecordType::AAAA].into_iter().enumerate() {
                for name in ["good.test.", "GOOD.tEsT."] {
                    let reply = ask(&world, over, resolver, name, kind);
                    assert_eq!(
                        addresses(&reply),
                        [SERVER[index]],
                        "{over:?} {resolver} {name}"
                    );
                    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                    // Octet for octet: resolvers randomise the case.
                    assert_eq!(reply.queries[0].name.to_string(), name);
                }
                for name in DENIED {
                    let reply = ask(&world, over, resolver, name, kind);
                    assert_eq!(addresses(&reply), [placeholder[index]], "{over:?} {name}");
                }
            }
        }
        assert!(gateway.metric("portreeve_dns_queries_total", &[("verdict", "placeholder")]) > 0.0);
        assert_asked_only(&world, &server, &["good.test"]);
    });
}

#[test]
fn i8_dns_has_no_data_of_any_other_type() {
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |_, v6| vec![SERVER[usize::from(v6)]]);
        let _gateway = start(&world, &config(), RULES);
        for (over, resolver) in ways() {
            for kind in [
                RecordType::HTTPS,
                RecordType::SVCB,
                RecordType::TXT,
                RecordType::MX,
                RecordType::SRV,
                RecordType::CNAME,
                RecordType::NS,
                RecordType::NULL,
                RecordType::Unknown(65399),
            ] {
                for name in ["good.test.", "evil.test.", "c2VjcmV0.evil.test."] {
                    let reply = ask(&world, over, resolver, name, kind);
                    assert_eq!(
                        reply.metadata.response_code,
                        ResponseCode::NoError,
                        "{kind}"
                    );
                    assert!(reply.answers.is_empty(), "{kind} {:?}", reply.answers);
                }
            }
            for kind in [RecordType::ANY, RecordType::AXFR] {
                let reply = ask(&world, over, resolver, "good.test.", kind);
                assert_eq!(
                    reply.metadata.response_code,
                    ResponseCode::Refused,
                    "{kind}"
                );
                assert!(reply.answers.is_empty());
            }
        }
        assert_asked_only(&world, &server, &[]);
    });
}

/// An allowed name that leads into a forbidden network has no address to tell.
#[test]
fn i8_dns_tells_no_forbidden_address() {
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |name, v6| match (name, v6) {
            ("inner.test", false) => vec!["127.0.0.1".parse().unwrap()],
            ("inner.test", true) => vec!["::ffff:10.0.0.1".parse().unwrap()],
            ("mixed.test", false) => vec!["169.254.169.254".parse().unwrap(), SERVER[0]],
            ("mixed.test", true) => vec!["64:ff9b::a9fe:a9fe".parse().unwrap(), SERVER[1]],
            _ => Vec::new(),
        });
        let rules = "[[rule]]\nname = \"inner\"\nagents = [\"builder\"]\n\
                     hosts = [\"inner.test\", \"mixed.test\"]\n";
        let _gateway = start(&world, &config(), rules);
        for (over, resolver) in ways() {
            for (index, kind) in [RecordType::A, RecordType::AAAA].into_iter().enumerate() {
                let reply = ask(&world, over, resolver, "mixed.test.", kind);
                assert_eq!(addresses(&reply), [SERVER[index]]);
                let reply = ask(&world, over, resolver, "inner.test.", kind);
                let placeholder = ["198.18.0.1", "100::1"][index].parse::<IpAddr>().unwrap();
                assert_eq!(addresses(&reply), [placeholder]);
            }
        }
        assert_asked_only(&world, &server, &["inner.test", "mixed.test"]);
    });
}

/// The refusal that a placeholder leads to is the same page, and still no query leaves.
#[test]
fn i8_a_request_for_a_denied_name_asks_for_nothing() {
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |_, v6| vec![ATTACKER[usize::from(v6)]]);
        let gateway = start(&world, &config(), RULES);
        let agent = crate::town::Agent::new(&world, &gateway);
        let placeholder: IpAddr = "198.18.0.1".parse().unwrap();
        for name in ["evil.test", "c2VjcmV0.evil.test", "c2VjcmV0.good.test"] {
            let response = agent.https((placeholder, 443), name, crate::town::get(name, "/"));
            crate::town::assert_refused(&response, 403, "no_rule");
            let response = agent.http((placeholder, 80), crate::town::get(name, "/"));
            crate::town::assert_refused(&response, 403, "no_rule");
        }
        assert_asked_only(&world, &server, &[]);
    });
}

/// A name under a wildcard carries no secret, in one label or over several, to anybody: not
/// in a query, not in a ClientHello, and the record does not tell it either.
#[test]
fn i8_no_secret_leaves_in_a_name() {
    use crate::town::{Agent, CANARY, assert_refused, get};
    inside(|| {
        let world = World::new();
        let server = NameServer::start(&world.internet, |_, v6| vec![SERVER[usize::from(v6)]]);
        let recorder = Upstream::recorder(&world.internet, SERVER, 443);
        let splice = "[[rule]]\nname = \"pinned\"\nagents = [\"builder\"]\n\
                      hosts = [\"*.pinned.test\"]\ntls = \"splice\"\n";
        let gateway = start(&world, &config(), &format!("{RULES}{splice}"));
        let agent = Agent::new(&world, &gateway);
        let hex: Vec<_> = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.concat();
        let (one, other) = CANARY.split_at(12);
        let names = [
            CANARY.to_owned(),
            format!("x.{one}.{other}"),
            format!("a.{}.{}.b", &hex[..23], &hex[23..]),
            base32(CANARY.as_bytes()),
            format!("x.{}", base32(format!("ab{CANARY}").as_bytes())),
        ];
        for name in &names {
            let host = format!("{name}.wild.test");
            let response = agent.https((SERVER[0], 443), &host, get(&host, "/"));
            assert_refused(&response, 403, "detected");
            assert!(response.text().contains("in the name of the host"));
            let host = format!("{name}.pinned.test");
            let tls = agent.h1.clone();
            let refused = world.agent.block_on(async move {
                let connected = tls.connect((SERVER[0], 443), &host).await;
                connected.is_err()
            });
            assert!(refused, "{name}");
        }
        let detected = |record: &serde_json::Value| record["portreeve.reason"] == "detected";
        let records = gateway.wait_records(2 * names.len(), detected);
        let records = format!("{records:?} {}", gateway.log());
        for name in &names {
            assert!(!records.contains(name.as_str()), "{records}");
        }
        assert!(recorder.connections().is_empty());
        assert_asked_only(&world, &server, &[]);
    });
}

/// RFC 4648 §6, as it stands in names.
fn base32(bytes: &[u8]) -> String {
    let bits: Vec<_> = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digit = |bits: &[u8]| {
        let bits = format!("{:0<5}", std::str::from_utf8(bits).unwrap());
        let value = usize::from_str_radix(&bits, 2).unwrap();
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[value])
    };
    bits.concat().as_bytes().chunks(5).map(digit).collect()
}

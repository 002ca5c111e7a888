//! I4: a server that does not prove its name gets nothing.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::common::world::{Pair, SERVER};
use crate::common::{Answer, TestCa, Upstream, World, inside};
use crate::town::{Agent, CANARY, Config, RULES, assert_refused, get, get_h2, received, start};

/// A certificate that nobody but its own key signed.
fn self_signed(name: &str) -> ServerConfig {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth();
    config.with_single_cert(vec![leaf.into()], key).unwrap()
}

/// Every way not to prove `good.test`, by what is wrong.
fn bad_certificates(ca: &TestCa) -> Vec<(&'static str, ServerConfig)> {
    let good = &["good.test"];
    let day = |year| rcgen::date_time_ymd(year, 1, 1);
    vec![
        ("self-signed", self_signed("good.test")),
        ("unknown CA", TestCa::new().server(good)),
        ("wrong name", ca.server(&["plain.test"])),
        ("name above", ca.server(&["test"])),
        ("name below", ca.server(&["sub.good.test"])),
        ("wildcard for its parent", ca.server(&["*.good.test"])),
        ("address", ca.server(&["203.0.113.10"])),
        (
            "expired",
            ca.server_with(good, |params| {
                (params.not_before, params.not_after) = (day(2020), day(2021));
            }),
        ),
        (
            "not yet valid",
            ca.server_with(good, |params| {
                (params.not_before, params.not_after) = (day(2090), day(2091));
            }),
        ),
        (
            "for clients",
            ca.server_with(good, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        (
            "common name alone",
            ca.server_with(&[], |params| {
                params
                    .distinguished_name
                    .push(rcgen::DnType::CommonName, "good.test");
            }),
        ),
        (
            "mail address",
            ca.server_with(&[], |params| {
                let name = "good.test".to_owned().try_into().unwrap();
                params.subject_alt_names.push(SanType::Rfc822Name(name));
            }),
        ),
    ]
}

/// Every issuer between root and server that may not be one.
fn bad_issuers(ca: &TestCa) -> Vec<(&'static str, ServerConfig)> {
    let day = |year| rcgen::date_time_ymd(year, 1, 1);
    let constrained = |permitted: &[&str], excluded: &[&str]| {
        let subtrees = |names: &[&str]| {
            names
                .iter()
                .map(|name| GeneralSubtree::DnsName((*name).to_owned()))
                .collect()
        };
        let constraints = NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        };
        ca.intermediate(|params| params.name_constraints = Some(constraints))
    };
    let issuers = [
        (
            "expired intermediate",
            ca.intermediate(|params| {
                (params.not_before, params.not_after) = (day(2020), day(2021));
            }),
        ),
        (
            "issuer that is no CA",
            ca.intermediate(|params| params.is_ca = IsCa::ExplicitNoCa),
        ),
        (
            "intermediate for clients",
            ca.intermediate(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        (
            "below a path that may not be longer",
            ca.intermediate(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))
                .intermediate(|_| ()),
        ),
        ("other names permitted", constrained(&["plain.test"], &[])),
        ("this name excluded", constrained(&[], &["good.test"])),
    ];
    let issuers = issuers.into_iter();
    issuers
        .map(|(wrong, issuer)| (wrong, issuer.server(&["good.test"])))
        .collect()
}

/// The addresses of the server with the `index`th certificate.
fn addresses(index: usize) -> Pair {
    let number = u8::try_from(index).unwrap() + 100;
    [
        IpAddr::from([203, 0, 113, number]),
        IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 1, u16::from(number)]),
    ]
}

#[test]
fn i4_nothing_is_sent_to_a_server_that_does_not_prove_its_name() {
    inside(|| {
        let world = World::new();
        let certificates = bad_certificates(&world.ca).into_iter();
        let bad = certificates.chain(bad_issuers(&world.ca));
        for (index, (wrong, tls)) in bad.enumerate() {
            let servers = addresses(index);
            let [v4, v6] = servers;
            world.internet.ip(&format!(
                "addr add {v4}/24 dev net0\naddr add {v6}/64 dev net0 nodad\n"
            ));
            let server = Upstream::https(&world.internet, servers, 443, tls, |_| Answer::ok("bad"));
            let config = Config {
                resolve: vec![("good.test".to_owned(), servers.to_vec())],
                ..Config::default()
            };
            let gateway = start(&world, &config, RULES);
            let agent = Agent::new(&world, &gateway);
            let to = (servers[0], 443);
            let post = "POST / HTTP/1.1\r\nhost: good.test\r\ncontent-length: 6\r\n\r\nsecret";
            for request in [get("good.test", "/"), post.to_owned()] {
                let response = agent.https(to, "good.test", request);
                assert_refused(&response, 502, "upstream_certificate");
                assert!(!response.text().contains(CANARY));
            }
            let response = &agent.h2(to, "good.test", vec![get_h2("https://good.test/")])[0];
            assert_refused(response, 502, "upstream_certificate");
            let seen = server.wait_connections(3);
            for connection in &seen {
                assert!(connection.bytes.is_empty(), "{wrong}: {connection:?}");
            }
            server.wait_connection("a failed handshake", |seen| seen.handshake_error.is_some());
            assert!(server.requests().is_empty(), "{wrong}");
            assert!(!received(&server).contains(CANARY));
            let reason = "upstream_certificate";
            // Three more than the gateways before this one wrote into the same log.
            let count = 3 * (index + 1);
            let records =
                gateway.wait_records(count, |record| record["portreeve.reason"] == reason);
            assert_eq!(records.len(), count, "{wrong}");
        }
        assert_eq!(world.leaked(), 0);
    });
}

/// The same world with a certificate as it should be: what is refused above is what is wrong.
#[test]
fn i4_a_server_that_proves_its_name_gets_the_request() {
    inside(|| {
        let world = World::new();
        let issuer = world.ca.intermediate(|_| ());
        let server = Upstream::start(&world.internet, &issuer, &["good.test"], |_| Answer::ok(""));
        let gateway = start(&world, &Config::default(), RULES);
        let agent = Agent::new(&world, &gateway);
        let response = agent.https((SERVER[0], 443), "good.test", get("good.test", "/"));
        assert_eq!(response.status, 200);
        assert_eq!(server.requests()[0].header_all("x-api-key"), [CANARY]);
    });
}

use super::Forbidden::*;
use super::*;

fn networks(allow: &[&str]) -> Networks {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let own = OwnAddresses::fixed(["192.0.9.1", "2600::9"].map(|ip| ip.parse().unwrap()));
    Networks::new(allow, own)
}

fn verdict(networks: &Networks, ip: &str) -> Option<Forbidden> {
    let address = SocketAddr::new(ip.parse().unwrap(), 443);
    networks.check(address).err()
}

/// Addresses that only the operator can open, and why.
const FORBIDDEN: &[(&str, Forbidden)] = &[
    // This network and loopback.
    ("0.0.0.0", Loopback),
    ("0.0.0.1", Reserved),
    ("0.255.255.255", Reserved),
    ("127.0.0.1", Loopback),
    ("127.0.0.53", Loopback),
    ("127.255.255.255", Loopback),
    ("::", Loopback),
    ("::1", Loopback),
    // Private, shared, link-local.
    ("10.0.0.0", Private),
    ("10.255.255.255", Private),
    ("172.16.0.1", Private),
    ("172.31.255.255", Private),
    ("192.168.1.1", Private),
    ("100.64.0.1", Shared),
    ("100.127.255.255", Shared),
    ("169.254.0.1", LinkLocal),
    ("169.254.169.253", LinkLocal),
    ("fe80::1", LinkLocal),
    ("febf::1", LinkLocal),
    ("fec0::1", LinkLocal),
    ("fc00::1", Private),
    ("fdff:ffff::1", Private),
    // Metadata.
    ("169.254.169.254", Metadata),
    ("169.254.170.2", Metadata),
    ("169.254.170.23", Metadata),
    ("169.254.42.42", Metadata),
    ("169.254.0.23", Metadata),
    ("168.63.129.16", Metadata),
    ("100.100.100.200", Metadata),
    ("192.0.0.192", Metadata),
    ("fd00:ec2::254", Metadata),
    ("fd00:ec2::23", Metadata),
    ("fd20:ce::254", Metadata),
    ("fd00:42::42", Metadata),
    ("fd00:c1::a9fe:a9fe", Metadata),
    ("fe80::a9fe:a9fe", Metadata),
    // Reserved.
    ("192.0.0.1", Reserved),
    ("192.0.2.1", Reserved),
    ("192.88.99.1", Reserved),
    ("198.18.0.1", Reserved),
    ("198.19.255.255", Reserved),
    ("198.51.100.1", Reserved),
    ("203.0.113.1", Reserved),
    ("240.0.0.1", Reserved),
    ("255.255.255.254", Reserved),
    ("100::1", Reserved),
    ("100:0:0:1::1", Reserved),
    ("2001:2::1", Reserved),
    ("2001:10::1", Reserved),
    ("2001:20::1", Reserved),
    ("2001:1ff::1", Reserved),
    ("2001:db8::1", Reserved),
    ("3fff::1", Reserved),
    ("5f00::1", Reserved),
    ("4000::1", Reserved),
    ("1fff::1", Reserved),
    ("64:ff9b:2::1", Reserved),
    // Multicast and broadcast.
    ("224.0.0.1", Multicast),
    ("239.255.255.250", Multicast),
    ("255.255.255.255", Multicast),
    ("ff02::1", Multicast),
    // IPv4-mapped, -compatible, -translated.
    ("::ffff:127.0.0.1", Loopback),
    ("::ffff:10.0.0.1", Private),
    ("::ffff:169.254.169.254", Metadata),
    ("::ffff:192.0.9.1", Own),
    ("::127.0.0.1", Loopback),
    ("::169.254.169.254", Metadata),
    ("::8.8.8.8", Embedding),
    ("::ffff:0:127.0.0.1", Loopback),
    ("::ffff:0:8.8.8.8", Embedding),
    // NAT64.
    ("64:ff9b::127.0.0.1", Loopback),
    ("64:ff9b::10.0.0.1", Private),
    ("64:ff9b::169.254.169.254", Metadata),
    ("64:ff9b::192.0.9.1", Own),
    ("64:ff9b:1::8.8.8.8", Embedding),
    ("64:ff9b:1::169.254.169.254", Metadata),
    ("64:ff9b:1:7f00:0:100::", Loopback),
    // 6to4, Teredo, ISATAP.
    ("2002:808:808::1", Embedding),
    ("2002:7f00:1::1", Loopback),
    ("2002:a9fe:a9fe::", Metadata),
    ("2001:0:808:808::f7f7:f7f7", Embedding),
    ("2001:0:808:808::80ff:fffe", Loopback),
    ("2001:0:7f00:1::f7f7:f7f7", Loopback),
    ("2600::5efe:8.8.8.8", Embedding),
    ("2600::200:5efe:8.8.8.8", Embedding),
    ("2600::5efe:127.0.0.1", Loopback),
    ("fe80::5efe:10.0.0.1", LinkLocal),
    // Own.
    ("192.0.9.1", Own),
    ("2600::9", Own),
];

#[test]
fn i8_forbidden_networks() {
    let networks = networks(&[]);
    for (ip, expected) in FORBIDDEN {
        assert_eq!(verdict(&networks, ip), Some(*expected), "{ip}");
    }
}

#[test]
fn public_addresses_are_permitted() {
    let networks = networks(&[]);
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "3ffe:ffff::1",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
    ] {
        assert_eq!(verdict(&networks, ip), None, "{ip}");
    }
    let mapped = "[::ffff:8.8.8.8]:443".parse().unwrap();
    let permitted = networks.check(mapped).unwrap();
    assert_eq!(permitted.addr(), "8.8.8.8:443".parse().unwrap());
}

#[test]
fn i8_exceptions_open_only_what_they_may() {
    let everything = networks(&["0.0.0.0/0", "::/0"]);
    for (ip, expected) in [
        ("10.0.0.1", None),
        ("100.64.0.1", None),
        ("169.254.0.1", None),
        ("fd00::1", None),
        ("2002:808:808::1", None),
        ("64:ff9b::10.0.0.1", None),
        ("64:ff9b:1::8.8.8.8", None),
        ("64:ff9b:1:808:8:800::", None),
        ("127.0.0.1", Some(Loopback)),
        ("0.0.0.0", Some(Loopback)),
        ("::1", Some(Loopback)),
        ("169.254.169.254", Some(Metadata)),
        ("fd00:ec2::254", Some(Metadata)),
        ("192.0.9.1", Some(Own)),
        ("::ffff:127.0.0.1", Some(Loopback)),
        ("64:ff9b::169.254.169.254", Some(Metadata)),
        ("64:ff9b:1::169.254.169.254", Some(Metadata)),
        ("2002:7f00:1::1", Some(Loopback)),
        ("2600::5efe:192.0.9.1", Some(Own)),
    ] {
        assert_eq!(verdict(&everything, ip), expected, "{ip}");
    }
    let exact = networks(&[
        "127.0.0.1/32",
        "::1/128",
        "169.254.169.254/32",
        "192.0.9.1/32",
    ]);
    for ip in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "::1",
        "169.254.169.254",
        "192.0.9.1",
    ] {
        assert_eq!(verdict(&exact, ip), None, "{ip}");
    }
    assert_eq!(verdict(&exact, "127.0.0.2"), Some(Loopback));
    assert_eq!(verdict(&exact, "64:ff9b::127.0.0.1"), Some(Loopback));
    assert_eq!(verdict(&exact, "10.0.0.1"), Some(Private));
    assert_eq!(
        verdict(&networks(&["127.0.0.0/31"]), "127.0.0.1"),
        Some(Loopback)
    );
}

#[test]
fn mapped_exceptions_mean_ipv4() {
    let networks = networks(&["::ffff:10.1.0.0/112", "::ffff:127.0.0.1/128"]);
    assert_eq!(verdict(&networks, "10.1.2.3"), None);
    assert_eq!(verdict(&networks, "10.2.0.0"), Some(Forbidden::Private));
    assert_eq!(verdict(&networks, "127.0.0.1"), None);
}

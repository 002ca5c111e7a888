use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::*;

const MAX: usize = 64 * 1024;

/// The first flight of a real rustls client.
fn real_hello(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// One record with this fragment.
fn record(fragment: &[u8]) -> Vec<u8> {
    let mut bytes = vec![HANDSHAKE, 3, 1];
    bytes.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
    bytes.extend(fragment);
    bytes
}

fn vec16(data: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(data);
    bytes
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vec16(&[&[0][..], &vec16(name)].concat()))
}

/// A handshake message around this body.
fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], body].concat()
}

/// The fields of a ClientHello in front of the extensions.
fn fields() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body
}

fn made_hello(extensions: &[u8]) -> Vec<u8> {
    record(&message(&[fields(), vec16(extensions)].concat()))
}

fn hello_of(sniffed: Sniff) -> Hello {
    match sniffed {
        Sniff::Tls(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_bad(bytes: &[u8]) {
    let sniffed = sniff(bytes, MAX);
    assert!(matches!(sniffed, Sniff::BadHello(_)), "{sniffed:?}");
}

#[test]
fn a_real_hello_is_read() {
    let hello = hello_of(sniff(&real_hello("Good.test", &[b"h2", b"http/1.1"]), MAX));
    assert_eq!(hello.name.unwrap().to_string(), "good.test");
    assert_eq!(
        hello.alpn,
        Alpn {
            offered: true,
            h2: true,
            http1: true
        }
    );
    assert!(!hello.has_ech);
    let other = hello_of(sniff(&real_hello("good.test", &[b"foo"]), MAX));
    assert_eq!(
        other.alpn,
        Alpn {
            offered: true,
            h2: false,
            http1: false
        }
    );
    let nameless = hello_of(sniff(&real_hello("192.0.2.1", &[]), MAX));
    assert_eq!(nameless, Hello::default());
}

#[test]
fn every_prefix_says_more_and_the_whole_is_read() {
    let bytes = real_hello("good.test", &[b"h2"]);
    let mut sniffer = Sniffer::new(MAX);
    for end in 0..bytes.len() {
        assert_eq!(sniff(&bytes[..end], MAX), Sniff::More, "{end}");
        assert_eq!(sniffer.sniff(&bytes[..end]), Sniff::More, "{end}");
    }
    assert_eq!(sniffer.sniff(&bytes), sniff(&bytes, MAX));
    hello_of(sniff(&bytes, MAX));
}

#[test]
fn every_record_split_is_reassembled() {
    let whole = real_hello("good.test", &[b"h2"]);
    let message = &whole[RECORD_HEADER..];
    let expected = sniff(&whole, MAX);
    for at in 1..message.len() {
        let split = [record(&message[..at]), record(&message[at..])].concat();
        assert_eq!(sniff(&split, MAX), expected, "{at}");
    }
}

#[test]
fn one_byte_records_in_one_byte_segments() {
    let whole = real_hello("good.test", &[b"h2"]);
    let records: Vec<u8> = whole[RECORD_HEADER..]
        .iter()
        .flat_map(|byte| record(&[*byte]))
        .collect();
    let mut sniffer = Sniffer::new(MAX);
    for end in 0..records.len() {
        assert_eq!(sniffer.sniff(&records[..end]), Sniff::More);
    }
    assert_eq!(sniffer.sniff(&records), sniff(&whole, MAX));
}

#[test]
fn bytes_after_the_hellos_record_are_not_ours() {
    let mut bytes = real_hello("good.test", &[]);
    bytes.extend([20, 3, 3, 0, 1, 1]);
    hello_of(sniff(&bytes, MAX));
}

#[test]
fn i9_a_hello_is_bounded() {
    let padding = extension(21, &vec![0; 30_000]);
    let large = message(&[fields(), vec16(&padding)].concat());
    let bytes: Vec<u8> = large.chunks(FRAGMENT_MAX).flat_map(record).collect();
    hello_of(sniff(&bytes, MAX));
    // The declared length is enough; nobody waits for the rest.
    assert!(matches!(
        sniff(&bytes[..16_389], 20_000),
        Sniff::BadHello(_)
    ));
    // So is the end of a record that would lie beyond.
    assert!(matches!(sniff(&bytes[..5], 10_000), Sniff::BadHello(_)));
}

#[test]
fn ambiguous_hellos_are_bad() {
    let two_names = extension(
        0,
        &vec16(&[&[0][..], &vec16(b"a.test"), &[0], &vec16(b"b.test")].concat()),
    );
    let wrong_type = extension(0, &vec16(&[&[1][..], &vec16(b"a.test")].concat()));
    let trailing = extension(
        0,
        &[vec16(&[&[0][..], &vec16(b"a.test")].concat()), vec![0]].concat(),
    );
    for extensions in [
        [sni(b"a.test"), sni(b"b.test")].concat(),
        [extension(5, b""), sni(b"a.test"), extension(5, b"")].concat(),
        two_names,
        wrong_type,
        trailing,
        extension(0, b""),
        extension(0, &vec16(b"")),
        sni(b""),
        sni(b"192.0.2.1"),
        sni(b"::1"),
        sni(b"[::1]"),
        sni(b"2130706433"),
        sni(b"good.test\0.evil.test"),
        sni("g\u{f6}\u{f6}d.test".as_bytes()),
        sni(&[b'a'; 300]),
        extension(16, b""),
        extension(16, &vec16(b"")),
        extension(16, &vec16(b"\x00")),
        extension(16, &vec16(b"\x03h2")),
        extension(16, &[vec16(b"\x02h2"), vec![0]].concat()),
        vec![0],
        vec![0, 0, 0, 9, 1],
    ] {
        assert_bad(&made_hello(&extensions));
    }
    hello_of(sniff(&made_hello(&sni(b"a.test")), MAX));
}

#[test]
fn malformed_fields_are_bad() {
    let good = [fields(), vec16(&sni(b"a.test"))].concat();
    assert_bad(&record(&message(&[good.clone(), vec![0]].concat())));
    assert_bad(&record(&[message(&good), vec![11]].concat()));
    assert_bad(&record(&message(&good[..20])));
    assert_bad(&record(&message(b"")));
    let patched = |at: usize, value: u8| {
        let mut body = good.clone();
        body[at] = value;
        record(&message(&body))
    };
    assert_bad(&patched(0, 2)); // major version
    assert_bad(&patched(34, 33)); // session id too long
    assert_bad(&patched(36, 3)); // odd cipher suites
    assert_bad(&patched(36, 0)); // no cipher suites
    assert_bad(&patched(39, 0)); // no compression method
    assert_bad(&record(&[2, 0, 0, 0])); // a ServerHello
    assert_bad(&record(&[2]));
    assert_bad(&[HANDSHAKE, 3, 1, 0, 0]);
    assert_bad(&[HANDSHAKE, 3, 1, 0x40, 1]);
    let alert_inside = [record(&[CLIENT_HELLO]), vec![21, 3, 1, 0, 2, 1, 0]].concat();
    assert_bad(&alert_inside);
}

#[test]
fn a_hello_without_extensions_has_no_name() {
    assert_eq!(
        sniff(&record(&message(&fields())), MAX),
        Sniff::Tls(Hello::default())
    );
}

#[test]
fn ech_is_noticed() {
    let bytes = made_hello(&[sni(b"a.test"), extension(0xfe0d, &[1, 2, 3])].concat());
    assert!(hello_of(sniff(&bytes, MAX)).has_ech);
}

#[test]
fn http_is_told_by_its_method() {
    for (bytes, expected) in [
        (&b"G"[..], Sniff::More),
        (b"GET", Sniff::More),
        (b"GET ", Sniff::Http),
        (b"GET / HTTP/1.1\r\n", Sniff::Http),
        (b"VERSION-CONTROL ", Sniff::Http),
        (b"", Sniff::More),
    ] {
        assert_eq!(sniff(bytes, MAX), expected, "{bytes:?}");
    }
}

#[test]
fn i10_unknown_protocols_are_unknown() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"-GET / HTTP/1.1\r\n",
        b"GET\t/",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        b"\x80\x2e\x01\x00\x02", // SSLv2
        b"\x16\x02\x00",
        b"\x16GET",
        b"\x17\x03\x03\x00\x05",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f", // PostgreSQL SSLRequest
    ] {
        assert_eq!(sniff(bytes, MAX), Sniff::Unknown, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        sniff(&bytes, MAX);
        sniff(&[&[HANDSHAKE, 3, 1][..], &bytes].concat(), MAX);
        sniff(&record(&message(&bytes)), MAX);
        sniff(&made_hello(&bytes), MAX);
    }

    /// One changed byte never turns the name into another without being one in the bytes.
    #[test]
    fn a_growing_buffer_is_judged_like_the_whole(
        at in 0usize..1000, value in any::<u8>(), cut in 0usize..1000,
    ) {
        let mut bytes = real_hello("good.test", &[b"h2"]);
        let at = at % bytes.len();
        bytes[at] = value;
        let cut = cut % bytes.len();
        let mut sniffer = Sniffer::new(MAX);
        let first = sniffer.sniff(&bytes[..cut]);
        if first == Sniff::More {
            prop_assert_eq!(sniffer.sniff(&bytes), sniff(&bytes, MAX));
        } else {
            prop_assert_eq!(first, sniff(&bytes, MAX));
        }
    }
}

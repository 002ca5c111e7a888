use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::reply::{Transport, reply};
use super::*;

/// `good.test` and `many.test` are allowed, `no.test` is refused, the rest is not allowed.
#[derive(Default)]
struct TestAnswers {
    asked: Mutex<Vec<(IpAddr, String, bool)>>,
    counted: Mutex<Vec<Verdict>>,
}

impl Answers for TestAnswers {
    async fn answer(&self, client: IpAddr, name: &Host, v6: bool) -> Answer {
        self.asked.lock().push((client, name.to_string(), v6));
        match name.name() {
            Some("good.test") => {
                let addresses = ["198.51.100.1", "2001:db8::5", "::ffff:198.51.100.2"];
                Answer::Addresses(addresses.map(|ip| ip.parse().unwrap()).into(), 3600)
            }
            Some(name) if name.ends_with("many.test") => {
                let address = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into();
                Answer::Addresses((0..100).map(address).collect(), 5)
            }
            Some("hang.test") => std::future::pending().await,
            Some("no.test") => Answer::Refused,
            _ => Answer::Placeholder,
        }
    }

    fn count(&self, verdict: Verdict) {
        self.counted.lock().push(verdict);
    }
}

impl TestAnswers {
    fn counted(&self) -> Vec<Verdict> {
        self.counted.lock().clone()
    }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2));

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// The reply without any socket, and its verdict.
async fn reply_to(bytes: &[u8], transport: Transport) -> (Option<Message>, Verdict) {
    let answers = TestAnswers::default();
    let bytes = reply(&answers, &Settings::default(), CLIENT, transport, bytes).await;
    let [verdict] = answers.counted()[..] else {
        panic!("counted once");
    };
    let limit = if transport == Transport::Udp {
        1232
    } else {
        65535
    };
    assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() <= limit));
    (
        bytes.map(|bytes| Message::from_vec(&bytes).unwrap()),
        verdict,
    )
}

async fn ask(message: &Message) -> (Message, Verdict) {
    let (reply, verdict) = reply_to(&message.to_vec().unwrap(), Transport::Udp).await;
    let reply = reply.unwrap();
    assert_eq!(reply.metadata.id, message.metadata.id);
    (reply, verdict)
}

fn addresses(reply: &Message) -> Vec<String> {
    let address = |data: &RData| match data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(aaaa) => aaaa.0.to_string(),
        other => panic!("{other:?}"),
    };
    reply
        .answers
        .iter()
        .map(|record| address(&record.data))
        .collect()
}

#[tokio::test]
async fn an_allowed_name_gets_its_addresses_by_family_and_not_for_long() {
    let (v4, verdict) = ask(&query("Good.TEST.", RecordType::A)).await;
    assert_eq!(addresses(&v4), ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(v4.answers[0].ttl, 60);
    assert_eq!(
        v4.queries[0].name.to_string(),
        "Good.TEST.",
        "case as asked"
    );
    assert!(v4.metadata.recursion_desired && v4.metadata.recursion_available);
    assert_eq!(verdict, Verdict::Addresses);
    let (v6, _) = ask(&query("good.test.", RecordType::AAAA)).await;
    assert_eq!(addresses(&v6), ["2001:db8::5"]);
    let (many, _) = ask(&query("many.test.", RecordType::A)).await;
    assert!(many.answers.is_empty(), "the name has no IPv4 address");
}

#[tokio::test]
async fn every_other_name_gets_the_placeholder() {
    for name in [
        "evil.test.",
        "c2VjcmV0.evil.test.",
        "_x.evil.test.",
        "localhost.",
    ] {
        let (v4, verdict) = ask(&query(name, RecordType::A)).await;
        assert_eq!(addresses(&v4), ["192.0.2.1"]);
        assert_eq!(verdict, Verdict::Placeholder);
        let (v6, _) = ask(&query(name, RecordType::AAAA)).await;
        assert_eq!(addresses(&v6), ["2001:db8::1"]);
    }
}

#[tokio::test]
async fn other_types_have_no_data() {
    for kind in [
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::TXT,
        RecordType::MX,
        RecordType::NULL,
        RecordType::PTR,
        RecordType::CNAME,
        RecordType::Unknown(65280),
    ] {
        for name in ["good.test.", "evil.test."] {
            let (reply, verdict) = ask(&query(name, kind)).await;
            assert_eq!(
                reply.metadata.response_code,
                ResponseCode::NoError,
                "{kind}"
            );
            assert!(reply.answers.is_empty());
            assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
            assert_eq!(verdict, Verdict::NoData);
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_refused() {
    for kind in [RecordType::ANY, RecordType::AXFR, RecordType::IXFR] {
        let (reply, verdict) = ask(&query("good.test.", kind)).await;
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::Refused,
            "{kind}"
        );
        assert_eq!(verdict, Verdict::Refused);
    }
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(
        ask(&chaos).await.0.metadata.response_code,
        ResponseCode::Refused
    );
    let (refused, _) = ask(&query("no.test.", RecordType::A)).await;
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    for opcode in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut message = query("good.test.", RecordType::A);
        message.metadata.op_code = opcode;
        let (reply, _) = ask(&message).await;
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::NotImp,
            "{opcode:?}"
        );
        assert_eq!(reply.metadata.op_code, opcode);
    }
}

#[tokio::test]
async fn names_that_no_host_has_do_not_exist() {
    let with_dot = Name::from_labels([&b"evil.good"[..], b"test"]).unwrap();
    let mut inner_dot = query("good.test.", RecordType::A);
    inner_dot.queries[0].name = with_dot;
    let mut binary = query("good.test.", RecordType::A);
    binary.queries[0].name = Name::from_labels([&b"a\0b"[..], b"test"]).unwrap();
    for message in [
        inner_dot,
        binary,
        query(".", RecordType::A),
        query("192.0.2.1.", RecordType::A),
        query("use-application-dns.net.", RecordType::A),
        query("Use-Application-DNS.net.", RecordType::AAAA),
    ] {
        let (reply, verdict) = ask(&message).await;
        assert_eq!(
            reply.metadata.response_code,
            ResponseCode::NXDomain,
            "{message:?}"
        );
        assert_eq!(verdict, Verdict::NotFound);
    }
}

#[tokio::test]
async fn malformed_queries_get_formerr_or_nothing() {
    let good = query("good.test.", RecordType::A);
    let mut two = good.clone();
    two.add_query(good.queries[0].clone());
    let mut none = good.clone();
    none.queries.clear();
    let cut = &good.to_vec().unwrap()[..20];
    let long = [good.to_vec().unwrap(), vec![0; 1300]].concat();
    for bytes in [
        &two.to_vec().unwrap()[..],
        &none.to_vec().unwrap(),
        cut,
        &long,
    ] {
        let (reply, verdict) = reply_to(bytes, Transport::Udp).await;
        assert_eq!(reply.unwrap().metadata.response_code, ResponseCode::FormErr);
        assert_eq!(verdict, Verdict::Malformed);
    }
    let mut response = good.to_vec().unwrap();
    response[2] |= 0x80;
    for bytes in [&response[..], &[], &response[..11]] {
        assert_eq!(
            reply_to(bytes, Transport::Udp).await,
            (None, Verdict::Malformed)
        );
    }
}

#[tokio::test]
async fn udp_replies_fit_or_say_so() {
    let long = format!("{}.many.test.", "a".repeat(63));
    let plain = query(&long, RecordType::AAAA);
    let (reply, _) = ask(&plain).await;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert!(reply.to_vec().unwrap().len() <= 512);
    let mut with_edns = plain.clone();
    with_edns.set_edns(Edns::new().set_max_payload(4096).clone());
    let (reply, _) = ask(&with_edns).await;
    assert!(!reply.metadata.truncation);
    assert_eq!(reply.answers.len(), 16);
    assert_eq!(reply.edns.unwrap().max_payload(), 1232);
    let (reply, _) = reply_to(&plain.to_vec().unwrap(), Transport::Tcp).await;
    assert_eq!(reply.unwrap().answers.len(), 16);
}

#[tokio::test]
async fn a_later_edns_is_answered_with_badvers() {
    let mut message = query("good.test.", RecordType::A);
    message.set_edns(Edns::new().set_version(1).clone());
    let (reply, _) = ask(&message).await;
    // BADVERS, which decodes as BADSIG: both are 16.
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert!(reply.answers.is_empty());
}

fn settings() -> Settings {
    Settings {
        queries_per_client: 1,
        connections_per_client: 1,
        queries_per_connection: 3,
        ..Settings::default()
    }
}

async fn udp_server(answers: &Arc<TestAnswers>) -> SocketAddr {
    let socket = UdpSocket::bind("[::]:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(serve_udp(socket, Arc::clone(answers), settings()));
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn tcp_server(answers: &Arc<TestAnswers>, settings: Settings) -> SocketAddr {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve_tcp(listener, Arc::clone(answers), settings));
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [
        &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        &bytes,
    ]
    .concat()
}

async fn read_reply(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// Whether the server has closed this connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read_u8().await, Err(error) if error.kind() != std::io::ErrorKind::TimedOut)
}

#[tokio::test]
async fn over_udp_the_client_is_seen_without_mapping() {
    let answers = Arc::new(TestAnswers::default());
    let server = udp_server(&answers).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(server).await.unwrap();
    let mut buffer = [0; 1500];
    // What gets no reply does not hold the next query up.
    client.send(&[1, 2, 3]).await.unwrap();
    while answers.counted().is_empty() {
        tokio::task::yield_now().await;
    }
    let message = query("good.test.", RecordType::A);
    client.send(&message.to_vec().unwrap()).await.unwrap();
    let length = client.recv(&mut buffer).await.unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(addresses(&reply).len(), 2);
    let asked = answers.asked.lock().clone();
    assert_eq!(
        asked,
        [("127.0.0.1".parse().unwrap(), "good.test".to_owned(), false)]
    );
}

#[tokio::test]
async fn i9_udp_queries_in_work_are_bounded() {
    let answers = Arc::new(TestAnswers::default());
    let server = udp_server(&answers).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for name in ["hang.test.", "good.test."] {
        let message = query(name, RecordType::A).to_vec().unwrap();
        client.send_to(&message, server).await.unwrap();
    }
    while answers.counted().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(answers.counted(), [Verdict::Dropped]);
    // Another client is served.
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let message = query("good.test.", RecordType::A).to_vec().unwrap();
    other.send_to(&message, server).await.unwrap();
    other.recv(&mut [0; 512]).await.unwrap();
}

#[tokio::test]
async fn over_tcp_queries_may_come_in_any_split_and_a_row() {
    let answers = Arc::new(TestAnswers::default());
    let server = tcp_server(&answers, settings()).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    let first = query("good.test.", RecordType::A);
    let second = query("evil.test.", RecordType::A);
    let both = [framed(&first), framed(&second)].concat();
    for byte in both {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(read_reply(&mut stream).await.metadata.id, first.metadata.id);
    assert_eq!(addresses(&read_reply(&mut stream).await), ["192.0.2.1"]);
    // The third is the last on this connection.
    stream.write_all(&framed(&first)).await.unwrap();
    read_reply(&mut stream).await;
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn i9_tcp_connections_are_bounded_in_number_and_time() {
    let answers = Arc::new(TestAnswers::default());
    let idle = Duration::from_millis(100);
    let server = tcp_server(&answers, Settings { idle, ..settings() }).await;
    let mut first = TcpStream::connect(server).await.unwrap();
    let mut second = TcpStream::connect(server).await.unwrap();
    assert!(is_closed(&mut second).await);
    assert_eq!(answers.counted(), [Verdict::Dropped]);
    first.write_all(&[0]).await.unwrap();
    assert!(is_closed(&mut first).await, "half a length for too long");
    // Its place is free again.
    let mut third = loop {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream
            .write_all(&framed(&query("good.test.", RecordType::A)))
            .await
            .unwrap();
        if stream.read_u16().await.is_ok() {
            break stream;
        }
    };
    third.write_all(&[0xff, 0xff]).await.unwrap();
    while third.read_u8().await.is_ok() {}
    assert_eq!(answers.counted().last(), Some(&Verdict::Malformed));
}

proptest! {
    #[test]
    fn any_bytes_get_at_most_one_reply(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), as_query in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bytes = bytes;
        if as_query && bytes.len() >= 12 {
            bytes[2] &= 0x01;
            let additionals = bytes[11] & 1;
            bytes[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, additionals]);
        }
        let (reply, _) = runtime.block_on(reply_to(&bytes, Transport::Udp));
        prop_assert!(reply.is_none_or(|reply| reply.answers.len() <= 16));
    }

    #[test]
    fn a_damaged_query_is_judged(at in 0usize..100, value in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut message = query("good.test.", RecordType::A);
        message.set_edns(Edns::new());
        let mut bytes = message.to_vec().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        runtime.block_on(reply_to(&bytes, Transport::Udp));
    }
}

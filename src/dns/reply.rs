//! From the bytes of a query to the bytes of its reply.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::{Answer, Answers, QUERY_MAX, Settings, Verdict};
use crate::name::Host;

/// What passes every path unfragmented (DNS flag day 2020), and what we announce.
const UDP_MAX: u16 = 1232;
/// More addresses than this are left out.
const ADDRESSES_MAX: usize = 16;
/// Browsers ask for this name and turn their own DNS over HTTPS off when it does not exist.
const CANARY: &str = "use-application-dns.net";

/// What carried the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram; the reply is truncated to what the client takes.
    Udp,
    /// A stream with lengths before messages.
    Tcp,
}

/// The reply to `query`, counted; `None` for what is no query (or itself a response, which
/// would make two responders talk to each other for ever).
pub async fn reply(
    answers: &impl Answers,
    settings: &Settings,
    client: IpAddr,
    transport: Transport,
    query: &[u8],
) -> Option<Vec<u8>> {
    let (verdict, reply) = match parse(query) {
        Err(NoQuery::Silence) => (Verdict::Malformed, None),
        Err(NoQuery::Malformed(reply)) => (Verdict::Malformed, Some(reply)),
        Err(NoQuery::Unsupported(reply)) => (Verdict::Refused, Some(reply)),
        Ok((query, question)) => {
            let content = content(answers, settings, client, &query, &question).await;
            let verdict = content.verdict;
            (
                verdict,
                encode(&query, question, content, settings, transport),
            )
        }
    };
    answers.count(verdict);
    reply
}

enum NoQuery {
    Silence,
    Malformed(Vec<u8>),
    Unsupported(Vec<u8>),
}

/// One question of opcode QUERY, or what to say to anything else.
fn parse(bytes: &[u8]) -> Result<(Message, Query), NoQuery> {
    let Some((header, _)) = bytes.split_first_chunk::<12>() else {
        return Err(NoQuery::Silence);
    };
    let [_, _, flags, ..] = *header;
    let is_response = flags & 0x80 != 0;
    let opcode = flags >> 3 & 0x0f;
    if is_response {
        return Err(NoQuery::Silence);
    }
    if opcode != 0 {
        return Err(NoQuery::Unsupported(bare(*header, ResponseCode::NotImp)));
    }
    let malformed = || NoQuery::Malformed(bare(*header, ResponseCode::FormErr));
    if bytes.len() > QUERY_MAX {
        return Err(malformed());
    }
    let query = Message::from_vec(bytes).map_err(|_| malformed())?;
    match query.queries.as_slice() {
        [question] => {
            let question = question.clone();
            Ok((query, question))
        }
        _ => Err(malformed()),
    }
}

/// A header alone, for queries whose rest cannot be taken over: id, opcode and RD as asked.
fn bare(header: [u8; 12], code: ResponseCode) -> Vec<u8> {
    let [id_high, id_low, flags, ..] = header;
    let flags = 0x80 | (flags & 0x79);
    vec![id_high, id_low, flags, code.low(), 0, 0, 0, 0, 0, 0, 0, 0]
}

/// What goes into a reply.
struct Content {
    code: ResponseCode,
    records: Vec<RData>,
    ttl: u32,
    verdict: Verdict,
}

impl Content {
    fn empty(code: ResponseCode, verdict: Verdict) -> Self {
        Self {
            code,
            records: Vec::new(),
            ttl: 0,
            verdict,
        }
    }

    /// NODATA when there are none (RFC 2308 §2.2).
    fn records(records: Vec<RData>, ttl: u32, verdict: Verdict) -> Self {
        if records.is_empty() {
            return Self::empty(ResponseCode::NoError, Verdict::NoData);
        }
        Self {
            code: ResponseCode::NoError,
            records,
            ttl,
            verdict,
        }
    }
}

async fn content(
    answers: &impl Answers,
    settings: &Settings,
    client: IpAddr,
    query: &Message,
    question: &Query,
) -> Content {
    let refused = |code| Content::empty(code, Verdict::Refused);
    if query.version() > 0 {
        return refused(ResponseCode::BADVERS);
    }
    if question.query_class != DNSClass::IN {
        return refused(ResponseCode::Refused);
    }
    let v6 = match question.query_type {
        RecordType::A => Some(false),
        RecordType::AAAA => Some(true),
        RecordType::ANY | RecordType::AXFR | RecordType::IXFR => {
            return refused(ResponseCode::Refused);
        }
        _ => None,
    };
    let Some(name) = host(&question.name).filter(|name| name.name() != Some(CANARY)) else {
        return Content::empty(ResponseCode::NXDomain, Verdict::NotFound);
    };
    let Some(v6) = v6 else {
        return Content::empty(ResponseCode::NoError, Verdict::NoData);
    };
    match answers.answer(client, &name, v6).await {
        Answer::Addresses(addresses, ttl) => {
            let records = records(&addresses, v6);
            Content::records(records, ttl.min(settings.ttl), Verdict::Addresses)
        }
        Answer::Placeholder => {
            let records = placeholder(settings, v6).into_iter().collect();
            Content::records(records, settings.ttl, Verdict::Placeholder)
        }
        Answer::Refused => refused(ResponseCode::Refused),
        Answer::NotFound => Content::empty(ResponseCode::NXDomain, Verdict::NotFound),
    }
}

/// The canonical host of a DNS name. Labels may hold any byte on the wire, a dot too.
fn host(name: &Name) -> Option<Host> {
    let mut text = Vec::with_capacity(name.len());
    for label in name {
        if label.contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push(b'.');
        }
        text.extend_from_slice(label);
    }
    // As in a ClientHello: an address is no name.
    Host::from_sni(&text).ok()
}

fn records(addresses: &[IpAddr], v6: bool) -> Vec<RData> {
    addresses
        .iter()
        .filter_map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => (!v6).then(|| RData::A(ip.into())),
            IpAddr::V6(ip) => v6.then(|| RData::AAAA(ip.into())),
        })
        .take(ADDRESSES_MAX)
        .collect()
}

fn placeholder(settings: &Settings, v6: bool) -> Option<RData> {
    if v6 {
        settings.placeholder_v6.map(|ip| RData::AAAA(ip.into()))
    } else {
        settings
            .placeholder_v4
            .map(|address| RData::A(address.into()))
    }
}

/// The reply with its question repeated octet for octet (clients may randomise its case).
fn encode(
    query: &Message,
    question: Query,
    content: Content,
    settings: &Settings,
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = content.code;
    let name = question.name.clone();
    let is_negative = match content.code {
        ResponseCode::NoError => content.records.is_empty(),
        code => code == ResponseCode::NXDomain,
    };
    reply.answers = content
        .records
        .into_iter()
        .map(|data| Record::from_rdata(name.clone(), content.ttl, data))
        .collect();
    if is_negative {
        reply.authorities.push(authority(settings.ttl));
    }
    reply.queries.push(question);
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX);
        edns.set_dnssec_ok(asked.flags().dnssec_ok); // RFC 3225 §3
        reply.edns = Some(edns);
    }
    let limit = match transport {
        Transport::Udp => usize::from(query.max_payload().min(UDP_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    };
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

/// The SOA without which no negative answer is cached (RFC 2308 §3). The root contains
/// every name; none of its fields leads anywhere.
fn authority(ttl: u32) -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86400, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

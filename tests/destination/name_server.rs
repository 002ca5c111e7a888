//! A name server of the internet that keeps what it is asked.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::common::Ns;
use crate::common::events::Events;

/// Where it listens, UDP and TCP: the default of [`crate::town::Config`].
pub const ADDRESS: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2)), 53);

/// The most canonical names in one answer.
const CHAIN_MAX: usize = 20;

/// The addresses of a name, of IPv6 or of IPv4.
type Script = Arc<dyn Fn(&str, bool) -> Vec<IpAddr> + Send + Sync>;

/// It ends with its namespace.
pub struct NameServer {
    asked: Events<(String, RecordType)>,
}

impl NameServer {
    /// Answers A and AAAA by `script`, with a TTL of 0; everything else with NXDOMAIN.
    pub fn start(
        ns: &Ns,
        script: impl Fn(&str, bool) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        Self::with_ttl(ns, 0, script)
    }

    /// The same with another TTL, in seconds.
    pub fn with_ttl(
        ns: &Ns,
        ttl: u32,
        script: impl Fn(&str, bool) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        Self::with_aliases(ns, ttl, &[], script)
    }

    /// The same with canonical names: each name of `aliases` is one for the name beside it. The
    /// answer has the whole chain, up to [`CHAIN_MAX`] records of it.
    pub fn with_aliases(
        ns: &Ns,
        ttl: u32,
        aliases: &'static [(&str, &str)],
        script: impl Fn(&str, bool) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        let asked = Events::new();
        let (script, sink): (Script, _) = (Arc::new(script), asked.clone());
        let answer = Arc::new(move |query: &[u8]| answer(&script, ttl, aliases, &sink, query));
        let (udp, tcp) = ns.block_on(async {
            let udp = UdpSocket::bind(ADDRESS).await.unwrap();
            (udp, TcpListener::bind(ADDRESS).await.unwrap())
        });
        let over_udp = answer.clone();
        ns.spawn_task(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
                let reply = over_udp(&buffer[..length]);
                let _ = udp.send_to(&reply, peer).await;
            }
        });
        ns.spawn_task(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; length.into()];
                        stream.read_exact(&mut query).await?;
                        let reply = answer(&query);
                        stream.write_u16(reply.len().try_into().unwrap()).await?;
                        stream.write_all(&reply).await?;
                    }
                    Ok::<_, std::io::Error>(())
                });
            }
        });
        Self { asked }
    }

    /// What it was asked, in order: names in lower case without the last dot.
    pub fn asked(&self) -> Vec<(String, RecordType)> {
        self.asked.all()
    }

    /// Waits until this name was asked for.
    pub fn wait_asked(&self, name: &str) {
        let found =
            |asked: &[(String, RecordType)]| asked.iter().find(|(seen, _)| seen == name).cloned();
        assert!(self.asked.wait(found).is_some(), "nobody asked for {name}");
    }
}

fn answer(
    script: &Script,
    ttl: u32,
    aliases: &[(&str, &str)],
    asked: &Events<(String, RecordType)>,
    query: &[u8],
) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let name = question.name.to_string().to_lowercase();
    let name = name.trim_end_matches('.').to_owned();
    asked.push((name.clone(), question.query_type));
    let v6 = match question.query_type {
        RecordType::A => Some(false),
        RecordType::AAAA => Some(true),
        _ => None,
    };
    let mut owner = question.name.clone();
    let mut chain = Vec::new();
    let mut last = name.as_str();
    while let Some((_, target)) = aliases.iter().find(|(alias, _)| *alias == last)
        && chain.len() < CHAIN_MAX
    {
        let target_name = Name::from_ascii(format!("{target}.")).unwrap();
        let data = RData::CNAME(CNAME(target_name.clone()));
        chain.push(Record::from_rdata(owner, ttl, data));
        (owner, last) = (target_name, target);
    }
    let addresses = v6.map(|v6| script(last, v6)).unwrap_or_default();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    if v6.is_none() {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    reply.answers = chain;
    for address in addresses {
        let data = match address {
            IpAddr::V4(ip) if v6 == Some(false) => RData::A(ip.into()),
            IpAddr::V6(ip) if v6 == Some(true) => RData::AAAA(ip.into()),
            // Not of the family that was asked for.
            IpAddr::V4(_) | IpAddr::V6(_) => continue,
        };
        reply
            .answers
            .push(Record::from_rdata(owner.clone(), ttl, data));
    }
    reply.queries.push(question);
    reply.to_vec().unwrap()
}

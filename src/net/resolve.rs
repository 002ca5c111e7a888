//! Names to addresses, by the gateway's own resolver.
//!
//! No search domains and no hosts file: a name means the same here as in the rule. Answers
//! are given whole, forbidden addresses too; whoever dials judges each one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use moka::future::Cache;

use super::lookups::{Asker, LookupLimits};
use super::own::OwnAddresses;
use crate::error::{Reason, Refusal};
use crate::name::Host;

/// More addresses than this of one name and family are not looked at.
const ADDRESSES_MAX: usize = 16;
/// How long an answer is kept at least and at most, whatever its TTL.
const KEEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// As above for "no such name".
const KEEP_NEGATIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A failure is remembered just long enough that a burst of requests asks once.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
/// The longest that the addresses of one family are kept when the other gave no answer.
const KEEP_PARTIAL: Duration = Duration::from_secs(30);
/// Once one family has answered with addresses, the other gets this long (RFC 8305 §3 says
/// 50 ms; more here, since the answer is kept and one family may be all that works).
const OTHER_FAMILY: Duration = Duration::from_millis(300);

/// What a [`Resolver`] is made from.
#[derive(Debug)]
pub struct ResolverSettings {
    /// Whom to ask, over UDP and TCP; empty for those of `/etc/resolv.conf`.
    pub nameservers: Vec<SocketAddr>,
    /// The operator's answers, before any resolver.
    pub fixed: HashMap<Host, Vec<IpAddr>>,
    /// For one lookup, all attempts included.
    pub timeout: Duration,
    /// How many names are remembered.
    pub cache_entries: u64,
    /// How many queries leave for an agent, and what names in them.
    pub limits: LookupLimits,
    /// Tells whether IPv6 leads anywhere from here.
    pub own: OwnAddresses,
}

/// Looks names up. Clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    fixed: Arc<HashMap<Host, Vec<IpAddr>>>,
    upstream: TokioResolver,
    cache: Cache<Host, Answer>,
    timeout: Duration,
    limits: Arc<LookupLimits>,
    own: OwnAddresses,
}

/// What a lookup came to, and how long that holds.
#[derive(Clone, Debug)]
struct Answer {
    outcome: Outcome,
    keep: Duration,
}

#[derive(Clone, Debug)]
enum Outcome {
    Addresses(Arc<[IpAddr]>),
    NotFound,
    Failed,
}

/// Each answer is kept as long as it says.
struct AsLongAsItSays;

impl moka::Expiry<Host, Answer> for AsLongAsItSays {
    fn expire_after_create(&self, _: &Host, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.keep)
    }
}

impl Resolver {
    /// A resolver; nothing is asked yet.
    ///
    /// # Errors
    /// When `/etc/resolv.conf` is needed and names no nameserver.
    pub fn new(settings: ResolverSettings) -> io::Result<Self> {
        let servers = if settings.nameservers.is_empty() {
            let (config, _) = system_conf::read_system_conf().map_err(|error| {
                io::Error::other(format!(
                    "cannot take nameservers from /etc/resolv.conf ({error}); name some in the config"
                ))
            })?;
            config.name_servers().to_vec()
        } else {
            settings
                .nameservers
                .iter()
                .map(|server| nameserver(*server))
                .collect()
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options(settings.timeout);
        Ok(Self {
            fixed: Arc::new(settings.fixed),
            upstream: builder.build().map_err(io::Error::other)?,
            cache: Cache::builder()
                .max_capacity(settings.cache_entries)
                .expire_after(AsLongAsItSays)
                .build(),
            timeout: settings.timeout,
            limits: Arc::new(settings.limits),
            own: settings.own,
        })
    }

    /// All addresses of `host`, at least one, IPv6 first: the operator's fixed ones, else
    /// the address it is, else what DNS says (asked once for any number of waiting callers).
    ///
    /// # Errors
    /// `NameNotFound` or `ResolverFailed`; `LookupLimit` or `NameEntropy` where a query would
    /// have to leave and may not.
    pub async fn lookup(&self, asker: Asker<'_>, host: &Host) -> Result<Vec<IpAddr>, Refusal> {
        if let Some(addresses) = self.fixed.get(host) {
            return match addresses.as_slice() {
                [] => Err(not_found(host)),
                some => Ok(some.to_vec()),
            };
        }
        if let Some(ip) = host.ip() {
            return Ok(vec![ip]);
        }
        let answer = if let Some(answer) = self.cache.get(host).await {
            answer
        } else {
            self.limits.check(asker, host)?;
            self.cache.get_with(host.clone(), self.ask(host)).await
        };
        match answer.outcome {
            Outcome::Addresses(addresses) => Ok(addresses.to_vec()),
            Outcome::NotFound => Err(not_found(host)),
            Outcome::Failed => Err(failed(host)),
        }
    }

    /// How many names are remembered, about.
    pub fn cached(&self) -> u64 {
        self.cache.entry_count()
    }

    async fn ask(&self, host: &Host) -> Answer {
        let name = host
            .name()
            .and_then(|name| Name::from_ascii(format!("{name}.")).ok());
        let Some(name) = name else {
            return Answer::not_found(KEEP_NEGATIVE.1);
        };
        let asking = async {
            if self.own.has_ipv6() {
                self.ask_both(&name).await
            } else {
                self.ask_ipv4_first(&name).await
            }
        };
        let answer = tokio::time::timeout(self.timeout, asking).await;
        answer.unwrap_or_else(|_elapsed| {
            tracing::warn!(%host, "the resolver did not answer in time");
            Answer::failed()
        })
    }

    async fn ask_both(&self, name: &Name) -> Answer {
        let v4 = std::pin::pin!(self.ask_family(name, RecordType::A));
        let v6 = std::pin::pin!(self.ask_family(name, RecordType::AAAA));
        match select(v6, v4).await {
            Either::Left((v6, v4)) => v6.and_other(v4).await,
            Either::Right((v4, v6)) => v4.and_other(v6).await,
        }
    }

    /// Where no IPv6 address could be connected to, it is asked for only to tell a name that has
    /// no other from one that has none.
    async fn ask_ipv4_first(&self, name: &Name) -> Answer {
        let v4 = self.ask_family(name, RecordType::A).await;
        match v4.outcome {
            Outcome::Addresses(_) => v4,
            Outcome::NotFound | Outcome::Failed => {
                v4.merge(self.ask_family(name, RecordType::AAAA).await)
            }
        }
    }

    async fn ask_family(&self, name: &Name, family: RecordType) -> Answer {
        match self.upstream.lookup(name.clone(), family).await {
            Ok(lookup) => {
                let mut addresses = Vec::new();
                let mut ttl = u32::MAX;
                for record in lookup.answers() {
                    ttl = ttl.min(record.ttl);
                    match &record.data {
                        RData::A(a) => addresses.push(IpAddr::V4(a.0)),
                        RData::AAAA(aaaa) => addresses.push(IpAddr::V6(aaaa.0)),
                        _ => {}
                    }
                }
                Answer::found(addresses, Duration::from_secs(ttl.into()))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                Answer::not_found(Duration::from_secs(none.negative_ttl.unwrap_or(0).into()))
            }
            Err(error) => {
                tracing::debug!(%name, %family, %error, "lookup failed");
                Answer::failed()
            }
        }
    }
}

impl Answer {
    fn found(mut addresses: Vec<IpAddr>, ttl: Duration) -> Self {
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Self::not_found(ttl);
        }
        Self {
            outcome: Outcome::Addresses(addresses.into()),
            keep: ttl.clamp(KEEP.0, KEEP.1),
        }
    }

    fn not_found(ttl: Duration) -> Self {
        Self {
            outcome: Outcome::NotFound,
            keep: ttl.clamp(KEEP_NEGATIVE.0, KEEP_NEGATIVE.1),
        }
    }

    fn failed() -> Self {
        Self {
            outcome: Outcome::Failed,
            keep: KEEP_FAILURE,
        }
    }

    /// Waits for the other family: shortly if this one has addresses, else to its end.
    async fn and_other(self, other: impl Future<Output = Self>) -> Self {
        match self.outcome {
            Outcome::NotFound | Outcome::Failed => self.merge(other.await),
            Outcome::Addresses(_) => {
                let other = tokio::time::timeout(OTHER_FAMILY, other).await;
                self.merge(other.unwrap_or_else(|_elapsed| Self::failed()))
            }
        }
    }

    /// Both families as one answer. One that failed does not hide the addresses of the other.
    fn merge(self, other: Self) -> Self {
        let sooner = self.keep.min(other.keep);
        let (outcome, keep) = match (self.outcome, other.outcome) {
            (Outcome::Addresses(a), Outcome::Addresses(b)) => {
                let mut all = [a, b].concat();
                all.sort_by_key(IpAddr::is_ipv4); // stable: the server's order within a family
                (Outcome::Addresses(all.into()), sooner)
            }
            (some @ Outcome::Addresses(_), Outcome::NotFound) => (some, self.keep),
            (Outcome::NotFound, some @ Outcome::Addresses(_)) => (some, other.keep),
            (some @ Outcome::Addresses(_), Outcome::Failed) => (some, self.keep.min(KEEP_PARTIAL)),
            (Outcome::Failed, some @ Outcome::Addresses(_)) => (some, other.keep.min(KEEP_PARTIAL)),
            (Outcome::NotFound, Outcome::NotFound) => (Outcome::NotFound, sooner),
            (Outcome::Failed, Outcome::Failed | Outcome::NotFound)
            | (Outcome::NotFound, Outcome::Failed) => (Outcome::Failed, sooner),
        };
        Self { outcome, keep }
    }
}

fn nameserver(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    NameServerConfig::new(address.ip(), true, connections)
}

fn options(timeout: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    // The cache above this has single flight and remembers failures; one cache is enough.
    options.cache_size = 0;
    options.preserve_intermediates = false;
    options.try_tcp_on_error = true;
    // Time for one retry within the whole.
    options.timeout = timeout / 2;
    options.attempts = 1;
    options
}

fn not_found(host: &Host) -> Refusal {
    let sentence = format!("{host} has no address in DNS; check the spelling of the name");
    Refusal::new(Reason::NameNotFound, sentence)
}

fn failed(host: &Host) -> Refusal {
    let sentence = format!("the gateway's resolver could not look up {host}; try again later");
    Refusal::new(Reason::ResolverFailed, sentence)
}

#[cfg(test)]
mod tests;

//! Forbidden networks (I8): where no allowed name may lead, however its address is written.
//!
//! What is not plainly a public unicast address is forbidden. An IPv6 address that carries an
//! IPv4 one is judged by that too, for some translator on the way may unwrap it. (A NAT64
//! prefix of a network's own cannot be told from any other address; only `64:ff9b::/96` can.)
//!
//! [`Permitted`] is the evidence: only [`Networks::check`] makes one, and only one is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::own::OwnAddresses;

/// Why an address is forbidden. Displays as a noun ("a private network").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forbidden {
    /// An interface of the gateway has it, or the operator said it is the gateway's.
    Own,
    /// A cloud's instance metadata or credentials are served there.
    Metadata,
    /// 127.0.0.0/8, `::1`; and 0.0.0.0 and `::`, which Linux connects to loopback.
    Loopback,
    /// 169.254.0.0/16, `fe80::/10`, `fec0::/10`.
    LinkLocal,
    /// RFC 1918, `fc00::/7`.
    Private,
    /// 100.64.0.0/10 (RFC 6598).
    Shared,
    /// 224.0.0.0/4, `ff00::/8`, and the limited broadcast address.
    Multicast,
    /// Documentation, benchmarks, protocol assignments, and all that IANA has not given out.
    Reserved,
    /// Carries an IPv4 address for some translator or tunnel.
    Embedding,
}

impl Forbidden {
    /// Opened only by an `allow_networks` entry for exactly this address (/32 or /128).
    fn is_strict(self) -> bool {
        match self {
            Self::Own | Self::Metadata | Self::Loopback => true,
            Self::LinkLocal
            | Self::Private
            | Self::Shared
            | Self::Multicast
            | Self::Reserved
            | Self::Embedding => false,
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "one of the gateway's own addresses",
            Self::Metadata => "a metadata address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private network",
            Self::Shared => "a carrier's shared network",
            Self::Multicast => "a multicast or broadcast address",
            Self::Reserved => "a reserved network",
            Self::Embedding => "an address that embeds another",
        })
    }
}

/// An address that may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permitted(SocketAddr);

impl Permitted {
    /// The address; never IPv4-mapped.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0
    }
}

/// Judges addresses: the table below, the gateway's own addresses, the operator's exceptions.
#[derive(Clone, Debug)]
pub struct Networks {
    allow: Vec<IpNet>,
    own: OwnAddresses,
}

impl Networks {
    /// `allow` opens exceptions; loopback, metadata and own addresses only by an exact entry.
    #[must_use]
    pub fn new(allow: Vec<IpNet>, own: OwnAddresses) -> Self {
        let allow = allow.into_iter().map(unmapped).collect();
        Self { allow, own }
    }

    /// # Errors
    /// What kind of forbidden network it is.
    pub fn check(&self, address: SocketAddr) -> Result<Permitted, Forbidden> {
        let ip = address.ip().to_canonical();
        match self.judge(ip) {
            Some(forbidden) if !self.excepted(ip, forbidden) => Err(forbidden),
            // Scope and flow of an IPv6 address are not taken over: they name another link.
            Some(_) | None => Ok(Permitted(SocketAddr::new(ip, address.port()))),
        }
    }

    fn judge(&self, ip: IpAddr) -> Option<Forbidden> {
        if self.own.contains(ip) {
            return Some(Forbidden::Own);
        }
        match ip {
            IpAddr::V4(ip) => special_v4(ip),
            IpAddr::V6(ip) => self.judge_v6(ip),
        }
    }

    /// A strict verdict on any embedded address beats the verdict on the address itself, so
    /// that an exception for a whole translation prefix does not open metadata behind it.
    fn judge_v6(&self, ip: Ipv6Addr) -> Option<Forbidden> {
        match embedded(ip) {
            Carries::Nothing => special_v6(ip),
            Carries::Plainly(v4) => self.judge(v4.into()),
            Carries::Opaquely(candidates) => candidates
                .into_iter()
                // Not every form fills both places.
                .filter(|v4| !v4.is_unspecified())
                .filter_map(|v4| self.judge(v4.into()))
                .find(|kind| kind.is_strict())
                .or_else(|| special_v6(ip)),
        }
    }

    fn excepted(&self, ip: IpAddr, forbidden: Forbidden) -> bool {
        self.allow.iter().any(|net| {
            let exact = net.prefix_len() == net.max_prefix_len();
            net.contains(&ip) && (exact || !forbidden.is_strict())
        })
    }
}

/// An entry for IPv4-mapped addresses means the IPv4 ones: that is what is judged.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    mapped
        .and_then(|(ip, length)| Ipv4Net::new(ip, length).ok())
        .map_or(net, IpNet::V4)
}

/// How an IPv6 address carries IPv4 addresses.
#[derive(Clone, Copy)]
enum Carries {
    Nothing,
    /// As good as the IPv4 address itself: the well-known NAT64 prefix (RFC 6052 §2.1).
    Plainly(Ipv4Addr),
    /// In a form that is forbidden as such; these it may stand for.
    Opaquely([Ipv4Addr; 2]),
}

/// The IPv4 addresses that `ip` may carry, and how.
fn embedded(ip: Ipv6Addr) -> Carries {
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // NAT64, well-known.
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Carries::Plainly(v4(a, b)),
        // NAT64, for local use (RFC 8215): as a /96, or as a /48 (RFC 6052 §2.2).
        [0x64, 0xff9b, 1, high, mid, low, a, b] => {
            Carries::Opaquely([v4(a, b), v4(high, (mid & 0xff) << 8 | low >> 8)])
        }
        // Teredo (RFC 4380 §4): the server, and the client's address inverted.
        [0x2001, 0, a, b, _, _, c, d] => Carries::Opaquely([v4(a, b), v4(!c, !d)]),
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..]
        // IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-translated (RFC 2765 §2.1).
        | [0, 0, 0, 0, 0 | 0xffff, 0, a, b]
        // ISATAP (RFC 5214 §6.1), under any prefix.
        | [_, _, _, _, 0 | 0x200, 0x5efe, a, b] => Carries::Opaquely([v4(a, b), NONE]),
        _ => Carries::Nothing,
    }
}

type Range4 = (Ipv4Addr, u32, Forbidden);
type Range6 = (Ipv6Addr, u32, Forbidden);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16, d: u16, low: u64) -> Ipv6Addr {
    let high = (a as u128) << 112 | (b as u128) << 96 | (c as u128) << 80 | (d as u128) << 64;
    Ipv6Addr::from_bits(high | low as u128)
}

/// The first range that holds an address counts. After the IANA special-purpose registry
/// (RFC 6890 and its successors) and the documentation of the clouds.
const SPECIAL_V4: &[Range4] = &[
    (v4(169, 254, 169, 254), 32, Forbidden::Metadata), // AWS, Google, Azure, most others
    (v4(169, 254, 170, 2), 32, Forbidden::Metadata),   // AWS ECS task credentials
    (v4(169, 254, 170, 23), 32, Forbidden::Metadata),  // AWS EKS pod identity
    (v4(169, 254, 42, 42), 32, Forbidden::Metadata),   // Scaleway
    (v4(169, 254, 0, 23), 32, Forbidden::Metadata),    // Tencent
    (v4(168, 63, 129, 16), 32, Forbidden::Metadata),   // Azure WireServer, a public address
    (v4(100, 100, 100, 200), 32, Forbidden::Metadata), // Alibaba
    (v4(192, 0, 0, 192), 32, Forbidden::Metadata),     // Oracle
    (v4(0, 0, 0, 0), 32, Forbidden::Loopback),
    (v4(127, 0, 0, 0), 8, Forbidden::Loopback),
    (v4(0, 0, 0, 0), 8, Forbidden::Reserved),
    (v4(10, 0, 0, 0), 8, Forbidden::Private),
    (v4(100, 64, 0, 0), 10, Forbidden::Shared),
    (v4(169, 254, 0, 0), 16, Forbidden::LinkLocal),
    (v4(172, 16, 0, 0), 12, Forbidden::Private),
    (v4(192, 0, 0, 0), 24, Forbidden::Reserved), // IETF protocol assignments
    (v4(192, 0, 2, 0), 24, Forbidden::Reserved), // TEST-NET-1
    (v4(192, 88, 99, 0), 24, Forbidden::Reserved), // 6to4 relays
    (v4(192, 168, 0, 0), 16, Forbidden::Private),
    (v4(198, 18, 0, 0), 15, Forbidden::Reserved), // benchmarks
    (v4(198, 51, 100, 0), 24, Forbidden::Reserved), // TEST-NET-2
    (v4(203, 0, 113, 0), 24, Forbidden::Reserved), // TEST-NET-3
    (v4(255, 255, 255, 255), 32, Forbidden::Multicast),
    (v4(224, 0, 0, 0), 4, Forbidden::Multicast),
    (v4(240, 0, 0, 0), 4, Forbidden::Reserved),
];

/// As above; what no range here names is public only inside `2000::/3`.
const SPECIAL_V6: &[Range6] = &[
    (v6(0xfd00, 0xec2, 0, 0, 0x254), 128, Forbidden::Metadata), // AWS
    (v6(0xfd00, 0xec2, 0, 0, 0x23), 128, Forbidden::Metadata),  // AWS EKS pod identity
    (v6(0xfd20, 0xce, 0, 0, 0x254), 128, Forbidden::Metadata),  // Google
    (v6(0xfd00, 0x42, 0, 0, 0x42), 128, Forbidden::Metadata),   // Scaleway
    (
        v6(0xfd00, 0xc1, 0, 0, 0xa9fe_a9fe),
        128,
        Forbidden::Metadata,
    ), // Oracle
    (v6(0xfe80, 0, 0, 0, 0xa9fe_a9fe), 128, Forbidden::Metadata), // OpenStack
    (v6(0, 0, 0, 0, 0), 128, Forbidden::Loopback),
    (v6(0, 0, 0, 0, 1), 128, Forbidden::Loopback),
    (v6(0, 0, 0, 0, 0), 96, Forbidden::Embedding), // IPv4-compatible
    (
        v6(0, 0, 0, 0, 0xffff_0000_0000_0000),
        96,
        Forbidden::Embedding,
    ), // IPv4-translated
    (v6(0x64, 0xff9b, 1, 0, 0), 48, Forbidden::Embedding), // NAT64, local use
    (v6(0x2001, 0, 0, 0, 0), 32, Forbidden::Embedding), // Teredo
    (v6(0x2001, 0, 0, 0, 0), 23, Forbidden::Reserved), // IETF: benchmarks, ORCHID, …
    (v6(0x2001, 0xdb8, 0, 0, 0), 32, Forbidden::Reserved), // documentation
    (v6(0x2002, 0, 0, 0, 0), 16, Forbidden::Embedding), // 6to4
    (v6(0x3fff, 0, 0, 0, 0), 20, Forbidden::Reserved), // documentation
    (v6(0xfc00, 0, 0, 0, 0), 7, Forbidden::Private),
    (v6(0xfe80, 0, 0, 0, 0), 10, Forbidden::LinkLocal),
    (v6(0xfec0, 0, 0, 0, 0), 10, Forbidden::LinkLocal), // site-local, deprecated
    (v6(0xff00, 0, 0, 0, 0), 8, Forbidden::Multicast),
];

fn special_v4(ip: Ipv4Addr) -> Option<Forbidden> {
    let within = |(base, length, _): &&Range4| {
        let differing = ip.to_bits() ^ base.to_bits();
        differing.leading_zeros() >= *length
    };
    SPECIAL_V4.iter().find(within).map(|(_, _, kind)| *kind)
}

fn special_v6(ip: Ipv6Addr) -> Option<Forbidden> {
    let within = |(base, length, _): &&Range6| {
        let differing = ip.to_bits() ^ base.to_bits();
        differing.leading_zeros() >= *length
    };
    let [first, _, _, _, id, marker, ..] = ip.segments();
    match SPECIAL_V6.iter().find(within) {
        Some((_, _, kind)) => Some(*kind),
        None if first & 0xe000 != 0x2000 => Some(Forbidden::Reserved),
        None if matches!((id, marker), (0 | 0x200, 0x5efe)) => Some(Forbidden::Embedding), // ISATAP
        None => None,
    }
}

#[cfg(test)]
mod tests;

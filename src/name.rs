//! Names and addresses as types of their own, so that a mixed-up one does not compile.
//!
//! A [`Host`] exists only in canonical form: whoever holds one may compare it byte for byte
//! with any other, and the name that was judged is the name that is looked up and verified.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Longest DNS name in its textual form without the trailing dot (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
/// Longest label (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// What is known of names, and addresses, that the operator gave. Nobody else puts anything in, so
/// that no one can make its entries collide, and every request looks into several.
pub type ByName<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Why a name or authority has no canonical form. Displays as the tail of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than 253 bytes, or a label longer than 63 (RFC 1035 §2.3.4).
    #[error("is too long")]
    TooLong,
    /// Two dots in a row, or a leading or second trailing dot.
    #[error("has an empty label")]
    EmptyLabel,
    /// A byte outside letters, digits, `-` and `_`, or a hyphen at a label's edge.
    #[error("has a character that no host name has")]
    BadCharacter,
    /// An `xn--` label that decodes to nothing valid, or to what needed no encoding.
    #[error("is not valid IDNA")]
    BadIdna,
    /// Looks like an address but is not in the one canonical notation.
    #[error("is an address in an unusual notation")]
    BadAddress,
    /// An IP literal where only a name may stand (RFC 6066 §3).
    #[error("is an address where a name must stand")]
    AddressAsName,
    /// `user@` before the host (RFC 9110 §4.2.4).
    #[error("carries user information")]
    UserInfo,
    /// The port is no decimal number from 1 to 65535.
    #[error("has a bad port")]
    BadPort,
}

/// A host in canonical form: lower case, A-labels, no trailing dot, or an IP address.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Name(Arc<str>),
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a `Host` field or `:authority` (RFC 9110 §7.2):
    /// ASCII only, IPv6 in brackets, IPv4 as four plain decimal numbers and in no other way.
    ///
    /// # Errors
    /// [`NameError`] for whatever has no single canonical form.
    pub fn parse(text: &[u8]) -> Result<Self, NameError> {
        if let Some(inner) = text.strip_prefix(b"[") {
            let inner = inner.strip_suffix(b"]").ok_or(NameError::BadAddress)?;
            return parse_v6(inner).map(|ip| Self(Repr::Address(ip.into())));
        }
        let name = canonical_name(text)?;
        if ends_in_number(&name) {
            return parse_v4(&name).map(|ip| Self(Repr::Address(ip.into())));
        }
        Ok(Self(Repr::Name(name.into())))
    }

    /// Reads the `host_name` of a ClientHello's `server_name` (RFC 6066 §3): never an address.
    ///
    /// # Errors
    /// [`NameError`], with [`NameError::AddressAsName`] for IP literals.
    pub fn from_sni(text: &[u8]) -> Result<Self, NameError> {
        let host = Self::parse(text)?;
        match host.0 {
            Repr::Name(_) => Ok(host),
            Repr::Address(_) => Err(NameError::AddressAsName),
        }
    }

    /// Reads a host as an operator writes it: additionally Unicode names (to A-labels,
    /// UTS 46) and bare IPv6 addresses.
    ///
    /// # Errors
    /// [`NameError`] as for [`Host::parse`].
    pub fn from_config(text: &str) -> Result<Self, NameError> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Self(Repr::Address(ip.into())));
        }
        if text.is_ascii() {
            return Self::parse(text.as_bytes());
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL)
            .map_err(|_| NameError::BadIdna)?;
        Self::parse(ascii.as_bytes())
    }

    /// The address, if this host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0 {
            Repr::Name(_) => None,
            Repr::Address(ip) => Some(ip),
        }
    }

    /// The DNS name, if this host is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Repr::Name(name) => Some(name),
            Repr::Address(_) => None,
        }
    }

    /// The text as used in rules and records: addresses without brackets.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Name(name) => Cow::Borrowed(name),
            Repr::Address(ip) => Cow::Owned(ip.to_string()),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self(Repr::Address(ip))
    }
}

/// As in a URL: IPv6 addresses stand in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Name(name) => f.write_str(name),
            Repr::Address(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Repr::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-cases, drops one trailing dot and checks lengths, characters and A-labels.
fn canonical_name(text: &[u8]) -> Result<String, NameError> {
    let text = text.strip_suffix(b".").unwrap_or(text);
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong);
    }
    for label in text.split(|&byte| byte == b'.') {
        check_label(label)?;
    }
    let name = String::from_utf8(text.to_ascii_lowercase()).map_err(|_| NameError::BadCharacter)?;
    if name.split('.').any(|label| label.starts_with("xn--")) {
        check_idna(&name)?;
    }
    Ok(name)
}

fn check_label(label: &[u8]) -> Result<(), NameError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match label {
        [] => Err(NameError::EmptyLabel),
        [b'-', ..] | [.., b'-'] => Err(NameError::BadCharacter),
        _ if label.len() > LABEL_MAX => Err(NameError::TooLong),
        _ if label.iter().all(allowed) => Ok(()),
        _ => Err(NameError::BadCharacter),
    }
}

/// An A-label must be the one encoding of what it decodes to (RUSTSEC-2024-0421).
fn check_idna(name: &str) -> Result<(), NameError> {
    match idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL) {
        Ok(ascii) if ascii == name => Ok(()),
        _ => Err(NameError::BadIdna),
    }
}

/// Whether some resolver would read the name as an IPv4 address (WHATWG URL, "ends in a number").
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_v4(name: &str) -> Result<Ipv4Addr, NameError> {
    // std reads exactly four decimal numbers without leading zeros (CVE-2021-29922).
    name.parse().map_err(|_| NameError::BadAddress)
}

fn parse_v6(inner: &[u8]) -> Result<Ipv6Addr, NameError> {
    std::str::from_utf8(inner)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NameError::BadAddress)
}

/// The host and port that a request names, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// Whom the request is for.
    pub host: Host,
    /// Never 0; the scheme's default when the request names none.
    pub port: u16,
}

impl Authority {
    /// Reads `host [":" port]` (RFC 3986 §3.2) as sent by an agent; `default_port` stands
    /// in when there is none. User information, an empty port and leading zeros are refused.
    ///
    /// # Errors
    /// [`NameError`] naming what is wrong.
    pub fn parse(text: &[u8], default_port: u16) -> Result<Self, NameError> {
        if text.contains(&b'@') {
            return Err(NameError::UserInfo);
        }
        let host_end = match text.first() {
            Some(b'[') => {
                let close = memchr::memchr(b']', text).ok_or(NameError::BadAddress)?;
                close.saturating_add(1)
            }
            Some(_) => memchr::memchr(b':', text).unwrap_or(text.len()),
            None => return Err(NameError::Empty),
        };
        let (host, rest) = text.split_at_checked(host_end).ok_or(NameError::BadPort)?;
        let port = match rest {
            [] => default_port,
            [b':', digits @ ..] => parse_port(digits)?,
            _ => return Err(NameError::BadCharacter),
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }

    /// As it stands in a `Host` field: the port only where it is not `default_port`.
    #[must_use]
    pub fn to_field(&self, default_port: u16) -> String {
        if self.port == default_port {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn parse_port(digits: &[u8]) -> Result<u16, NameError> {
    let plain = !digits.is_empty()
        && digits.first() != Some(&b'0')
        && digits.iter().all(u8::is_ascii_digit);
    if !plain {
        return Err(NameError::BadPort);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NameError::BadPort)
}

/// Where a connection was going before it was redirected (`SO_ORIGINAL_DST`).
///
/// Only its port is ever used to decide; its address is recorded, never dialled (I3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub SocketAddr);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address a connection came from, IPv4-mapped forms unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! configured_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Chosen by the operator, so it may stand in metrics. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is; the config has checked its form.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(name.into())
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

configured_name! {
    /// The name of an agent, `unknown` for sources that no `[[agent]]` covers.
    AgentName
}
configured_name! {
    /// The name of a rule, unique across all files.
    RuleName
}
configured_name! {
    /// The name of a credential; its secret is never part of it.
    CredentialName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (wire, canonical) in [
            ("good.test", "good.test"),
            ("GOOD.Test", "good.test"),
            ("good.test.", "good.test"),
            ("_dmarc.good.test", "_dmarc.good.test"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ] {
            assert_eq!(Host::parse(wire.as_bytes()).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn hosts_without_one_form_are_refused() {
        use NameError::*;
        for (wire, error) in [
            ("", Empty),
            (".", Empty),
            ("good.test..", EmptyLabel),
            (".good.test", EmptyLabel),
            ("good..test", EmptyLabel),
            ("evil.test\0.good.test", BadCharacter),
            ("good.test%00", BadCharacter),
            ("good\u{3002}test", BadCharacter),
            ("good .test", BadCharacter),
            ("-good.test", BadCharacter),
            ("[good.test]", BadAddress),
            ("[[::1]]", BadAddress),
            ("[::1%eth0]", BadAddress),
            ("xn--good-.test", BadCharacter),
            ("xn--example-0.test", BadIdna),
            ("2130706433", BadAddress),
            ("0x7f.1", BadAddress),
            ("0x7f000001", BadAddress),
            ("0177.0.0.1", BadAddress),
            ("127.1", BadAddress),
            ("1.2.3.4.5", BadAddress),
        ] {
            assert_eq!(Host::parse(wire.as_bytes()), Err(error), "{wire:?}");
        }
        assert_eq!(Host::parse("a".repeat(64).as_bytes()), Err(TooLong));
        assert_eq!(
            Host::parse("a.".repeat(127).as_bytes())
                .unwrap()
                .text()
                .len(),
            253
        );
        assert_eq!(Host::parse("ab.".repeat(90).as_bytes()), Err(TooLong));
    }

    #[test]
    fn sni_is_never_an_address() {
        assert_eq!(Host::from_sni(b"127.0.0.1"), Err(NameError::AddressAsName));
        assert_eq!(Host::from_sni(b"[::1]"), Err(NameError::AddressAsName));
    }

    #[test]
    fn config_may_use_unicode() {
        let host = Host::from_config("b\u{fc}cher.example").unwrap();
        assert_eq!(host.to_string(), "xn--bcher-kva.example");
        assert_eq!(Host::from_config("::1").unwrap().to_string(), "[::1]");
    }

    #[test]
    fn authorities() {
        let parse = |text: &str| Authority::parse(text.as_bytes(), 443);
        assert_eq!(parse("Good.test").unwrap().to_string(), "good.test:443");
        assert_eq!(parse("good.test:8443").unwrap().port, 8443);
        assert_eq!(parse("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(parse("good.test:443").unwrap().to_field(443), "good.test");
        for (text, error) in [
            ("user@good.test", NameError::UserInfo),
            ("good.test:", NameError::BadPort),
            ("good.test:0", NameError::BadPort),
            ("good.test:0443", NameError::BadPort),
            ("good.test:65536", NameError::BadPort),
            ("good.test:+443", NameError::BadPort),
            ("good.test:443:443", NameError::BadPort),
            ("::1", NameError::BadPort),
            ("[::1]443", NameError::BadCharacter),
            ("", NameError::Empty),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}

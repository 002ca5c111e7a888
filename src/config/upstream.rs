//! `[upstream]` and `[dns]`: the way out, and what agents are told about names.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use toml::Spanned;

use super::check::{Check, address, network};
use super::settings::{DeniedNames, Dns, Upstream};
use super::units::Complaint;
use super::written::{self, Text, Texts};
use crate::name::Host;
use crate::policy::rule::Schemes;
use crate::tls::{Pin, Roots, Trust};

const DNS_PORT: u16 = 53;

/// Which servers are believed to be the hosts of a rule.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The CAs; `None` for those of `[upstream]`.
    pub roots: Option<Roots>,
    /// One of these keys must be the server's or that of a CA on the way to it, if there are
    /// any.
    pub pins: Vec<Pin>,
}

impl Check<'_> {
    /// Checks `[upstream]`.
    pub(super) fn upstream(&mut self, written: &written::Upstream) -> Upstream {
        let mut upstream = Upstream::default();
        if let Some(trust) = &written.trust {
            upstream.trust = self.trust(trust);
        }
        for text in written.crl.iter().flat_map(Spanned::get_ref) {
            upstream.crl.extend(self.path("crl", text));
        }
        for text in written.allow_networks.iter().flat_map(Spanned::get_ref) {
            upstream.allow_networks.extend(self.allowed_network(text));
        }
        for text in written.nameservers.iter().flat_map(Spanned::get_ref) {
            upstream.nameservers.extend(self.parse(text, nameserver));
        }
        for text in written.own_addresses.iter().flat_map(Spanned::get_ref) {
            upstream.own_addresses.extend(self.parse(text, address));
        }
        for (name, addresses) in &written.resolve {
            let host = self.parse(name, |text| match Host::from_config(text) {
                Ok(host) if host.name().is_some() => Ok(host),
                Ok(_) => Err(Complaint::new(format!("`{text}` is an address already"))),
                Err(error) => Err(Complaint::new(format!("`{text}` {error}"))),
            });
            let addresses = self.list("resolve", addresses, address);
            let Some(host) = host else { continue };
            if upstream.resolve.insert(host, addresses).is_some() {
                let message = format!("`{}` stands twice in `resolve`", name.get_ref());
                self.error(name.span(), message, "write all its addresses in one list");
            }
        }
        upstream
    }

    /// `trust` and `pins` of a rule. The files are read here, so that what is wrong with them
    /// is told with its place, and before anything changes.
    pub(super) fn believed(&mut self, rule: &written::Rule, schemes: Schemes) -> Option<Believed> {
        for (key, span) in [
            ("trust", rule.trust.as_ref().map(Spanned::span)),
            ("pins", rule.pins.as_ref().map(Spanned::span)),
        ] {
            if let (Some(span), false) = (span, schemes.https) {
                let message = format!("`{key}` means nothing without `https`");
                self.error(span, message, format!("leave `{key}` out, or add `https`"));
            }
        }
        let roots = rule.trust.as_ref().and_then(|written| self.roots(written));
        let pins = rule.pins.as_ref();
        let pins = pins.map(|list| self.list("pins", list, pin));
        (roots.is_some() || pins.is_some()).then(|| Believed {
            roots,
            pins: pins.unwrap_or_default(),
        })
    }

    fn roots(&mut self, written: &Spanned<written::Trust>) -> Option<Roots> {
        let errors = self.findings.errors();
        let trust = self.trust(written);
        if self.findings.errors() > errors {
            return None;
        }
        match Roots::load(&trust, "trust") {
            Ok(roots) => Some(roots),
            Err(error) => {
                let help = "name PEM files of CA certificates that the gateway can read";
                let cause = std::error::Error::source(&error);
                let cause = cause.map(|cause| format!(": {cause}"));
                let message = format!("{error}{}", cause.unwrap_or_default());
                self.error(written.span(), message, help);
                None
            }
        }
    }

    fn trust(&mut self, written: &Spanned<written::Trust>) -> Trust {
        match written.get_ref() {
            written::Trust::Word(word) if word == "system" => {}
            written::Trust::Word(_) => self.error(
                written.span(),
                "`trust` is neither \"system\" nor a list of PEM files",
                "write `trust = \"system\"` or `trust = [\"roots.pem\"]`",
            ),
            written::Trust::Files(files) if files.is_empty() => self.error(
                written.span(),
                "an empty `trust` believes no server",
                "write `trust = \"system\"` or `trust = [\"roots.pem\"]`",
            ),
            written::Trust::Files(files) => {
                let paths = files.iter().filter_map(|text| self.path("trust", text));
                return Trust::Pem(paths.collect());
            }
        }
        Trust::System
    }

    /// A network that opens nothing because all of it needs exact addresses is an error; one
    /// that opens every private network is seldom meant.
    fn allowed_network(&mut self, text: &Text) -> Option<IpNet> {
        let net = self.parse(text, network)?;
        let exact = net.prefix_len() == net.max_prefix_len();
        if !exact && net.network().is_loopback() && net.broadcast().is_loopback() {
            self.error(
                text.span(),
                format!("`{net}` opens nothing: loopback is opened by exact addresses only"),
                "write each address, such as `127.0.0.1`",
            );
            return None;
        }
        if net.prefix_len() == 0 {
            self.warn(
                text.span(),
                format!("`{net}` opens every private network to agents"),
                "name the networks that agents need",
            );
        }
        Some(net)
    }

    /// Checks `[dns]`.
    pub(super) fn dns(&mut self, written: &written::Dns) -> Dns {
        let mut dns = Dns::default();
        if let Some(list) = &written.placeholder {
            (dns.placeholder_v4, dns.placeholder_v6) = (None, None);
            self.placeholder(list, &mut dns);
        }
        if let Some(text) = &written.denied {
            let words = [
                ("placeholder", DeniedNames::Placeholder),
                ("refused", DeniedNames::Refused),
                ("nxdomain", DeniedNames::NotFound),
            ];
            dns.denied = self.word("denied", text, &words).unwrap_or(dns.denied);
        }
        dns
    }

    fn placeholder(&mut self, list: &Texts, dns: &mut Dns) {
        self.not_empty("placeholder", list);
        for text in list.get_ref() {
            let Some(ip) = self.parse(text, placeholder) else {
                continue;
            };
            let double = match ip {
                IpAddr::V4(ip) => dns.placeholder_v4.replace(ip).is_some(),
                IpAddr::V6(ip) => dns.placeholder_v6.replace(ip).is_some(),
            };
            if double {
                let message = "`placeholder` has two addresses of one family";
                self.error(
                    text.span(),
                    message,
                    "at most one IPv4 and one IPv6 address",
                );
            }
        }
    }
}

/// The hash of a public key.
pub(super) fn pin(text: &str) -> Result<Pin, Complaint> {
    Pin::parse(text).ok_or_else(|| {
        Complaint::new(format!("`{}` is no public key's hash", text.escape_debug()))
            .help("write `sha256/` and the base64 of the SHA-256 of a SubjectPublicKeyInfo, of the server or of a CA that its certificate leads to")
    })
}

fn nameserver(text: &str) -> Result<SocketAddr, Complaint> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        if socket.port() == 0 {
            return Err(Complaint::new("0 is no port").help("leave it out for port 53"));
        }
        return Ok(socket);
    }
    address(text)
        .map(|ip| SocketAddr::new(ip, DNS_PORT))
        .map_err(|_| {
            Complaint::new(format!("`{}` is no nameserver", text.escape_debug())).help(
                "write it like `9.9.9.9`, `10.0.0.2:5353`, `[fd00::2]:53`; names do not work here",
            )
        })
}

/// An agent must send its packets for the placeholder out to the gateway.
fn placeholder(text: &str) -> Result<IpAddr, Complaint> {
    let ip = address(text)?;
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local {
        return Err(Complaint::new(format!(
            "agents would not send to `{ip}` through the gateway"
        ))
        .help("use an address that is routed and that nobody has, such as `198.18.0.1`"));
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers() {
        for (text, socket) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("10.0.0.2:5353", "10.0.0.2:5353"),
            ("fd00::2", "[fd00::2]:53"),
            ("[fd00::2]:5353", "[fd00::2]:5353"),
        ] {
            assert_eq!(nameserver(text).unwrap().to_string(), socket);
        }
        for text in ["", "dns.example", "9.9.9.9:", "9.9.9.9:0", "[fd00::2]"] {
            assert!(nameserver(text).is_err(), "{text}");
        }
    }

    #[test]
    fn placeholders_must_leave_the_agent() {
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "169.254.0.1",
            "::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(placeholder(text).is_err(), "{text}");
        }
        assert!(placeholder("198.18.0.1").is_ok());
        assert!(placeholder("100::1").is_ok());
    }
}

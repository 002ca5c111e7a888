//! The tools every check uses: a file, the findings so far, and how to read small values.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::finding::{Finding, Findings, Severity};
use super::nearest::suggest;
use super::source::File;
use super::units::Complaint;
use super::written::{Number, Text};

/// Checks values of one file.
pub(super) struct Check<'a> {
    pub(super) file: &'a File,
    pub(super) findings: &'a mut Findings,
}

impl Check<'_> {
    /// Tells an error and what to do about it.
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.tell(Severity::Error, span, message, |finding| {
            finding.help(help);
        });
    }

    /// Tells that this works but is likely not meant.
    pub(super) fn warn(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.tell(Severity::Warning, span, message, |finding| {
            finding.help(help);
        });
    }

    /// Tells a finding that `complete` completes.
    pub(super) fn tell(
        &mut self,
        severity: Severity,
        span: Range<usize>,
        message: impl Into<String>,
        complete: impl FnOnce(&mut Finding),
    ) {
        let mut finding = self.file.finding(severity, span, message.into());
        complete(&mut finding);
        self.findings.push(finding);
    }

    /// Reads a value, telling what the reader complains about.
    pub(super) fn parse<T>(
        &mut self,
        text: &Text,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        match read(text.get_ref()) {
            Ok(value) => Some(value),
            Err(Complaint { message, help }) => {
                self.tell(Severity::Error, text.span(), message, |finding| {
                    finding.maybe_help(help);
                });
                None
            }
        }
    }

    /// Reads each value of a list that may not be empty, and tells doubles.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &str,
        list: &Spanned<Vec<Text>>,
        mut read: impl FnMut(&str) -> Result<T, Complaint>,
    ) -> Vec<T> {
        self.not_empty(key, list);
        let mut values: Vec<T> = Vec::new();
        for text in list.get_ref() {
            if let Some(value) = self.parse(text, &mut read) {
                if values.contains(&value) {
                    let message = format!("`{}` stands twice in `{key}`", text.get_ref());
                    self.warn(text.span(), message, "leave one of them out");
                } else {
                    values.push(value);
                }
            }
        }
        values
    }

    /// Tells an empty list, which is never what was meant.
    pub(super) fn not_empty<T>(&mut self, key: &str, list: &Spanned<Vec<T>>) {
        if !list.get_ref().is_empty() {
            return;
        }
        let help = match key {
            "agents" => "name at least one, or write `[\"any\"]`".to_owned(),
            "hosts" | "sources" | "resolve" => "name at least one".to_owned(),
            _ => format!("name at least one, or leave `{key}` out"),
        };
        self.error(list.span(), format!("`{key}` is an empty list"), help);
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &str,
        text: &Text,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.parse(text, |word| {
            if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
                return Ok(*value);
            }
            let known: Vec<_> = words.iter().map(|(known, _)| *known).collect();
            Err(Complaint::new(format!("`{word}` is no value of `{key}`"))
                .help(suggest(word, &known)))
        })
    }

    /// Reads a whole number in a range.
    pub(super) fn number(&mut self, number: &Number, least: i64, most: i64) -> Option<i64> {
        let value = *number.get_ref();
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let help = format!("a whole number from {least} to {most}");
        self.error(number.span(), format!("{value} is out of range"), help);
        None
    }

    /// Reads TCP ports, none of them 0, none twice.
    pub(super) fn ports(&mut self, ports: &Spanned<Vec<Number>>) -> Vec<u16> {
        self.not_empty("ports", ports);
        let mut values = Vec::new();
        for port in ports.get_ref() {
            let value = u16::try_from(*port.get_ref()).ok().filter(|port| *port > 0);
            match value {
                None => {
                    let message = format!("{} is no port", port.get_ref());
                    self.error(port.span(), message, "a whole number from 1 to 65535");
                }
                Some(value) if values.contains(&value) => {
                    let message = format!("{value} stands twice in `ports`");
                    self.warn(port.span(), message, "leave one of them out");
                }
                Some(value) => values.push(value),
            }
        }
        values
    }
}

/// A name that may stand in metrics, records and header fields.
pub(super) fn plain_name(text: &str) -> Result<&str, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= 64 && text.chars().all(plain) {
        return Ok(text);
    }
    Err(
        Complaint::new(format!("`{}` is no name", text.escape_debug()))
            .help("1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit"),
    )
}

/// An address in canonical form, IPv4 written as IPv4.
pub(super) fn address(text: &str) -> Result<IpAddr, Complaint> {
    let ip: IpAddr = text
        .parse()
        .map_err(|_| Complaint::new(format!("`{}` is no IP address", text.escape_debug())))?;
    if ip.to_canonical() == ip {
        return Ok(ip);
    }
    Err(
        Complaint::new(format!("`{text}` is an IPv4 address written as IPv6"))
            .help(format!("write `{}`", ip.to_canonical())),
    )
}

/// A network in CIDR notation, or a single address; no bits set after the prefix.
pub(super) fn network(text: &str) -> Result<IpNet, Complaint> {
    if !text.contains('/') {
        return address(text)
            .map(IpNet::from)
            .map_err(|complaint| match complaint.help {
                Some(_) => complaint,
                None => Complaint::new(format!("`{}` is no network", text.escape_debug()))
                    .help("write it like `10.0.1.0/24`, `fd00:1::/64`, `10.0.1.7`"),
            });
    }
    let net: IpNet = text.parse().map_err(|_| {
        Complaint::new(format!("`{}` is no network", text.escape_debug()))
            .help("write it like `10.0.1.0/24`, `fd00:1::/64`, `10.0.1.7`")
    })?;
    if net.trunc() != net {
        return Err(
            Complaint::new(format!("`{text}` has bits set after its prefix")).help(format!(
                "write the network `{}` or the address `{}`",
                net.trunc(),
                net.addr()
            )),
        );
    }
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
        && v6.prefix_len() >= 96
    {
        return Err(
            Complaint::new(format!("`{text}` is an IPv4 network written as IPv6"))
                .help("write it as IPv4"),
        );
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, net) in [
            ("10.0.1.0/24", "10.0.1.0/24"),
            ("10.0.1.7", "10.0.1.7/32"),
            ("fd00:1::/64", "fd00:1::/64"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), net);
        }
        for text in [
            "",
            "10.0.1",
            "10.0.1.0/33",
            "10.0.1.0/",
            "10.0.1.1/24",
            "fd00::1/64",
            "a/8",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
        let help = |text| network(text).unwrap_err().help.unwrap();
        assert_eq!(
            help("10.0.1.7/24"),
            "write the network `10.0.1.0/24` or the address `10.0.1.7`"
        );
        assert_eq!(help("::ffff:10.0.0.0/104"), "write it as IPv4");
        assert_eq!(help("::ffff:10.0.0.1"), "write `10.0.0.1`");
    }

    #[test]
    fn names() {
        for text in ["a", "anthropic-messages", "A.b_c-9", "9"] {
            assert_eq!(plain_name(text), Ok(text));
        }
        for text in ["", "-a", ".", "a b", "a\n", "é", "a\"", "a{"] {
            assert!(plain_name(text).is_err(), "{text:?}");
        }
        assert!(plain_name(&"a".repeat(65)).is_err());
    }
}

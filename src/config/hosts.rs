//! Hosts as rules and credentials write them.

use super::units::Complaint;
use crate::name::Host;
use crate::policy::rule::HostPattern;

/// `api.example.com` or `*.example.com`.
pub(super) fn pattern(text: &str) -> Result<HostPattern, Complaint> {
    let bad = |why: &str| Complaint::new(format!("`{}` {why}", text.escape_debug()));
    match text.strip_prefix("*.") {
        Some(suffix) if !suffix.contains('*') => {
            let host = exact(suffix)?;
            if host.name().is_none() {
                return Err(
                    bad("puts a wildcard before an address").help("write the address alone")
                );
            }
            Ok(HostPattern::Under(host))
        }
        None if !text.contains('*') => exact(text).map(HostPattern::Exact),
        _ => Err(match text {
            "*" | "**" => bad("is no host").help("write `any_host = true` for all hosts"),
            _ if text.starts_with("**.") => {
                bad("has a `**`").help("write `*.`: it already stands for one or more labels")
            }
            _ => bad("has a `*` that does not stand for whole labels at the start")
                .help("write each name, or `*.example.com` for every name under one"),
        }),
    }
}

/// One host, without port, path or wildcard.
pub(super) fn exact(text: &str) -> Result<Host, Complaint> {
    Host::from_config(text).map_err(|error| {
        if text.is_empty() {
            return Complaint::new("an empty text is no host");
        }
        let complaint = Complaint::new(format!("`{}` {error}", text.escape_debug()));
        match remedy(text) {
            Some(help) => complaint.help(help),
            None => complaint,
        }
    })
}

/// What is likely meant by a text that is no host.
fn remedy(text: &str) -> Option<String> {
    if text.contains('*') {
        return Some("write exact names".to_owned());
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, true),
        _ => (authority, false),
    };
    if host == text || Host::from_config(host).is_err() {
        return None;
    }
    let elsewhere = match (port, rest != authority) {
        (true, true) => "; ports go into `ports`, paths into `paths`",
        (true, false) => "; ports go into `ports`",
        (false, true) => "; paths go into `paths`",
        (false, false) => "; schemes go into `schemes`",
    };
    Some(format!("write `{host}`{elsewhere}"))
}

/// Whether anybody can get a name under this one: a public suffix by the list at
/// publicsuffix.org, with its private section (`workers.dev`), or a name of one label, known
/// or not.
pub(super) fn is_shared(suffix: &Host) -> bool {
    suffix
        .name()
        .is_some_and(|name| psl::suffix_str(name) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let host = |text: &str| Host::from_config(text).unwrap();
        assert_eq!(
            pattern("API.example.com").unwrap(),
            HostPattern::Exact(host("api.example.com"))
        );
        assert_eq!(
            pattern("*.example.com").unwrap(),
            HostPattern::Under(host("example.com"))
        );
        assert_eq!(pattern("::1").unwrap(), HostPattern::Exact(host("::1")));
        for text in [
            "",
            "*",
            "**",
            "**.a.com",
            "*.*.a.com",
            "a*.com",
            "a.*.com",
            "*.",
            "*.1.2.3.4",
            "*a.com",
            "a.*",
            "*.::1",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn remedies_say_where_the_rest_goes() {
        for (text, help) in [
            (
                "https://api.a.com",
                Some("write `api.a.com`; schemes go into `schemes`"),
            ),
            (
                "api.a.com:8443",
                Some("write `api.a.com`; ports go into `ports`"),
            ),
            (
                "https://api.a.com:1/v1",
                Some("write `api.a.com`; ports go into `ports`, paths into `paths`"),
            ),
            (
                "api.a.com/v1",
                Some("write `api.a.com`; paths go into `paths`"),
            ),
            ("a..b", None),
            ("", None),
        ] {
            assert_eq!(exact(text).unwrap_err().help.as_deref(), help, "{text}");
        }
    }

    #[test]
    fn shared_suffixes() {
        let shared = |text: &str| is_shared(&Host::from_config(text).unwrap());
        for text in [
            "com",
            "co.uk",
            "workers.dev",
            "github.io",
            "internal",
            "s3.amazonaws.com",
        ] {
            assert!(shared(text), "{text}");
        }
        for text in [
            "example.com",
            "example.co.uk",
            "me.workers.dev",
            "git.internal",
        ] {
            assert!(!shared(text), "{text}");
        }
    }
}

//! Which methods the gateway knows, and which none passes on.

use http::Method;

/// The IANA HTTP Method Registry, sorted, without what no gateway passes on and without
/// `*` and `PRI`, which the registry reserves and nobody sends.
pub const KNOWN: &[&str] = &[
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// What no rule can allow: CONNECT asks for a tunnel, TRACE for an echo of the request with
/// its credential, and `PRI` begins an HTTP/2 preface (RFC 9113 §3.4).
pub const NEVER: [&str; 3] = ["CONNECT", "PRI", "TRACE"];

/// Whether a rule without `methods` covers it. Case matters (RFC 9110 §9.1).
#[must_use]
pub fn is_known(method: &Method) -> bool {
    known(method).is_some()
}

/// Whether no rule may allow it.
#[must_use]
pub fn is_never_passed(method: &Method) -> bool {
    NEVER.contains(&method.as_str())
}

/// The method as a metric label: one of [`KNOWN`], or `other`.
#[must_use]
pub fn label(method: &Method) -> &'static str {
    known(method).unwrap_or("other")
}

fn known(method: &Method) -> Option<&'static str> {
    // Nearly all of them.
    match *method {
        Method::GET => return Some("GET"),
        Method::POST => return Some("POST"),
        _ => {}
    }
    let index = KNOWN.binary_search(&method.as_str()).ok()?;
    KNOWN.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_is_sorted_and_apart_from_never() {
        assert!(KNOWN.is_sorted());
        assert!(NEVER.iter().all(|never| !KNOWN.contains(never)));
    }

    #[test]
    fn labels_come_from_a_fixed_set() {
        let label = |text: &str| label(&Method::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(label("GET"), "GET");
        assert_eq!(label("VERSION-CONTROL"), "VERSION-CONTROL");
        for other in ["get", "Get", "CONNECT", "TRACE", "PRI", "FOO", "GETX"] {
            assert_eq!(label(other), "other", "{other}");
        }
    }
}

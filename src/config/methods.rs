//! Methods as rules write them.

use http::Method;

use super::nearest::nearest;
use super::units::Complaint;

/// The registry of RFC 9110 §16.1, without those that no gateway passes on.
const REGISTERED: [&str; 37] = [
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

/// Ends the connection's meaning (CONNECT), echoes credentials (TRACE), or is the preface of
/// HTTP/2 (PRI, RFC 9113 §11.6).
const NEVER: [&str; 3] = ["CONNECT", "PRI", "TRACE"];

/// A method, and whether it is registered; if not, which one may be meant.
pub(super) fn method(text: &str) -> Result<(Method, Result<(), Option<&'static str>>), Complaint> {
    let upper = text.to_ascii_uppercase();
    if NEVER.contains(&upper.as_str()) {
        return Err(Complaint::new(format!("`{text}` is never passed on")).help("leave it out"));
    }
    let bad = || Complaint::new(format!("`{}` is no method", text.escape_debug()));
    if text == "*" {
        return Err(bad().help("leave `methods` out for all methods"));
    }
    let method = Method::from_bytes(text.as_bytes())
        .map_err(|_| bad().help("write each method by itself, like `GET`"))?;
    if upper != text {
        return Err(Complaint::new(format!(
            "`{text}` is not in upper case, and methods are case-sensitive"
        ))
        .help(format!("did you mean `{upper}`?")));
    }
    if REGISTERED.contains(&text) {
        return Ok((method, Ok(())));
    }
    Ok((method, Err(nearest(text, REGISTERED))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert!(matches!(method("GET"), Ok((Method::GET, Ok(())))));
        assert_eq!(method("PSOT").unwrap().1, Err(Some("POST")));
        assert_eq!(method("FROBNICATE").unwrap().1, Err(None));
        for text in [
            "", "get", "Get", "GET POST", "*", "CONNECT", "trace", "PRI", "G\u{e9}T",
        ] {
            assert!(method(text).is_err(), "{text}");
        }
        assert_eq!(
            method("get").unwrap_err().help.as_deref(),
            Some("did you mean `GET`?")
        );
    }

    #[test]
    fn the_registry_is_in_order() {
        assert!(REGISTERED.is_sorted());
    }
}

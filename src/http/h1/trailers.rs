//! Which fields may stand in a trailer section.

use http::HeaderName;

use super::fields::Managed;

/// Fields that mean something only before the body: routing, request modifiers,
/// authentication and response control (RFC 9110 §6.5.1).
const FORBIDDEN: &[&str] = &[
    "accept-encoding",
    "age",
    "alt-svc",
    "authentication-info",
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "expires",
    "forwarded",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-http-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Whether a trailer of this name is dropped: it could change how the message is framed,
/// routed or authenticated, or what its content is, after that was decided.
#[must_use]
pub fn is_forbidden_trailer(name: &HeaderName) -> bool {
    let name = name.as_str();
    // RFC 9530 §2 defines Content-Digest for trailers; every other content field describes
    // what has already been read.
    if name == "content-digest" {
        return false;
    }
    Managed::of(name.as_bytes()).is_some()
        || ["content-", "if-", "x-forwarded-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || FORBIDDEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_could_change_a_decision() {
        for name in [
            "authorization",
            "host",
            "content-length",
            "transfer-encoding",
            "trailer",
            "te",
            "connection",
            "upgrade",
            "expect",
            "keep-alive",
            "proxy-connection",
            "cookie",
            "set-cookie",
            "content-type",
            "content-encoding",
            "content-range",
            "if-match",
            "range",
            "x-forwarded-host",
            "x-http-method-override",
            "cache-control",
        ] {
            assert!(
                is_forbidden_trailer(&HeaderName::from_static(name)),
                "{name}"
            );
        }
    }

    #[test]
    fn passes_what_trailers_are_for() {
        for name in [
            "grpc-status",
            "grpc-message",
            "content-digest",
            "x-amz-checksum-crc32",
            "server-timing",
            "etag",
        ] {
            assert!(
                !is_forbidden_trailer(&HeaderName::from_static(name)),
                "{name}"
            );
        }
    }
}

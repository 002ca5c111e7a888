//! Content codings (RFC 9110 §8.4): which can be looked into.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
}

/// Why a coding cannot be looked into.
pub(super) type Opaque = &'static str;

/// Asks for what can be looked into, and for nothing else. Partial and difference codings
/// (RFC 3229), and the compression of single gRPC messages, are not asked for at all.
pub(super) fn narrow(headers: &mut HeaderMap) {
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    for name in ["a-im", "available-dictionary", "grpc-accept-encoding"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// The coding of a message with these headers.
pub(super) fn of(headers: &HeaderMap) -> Result<Coding, Opaque> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for word in value.as_bytes().split(|&byte| byte == b',') {
            let word = word.trim_ascii().to_ascii_lowercase();
            coding = match (word.as_slice(), coding) {
                (b"" | b"identity", coding) => coding,
                _ => return Err("its body is coded in a way that was not asked for"),
            };
        }
    }
    let grpc = headers.get("grpc-encoding");
    if grpc.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err("its messages are compressed, which was not asked for");
    }
    Ok(coding)
}

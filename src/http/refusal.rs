//! A refusal as a response that a person, a model or a client library can act on.
//!
//! `application/problem+json` (RFC 9457) with `Proxy-Status` (RFC 9209); gRPC clients get a
//! trailers-only response and git gets plain text, because that is what they show.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use crate::error::Refusal;

/// How the agent wants to read a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `application/problem+json`.
    Problem,
    /// A gRPC trailers-only response.
    Grpc,
    /// `text/plain`.
    Text,
}

impl Dialect {
    /// Judged from the request's own headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let starts = |name: HeaderName, prefix: &[u8]| {
            headers
                .get(name)
                .is_some_and(|value| value.as_bytes().starts_with(prefix))
        };
        if starts(header::CONTENT_TYPE, b"application/grpc") {
            Self::Grpc
        } else if starts(header::USER_AGENT, b"git/") {
            Self::Text
        } else {
            Self::Problem
        }
    }
}

/// The problem document (RFC 9457 §3.1), with the record's id as an extension member.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    record: &'a str,
}

/// Builds the response for `refusal`; `record` is the id of its audit record.
#[must_use]
pub fn response(refusal: &Refusal, dialect: Dialect, record: &str) -> Response<Body> {
    let reason = refusal.reason;
    let mut response = match dialect {
        Dialect::Grpc => trailers_only(refusal),
        Dialect::Text => {
            let text = format!("portreeve: {} (record {record})\n", refusal.sentence);
            with_content(reason.status(), "text/plain; charset=utf-8", text.into())
        }
        Dialect::Problem => {
            let problem = Problem {
                r#type: format!("urn:portreeve:{}", reason.label()),
                title: reason.title(),
                status: reason.status().as_u16(),
                detail: &refusal.sentence,
                record,
            };
            let json = serde_json::to_vec(&problem).unwrap_or_default();
            with_content(reason.status(), "application/problem+json", json.into())
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let status = format!(
        "portreeve; error={}; details={}",
        reason.proxy_error(),
        reason.label()
    );
    if let Ok(status) = HeaderValue::try_from(status) {
        headers.insert(HeaderName::from_static("proxy-status"), status);
    }
    if reason.is_temporary() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn with_content(status: StatusCode, kind: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// gRPC over HTTP/2, "Trailers-Only": status and message in the one header block.
fn trailers_only(refusal: &Refusal) -> Response<Body> {
    let mut response = with_content(StatusCode::OK, "application/grpc", Bytes::new());
    let headers = response.headers_mut();
    headers.insert(
        "grpc-status",
        HeaderValue::from(u16::from(refusal.reason.grpc_status())),
    );
    if let Ok(message) = HeaderValue::try_from(grpc_message(&refusal.sentence)) {
        headers.insert("grpc-message", message);
    }
    response
}

/// Percent-encodes as gRPC wants it: everything outside 0x20–0x7e, and `%`.
fn grpc_message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn refusal() -> Refusal {
        Refusal::new(
            Reason::NoRule,
            "no rule allows DELETE on api.test; 100 % sure",
        )
    }

    fn content(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Held(bytes, None) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn problems_name_reason_and_record() {
        let response = response(&refusal(), Dialect::Problem, "r-1");
        assert_eq!(response.status(), 403);
        assert_eq!(
            response.headers()["proxy-status"],
            "portreeve; error=http_request_denied; details=no_rule"
        );
        let problem: serde_json::Value = serde_json::from_str(&content(response)).unwrap();
        assert_eq!(problem["type"], "urn:portreeve:no_rule");
        assert_eq!(problem["record"], "r-1");
        assert_eq!(problem["status"], 403);
    }

    #[test]
    fn grpc_reads_its_own_dialect() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            "application/grpc+proto".parse().unwrap(),
        );
        assert_eq!(Dialect::of(&headers), Dialect::Grpc);
        let response = response(&refusal(), Dialect::Grpc, "r-1");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "7");
        assert!(
            response.headers()["grpc-message"]
                .to_str()
                .unwrap()
                .ends_with("100 %25 sure")
        );
    }

    #[test]
    fn temporary_reasons_say_when_to_come_back() {
        let refusal = Refusal::new(Reason::AuditFull, "later");
        assert_eq!(
            response(&refusal, Dialect::Text, "r").headers()[header::RETRY_AFTER],
            "1"
        );
    }
}

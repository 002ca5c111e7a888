//! The canonical request: what is decided on is what is sent (I7).

use http::{HeaderMap, Method};

use super::path::Target;
use crate::name::Authority;

/// How the agent speaks to the server, and so how the gateway will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS, intercepted.
    Https,
}

impl Scheme {
    /// 80 or 443 (RFC 9110 §4.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A request in canonical form, without its body.
///
/// Made once, where it is read; every part has one form only, so that there is no second
/// opinion about what was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// As the connection was made, never as the request claims.
    pub scheme: Scheme,
    /// As sent; case matters.
    pub method: Method,
    /// Equal to the name and port of the connection (I2); the caller has checked that.
    pub authority: Authority,
    /// Path and query.
    pub target: Target,
    /// The fields, in the order of each name.
    pub headers: HeaderMap,
}

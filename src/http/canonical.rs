//! Step 5, read request: from a leg's head to the one canonical request, or a 400 or 421.
//!
//! There is no second opinion: what this yields is decided on, and its octets are sent (I7).

use http::Method;
use http::header::{HeaderName, HeaderValue};

use super::raw::{Protocol, RawHead, malformed};
use super::websocket::is_websocket;
use crate::error::{Reason, Refusal};
use crate::name::{Authority, Host};
use crate::policy::path::Target;
use crate::policy::{Request, Scheme};

/// What a connection has already settled, and every request on it must repeat (I2).
#[derive(Clone, Debug)]
pub struct Settled {
    /// TLS or clear.
    pub scheme: Scheme,
    /// The server name of the handshake; absent on clear connections.
    pub name: Option<Host>,
    /// The origin's port.
    pub port: u16,
}

/// Bounds on heads that `h2` does not know.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Most bytes of all names and values.
    pub bytes: usize,
    /// Most fields.
    pub fields: usize,
    /// Longest target, in bytes.
    pub uri: usize,
}

/// Makes the canonical request.
///
/// # Errors
/// A refusal with status 400, 405, 414, 417, 421, 431 or 501.
pub fn canonical(raw: RawHead, settled: &Settled, bounds: HeadBounds) -> Result<Request, Refusal> {
    check_method(&raw.method)?;
    check_head(&raw, bounds)?;
    let authority = authority(&raw, settled)?;
    check_authority(&authority, settled)?;
    let target = Target::parse(&raw.target).map_err(|error| {
        Refusal::new(
            Reason::BadPath,
            format!("the request is refused because its target {error}"),
        )
    })?;
    if target.as_str() == "*" && raw.method != Method::OPTIONS {
        return Err(malformed("only OPTIONS may ask for `*`"));
    }
    Ok(Request {
        scheme: settled.scheme,
        method: raw.method,
        authority,
        target,
        headers: raw.headers,
    })
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::new(
            Reason::BadMethod,
            format!("{method} is never passed on; send the request itself"),
        ));
    }
    Ok(())
}

fn check_head(raw: &RawHead, bounds: HeadBounds) -> Result<(), Refusal> {
    if raw.target.len() > bounds.uri {
        return Err(Refusal::new(
            Reason::UriTooLong,
            format!("the request target is longer than {} bytes", bounds.uri),
        ));
    }
    if raw.headers.len() > bounds.fields {
        return Err(Refusal::new(
            Reason::HeadTooLarge,
            format!("the request has more than {} header fields", bounds.fields),
        ));
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if raw.headers.iter().map(size).sum::<usize>() > bounds.bytes {
        return Err(Refusal::new(
            Reason::HeadTooLarge,
            format!("the request head has more than {} bytes", bounds.bytes),
        ));
    }
    if let Some(name) = raw.headers.keys().find(|name| is_look_alike(name)) {
        return Err(malformed(format!("{name} looks like a field of framing")));
    }
    if raw.expects_continue.is_err() {
        return Err(Refusal::new(
            Reason::BadExpectation,
            "the only expectation that is known is 100-continue",
        ));
    }
    match &raw.upgrade {
        // A client that offers h2c takes the answer in HTTP/1.1 as well (RFC 9110 §7.8).
        Some(protocols)
            if !is_websocket(protocols) && !protocols.as_bytes().eq_ignore_ascii_case(b"h2c") =>
        {
            Err(Refusal::new(
                Reason::UpgradeRefused,
                "of protocol upgrades this gateway passes WebSocket alone",
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// The one authority of a request: `Host`, `:authority` and an absolute target must agree.
fn authority(raw: &RawHead, settled: &Settled) -> Result<Authority, Refusal> {
    let default_port = settled.scheme.default_port();
    let parse = |text: &[u8]| {
        // Nearly always that of the connection, which has its canonical form.
        let same = |host: &&Host| host.name().is_some_and(|name| name.as_bytes() == text);
        if let Some(host) = settled.name.as_ref().filter(same) {
            return Ok(Authority {
                host: host.clone(),
                port: default_port,
            });
        }
        Authority::parse(text, default_port)
            .map_err(|error| malformed(format!("the host it names {error}")))
    };
    if let Some(scheme) = &raw.scheme
        && scheme != settled.scheme.as_str()
    {
        return Err(malformed(format!(
            "its scheme is not {}, that of the connection",
            settled.scheme.as_str()
        )));
    }
    let host = raw
        .host
        .as_ref()
        .map(|host| parse(host.as_bytes()))
        .transpose()?;
    let named = raw.authority.as_deref().map(parse).transpose()?;
    match (named, host) {
        (Some(named), Some(host)) if named != host => {
            Err(malformed("it names two different hosts"))
        }
        (Some(named), _) => Ok(named),
        (None, Some(host)) if raw.protocol != Protocol::Http2 => Ok(host),
        (None, _) => Err(malformed("it names no host")),
    }
}

fn check_authority(authority: &Authority, settled: &Settled) -> Result<(), Refusal> {
    let name_differs = settled
        .name
        .as_ref()
        .is_some_and(|name| *name != authority.host);
    if name_differs || authority.port != settled.port {
        let connected = match &settled.name {
            Some(name) => format!("{name} port {}", settled.port),
            None => format!("port {}", settled.port),
        };
        return Err(Refusal::new(
            Reason::Misdirected,
            format!(
                "the request names {authority}, but this connection was opened to {connected}; open a new connection"
            ),
        ));
    }
    Ok(())
}

/// Names that trailers may not have: framing, routing and authentication (RFC 9110 §6.5.1),
/// and everything [`super::strip`] removes.
#[must_use]
pub fn is_forbidden_trailer(name: &HeaderName) -> bool {
    super::h1::is_forbidden_trailer(name)
        || super::strip::is_removed(name)
        || super::strip::is_authenticator(name)
}

/// A field that servers of the CGI kind take for one of framing.
fn is_look_alike(name: &HeaderName) -> bool {
    matches!(name.as_str(), "content_length" | "transfer_encoding")
}

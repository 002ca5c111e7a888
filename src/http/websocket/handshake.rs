//! The opening handshake (RFC 6455 §4), judged on both sides.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::error::{Reason, Refusal};
use crate::http::h1::ResponseHead;
use crate::http::raw::{Protocol, RawHead, malformed};

/// What stands in `Upgrade`, on both legs.
pub const UPGRADE: HeaderValue = HeaderValue::from_static("websocket");
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a decoded key.
const KEY: usize = 16;

/// An agent's wish for a WebSocket, well-formed.
#[derive(Clone, Debug)]
pub struct Offer {
    key: HeaderValue,
    protocols: Vec<String>,
}

/// Whether an `Upgrade` field asks for a WebSocket and nothing else.
#[must_use]
pub fn is_websocket(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().eq_ignore_ascii_case(UPGRADE.as_bytes())
}

impl Offer {
    /// The wish of this request; `None` where it has none. `has_body`: bytes follow the head.
    ///
    /// # Errors
    /// A handshake that breaks RFC 6455 §4.1, or of another version.
    pub fn of(raw: &RawHead, has_body: bool) -> Result<Option<Self>, Refusal> {
        if !raw.upgrade.as_ref().is_some_and(is_websocket) {
            return Ok(None);
        }
        if raw.method != Method::GET || raw.protocol != Protocol::Http11 {
            return Err(malformed("a WebSocket begins with GET over HTTP/1.1"));
        }
        if has_body || raw.expects_continue != Ok(false) {
            return Err(malformed("a request for a WebSocket has no body"));
        }
        let version = one(&raw.headers, &header::SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != "13") {
            return Err(Refusal::new(
                Reason::UpgradeRefused,
                "WebSockets pass in version 13 only: send `Sec-WebSocket-Version: 13` once",
            ));
        }
        let key = one(&raw.headers, &header::SEC_WEBSOCKET_KEY);
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == KEY));
        let key = key.ok_or_else(|| malformed("`Sec-WebSocket-Key` is not 16 bytes in base64"))?;
        Ok(Some(Self {
            key: key.clone(),
            protocols: protocols(&raw.headers),
        }))
    }

    /// Takes out of the request what the gateway agrees to for nobody: extensions would hide
    /// what messages say.
    pub fn narrow(headers: &mut HeaderMap) {
        headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    }

    /// Whether a 101 of the server agrees to this offer (RFC 6455 §4.1, the client's checks).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn is_agreed(&self, head: &ResponseHead) -> Result<(), &'static str> {
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Err("its status is not 101");
        }
        if !head.upgrade.as_ref().is_some_and(is_websocket) {
            return Err("it switches to something else than WebSocket");
        }
        let accept = one(&head.headers, &header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != accept_of(&self.key).as_bytes()) {
            return Err("`Sec-WebSocket-Accept` does not answer the key");
        }
        if head.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err("it uses an extension that was not offered");
        }
        if !head.headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
            return Ok(());
        }
        let chosen = one(&head.headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let chosen = chosen.and_then(|chosen| chosen.to_str().ok());
        if chosen.is_none_or(|chosen| !self.protocols.iter().any(|offered| offered == chosen)) {
            return Err("it chooses a subprotocol that was not offered");
        }
        Ok(())
    }
}

/// The value that answers a key.
fn accept_of(key: &HeaderValue) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// A field that must be there exactly once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn protocols(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let fields = fields.iter().filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{HeadLimits, parse_request, parse_response};

    const GOOD: &str = "GET /chat HTTP/1.1\r\nhost: a.test\r\nupgrade: WebSocket\r\n\
        connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: chat, soap\r\n\r\n";
    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
        connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn offer(head: &str) -> Result<Option<Offer>, Refusal> {
        let parsed = parse_request(head.as_bytes(), &HeadLimits::default());
        Offer::of(&RawHead::from_h1(parsed.unwrap().unwrap().0), false)
    }

    fn agreed(head: &str) -> Result<(), &'static str> {
        let parsed = parse_response(head.as_bytes(), &HeadLimits::default(), &Method::GET);
        let head = parsed.unwrap().unwrap().0;
        offer(GOOD).unwrap().unwrap().is_agreed(&head)
    }

    #[test]
    fn the_agents_side_of_the_handshake() {
        assert!(offer(GOOD).unwrap().is_some());
        for (from, to) in [
            ("upgrade: WebSocket\r\n", ""),
            ("keep-alive, Upgrade", "keep-alive"),
            ("WebSocket\r\n", "h2c\r\n"),
            ("HTTP/1.1", "HTTP/1.0"),
        ] {
            assert!(
                offer(&GOOD.replace(from, to)).unwrap().is_none(),
                "{from} {to}"
            );
        }
        for (from, to) in [
            ("GET", "POST"),
            ("version: 13", "version: 8"),
            ("version: 13", "version: 13\r\nsec-websocket-version: 13"),
            ("sec-websocket-version: 13\r\n", ""),
            (
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                "sec-websocket-key: YQ==",
            ),
            (
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                "sec-websocket-key: ?",
            ),
            (
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                "a: b\r\n",
            ),
        ] {
            assert!(offer(&GOOD.replace(from, to)).is_err(), "{from} {to}");
        }
        let parsed = parse_request(GOOD.as_bytes(), &HeadLimits::default());
        let raw = RawHead::from_h1(parsed.unwrap().unwrap().0);
        assert!(Offer::of(&raw, true).is_err());
    }

    #[test]
    fn the_servers_side_of_the_handshake() {
        assert_eq!(agreed(AGREED), Ok(()));
        let chosen = |name: &str| {
            AGREED.replace(
                "\r\n\r\n",
                &format!("\r\nsec-websocket-protocol: {name}\r\n\r\n"),
            )
        };
        assert_eq!(agreed(&chosen("soap")), Ok(()));
        for wrong in [
            AGREED.replace("s3pPL", "t3pPL"),
            AGREED.replace("upgrade: websocket", "upgrade: h2c"),
            AGREED.replace("connection: upgrade\r\n", ""),
            AGREED.replace("sec-websocket-accept", "x-accept"),
            chosen("other"),
            chosen("chat, soap"),
            chosen("chat\r\nsec-websocket-protocol: soap"),
            AGREED.replace(
                "\r\n\r\n",
                "\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n",
            ),
        ] {
            assert!(agreed(&wrong).is_err(), "{wrong}");
        }
    }
}

//! From a secret to the header field or the key of the query that carries it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use zeroize::Zeroizing;

use super::placeholder::Placeholder;
use super::sigv4::{self, Signer};
use super::{Attach, Cause, Identity};
use crate::secret::Secret;

impl Attach {
    /// What is made of the secret on the wire and would let others in as well.
    pub(super) fn derived(&self, secret: &Secret) -> Vec<Secret> {
        match self {
            // The value in a query is one of the forms that are looked for anyway.
            Self::Header { .. }
            | Self::Bearer
            | Self::Query { .. }
            | Self::Cookie { .. }
            | Self::Placeholder { .. }
            | Self::Sigv4 { .. }
            | Self::ClientCertificate { .. } => Vec::new(),
            Self::Basic { user } => {
                let pair = Zeroizing::new([user.as_bytes(), b":", secret.expose()].concat());
                vec![Secret::new(STANDARD.encode(&*pair).into_bytes())]
            }
        }
    }

    /// Whether something can be made of the secret that is put into a request.
    pub(super) fn check(&self, secret: &Arc<Secret>) -> Result<(), Cause> {
        match self {
            // Its stand-in is made elsewhere.
            Self::Placeholder { .. } => check_bytes(secret.expose()),
            Self::Header { .. }
            | Self::Bearer
            | Self::Basic { .. }
            | Self::Query { .. }
            | Self::Cookie { .. }
            | Self::Sigv4 { .. }
            | Self::ClientCertificate { .. } => self.parts(secret).map(drop),
        }
    }

    /// How long the secret can be attached, where it or what goes with it says so.
    ///
    /// # Errors
    /// Not any more, or not yet.
    pub(super) fn lifetime(
        &self,
        secret: &Secret,
        now: SystemTime,
    ) -> Result<Option<Duration>, Cause> {
        match self {
            Self::Sigv4 { .. } => sigv4::lifetime(secret, now),
            Self::ClientCertificate { chain } => Identity::lifetime(chain, now),
            Self::Header { .. }
            | Self::Bearer
            | Self::Basic { .. }
            | Self::Query { .. }
            | Self::Cookie { .. }
            | Self::Placeholder { .. } => Ok(None),
        }
    }

    /// What is put into a request.
    pub(super) fn parts(&self, secret: &Arc<Secret>) -> Result<Parts, Cause> {
        match self {
            Self::Placeholder { spots, value, .. } => {
                check_bytes(secret.expose())?;
                let value = value.as_deref().ok_or(Cause::NoStandIn)?;
                let placeholder = Placeholder::new(value, spots, Arc::clone(secret));
                Ok(Parts::Placeholder(Arc::new(placeholder)))
            }
            Self::Sigv4 {
                key_id,
                region,
                service,
            } => Signer::new(
                secret,
                key_id.as_deref(),
                region.as_deref(),
                service.as_deref(),
            )
            .map(|signer| Parts::Signature(Arc::new(signer))),
            Self::ClientCertificate { chain } => {
                Identity::load(chain, secret).map(Parts::Certificate)
            }
            Self::Query { key } => Ok(Parts::Query(QueryPair::new(key, secret))),
            Self::Header { .. } | Self::Bearer | Self::Basic { .. } | Self::Cookie { .. } => {
                let (name, value) = self.field(secret)?;
                Ok(Parts::Field(name, value))
            }
        }
    }

    /// The field, its value marked sensitive: never indexed by HPACK, never printed.
    fn field(&self, secret: &Secret) -> Result<(HeaderName, HeaderValue), Cause> {
        let secret = secret.expose();
        check_bytes(secret)?;
        let name = self.header().unwrap_or(http::header::AUTHORIZATION);
        let value = match self {
            Self::Cookie { name } => {
                check_cookie(secret)?;
                Zeroizing::new([name.as_bytes(), b"=", secret].concat())
            }
            // No fields.
            Self::Query { .. }
            | Self::Placeholder { .. }
            | Self::Sigv4 { .. }
            | Self::ClientCertificate { .. } => Zeroizing::new(secret.to_vec()),
            Self::Header { format, .. } => fill(format, secret),
            Self::Bearer => fill("Bearer {secret}", secret),
            Self::Basic { user } => {
                let pair = Zeroizing::new([user.as_bytes(), b":", secret].concat());
                let encoded = Zeroizing::new(STANDARD.encode(&*pair));
                Zeroizing::new(["Basic ".as_bytes(), encoded.as_bytes()].concat())
            }
        };
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| Cause::BadByte {
            position: 1,
            class: "next to a character of `format`",
        })?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// What a credential puts into a request.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// A header field, its value sensitive.
    Field(HeaderName, HeaderValue),
    /// A key of the query.
    Query(QueryPair),
    /// In place of a stand-in.
    Placeholder(Arc<Placeholder>),
    /// A signature over the request.
    Signature(Arc<Signer>),
    /// A certificate of the connection.
    Certificate(Identity),
}

impl Parts {
    /// The secrets in what was read, where that is more than one secret.
    pub(super) fn inner(&self) -> Vec<Arc<Secret>> {
        match self {
            Self::Signature(signer) => signer.secrets().cloned().collect(),
            Self::Field(..) | Self::Query(_) | Self::Placeholder(_) | Self::Certificate(_) => {
                Vec::new()
            }
        }
    }

    /// Whether both show the same certificate, or none: of the same key there may be a newer one.
    pub(super) fn has_certificate_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Certificate(one), Self::Certificate(other)) => {
                one.certified().cert == other.certified().cert
            }
            _ => true,
        }
    }

    /// Whether what was read goes to a server, in whatever form. A private key and the text
    /// around an AWS key do not, so no server can echo them.
    pub(super) fn sends_secret(&self) -> bool {
        match self {
            Self::Field(..) | Self::Query(_) | Self::Placeholder(_) => true,
            Self::Signature(_) | Self::Certificate(_) => false,
        }
    }
}

/// A key of the query and its secret value.
#[derive(Clone, Debug)]
pub struct QueryPair {
    key: String,
    /// Key and value as they go over the wire.
    encoded: Arc<Secret>,
}

/// The unreserved characters of RFC 3986 §2.3 stand for themselves.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl QueryPair {
    pub(super) fn new(key: &str, secret: &Secret) -> Self {
        let encode = |bytes| percent_encoding::percent_encode(bytes, ESCAPED);
        let pair = format!("{}={}", encode(key.as_bytes()), encode(secret.expose()));
        Self {
            key: key.to_owned(),
            encoded: Arc::new(Secret::new(pair.into_bytes())),
        }
    }

    /// The key, not encoded.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Puts the pair behind what `target` has of a query.
    pub fn append_to(&self, target: &mut String) {
        let separator = match target.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        target.push_str(separator);
        // Percent-encoded, hence ASCII.
        target.push_str(std::str::from_utf8(self.encoded.expose()).unwrap_or_default());
    }
}

/// RFC 6265 §4.1.1: what a cookie's value may not hold beyond what no field may.
fn check_cookie(secret: &[u8]) -> Result<(), Cause> {
    let bad = |byte: &u8| matches!(byte, b' ' | b'"' | b',' | b';' | b'\\');
    match secret.iter().position(bad) {
        Some(at) => Err(Cause::BadByte {
            position: at.saturating_add(1),
            class: "a space, quote, comma, semicolon or backslash, which ends a cookie",
        }),
        None => Ok(()),
    }
}

/// The format with the secret in place of its first placeholder.
fn fill(format: &str, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let (before, after) = format.split_once(Attach::PLACEHOLDER).unwrap_or(("", ""));
    Zeroizing::new([before.as_bytes(), secret, after.as_bytes()].concat())
}

/// Printable ASCII, and no space at the ends, where servers would trim it
/// (RFC 9110 §5.5; for passwords RFC 7617 §2 forbids control characters too).
fn check_bytes(secret: &[u8]) -> Result<(), Cause> {
    let last = secret.len();
    for (position, byte) in (1..).zip(secret) {
        let class = match byte {
            b'\n' | b'\r' => "a line end",
            b'\t' => "a tab",
            b' ' if position == 1 || position == last => "a space at its edge",
            0x20..=0x7e => continue,
            0x80.. => "outside ASCII",
            _ => "a control character",
        };
        return Err(Cause::BadByte { position, class });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_pairs_are_encoded_and_appended() {
        let pair = QueryPair::new("api key", &Secret::new(b"a&b=c/\xff".to_vec()));
        for (target, expected) in [
            ("/a", "/a?api%20key=a%26b%3Dc%2F%FF"),
            ("/a?", "/a?api%20key=a%26b%3Dc%2F%FF"),
            ("/a?b=c", "/a?b=c&api%20key=a%26b%3Dc%2F%FF"),
        ] {
            let mut target = target.to_owned();
            pair.append_to(&mut target);
            assert_eq!(target, expected);
        }
        assert!(!format!("{pair:?}").contains("a%26b"));
    }

    #[test]
    fn cookies_hold_no_separators() {
        let cookie = Attach::Cookie { name: "sid".into() };
        assert_eq!(value(&cookie, b"abc=").unwrap(), "sid=abc=");
        for secret in [&b"a;b"[..], b"a b", b"a\"b", b"a,b", b"a\\b"] {
            assert!(value(&cookie, secret).is_err());
        }
    }

    fn value(attach: &Attach, secret: &[u8]) -> Result<String, Cause> {
        let (_, value) = attach.field(&Secret::new(secret.to_vec()))?;
        assert!(value.is_sensitive());
        assert_eq!(format!("{value:?}"), "Sensitive");
        Ok(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn values_by_method() {
        let header = |format: &str| Attach::Header {
            name: HeaderName::from_static("x-api-key"),
            format: format.into(),
        };
        assert_eq!(value(&header("{secret}"), b"hunter2").unwrap(), "hunter2");
        assert_eq!(
            value(&header("Token {secret};v=1"), b"a b").unwrap(),
            "Token a b;v=1"
        );
        // A secret that looks like the placeholder is still only a secret.
        assert_eq!(
            value(&header("a{secret}"), b"{secret}").unwrap(),
            "a{secret}"
        );
        assert_eq!(
            value(&Attach::Bearer, b"hunter2").unwrap(),
            "Bearer hunter2"
        );
        // The example of RFC 7617 §2.
        let basic = Attach::Basic {
            user: "Aladdin".into(),
        };
        assert_eq!(
            value(&basic, b"open sesame").unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn bytes_that_no_field_carries_are_a_clear_problem() {
        for (secret, place, kind) in [
            (&b"ab\ncd"[..], 3, "a line end"),
            (b"ab\rcd", 3, "a line end"),
            (b"\0", 1, "a control character"),
            (b"a\tb", 2, "a tab"),
            (b"a\x7f", 2, "a control character"),
            (b"caf\xc3\xa9", 4, "outside ASCII"),
            (b" a", 1, "a space at its edge"),
            (b"a ", 2, "a space at its edge"),
        ] {
            for attach in [
                Attach::Bearer,
                Attach::Basic {
                    user: String::new(),
                },
            ] {
                match value(&attach, secret) {
                    Err(Cause::BadByte { position, class }) => {
                        assert_eq!((position, class), (place, kind));
                    }
                    other => panic!("{secret:?}: {other:?}"),
                }
            }
        }
    }
}

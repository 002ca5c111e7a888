//! From a secret to the header field that carries it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::{Attach, Cause};
use crate::secret::Secret;

impl Attach {
    /// What is made of the secret on the wire and would let others in as well.
    pub(super) fn derived(&self, secret: &Secret) -> Vec<Secret> {
        match self {
            Self::Header { .. } | Self::Bearer => Vec::new(),
            Self::Basic { user } => {
                let pair = Zeroizing::new([user.as_bytes(), b":", secret.expose()].concat());
                vec![Secret::new(STANDARD.encode(&*pair).into_bytes())]
            }
        }
    }

    /// The field, its value marked sensitive: never indexed by HPACK, never printed.
    pub(super) fn field(&self, secret: &Secret) -> Result<(HeaderName, HeaderValue), Cause> {
        let secret = secret.expose();
        check_bytes(secret)?;
        let value = match self {
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
        Ok((self.header(), value))
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

//! Which header fields operators may not touch, and how names and values are written.

use http::{HeaderName, HeaderValue};

use super::check::Check;
use super::units::Complaint;
use super::written::Pairs;
use crate::credential::Claim;
use crate::policy::rule::Template;

/// Fields the gateway makes itself: the target, framing, and what belongs to one hop
/// (RFC 9110 §7.2, §7.6.1; RFC 9112 §6).
const OWN: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that prove who is asking: only a credential may set them.
const AUTHENTICATING: [&str; 6] = [
    "api-key",
    "authorization",
    "cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-goog-api-key",
];

/// Fields by which some servers take another method or URL than the one that was judged.
const OVERRIDING: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// A field name (RFC 9110 §5.1), in any case.
pub(super) fn field_name(text: &str) -> Result<HeaderName, Complaint> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Complaint::new(format!("`{}` is no header field name", text.escape_debug()))
            .help("letters, digits and `-`, without a colon")
    })
}

/// A field name that requests may carry by the operator's word.
fn free_name(text: &str) -> Result<HeaderName, Complaint> {
    let name = field_name(text)?;
    if OWN.contains(&name.as_str()) {
        return Err(
            Complaint::new(format!("`{name}` is made by the gateway itself")).help("leave it out"),
        );
    }
    if OVERRIDING.contains(&name.as_str()) {
        return Err(Complaint::new(format!(
            "`{name}` can change what was allowed at the server"
        ))
        .help("leave it out; it is removed from every request"));
    }
    Ok(name)
}

/// The field a credential is attached as.
pub(super) fn credential_field(text: &str) -> Result<HeaderName, Complaint> {
    free_name(text)
}

/// A field that `remove_headers` names.
pub(super) fn removable_field(text: &str) -> Result<HeaderName, Complaint> {
    free_name(text)
}

/// A field that `set_headers` names.
fn settable_field(text: &str) -> Result<HeaderName, Complaint> {
    let name = free_name(text)?;
    if AUTHENTICATING.contains(&name.as_str()) {
        return Err(Complaint::new(format!("`{name}` proves who is asking"))
            .help("describe it as a [[credential]] and name that in `credential`"));
    }
    Ok(name)
}

/// Text that a field may carry: printable ASCII, no space at its ends (RFC 9110 §5.5).
pub(super) fn field_text(text: &str) -> Result<&str, Complaint> {
    if text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && text.trim() == text {
        return Ok(text);
    }
    Err(
        Complaint::new("the value holds what no header field can carry")
            .help("printable ASCII, and no space at its ends"),
    )
}

impl Check<'_> {
    /// `headers`: fields that a request must carry.
    pub(super) fn required_fields(&mut self, pairs: &Pairs) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (key, text) in pairs.get_ref() {
            let name = self.parse(key, field_name);
            let value = self.parse(text, |text| {
                HeaderValue::from_str(field_text(text)?)
                    .map_err(|_| Complaint::new("the value holds what no header field can carry"))
            });
            let Some((name, value)) = name.zip(value) else {
                continue;
            };
            self.once(key, fields.iter().any(|(known, _)| *known == name));
            fields.push((name, value));
        }
        fields
    }

    /// `set_headers`: fields that are set, none of them an authenticator. The lines are not
    /// shown: a token may stand there by mistake.
    pub(super) fn set_fields(
        &mut self,
        pairs: &Pairs,
        attached: &[Claim],
    ) -> Vec<(HeaderName, Template)> {
        let mut fields: Vec<(HeaderName, Template)> = Vec::new();
        for (key, text) in pairs.get_ref() {
            let name = self.parse_hidden(key, |text| {
                let name = settable_field(text)?;
                if attached.contains(&Claim::Field(name.clone())) {
                    return Err(Complaint::new(format!("`{name}` is set by the credential"))
                        .help("leave it out"));
                }
                Ok(name)
            });
            let value = self.parse_hidden(text, |text| {
                Template::parse(field_text(text)?).map_err(|_| {
                    Complaint::new("the value has an unknown placeholder or a single brace").help(
                        "`{agent}` and `{rule}` are filled in; write `{{` and `}}` for braces",
                    )
                })
            });
            let Some((name, value)) = name.zip(value) else {
                continue;
            };
            self.once(key, fields.iter().any(|(known, _)| *known == name));
            fields.push((name, value));
        }
        fields
    }

    /// TOML keys differ by case, field names do not.
    fn once(&mut self, key: &super::written::Text, known: bool) {
        if known {
            let message = format!("`{}` stands twice, in another case", key.get_ref());
            self.error(key.span(), message, "leave one of them out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_operators_cannot_set_what_authenticates_or_frames() {
        for name in [
            "Host",
            "Content-Length",
            "TE",
            "Upgrade",
            "Authorization",
            "cookie",
            "X-API-Key",
            "X-Rewrite-URL",
        ] {
            assert!(settable_field(name).is_err(), "{name}");
        }
        for name in ["x-team", "User-Agent", "anthropic-version"] {
            assert!(settable_field(name).is_ok(), "{name}");
        }
        assert!(removable_field("authorization").is_ok());
        assert!(removable_field("host").is_err());
        assert!(credential_field("x-api-key").is_ok());
        assert!(credential_field("transfer-encoding").is_err());
        for name in ["", "a b", "a:", "é", "a\r\n"] {
            assert!(field_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn field_texts() {
        for text in ["", "a", "a b", "~"] {
            assert!(field_text(text).is_ok(), "{text}");
        }
        for text in [" a", "a ", "a\r\nb", "\t", "é", "\u{7f}"] {
            assert!(field_text(text).is_err(), "{text:?}");
        }
    }
}

//! Step 7, strip: what an agent sends that must not reach a server, and what a server sends
//! that must not reach an agent.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName};

use crate::error::{Reason, Refusal};
use crate::name::AgentName;
use crate::policy::Allowed;
use crate::policy::rule::{Cookies, ForeignCredentials, Rule};

/// Hop-by-hop fields (RFC 9110 §7.6.1) that may stand without `Connection` naming them,
/// method and URL overrides, and what tells of the way a request took.
pub const REMOVED: [&str; 18] = [
    "connection",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// Fields by which services tell who asks: those of DESIGN section 3, step 7, and those of
/// well-known services beside them.
const AUTHENTICATORS: [&str; 18] = [
    "api-key",
    "authorization",
    "circle-token",
    "cookie",
    "dd-api-key",
    "deploy-token",
    "job-token",
    "ocp-apim-subscription-key",
    "private-token",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-key",
    "x-auth-token",
    "x-figma-token",
    "x-goog-api-key",
    "x-shopify-access-token",
    "x-vault-token",
];

/// Query keys by which services tell who asks, signatures of presigned URLs included.
const AUTHENTICATOR_KEYS: [&str; 15] = [
    "access_token",
    "api_key",
    "apikey",
    "auth_token",
    "key",
    "oauth_token",
    "private_token",
    "sig",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
    "x-api-key",
];

/// How often a key may be percent-encoded over itself before it counts as an authenticator
/// whatever it says.
const LAYERS_MAX: usize = 4;

/// A name as servers of the CGI kind see it: `x_api_key` arrives there as `x-api-key` does.
fn folded(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.contains('_') {
        Cow::Owned(name.replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a field of this name, however its hyphens are spelled, is removed from every
/// request.
#[must_use]
pub fn is_removed(name: &HeaderName) -> bool {
    let name = folded(name);
    REMOVED.contains(&&*name) || name.starts_with("x-forwarded-")
}

/// Whether a field of this name, however its hyphens are spelled, authenticates.
#[must_use]
pub fn is_authenticator(name: &HeaderName) -> bool {
    AUTHENTICATORS.contains(&&*folded(name))
}

/// Whether two names are one to a server of the CGI kind.
#[must_use]
pub fn is_same(name: &HeaderName, other: &HeaderName) -> bool {
    name == other || folded(name) == folded(other)
}

/// What a credential is going to set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sets<'a> {
    /// Header fields.
    pub fields: &'a [&'a HeaderName],
    /// Keys of the query, not encoded.
    pub keys: &'a [&'a str],
}

/// Strips an allowed request: what never passes, foreign authenticators where the rule
/// attaches a credential (`sets` says what it will set), then the rule's own
/// `remove_headers` and `set_headers`.
///
/// # Errors
/// [`Reason::ForeignCredential`] where the rule says `foreign_credentials = "refuse"`.
pub fn request(allowed: &mut Allowed, agent: &AgentName, sets: Sets<'_>) -> Result<(), Refusal> {
    remove_where(allowed.headers_mut(), is_removed);
    let Some(rule) = allowed.rule().cloned() else {
        return Ok(());
    };
    if !rule.credentials.is_empty() {
        foreign_authenticators(allowed, &rule, sets)?;
    }
    let headers = allowed.headers_mut();
    for name in &rule.remove_headers {
        headers.remove(name);
    }
    for (name, template) in &rule.set_headers {
        // Templates hold field text and configured names only, so this does not fail.
        if let Ok(value) = template.render(agent, &rule.name).parse() {
            headers.insert(name, value);
        }
    }
    Ok(())
}

fn foreign_authenticators(
    allowed: &mut Allowed,
    rule: &Rule,
    sets: Sets<'_>,
) -> Result<(), Refusal> {
    let foreign = |name: &HeaderName| {
        is_authenticator(name) || sets.fields.iter().any(|set| is_same(name, set))
    };
    let query = allowed.request().target.query();
    let kept = query.and_then(|query| without_authenticators(query, sets.keys));
    if rule.foreign_credentials == ForeignCredentials::Refuse {
        let header = allowed.request().headers.keys().find(|name| foreign(name));
        let found = header
            .map(ToString::to_string)
            .or_else(|| kept.is_some().then(|| "a key in the query".to_owned()));
        if let Some(found) = found {
            return Err(Refusal::new(
                Reason::ForeignCredential,
                format!(
                    "the gateway attaches the credential here; send the request without {found}"
                ),
            ));
        }
    }
    if let Some(kept) = kept {
        let kept = Some(kept.as_str()).filter(|query| !query.is_empty());
        allowed.set_query(kept).map_err(|error| {
            Refusal::new(
                Reason::BadPath,
                format!("the query without its authenticators {error}"),
            )
        })?;
    }
    remove_where(allowed.headers_mut(), foreign);
    Ok(())
}

/// The query without authenticating keys; `None` where there is none of them.
///
/// Keys are compared percent-decoded and separators are both `&` and `;`, so that no
/// spelling that some server reads as `key=` stays.
fn without_authenticators(query: &str, keys: &[&str]) -> Option<String> {
    let authenticates = |part: &&str| {
        part.split(';')
            .any(|pair| is_authenticating_pair(pair, keys))
    };
    let (foreign, kept): (Vec<&str>, Vec<&str>) = query.split('&').partition(authenticates);
    (!foreign.is_empty()).then(|| kept.join("&"))
}

fn is_authenticating_pair(pair: &str, keys: &[&str]) -> bool {
    let key = pair.split('=').next().unwrap_or_default();
    let mut key = Cow::Borrowed(key.as_bytes());
    for _ in 0..LAYERS_MAX {
        let decoded: Vec<u8> = percent_encoding::percent_decode(&key).collect();
        if decoded.len() == key.len() {
            return AUTHENTICATOR_KEYS
                .iter()
                .chain(keys)
                .any(|word| key.eq_ignore_ascii_case(word.as_bytes()));
        }
        key = Cow::Owned(decoded);
    }
    true
}

/// Strips a server's response head: hop-by-hop fields, `Alt-Svc` (it would lead the agent
/// to QUIC), `Proxy-Status` (only ours speaks for this hop) and, where the rule says so,
/// cookies.
pub fn response(headers: &mut HeaderMap, cookies: Cookies) {
    static NEVER: [HeaderName; 9] = [
        header::ALT_SVC,
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::TE,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-status"),
    ];
    let drops = cookies == Cookies::Drop;
    remove_where(headers, |name| {
        NEVER.contains(name) || drops && *name == header::SET_COOKIE
    });
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in &names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_keys_that_authenticate_fall_out() {
        for (query, kept) in [
            ("a=1", None),
            ("key=x", Some("")),
            ("a=1&key=x&b=2", Some("a=1&b=2")),
            ("a=1&%6bey=x", Some("a=1")),
            ("a=1&access_token=x", Some("a=1")),
            ("a=1;key=x&b=2", Some("b=2")),
            ("keys=1&monkey=2", None),
            ("KEY=1", Some("")),
            ("my%20key=1&a", Some("a")),
            ("%25252525256bey=x&a=1", Some("a=1")),
        ] {
            assert_eq!(
                without_authenticators(query, &["My Key"]).as_deref(),
                kept,
                "{query}"
            );
        }
    }

    #[test]
    fn forwarding_and_overrides_never_pass() {
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "forwarded",
            "via",
            "x-http-method-override",
            "proxy-authorization",
            "x_forwarded_for",
            "x_http_method_override",
        ] {
            assert!(is_removed(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_removed(&header::ACCEPT));
    }

    #[test]
    fn alt_svc_is_removed_from_responses() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ALT_SVC, "h3=\":443\"".parse().unwrap());
        headers.insert(header::SET_COOKIE, "a=b".parse().unwrap());
        let mut passed = headers.clone();
        response(&mut passed, Cookies::Pass);
        assert_eq!(
            passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["set-cookie"]
        );
        response(&mut headers, Cookies::Drop);
        assert!(headers.is_empty());
    }
}

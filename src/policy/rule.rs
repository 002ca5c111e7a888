//! The checked form of a rule: what the config module builds and what decisions are made on.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::agents::is_unknown;
use super::path::PathPattern;
use super::request::Scheme;
use crate::name::{AgentName, CredentialName, Host, RuleName};

/// Where in the operator's files something was written; both numbers count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as named by the operator or found in the rules folder.
    pub file: Arc<str>,
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The operator's sentence: these agents may, or may not, do these methods on these paths
/// of these hosts, with that credential.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of its own in the file, independent of the others"
)]
pub struct Rule {
    /// Unique across all files.
    pub name: RuleName,
    /// Where it is written.
    pub place: Place,
    /// For whom.
    pub agents: Agents,
    /// To which hosts.
    pub hosts: Hosts,
    /// `https` unless written otherwise.
    pub schemes: Schemes,
    /// The origin ports, never empty.
    pub ports: Vec<u16>,
    /// With which methods.
    pub methods: Methods,
    /// On which paths; `None` for all.
    pub paths: Option<Vec<PathPattern>>,
    /// Whether `%2F` may stand in the path, as data.
    pub encoded_slash: bool,
    /// Decoded query keys that must be there once with this decoded value.
    pub query: Vec<(String, String)>,
    /// Whether keys other than those of `query` are refused.
    pub query_only: bool,
    /// Headers that must be there once with this value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What follows from a match.
    pub action: Action,
    /// What to attach; only on `Allow`, only with `https`, only to exact hosts of each credential.
    pub credentials: Vec<CredentialName>,
    /// What happens to the agent's own authenticators where a credential is attached.
    pub foreign_credentials: ForeignCredentials,
    /// Set after removal, before the credential.
    pub set_headers: Vec<(HeaderName, Template)>,
    /// Removed from requests.
    pub remove_headers: Vec<HeaderName>,
    /// What happens to `Set-Cookie`; `Drop` by default where a credential is attached.
    pub cookies: Cookies,
    /// Whether agents may share upstream connections; never with a credential.
    pub share_upstream: bool,
    /// Whether the record shows the query string.
    pub record_query: bool,
    /// Whether compressed responses are handed on decoded, so that echoes of credentials are
    /// masked in them instead of cutting them.
    pub echo_recode: bool,
    /// Whether its connections are decrypted.
    pub tls: Tls,
    /// Whether a request may become a WebSocket.
    pub websocket: bool,
    /// Whether and how strictly what leaves is held against the detectors.
    pub dlp: Dlp,
    /// What follows where a body cannot be decoded to be scanned.
    pub on_limit: OnLimit,
}

/// What happens to TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It is decrypted, and each request is decided on.
    #[default]
    Intercept,
    /// It passes undecrypted, to the name in the ClientHello.
    Splice,
}

/// The agents of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agents {
    /// Every configured agent, and `default` while none is configured; never `unknown`.
    Any,
    /// These.
    These(Vec<AgentName>),
}

/// The hosts of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// `any_host = true`.
    Any,
    /// These, at least one.
    These(Vec<HostPattern>),
}

/// One entry of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host only.
    Exact(Host),
    /// `*.suffix`: one or more labels before the suffix, never the suffix itself.
    /// Holds the suffix without `*.`; always a name.
    Under(Host),
}

impl Agents {
    /// Whether the rule speaks about this agent. Nothing speaks about `unknown`.
    #[must_use]
    pub fn contains(&self, agent: &AgentName) -> bool {
        !is_unknown(agent)
            && match self {
                Self::Any => true,
                Self::These(names) => names.contains(agent),
            }
    }
}

impl Hosts {
    /// Whether the rule speaks about this host. `any_host` means every name; addresses only
    /// where one is written, so that it opens no way around names.
    #[must_use]
    pub fn contains(&self, host: &Host) -> bool {
        match self {
            Self::Any => host.name().is_some(),
            Self::These(patterns) => patterns.iter().any(|pattern| pattern.matches(host)),
        }
    }
}

impl HostPattern {
    /// Whether `host` is one of these. An address is only ever matched exactly.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Under(suffix) => is_under(host, suffix),
        }
    }

    /// Whether every host of `other` is one of these. Exact.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Exact(_), Self::Under(_)) => false,
            (Self::Under(mine), Self::Under(theirs)) => mine == theirs || is_under(theirs, mine),
        }
    }
}

/// One or more labels before the suffix. A canonical name has no empty label, so that what
/// stands before the dot is at least one.
fn is_under(host: &Host, suffix: &Host) -> bool {
    let (Some(name), Some(suffix)) = (host.name(), suffix.name()) else {
        return false;
    };
    name.strip_suffix(suffix)
        .is_some_and(|labels| labels.ends_with('.'))
}

/// As written: `example.com` or `*.example.com`.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(&host.text()),
            Self::Under(suffix) => write!(f, "*.{}", suffix.text()),
        }
    }
}

/// Which schemes a rule covers; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes {
    /// TLS, intercepted.
    pub https: bool,
    /// HTTP/1 in clear.
    pub http: bool,
}

impl Schemes {
    /// Whether the rule covers this scheme.
    #[must_use]
    pub fn contains(self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Https => self.https,
            Scheme::Http => self.http,
        }
    }
}

/// The methods of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// None were written: all registered ones but CONNECT and TRACE; on a deny rule every
    /// method, so that an invented one does not slip past it.
    Known,
    /// These; GET does not imply HEAD.
    These(Vec<Method>),
}

/// What follows from a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request may go.
    Allow,
    /// It may not, and the agent reads why.
    Deny {
        /// The operator's sentence.
        reason: String,
    },
}

/// The agent's own authenticators on a credentialed rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignCredentials {
    /// Removed.
    Strip,
    /// 403.
    Refuse,
}

/// Whether and how strictly requests are scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dlp {
    /// What no honest request holds is blocked, the rest alerted; also where a rule says
    /// nothing.
    #[default]
    Default,
    /// Also what may be meant is blocked.
    Strict,
    /// Not scanned at all.
    Off,
}

/// What happens to a body that cannot be decoded within its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// It is refused.
    #[default]
    Deny,
    /// It goes on without being scanned further, as an alert.
    Alert,
    /// It goes on without being scanned further; the record says so.
    Allow,
}

/// `Set-Cookie` in responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// Removed.
    Drop,
    /// Passed on.
    Pass,
}

/// The value of a `set_headers` entry: text with `{agent}` and `{rule}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Agent,
    Rule,
}

impl Template {
    /// Reads the text of a value; `{{` and `}}` stand for single braces.
    ///
    /// # Errors
    /// The unknown placeholder, or the text of a brace that is never closed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, tail) = rest.split_at(at);
            plain.push_str(before);
            rest = if let Some(after) = tail.strip_prefix("{{") {
                plain.push('{');
                after
            } else if let Some(after) = tail.strip_prefix("}}") {
                plain.push('}');
                after
            } else if let Some((name, after)) =
                tail.strip_prefix('{').and_then(|t| t.split_once('}'))
            {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(match name {
                    "agent" => Piece::Agent,
                    "rule" => Piece::Rule,
                    other => return Err(format!("{{{other}}}")),
                });
                after
            } else {
                return Err(tail.to_owned());
            };
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// The value for this agent and rule. Configured names hold no bytes that a field may not.
    #[must_use]
    pub fn render(&self, agent: &AgentName, rule: &RuleName) -> String {
        let mut value = String::new();
        for piece in &self.0 {
            value.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Agent => agent.as_str(),
                Piece::Rule => rule.as_str(),
            });
        }
        value
    }
}

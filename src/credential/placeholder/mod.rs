//! Stand-ins: what an agent holds in place of a secret, and where the gateway swaps them.
//!
//! A stand-in is worth nothing. It becomes the secret in the places that its credential
//! names, on a request that attaches this credential, and only where the whole value is the
//! stand-in. Anywhere else it is a mistake or an attempt: the request is refused.

mod body;
mod form;
mod json;
mod text;
mod value;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::attach::QueryPair;
use super::echo::Needles;
use crate::error::{Reason, Refusal};
use crate::name::CredentialName;
use crate::policy::Request;
use crate::secret::Secret;

pub use body::{Piece, Rewriter};
pub use value::{Like, StandIns};

/// How often a place may be percent-encoded over itself and still be looked into.
const LAYERS: usize = 4;

/// A place in which a stand-in becomes the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A header field that is the stand-in, or one word and the stand-in.
    Header(HeaderName),
    /// The user of `Authorization: Basic`.
    BasicUser,
    /// The password of `Authorization: Basic`.
    BasicPassword,
    /// The value of a key in the query.
    Query(String),
    /// A string in a JSON body, by the names of the objects' members that lead there.
    Json(Vec<String>),
    /// The value of a key in a form.
    Form(String),
    /// A word in a text message of a WebSocket.
    MessageText,
    /// A string in a text message of a WebSocket that is JSON, as in [`Self::Json`].
    MessageJson(Vec<String>),
}

impl Spot {
    /// The header field it is in, so that no other credential may set that.
    pub(super) fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Header(name) => Some(name.clone()),
            Self::BasicUser | Self::BasicPassword => Some(AUTHORIZATION),
            Self::Query(_)
            | Self::Json(_)
            | Self::Form(_)
            | Self::MessageText
            | Self::MessageJson(_) => None,
        }
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::BasicUser => f.write_str("the user of `Authorization: Basic`"),
            Self::BasicPassword => f.write_str("the password of `Authorization: Basic`"),
            Self::Query(key) => write!(f, "`{key}` in the query"),
            Self::Json(path) => write!(f, "`{}` in a JSON body", path.join(".")),
            Self::Form(key) => write!(f, "`{key}` in a form"),
            Self::MessageText => f.write_str("a text message of a WebSocket"),
            Self::MessageJson(path) => {
                write!(f, "`{}` in a JSON message of a WebSocket", path.join("."))
            }
        }
    }
}

/// A stand-in, its secret, and where one becomes the other.
#[derive(Debug)]
pub struct Placeholder {
    value: String,
    spots: Vec<Spot>,
    secret: Arc<Secret>,
}

/// What was taken out of a request's head to be put back with the secret.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Fields with the secret; each stood once in the request.
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    /// Keys with the secret; each stood once in the query.
    pub(super) pairs: Vec<QueryPair>,
}

impl Placeholder {
    pub(super) fn new(value: &str, spots: &[Spot], secret: Arc<Secret>) -> Self {
        Self {
            value: value.to_owned(),
            spots: spots.to_vec(),
            secret,
        }
    }

    /// What of the head of `request` is the stand-in at its place.
    pub(super) fn take(&self, request: &Request, taken: &mut Taken) {
        self.take_basic(request, taken);
        for spot in &self.spots {
            match spot {
                Spot::Header(name) => {
                    if let Some(value) = self.whole_field(request, name) {
                        taken.fields.push((name.clone(), value));
                    }
                }
                Spot::Query(key) => {
                    if self.is_pair(request, key) {
                        taken.pairs.push(QueryPair::new(key, &self.secret));
                    }
                }
                Spot::BasicUser
                | Spot::BasicPassword
                | Spot::Json(_)
                | Spot::Form(_)
                | Spot::MessageText
                | Spot::MessageJson(_) => {}
            }
        }
    }

    /// The field with the secret where it is the stand-in, or a word such as `Bearer` and
    /// the stand-in.
    fn whole_field(&self, request: &Request, name: &HeaderName) -> Option<HeaderValue> {
        let value = only(request, name)?.as_bytes();
        let before = value.strip_suffix(self.value.as_bytes())?;
        let word = |word: &[u8]| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
            word.len() <= 32 && word.iter().all(plain) && word != self.value.as_bytes()
        };
        match before {
            [] => {}
            [scheme @ .., b' '] if word(scheme) => {}
            _ => return None,
        }
        let bytes = Zeroizing::new([before, self.secret.expose()].concat());
        sensitive(&bytes)
    }

    /// User and password inside the base64 (RFC 7617 §2).
    fn take_basic(&self, request: &Request, taken: &mut Taken) {
        let (in_user, in_password) = (
            self.spots.contains(&Spot::BasicUser),
            self.spots.contains(&Spot::BasicPassword),
        );
        if !in_user && !in_password {
            return;
        }
        let Some((user, password)) = only(request, &AUTHORIZATION).and_then(basic) else {
            return;
        };
        let mine = |part: &[u8], named: bool| named && part == self.value.as_bytes();
        let strays = |part: &[u8], named: bool| {
            !mine(part, named) && memchr::memmem::find(part, self.value.as_bytes()).is_some()
        };
        let (first, second) = (mine(&user, in_user), mine(&password, in_password));
        if !first && !second || strays(&user, in_user) || strays(&password, in_password) {
            return;
        }
        let part = |part: &[u8], swap: bool| {
            let bytes = if swap { self.secret.expose() } else { part };
            Zeroizing::new(bytes.to_vec())
        };
        let pair = [&part(&user, first)[..], b":", &part(&password, second)[..]].concat();
        let encoded = Zeroizing::new(STANDARD.encode(&*Zeroizing::new(pair)));
        let bytes = Zeroizing::new(["Basic ".as_bytes(), encoded.as_bytes()].concat());
        if let Some(value) = sensitive(&bytes) {
            taken.fields.push((AUTHORIZATION, value));
        }
    }

    /// Whether the query has this key once, with the stand-in as its value.
    fn is_pair(&self, request: &Request, key: &str) -> bool {
        let query = request.target.query().unwrap_or_default();
        let mut values = query.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name.as_bytes()) == key.as_bytes()).then_some(value)
        });
        match (values.next(), values.next()) {
            (Some(value), None) => decoded(value.as_bytes()) == self.value.as_bytes(),
            _ => false,
        }
    }

    /// The places that may hold it.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&Spot, &str, &Arc<Secret>)> {
        let spots = self.spots.iter();
        spots.map(|spot| (spot, self.value.as_str(), &self.secret))
    }
}

type Bytes = Zeroizing<Vec<u8>>;

fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The value of a field that stands once.
fn only<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = request.headers.get_all(name).iter();
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// User and password of a `Basic` field.
fn basic(value: &HeaderValue) -> Option<(Bytes, Bytes)> {
    let (scheme, rest) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
    let colon = memchr::memchr(b':', &pair)?;
    let (user, password) = pair.split_at_checked(colon)?;
    let password = password.get(1..)?;
    Some((
        Zeroizing::new(user.to_vec()),
        Zeroizing::new(password.to_vec()),
    ))
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    percent_decode(bytes).collect()
}

/// Looks for stand-ins where they do not belong.
#[derive(Clone, Debug)]
pub struct Guard {
    needles: Arc<Needles>,
}

impl Guard {
    /// Over all stand-ins; `None` where there are none.
    pub(super) fn new<'a>(
        values: impl IntoIterator<Item = (&'a CredentialName, &'a [u8])>,
    ) -> Option<Self> {
        let needles = Arc::new(Needles::new(values).ok()??);
        Some(Self { needles })
    }

    /// What to look for in a body.
    #[must_use]
    pub fn needles(&self) -> &Arc<Needles> {
        &self.needles
    }

    /// Whether `data` is a stand-in, and nothing but that.
    #[must_use]
    pub fn is_stand_in(&self, data: &[u8]) -> bool {
        let found = self.needles.find(data);
        found
            .first()
            .is_some_and(|found| found.span == (0..data.len()))
    }

    /// Looks at what `taken` leaves of a request's head.
    pub(super) fn head(&self, request: &Request, taken: &Taken) -> Result<(), Refusal> {
        self.text(request.target.path().as_bytes(), "the path")?;
        let mine = |pair: &&str| {
            let name = decoded(pair.split('=').next().unwrap_or_default().as_bytes());
            taken.pairs.iter().any(|it| it.key().as_bytes() == name)
        };
        let query = request.target.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !mine(pair)) {
            self.text(pair.as_bytes(), "the query")?;
        }
        for (name, value) in &request.headers {
            if !taken.fields.iter().any(|(mine, _)| mine == name) {
                self.text(name.as_str().as_bytes(), "a field's name")?;
                self.text(value.as_bytes(), name.as_str())?;
            }
        }
        Ok(())
    }

    /// Looks at a text as it is and percent-decoded.
    fn text(&self, text: &[u8], place: &str) -> Result<(), Refusal> {
        self.bytes(text, place)?;
        let mut text = text.to_vec();
        for _ in 0..LAYERS {
            if !text.contains(&b'%') {
                break;
            }
            text = decoded(&text);
            self.bytes(&text, place)?;
        }
        Ok(())
    }

    /// Looks at bytes as they are and in every form of [`Needles`].
    ///
    /// # Errors
    /// [`Reason::PlaceholderMisplaced`]
    pub fn bytes(&self, bytes: &[u8], place: &str) -> Result<(), Refusal> {
        match self.needles.find(bytes).first() {
            None => Ok(()),
            Some(found) => Err(self.misplaced(found.owner, place)),
        }
    }

    /// The refusal for stand-ins without end at `place`.
    #[must_use]
    pub fn too_many(&self, place: &str) -> Refusal {
        Refusal::new(
            Reason::PlaceholderMisplaced,
            format!(
                "{place} of this request holds so many stand-ins that it would get more than twice as long with the secrets; send fewer at a time"
            ),
        )
    }

    /// The refusal for a stand-in of this owner that was found at `place`.
    #[must_use]
    pub fn misplaced(&self, owner: u32, place: &str) -> Refusal {
        let name = self.needles.credential(owner);
        let name = name.map_or("?", CredentialName::as_str);
        Refusal::new(
            Reason::PlaceholderMisplaced,
            format!(
                "the stand-in of the credential `{name}` does not belong in {place} of this request; send it only to the host and in the place it was made for"
            ),
        )
    }
}

#[cfg(test)]
mod tests;

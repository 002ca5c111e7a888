//! All credentials with their secrets, as one value that is swapped whole on reload.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::attach::Parts;
use super::echo::Needles;
use super::placeholder::Guard;
use super::source::Lookup;
use super::{Attach, Attachment, Cause, Pinned, Pinning, Spec};
use crate::error::{Reason, Refusal};
use crate::name::{Authority, CredentialName};
use crate::policy::Request;
use crate::policy::rule::Place;
use crate::secret::Secret;

/// Every configured credential. Made anew on each change; read-only in between.
#[derive(Clone, Debug, Default)]
pub struct Store {
    entries: BTreeMap<CredentialName, Arc<Entry>>,
    /// The highest generation given out so far, carried from store to store.
    generation: u64,
    /// Finds stand-ins where they do not belong.
    guard: Option<Guard>,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: Arc<Spec>,
    /// `None` where the secret was never at hand.
    ready: Option<Ready>,
    /// Why the last fetch failed; `None` where it did not.
    trouble: Option<Trouble>,
    /// What was attached before: a server may still echo it, and it may still be valid.
    past: Vec<Past>,
}

/// A secret that was replaced.
#[derive(Clone, Debug)]
struct Past {
    secret: Arc<Secret>,
    /// When it ends, where that is known.
    until: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Ready {
    secret: Arc<Secret>,
    derived: Vec<Arc<Secret>>,
    parts: Parts,
    generation: u64,
    obtained: SystemTime,
    expires: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Trouble {
    cause: Arc<Cause>,
    /// Until then the last value is used on.
    usable_until: Instant,
}

/// One that can be attached.
struct Value {
    secret: Arc<Secret>,
    beside: Vec<Secret>,
    lifetime: Option<Duration>,
    parts: Parts,
}

/// How many secrets of a credential that were replaced are still looked for; and how many more
/// that are known to be valid.
const PAST: usize = 8;
const VALID: usize = 16;

/// A value as its source gave it.
#[derive(Debug)]
pub struct Fetched {
    /// What is attached.
    pub secret: Secret,
    /// What was sent to get it, and must not come back either.
    pub beside: Vec<Secret>,
    /// How long it is valid, where that is known.
    pub lifetime: Option<Duration>,
}

impl From<Secret> for Fetched {
    fn from(secret: Secret) -> Self {
        Self {
            secret,
            beside: Vec::new(),
            lifetime: None,
        }
    }
}

impl Ready {
    /// All that must not come back.
    fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let whole = self.parts.sends_secret().then_some(&self.secret);
        whole.into_iter().chain(&self.derived)
    }

    /// What must not leave.
    fn valuables(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let inner = matches!(self.parts, Parts::Signature(_));
        let whole = (!inner).then_some(&self.secret);
        whole.into_iter().chain(&self.derived)
    }
}

/// Whether a credential can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its value is the source's.
    Fresh,
    /// The source fails; the last value is used on for a while.
    Stale,
    /// There is none, or none any more.
    Absent,
}

impl State {
    /// The word in reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Absent => "absent",
        }
    }
}

/// What may be told of a credential.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// What is configured.
    pub spec: &'a Spec,
    /// Whether it can be attached.
    pub state: State,
    /// When its value was last known to be the source's.
    pub obtained: Option<SystemTime>,
    /// Why the last fetch failed, for operators.
    pub trouble: Option<String>,
    /// The value, to make a fingerprint of.
    pub secret: Option<&'a Secret>,
}

impl Entry {
    /// All that must not come back, newest first.
    fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let now = self.ready.iter().flat_map(Ready::secrets);
        now.chain(self.past.iter().map(|past| &past.secret))
    }

    /// All that must not leave: what was replaced may still be valid.
    fn valuables(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let now = self.ready.iter().flat_map(Ready::valuables);
        now.chain(self.past.iter().map(|past| &past.secret))
    }

    /// What the next value replaces, newest first.
    fn replaced(&self, now: Instant) -> Vec<Past> {
        let current = self.ready.iter().flat_map(|ready| {
            let until = |secret| ready.expires.filter(|_| Arc::ptr_eq(secret, &ready.secret));
            let past = move |secret| Past {
                secret: Arc::clone(secret),
                until: until(secret),
            };
            ready.secrets().map(past)
        });
        let mut past: Vec<Past> = Vec::new();
        let (mut valid, mut others) = (0, 0);
        for old in current.chain(self.past.iter().cloned()) {
            let is_valid = old.until.is_some_and(|end| end > now);
            let (count, most) = if is_valid {
                (&mut valid, VALID)
            } else {
                (&mut others, PAST)
            };
            let is_known = past.iter().any(|known| same(&known.secret, &old.secret));
            if *count < most && !is_known {
                *count += 1;
                past.push(old);
            }
        }
        past
    }

    /// The value, if it may be used at `now`; or why not.
    /// Most never expire: then nobody asks what time it is.
    fn usable(&self, now: impl Fn() -> Instant) -> Result<&Ready, Unusable<'_>> {
        let cause = self.trouble.as_ref().map(|trouble| &*trouble.cause);
        let Some(ready) = &self.ready else {
            return Err(Unusable::Cause(cause.unwrap_or(&Cause::Pending)));
        };
        if ready.expires.is_some_and(|end| end <= now()) {
            return Err(cause.map_or(Unusable::Expired, Unusable::Cause));
        }
        match &self.trouble {
            Some(trouble) if trouble.usable_until <= now() => Err(Unusable::Cause(&trouble.cause)),
            Some(_) | None => Ok(ready),
        }
    }

    fn state(&self, now: Instant) -> State {
        match (self.usable(|| now), &self.trouble) {
            (Err(_), _) => State::Absent,
            (Ok(_), Some(_)) => State::Stale,
            (Ok(_), None) => State::Fresh,
        }
    }
}

enum Unusable<'a> {
    Cause(&'a Cause),
    Expired,
}

/// Why a credential is not fresh, with where it is written.
#[derive(Debug)]
pub struct Problem {
    /// Which one.
    pub name: CredentialName,
    /// Where it is written.
    pub place: Place,
    /// What is wrong.
    pub cause: Arc<Cause>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.in_full();
        write!(f, "{}: credential `{}`: {cause}", self.place, self.name)
    }
}

impl std::error::Error for Problem {}

impl Store {
    /// Reads all local secrets; what has to be fetched is pending, or as in `previous`. Never
    /// fails as a whole: what cannot be had is told as a problem. A value that did not change
    /// since `previous` keeps its generation.
    #[must_use]
    pub fn load(specs: Vec<Spec>, previous: Option<&Self>) -> (Self, Vec<Problem>) {
        Self::load_with(specs, previous, &|name| std::env::var_os(name))
    }

    fn load_with(
        specs: Vec<Spec>,
        previous: Option<&Self>,
        lookup: Lookup<'_>,
    ) -> (Self, Vec<Problem>) {
        let mut store = Self {
            entries: BTreeMap::new(),
            generation: previous.map_or(0, |store| store.generation),
            guard: None,
        };
        let mut problems = Vec::new();
        for spec in specs {
            let spec = Arc::new(spec);
            let before = previous.and_then(|store| store.entries.get(&spec.name));
            let entry = if spec.is_fetched() {
                Self::pending(before, &spec)
            } else {
                let read = spec.source.read(lookup).map(Fetched::from);
                let fetched = read.and_then(|fetched| spec.timed(fetched));
                store.entry(before, &spec, fetched, Instant::now())
            };
            if let Some(trouble) = &entry.trouble {
                problems.push(Problem {
                    name: spec.name.clone(),
                    place: spec.place.clone(),
                    cause: Arc::clone(&trouble.cause),
                });
            }
            store.entries.insert(spec.name.clone(), Arc::new(entry));
        }
        // Those without a secret too: an agent holds their stand-ins all the same.
        let specs = store.entries.values().map(|entry| &entry.spec);
        let stand_ins = specs.filter_map(|spec| match &spec.attach {
            Attach::Placeholder { value, .. } => Some((&spec.name, value.as_ref()?.as_bytes())),
            _ => None,
        });
        store.guard = Guard::new(stand_ins);
        (store, problems)
    }

    /// This store with what came of fetching the secret of `spec`; `None` where that changes
    /// nothing, or where the configuration has moved on meanwhile.
    #[must_use]
    pub fn with(&self, spec: &Spec, fetched: Result<Fetched, Cause>) -> Option<Self> {
        let before = self
            .entries
            .get(&spec.name)
            .filter(|entry| *entry.spec == *spec)?;
        let mut store = self.clone();
        let entry = store.entry(Some(before), &before.spec, fetched, Instant::now());
        store.entries.insert(spec.name.clone(), Arc::new(entry));
        Some(store)
    }

    /// Whether both hold the same values, whatever their states.
    #[must_use]
    pub fn same_values(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// What is known of a secret that has to be fetched.
    fn pending(before: Option<&Arc<Entry>>, spec: &Arc<Spec>) -> Entry {
        let now = Instant::now();
        let past = before.map(|entry| entry.replaced(now));
        let blank = Entry {
            spec: Arc::clone(spec),
            ready: None,
            trouble: None,
            past: past.unwrap_or_default(),
        };
        let Some(before) = before.filter(|entry| is_same_value(&entry.spec, spec)) else {
            return blank;
        };
        Entry {
            spec: Arc::clone(spec),
            ..Entry::clone(before)
        }
    }

    fn entry(
        &mut self,
        before: Option<&Arc<Entry>>,
        spec: &Arc<Spec>,
        fetched: Result<Fetched, Cause>,
        now: Instant,
    ) -> Entry {
        let ready = fetched.and_then(|fetched| {
            let secret = Arc::new(fetched.secret);
            Ok(Value {
                parts: spec.attach.parts(&secret)?,
                secret,
                beside: fetched.beside,
                lifetime: fetched.lifetime,
            })
        });
        match ready {
            Ok(value) => self.ready(before, spec, value, now),
            Err(cause) => {
                let mut entry = Self::pending(before, spec);
                let failing = entry.trouble.take().map(|trouble| trouble.usable_until);
                entry.trouble = Some(Trouble {
                    cause: Arc::new(cause),
                    usable_until: failing.unwrap_or_else(|| later(now, spec.stale_for)),
                });
                entry
            }
        }
    }

    fn ready(
        &mut self,
        before: Option<&Arc<Entry>>,
        spec: &Arc<Spec>,
        value: Value,
        now: Instant,
    ) -> Entry {
        let expires = value.lifetime.map(|lifetime| later(now, lifetime));
        let obtained = SystemTime::now();
        let unchanged = before
            .filter(|entry| entry.spec.attach == spec.attach)
            // A connection made for less is none for a credential that asks for more.
            .filter(|entry| entry.spec.pinning == spec.pinning)
            .and_then(|entry| Some((entry, entry.ready.as_ref()?)))
            .filter(|(_, ready)| same(&ready.secret, &value.secret))
            .filter(|(_, ready)| ready.parts.has_certificate_of(&value.parts));
        if let Some((entry, ready)) = unchanged {
            return Entry {
                spec: Arc::clone(spec),
                ready: Some(Ready {
                    obtained,
                    expires,
                    ..ready.clone()
                }),
                trouble: None,
                past: entry.past.clone(),
            };
        }
        self.generation = self.generation.saturating_add(1);
        let mut derived = spec.attach.derived(&value.secret);
        derived.extend(value.beside);
        let derived = derived.into_iter().map(Arc::new);
        let derived = derived.chain(value.parts.inner()).collect();
        Entry {
            spec: Arc::clone(spec),
            ready: Some(Ready {
                derived,
                secret: value.secret,
                parts: value.parts,
                generation: self.generation,
                obtained,
                expires,
            }),
            trouble: None,
            past: before.map(|entry| entry.replaced(now)).unwrap_or_default(),
        }
    }

    /// What to attach to a request for `authority`.
    ///
    /// The config has checked that rules name only hosts of their credential and no clear
    /// HTTP; this holds the same line once more where the secret is handed out (I4).
    ///
    /// # Errors
    /// A [`Reason::CredentialUnavailable`] whose sentence names the credential, for a name
    /// that is not configured or has no secret, any other host, and anything but verified TLS.
    pub fn attachment(
        &self,
        name: &CredentialName,
        authority: &Authority,
        scheme_is_tls: bool,
    ) -> Result<Attachment, Refusal> {
        let refuse = |why: String| {
            let sentence =
                format!("the credential `{name}` {why}; ask the operator of the gateway");
            Err(Refusal::new(Reason::CredentialUnavailable, sentence))
        };
        let Some(entry) = self.entries.get(name) else {
            return refuse("is not configured".to_owned());
        };
        if !scheme_is_tls {
            return refuse("never goes over clear HTTP".to_owned());
        }
        if !entry.spec.hosts.contains(&authority.host) {
            return refuse(format!("may not go to {}", authority.host));
        }
        let ready = match entry.usable(Instant::now) {
            Ok(ready) => ready,
            Err(Unusable::Cause(cause)) => {
                return refuse(format!("is not available: {}", cause.brief()));
            }
            Err(Unusable::Expired) => {
                return refuse("is not available: its last value has expired".to_owned());
            }
        };
        let mut attachment = Attachment::new(ready.generation);
        attachment.minted = entry.spec.mint.is_some();
        if entry.spec.pinning != Pinning::Any {
            attachment.pinned.push(Pinned {
                name: name.clone(),
                pinning: entry.spec.pinning.clone(),
            });
        }
        match &ready.parts {
            Parts::Field(name, value) => attachment.headers.push((name.clone(), value.clone())),
            Parts::Query(pair) => attachment.query.push(pair.clone()),
            Parts::Placeholder(placeholder) => attachment.placeholders.push(placeholder.clone()),
            Parts::Signature(signer) => attachment.signer = Some(signer.clone()),
            Parts::Certificate(identity) => attachment.identity = Some(identity.clone()),
        }
        Ok(attachment)
    }

    /// Whether `text` holds one of the secrets, whole.
    #[must_use]
    pub fn is_within(&self, text: &[u8]) -> bool {
        self.secrets()
            .map(|(_, secret)| secret.expose())
            .any(|secret| !secret.is_empty() && memchr::memmem::find(text, secret).is_some())
    }

    /// What to look for in responses to an agent that may use the credentials of `names`.
    ///
    /// # Errors
    /// More than can be looked for.
    pub fn needles<'a>(
        &self,
        names: impl IntoIterator<Item = &'a CredentialName>,
    ) -> Result<Option<Arc<Needles>>, aho_corasick::BuildError> {
        let entries = names.into_iter().filter_map(|name| self.entries.get(name));
        let values = entries.flat_map(|entry| {
            let secrets = entry.secrets();
            secrets.map(|secret| (&entry.spec.name, secret.expose()))
        });
        Ok(Needles::new(values)?.map(Arc::new))
    }

    /// Every secret that is or was at hand, newest first by name, for the search for secrets
    /// that leave.
    pub fn secrets(&self) -> impl Iterator<Item = (&CredentialName, &Secret)> {
        let all = self.entries.iter();
        all.flat_map(|(name, entry)| entry.valuables().map(move |secret| (name, &**secret)))
    }

    /// Finds stand-ins where they do not belong; `None` where there are none.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// Whether a credential is for this request at all.
    #[must_use]
    pub fn admits(&self, name: &CredentialName, request: &Request) -> bool {
        let entry = self.entries.get(name);
        entry.is_none_or(|entry| entry.spec.limits.admit(request))
    }

    /// Whether what is attached is a token that another can be got for.
    #[must_use]
    pub fn is_minted(&self, name: &CredentialName) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.spec.mint.is_some())
    }

    /// Every configured name, in order.
    pub fn names(&self) -> impl Iterator<Item = &CredentialName> {
        self.entries.keys()
    }

    /// What each value is fetched by.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<Spec>> {
        self.entries.values().map(|entry| &entry.spec)
    }

    /// How each credential is now, in order of name.
    pub fn status(&self) -> impl Iterator<Item = Status<'_>> {
        let now = Instant::now();
        self.entries.values().map(move |entry| Status {
            spec: &entry.spec,
            state: entry.state(now),
            obtained: entry.ready.as_ref().map(|ready| ready.obtained),
            trouble: entry.trouble.as_ref().map(|it| it.cause.in_full()),
            secret: entry.ready.as_ref().map(|ready| &*ready.secret),
        })
    }

    /// Whether this credential has still to be fetched for the first time, or again because
    /// it expired: then waiting for that may help.
    #[must_use]
    pub fn is_pending(&self, name: &CredentialName) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| {
            let missing = match entry.usable(Instant::now) {
                Ok(_) => false,
                Err(Unusable::Expired) => true,
                Err(Unusable::Cause(cause)) => matches!(cause, Cause::Pending),
            };
            missing && entry.spec.is_fetched()
        })
    }

    /// Which value of this credential may be attached now.
    #[must_use]
    pub fn generation(&self, name: &CredentialName) -> Option<u64> {
        let ready = self.entries.get(name)?.usable(Instant::now).ok()?;
        Some(ready.generation)
    }

    /// Whether this credential is configured and can be attached.
    #[must_use]
    pub fn available(&self, name: &CredentialName) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.usable(Instant::now).is_ok())
    }
}

/// Whether a value got for the one is a value for the other.
fn is_same_value(one: &Spec, other: &Spec) -> bool {
    one.source == other.source
        && one.mint == other.mint
        && one.attach == other.attach
        && one.pinning == other.pinning
}

/// Beyond what the clock can tell is as good as never.
fn later(now: Instant, by: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(by.min(YEAR)).unwrap_or(now)
}

/// Compares in a time that depends on the lengths only.
fn same(one: &Secret, other: &Secret) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.expose(), other.expose()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::credential::{Limits, Source};
    use crate::name::Host;
    use http::HeaderName;

    fn spec(name: &str, variable: &str) -> Spec {
        Spec {
            name: CredentialName::new(name),
            place: Place {
                file: "rules/a.toml".into(),
                line: 3,
                column: 1,
            },
            source: Source::Env(variable.into()),
            hosts: vec![Host::from_config("api.good.test").unwrap()],
            attach: Attach::Bearer,
            limits: Limits::default(),
            pinning: Pinning::Any,
            mint: None,
            refresh: Duration::from_secs(2),
            stale_for: Duration::from_secs(3600),
        }
    }

    fn load(specs: Vec<Spec>, previous: Option<&Store>, token: &str) -> (Store, Vec<Problem>) {
        let lookup = |name: &str| (name == "TOKEN").then(|| OsString::from(token));
        Store::load_with(specs, previous, &lookup)
    }

    fn authority(text: &str) -> Authority {
        Authority::parse(text.as_bytes(), 443).unwrap()
    }

    fn generation(store: &Store, name: &str) -> u64 {
        let name = CredentialName::new(name);
        store
            .attachment(&name, &authority("api.good.test"), true)
            .unwrap()
            .generation
    }

    #[test]
    fn i4_credentials_go_only_over_tls_to_their_own_hosts() {
        let (store, problems) = load(vec![spec("a", "TOKEN")], None, "hunter2");
        assert!(problems.is_empty());
        let name = CredentialName::new("a");
        let attachment = store
            .attachment(&name, &authority("api.good.test"), true)
            .unwrap();
        assert_eq!(attachment.headers.len(), 1);
        assert_eq!(attachment.headers[0].1, "Bearer hunter2");
        assert_eq!(
            attachment.sets().collect::<Vec<_>>(),
            [http::header::AUTHORIZATION]
        );
        for (host, tls) in [
            ("api.good.test", false),
            ("good.test", true),
            ("x.api.good.test", true),
            ("api.good.test.evil.test", true),
        ] {
            let refusal = store.attachment(&name, &authority(host), tls).unwrap_err();
            assert_eq!(
                refusal.reason,
                Reason::CredentialUnavailable,
                "{host} {tls}"
            );
            assert!(!refusal.sentence.contains("hunter2"));
        }
    }

    #[test]
    fn one_that_fails_to_load_leaves_the_others_alone() {
        let (store, problems) = load(vec![spec("a", "NONE"), spec("b", "TOKEN")], None, "x");
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].to_string(),
            "rules/a.toml:3: credential `a`: the environment variable `NONE` is not set: \
             set it where the gateway is started"
        );
        let names: Vec<_> = store.names().map(CredentialName::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!store.available(&CredentialName::new("a")));
        assert!(store.available(&CredentialName::new("b")));
        assert!(!store.available(&CredentialName::new("c")));
        let a = CredentialName::new("a");
        let refusal = store
            .attachment(&a, &authority("api.good.test"), true)
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::CredentialUnavailable);
        assert!(refusal.sentence.contains("`a`"));
    }

    #[test]
    fn the_generation_changes_with_the_value_and_only_then() {
        let both = || vec![spec("a", "TOKEN"), spec("b", "TOKEN")];
        let (first, _) = load(both(), None, "one");
        assert_ne!(generation(&first, "a"), generation(&first, "b"));
        let (same, _) = load(both(), Some(&first), "one");
        assert_eq!(generation(&first, "a"), generation(&same, "a"));
        let (changed, _) = load(both(), Some(&same), "two");
        assert_ne!(generation(&same, "a"), generation(&changed, "a"));
        // Back to the first value: still a new generation, never one used before.
        let (back, _) = load(both(), Some(&changed), "one");
        let used = [
            generation(&first, "a"),
            generation(&first, "b"),
            generation(&changed, "a"),
        ];
        assert!(!used.contains(&generation(&back, "a")));
        // The same secret attached in another way is another value on the wire.
        let mut basic = both();
        basic[0].attach = Attach::Basic { user: "u".into() };
        let (other, _) = load(basic, Some(&back), "one");
        assert_ne!(generation(&other, "a"), generation(&back, "a"));
        assert_eq!(generation(&other, "b"), generation(&back, "b"));
    }

    #[test]
    fn i5_nothing_prints_a_secret() {
        let mut formatted = spec("c", "TOKEN");
        formatted.attach = Attach::Header {
            name: HeaderName::from_static("x-api-key"),
            format: "key {secret}".into(),
        };
        let mut basic = spec("d", "TOKEN");
        basic.attach = Attach::Basic { user: "u".into() };
        let (store, _) = load(vec![spec("a", "TOKEN"), formatted, basic], None, "hunter2");
        let (_, problems) = load(vec![spec("a", "TOKEN")], None, "hunter2\u{1}hunter2");
        assert_eq!(problems.len(), 1);
        let name = CredentialName::new("d");
        let attachment = store
            .attachment(&name, &authority("api.good.test"), true)
            .unwrap();
        let mut text = format!("{store:?} {store:#?} {attachment:?} {problems:?}");
        text.push_str(&problems[0].to_string());
        assert!(!text.contains("hunter2"));
        assert!(!text.contains("dTpodW50ZXIy"), "not in base64 either");
    }
}

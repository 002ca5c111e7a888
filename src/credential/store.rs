//! All credentials with their secrets, as one value that is swapped whole on reload.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

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

/// Every configured credential. Made anew on each reload; read-only in between.
#[derive(Debug, Default)]
pub struct Store {
    entries: BTreeMap<CredentialName, Entry>,
    /// The highest generation given out so far, carried from store to store.
    generation: u64,
    /// Finds stand-ins where they do not belong.
    guard: Option<Guard>,
}

#[derive(Debug)]
struct Entry {
    spec: Spec,
    /// `None` while the secret cannot be had.
    ready: Option<Ready>,
}

#[derive(Debug)]
struct Ready {
    secret: Arc<Secret>,
    derived: Vec<Arc<Secret>>,
    /// What was attached before: a server may still echo it, and it may still be valid.
    past: Vec<Arc<Secret>>,
    parts: Parts,
    generation: u64,
}

/// How many secrets of a credential that were replaced are still looked for.
const PAST: usize = 8;

impl Entry {
    /// What was attached until now, newest first.
    fn past(&self) -> Vec<Arc<Secret>> {
        let secrets = self.ready.iter().flat_map(Ready::secrets);
        secrets.take(PAST).cloned().collect()
    }
}

impl Ready {
    /// All that must not come back, in order of age.
    fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let whole = self.parts.sends_secret().then_some(&self.secret);
        whole.into_iter().chain(&self.derived).chain(&self.past)
    }

    /// What must not leave.
    fn valuables(&self) -> impl Iterator<Item = &Arc<Secret>> {
        let inner = matches!(self.parts, Parts::Signature(_));
        let whole = (!inner).then_some(&self.secret);
        let inner = self.derived.iter().filter(move |_| inner);
        whole.into_iter().chain(inner)
    }
}

/// Why a credential is not available, with where it is written.
#[derive(Debug)]
pub struct Problem {
    /// Which one.
    pub name: CredentialName,
    /// Where it is written.
    pub place: Place,
    /// What is wrong.
    pub cause: Cause,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: credential `{}`: {}",
            self.place, self.name, self.cause
        )
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.cause)
    }
}

impl Store {
    /// Reads all secrets. Never fails as a whole: what cannot be had is told as a problem and
    /// kept as unavailable. A value that did not change since `previous` keeps its generation.
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
            let ready = match store.prepare(&spec, previous, lookup) {
                Ok(ready) => Some(ready),
                Err(cause) => {
                    problems.push(Problem {
                        name: spec.name.clone(),
                        place: spec.place.clone(),
                        cause,
                    });
                    None
                }
            };
            store
                .entries
                .insert(spec.name.clone(), Entry { spec, ready });
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

    fn prepare(
        &mut self,
        spec: &Spec,
        previous: Option<&Self>,
        lookup: Lookup<'_>,
    ) -> Result<Ready, Cause> {
        let secret = Arc::new(spec.source.read(lookup)?);
        let parts = spec.attach.parts(&secret)?;
        let before = previous.and_then(|store| store.entries.get(&spec.name));
        let past = before.map(Entry::past).unwrap_or_default();
        let unchanged = before
            .filter(|entry| entry.spec.attach == spec.attach)
            // A connection made for less is none for a credential that asks for more.
            .filter(|entry| entry.spec.pinning == spec.pinning)
            .and_then(|entry| entry.ready.as_ref())
            .filter(|ready| same(&ready.secret, &secret));
        let (generation, past) = if let Some(ready) = unchanged {
            (ready.generation, ready.past.clone())
        } else {
            self.generation = self.generation.saturating_add(1);
            (self.generation, past)
        };
        let derived = spec.attach.derived(&secret).into_iter().map(Arc::new);
        Ok(Ready {
            derived: derived.chain(parts.inner()).collect(),
            past,
            secret,
            parts,
            generation,
        })
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
        let Some(ready) = &entry.ready else {
            return refuse("has no secret at the gateway just now".to_owned());
        };
        let mut attachment = Attachment::new(ready.generation);
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
        let secrets = self
            .entries
            .values()
            .filter_map(|entry| entry.ready.as_ref());
        secrets
            .flat_map(Ready::valuables)
            .map(|secret| secret.expose())
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
            let secrets = entry.ready.iter().flat_map(Ready::secrets);
            secrets.map(|secret| (&entry.spec.name, secret.expose()))
        });
        Ok(Needles::new(values)?.map(Arc::new))
    }

    /// Every secret that is at hand, for the search for secrets that leave.
    pub fn secrets(&self) -> impl Iterator<Item = (&CredentialName, &Secret)> {
        self.entries.iter().flat_map(|(name, entry)| {
            let secrets = entry.ready.iter().flat_map(Ready::valuables);
            secrets.map(move |secret| (name, &**secret))
        })
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

    /// Every configured name, in order.
    pub fn names(&self) -> impl Iterator<Item = &CredentialName> {
        self.entries.keys()
    }

    /// Whether this credential is configured and its secret at hand.
    #[must_use]
    pub fn available(&self, name: &CredentialName) -> bool {
        self.entries
            .get(name)
            .is_some_and(|entry| entry.ready.is_some())
    }
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
            "rules/a.toml:3: credential `a`: the environment variable `NONE` is not set"
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

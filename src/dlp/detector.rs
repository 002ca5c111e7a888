//! Detectors as the operator knows them, and all of them compiled into one engine.

use std::sync::Arc;

use super::check::Check;
use super::engine::{Boundary, Engine, Finding, Pattern, Sought};
use super::imported::Imported;
use super::kind::Kind;
use super::known;
use super::parts::Part;
use super::shape::Shape;
use super::stream::scan;
use crate::name::Host;
use crate::secret::Secret;

/// Least entropy of a token's free part where a detector says nothing, in bits a byte.
pub const ENTROPY: f32 = 2.5;

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Nothing; it is not even told.
    Off,
    /// It is recorded and counted, and goes on.
    Alert,
    /// Its bytes are masked, and the request goes on; refused where that cannot be done.
    Redact,
    /// The request is refused, or broken off.
    Block,
}

impl Action {
    /// Every action, by its word.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("off", Self::Off),
        ("alert", Self::Alert),
        ("redact", Self::Redact),
        ("block", Self::Block),
    ];

    /// Its word in files, metrics and records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Alert => "alert",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}

/// How strictly a rule's requests are scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Each detector does what its `default` says.
    #[default]
    Default,
    /// Each detector does what its `strict` says.
    Strict,
}

/// Hosts to which this kind of data may go in its usual place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The host, or what names under it end with.
    pub host: Host,
    /// Whether names under it are meant, and not itself.
    pub under: bool,
}

/// A description of data that must not leave.
#[derive(Clone, Debug)]
pub struct Detector {
    /// Unique; stands in metrics and records.
    pub name: Arc<str>,
    /// What agents and people read: "GitHub token".
    pub title: String,
    /// As written, for people.
    pub written: Vec<String>,
    /// What it looks like: each is one way.
    pub shapes: Vec<Shape>,
    /// What it looks for where no shape can say it.
    pub kind: Option<Kind>,
    /// A rule of another scanner.
    pub imported: Option<Arc<Imported>>,
    /// Why it looks for nothing, where its rule cannot run.
    pub left_out: Option<String>,
    /// Parts of a known secret, each of which is one more way.
    pub parts: Vec<Part>,
    /// What may stand around it.
    pub boundary: Boundary,
    /// What its bytes must say.
    pub check: Check,
    /// Least entropy of the part that is not fixed, in bits a byte.
    pub entropy: f32,
    /// What follows in the profile `default`.
    pub default: Action,
    /// What follows in the profile `strict`.
    pub strict: Action,
    /// Where it may go in header fields and the URL, because it belongs there.
    pub allow_to: Vec<Home>,
    /// Whether this is how agents say who they are: then `Authorization` and `Cookie` may
    /// hold it, to any host.
    pub authenticates: bool,
    /// Whether it is a trap: then nothing makes it leave.
    pub honeytoken: bool,
    /// What must be found.
    pub examples: Vec<String>,
    /// What must not be.
    pub counter_examples: Vec<String>,
}

impl Detector {
    /// Detectors of exactly this secret in all its forms, and of its parts; none for one
    /// that is too short to be told from other text. `what` it is stands in what agents read.
    #[must_use]
    pub fn of_secret(name: &str, what: &str, secret: &Secret) -> Vec<Self> {
        let shapes = known::forms(secret.expose());
        if shapes.is_empty() {
            return Vec::new();
        }
        let mut detectors = vec![Self {
            shapes,
            ..Self::known(name.into(), what.to_owned())
        }];
        let parts = Part::of(secret);
        if !parts.is_empty() {
            detectors.push(Self {
                parts,
                ..Self::known(format!("{name}/part").into(), format!("part of the {what}"))
            });
        }
        detectors
    }

    /// One that looks for nothing yet, and then proves itself.
    fn known(name: Arc<str>, title: String) -> Self {
        Self {
            name,
            title,
            written: Vec::new(),
            shapes: Vec::new(),
            kind: None,
            imported: None,
            left_out: None,
            parts: Vec::new(),
            boundary: Boundary::None,
            check: Check::None,
            entropy: 0.0,
            default: Action::Block,
            strict: Action::Block,
            allow_to: Vec::new(),
            authenticates: false,
            honeytoken: false,
            examples: Vec::new(),
            counter_examples: Vec::new(),
        }
    }

    /// A detector of a rule of gitleaks, or why there is none.
    #[must_use]
    pub fn imported(
        id: &str,
        rule: Result<Arc<Imported>, String>,
        (default, strict): (Action, Action),
    ) -> Self {
        let (imported, left_out) = match rule {
            Ok(rule) => (Some(rule), None),
            Err(why) => (None, Some(why)),
        };
        let plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '`' | '"');
        let id: String = id.chars().filter(plain).take(48).collect();
        Self {
            imported,
            left_out,
            default,
            strict,
            ..Self::known(
                format!("gitleaks:{id}").into(),
                format!("data of gitleaks' rule `{id}`"),
            )
        }
    }

    /// Detectors of a honeytoken, as [`Detector::of_secret`].
    #[must_use]
    pub fn of_honeytoken(name: &str, agent: Option<&str>, token: &Secret) -> Vec<Self> {
        let what = match agent {
            Some(agent) => format!("honeytoken `{name}` of agent `{agent}`"),
            None => format!("honeytoken `{name}`"),
        };
        let mut detectors = Self::of_secret(&format!("honeytoken:{name}"), &what, token);
        for detector in &mut detectors {
            detector.honeytoken = true;
        }
        detectors
    }

    /// What follows from a finding of it.
    #[must_use]
    pub fn action(&self, profile: Profile) -> Action {
        match profile {
            Profile::Default => self.default,
            Profile::Strict => self.strict,
        }
    }

    /// Whether it may go to `host` in header fields and the URL.
    #[must_use]
    pub fn is_at_home(&self, host: &Host) -> bool {
        self.allow_to
            .iter()
            .any(|home| match (home.under, host.name(), home.host.name()) {
                (false, ..) => home.host == *host,
                (true, Some(name), Some(suffix)) => name
                    .strip_suffix(suffix)
                    .is_some_and(|labels| labels.ends_with('.')),
                (true, ..) => false,
            })
    }

    /// The first example that is not found, or counter-example that is.
    #[must_use]
    pub fn wrong_example(&self, engine: &Engine) -> Option<(&str, bool)> {
        let missed = |text: &&String| !finds(engine, text);
        let found = |text: &&String| finds(engine, text);
        let missed = self.examples.iter().find(missed);
        let wrong = self.counter_examples.iter().find(found);
        missed
            .map(|text| (text.as_str(), true))
            .or_else(|| wrong.map(|text| (text.as_str(), false)))
    }

    /// An engine of this detector alone.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::compile(Sought {
            patterns: self.patterns(0).collect(),
            parts: self.parts.iter().map(|part| (0, part)).collect(),
            kinds: self.kind.map(|kind| (kind, 0)).into_iter().collect(),
            imported: self.imported.iter().map(|rule| (0, rule.clone())).collect(),
        })
    }

    fn patterns(&self, number: u32) -> impl Iterator<Item = Pattern> {
        self.shapes.iter().map(move |shape| Pattern {
            detector: number,
            shape: shape.clone(),
            boundary: self.boundary,
            check: self.check,
            entropy: self.entropy,
            // Known secrets bring their own forms.
            encoded: !self.written.is_empty(),
        })
    }
}

fn finds(engine: &Engine, text: &str) -> bool {
    let mut found = false;
    scan(engine, text.as_bytes(), &mut |_, _| found = true);
    found
}

/// All detectors and their engine. Immutable; made anew at each reload.
#[derive(Debug, Default)]
pub struct Detectors {
    all: Vec<Detector>,
    engine: Engine,
    /// The traps alone; none where there are none.
    honeytokens: Option<Arc<Self>>,
    /// Whether any masks what it finds, in whatever profile.
    redacting: bool,
}

impl Detectors {
    /// Compiles detectors.
    #[must_use]
    pub fn new(all: Vec<Detector>) -> Self {
        let honeytokens = all.iter().filter(|detector| detector.honeytoken);
        let honeytokens: Vec<Detector> = honeytokens.cloned().collect();
        let any = !honeytokens.is_empty();
        let honeytokens = any.then(|| Arc::new(Self::compile(honeytokens, None)));
        Self::compile(all, honeytokens)
    }

    fn compile(all: Vec<Detector>, honeytokens: Option<Arc<Self>>) -> Self {
        let mut sought = Sought::default();
        for (number, detector) in (0..).zip(&all) {
            let parts = detector.parts.iter().map(|part| (number, part));
            sought.patterns.extend(detector.patterns(number));
            sought.parts.extend(parts);
            let imported = detector.imported.iter();
            sought
                .imported
                .extend(imported.map(|rule| (number, rule.clone())));
            sought
                .kinds
                .extend(detector.kind.map(|kind| (kind, number)));
        }
        let engine = Engine::compile(sought);
        let profiles = [Profile::Default, Profile::Strict];
        let redacts = |detector: &Detector| {
            profiles
                .iter()
                .any(|profile| detector.action(*profile) == Action::Redact)
        };
        Self {
            redacting: all.iter().any(redacts),
            all,
            engine,
            honeytokens,
        }
    }

    /// The honeytokens alone, which are looked for where nothing else is.
    #[must_use]
    pub fn honeytokens(&self) -> Option<&Arc<Self>> {
        self.honeytokens.as_ref()
    }

    /// Whether any masks what it finds.
    #[must_use]
    pub fn redacting(&self) -> bool {
        self.redacting
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whose finding this is.
    #[must_use]
    pub fn of(&self, finding: &Finding) -> Option<&Detector> {
        self.all.get(finding.detector as usize)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Detector> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn known(secret: &[u8]) -> Detectors {
        let secret = Secret::new(secret.to_vec());
        Detectors::new(Detector::of_secret("a", "secret", &secret))
    }

    fn finds_in(detectors: &Detectors, text: &[u8]) -> bool {
        let mut found = false;
        scan(detectors.engine(), text, &mut |_, _| found = true);
        found
    }

    #[test]
    fn a_known_secret_is_found_in_every_form() {
        let secret = b"hunter/2+\"Tr0ub4dor&3\\x";
        let detectors = known(secret);
        let each =
            |form: fn(u8) -> String| secret.iter().map(|byte| form(*byte)).collect::<Vec<_>>();
        let hex = each(|byte| format!("{byte:02x}")).concat();
        let percent = each(|byte| format!("%{byte:02X}")).concat();
        let unicode = each(|byte| format!("\\u00{byte:02x}")).concat();
        let wide: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
        let json = serde_json::to_string(std::str::from_utf8(secret).unwrap()).unwrap();
        let form = percent_encoding::utf8_percent_encode(
            std::str::from_utf8(secret).unwrap(),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string();
        for form in [
            secret.to_vec(),
            secret.to_ascii_lowercase(),
            hex.clone().into_bytes(),
            hex.to_uppercase().into_bytes(),
            percent.to_lowercase().into_bytes(),
            percent.into_bytes(),
            unicode.into_bytes(),
            wide,
            json.trim_matches('"').into(),
            form.into_bytes(),
        ] {
            for around in [&b""[..], b"x", b"abc"] {
                let text = [around, &form, around].concat();
                assert!(finds_in(&detectors, &text), "{}", text.escape_ascii());
                // The last zero of UTF-16 is no part of the secret.
                let last = 1 + usize::from(form.ends_with(&[0]));
                let short = &text[..around.len() + form.len() - last];
                assert!(!finds_in(&detectors, short));
            }
        }
        for before in 0..4 {
            let text = [&vec![b'u'; before][..], secret, b"tail"].concat();
            for engine in [
                base64::engine::general_purpose::STANDARD,
                base64::engine::general_purpose::URL_SAFE,
            ] {
                assert!(finds_in(&detectors, engine.encode(&text).as_bytes()));
            }
        }
        assert!(!finds_in(&detectors, b"hunter/2+"));
    }

    #[test]
    fn i5_nothing_prints_a_known_secret() {
        let secret = Secret::new(b"hunter2hunter2q7R2vX9mT4bL8wZ1".to_vec());
        let detectors = Detector::of_secret("a", "secret", &secret);
        let one = format!("{detectors:?}");
        let text = format!("{one} {:?}", Detectors::new(detectors));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn home_is_exact_or_under() {
        let mut detector = Detector::known("a".into(), "secret".to_owned());
        let host = |text: &str| Host::from_config(text).unwrap();
        detector.allow_to = vec![
            Home {
                host: host("api.good.test"),
                under: false,
            },
            Home {
                host: host("apps.test"),
                under: true,
            },
        ];
        for (name, home) in [
            ("api.good.test", true),
            ("x.api.good.test", false),
            ("x.apps.test", true),
            ("apps.test", false),
            ("xapps.test", false),
        ] {
            assert_eq!(detector.is_at_home(&host(name)), home, "{name}");
        }
    }
}

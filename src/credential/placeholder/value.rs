//! What stand-ins look like: the shape of the real thing, and random at their end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;

use super::super::{Attach, Spec};
use crate::name::{CredentialName, Host};

/// In the state folder.
const FILE: &str = "placeholder.key";
/// Bytes of the key.
const KEY: usize = 32;
/// Characters of a stand-in that nothing else is said of.
const PLAIN: &str = "portreeve_[A-Za-z0-9]{40}";
/// The longest run that a shape may ask for, and the longest stand-in.
const LONGEST: usize = 512;
/// Random characters from which on nobody guesses one.
const RANDOM_LEAST: usize = 16;

/// Where libraries check what a key looks like before they use it.
const KNOWN: [(&str, &str); 11] = [
    ("api.anthropic.com", "sk-ant-api03-[A-Za-z0-9]{93}AA"),
    ("api.openai.com", "sk-proj-[A-Za-z0-9]{48}"),
    ("api.github.com", "ghp_[A-Za-z0-9]{36}"),
    ("github.com", "ghp_[A-Za-z0-9]{36}"),
    ("gitlab.com", "glpat-[A-Za-z0-9]{20}"),
    ("slack.com", "xoxb-[0-9]{12}-[0-9]{13}-[A-Za-z0-9]{24}"),
    ("api.stripe.com", "sk_test_[A-Za-z0-9]{24}"),
    ("huggingface.co", "hf_[A-Za-z]{34}"),
    ("generativelanguage.googleapis.com", "AIza[A-Za-z0-9]{35}"),
    ("api.sendgrid.com", "SG.[A-Za-z0-9]{22}.[A-Za-z0-9]{43}"),
    ("api.groq.com", "gsk_[A-Za-z0-9]{52}"),
];

/// A shape: characters, `[classes]` of letters and digits, and counts `{n}` after a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Like(Vec<Run>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Run {
    Text(String),
    Random { of: Vec<u8>, count: usize },
}

impl Like {
    /// Reads a shape.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut runs = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (class, after) = inside.split_once(']').ok_or("a `[` is never closed")?;
                let of = members(class)?;
                let (count, after) = match after.strip_prefix('{') {
                    None => (1, after),
                    Some(count) => {
                        let (count, after) =
                            count.split_once('}').ok_or("a `{` is never closed")?;
                        let count: usize = count.parse().map_err(|_| "a count is no number")?;
                        (count, after)
                    }
                };
                runs.push(Run::Random { of, count });
                rest = after;
            } else if first.is_ascii_alphanumeric() || "-_.~".contains(first) {
                let end = rest.find(['[', '{', ']', '}']).unwrap_or(rest.len());
                let (plain, after) = rest.split_at(end);
                let fits = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
                if !plain.chars().all(fits) {
                    return Err("it may hold letters, digits, `-`, `_`, `.` and `~` only");
                }
                runs.push(Run::Text(plain.to_owned()));
                rest = after;
            } else {
                return Err("it may hold letters, digits, `-`, `_`, `.` and `~` only");
            }
        }
        let like = Self(runs);
        let (all, random) = like.lengths();
        if all > LONGEST {
            return Err("it is longer than 512 characters");
        }
        if random < RANDOM_LEAST {
            return Err("it has fewer than 16 characters that are drawn");
        }
        Ok(like)
    }

    fn lengths(&self) -> (usize, usize) {
        let sum = |one: usize, other: usize| one.saturating_add(other);
        self.0.iter().fold((0, 0), |(all, random), run| match run {
            Run::Text(text) => (sum(all, text.len()), random),
            Run::Random { count, .. } => (sum(all, *count), sum(random, *count)),
        })
    }

    /// The shape of keys for one of these hosts, where it is known.
    fn of_hosts(hosts: &[Host]) -> Self {
        let known = |host: &Host| {
            let name = host.name()?;
            KNOWN.iter().find(|(known, _)| *known == name)
        };
        let text = hosts.iter().find_map(known).map_or(PLAIN, |(_, like)| like);
        Self::parse(text).unwrap_or(Self(Vec::new()))
    }

    fn fill(&self, key: &hmac::Key, name: &CredentialName) -> String {
        let mut stream = Stream::new(key, name);
        let mut text = String::new();
        for run in &self.0 {
            match run {
                Run::Text(plain) => text.push_str(plain),
                Run::Random { of, count } => {
                    for _ in 0..*count {
                        text.push(char::from(stream.pick(of)));
                    }
                }
            }
        }
        text
    }
}

fn members(class: &str) -> Result<Vec<u8>, &'static str> {
    const WHY: &str = "a class holds ranges such as `a-z`, letters, digits, `_` and, last, `-`";
    let mut members = Vec::new();
    let mut rest = class.as_bytes();
    while let [first, tail @ ..] = rest {
        match tail {
            [b'-', last, after @ ..] => {
                let same = first.is_ascii_digit() == last.is_ascii_digit()
                    && first.is_ascii_uppercase() == last.is_ascii_uppercase();
                let fits = first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric();
                if !fits || !same || first > last {
                    return Err(WHY);
                }
                members.extend(*first..=*last);
                rest = after;
            }
            _ if first.is_ascii_alphanumeric() || matches!(first, b'_' | b'-') => {
                members.push(*first);
                rest = tail;
            }
            _ => return Err(WHY),
        }
    }
    if members.is_empty() {
        return Err(WHY);
    }
    Ok(members)
}

/// Bytes that depend on the key and the name: HMAC-SHA-256 over a counter.
struct Stream<'a> {
    key: &'a hmac::Key,
    name: &'a CredentialName,
    block: u32,
    bytes: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn new(key: &'a hmac::Key, name: &'a CredentialName) -> Self {
        Self {
            key,
            name,
            block: 0,
            bytes: Vec::new(),
        }
    }

    fn byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.bytes.pop() {
                return byte;
            }
            let mut context = hmac::Context::with_key(self.key);
            context.update(&self.block.to_be_bytes());
            context.update(self.name.as_str().as_bytes());
            self.bytes.extend_from_slice(context.sign().as_ref());
            self.block = self.block.wrapping_add(1);
        }
    }

    /// Each member is as likely as any other.
    fn pick(&mut self, of: &[u8]) -> u8 {
        let count = of.len().clamp(1, 256);
        let fair = 256 - 256 % count;
        loop {
            let byte = usize::from(self.byte());
            if byte < fair {
                return of.get(byte % count).copied().unwrap_or(b'0');
            }
        }
    }
}

/// Makes stand-ins: always the same ones for one state folder.
pub struct StandIns(hmac::Key);

impl std::fmt::Debug for StandIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandIns(..)")
    }
}

impl StandIns {
    /// Reads the key in the state folder, or makes one.
    ///
    /// # Errors
    /// It cannot be read or made, or others than its owner can read it.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(FILE);
        let read = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(state, &path)?;
                read(&path)
            }
            read => read,
        };
        read.map(|key| Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The stand-in of a credential.
    #[must_use]
    pub fn of(&self, name: &CredentialName, like: Option<&Like>, hosts: &[Host]) -> String {
        match like {
            Some(like) => like.fill(&self.0, name),
            None => Like::of_hosts(hosts).fill(&self.0, name),
        }
    }

    /// Gives every credential of this method its stand-in.
    ///
    /// # Errors
    /// As [`Self::open`], where there is a credential that needs one.
    pub fn fill(state: &Path, specs: &mut [Spec]) -> io::Result<()> {
        let mut made: Option<Self> = None;
        for spec in specs {
            if let Attach::Placeholder { like, value, .. } = &mut spec.attach {
                let stand_ins = match made.take() {
                    Some(stand_ins) => stand_ins,
                    None => Self::open(state)?,
                };
                *value = Some(stand_ins.of(&spec.name, like.as_ref(), &spec.hosts));
                made = Some(stand_ins);
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let why = format!(
            "`{}` has mode {mode:04o}, so others than its owner can get at it: run `chmod 0600 {}`",
            path.display(),
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut key = Vec::new();
    file.take(KEY as u64 + 1).read_to_end(&mut key)?;
    if key.len() != KEY {
        let why = format!(
            "`{}` is damaged: remove it, and give agents their new stand-ins",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(key)
}

/// Two that start at once end up with one key: whoever links first.
fn make(state: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("there is no randomness"))?;
    let own: PathBuf = state.join(format!("{FILE}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&own)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&own, path);
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_have_the_shape_and_stay_the_same() {
        let state = tempfile::tempdir().unwrap();
        let stand_ins = StandIns::open(state.path()).unwrap();
        let again = StandIns::open(state.path()).unwrap();
        let hosts = [Host::from_config("api.anthropic.com").unwrap()];
        let (one, two) = (CredentialName::new("one"), CredentialName::new("two"));
        let value = stand_ins.of(&one, None, &hosts);
        assert!(value.starts_with("sk-ant-api03-") && value.ends_with("AA"));
        assert_eq!(value.len(), 108);
        assert_eq!(again.of(&one, None, &hosts), value);
        assert_ne!(stand_ins.of(&two, None, &hosts), value);
        let other = tempfile::tempdir().unwrap();
        let other = StandIns::open(other.path()).unwrap();
        assert_ne!(other.of(&one, None, &hosts), value);
        let like = Like::parse("tok-[a-f0-9]{20}").unwrap();
        let value = other.of(&one, Some(&like), &hosts);
        let (prefix, rest) = value.split_at(4);
        assert_eq!((prefix, rest.len()), ("tok-", 20));
        assert!(rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn known_shapes_read() {
        for (host, like) in KNOWN {
            assert!(Like::parse(like).is_ok(), "{host}");
        }
        for bad in [
            "",
            "abc",
            "[a-z]{15}",
            "[a-z]{600}",
            "[z-a]{20}",
            "[a-Z]{20}",
            "[a-z]{x}",
            "[a-z",
            "a b[a-z]{20}",
            "[]{20}",
            "é[a-z]{20}",
        ] {
            assert!(Like::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let state = tempfile::tempdir().unwrap();
        StandIns::open(state.path()).unwrap();
        let path = state.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = StandIns::open(state.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
}

//! Which servers a credential trusts beyond a valid certificate: by the keys that prove them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::error::{Reason, Refusal};
use crate::name::{CredentialName, Host};
use crate::tls::{Pin, Proof};

/// In the state folder.
const FILE: &str = "upstream-identities.json";
/// The largest such file, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Whom a credential may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Whoever has a valid certificate for the host.
    #[default]
    Any,
    /// Whoever it went to first: the same key, or a certificate by the same issuer.
    Remember,
    /// One of these keys must be the server's or that of a CA that its certificate leads to.
    These(Vec<Pin>),
}

/// What of a credential is asked of the server.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The credential.
    pub name: CredentialName,
    /// What is asked.
    pub pinning: Pinning,
}

/// By credential and host.
type Known = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Servers that are remembered.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    known: Mutex<Known>,
}

impl Remembered {
    /// Those of the state folder.
    ///
    /// # Errors
    /// The file is there and cannot be read: to begin anew would trust anybody.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(FILE);
        let known = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > FILE_MAX => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, FILE));
            }
            Ok(_) => serde_json::from_slice(&fs::read(&path)?)?,
        };
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// Holds a server against what a credential asks of it; remembers it where that is asked.
    ///
    /// # Errors
    /// [`Reason::UpstreamIdentity`]
    pub fn check(&self, pinned: &Pinned, host: &Host, proof: &Proof) -> Result<(), Refusal> {
        match &pinned.pinning {
            Pinning::Any => Ok(()),
            Pinning::These(pins) if proof.all().any(|pin| pins.contains(pin)) => Ok(()),
            Pinning::These(_) => Err(stranger(&pinned.name, host, "not one of those configured")),
            Pinning::Remember => self.remember(&pinned.name, host, proof),
        }
    }

    fn remember(&self, name: &CredentialName, host: &Host, proof: &Proof) -> Result<(), Refusal> {
        let mut known = self.known.lock();
        let nearest: Vec<String> = proof.nearest().iter().map(ToString::to_string).collect();
        let hosts = known.get(name.as_str());
        let before = hosts.and_then(|hosts| hosts.get(&*host.text()));
        match before {
            Some(before) if *before == nearest => return Ok(()),
            Some(before) if !nearest.iter().any(|pin| before.contains(pin)) => {
                tracing::error!(
                    credential = %name, %host, file = %self.path.display(),
                    "the server has another key and another issuer than remembered; if that is right, remove the entry and restart"
                );
                return Err(stranger(name, host, "not the one remembered"));
            }
            Some(_) | None => {}
        }
        let mut next = known.clone();
        let hosts = next.entry(name.as_str().to_owned()).or_default();
        hosts.insert(host.text().into_owned(), nearest);
        // What is not on disk is not remembered: after a restart it would be anybody.
        if let Err(error) = self.write(&next) {
            tracing::error!(%error, file = %self.path.display(), "cannot remember a server");
            return Err(stranger(name, host, "one that cannot be remembered"));
        }
        *known = next;
        Ok(())
    }

    /// All of it or nothing: written beside, synced, then renamed.
    fn write(&self, known: &Known) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(known)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    }
}

fn stranger(name: &CredentialName, host: &Host, what: &str) -> Refusal {
    Refusal::new(
        Reason::UpstreamIdentity,
        format!(
            "the credential `{name}` was withheld: the server that answers for {host} has a valid certificate, but is {what} (`upstream_identity`); ask the operator of the gateway"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(own: &str, issuers: &[&str]) -> Proof {
        Proof {
            own: Pin::of(own.as_bytes()),
            issuers: issuers.iter().map(|key| Pin::of(key.as_bytes())).collect(),
        }
    }

    #[test]
    fn a_server_is_remembered_by_its_key_or_its_issuer() {
        let state = tempfile::tempdir().unwrap();
        let host = Host::from_config("api.good.test").unwrap();
        let pinned = Pinned {
            name: CredentialName::new("api"),
            pinning: Pinning::Remember,
        };
        let check = |proof: &Proof| {
            // Opened anew each time: what counts is what is on disk.
            let remembered = Remembered::open(state.path()).unwrap();
            remembered
                .check(&pinned, &host, proof)
                .map_err(|it| it.reason)
        };
        let first = proof("key", &["ca one", "root"]);
        assert_eq!(check(&first), Ok(()));
        assert_eq!(check(&first), Ok(()));
        // Another key by the same issuer, then the same key by another issuer.
        assert_eq!(check(&proof("key two", &["ca one", "root"])), Ok(()));
        assert_eq!(check(&proof("key two", &["ca two"])), Ok(()));
        let stranger = proof("key three", &["ca three", "root"]);
        assert_eq!(check(&stranger), Err(Reason::UpstreamIdentity));
        // What was left behind is not trusted any more.
        assert_eq!(
            check(&proof("key", &["ca one"])),
            Err(Reason::UpstreamIdentity)
        );
        let other = Host::from_config("other.good.test").unwrap();
        let remembered = Remembered::open(state.path()).unwrap();
        assert!(remembered.check(&pinned, &other, &stranger).is_ok());
    }

    #[test]
    fn pins_that_are_written() {
        let state = tempfile::tempdir().unwrap();
        let remembered = Remembered::open(state.path()).unwrap();
        let host = Host::from_config("api.good.test").unwrap();
        let pin = Pin::parse(&Pin::of(b"root").to_string()).unwrap();
        let pinned = Pinned {
            name: CredentialName::new("api"),
            pinning: Pinning::These(vec![pin]),
        };
        let check = |proof: &Proof| remembered.check(&pinned, &host, proof).is_ok();
        assert!(check(&proof("root", &[])));
        assert!(check(&proof("key", &["ca", "root"])));
        assert!(!check(&proof("key", &["ca"])));
        assert!(!state.path().join(FILE).exists());
        for bad in ["", "sha256/", "sha256/AAAA", "md5/AAAA", "AAAA"] {
            assert!(Pin::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_damaged_file_trusts_nobody() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "{").unwrap();
        assert!(Remembered::open(state.path()).is_err());
    }
}

//! What the running gateway tells other commands of its credentials: a file in the state
//! folder, with states and fingerprints and no value.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::credential::{Status, Store};
use crate::secret::Secret;

/// Far above what a thousand credentials need.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Writes and reads the file.
pub struct Report {
    state_dir: PathBuf,
}

/// One credential in the file.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Reported {
    /// Its name.
    pub name: String,
    /// `fresh`, `stale` or `absent`.
    pub state: String,
    /// When the value was last known to be the source's, in seconds since the epoch.
    pub obtained: Option<u64>,
    /// Tells values apart; made with a key that stays on this machine.
    pub fingerprint: Option<String>,
    /// Why the last fetch failed.
    pub trouble: Option<String>,
}

impl Report {
    /// Of the gateway with this state folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// Writes the state of every credential, whole or not at all. A failure is told and harms
    /// nothing else.
    pub fn write(&self, store: &Store) {
        // Where there is nothing to tell and nothing to take back, no file is made.
        if store.names().next().is_none() && !self.file().exists() {
            return;
        }
        let key = self.key().ok();
        let all: Vec<_> = store
            .status()
            .map(|status| self::reported(&status, key.as_ref()))
            .collect();
        let written = serde_json::to_vec(&all)
            .map_err(io::Error::other)
            .and_then(|text| replace(&self.file(), &text));
        if let Err(error) = written {
            tracing::warn!(%error, "the state of credentials cannot be written for `portreeve credential list`");
        }
    }

    /// What the gateway last wrote.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub fn read(&self) -> io::Result<Vec<Reported>> {
        let mut text = Vec::new();
        fs::File::open(self.file())?
            .take(LONGEST)
            .read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// The fingerprint of a value: 64 bits, useless without the key in the state folder.
    ///
    /// # Errors
    /// The key can neither be read nor made.
    pub fn fingerprint(&self, secret: &Secret) -> io::Result<String> {
        Ok(fingerprint(&self.key()?, secret))
    }

    /// The fingerprint of a value, where a gateway has made the key; none is made.
    #[must_use]
    pub fn known_fingerprint(&self, secret: &Secret) -> Option<String> {
        let made = self.key_file().exists();
        made.then(|| self.fingerprint(secret).ok()).flatten()
    }

    fn key_file(&self) -> PathBuf {
        self.state_dir.join("fingerprint.key")
    }

    fn file(&self) -> PathBuf {
        self.state_dir.join("credentials.json")
    }

    fn key(&self) -> io::Result<hmac::Key> {
        let path = self.key_file();
        let mut bytes = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => {
                file.take(64).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bytes = vec![0; 32];
                aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
                replace(&path, &bytes)?;
            }
            Err(error) => return Err(error),
        }
        if bytes.len() < 32 {
            return Err(io::Error::other("fingerprint.key is damaged: remove it"));
        }
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }
}

fn reported(status: &Status<'_>, key: Option<&hmac::Key>) -> Reported {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|it| it.as_secs());
    Reported {
        name: status.spec.name.to_string(),
        state: status.state.label().to_owned(),
        obtained: status.obtained.and_then(seconds),
        fingerprint: status
            .secret
            .zip(key)
            .map(|(secret, key)| fingerprint(key, secret)),
        trouble: status.trouble.clone(),
    }
}

fn fingerprint(key: &hmac::Key, secret: &Secret) -> String {
    let tag = hmac::sign(key, secret.expose());
    let first = tag.as_ref().iter().take(8);
    let number = first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:016x}")
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    fs::rename(&new, path)
}

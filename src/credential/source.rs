//! Reading a secret from where it is kept.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::Source;
use crate::secret::Secret;

/// The longest secret, in bytes: more than any token or key in use, less than a header limit.
pub const SECRET_MAX: usize = 64 * 1024;

/// The environment, one variable at a time, so that no copy of all of it is made.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Why a secret is not at hand. Says what to do; never holds a byte of the secret.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Opening or reading failed.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// A folder, pipe, socket or device.
    #[error("`{}` is no regular file: name the file that holds the secret", .0.display())]
    NotAFile(PathBuf),
    /// Others than the owner may read or write it.
    #[error("`{}` has mode {mode:04o}, so others than its owner can get at it: run `chmod 0600 {}`", path.display(), path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The environment has no such variable.
    #[error("the environment variable `{0}` is not set: set it where the gateway is started")]
    NoVariable(String),
    /// The service manager handed no credentials over.
    #[error(
        "$CREDENTIALS_DIRECTORY is not set: `systemd` works only in a unit with LoadCredential={0}:… or LoadCredentialEncrypted="
    )]
    NoCredentialsDirectory(String),
    /// Nothing there, or only line ends.
    #[error("the secret is empty: put it where it is read from")]
    Empty,
    /// The key for stand-ins could not be had.
    #[error(
        "there is no stand-in for it, because the key in the state folder cannot be read: see the log of the start"
    )]
    NoStandIn,
    /// Neither a secret key with an id nor the output of a `credential_process`.
    #[error(
        "the secret is no AWS key: it must be the secret access key, with its id as `key_id`, or JSON with `AccessKeyId`, `SecretAccessKey` and perhaps `SessionToken`"
    )]
    NoAwsKey,
    /// No PEM with a private key, or a kind of key that is not known.
    #[error(
        "the secret is no private key: it must be a PEM block (PKCS #8, PKCS #1 or SEC 1) with an RSA, ECDSA or Ed25519 key, without a passphrase"
    )]
    NoPrivateKey,
    /// A chain that does not go with the key.
    #[error("`{}` {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It ended, or has not begun.
    #[error("{detail}")]
    OutOfTime {
        /// For agents.
        brief: &'static str,
        /// For operators: since when, and the remedy.
        detail: String,
    },
    /// Over [`SECRET_MAX`].
    #[error("the secret is longer than {} KiB: see whether its source is the right one", SECRET_MAX / 1024)]
    TooLong,
    /// A byte that a header field cannot carry (RFC 9110 §5.5).
    #[error(
        "byte {position} of the secret is {class}, which no header field can carry: it must be printable ASCII on one line"
    )]
    BadByte {
        /// Counts from 1.
        position: usize,
        /// What kind of byte; not which.
        class: &'static str,
    },
    /// A command or the network has still to bring it.
    #[error("it is being fetched")]
    Pending,
    /// A command failed, or a server that has the secret or makes the token.
    #[error("{detail}")]
    Fetch {
        /// For agents: without names of files, addresses or servers.
        brief: String,
        /// For operators: with the remedy.
        detail: String,
    },
}

impl Cause {
    /// For agents, who must not learn how the gateway's machine looks inside.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "the file of its secret is missing".to_owned()
            }
            Self::Unreadable { .. } => "the file of its secret cannot be read".to_owned(),
            Self::NotAFile(_) => "what should be the file of its secret is none".to_owned(),
            Self::Loose { .. } => {
                "the file of its secret is open to others than its owner".to_owned()
            }
            Self::NoVariable(_) => "the environment variable of its secret is not set".to_owned(),
            Self::NoCredentialsDirectory(_) => {
                "the service manager handed no secrets over".to_owned()
            }
            Self::Fetch { brief, .. } => brief.clone(),
            Self::OutOfTime { brief, .. } => (*brief).to_owned(),
            Self::Empty => "its secret is empty".to_owned(),
            Self::TooLong => "its secret is too long".to_owned(),
            Self::NoStandIn => "there is no stand-in for it".to_owned(),
            Self::Certificate { .. } => "its certificate cannot be used".to_owned(),
            Self::BadByte { .. } | Self::NoAwsKey | Self::NoPrivateKey | Self::Pending => {
                self.to_string()
            }
        }
    }

    /// Whether it may be another in another process.
    #[must_use]
    pub fn is_of_environment(&self) -> bool {
        matches!(self, Self::NoVariable(_) | Self::NoCredentialsDirectory(_))
    }

    /// With what the kernel said, where that is the reason, and what to do about that.
    #[must_use]
    pub fn in_full(&self) -> String {
        match self {
            Self::Unreadable { error, .. } => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "put it there, with mode 0600, or name another",
                    io::ErrorKind::PermissionDenied => "give it to the gateway's user (`chown`)",
                    _ => "see whether it is what it should be",
                };
                format!("{self} ({error}): {remedy}")
            }
            Self::NotAFile(_)
            | Self::Loose { .. }
            | Self::NoVariable(_)
            | Self::NoCredentialsDirectory(_)
            | Self::Empty
            | Self::TooLong
            | Self::BadByte { .. }
            | Self::NoStandIn
            | Self::NoAwsKey
            | Self::NoPrivateKey
            | Self::Certificate { .. }
            | Self::OutOfTime { .. }
            | Self::Pending
            | Self::Fetch { .. } => self.to_string(),
        }
    }
}

impl Source {
    /// Reads a local secret now, as the gateway's own environment has it.
    ///
    /// # Errors
    /// Why it is not at hand; [`Cause::Pending`] for one that is not local.
    pub fn read_now(&self) -> Result<Secret, Cause> {
        self.read(&|name| std::env::var_os(name))
    }

    /// The file that a change of the secret would show in.
    #[must_use]
    pub fn watched_file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Systemd(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
                Some(PathBuf::from(directory).join(name))
            }
            Self::Env(_) | Self::Command { .. } | Self::Vault(_) => None,
        }
    }

    /// Reads the secret; line ends after it are not part of it.
    pub(super) fn read(&self, lookup: Lookup<'_>) -> Result<Secret, Cause> {
        let directory = lookup("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let bytes = match self {
            Self::File(path) => read_file(path, directory.as_deref())?,
            Self::Env(name) => match lookup(name) {
                Some(value) => Zeroizing::new(value.into_vec()),
                None => return Err(Cause::NoVariable(name.clone())),
            },
            Self::Systemd(name) => match directory {
                Some(directory) => read_file(&directory.join(name), Some(&directory))?,
                None => return Err(Cause::NoCredentialsDirectory(name.clone())),
            },
            Self::Command { .. } | Self::Vault(_) => return Err(Cause::Pending),
        };
        trimmed(&bytes)
    }
}

/// The secret without the line ends after it.
///
/// # Errors
/// Nothing is left, or too much.
pub fn trimmed(bytes: &[u8]) -> Result<Secret, Cause> {
    let secret = trim_line_ends(bytes);
    if secret.is_empty() {
        Err(Cause::Empty)
    } else if secret.len() > SECRET_MAX {
        Err(Cause::TooLong)
    } else {
        Ok(Secret::new(secret.to_vec()))
    }
}

fn trim_line_ends(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Judges the open file, not its path, so that nobody can swap it in between; opens without
/// blocking, so that a pipe cannot hold up the start.
fn read_file(path: &Path, credentials: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Cause> {
    let unreadable = |error: io::Error| Cause::Unreadable {
        path: path.to_owned(),
        error,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let descriptor =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    let file = File::from(descriptor);
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Cause::NotAFile(path.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & forbidden_bits(path, credentials) != 0 {
        return Err(Cause::Loose {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for everything that will be read, so that no unwiped copy is left by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_MAX + 64));
    let limit = u64::try_from(SECRET_MAX + 1).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// In `$CREDENTIALS_DIRECTORY` systemd grants the service its access by an ACL, whose mask
/// shows as the group's read bit: that one is fine there.
fn forbidden_bits(path: &Path, credentials: Option<&Path>) -> u32 {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if !climbs && credentials.is_some_and(|directory| path.starts_with(directory)) {
        0o037
    } else {
        0o077
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (directory, path)
    }

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    #[test]
    fn line_ends_are_not_part_of_the_secret() {
        for content in [
            &b"hunter2"[..],
            b"hunter2\n",
            b"hunter2\r\n",
            b"hunter2\n\n",
        ] {
            let (_directory, path) = file(content, 0o600);
            let secret = Source::File(path).read(&nothing).unwrap();
            assert_eq!(secret.expose(), b"hunter2");
        }
    }

    #[test]
    fn files_open_to_others_are_refused_with_the_remedy() {
        for mode in [0o604, 0o640, 0o620, 0o601, 0o660, 0o644] {
            let (_directory, path) = file(b"hunter2", mode);
            let error = Source::File(path.clone()).read(&nothing).unwrap_err();
            assert!(matches!(error, Cause::Loose { .. }), "{mode:o}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("chmod 0600 {}", path.display()))
            );
        }
        let (_directory, path) = file(b"hunter2", 0o400);
        assert!(Source::File(path).read(&nothing).is_ok());
    }

    #[test]
    fn the_credentials_directory_may_be_readable_by_the_group() {
        let (directory, path) = file(b"hunter2", 0o440);
        let lookup = |name: &str| {
            (name == "CREDENTIALS_DIRECTORY").then(|| directory.path().as_os_str().to_owned())
        };
        assert!(Source::Systemd("secret".into()).read(&lookup).is_ok());
        assert!(Source::File(path.clone()).read(&lookup).is_ok());
        let around = directory
            .path()
            .join("..")
            .join(directory.path())
            .join("../x");
        assert_eq!(forbidden_bits(&around, Some(directory.path())), 0o077);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
        let error = Source::Systemd("secret".into()).read(&lookup).unwrap_err();
        assert!(matches!(error, Cause::Loose { .. }));
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let missing = Source::File("/nonexistent/secret".into()).read(&nothing);
        assert!(matches!(missing, Err(Cause::Unreadable { .. })));
        let (directory, path) = file(b"\n", 0o600);
        assert!(matches!(
            Source::File(path).read(&nothing),
            Err(Cause::Empty)
        ));
        let folder = Source::File(directory.path().to_owned()).read(&nothing);
        assert!(matches!(folder, Err(Cause::NotAFile(_))));
        assert!(matches!(
            Source::Env("TOKEN".into()).read(&nothing),
            Err(Cause::NoVariable(name)) if name == "TOKEN"
        ));
        assert!(matches!(
            Source::Systemd("token".into()).read(&nothing),
            Err(Cause::NoCredentialsDirectory(_))
        ));
    }

    #[test]
    fn a_pipe_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let error = Source::File(path).read(&nothing).unwrap_err();
        assert!(matches!(error, Cause::NotAFile(_)));
    }

    #[test]
    fn the_length_is_capped() {
        let (_directory, path) = file(&vec![b'a'; SECRET_MAX + 1], 0o600);
        assert!(matches!(
            Source::File(path).read(&nothing),
            Err(Cause::TooLong)
        ));
        let (_directory, path) = file(&vec![b'a'; SECRET_MAX], 0o600);
        assert_eq!(
            Source::File(path).read(&nothing).unwrap().expose().len(),
            SECRET_MAX
        );
        let long = |_: &str| Some(OsString::from("a".repeat(SECRET_MAX + 1)));
        assert!(matches!(
            Source::Env("TOKEN".into()).read(&long),
            Err(Cause::TooLong)
        ));
    }
}

//! The CA on disk: who may get at it, and how a pair comes into being whole.
//!
//! `STATE/ca/` holds `ca.pem` and `ca.key`. The pair is written into a fresh folder that is
//! then renamed to its name, so it appears at once or not at all: of two processes that start
//! together one wins and the other uses the winner's pair.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::{CaError, UnsafePath};

/// Name of the pair's folder in the state folder.
const FOLDER: &str = "ca";
/// Name of the certificate in the pair's folder.
const CERTIFICATE: &str = "ca.pem";
/// Name of the private key in the pair's folder.
const KEY: &str = "ca.key";
/// More than any chain of certificates or key takes.
const FILE_MAX: u64 = 256 * 1024;

/// Where the gateway's own CA lies in a state folder.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) folder: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Pair {
    pub(super) fn of(state: &Path) -> Self {
        let folder = state.join(FOLDER);
        Self {
            certificate: folder.join(CERTIFICATE),
            key: folder.join(KEY),
            folder,
        }
    }

    /// Whether there is a pair. One half alone is an error, as is an unsafe folder.
    pub(super) fn exists(&self, user: u32) -> Result<bool, CaError> {
        match fs::symlink_metadata(&self.folder) {
            Ok(found) if found.is_symlink() => {
                return Err(not_safe(&self.folder, UnsafePath::Symlink));
            }
            Ok(found) => check_folder(&self.folder, &found, user)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("look at", &self.folder, error)),
        }
        match (is_there(&self.certificate)?, is_there(&self.key)?) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(self.incomplete(&self.certificate)),
            (true, false) => Err(self.incomplete(&self.key)),
        }
    }

    /// Puts a new pair in place, unless somebody else was faster: then theirs stays, and
    /// `false` says so.
    pub(super) fn create(&self, certificate: &str, key: &str) -> Result<bool, CaError> {
        let state = self.folder.parent().unwrap_or(Path::new("/"));
        let fresh = state.join(format!(".{FOLDER}.{}", uuid::Uuid::now_v7().simple()));
        let placed = self.write_and_rename(&fresh, certificate, key);
        if let Ok(true) = placed {
            sync_folder(state)?;
        } else {
            // A key that never was the CA's; should this fail too, it lies in a 0700 folder.
            let _ = fs::remove_dir_all(&fresh);
        }
        placed
    }

    fn write_and_rename(&self, fresh: &Path, cert: &str, key: &str) -> Result<bool, CaError> {
        DirBuilder::new()
            .mode(0o700)
            .create(fresh)
            .map_err(|error| failed("create the folder", fresh, error))?;
        write_file(&fresh.join(KEY), 0o600, key.as_bytes())?;
        write_file(&fresh.join(CERTIFICATE), 0o644, cert.as_bytes())?;
        sync_folder(fresh)?;
        match fs::rename(fresh, &self.folder) {
            Ok(()) => Ok(true),
            // The folder is there and not empty: rename(2) gives ENOTEMPTY or EEXIST.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed("put the new CA at", &self.folder, error)),
        }
    }

    fn incomplete(&self, missing: &Path) -> CaError {
        CaError::Incomplete {
            missing: missing.to_owned(),
            folder: self.folder.clone(),
        }
    }
}

/// Who may read a key file, besides its owner.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyGuard {
    /// Nobody: the gateway made the file itself.
    Own,
    /// Its group, and root may own it: systemd hands credentials over with an ACL, which
    /// shows as group bits, and operators use `root:portreeve 0640`.
    Operator,
}

/// Makes the state folder where it is missing, 0700, and refuses one that others can enter.
pub(super) fn prepare_state(state: &Path, user: u32) -> Result<(), CaError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|error| failed("create the state folder", state, error))?;
    check_state(state, user)
}

/// Refuses a state folder that others can enter. It may be reached through a symbolic link:
/// systemd's `DynamicUser=` makes `/var/lib/NAME` one.
pub(super) fn check_state(state: &Path, user: u32) -> Result<(), CaError> {
    let found = fs::metadata(state).map_err(|error| failed("look at", state, error))?;
    check_folder(state, &found, user)
}

/// Reads the private key, after checking the very file that was opened.
pub(super) fn read_key(
    path: &Path,
    guard: KeyGuard,
    user: u32,
) -> Result<Zeroizing<Vec<u8>>, CaError> {
    let mut options = OpenOptions::new();
    // Not waiting for a writer should the path be a pipe.
    let flags = match guard {
        KeyGuard::Own => OFlags::NOFOLLOW | OFlags::NONBLOCK,
        KeyGuard::Operator => OFlags::NONBLOCK,
    };
    let file = options
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                not_safe(path, UnsafePath::Symlink)
            }
            _ => failed("open", path, error),
        })?;
    let found = file
        .metadata()
        .map_err(|error| failed("look at", path, error))?;
    check_key(path, &found, guard, user)?;
    read_open(file, path, &found)
}

/// Reads a file of certificates, which are no secret.
pub(super) fn read_certificates(path: &Path) -> Result<Zeroizing<Vec<u8>>, CaError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| failed("open", path, error))?;
    let found = file
        .metadata()
        .map_err(|error| failed("look at", path, error))?;
    read_open(file, path, &found)
}

fn read_open(file: File, path: &Path, found: &Metadata) -> Result<Zeroizing<Vec<u8>>, CaError> {
    if !found.is_file() {
        return Err(not_safe(path, UnsafePath::NotFile));
    }
    // One byte more than allowed, and never grown: no unwiped copy stays behind.
    let capacity = usize::try_from(found.size().min(FILE_MAX)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 1));
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", path, error))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(not_safe(path, UnsafePath::TooLarge { max: FILE_MAX }));
    }
    Ok(bytes)
}

fn check_folder(path: &Path, found: &Metadata, user: u32) -> Result<(), CaError> {
    if !found.is_dir() {
        return Err(not_safe(path, UnsafePath::NotFolder));
    }
    if found.uid() != user {
        let owner = found.uid();
        return Err(not_safe(path, UnsafePath::Owner { owner, user }));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(not_safe(path, UnsafePath::FolderMode { mode }));
    }
    Ok(())
}

fn check_key(path: &Path, found: &Metadata, guard: KeyGuard, user: u32) -> Result<(), CaError> {
    if !found.is_file() {
        return Err(not_safe(path, UnsafePath::NotFile));
    }
    let owner = found.uid();
    let (forbidden, remedy, owned) = match guard {
        KeyGuard::Own => (0o177, 0o600, owner == user),
        KeyGuard::Operator => (0o137, 0o640, owner == user || owner == 0),
    };
    if !owned {
        return Err(not_safe(path, UnsafePath::Owner { owner, user }));
    }
    let mode = found.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(not_safe(path, UnsafePath::KeyMode { mode, remedy }));
    }
    Ok(())
}

fn is_there(path: &Path) -> Result<bool, CaError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path, error)),
    }
}

pub(super) fn write_file(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CaError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| failed("write", path, error))
}

/// Makes a new name in the folder survive a power cut.
fn sync_folder(path: &Path) -> Result<(), CaError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed("sync", path, error))
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> CaError {
    CaError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn not_safe(path: &Path, problem: UnsafePath) -> CaError {
    CaError::Unsafe {
        path: path.to_owned(),
        problem,
    }
}

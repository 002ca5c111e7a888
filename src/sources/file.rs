//! Whether a file is another than it was.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What differs when a file was written, replaced, or behind a symbolic link that was; or when
/// its mode was changed. `None` of it where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature(Option<[i128; 5]>);

impl Signature {
    /// Follows symbolic links: a Kubernetes volume swaps one of them for all its files.
    pub(super) fn of(path: &Path) -> Self {
        const SECOND: i128 = 1_000_000_000;
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * SECOND + i128::from(nanos);
        Self(fs::metadata(path).ok().map(|file| {
            [
                file.dev().into(),
                file.ino().into(),
                file.len().into(),
                time(file.mtime(), file.mtime_nsec()),
                time(file.ctime(), file.ctime_nsec()),
            ]
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn every_kind_of_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let absent = Signature::of(&path);
        assert_eq!(absent, Signature::of(&path));
        fs::write(&path, "one").unwrap();
        let written = Signature::of(&path);
        assert_ne!(absent, written);
        assert_eq!(written, Signature::of(&path));
        fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
        let opened = Signature::of(&path);
        assert_ne!(written, opened);
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(opened, Signature::of(&path));
    }

    #[test]
    fn a_folder_that_is_swapped_by_its_link_shows() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [("1", "one"), ("2", "two")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("secret"), value).unwrap();
        }
        let (data, path) = (folder.path().join("data"), folder.path().join("secret"));
        symlink("1", &data).unwrap();
        symlink("data/secret", &path).unwrap();
        let first = Signature::of(&path);
        let swap = folder.path().join("swap");
        symlink("2", &swap).unwrap();
        fs::rename(&swap, &data).unwrap();
        assert_ne!(first, Signature::of(&path));
    }
}

//! Where the configuration and the state are, by the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// What the configuration depends on outside its files.
#[derive(Clone, Debug)]
pub struct Env {
    variables: Variables,
    system_config: PathBuf,
    system_state: PathBuf,
}

#[derive(Clone, Debug)]
enum Variables {
    Process,
    Fixed(BTreeMap<String, OsString>),
}

impl Env {
    /// The process's own.
    #[must_use]
    pub fn system() -> Self {
        Self {
            variables: Variables::Process,
            system_config: "/etc/portreeve/portreeve.toml".into(),
            system_state: "/var/lib/portreeve".into(),
        }
    }

    /// Exactly these variables, and a system whose `etc/portreeve` and `var/lib/portreeve` lie
    /// under `root`.
    #[must_use]
    pub fn fixed<'a>(root: &Path, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()));
        Self {
            variables: Variables::Fixed(variables.collect()),
            system_config: root.join("etc/portreeve/portreeve.toml"),
            system_state: root.join("var/lib/portreeve"),
        }
    }

    /// A variable; one that is set to nothing counts as not set.
    fn variable(&self, name: &str) -> Option<PathBuf> {
        let value = match &self.variables {
            Variables::Process => std::env::var_os(name),
            Variables::Fixed(fixed) => fixed.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The configuration file that is meant when the command line names `file` or none: that
    /// one, else `$PORTREEVE_CONFIG`, else `/etc/portreeve/portreeve.toml` if there is
    /// anything by that name, else none.
    #[must_use]
    pub fn config_file(&self, file: Option<&Path>) -> Option<PathBuf> {
        self.chosen_file(file).or_else(|| {
            // Whatever stands there is meant; reading it tells what is wrong with it.
            let there = self.system_config.symlink_metadata();
            let absent = there.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
            (!absent).then(|| self.system_config.clone())
        })
    }

    /// As [`Self::config_file`], without the box's own in `/etc`.
    pub(super) fn chosen_file(&self, file: Option<&Path>) -> Option<PathBuf> {
        file.map(Path::to_owned)
            .or_else(|| self.variable("PORTREEVE_CONFIG"))
    }

    /// The folder for state when `state_dir` is not written; `None` when there is no place.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        if let Some(list) = self.variable("STATE_DIRECTORY") {
            // systemd lists several with colons; the first is ours (systemd.exec(5)).
            let first = list.to_string_lossy().split(':').next().map(PathBuf::from);
            return first.filter(|path| path.is_absolute());
        }
        if usable(&self.system_state) {
            return Some(self.system_state.clone());
        }
        // Relative values are to be ignored (XDG base directory specification).
        self.variable("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| self.variable("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("portreeve"))
    }
}

/// Whether we may write there, or could make it.
fn usable(folder: &Path) -> bool {
    let writable =
        |path: &Path| rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if folder.exists() {
        writable(folder)
    } else {
        folder.parent().is_some_and(writable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_file() {
        let root = tempfile::tempdir().unwrap();
        let env = Env::fixed(root.path(), [("PORTREEVE_CONFIG", "/b.toml")]);
        assert_eq!(
            env.config_file(Some(Path::new("a.toml"))),
            Some("a.toml".into())
        );
        assert_eq!(env.config_file(None), Some("/b.toml".into()));
        let env = Env::fixed(root.path(), [("PORTREEVE_CONFIG", "")]);
        assert_eq!(env.config_file(None), None);
        let file = root.path().join("etc/portreeve/portreeve.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(env.config_file(None), Some(file));
    }

    #[test]
    fn the_state_dir() {
        let root = tempfile::tempdir().unwrap();
        let state = |variables: &[(&str, &str)]| {
            Env::fixed(root.path(), variables.iter().copied()).state_dir()
        };
        assert_eq!(state(&[]), None);
        assert_eq!(
            state(&[("HOME", "/h")]),
            Some("/h/.local/state/portreeve".into())
        );
        let home = [("HOME", "/h"), ("XDG_STATE_HOME", "/x")];
        assert_eq!(state(&home), Some("/x/portreeve".into()));
        let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "x")];
        assert_eq!(state(&relative), Some("/h/.local/state/portreeve".into()));
        let system = root.path().join("var/lib/portreeve");
        std::fs::create_dir_all(system.parent().unwrap()).unwrap();
        assert_eq!(state(&home), Some(system));
        assert_eq!(
            state(&[("STATE_DIRECTORY", "/s/a:/s/b")]),
            Some("/s/a".into())
        );
    }
}

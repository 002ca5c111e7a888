//! The configuration as operators meet it: files in, settings or findings out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "config/bad.rs"]
mod bad;
#[path = "config/examples.rs"]
mod examples;
#[path = "config/good.rs"]
mod good;
#[path = "config/minting.rs"]
mod minting;
#[path = "config/never_panics.rs"]
mod never_panics;

use std::path::{Path, PathBuf};

use portreeve::config::{self, Env, Findings, Loaded};

/// A folder with files, and nothing of the machine around it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn env(&self) -> Env {
        Env::fixed(self.0.path(), [("STATE_DIRECTORY", "/state")])
    }

    fn load(&self) -> Result<Loaded, Findings> {
        config::load(Some(&self.path("portreeve.toml")), &self.env())
    }

    /// With paths as somebody sees them who works in the folder.
    fn neutral(&self, text: &str) -> String {
        let folder = format!("{}/", self.0.path().display());
        text.replace(&folder, "")
    }
}

/// The root of the project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

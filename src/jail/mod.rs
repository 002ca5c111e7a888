//! Namespaces around one command: it reaches what the gateway lets through, and nothing else.
//!
//! Three processes, each for what the others must not be:
//!
//! ```text
//! front ── the process that the user's shell started and waits for; makes the namespaces
//!   ├── gateway ── a session of its own, outside: keys, secrets, the way out
//!   └── init ── PID 1 inside: arranges mounts, drops everything, reaps, forwards signals
//!         └── the command
//! ```
//!
//! Front, init and command share the process group in which the user's shell put them, so
//! that terminal, pipelines and job control work as without a jail; the gateway is outside
//! of it, where `kill(0, …)` of the command does not reach. Front and gateway talk over one
//! socket pair ([`link::Link`]): listeners go out by `SCM_RIGHTS`, the CA certificate comes in, and
//! its end tells either side that the other is gone.
//!
//! Everything here is for processes with one thread: `fork` and `unshare` demand it. This
//! is the only module with unsafe code: `process`, `descriptors` and `seccomp`, each a few
//! lines over one system call.

mod descriptors;
mod environment;
mod error;
mod front;
mod init;
pub mod link;
mod mounts;
mod namespaces;
mod network;
mod privileges;
mod process;
mod seccomp;
mod terminal;
mod trust;

use std::ffi::OsString;
use std::path::PathBuf;

pub use error::Error;
pub use front::run;
pub use network::{Ports, receive};

/// What a jail is made from.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The command and its arguments; at least the command.
    pub command: Vec<OsString>,
    /// The working folder, absolute.
    pub folder: PathBuf,
    /// Paths that stay as they are, absolute, whatever would hide them.
    pub show: Vec<PathBuf>,
    /// Variables that stay, whatever would unset them.
    pub keep_env: Vec<String>,
    /// The operator's files that the command may read.
    pub read_only: Vec<PathBuf>,
    /// The operator's files and folders that the command may not even read.
    pub hidden: Vec<PathBuf>,
    /// No user namespaces and no Unix sockets but pairs.
    pub strict: bool,
    /// As whom to run, when started by root.
    pub user: Option<String>,
}

impl Plan {
    /// Whether there is such a user, for whoever starts it.
    ///
    /// # Errors
    /// There is none, or only root could become one.
    pub fn check(&self) -> Result<(), Error> {
        let user = self.user.as_deref().map(namespaces::user);
        user.transpose().map(|_| ())
    }
}

/// What the gateway tells once it is ready to serve.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Greeting {
    /// The certificate to trust, as PEM.
    pub ca: String,
    /// Variables that hold secrets.
    pub unset: Vec<String>,
}

//! Commands in jails, and what they said.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");

/// Folders and options of jails; none is running yet.
pub struct Jail {
    folder: TempDir,
    options: Vec<String>,
}

impl Jail {
    /// `None`, with a printed reason, where user namespaces cannot be had; never in CI.
    pub fn new() -> Option<Self> {
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "true"])
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            let reason = "user namespaces are not available";
            assert!(
                std::env::var_os("CI").is_none(),
                "{reason}, and CI skips nothing"
            );
            println!("skipped: {reason}");
            return None;
        }
        let jail = Self {
            folder: folder(),
            options: Vec::new(),
        };
        for name in ["work", "home", "config"] {
            fs::create_dir(jail.path(name)).unwrap();
        }
        Some(jail)
    }

    /// A path in the jail's own folder; the command runs in `work`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more option of `exec`, with its value.
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_str().unwrap();
        self.options.push(name.to_owned());
        self.options.push(value.to_owned());
        self
    }

    /// One more option without a value.
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.to_owned());
        self
    }

    /// A configuration, with its rules.
    pub fn config(self, text: &str, rules: &str) -> Self {
        let file = self.path("config/portreeve.toml");
        fs::create_dir(self.path("config/rules")).unwrap();
        fs::write(&file, text).unwrap();
        fs::write(self.path("config/rules/test.toml"), rules).unwrap();
        self.option("--config", file)
    }

    /// `portreeve exec` with all options and this command.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut exec = Command::new(BINARY);
        exec.arg("exec")
            .args(&self.options)
            .arg("--")
            .args(command)
            .current_dir(self.path("work"))
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("STATE_DIRECTORY", self.path("state"))
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("PORTREEVE_CONFIG");
        exec
    }

    /// Runs a script in the jail to its end.
    pub fn sh(&self, script: &str) -> Output {
        self.command(&["sh", "-c", script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Whether a script, or an attack, gets its way in the jail.
    pub fn succeeds(&self, script: &str) -> bool {
        self.sh(script).status.success()
    }

    /// Whether it does without a jail, in the same environment.
    pub fn succeeds_outside(&self, script: &str) -> bool {
        let inside = self.command(&[]);
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, value) in inside.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.status().unwrap().success()
    }

    /// Asserts that an attack works where there is no jail, and does not in it.
    pub fn stops(&self, attack: &str) {
        assert!(self.succeeds_outside(attack), "no attack at all: {attack}");
        let output = self.sh(&format!("echo inside; {attack}"));
        assert!(shown(&output).contains("inside"), "{}", shown(&output));
        assert!(!output.status.success(), "{attack}: {}", shown(&output));
    }

    /// What a script writes to standard output, which must be all that it had to say.
    pub fn says(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(output.status.success(), "{script}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Not in `/tmp`, where everything is hidden anyway, but where the user may not write to
/// the build folder.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap_or_else(|_| tempfile::tempdir_in("/var/tmp").unwrap())
}

/// Both streams and the status.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n---- stdout\n{}\n---- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether a program can be run; says so where not, and fails in CI.
pub fn installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

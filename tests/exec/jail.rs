//! Commands in jails, and what they said.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use crate::common::world::tool;

const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");

/// Folders and options of jails; none is running yet.
pub struct Jail {
    folder: TempDir,
    options: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

/// A name to tell it by, and a script that ends with 0 when it got its way.
pub type Attack = (&'static str, String);

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
            variables: Vec::new(),
        };
        for name in ["work", "home", "config"] {
            fs::create_dir(jail.path(name)).unwrap();
        }
        Some(jail)
    }

    /// For a test that is [`inside`](crate::common::inside): namespaces within namespaces.
    pub fn nested() -> Self {
        let up = ["link", "set", "lo", "up"];
        let up = Command::new(tool("ip")).args(up).status();
        assert!(up.unwrap().success());
        Self::new().expect("namespaces within namespaces")
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

    /// One more variable of the environment in which `exec` is called.
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_str().unwrap();
        self.variables.push((name, value.to_owned()));
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
            .env_remove("PORTREEVE_CONFIG")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        exec
    }

    /// The same script without a jail, in the same environment.
    fn outside(&self, script: &str) -> Command {
        let inside = self.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.path("work"));
        for (name, value) in inside.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Starts a script that first says `up`.
    pub fn start(&self, script: &str) -> Running {
        Running::start(self.command(&["sh", "-c", script]))
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
        here(self.outside(script)).status.success()
    }

    /// Asserts that an attack works where there is no jail, and does not in it.
    pub fn stops(&self, attack: &str) {
        assert!(self.succeeds_outside(attack), "no attack at all: {attack}");
        let output = self.sh(&format!("echo inside; {attack}"));
        assert!(shown(&output).contains("inside"), "{}", shown(&output));
        assert!(!output.status.success(), "{attack}: {}", shown(&output));
    }

    /// Asserts that each of these attacks works where there is no jail, and none of them in
    /// one. They run one after the other; `run` starts a command in the right place. An attack
    /// that waits may do so for `$PATIENCE` seconds.
    pub fn stop_all(&self, run: impl Fn(Command) -> Output, attacks: &[Attack]) {
        let script = script(attacks);
        let mut outside = self.outside(&script);
        outside.env("PATIENCE", "60");
        let all: Vec<_> = attacks.iter().map(|(name, _)| *name).collect();
        assert_eq!(through(&run(outside)), all, "all are attacks");
        let mut inside = self.command(&["sh", "-c", &script]);
        inside.env("PATIENCE", "3");
        assert_eq!(through(&run(inside)), [""; 0], "what got through");
    }

    /// What a script writes to standard output, which must be all that it had to say.
    pub fn says(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(output.status.success(), "{script}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// All attacks, each told when it got its way, and the end.
pub fn script(attacks: &[Attack]) -> String {
    let one = |(name, attack): &Attack| {
        format!("if ( {attack} ) >/dev/null 2>&1 </dev/null; then echo {name}; fi\n")
    };
    attacks.iter().map(one).collect::<String>() + "echo end\n"
}

/// The names of the attacks that got their way.
pub fn through(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<_> = said.lines().map(str::to_owned).collect();
    let end = names.pop();
    assert_eq!(end.as_deref(), Some("end"), "{}", shown(output));
    names
}

/// Runs a command where the test is.
pub fn here(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// The command as the last arguments of another.
pub fn wrapped(around: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(around[0]);
    wrapped
        .args(&around[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// A script for Python.
pub fn python(script: &str) -> String {
    format!("python3 -c '{script}'")
}

/// A jail whose command said `up` and stays.
pub struct Running {
    pub front: Child,
    keys: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut front = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Self {
            keys: front.stdin.take(),
            said: BufReader::new(front.stdout.take().unwrap()),
            front,
        };
        assert_eq!(running.line(), "up");
        running
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A line for its standard input.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.keys.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The child of `front` that leads a session of its own.
    pub fn gateway(&self) -> u32 {
        self.child(true).expect("a gateway")
    }

    /// The other one.
    pub fn init(&self) -> u32 {
        self.child(false).expect("an init")
    }

    fn child(&self, leads_a_session: bool) -> Option<u32> {
        let front = self.front.id();
        let of = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // After the name, which may hold anything: state, parent, group, session.
            let fields: Vec<String> = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .map(Into::into)
                .collect();
            let (parent, session): (u32, u32) = (fields[1].parse().ok()?, fields[3].parse().ok()?);
            (parent == front && (session == pid) == leads_a_session).then_some(pid)
        };
        let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.into_iter().find_map(of)
    }

    /// Waits for the end of all that holds its standard output: command, init, front and
    /// gateway. What they said, and how the front ended.
    pub fn end(mut self) -> (String, ExitStatus) {
        drop(self.keys.take());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (rest, self.front.wait().unwrap())
    }
}

/// In the build folder, but where the user may not write to it, or it is in a folder that is
/// hidden anyway.
fn folder() -> TempDir {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let covered = ["/tmp", "/run", "/dev/shm"];
    let is_covered = covered.iter().any(|folder| own.starts_with(folder));
    let seen = Some(own).filter(|_| !is_covered);
    seen.and_then(|folder| tempfile::tempdir_in(folder).ok())
        .unwrap_or_else(|| tempfile::tempdir_in("/var/tmp").unwrap())
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

/// Whether a program can be run; says so where not. Only Java may be missing in CI, where it
/// would be most of what is installed.
pub fn installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success();
    if !found {
        let optional = program == "java" || std::env::var_os("CI").is_none();
        assert!(optional, "{program} is not installed, and CI skips nothing");
        println!("skipped: {program} is not installed");
    }
    found
}

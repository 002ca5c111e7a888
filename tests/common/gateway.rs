//! The real binary in the gateway's namespace.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::events::Events;
use super::world::{ADMIN_PORT, World};
use super::{DEADLINE, wire};

const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");

/// What a gateway starts from: a folder with `portreeve.toml`, `upstream-ca.pem`, `rules/`.
pub struct Builder<'w> {
    world: &'w World,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    table: bool,
}

impl<'w> Builder<'w> {
    pub(super) fn new(world: &'w World, config: &str) -> Self {
        let folder = world.path("gateway");
        let _ = fs::remove_dir_all(folder.join("rules"));
        for name in ["", "rules"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("portreeve.toml"), config).unwrap();
        fs::write(folder.join("upstream-ca.pem"), world.ca.pem()).unwrap();
        Self {
            world,
            folder,
            environment: Vec::new(),
            table: true,
        }
    }

    /// A file in the rules folder.
    pub fn rule(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.join("rules").join(name), text).unwrap();
        self
    }

    /// A file beside `portreeve.toml` that only its owner may read, for a secret. From a
    /// rule file it is `../NAME`.
    pub fn secret(self, name: &str, value: &str) -> Self {
        write_secret(&self.folder.join(name), value);
        self
    }

    /// A variable of the gateway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves the ruleset as it is.
    pub fn without_table(mut self) -> Self {
        self.table = false;
        self
    }

    /// Applies the table, starts the gateway and waits until it is ready.
    pub fn start(self) -> GatewayProcess<'w> {
        let state = self.folder.join("state");
        if !state.exists() {
            fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
        }
        let mut gateway = GatewayProcess {
            world: self.world,
            folder: self.folder,
            state,
            environment: self.environment,
            process: None,
            log: Events::new(),
        };
        if self.table {
            let snapshot = self.world.snapshot();
            let output =
                gateway.command(&["nft", "apply", "--snapshot", snapshot.to_str().unwrap()]);
            assert!(
                output.status.success(),
                "nft apply: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        gateway.start();
        gateway
    }
}

/// A running gateway. Dropping kills it; where a test fails, its log is printed.
pub struct GatewayProcess<'w> {
    world: &'w World,
    folder: PathBuf,
    state: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Process>,
    /// What it writes to stderr and stdout, line by line; stays after its end.
    log: Events<String>,
}

struct Process {
    child: Child,
    /// What it tells the service manager.
    notices: Events<String>,
}

impl GatewayProcess<'_> {
    /// Starts it again, after [`GatewayProcess::kill`] or [`GatewayProcess::terminate`].
    pub fn start(&mut self) {
        let socket = self.state.with_file_name("notify");
        let _ = fs::remove_file(&socket);
        let notices = receive_notices(UnixDatagram::bind(&socket).unwrap());
        let mut command = self.new_command(&["run"]);
        command
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.world.gateway.spawn(command);
        let log = Events::new();
        follow(child.stdout.take().unwrap(), &log);
        // Ends with the process: nobody else has its stderr.
        let ended = (log.clone(), notices.clone());
        let stderr = follow(child.stderr.take().unwrap(), &log);
        thread::spawn(move || {
            let _ = stderr.join();
            ended.0.end();
            ended.1.end();
        });
        self.log = log;
        self.process = Some(Process { child, notices });
        self.wait_notice(0, "READY=1");
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Sends SIGHUP and waits until the gateway is done with it, well or not
    /// (`RELOADING=1`, then `READY=1`, as in `sd_notify(3)`).
    pub fn reload(&self) {
        let before = self.running().notices.len();
        self.signal(Signal::HUP);
        let reloading = self.wait_notice(before, "RELOADING=1");
        self.wait_notice(reloading, "READY=1");
    }

    /// Replaces a rule file; takes effect with [`GatewayProcess::reload`].
    pub fn write_rule(&self, name: &str, text: &str) {
        fs::write(self.folder.join("rules").join(name), text).unwrap();
    }

    /// Replaces a secret; takes effect with [`GatewayProcess::reload`].
    pub fn write_secret(&self, name: &str, value: &str) {
        write_secret(&self.folder.join(name), value);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            process.child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for the end, which is the end of the drain.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// Waits for the end, whatever brings it about.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the gateway runs");
        if !self.log.wait_end() {
            let _ = process.child.kill();
            panic!("the gateway did not end; its log:\n{}", self.log());
        }
        process.child.wait().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.running().child), signal).unwrap();
    }

    /// Everything it logged since it was last started.
    pub fn log(&self) -> String {
        self.log.all().join("\n")
    }

    /// Waits for a line of the log with this text and returns it.
    pub fn wait_log(&self, text: &str) -> String {
        let line = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        self.log
            .wait(line)
            .unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", self.log()))
    }

    /// All audit records written so far.
    pub fn audit_records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state.join("audit.jsonl")).unwrap_or_default();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until there are `count` audit records that `wanted` picks, and returns those.
    pub fn wait_records(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let records: Vec<Value> = self.audit_records().into_iter().filter(&wanted).collect();
            if records.len() >= count {
                return records;
            }
            let all = self.audit_records();
            assert!(
                Instant::now() < deadline,
                "waited for {count} records, there are {all:#?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `/metrics` answers.
    pub fn metrics(&self) -> String {
        let (status, body) = self.admin("/metrics");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The sum of all series of a family that have all these labels; 0 where there is none.
    pub fn metric(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let metrics = self.metrics();
        let series = metrics.lines().filter(|line| {
            let name = line.split(['{', ' ']).next();
            let has = |(key, value): &(&str, &str)| line.contains(&format!("{key}=\"{value}\""));
            name == Some(family) && labels.iter().all(has)
        });
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Asks the admin server, from the gateway's own namespace: status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        let answer = self.world.gateway.run(move || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT));
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        let response = wire::Response::parse(&answer).expect("a whole response");
        (response.status, response.text())
    }

    /// The CA's certificate as agents get it (`portreeve ca export`).
    pub fn ca_pem(&self) -> String {
        let output = self.command(&["ca", "export"]);
        let pem = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(pem.contains("BEGIN CERTIFICATE"), "ca export: {pem}{error}");
        pem
    }

    /// Runs another command of the binary with the same config, state and namespace.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.world.gateway.output(self.new_command(arguments))
    }

    /// The folder with `portreeve.toml`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn new_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.join("portreeve.toml"))
            .env("STATE_DIRECTORY", &self.state)
            .env_remove("NOTIFY_SOCKET")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the gateway runs")
    }

    /// Waits for a notice from the `from`th on; returns the number of the next one.
    fn wait_notice(&self, from: usize, text: &str) -> usize {
        let found = |notices: &[String]| {
            let later = notices.iter().enumerate().skip(from);
            later
                .into_iter()
                .find(|(_, notice)| notice.lines().any(|line| line == text))
                .map(|(index, _)| index + 1)
        };
        let notices = &self.running().notices;
        notices.wait(found).unwrap_or_else(|| {
            panic!(
                "the gateway does not say {text}; it said {:?} and logged:\n{}",
                notices.all(),
                self.log()
            )
        })
    }
}

impl Drop for GatewayProcess<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the gateway's log ----\n{}\n----", self.log());
        }
        self.kill();
    }
}

fn follow(stream: impl Read + Send + 'static, log: &Events<String>) -> thread::JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.push(line);
        }
    })
}

fn receive_notices(socket: UnixDatagram) -> Events<String> {
    let notices = Events::new();
    let sink = notices.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            sink.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    notices
}

fn write_secret(path: &Path, value: &str) {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(value.as_bytes()).unwrap();
}

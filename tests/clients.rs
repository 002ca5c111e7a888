//! Real clients, told nothing but which CA to trust: names by the gateway's DNS, connections
//! by the redirect.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod common;

#[path = "clients/curl.rs"]
mod curl;
#[path = "clients/git.rs"]
mod git;
#[path = "clients/git_server.rs"]
mod git_server;
#[path = "clients/golang.rs"]
mod golang;
#[path = "clients/grpc.rs"]
mod grpc;
#[path = "clients/java.rs"]
mod java;
#[path = "clients/node.rs"]
mod node;
#[path = "clients/openssl.rs"]
mod openssl;
#[path = "clients/python.rs"]
mod python;
#[path = "clients/s3.rs"]
mod s3;
#[path = "clients/websocket.rs"]
mod websocket;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use common::{Answer, GatewayProcess, Request, Upstream, World, inside};

const SECRET: &str = "canary-91b7d2e60f";

const CONFIG: &str = r#"
rules = "rules"
[redirect]
interfaces = ["lan0"]
[upstream]
trust = ["upstream-ca.pem"]
# The test's internet has addresses that are reserved for documentation.
allow_networks = ["203.0.113.0/24", "2001:db8:1::/64"]
[upstream.resolve]
"api.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"git.good.test" = ["203.0.113.10", "2001:db8:1::10"]
"s3.good.test" = ["203.0.113.10"]
"grpc.good.test" = ["203.0.113.11"]
"ws.good.test" = ["203.0.113.11"]
"h1.good.test" = ["203.0.113.12"]
"pinned.good.test" = ["203.0.113.12"]
[[agent]]
name = "builder"
sources = ["10.0.1.0/24", "fd00:1::/64"]
"#;

const RULES: &str = r#"
[[credential]]
name   = "api"
secret = { env = "CANARY" }
hosts  = ["api.good.test", "grpc.good.test", "ws.good.test", "h1.good.test"]
attach = { bearer = true }
[[rule]]
name   = "pinned"
agents = ["builder"]
hosts  = ["pinned.good.test"]
tls    = "splice"
[[rule]]
name   = "s3"
agents = ["builder"]
hosts  = ["s3.good.test"]
dlp    = "default"
[[rule]]
name   = "denied"
agents = ["builder"]
hosts  = ["grpc.good.test"]
paths  = ["/denied.Service/*"]
action = "deny"
reason = "100 % no: überhaupt nicht"
[[rule]]
name   = "api"
agents = ["builder"]
hosts  = ["api.good.test", "grpc.good.test", "ws.good.test", "h1.good.test"]
credential = "api"

[[credential]]
name   = "git"
secret = { env = "CANARY" }
hosts  = ["git.good.test"]
attach = { basic = "x-access-token" }
[[rule]]
name   = "git-fetch"
agents = ["builder"]
hosts  = ["git.good.test"]
methods = ["GET"]
paths  = ["/*/info/refs"]
credential = "git"
[[rule]]
name   = "git-transfer"
agents = ["builder"]
hosts  = ["git.good.test"]
methods = ["POST"]
paths  = ["/repo.git/git-upload-pack", "/repo.git/git-receive-pack"]
credential = "git"
[[rule]]
name   = "git-lfs"
agents = ["builder"]
hosts  = ["git.good.test"]
methods = ["GET", "POST", "PUT"]
paths  = ["/repo.git/info/lfs/**"]
credential = "git"
"#;

/// Asked for names by nobody but through the redirect: no such server is there.
const RESOLVER: &str = "nameserver 192.0.2.53\noptions timeout:5 attempts:1\n";

/// A response body that is no text and longer than any one buffer.
const DOWNLOAD_BYTES: usize = 3_000_017;
/// Longer than what a gateway holds.
const UPLOAD_BYTES: usize = 1_000_003;

/// A world with a gateway and, in the agent's hands, the CA and a file to send.
struct Site<'w> {
    world: &'w World,
    gateway: GatewayProcess<'w>,
    server: Upstream,
    ca: PathBuf,
    upload: PathBuf,
}

/// Runs `test` in a world where `tools` are there; skips it where one is not. What may be
/// missing in CI, too, as it is large, is written `maybe: go`.
fn with_site(tools: &[&str], test: impl FnOnce(&Site<'_>)) {
    if let Some(missing) = tools.iter().find(|tool| !is_there(tool)) {
        assert!(
            env::var_os("CI").is_none() || missing.starts_with("maybe: "),
            "{missing} is not installed, and CI skips nothing"
        );
        println!("skipped: {missing} is not installed");
        return;
    }
    let world = World::new();
    use_resolver(&world);
    let (repositories, upload) = (world.path("repositories"), world.path("upload"));
    let server = Upstream::start(
        &world.internet,
        &world.ca,
        &["api.good.test", "git.good.test", "s3.good.test"],
        move |request| answer(request, &repositories),
    );
    let gateway = world
        .gateway_builder(CONFIG)
        .rule("rules.toml", RULES)
        .env("CANARY", SECRET)
        .start();
    let ca = world.path("ca.pem");
    std::fs::write(&ca, gateway.ca_pem()).unwrap();
    std::fs::write(&upload, noise(UPLOAD_BYTES, 7)).unwrap();
    test(&Site {
        world: &world,
        gateway,
        server,
        ca,
        upload,
    });
    // Whatever a client did besides, it did not get around the gateway.
    world.settle();
    assert_eq!(world.leaked(), 0);
}

/// Binds a resolver file over the machine's, in the mount namespace of this test alone.
fn use_resolver(world: &World) {
    let ours = world.path("resolv.conf");
    std::fs::write(&ours, RESOLVER).unwrap();
    let theirs = Path::new("/etc/resolv.conf");
    let theirs = theirs.canonicalize().expect("an /etc/resolv.conf");
    let status = Command::new("mount")
        .arg("--bind")
        .args([&ours, &theirs])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The server: demands the credential, then serves files, digests and repositories.
fn answer(request: &Request, repositories: &Path) -> Answer {
    let host = request.authority.as_deref().or(request.header("host"));
    if host == Some("git.good.test") {
        return git_server::answer(request, repositories);
    }
    if host == Some("s3.good.test") {
        return s3::answer(request);
    }
    if request.header("authorization") != Some(&format!("Bearer {SECRET}")) {
        return Answer::ok("no credential").status(401);
    }
    match request.target.as_str() {
        "/download" => Answer::ok(noise(DOWNLOAD_BYTES, 3)),
        "/upload" => Answer::ok(sha256(&request.body)),
        _ => Answer::ok("hello").header("content-type", "text/plain"),
    }
}

impl Site<'_> {
    /// A command of the agent: of the test's environment it has the path alone.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        // A client that hangs fails the test here, with what it has printed so far. Long enough
        // for a compiler on a busy machine.
        let mut command = Command::new("timeout");
        command
            .arg("240")
            .arg(program.as_ref())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.world.folder())
            .current_dir(self.world.folder())
            .stdin(Stdio::null());
        command
    }

    /// Runs it in the agent's namespace.
    fn run(&self, command: Command) -> Output {
        self.world.agent.output(command)
    }

    /// Runs it, and returns what it writes to stdout; it must succeed.
    fn stdout(&self, command: Command) -> Vec<u8> {
        let what = format!("{command:?}");
        let output = self.run(command);
        assert!(
            output.status.success(),
            "{what}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// What the server received for this target, each with the credential.
    fn received(&self, target: &str) -> Vec<Request> {
        let requests = self.server.requests().into_iter();
        let requests: Vec<Request> = requests
            .filter(|request| request.target == target)
            .collect();
        for request in &requests {
            let credential = format!("Bearer {SECRET}");
            assert_eq!(request.header_all("authorization"), [credential]);
        }
        requests
    }
}

/// What a script of the agent prints for a download, an upload, and a refusal: three lines.
fn expected() -> String {
    format!(
        "200 {}\n200 {}\n403 application/problem+json\n",
        sha256(&noise(DOWNLOAD_BYTES, 3)),
        sha256(&noise(UPLOAD_BYTES, 7))
    )
}

/// Whether there is this command, or after `python: ` a module of Python's.
fn is_there(tool: &str) -> bool {
    match tool.split_once(": ") {
        Some(("python", module)) => python::has(module),
        Some((_, tool)) => is_there(tool),
        None => which(tool).is_some(),
    }
}

/// The first file of this name on the path.
fn which(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut files = env::split_paths(&path).map(|folder| folder.join(tool));
    files.find(|file| file.is_file())
}

/// Bytes that look random and do not compress; others for each seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

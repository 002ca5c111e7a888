//! What the gateway has in memory stays out of swap where that is allowed, and it starts where
//! it is not. Outside of any namespace: capabilities of a user namespace do not count for it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const CONFIG: &str = r#"
rules = "rules"
[listen]
transparent = "127.0.0.1:0"
dns = "127.0.0.1:0"
admin = "127.0.0.1:0"
"#;

/// Of a gateway that is ready.
struct Seen {
    /// What others of the same user can read of it under `/proc/PID`, of what holds secrets.
    readable: Vec<&'static str>,
    /// KiB in mappings whose pages are locked: `VmLck` of `proc_pid_status(5)`.
    locked: u64,
    /// KiB in memory.
    resident: u64,
    log: String,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a gateway in a shell with this limit of locked memory (KiB or `unlimited`), by the
/// command `within`; `None` where the limit may not be so high.
fn run(limit: &str, within: &str) -> Option<Seen> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    let config = folder.path().join("portreeve.toml");
    fs::write(&config, CONFIG).unwrap();
    let script = format!("ulimit -l {limit} || exit 77\nexec {within} \"$0\" run --config \"$1\"");
    let child = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_portreeve")])
        .arg(&config)
        .env("STATE_DIRECTORY", folder.path().join("state"))
        .env("PORTREEVE_LOG", "portreeve=debug")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let mut log = String::new();
    let ready = lines.any(|line| {
        let line = line.unwrap();
        log.push_str(&line);
        log.push('\n');
        line.contains(" ready ")
    });
    if !ready {
        assert_eq!(running.0.wait().unwrap().code(), Some(77), "{log}");
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    let size = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let opens = |name: &&str| {
        let path = format!("/proc/{}/{name}", running.0.id());
        fs::read(path).is_ok_and(|bytes| !bytes.is_empty())
    };
    let telling = ["environ", "maps", "auxv"];
    Some(Seen {
        readable: telling.into_iter().filter(opens).collect(),
        locked: size("VmLck:"),
        resident: size("VmRSS:"),
        log,
    })
}

/// Whether this process may lock memory beyond its limit: `CAP_IPC_LOCK` (14) of the first user
/// namespace.
fn is_capable() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = u64::from_str_radix(set.unwrap().trim(), 16).unwrap();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    set & 1 << 14 != 0 && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn i5_memory_is_locked_where_the_limit_allows() {
    let Some(seen) = run("unlimited", "") else {
        println!("skipped: the limit of locked memory cannot be raised here");
        return;
    };
    assert!(seen.locked > 0, "{}", seen.log);
    assert!(seen.resident < seen.locked, "only what is touched");
    assert!(seen.log.contains("the memory is locked"), "{}", seen.log);
}

#[test]
fn i5_memory_is_locked_beyond_the_limit_where_a_capability_allows() {
    if !is_capable() {
        println!("skipped: no CAP_IPC_LOCK in the first user namespace");
        return;
    }
    let seen = run("64", "").unwrap();
    assert!(seen.locked > 64, "{}", seen.log);
}

#[test]
fn it_starts_where_memory_may_not_be_locked_and_says_so() {
    // Less than is mapped at the start; and more, which would be reached later.
    for (limit, why) in [
        ("64", "with 65536 bytes as its limit"),
        ("4194304", "no more than"),
    ] {
        // Whoever is root in a user namespace may not lock memory by that.
        let Some(seen) = run(limit, "unshare --user --map-root-user") else {
            println!("skipped: the limit of locked memory cannot be {limit} KiB here");
            continue;
        };
        assert_eq!(seen.locked, 0, "{}", seen.log);
        let told: Vec<&str> = seen
            .log
            .lines()
            .filter(|it| it.contains("not locked"))
            .collect();
        assert_eq!(told.len(), 1, "{}", seen.log);
        assert!(told[0].contains(why), "{}", seen.log);
        assert!(told[0].contains("LimitMEMLOCK=infinity"), "{}", seen.log);
    }
}

/// A secret may be in a variable of the gateway's environment.
#[test]
fn i5_no_other_process_of_the_same_user_reads_its_environment() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    let seen = run("0", "").unwrap();
    assert_eq!(seen.readable, Vec::<&str>::new(), "{}", seen.log);
}

/// The unit asks for it.
#[test]
fn the_unit_raises_the_limit() {
    let unit = include_str!("../../systemd/portreeve.service");
    assert!(unit.lines().any(|line| line == "LimitMEMLOCK=infinity"));
    assert!(unit.lines().any(|line| line == "LimitCORE=0"));
}

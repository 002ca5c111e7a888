//! Runs a test in namespaces of its own, by running its binary again for just this test.

use std::env;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// Set in the second run: the file by which it tells that the test itself ran.
const MARKER: &str = "PORTREEVE_TEST_INSIDE";

/// Far above what a whole test takes; the namespaces and all in them die with it.
const TEST_DEADLINE: Duration = Duration::from_secs(300);

/// What to unshare, best first. A user namespace needs no root; a PID namespace takes every
/// process of the test with it, but some containers do not let `/proc` be mounted for it.
const WAYS: [&[&str]; 4] = [
    &[
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ],
    &["--user", "--map-root-user", "--net", "--mount"],
    &[
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ],
    &["--net", "--mount"],
];

/// Runs `test` with fresh user, network, mount and PID namespaces, as root of them.
///
/// To be called directly from a `#[test]` function: its name is that of the closure's type.
/// Where namespaces cannot be had the test is skipped with a printed reason, except in CI.
pub fn inside<F: FnOnce()>(test: F) {
    if let Some(marker) = env::var_os(MARKER) {
        std::fs::write(marker, "ran").unwrap();
        test();
        return;
    }
    let Some(way) = way() else {
        let reason = "namespaces are not available: unshare(1) fails for this user";
        assert!(
            env::var_os("CI").is_none(),
            "{reason}, and CI skips nothing"
        );
        println!("skipped: {reason}");
        return;
    };
    run_again(way, test_name::<F>());
}

/// As [`inside`], with all the users of the machine: for root only, else the test is skipped
/// with a printed reason. A user namespace that anybody can make has one user.
pub fn inside_with_users<F: FnOnce()>(test: F) {
    if let Some(marker) = env::var_os(MARKER) {
        std::fs::write(marker, "ran").unwrap();
        test();
        return;
    }
    let mut ways = WAYS.into_iter().filter(|way| !way.contains(&"--user"));
    let Some(way) = ways.find(|way| works(way)) else {
        println!("skipped: only root has several users in a namespace");
        return;
    };
    run_again(way, test_name::<F>());
}

/// `nft::a_test::{{closure}}` without the crate and the closure.
fn test_name<F>() -> &'static str {
    let name = std::any::type_name::<F>();
    let name = name
        .strip_suffix("::{{closure}}")
        .expect("`inside` takes a closure");
    name.split_once("::").expect("a path").1
}

fn way() -> Option<&'static [&'static str]> {
    static WAY: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *WAY.get_or_init(|| WAYS.into_iter().find(|way| works(way)))
}

fn works(way: &[&str]) -> bool {
    let status = Command::new("unshare")
        .args(way)
        .args(["--", "ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn run_again(way: &[&str], test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let child = Command::new("unshare")
        .args(way)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            test,
            "--nocapture",
            "--include-ignored",
            "--test-threads=1",
        ])
        .env(MARKER, &marker)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare");
    let success = wait(child, test);
    assert!(marker.exists(), "no test of this binary is named {test:?}");
    assert!(success, "{test} failed inside its namespaces, see above");
}

/// Passes the output on, in a way that the test harness captures.
fn wait(mut child: Child, test: &str) -> bool {
    let (ended, end) = mpsc::channel();
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().unwrap()),
        Box::new(child.stderr.take().unwrap()),
    ];
    for mut stream in streams {
        let ended = ended.clone();
        thread::spawn(move || {
            let mut output = Vec::new();
            let result = stream.read_to_end(&mut output).map(|_| output);
            let _ = ended.send(result);
        });
    }
    drop(ended);
    let mut in_time = true;
    for _ in 0..2 {
        let output = end.recv_timeout(TEST_DEADLINE).or_else(|_| {
            in_time = false;
            child.kill().unwrap();
            end.recv().map_err(io::Error::other)
        });
        let output = output.and_then(|output| output).unwrap_or_default();
        // Indented, so that nobody takes the result of the second run for another test's.
        for line in String::from_utf8_lossy(&output).lines() {
            println!("  | {line}");
        }
    }
    assert!(in_time, "{test} did not end within {TEST_DEADLINE:?}");
    child.wait().unwrap().success()
}

//! How a jail ends, and that nothing is left of it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{DEADLINE, inside};
use crate::jail::{Jail, Running};

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn i11_the_command_ends_with_the_gateway() {
    let Some(jail) = Jail::new() else { return };
    let jail = jail.start("echo up; sleep 1000");
    signal(jail.gateway(), Signal::KILL);
    let (_, status) = jail.end();
    assert_eq!(status.code(), Some(70));
}

/// Namespaces live in processes, descriptors, and mounts.
fn left(namespaces: &[String]) -> Vec<String> {
    let links = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|link| link.display().to_string())
            .collect::<Vec<_>>()
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let folders = pids.flat_map(|pid| {
        let pid = pid.path().display().to_string();
        [format!("{pid}/ns"), format!("{pid}/fd")]
    });
    let all = folders.flat_map(|folder| links(&folder));
    all.filter(|link| namespaces.contains(link)).collect()
}

/// However a jail ends: no process, no namespace, no mount, and no file but the records.
#[test]
fn nothing_is_left() {
    // Where the processes of other tests, whose namespaces may get the same numbers, are not
    // to be seen.
    inside(|| {
        let jail = Jail::nested();
        for (how, code) in [
            ("exit", Some(3)),
            ("kill", Some(128 + 9)),
            ("kill init", Some(128 + 9)),
            ("kill the front", None),
            ("kill the gateway", Some(70)),
        ] {
            ends_without_trace(&jail, how, code);
        }
        let left = |name: &str| fs::read_dir(jail.path(name)).unwrap().count();
        assert_eq!((left("work"), left("home")), (0, 0));
        assert_eq!(left("state"), 1, "only the records");
    });
}

fn ends_without_trace(jail: &Jail, how: &str, code: Option<i32>) {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let script = "setsid sleep 1000 </dev/null & echo up; \
        for kind in user net mnt pid ipc; do readlink /proc/self/ns/$kind; done; \
        touch /tmp/file /run/portreeve/file 2>/dev/null; read how; \
        case $how in exit) exit 3;; kill) kill -KILL $$;; *) sleep 1000;; esac";
    let mut jail = jail.start(script);
    let namespaces: Vec<_> = (0..5).map(|_| jail.line()).collect();
    assert!(
        namespaces.iter().all(|name| name.contains(":[")),
        "{namespaces:?}"
    );
    assert!(!left(&namespaces).is_empty(), "they are there meanwhile");
    jail.tell(how);
    match how {
        "kill init" => signal(jail.init(), Signal::KILL),
        "kill the front" => signal(jail.front.id(), Signal::KILL),
        "kill the gateway" => signal(jail.gateway(), Signal::KILL),
        _ => {}
    }
    let (_, status) = jail.end();
    assert_eq!(status.code(), code, "{how}");
    // A process closes its files first, and then leaves its namespaces.
    let deadline = Instant::now() + DEADLINE;
    while !left(&namespaces).is_empty() {
        assert!(Instant::now() < deadline, "{how}: {:?}", left(&namespaces));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(mounts(), before, "{how}");
}

/// The front is in the command's process group, so that pipelines and job control work. The
/// gateway is not: it lives to write its records.
#[test]
fn a_command_that_kills_its_group_ends_itself() {
    let Some(jail) = Jail::new() else { return };
    let mut command = jail.command(&["sh", "-c", "echo up; read x; kill -KILL 0"]);
    command.process_group(0);
    let (_, status) = Running::start(command).end();
    assert!(status.code().is_none(), "killed");
    let records = fs::read_dir(jail.path("state/exec"))
        .unwrap()
        .next()
        .unwrap();
    let records = fs::read_to_string(records.unwrap().path()).unwrap();
    assert!(records.contains("\"stop\""), "{records}");
}

#[test]
fn signals_reach_the_command() {
    let Some(jail) = Jail::new() else { return };
    for (name, number) in [
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("USR1", Signal::USR1),
    ] {
        // A shell cannot trap what whoever started the tests ignores, as nohup does.
        let script = format!("trap 'exit 9' {name}; echo up; while :; do sleep 0.05; done");
        let script = format!("exec env --default-signal={name} sh -c \"{script}\"");
        let jail = jail.start(&script);
        signal(jail.front.id(), number);
        let (_, status) = jail.end();
        assert_eq!(status.code(), Some(9), "{name}");
    }
}

/// Init is the parent of whoever loses theirs.
#[test]
fn orphans_are_reaped() {
    let Some(jail) = Jail::new() else { return };
    let script = "for i in 1 2 3; do (sh -c 'exit 0' &); done; i=0; \
        while grep -q '^State:.Z' /proc/[0-9]*/status; do \
        i=$((i + 1)); [ $i -lt 1200 ] || exit 1; sleep 0.05; done; echo none";
    assert_eq!(jail.says(script), "none");
}

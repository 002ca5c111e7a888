//! How a jail ends, and that nothing is left of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::jail::Jail;

/// A command that said something and stays; its standard output ends when no process holds
/// it any more: neither command, nor init, nor front, nor gateway.
fn start(jail: &Jail, script: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = jail
        .command(&["sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    (child, said)
}

fn wait_for_all(mut said: BufReader<ChildStdout>) {
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
}

/// The child of `front` that leads a session of its own.
fn gateway(front: u32) -> u32 {
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
        (parent == front && session == pid).then_some(pid)
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find_map(of).expect("a gateway")
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn i11_the_command_ends_with_the_gateway() {
    let Some(jail) = Jail::new() else { return };
    let (mut front, said) = start(&jail, "echo up; sleep 1000");
    signal(gateway(front.id()), Signal::KILL);
    wait_for_all(said);
    assert_eq!(front.wait().unwrap().code(), Some(70));
}

#[test]
fn all_ends_with_the_front() {
    let Some(jail) = Jail::new() else { return };
    let (mut front, said) = start(&jail, "setsid sleep 1000 & echo up; sleep 1000");
    signal(front.id(), Signal::KILL);
    wait_for_all(said);
    front.wait().unwrap();
}

#[test]
fn all_ends_with_the_command() {
    let Some(jail) = Jail::new() else { return };
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let (mut front, said) = start(&jail, "setsid sleep 1000 & echo up; exit 3");
    wait_for_all(said);
    assert_eq!(front.wait().unwrap().code(), Some(3));
    assert_eq!(mounts(), before);
    let left = |name: &str| fs::read_dir(jail.path(name)).unwrap().count();
    assert_eq!((left("work"), left("home")), (0, 0));
    assert_eq!(left("state"), 1, "only the records");
}

/// The front is in the command's process group, so that pipelines and job control work. The
/// gateway is not: it lives to write its records.
#[test]
fn a_command_that_kills_its_group_ends_itself() {
    let Some(jail) = Jail::new() else { return };
    let mut command = jail.command(&["sh", "-c", "echo up; read x; kill -KILL 0"]);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut front = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(front.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    drop(front.stdin.take());
    wait_for_all(said);
    assert!(front.wait().unwrap().code().is_none(), "killed");
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
        let script = format!("trap 'exit 9' {name}; echo up; while :; do sleep 0.05; done");
        let (mut front, said) = start(&jail, &script);
        signal(front.id(), number);
        wait_for_all(said);
        assert_eq!(front.wait().unwrap().code(), Some(9), "{name}");
    }
}

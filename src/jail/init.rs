//! PID 1 inside: arranges, gives everything up, starts the command, and then reaps, forwards
//! signals, and ends with the command or the gateway, whichever goes first. All processes
//! inside end with it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, set_parent_process_death_signal};

use super::error::{During, Error};
use super::front::{from_process, watched};
use super::link::Link;
use super::namespaces::Identity;
use super::{Greeting, Plan, descriptors, environment, mounts, privileges, process, seccomp};

/// As shells say it: found but not executable, and not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// The gateway ended first.
pub(super) const NO_GATEWAY: u8 = 70;
/// What the front is told by the first byte.
pub(super) const STOPPED: u8 = b'S';
pub(super) const FAILED: u8 = b'F';

/// Everything that PID 1 does; its exit code. `front` hears of stops and failures;
/// `gateway` is never written to, only its end matters.
pub(super) fn run(
    plan: &Plan,
    identity: &Identity,
    greeting: &Greeting,
    front: &Link,
    gateway: &Link,
) -> u8 {
    match prepare(plan, identity, greeting).and_then(|()| signals()) {
        Ok(signals) => match start(plan, identity, greeting) {
            Ok(command) => attend(command, &signals, front, gateway),
            Err((code, text)) => failed(front, &text, code),
        },
        Err(error) => failed(front, &error.to_string(), 1),
    }
}

fn failed(front: &Link, text: &str, code: u8) -> u8 {
    let _ = front.send(&[&[FAILED], text.as_bytes()].concat(), &[]);
    code
}

fn prepare(plan: &Plan, identity: &Identity, greeting: &Greeting) -> Result<(), Error> {
    // Should the front be killed, nobody is left to wait for the command.
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .during("bind the jail to its parent")?;
    mounts::arrange(plan, identity, &greeting.ca)?;
    std::env::set_current_dir(&plan.folder).during(&format!(
        "enter {} inside the jail, where it is hidden (`--show` shows it)",
        plan.folder.display()
    ))?;
    descriptors::close_on_exec().during("close descriptors")?;
    // This process has the whole environment; from now on only root outside can read it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during("make init unreadable")?;
    privileges::drop_all().during("drop capabilities")?;
    seccomp::install(plan.strict).during("install the system call filter")
}

fn signals() -> Result<SignalFd, Error> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&watched(), flags).during("watch signals")
}

/// Starts the command.
fn start(plan: &Plan, identity: &Identity, greeting: &Greeting) -> Result<Pid, (u8, String)> {
    let (program, arguments) = plan
        .command
        .split_first()
        .ok_or((NOT_FOUND, String::new()))?;
    let variables = std::env::vars_os().chain(identity.variables());
    let environment = environment::of_command(variables, &plan.keep_env, &greeting.unset);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment);
    process::unblock_signals(&mut command);
    match command.spawn() {
        Ok(child) => Ok(Pid::from_raw(child.id().cast_signed())),
        Err(error) => Err(cannot_run(program, &error)),
    }
}

fn cannot_run(program: &OsString, error: &io::Error) -> (u8, String) {
    let code = if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    };
    let program = program.to_string_lossy();
    (
        code,
        format!("cannot run `{program}` inside the jail: {error}"),
    )
}

fn attend(command: Pid, signals: &SignalFd, front: &Link, gateway: &Link) -> u8 {
    loop {
        let mut ready = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(gateway.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
        let [_, link] = ready;
        if !link.revents().is_empty() {
            let text = "the gateway ended, and the command with it";
            return failed(front, text, NO_GATEWAY);
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if let Some(signal) = from_process(&signal) {
                let _ = kill(command, signal);
            }
        }
        if let Some(code) = reap(command, front) {
            return code;
        }
    }
}

/// Collects whatever ended; the command's exit code if it is among it.
fn reap(command: Pid, front: &Link) -> Option<u8> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => {
                return Some(u8::try_from(code).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Some(by_signal(signal));
            }
            Ok(WaitStatus::Stopped(pid, _)) if pid == command => {
                let _ = front.send(&[STOPPED], &[]);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// The exit code by which shells tell of a signal.
pub(super) fn by_signal(signal: Signal) -> u8 {
    u8::try_from(signal as i32).map_or(u8::MAX, |number| number.saturating_add(128))
}

//! The process that the user's shell started: makes the namespaces, then waits as thin as
//! it can be.

use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid};

use super::error::{During, Error};
use super::link::Link;
use super::namespaces::Identity;
use super::network::{self, Listeners, Ports};
use super::terminal::Foreground;
use super::{Greeting, Plan, init, namespaces, privileges, process};

/// Forwarded from front to init to the command. Those of the terminal reach the command
/// anyway, as it is in the same process group.
const FORWARDED: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
    Signal::SIGCONT,
];
/// Whether to stop is the command's decision; front follows it.
const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Runs the command of `plan` to its end; its exit code.
///
/// `gateway` runs in a process of its own and hears of the rest over its link: first come
/// the listeners ([`network::receive`]), then it greets, then the end of the link is the end
/// of the command. `table` loads the packet filter table for these ports into the current
/// network namespace.
///
/// To be called before there is a second thread.
///
/// # Errors
/// The jail could not be made, with the remedy; then the command was not started.
pub fn run(
    plan: &Plan,
    table: impl FnOnce(Ports) -> Result<(), String>,
    gateway: impl FnOnce(Link) -> u8,
) -> Result<u8, Error> {
    let (near, far) = Link::pair().during("make a socket pair")?;
    let child = match process::fork().during("start the gateway")? {
        process::Forked::Parent(child) => child,
        process::Forked::Child => {
            drop(near);
            // Out of reach of the terminal and of signals to the group.
            let _ = setsid();
            process::exit(|| gateway(far));
        }
    };
    drop(far);
    let ended = enclose(plan, table, near);
    // The link is closed: the gateway says what it has to say, and ends.
    let said = wait(child);
    match ended {
        Ok(Some(code)) => Ok(code),
        Ok(None) => Err(Error::Gateway(said)),
        Err(error) => Err(error),
    }
}

/// The whole life of the jail; `None` when the gateway ended before there was one.
fn enclose(
    plan: &Plan,
    table: impl FnOnce(Ports) -> Result<(), String>,
    link: Link,
) -> Result<Option<u8>, Error> {
    let identity = match &plan.user {
        Some(user) => namespaces::become_user(user)?,
        None => Identity::default(),
    };
    namespaces::enter()?;
    network::arrange()?;
    let listeners = Listeners::bind()?;
    let ports = listeners.ports;
    let loaded = privileges::with_network_admin(|| table(ports));
    loaded
        .during("lend nft a capability")?
        .map_err(Error::Table)?;
    // Should the gateway be gone, its greeting does not come.
    let _ = listeners.send(&link);
    let Some((greeting, _)) = link.receive().during("hear from the gateway")? else {
        return Ok(None);
    };
    let greeting: Greeting = serde_json::from_slice(&greeting)
        .map_err(std::io::Error::from)
        .during("understand the gateway")?;
    let foreground = Foreground::take();
    let ended = confine(plan, &identity, &greeting, link);
    if let Some(foreground) = foreground {
        foreground.restore();
    }
    ended.map(Some)
}

/// Starts init and waits for its end.
fn confine(
    plan: &Plan,
    identity: &Identity,
    greeting: &Greeting,
    gateway: Link,
) -> Result<u8, Error> {
    let mut blocked = watched();
    blocked.extend(STOPS);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).during("block signals")?;
    let (near, far) = Link::pair().during("make a socket pair")?;
    namespaces::enter_processes()?;
    let init = match process::fork().during("start init")? {
        process::Forked::Parent(init) => init,
        process::Forked::Child => {
            drop(near);
            process::exit(|| init::run(plan, identity, greeting, &far, &gateway));
        }
    };
    drop(far);
    // Nothing is left to do for which this process would need to be more than it is.
    privileges::drop_all().during("drop capabilities")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during("make front unreadable")?;
    let code = attend(init, &near)?;
    drop(gateway);
    Ok(code)
}

fn attend(init: Pid, reports: &Link) -> Result<u8, Error> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&watched(), flags).during("watch signals")?;
    let mut failure = None;
    let mut listening = true;
    loop {
        let mut ready = [
            PollFd::new(&signals, PollFlags::IN),
            PollFd::from_borrowed_fd(reports.as_fd(), PollFlags::IN),
        ];
        let ready = if listening {
            &mut ready[..]
        } else {
            &mut ready[..1]
        };
        match poll(ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).during("wait for the command"),
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if let Some(signal) = from_process(&signal) {
                let _ = kill(init, signal);
            }
        }
        if ready.get(1).is_some_and(|link| !link.revents().is_empty()) {
            listening = report(reports, &mut failure);
        }
        if let Some(code) = ended(init) {
            while report(reports, &mut failure) {}
            return finished(code, failure);
        }
    }
}

/// Takes one report; whether there may be more.
fn report(reports: &Link, failure: &mut Option<String>) -> bool {
    let Ok(Some((message, _))) = reports.receive() else {
        return false;
    };
    match message.split_first() {
        Some((&init::STOPPED, _)) => {
            // The user's shell sees its own child stop, and offers `fg`.
            let _ = raise(Signal::SIGSTOP);
        }
        Some((&init::FAILED, text)) => {
            *failure = Some(String::from_utf8_lossy(text).into_owned());
        }
        _ => {}
    }
    true
}

fn finished(code: u8, failure: Option<String>) -> Result<u8, Error> {
    match failure {
        // As shells do: what could not be run is told, and ends with its own code.
        Some(text) => Err(Error::Inside { text, code }),
        None => Ok(code),
    }
}

fn ended(init: Pid) -> Option<u8> {
    match waitpid(init, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some(u8::try_from(code).unwrap_or(u8::MAX)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(init::by_signal(signal)),
        Ok(_) => None,
        Err(_) => Some(1),
    }
}

/// Waits for the gateway's end; its exit code.
fn wait(gateway: Pid) -> u8 {
    loop {
        match waitpid(gateway, None) {
            Ok(WaitStatus::Exited(_, code)) => return u8::try_from(code).unwrap_or(u8::MAX),
            Ok(WaitStatus::Signaled(_, signal, _)) => return init::by_signal(signal),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return 1,
        }
    }
}

/// What front and init wait for.
pub(super) fn watched() -> SigSet {
    let mut set: SigSet = FORWARDED.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// The signal to forward: one that a process sent, and not the terminal to the whole group.
pub(super) fn from_process(signal: &siginfo) -> Option<Signal> {
    let number = i32::try_from(signal.ssi_signo).ok()?;
    let signal_of = Signal::try_from(number).ok()?;
    let sent = signal.ssi_code <= 0;
    (sent && FORWARDED.contains(&signal_of)).then_some(signal_of)
}

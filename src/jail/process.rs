//! Processes and namespaces: the system calls that a program with threads must not make.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid};
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(super) enum Forked {
    Parent(Pid),
    Child,
}

/// Only for a process with one thread: the child of any other may find locks held by
/// threads that it does not have.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: no other thread exists (see above), so the child may do anything.
    Ok(match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Forked::Parent(child),
        ForkResult::Child => Forked::Child,
    })
}

/// What a child does, and its end: nothing of its parent's goes on in it.
pub(super) fn exit(body: impl FnOnce() -> u8) -> ! {
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(1);
    std::process::exit(code.into());
}

/// Lets the program receive all signals: what this process blocks would stay blocked in it.
pub(super) fn unblock_signals(command: &mut Command) {
    let unblock = || SigSet::empty().thread_set_mask().map_err(io::Error::from);
    // SAFETY: one system call, which is safe between fork and exec (`signal-safety(7)`).
    unsafe { command.pre_exec(unblock) };
}

/// Leaves the namespaces of these kinds for new ones; [`UnshareFlags::FILES`] is not for here.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: descriptors stay shared, which is the one thing that can go wrong.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

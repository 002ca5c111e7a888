//! The terminal that jail and user's shell share.

use std::os::fd::BorrowedFd;

use rustix::process::{Pid, getpgrp};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

/// The first standard stream that is a terminal.
pub(super) fn find() -> Option<BorrowedFd<'static>> {
    [stdin(), stdout(), stderr()]
        .into_iter()
        .find(|stream| isatty(stream))
}

/// Remembers that this process group had the terminal.
pub(super) struct Foreground {
    terminal: BorrowedFd<'static>,
    group: Pid,
}

impl Foreground {
    pub(super) fn take() -> Option<Self> {
        let (terminal, group) = (find()?, getpgrp());
        (tcgetpgrp(terminal) == Ok(group)).then_some(Self { terminal, group })
    }

    /// Takes the terminal back from a shell that could not: the group it came from has no
    /// number inside. `SIGTTOU` is blocked.
    pub(super) fn restore(&self) {
        if tcgetpgrp(self.terminal) != Ok(self.group) {
            let _ = tcsetpgrp(self.terminal, self.group);
        }
    }
}

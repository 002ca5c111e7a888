//! Descriptors that a command must not inherit.

#![allow(unsafe_code)]

use std::io;

/// Marks every descriptor above standard error to be closed when a program is executed,
/// whoever opened it.
pub(super) fn close_on_exec() -> io::Result<()> {
    // SAFETY: the flag changes no descriptor of this process, only what a next program gets.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

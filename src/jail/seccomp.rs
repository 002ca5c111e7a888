//! The system calls that lead out of a jail although no capability is left.
//!
//! Sockets of other families than the network stack's would pass the packet filter by
//! (`AF_VSOCK` even passes the network namespace by); `io_uring` makes sockets without the
//! system call that is watched here; `TIOCSTI` and `TIOCLINUX` type into the terminal that
//! the jail shares with its user's shell; keyrings are not part of any namespace.

#![allow(unsafe_code)]

use std::io;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets into `struct seccomp_data`; arguments are little-endian there.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;

/// System calls of the x32 ABI carry this bit; their numbers would pass every comparison.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// Refused whatever their arguments are; as if the kernel did not have them, so that
/// programs fall back.
const ABSENT: [libc::c_long; 6] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// Installs the filter for this process and all that come from it. `no_new_privs` is set.
/// `strict` also refuses Unix sockets other than pairs.
pub(super) fn install(strict: bool) -> io::Result<()> {
    let mut filter = program(strict);
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which outlives the call, and checks it.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

fn program(strict: bool) -> Vec<libc::sock_filter> {
    let mut families = vec![libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    if !strict {
        families.push(libc::AF_UNIX);
    }
    let families: Vec<u32> = families
        .into_iter()
        .map(libc::c_int::cast_unsigned)
        .collect();
    let mut program = vec![
        load(ARCHITECTURE),
        // Programs of another architecture (32-bit ones) would need a list of their own.
        skip_if(ARCH, 1, 0),
        refuse(libc::ENOSYS),
        load(NUMBER),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([jump(libc::BPF_JGE, X32, 0, 1), refuse(libc::ENOSYS)]);
    for call in ABSENT {
        program.extend([skip_if(number(call), 0, 1), refuse(libc::ENOSYS)]);
    }
    // `socket` with a family that is not listed.
    let length = u8::try_from(families.len()).unwrap_or(u8::MAX);
    program.extend([
        skip_if(number(libc::SYS_socket), 0, length + 3),
        load(FIRST_ARGUMENT),
    ]);
    for (left, family) in (1..=length).rev().zip(families) {
        program.push(skip_if(family, left, 0));
    }
    program.extend([refuse(libc::EAFNOSUPPORT), allow()]);
    // `ioctl` that types for its user.
    program.extend([
        skip_if(number(libc::SYS_ioctl), 0, 4),
        load(SECOND_ARGUMENT),
        skip_if(TIOCSTI, 1, 0),
        skip_if(TIOCLINUX, 0, 1),
        refuse(libc::EPERM),
        allow(),
    ]);
    program
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

/// Skips `yes` statements when the loaded word equals `value`, else `no`.
fn skip_if(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    jump(libc::BPF_JEQ, value, yes, no)
}

fn jump(test: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter {
        jt: yes,
        jf: no,
        ..statement(libc::BPF_JMP | test | libc::BPF_K, value)
    }
}

fn refuse(errno: libc::c_int) -> libc::sock_filter {
    statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
    )
}

fn allow() -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        // All codes are of 16 bits.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf: 0,
        k,
    }
}

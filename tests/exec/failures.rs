//! Where there can be no jail: what is missing, why, and what helps. The command is never
//! started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::jail::{Jail, here, shown, wrapped};

/// As root of a machine that is arranged by a script: `$1` is a folder to use.
fn fails_where(jail: &Jail, arrangement: &str) -> String {
    let folder = jail.path("arranged");
    fs::create_dir_all(&folder).unwrap();
    let script = format!("set -e; root=$1; shift; {arrangement}");
    let around = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
        folder.to_str().unwrap(),
    ];
    let output = here(wrapped(&around, &jail.command(&["echo", "started"])));
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("started"), "{said}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    assert!(errors.matches("(os error").count() <= 1, "{errors}");
    errors
}

fn assert_tells(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

const RUN: &str = "exec \"$@\"";
/// The kernel gives no user namespaces to whoever changed their root folder.
const FORBIDDEN: &str =
    "mount --rbind / $root; PATH=$PATH:/usr/sbin:/sbin exec chroot $root \"$@\"";

/// Settings of the kernel that this machine may not have.
fn setting(name: &str, value: &str) -> String {
    format!("mount -t tmpfs none /proc/sys/kernel; echo {value} > /proc/sys/kernel/{name}; ")
}

#[test]
fn user_namespaces_are_forbidden() {
    let Some(jail) = Jail::new() else { return };
    let what = "cannot make namespaces of its own for the command: ";
    let said = fails_where(&jail, FORBIDDEN);
    assert_tells(
        &said,
        &[
            what,
            "not permitted",
            "In a container",
            "seccomp=unconfined",
        ],
    );
    let ubuntu = setting("apparmor_restrict_unprivileged_userns", "1") + FORBIDDEN;
    let said = fails_where(&jail, &ubuntu);
    assert_tells(
        &said,
        &[what, "AppArmor", "apparmor_restrict_unprivileged_userns=0"],
    );
    let debian = setting("unprivileged_userns_clone", "0") + FORBIDDEN;
    let said = fails_where(&jail, &debian);
    assert_tells(&said, &[what, "sysctl kernel.unprivileged_userns_clone=1"]);
    let none = format!("echo 0 > /proc/sys/user/max_user_namespaces; {RUN}");
    let said = fails_where(&jail, &none);
    assert_tells(&said, &[what, "sysctl user.max_user_namespaces=15000"]);
}

#[test]
fn a_container_hides_parts_of_proc() {
    let Some(jail) = Jail::new() else { return };
    let said = fails_where(&jail, &(setting("x", "1") + RUN));
    assert_tells(
        &said,
        &[
            "cannot mount a /proc of its own: ",
            "systempaths=unconfined",
        ],
    );
}

#[test]
fn nft_is_missing() {
    let Some(jail) = Jail::new() else { return };
    let hide = "for nft in /usr/sbin/nft /sbin/nft /usr/local/sbin/nft $(command -v nft); do \
        if [ -e $nft ]; then mount --bind /dev/null $nft; fi; done; ";
    let said = fails_where(&jail, &format!("{hide}{RUN}"));
    assert_tells(
        &said,
        &[
            "cannot redirect connections inside the jail: ",
            "package nftables",
        ],
    );
}

/// What `nft` says where the kernel lacks a part of it, by a command of that name: no test
/// can take a part out of the kernel.
#[test]
fn parts_of_the_kernel_are_missing() {
    let Some(jail) = Jail::new() else { return };
    let nft = jail.path("arranged/nft");
    fs::create_dir(nft.parent().unwrap()).unwrap();
    let message = "/dev/stdin:44:1-2: Error: Could not process rule: No such file or directory";
    fs::write(&nft, format!("#!/bin/sh\necho '{message}' >&2\nexit 1\n")).unwrap();
    fs::set_permissions(&nft, Permissions::from_mode(0o755)).unwrap();
    let said = fails_where(&jail, &format!("PATH=$root:$PATH {RUN}"));
    assert_tells(&said, &[message, "nft_redir", "sudo modprobe -a"]);
}

#[test]
fn a_command_line_that_cannot_be_meant() {
    let Some(jail) = Jail::new() else { return };
    let fails = |jail: &Jail, expected: &str| {
        let output = here(jail.command(&["echo", "started"]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
        assert!(output.stdout.is_empty(), "started");
        // What is in the way comes first, and alone.
        let usage = output.status.code() == Some(2);
        assert!(!(usage && said.contains("warning")), "{said}");
        output.status.code()
    };
    let (missing, jail) = (jail.path("missing"), jail.option("--user", "no-such-user"));
    let text = if rustix::process::geteuid().is_root() {
        "there is no user `no-such-user`"
    } else {
        "only root can run a command as another user"
    };
    assert_eq!(fails(&jail, text), Some(2));
    let jail = Jail::new().unwrap().option("--show", &missing);
    assert_eq!(fails(&jail, "cannot show "), Some(1));
    let jail = Jail::new().unwrap().option("--rules", &missing);
    assert_eq!(fails(&jail, "missing"), Some(2));
    for (written, told) in [
        (
            "https://x.test:8443/y",
            "error: --allow https://x.test:8443/y: this is a URL or a part of one\n\
             help: give a host: --allow x.test:8443\n",
        ),
        (
            "x.test:https",
            "error: --allow x.test:https: `https` is no port\nhelp: give a number ",
        ),
        ("x.test:0", "error: --allow x.test:0: "),
        ("x y", "error: --allow x y: "),
    ] {
        let jail = Jail::new().unwrap().option("--allow", "fine.test");
        let jail = jail.option("--allow", written);
        assert_eq!(fails(&jail, told), Some(2));
    }
}

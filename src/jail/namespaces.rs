//! New namespaces in which the user stays who they are.

use std::env;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::unistd::{Uid, User};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::UnshareFlags;

use super::error::{During, Error};
use super::process;

/// Who the command is: the caller, or whom root chose.
#[derive(Debug, Default)]
pub(super) struct Identity(Option<User>);

impl Identity {
    /// The home folder.
    pub(super) fn home(&self) -> Option<PathBuf> {
        match &self.0 {
            Some(user) => Some(user.dir.clone()),
            None => env::var_os("HOME").map(PathBuf::from),
        }
    }

    /// `$XDG_RUNTIME_DIR`, where it is absolute.
    pub(super) fn runtime_folder(&self) -> Option<PathBuf> {
        let folder = match &self.0 {
            Some(user) => format!("/run/user/{}", user.uid).into(),
            None => PathBuf::from(env::var_os("XDG_RUNTIME_DIR")?),
        };
        folder.is_absolute().then_some(folder)
    }

    /// The variables that say so, where they are not the caller's.
    pub(super) fn variables(&self) -> Vec<(OsString, OsString)> {
        let Some(user) = &self.0 else {
            return Vec::new();
        };
        vec![
            ("HOME".into(), user.dir.clone().into()),
            ("USER".into(), user.name.clone().into()),
            ("LOGNAME".into(), user.name.clone().into()),
            ("SHELL".into(), user.shell.clone().into()),
            (
                "XDG_RUNTIME_DIR".into(),
                format!("/run/user/{}", user.uid).into(),
            ),
        ]
    }
}

/// The user `name`, whom only root can become.
pub(super) fn user(name: &str) -> Result<User, Error> {
    if !Uid::effective().is_root() {
        return Err(Error::NotRoot);
    }
    User::from_name(name)
        .during("look the user up")?
        .ok_or_else(|| Error::NoUser(name.to_owned()))
}

/// Becomes the user `name`, with its groups. For root only.
pub(super) fn become_user(name: &str) -> Result<Identity, Error> {
    let user = user(name)?;
    let step = format!("become the user `{name}`");
    let plain = CString::new(name).map_err(|_| Error::NoUser(name.to_owned()))?;
    nix::unistd::initgroups(&plain, user.gid).during(&step)?;
    nix::unistd::setresgid(user.gid, user.gid, user.gid).during(&step)?;
    nix::unistd::setresuid(user.uid, user.uid, user.uid).during(&step)?;
    // Changing the user made `/proc/self` root's, and with it the maps written below.
    set_dumpable_behavior(DumpableBehavior::Dumpable).during(&step)?;
    Ok(Identity(Some(user)))
}

/// Leaves all namespaces but that of processes for new ones. User and group keep their
/// numbers; all others show as `nobody`, and there is nobody else to become.
pub(super) fn enter() -> Result<(), Error> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let step = "make namespaces of its own for the command";
    process::unshare(UnshareFlags::NEWUSER).where_forbidden(step)?;
    // Without this the kernel takes no map of groups from ordinary users (CVE-2014-8989).
    fs::write("/proc/self/setgroups", "deny").where_forbidden(step)?;
    let (user, group) = (user.as_raw(), group.as_raw());
    fs::write("/proc/self/uid_map", format!("{user} {user} 1\n")).where_forbidden(step)?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1\n")).where_forbidden(step)?;
    let others = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    process::unshare(others).where_forbidden(step)
}

/// The next child will be PID 1 of a namespace, and all in it end when it does. Not before
/// `nft` has run: that would have been this child.
pub(super) fn enter_processes() -> Result<(), Error> {
    process::unshare(UnshareFlags::NEWPID)
        .where_forbidden("make a process namespace for the command")
}

/// Forbids user namespaces below this one. The count is this namespace's own.
pub(super) fn forbid_nested() -> Result<(), Error> {
    let allowed: Result<(), io::Error> = fs::write("/proc/sys/user/max_user_namespaces", "0");
    allowed.during("forbid user namespaces (--strict)")
}

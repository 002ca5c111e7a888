//! The file system inside: the caller's, less what reaches around the gateway.
//!
//! Sockets of buses and daemons lie in `/run` and `/tmp`; keys lie in well-known places of
//! the home folder. They are covered, not removed: every mount here is of this namespace
//! and goes with it. A user namespace that the command makes cannot uncover anything, for
//! the kernel locks mounts that it inherits (`mount_namespaces(7)`).

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree,
};

use super::error::{During, Error};
use super::namespaces::{self, Identity};
use super::{Plan, terminal, trust};

/// Covered by fresh folders, with their modes: sockets of daemons, and shared memory.
const COVERED: [(&str, u32); 3] = [("/run", 0o755), ("/tmp", 0o1777), ("/dev/shm", 0o1777)];

/// Keys and tokens, below the home folder.
const PRIVATE: [&str; 14] = [
    ".ssh",
    ".aws",
    ".config/gcloud",
    ".azure",
    ".docker",
    ".kube",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".npmrc",
    ".pypirc",
    ".config/gh",
    ".gnupg",
    ".local/share/keyrings",
];

/// An empty file to cover others with.
const EMPTY: &str = "/run/portreeve/empty";
/// Any address does: whatever is asked on port 53 is redirected.
const RESOLV_CONF: &str = "# Portreeve answers, whatever the address.\nnameserver 127.0.0.53\n";

/// Arranges all mounts of this namespace, of which this process is PID 1.
pub(super) fn arrange(plan: &Plan, identity: &Identity, ca: &str) -> Result<(), Error> {
    let nothing_back = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", nothing_back).where_forbidden("make mounts private")?;
    let resolv = fs::canonicalize("/etc/resolv.conf").ok();
    let runtime = identity.runtime_folder();
    let mut shown = Shown::of(plan)?;
    let console = Console::of_terminal()?;
    let java = trust::java_stores();

    cover(runtime.as_deref(), &shown)?;
    shown.attach(Path::exists)?;
    terminals(console)?;
    trust_ca(ca, &java)?;
    if let Some(resolv) = resolv {
        resolver(&resolv).during("give the jail a resolv.conf")?;
    }
    hide_private(identity, &shown)?;
    shown.attach(Path::exists)?;
    protect(plan)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).where_forbidden("mount a /proc of its own")?;
    if plan.strict {
        namespaces::forbid_nested()?;
    }
    if rustix::process::geteuid().is_root() {
        // Root's number opens these even without a capability.
        let paths = ["/proc/sys", "/proc/sysrq-trigger", "/sys"].map(Path::new);
        for path in paths.into_iter().filter(|path| path.exists()) {
            read_only(path).during(&format!("make {} read-only", path.display()))?;
        }
    }
    Ok(())
}

/// What stays as it is: taken before anything is covered, attached after.
struct Shown {
    trees: Vec<(PathBuf, OwnedFd)>,
    paths: Vec<PathBuf>,
}

impl Shown {
    fn of(plan: &Plan) -> Result<Self, Error> {
        let mut paths = Vec::new();
        for path in &plan.show {
            let path = path
                .canonicalize()
                .during(&format!("show {}", path.display()))?;
            paths.push(path);
        }
        // The working folder stays, but not one that is covered itself: in `/tmp` the
        // command gets the new `/tmp`.
        let covered = |path: &Path| {
            COVERED
                .iter()
                .any(|(covered, _)| path == Path::new(covered))
        };
        let folder = plan
            .folder
            .canonicalize()
            .during("find the working folder")?;
        if !covered(&folder) && COVERED.iter().any(|(above, _)| folder.starts_with(above)) {
            paths.push(folder);
        }
        // Parents first: what is below them is attached over them.
        paths.sort_unstable();
        paths.dedup();
        let mut trees = Vec::new();
        for path in &paths {
            let tree = tree(path).during(&format!("show {}", path.display()))?;
            trees.push((path.clone(), tree));
        }
        Ok(Self { trees, paths })
    }

    fn has(&self, path: &Path) -> bool {
        self.paths.iter().any(|shown| shown == path)
    }

    /// Attaches every tree whose path is covered by now. `is_visible` tells those that need
    /// not be: they stay for the next time.
    fn attach(&mut self, is_visible: impl Fn(&Path) -> bool) -> Result<(), Error> {
        for (path, tree) in std::mem::take(&mut self.trees) {
            if is_visible(&path) {
                self.trees.push((path, tree));
                continue;
            }
            attach(&tree, &path).during(&format!("show {}", path.display()))?;
        }
        Ok(())
    }
}

/// A copy of the mount at `path`, with everything mounted below, that is nowhere yet.
fn tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn attach(tree: &OwnedFd, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let kind = rustix::fs::fstat(tree)?.st_mode;
    if rustix::fs::FileType::from_raw_mode(kind).is_dir() {
        if !path.is_dir() {
            fs::create_dir(path)?;
        }
    } else {
        OpenOptions::new().create(true).append(true).open(path)?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(tree, "", CWD, path, flags)?)
}

fn cover(runtime: Option<&Path>, shown: &Shown) -> Result<(), Error> {
    for (path, mode) in COVERED {
        if Path::new(path).is_dir() && !shown.has(Path::new(path)) {
            fresh(Path::new(path), mode).during(&format!("cover {path}"))?;
        }
    }
    make_folder(Path::new(trust::FOLDER), 0o755).during("make a folder in /run")?;
    if let Some(runtime) = runtime.filter(|path| path.is_absolute() && !shown.has(path)) {
        let step = format!("cover {}", runtime.display());
        make_folder(runtime, 0o700).during(&step)?;
        fresh(runtime, 0o700).during(&step)?;
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// An empty file system in memory.
fn fresh(path: &Path, mode: u32) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = std::ffi::CString::new(format!("mode={mode:o}")).map_err(io::Error::other)?;
    mount("tmpfs", path, "tmpfs", flags, Some(options.as_c_str()))?;
    Ok(())
}

/// The caller's terminal, by itself.
struct Console(Option<OwnedFd>);

impl Console {
    fn of_terminal() -> Result<Self, Error> {
        let step = "find the terminal";
        let Some(terminal) = terminal::find() else {
            return Ok(Self(None));
        };
        let Ok(name) = rustix::termios::ttyname(terminal, Vec::new()) else {
            return Ok(Self(None));
        };
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        tree(&path).during(step).map(|tree| Self(Some(tree)))
    }
}

/// New pseudo-terminals only: those of the caller's other windows could be read and typed
/// into. The caller's own stays, as `/dev/console`, where ttyname(3) finds it.
fn terminals(console: Console) -> Result<(), Error> {
    let step = "make pseudo-terminals of its own";
    if !Path::new("/dev/pts").is_dir() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        flags,
        Some(c"newinstance,ptmxmode=0666,mode=620"),
    )
    .during(step)?;
    let multiplexer = Path::new("/dev/ptmx");
    if multiplexer
        .symlink_metadata()
        .is_ok_and(|file| !file.is_symlink())
    {
        mount_bind("/dev/pts/ptmx", multiplexer).during(step)?;
    }
    if let (Some(console), true) = (console.0, Path::new("/dev/console").exists()) {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&console, "", CWD, "/dev/console", flags).during(step)?;
    }
    Ok(())
}

fn trust_ca(ca: &str, java: &[PathBuf]) -> Result<(), Error> {
    let step = "add the CA to the system's stores";
    trust::write(ca, !java.is_empty()).during(step)?;
    fs::write(EMPTY, "").during(step)?;
    fs::set_permissions(EMPTY, Permissions::from_mode(0o444)).during(step)?;
    if let Some(hash) = trust::hash(ca) {
        hashed(&hash).during(step)?;
    }
    for bundle in trust::bundles() {
        mount_bind(trust::BUNDLE, &bundle).during(step)?;
    }
    // By the names they have now: the hashed folder may have moved some.
    let stores = java.iter().filter_map(|store| store.canonicalize().ok());
    for store in stores {
        mount_bind(trust::JAVA_STORE, &store).during(step)?;
    }
    Ok(())
}

/// The folder of hashed names, with every entry it had and one more.
fn hashed(hash: &str) -> io::Result<()> {
    let folder = Path::new(trust::HASHED);
    if !folder.is_dir() {
        return Ok(());
    }
    let before = Path::new(trust::FOLDER).join("certs");
    fs::create_dir(&before)?;
    mount_bind_recursive(folder, &before)?;
    fresh(folder, 0o755)?;
    for entry in fs::read_dir(&before)? {
        let name = entry?.file_name();
        std::os::unix::fs::symlink(before.join(&name), folder.join(&name))?;
    }
    let free = |number: &u8| !folder.join(format!("{hash}.{number}")).exists();
    let number = (0..u8::MAX).find(free).unwrap_or_default();
    std::os::unix::fs::symlink(trust::CERTIFICATE, folder.join(format!("{hash}.{number}")))
}

/// Names are asked of the gateway, whatever the file said.
fn resolver(path: &Path) -> io::Result<()> {
    let ours = Path::new(trust::FOLDER).join("resolv.conf");
    fs::write(&ours, RESOLV_CONF)?;
    if path.exists() {
        return Ok(mount_bind(&ours, path)?);
    }
    if let Some(parent) = path.parent() {
        make_folder(parent, 0o755)?;
    }
    fs::write(path, RESOLV_CONF)
}

fn hide_private(identity: &Identity, shown: &Shown) -> Result<(), Error> {
    let Some(home) = identity.home() else {
        return Ok(());
    };
    for name in PRIVATE {
        let Ok(path) = home.join(name).canonicalize() else {
            continue;
        };
        if !shown.has(&path) {
            hide(&path, 0o700).during(&format!("hide {}", path.display()))?;
        }
    }
    Ok(())
}

/// Covers a file or a folder with an empty one; nothing is there to be hidden in what is
/// covered already.
fn hide(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return fresh(path, mode);
    }
    if path.exists() {
        mount_bind(EMPTY, path)?;
    }
    Ok(())
}

/// The operator's own files: nothing that is shown lifts this.
fn protect(plan: &Plan) -> Result<(), Error> {
    for path in plan.read_only.iter().filter(|path| path.exists()) {
        read_only(path).during(&format!("make {} read-only", path.display()))?;
    }
    for path in &plan.hidden {
        hide(path, 0).during(&format!("hide {}", path.display()))?;
    }
    Ok(())
}

fn read_only(path: &Path) -> io::Result<()> {
    mount_bind_recursive(path, path)?;
    // What the mount below forbids must be forbidden on: those flags are locked.
    let there = statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (locked, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if there.contains(locked) {
            flags |= flag;
        }
    }
    Ok(mount_remount(path, flags, "")?)
}

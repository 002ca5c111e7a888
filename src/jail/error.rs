//! A jail that could not be made: what was being done, why it failed, and what helps.

use std::io;

/// Why there is no jail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step that failed.
    #[error("cannot {step}: {why}{}", remedy.as_deref().map(|text| format!("\n  {text}")).unwrap_or_default())]
    Step {
        /// Continues "cannot".
        step: String,
        /// What the kernel said; part of the text, since the remedy comes last.
        why: io::Error,
        /// What would help.
        remedy: Option<String>,
    },
    /// The packet filter table could not be loaded in the namespace.
    #[error("cannot redirect connections inside the jail: {0}\n  {NFT_REMEDY}")]
    Table(String),
    /// The user to run as does not exist.
    #[error("there is no user `{0}`: name one that `getent passwd` shows")]
    NoUser(String),
    /// `--user` without being root.
    #[error("only root can run a command as another user: leave `--user` out")]
    NotRoot,
    /// The gateway ended and said why; its exit code.
    #[error("the gateway did not start")]
    Gateway(u8),
    /// A failure inside, as it was told from there.
    #[error("{text}")]
    Inside {
        /// The whole text.
        text: String,
        /// The exit code that says the same.
        code: u8,
    },
}

impl Error {
    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Gateway(code) | Self::Inside { code, .. } => *code,
            Self::NoUser(_) | Self::NotRoot => 2,
            Self::Step { .. } | Self::Table(_) => 1,
        }
    }
}

const NFT_REMEDY: &str = "It takes the package nftables and the kernel modules nf_tables, \
    nft_chain_nat, nft_redir and nft_reject_inet: `sudo modprobe -a nf_tables nft_chain_nat \
    nft_redir nft_reject_inet` loads them.";

/// Names the step in which something failed.
pub(super) trait During<T> {
    fn during(self, step: &str) -> Result<T, Error>;

    /// The same for a step that somebody may forbid to ordinary users: says who, and how to
    /// allow it.
    fn where_forbidden(self, step: &str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Result<T, Error> {
        self.map_err(|why| Error::Step {
            step: step.to_owned(),
            remedy: None,
            why: why.into(),
        })
    }

    fn where_forbidden(self, step: &str) -> Result<T, Error> {
        self.map_err(|why| {
            let why = why.into();
            Error::Step {
                step: step.to_owned(),
                remedy: remedy(&why),
                why,
            }
        })
    }
}

/// Most failures have one cause: somebody forbids namespaces to ordinary users.
fn remedy(error: &io::Error) -> Option<String> {
    let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
    let exhausted = error.raw_os_error() == Some(libc::ENOSPC);
    if !forbidden && !exhausted {
        return (error.raw_os_error() == Some(libc::EINVAL)).then(|| {
            "The kernel may lack CONFIG_USER_NS, CONFIG_NET_NS or CONFIG_PID_NS.".to_owned()
        });
    }
    let setting = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let is = |path: &str, value: &str| setting(path).trim() == value;
    let text = if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "AppArmor forbids user namespaces to programs without a profile (Ubuntu 23.10 and \
         later). Allow it for portreeve with a profile that says `userns,`, or for all with \
         `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`."
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "User namespaces are forbidden to ordinary users: \
         `sudo sysctl kernel.unprivileged_userns_clone=1` allows them."
    } else if is("/proc/sys/user/max_user_namespaces", "0") || exhausted {
        "No more user namespaces are allowed: `sudo sysctl user.max_user_namespaces=15000` \
         allows some."
    } else {
        "In a container, namespaces are usually forbidden: run it with `--security-opt \
         seccomp=unconfined --security-opt systempaths=unconfined` (Docker, Podman), or run \
         Portreeve outside of it, on the box (`portreeve run`)."
    };
    Some(text.to_owned())
}

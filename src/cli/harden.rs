//! What a process that holds keys should not leave behind.

use std::hint::black_box;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// No core dumps, no ptrace by others of the same user, `/proc/PID` owned by root; nothing of
/// the memory in swap, where that is allowed; and as many descriptors as the hard limit admits.
pub fn process() {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(%error, "cannot forbid core dumps");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot make the process non-dumpable");
    }
    if let Err(error) = raise(Resource::Nofile) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    match lock_memory() {
        Ok(()) => tracing::debug!("the memory is locked: no secret of it gets into swap"),
        Err(why) => tracing::info!(
            %why,
            "the memory is not locked, so secrets in it may get into swap: raise the limit (`LimitMEMLOCK=infinity`, `ulimit -l unlimited`) or turn swap off"
        ),
    }
}

/// As far up as the hard limit admits.
fn raise(resource: Resource) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(resource, raised)?)
}

/// Keeps every page out of swap once it is touched; what is only mapped takes no memory by it.
/// It ends with the process: neither a fork nor a program that is run inherits it.
///
/// A limit that is reached later would make allocations fail, and with them the process. So the
/// memory is locked only where there is none, or where the kernel shows that this process may go
/// beyond it (`CAP_IPC_LOCK`, which does not count in a user namespace).
fn lock_memory() -> Result<(), Unlocked> {
    let _ = raise(Resource::Memlock);
    let limit = getrlimit(Resource::Memlock).current;
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(
        |errno| Unlocked::Refused {
            limit,
            error: errno.into(),
        },
    )?;
    match limit {
        Some(limit) if !may_map_beyond(limit) => {
            let _ = munlockall();
            Err(Unlocked::Limited { limit })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether there can be more memory than `limit` while it is locked; nothing of it is touched.
fn may_map_beyond(limit: u64) -> bool {
    let size = usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX);
    let mut room: Vec<u8> = Vec::new();
    black_box(&mut room).try_reserve_exact(size).is_ok() && black_box(&room).capacity() >= size
}

/// Why the memory is not locked.
#[derive(Debug, thiserror::Error)]
enum Unlocked {
    /// The kernel does not.
    #[error("{error}, with {} as its limit", limit.map_or_else(|| "nothing".to_owned(), |limit| format!("{limit} bytes")))]
    Refused {
        /// `RLIMIT_MEMLOCK`.
        limit: Option<u64>,
        /// What it says.
        error: io::Error,
    },
    /// It would, but only so much.
    #[error("no more than {limit} bytes may be")]
    Limited {
        /// `RLIMIT_MEMLOCK`.
        limit: u64,
    },
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn i5_no_core_is_left_and_no_peer_may_look() {
        process();
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}

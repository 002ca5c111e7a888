//! Needles that were replaced, and what replaced them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::needles::Needles;

/// What looks on for old secrets has to find new ones, too: a response that began before a
/// token was renewed may tell of it long after.
///
/// Whatever was replaced leads to the latest at once, however often that was: a response that
/// is idle for a day keeps none of those between.
#[derive(Default)]
pub(super) struct Newer {
    /// Asked for each piece of each response.
    is_there: AtomicBool,
    latest: ArcSwapOption<Needles>,
    /// What these replaced, as far as somebody still looks for it.
    older: Mutex<Vec<Weak<Needles>>>,
}

impl Newer {
    /// `newer` replaces `old`, and all that `old` replaced.
    pub(super) fn replace(old: &Arc<Needles>, newer: &Arc<Needles>) {
        let mut older = std::mem::take(&mut *old.newer.older.lock());
        older.push(Arc::downgrade(old));
        older.retain(|older| {
            let Some(older) = older.upgrade() else {
                return false;
            };
            older.newer.latest.store(Some(Arc::clone(newer)));
            older.newer.is_there.store(true, Ordering::Release);
            true
        });
        newer.newer.older.lock().append(&mut older);
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    pub(super) fn latest(&self) -> Option<Arc<Needles>> {
        self.is_there().then(|| self.latest.load_full()).flatten()
    }
}

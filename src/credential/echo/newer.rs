//! Needles that were replaced, and what replaced them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::needles::Needles;

/// What looks on for old secrets has to find new ones, too: a response that began before a
/// token was renewed may tell of it long after.
#[derive(Default)]
pub(super) struct Newer {
    /// Asked for each piece of each response.
    is_there: AtomicBool,
    needles: ArcSwapOption<Needles>,
}

impl Newer {
    pub(super) fn set(&self, needles: Arc<Needles>) {
        self.needles.store(Some(needles));
        self.is_there.store(true, Ordering::Release);
    }

    /// The last of those that followed; those between are known to it as far as they matter.
    pub(super) fn latest(&self) -> Option<Arc<Needles>> {
        if !self.is_there.load(Ordering::Acquire) {
            return None;
        }
        let mut latest = self.needles.load_full()?;
        while let Some(newer) = latest.newer.latest() {
            self.needles.store(Some(Arc::clone(&newer)));
            latest = newer;
        }
        Some(latest)
    }
}

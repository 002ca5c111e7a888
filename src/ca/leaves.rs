//! Leaves by name: minted once, kept within bounds, renewed in time.
//!
//! Allowed and refused names have a cache each, so that refusals, whose names an agent may
//! invent at will, never push out a leaf that is in use. New leaves for refused names are
//! counted against the agent that asks.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use rustls::sign::CertifiedKey;

use super::authority::{CertificateAuthority, now};
use super::error::{CaError, MintError, MintFault};
use super::mint::{self, LeafKey};
use crate::name::{AgentName, Host};

/// The longest that a leaf is handed out.
const KEEP_MAX: Duration = Duration::from_secs(mint::VALIDITY_SECONDS.unsigned_abs() / 2);

/// Bounds of the leaf caches and lives of what they hold.
#[derive(Clone, Copy, Debug)]
pub struct LeafSettings {
    /// The most leaves for allowed names; about 1 KB each.
    pub capacity: u64,
    /// The most leaves for refused names.
    pub refused_capacity: u64,
    /// New leaves for refused names, an agent and second.
    pub refused_per_second: NonZeroU32,
    /// How many of those may come at once.
    pub refused_burst: NonZeroU32,
    /// How long a leaf is handed out; more than half its validity of 72 hours counts as that.
    pub keep: Duration,
    /// Age at which the process's leaf key is replaced for new leaves.
    pub key_rotation: Duration,
}

impl Default for LeafSettings {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            refused_capacity: 1_000,
            refused_per_second: NonZeroU32::new(10).unwrap_or(NonZeroU32::MIN),
            refused_burst: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
            keep: Duration::from_secs(12 * 3600),
            key_rotation: Duration::from_secs(24 * 3600),
        }
    }
}

/// Counts since the start, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafStats {
    /// Leaves signed.
    pub minted: u64,
    /// Asked for and there.
    pub hits: u64,
    /// Asked for and not there: minted, waited for, or refused by the limit.
    pub misses: u64,
    /// Leaves kept for allowed names; may lag by some operations.
    pub entries: u64,
    /// Leaves kept for refused names; may lag by some operations.
    pub refused_entries: u64,
}

/// A leaf and the wall-clock time up to which it is handed out. The caches' own clocks stand
/// still while a laptop sleeps; a certificate's validity does not.
#[derive(Clone)]
struct Kept {
    leaf: Arc<CertifiedKey>,
    minted_at: i64,
    renew_at: i64,
}

impl Kept {
    /// Also false when the clock was set back to before the leaf is valid.
    fn is_good(&self, now: i64) -> bool {
        now < self.renew_at && now > self.minted_at.saturating_sub(mint::BACKDATE_SECONDS)
    }
}

/// All leaves of the process.
pub struct Leaves {
    ca: Arc<CertificateAuthority>,
    key: ArcSwap<AgedKey>,
    keep: Duration,
    key_rotation: Duration,
    allowed: Cache<Host, Kept>,
    refused: Cache<Host, Kept>,
    /// Its keys are agents of the config, so it is bounded by that.
    limit: DefaultKeyedRateLimiter<AgentName>,
    minted: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct AgedKey {
    key: LeafKey,
    made: Instant,
}

impl AgedKey {
    fn generate() -> Result<Self, MintFault> {
        Ok(Self {
            key: LeafKey::generate()?,
            made: Instant::now(),
        })
    }
}

impl Leaves {
    /// Empty caches and a fresh leaf key.
    ///
    /// # Errors
    /// [`CaError::Mint`] when the library cannot make a key.
    pub fn new(ca: Arc<CertificateAuthority>, settings: LeafSettings) -> Result<Self, CaError> {
        let keep = settings.keep.min(KEEP_MAX);
        let cache = |capacity| {
            Cache::builder()
                .max_capacity(capacity)
                .time_to_live(keep)
                .build()
        };
        let quota =
            Quota::per_second(settings.refused_per_second).allow_burst(settings.refused_burst);
        Ok(Self {
            ca,
            key: ArcSwap::from_pointee(AgedKey::generate()?),
            keep,
            key_rotation: settings.key_rotation,
            allowed: cache(settings.capacity),
            refused: cache(settings.refused_capacity),
            limit: RateLimiter::keyed(quota),
            minted: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// The leaf for an admitted name. However many ask at once for a new name, it is minted
    /// once, on the task of the first (about 0.1 ms with an ECDSA CA).
    ///
    /// # Errors
    /// [`CaError::Mint`] when the CA has expired or the library fails.
    pub async fn leaf(&self, host: &Host) -> Result<Arc<CertifiedKey>, CaError> {
        match self.cached(&self.allowed, host).await {
            Some(leaf) => Ok(leaf),
            None => Ok(self.mint_into(&self.allowed, host).await?),
        }
    }

    /// The leaf for the refusal page of a name that no rule covers. Names that are in the
    /// cache cost nothing; new ones count against `agent`.
    ///
    /// # Errors
    /// [`MintError::Limit`] beyond the agent's rate; [`MintError::Ca`] as for [`Self::leaf`].
    pub async fn refused_leaf(
        &self,
        agent: &AgentName,
        host: &Host,
    ) -> Result<Arc<CertifiedKey>, MintError> {
        if let Some(leaf) = self.cached(&self.refused, host).await {
            return Ok(leaf);
        }
        // Before joining a flight: one agent's empty quota must not fail another's request.
        self.limit.check_key(agent).map_err(|_| MintError::Limit)?;
        Ok(self
            .mint_into(&self.refused, host)
            .await
            .map_err(CaError::from)?)
    }

    /// Replaces the leaf key for leaves minted from now on. Leaves in the caches keep theirs
    /// until they are renewed.
    ///
    /// # Errors
    /// [`CaError::Mint`] when the library cannot make a key; the old one stays.
    pub fn rotate(&self) -> Result<(), CaError> {
        self.key.store(Arc::new(AgedKey::generate()?));
        Ok(())
    }

    /// Counts for metrics.
    #[must_use]
    pub fn stats(&self) -> LeafStats {
        LeafStats {
            minted: self.minted.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries: self.allowed.entry_count(),
            refused_entries: self.refused.entry_count(),
        }
    }

    /// The CA of these leaves.
    #[must_use]
    pub fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// Lets the caches finish what they have put off, so that sizes are exact.
    #[cfg(test)]
    pub(super) async fn settle(&self) {
        self.allowed.run_pending_tasks().await;
        self.refused.run_pending_tasks().await;
    }

    async fn cached(&self, cache: &Cache<Host, Kept>, host: &Host) -> Option<Arc<CertifiedKey>> {
        match cache.get(host).await {
            Some(kept) if kept.is_good(now()) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Some(kept.leaf);
            }
            // Two tasks may both do this and mint twice, which is rare and harmless.
            Some(_) => cache.invalidate(host).await,
            None => {}
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        None
    }

    async fn mint_into(
        &self,
        cache: &Cache<Host, Kept>,
        host: &Host,
    ) -> Result<Arc<CertifiedKey>, MintFault> {
        let minted = cache
            .try_get_with_by_ref(host, async { self.mint(host) })
            .await;
        minted.map(|kept| kept.leaf).map_err(|fault| *fault)
    }

    fn mint(&self, host: &Host) -> Result<Kept, MintFault> {
        let minted_at = now();
        let key = self.current_key()?;
        let leaf = mint::mint(&self.ca, &key.key, host, minted_at)?;
        self.minted.fetch_add(1, Ordering::Relaxed);
        let keep = i64::try_from(self.keep.as_secs()).unwrap_or(i64::MAX);
        Ok(Kept {
            leaf: Arc::new(leaf),
            minted_at,
            renew_at: minted_at.saturating_add(keep),
        })
    }

    fn current_key(&self) -> Result<Arc<AgedKey>, MintFault> {
        let key = self.key.load_full();
        if key.made.elapsed() < self.key_rotation {
            return Ok(key);
        }
        let fresh = Arc::new(AgedKey::generate()?);
        self.key.store(fresh.clone());
        Ok(fresh)
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

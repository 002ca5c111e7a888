//! The pool key: what two requests must share to share an upstream connection (I6).
//!
//! The address policy is one for the whole process and is asked again on every reuse, so it
//! is no part of the key.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use crate::name::{AgentName, Authority, CredentialName};
use crate::policy::Scheme;

/// All that a connection was made for. Cheap to clone and to look up, as a request does both
/// several times. Compared in full; a hash alone never decides.
#[derive(Clone, Debug)]
pub struct Key(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    parts: Parts,
    hash: u64,
}

/// What a [`Key`] is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Absent only where the rule says `share_upstream = true`.
    pub agent: Option<AgentName>,
    /// Clear or TLS.
    pub scheme: Scheme,
    /// Host and port that were resolved, dialled and verified.
    pub authority: Authority,
    /// The attached credentials and their generations, client certificates among them.
    pub credentials: Vec<(CredentialName, u64)>,
    /// Which trust settings verified the server.
    pub tls_profile: u64,
}

impl From<Parts> for Key {
    fn from(parts: Parts) -> Self {
        // One seed for all keys, of this process alone. Agents choose names, but the pool keeps no
        // more than `keys_per_agent` of each, so that collisions cost little.
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let hash = SEED.hash_one(&parts);
        Self(Arc::new(Hashed { parts, hash }))
    }
}

impl Deref for Key {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.hash == other.0.hash && self.0.parts == other.0.parts
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// For maps of keys, which have been hashed.
pub type ByHash = BuildHasherDefault<HandedOn>;

/// Hands on the hash that a [`Key`] has.
#[derive(Debug, Default)]
pub struct HandedOn(u64);

impl Hasher for HandedOn {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write one number only; whatever else comes here still counts.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

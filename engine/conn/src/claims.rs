//! One worker's part in what workers know of each other's conns: what it has it claims, and what it has not it asks for.

use std::sync::Arc;

use crate::hash::FlowHasher;
use crate::mem::{populate, prefetch};
use crate::{AgreedServers, Owners};

/// Where workers tell each other which conns they have.
#[derive(Clone)]
pub struct Claims {
    pub(crate) hasher: FlowHasher,
    owners: Arc<Owners>,
    pub(crate) agreed: Arc<AgreedServers>,
    worker: u16,
}

impl Claims {
    /// One for each of `workers`, with room for the conns of all of them, `capacity` each.
    pub fn for_all(workers: u16, capacity: u32) -> Vec<Claims> {
        let keys = 2 * u64::from(workers) * u64::from(capacity);
        let owners = Arc::new(Owners::new(keys));
        let hasher = FlowHasher::new();
        let agreed = Arc::new(AgreedServers::new());
        let of = |worker| Claims {
            hasher: hasher.clone(),
            owners: Arc::clone(&owners),
            agreed: Arc::clone(&agreed),
            worker,
        };
        (0..workers).map(of).collect()
    }

    /// Asks for the memory in which [`owner`](Claims::owner) will look.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.owners.line(hash));
    }

    /// Which other worker may have the conn of a flow with this hash.
    #[inline]
    pub(crate) fn owner(&self, hash: u64) -> Option<u16> {
        self.owners.find(hash, self.worker)
    }

    /// Takes the memory in which all workers claim their conns.
    pub(crate) fn populate(&self) {
        populate(self.owners.lines());
    }

    /// Whether there was room to say so.
    pub(crate) fn claim(&self, hash: u64) -> bool {
        self.owners.claim(hash, self.worker)
    }

    pub(crate) fn give_up(&self, hash: u64) {
        self.owners.give_up(hash, self.worker);
    }
}

//! How much of the local addresses is in use, over all workers: what shows that they run out before they do.
//!
//! Each worker counts in memory of its own, which others only read: no locked instruction, and no cache line that two workers
//! write.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::Addr;

/// How one local address is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalUse {
    /// Conns that have leased a port of it.
    pub leased: u32,
    /// How often a port was asked for towards a server for which none was left.
    pub exhausted: u64,
}

/// What one worker counts of it.
#[derive(Debug, Default)]
pub(crate) struct OwnUse {
    leased: AtomicU32,
    exhausted: AtomicU64,
}

impl OwnUse {
    #[inline]
    pub fn lease(&self) {
        self.set_leased(self.leased.load(Ordering::Relaxed) + 1);
    }

    #[inline]
    pub fn give_back(&self) {
        self.set_leased(self.leased.load(Ordering::Relaxed) - 1);
    }

    pub fn exhaust(&self) {
        let exhausted = self.exhausted.load(Ordering::Relaxed) + 1;
        self.exhausted.store(exhausted, Ordering::Relaxed);
    }

    /// By the only one who does.
    #[inline]
    fn set_leased(&self, leased: u32) {
        self.leased.store(leased, Ordering::Relaxed);
    }
}

/// How all local addresses are used.
#[derive(Debug, Default)]
pub struct LocalUses(Mutex<HashMap<Addr, Vec<Arc<OwnUse>>, RandomState>>);

impl LocalUses {
    /// How this one is used, by all workers.
    pub fn of(&self, local: Addr) -> LocalUse {
        let uses = self.lock();
        let workers = uses.get(&local).into_iter().flatten();
        workers.fold(LocalUse::default(), |sum, worker| LocalUse {
            leased: sum.leased + worker.leased.load(Ordering::Relaxed),
            exhausted: sum.exhausted + worker.exhausted.load(Ordering::Relaxed),
        })
    }

    /// Where one more worker counts the use of this one: it asks once, and then counts by itself.
    pub(crate) fn join(&self, local: Addr) -> Arc<OwnUse> {
        let own = Arc::default();
        self.lock().entry(local).or_default().push(Arc::clone(&own));
        own
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Addr, Vec<Arc<OwnUse>>, RandomState>> {
        // Whoever panicked while he held it cannot have left it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_by_all_workers_together() {
        let (uses, local) = (LocalUses::default(), Addr::v4([10, 1, 0, 2]));
        assert_eq!(uses.of(local), LocalUse::default());
        let [one, other] = [(); 2].map(|()| uses.join(local));
        one.lease();
        other.lease();
        other.lease();
        one.give_back();
        other.exhaust();
        let (leased, exhausted) = (2, 1);
        assert_eq!(uses.of(local), LocalUse { leased, exhausted });
        assert_eq!(uses.of(Addr::v4([10, 1, 0, 3])), LocalUse::default());
    }
}

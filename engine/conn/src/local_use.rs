//! How much of the local addresses is in use, over all workers: what shows that they run out before they do.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::Addr;

/// How one local address is used.
#[derive(Debug, Default)]
pub struct LocalUse {
    leased: AtomicU32,
    exhausted: AtomicU64,
}

impl LocalUse {
    /// Conns that have leased a port of it.
    pub fn leased(&self) -> u32 {
        self.leased.load(Ordering::Relaxed)
    }

    /// How often a port was asked for towards a server for which none was left.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.load(Ordering::Relaxed)
    }

    pub(crate) fn lease(&self) {
        self.leased.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self) {
        self.leased.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn exhaust(&self) {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
    }
}

/// How all local addresses are used. A pool asks once, when it is made, and then counts by itself.
#[derive(Debug, Default)]
pub struct LocalUses(Mutex<HashMap<Addr, Arc<LocalUse>, RandomState>>);

impl LocalUses {
    /// How this one is used.
    pub fn of(&self, local: Addr) -> Arc<LocalUse> {
        // Whoever panicked while he held it cannot have left it half changed.
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(uses.entry(local).or_default())
    }
}

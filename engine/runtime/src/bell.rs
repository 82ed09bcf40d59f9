//! Waking a worker that sleeps, and costing one that does not sleep nothing.
//!
//! The sleeper says that it sleeps and then looks once more whether something has come; who brings something brings it
//! first and then looks whether somebody sleeps. The fences see to it that one of the two sees the other (Dekker).

use crate::sync::{AtomicBool, Ordering, fence};

/// One worker's bell.
pub struct Bell {
    asleep: AtomicBool,
}

impl Bell {
    pub fn new() -> Bell {
        Bell {
            asleep: AtomicBool::new(false),
        }
    }

    /// To be called by whoever has brought something: whether it is for him to wake the sleeper.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// To be called before the last look whether something has come.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// To be called after that look or after the sleep, whatever ended it.
    pub fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

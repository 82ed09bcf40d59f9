//! Where a worker sleeps, and is woken.

use std::sync::OnceLock;

use lb_model::Waker;

use crate::bell::Bell;

/// One worker's.
pub struct Seat {
    pub bell: Bell,
    waker: OnceLock<Waker>,
}

impl Default for Seat {
    fn default() -> Seat {
        Seat {
            bell: Bell::new(),
            waker: OnceLock::new(),
        }
    }
}

impl Seat {
    /// Whoever brings something uses this `waker` from now on; the first one counts.
    pub fn let_wake(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// To be called by whoever has brought something.
    #[inline]
    pub fn wake(&self) {
        if self.bell.ring()
            && let Some(wake) = self.waker.get()
        {
            wake();
        }
    }
}

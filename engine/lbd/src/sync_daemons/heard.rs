//! What the backup daemon heard, which the master daemon of the same balancer does not tell of in turn.

use std::sync::Arc;
use std::time::Instant;

use lb::Time;
use lb_sync::Hearing;
use parking_lot::{Mutex, MutexGuard};

/// Shared by the two daemons of one balancer.
#[derive(Clone)]
pub struct Heard {
    hearing: Arc<Mutex<Hearing>>,
    began: Instant,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard {
            hearing: Arc::default(),
            began: Instant::now(),
        }
    }
}

impl Heard {
    /// All of it, for as long as the other daemon can wait.
    pub fn lock(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock()
    }

    /// The clock of both daemons.
    pub fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    /// Nobody is listened to any more: all conns are ours.
    pub fn forget(&self) {
        self.hearing.lock().forget();
    }
}

//! Reloads one after another, and how the last ones went.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::service_manager;

/// How reloads went; the configuration that the daemon started with counts as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcomes {
    /// Those that put a configuration into force.
    pub applied: u64,
    /// Those that changed nothing, because something was wrong with it.
    pub refused: u64,
    /// Whether the last one was applied.
    pub last_applied: bool,
    /// When one was, in seconds since 1970.
    pub applied_at: u64,
}

/// The place where reloads happen.
pub struct Reloads {
    /// Held while one is under way.
    one: Mutex<()>,
    outcomes: Mutex<Outcomes>,
}

impl Reloads {
    /// After a start.
    pub fn new() -> Reloads {
        Reloads {
            one: Mutex::default(),
            outcomes: Mutex::new(Outcomes {
                applied: 0,
                refused: 0,
                last_applied: true,
                applied_at: now(),
            }),
        }
    }

    /// How they went so far.
    pub fn outcomes(&self) -> Outcomes {
        *self.outcomes.lock()
    }

    /// Does one when those before it have ended, and tells the service manager when it begins and ends.
    pub fn run<T, E>(&self, reload: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _alone = self.one.lock();
        service_manager::reloading();
        let outcome = reload();
        let mut outcomes = self.outcomes.lock();
        outcomes.last_applied = outcome.is_ok();
        match outcome {
            Ok(_) => {
                outcomes.applied += 1;
                outcomes.applied_at = now();
            }
            Err(_) => outcomes.refused += 1,
        }
        drop(outcomes);
        service_manager::ready();
        outcome
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted() {
        let reloads = Reloads::new();
        assert_eq!(reloads.run(|| Ok::<_, ()>(1)), Ok(1));
        assert_eq!(reloads.run(|| Err::<(), _>(2)), Err(2));
        let outcomes = reloads.outcomes();
        assert_eq!((outcomes.applied, outcomes.refused), (1, 1));
        assert!(!outcomes.last_applied && outcomes.applied_at > 0);
    }
}

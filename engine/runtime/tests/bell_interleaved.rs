//! Every order in which a worker can fall asleep while another brings it something: the model checker goes through all
//! of them, on the same source with its own atomics.

mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/bell.rs"]
mod bell;

use bell::Bell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// A ring of which only the number of what lies on it matters, and the eventfd of a port.
struct Worker {
    bell: Bell,
    ring: AtomicU32,
    woken: AtomicU32,
}

impl Worker {
    fn new() -> Worker {
        Worker {
            bell: Bell::new(),
            ring: AtomicU32::new(0),
            woken: AtomicU32::new(0),
        }
    }

    fn bring(&self) {
        self.ring.fetch_add(1, Ordering::Release);
        if self.bell.ring() {
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether it would go to sleep now.
    fn sleeps(&self) -> bool {
        self.bell.lie_down();
        self.ring.load(Ordering::Acquire) == 0
    }
}

#[test]
fn nobody_sleeps_on_what_was_brought() {
    loom::model(|| {
        let worker = Arc::new(Worker::new());
        let other = {
            let worker = Arc::clone(&worker);
            thread::spawn(move || worker.bring())
        };
        let sleeps = worker.sleeps();
        other.join().expect("no panic");
        let is_woken = worker.woken.load(Ordering::SeqCst) > 0;
        assert!(!sleeps || is_woken, "asleep, and something on the ring");
        worker.bell.rise();
    });
}

#[test]
fn two_who_bring_something_wake_once() {
    loom::model(|| {
        let worker = Arc::new(Worker::new());
        assert!(worker.sleeps());
        let others = [(); 2].map(|()| {
            let worker = Arc::clone(&worker);
            thread::spawn(move || worker.bring())
        });
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(worker.woken.load(Ordering::SeqCst), 1);
        worker.bell.rise();
    });
}

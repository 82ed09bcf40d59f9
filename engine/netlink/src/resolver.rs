//! Asking the kernel for the MAC of a neighbour, without being asked too often ourselves.

use std::time::{Duration, Instant};

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Addr, InterfaceId};
use tokio::sync::mpsc;

/// The kernel itself sends one solicitation per second and neighbour.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Neighbours asked about at a time. Someone who sends to every address of a large prefix must not fill the
/// kernel's table for us; its own limit (`gc_thresh3`) is 1024 by default.
const AT_A_TIME: usize = 1024;

/// Requests that may wait for the thread that serves them.
const WAITING: usize = 1024;

/// A neighbour by interface and address.
pub(crate) type Key = (InterfaceId, Addr);

/// Has unresolved neighbours looked for by the kernel. Cheap to clone and to send to other threads.
#[derive(Clone, Debug)]
pub struct Resolver {
    requests: mpsc::Sender<Key>,
}

impl Resolver {
    pub(crate) fn new() -> (Resolver, mpsc::Receiver<Key>) {
        let (requests, inbox) = mpsc::channel(WAITING);
        (Resolver { requests }, inbox)
    }

    /// Asks the kernel to find the MAC of `next_hop` on `interface`; the answer appears in the published next
    /// hops. Never blocks. A request is dropped when very many wait, and when the neighbour is known or was
    /// asked for less than a second ago, so the caller may simply ask again with the next packet.
    pub fn request(&self, interface: InterfaceId, next_hop: Addr) {
        // Full, or the thread ended: either way the next packet asks again.
        let _ = self.requests.try_send((interface, next_hop));
    }
}

/// Remembers who was asked about, so that nobody is asked about too often.
#[derive(Default)]
pub(crate) struct Pace {
    asked: HashMap<Key, Instant, RandomState>,
}

impl Pace {
    /// Whether to ask about `key` now; if so, it counts as asked.
    pub fn may_ask(&mut self, key: Key, now: Instant) -> bool {
        let recent = |then: Instant| now.saturating_duration_since(then) < AGAIN_AFTER;
        if self.asked.get(&key).is_some_and(|then| recent(*then)) {
            return false;
        }
        if self.asked.len() >= AT_A_TIME {
            self.asked.retain(|_, then| recent(*then));
        }
        let room = self.asked.len() < AT_A_TIME;
        if room {
            self.asked.insert(key, now);
        }
        room
    }

    /// `addr` has answered, on whichever interface: if it is lost again, it may be asked about at once.
    pub fn answered(&mut self, addr: Addr) {
        self.asked.retain(|(_, asked), _| *asked != addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> Key {
        let [high, low] = n.to_be_bytes();
        (InterfaceId(0), Addr::v4([10, 0, high, low]))
    }

    #[test]
    fn a_neighbour_is_asked_about_once_a_second() {
        let mut pace = Pace::default();
        let start = Instant::now();
        assert!(pace.may_ask(key(1), start));
        assert!(!pace.may_ask(key(1), start + AGAIN_AFTER / 2));
        assert!(pace.may_ask(key(2), start + AGAIN_AFTER / 2));
        assert!(pace.may_ask(key(1), start + AGAIN_AFTER));
        assert!(!pace.may_ask(key(1), start + AGAIN_AFTER));
    }

    #[test]
    fn who_answered_may_be_asked_about_again_at_once() {
        let mut pace = Pace::default();
        let start = Instant::now();
        assert!(pace.may_ask(key(1), start) && pace.may_ask(key(2), start));
        pace.answered(key(1).1);
        assert!(pace.may_ask(key(1), start));
        assert!(!pace.may_ask(key(2), start));
    }

    #[test]
    fn a_scan_is_bounded_and_ends_with_its_second() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let asked = (0..4000).filter(|n| pace.may_ask(key(*n), start)).count();
        assert_eq!(asked, AT_A_TIME);
        assert!(pace.may_ask(key(4000), start + AGAIN_AFTER));
    }

    #[test]
    fn requests_beyond_the_queue_are_dropped_without_blocking() {
        let (resolver, mut inbox) = Resolver::new();
        for n in 0..2 * WAITING as u16 {
            resolver.request(InterfaceId(0), key(n).1);
        }
        let mut waiting = 0;
        while inbox.try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, WAITING);
        drop(inbox);
        resolver.request(InterfaceId(0), key(0).1);
    }
}

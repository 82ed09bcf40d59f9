//! What `lblc` and `lblcr` remember of each destination address, and for how long.
//!
//! The kernel's table (`net/netfilter/ipvs/ip_vs_lblc.c`): 1024 buckets, and a timer of 60 s that
//!
//! ```text
//! every 30th time: forgets all that was not used for the expiration (24 h, or as set)
//! otherwise, if there are more than 16384 entries: goes through the buckets from where it stopped last
//!     and forgets what was not used for 6 minutes, until 4/3 of the surplus are gone (at most 8192)
//! ```
//!
//! Here the timer fires late, with the next conn, and as often as it would have by then.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Addr, Dest, Dests, Time};
use parking_lot::Mutex;

use crate::hash::{fold, hash_32};

const BUCKET_BITS: u32 = 10;
const BUCKETS: usize = 1 << BUCKET_BITS;
const MANY: usize = 16 * BUCKETS;
/// Beyond this a destination is not remembered, as when the kernel finds no memory.
const TOO_MANY: usize = 64 * MANY;
const UNUSED: Duration = Duration::from_secs(6 * 60);
/// The kernel asks for 60 s, and its timer wheel makes this of it.
const CHECK: Duration = Duration::from_millis(61_440);
const FULL_CHECK: u32 = 30;

/// What the schedulers of all workers remember for one service: a cache is to see the same destinations, whichever queues
/// they come in on. The lock is taken for a new conn's choice, never for a packet of a known conn.
pub type Shared<V> = Arc<Mutex<Locality<V>>>;

/// What is remembered of each destination address.
pub struct Locality<V> {
    buckets: Vec<HashMap<Addr, Entry<V>, RandomState>>,
    /// As the kernel counts: an entry put in another's place counts on, so this never falls short of what is there.
    entries: usize,
    last_checked: usize,
    checks: u32,
    next_check: Option<Time>,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    last_use: Time,
}

impl<V> Default for Locality<V> {
    fn default() -> Locality<V> {
        let hasher = RandomState::new();
        Locality {
            buckets: (0..BUCKETS)
                .map(|_| HashMap::with_hasher(hasher.clone()))
                .collect(),
            entries: 0,
            last_checked: 0,
            checks: 0,
            next_check: None,
        }
    }
}

impl<V> Locality<V> {
    /// Starts the clock for forgetting, unless it runs already.
    pub fn start(&mut self, now: Time) {
        self.next_check.get_or_insert(now + CHECK);
    }

    /// A copy that knows this destination alone.
    pub fn only(&self, destination: &Addr) -> Locality<V>
    where
        V: Clone,
    {
        let mut copy = Locality {
            entries: self.entries,
            last_checked: self.last_checked,
            checks: self.checks,
            next_check: self.next_check,
            ..Locality::default()
        };
        let at = bucket(destination);
        if let Some(entry) = self.buckets[at].get(destination) {
            copy.buckets[at].insert(*destination, entry.clone());
        }
        copy
    }

    /// What is remembered of `destination`, which is used by this.
    pub fn find(&mut self, destination: &Addr, now: Time) -> Option<&mut V> {
        let entry = self.buckets[bucket(destination)].get_mut(destination)?;
        entry.last_use = now;
        Some(&mut entry.value)
    }

    /// Remembers `value` of `destination`.
    pub fn remember(&mut self, destination: Addr, value: V, now: Time) {
        if self.entries < TOO_MANY {
            let last_use = now;
            self.buckets[bucket(&destination)].insert(destination, Entry { value, last_use });
            self.entries += 1;
        }
    }

    /// Forgets what is to be forgotten by `now`.
    pub fn expire(&mut self, now: Time, expiration: Duration) {
        while let Some(time) = self.next_check.filter(|time| *time <= now) {
            self.next_check = Some(time + CHECK);
            self.check(time, expiration);
        }
    }

    fn check(&mut self, now: Time, expiration: Duration) {
        self.checks += 1;
        if self.checks == FULL_CHECK {
            self.checks = 0;
            self.forget(now, expiration, usize::MAX);
        } else if self.entries > MANY {
            // The kernel does not count these towards the next full check.
            self.checks -= 1;
            let goal = ((self.entries - MANY) * 4 / 3).min(MANY / 2);
            self.forget(now, UNUSED, goal);
        }
    }

    /// Forgets what was unused for so long, bucket by bucket, until at least `goal` entries are gone.
    fn forget(&mut self, now: Time, unused: Duration, goal: usize) {
        let mut gone = 0;
        for _ in 0..BUCKETS {
            self.last_checked = (self.last_checked + 1) % BUCKETS;
            let bucket = &mut self.buckets[self.last_checked];
            let before = bucket.len();
            bucket.retain(|_, entry| now < entry.last_use + unused);
            gone += before - bucket.len();
            if gone >= goal {
                break;
            }
        }
        self.entries -= gone;
    }
}

fn bucket(destination: &Addr) -> usize {
    hash_32(fold(destination), BUCKET_BITS)
}

/// A remembered server, which may have been removed since.
#[derive(Clone)]
pub struct Member {
    dest: Arc<Dest>,
    /// Where it was when last looked for.
    at: usize,
}

impl Member {
    /// The server at `at`.
    pub fn new(at: usize, dests: &Dests) -> Member {
        Member {
            dest: Arc::clone(&dests[at]),
            at,
        }
    }

    /// The server itself.
    pub fn dest(&self) -> &Arc<Dest> {
        &self.dest
    }

    /// Its position; `None` while it is removed.
    pub fn position(&mut self, dests: &Dests) -> Option<usize> {
        let is_it = |dest: &Arc<Dest>| Arc::ptr_eq(dest, &self.dest);
        if !dests.get(self.at).is_some_and(is_it) {
            self.at = dests.iter().position(is_it)?;
        }
        Some(self.at)
    }
}

/// Whether a remembered server has more active conns than its weight while some server has less than half as many as
/// its own.
pub fn should_share(dest: &Dest, dests: &Dests) -> bool {
    dest.active() > dest.weight() && dests.iter().any(|d| d.active() * 2 < d.weight())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn addr(number: u32) -> Addr {
        Addr::v4(number.to_be_bytes())
    }

    fn filled(count: u32, when: Time) -> Locality<u32> {
        let mut locality = Locality::default();
        locality.start(Time::ZERO);
        (0..count).for_each(|n| locality.remember(addr(n), n, when));
        locality
    }

    #[test]
    fn the_unused_is_forgotten_with_every_30th_check() {
        let mut locality = filled(2, at(0));
        let expiration = Duration::from_secs(100);
        locality.find(&addr(1), at(1750));
        locality.expire(at(1843), expiration);
        assert_eq!(locality.entries, 2, "29 checks");
        locality.expire(at(1844), expiration);
        assert_eq!(locality.find(&addr(0), at(1844)), None);
        assert_eq!(locality.find(&addr(1), at(1844)), Some(&mut 1));
    }

    #[test]
    fn a_surplus_is_forgotten_after_six_minutes() {
        let mut locality = filled(MANY as u32 + 3000, at(0));
        locality.expire(at(359), DAY);
        assert_eq!(locality.entries, MANY + 3000);
        locality.expire(at(400), DAY);
        let left = locality.entries;
        assert!((MANY - 1100..=MANY - 1000).contains(&left), "{left}");
        locality.expire(at(1000), DAY);
        assert_eq!(locality.entries, left, "no surplus any more");
    }

    #[test]
    fn what_is_in_use_stays_and_memory_is_bounded() {
        let mut locality = filled(TOO_MANY as u32 + 1, at(0));
        assert_eq!(locality.entries, TOO_MANY);
        assert!(locality.find(&addr(TOO_MANY as u32), at(1)).is_none());
        locality.expire(at(1700), DAY);
        assert!(locality.entries < TOO_MANY - 20 * MANY / 2);
        let mut busy = filled(MANY as u32 + 10, at(1650));
        busy.expire(at(1700), DAY);
        assert_eq!(busy.entries, MANY + 10);
    }
}

//! A server's conns as all workers count them, and whether they are too many.
//!
//! All in one word, changed by one compare-and-swap: no worker sees a conn twice or not at all while it changes, and the
//! server is overloaded from the very conn on that is one too many. Between a look and the conn that is opened because of it,
//! each other worker can open one: so a threshold is exceeded by at most one conn for each worker but one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Thresholds;

/// The counts of one server.
#[derive(Debug, Default)]
pub struct ConnCount(AtomicU64);

/// One inactive conn: they are counted in the lower half.
const INACTIVE: u64 = 1;
/// One active conn: they are counted in the upper half, but for its highest bit.
const ACTIVE: u64 = 1 << 32;
/// Whether there are too many.
const OVERLOADED: u64 = 1 << 63;

impl ConnCount {
    /// Active conns and the others.
    #[inline]
    pub fn active_and_inactive(&self) -> (u32, u32) {
        split(self.0.load(Ordering::Relaxed))
    }

    /// Whether the upper threshold was reached, and the lower one not since.
    #[inline]
    pub fn is_overloaded(&self) -> bool {
        self.0.load(Ordering::Relaxed) & OVERLOADED != 0
    }

    /// One conn more.
    #[inline]
    pub fn opened(&self, active: bool, thresholds: Thresholds) {
        if thresholds.upper == 0 {
            // No number is too many.
            self.0.fetch_add(one(active), Ordering::Relaxed);
            return;
        }
        self.change(one(active), |total, was| was || begins(total, thresholds));
    }

    /// One conn became active, or is not any more.
    pub fn became(&self, active: bool) {
        let change = one(active).wrapping_sub(one(!active));
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// One conn less.
    pub fn ended(&self, active: bool, thresholds: Thresholds) {
        let less = one(active).wrapping_neg();
        self.change(less, |total, was| was && !ends(total, thresholds));
    }

    /// An overload may begin, with the conns that there are.
    pub fn judge_beginning(&self, thresholds: Thresholds) {
        self.change(0, |total, was| was || begins(total, thresholds));
    }

    /// An overload may end, with the conns that there are.
    pub fn judge_end(&self, thresholds: Thresholds) {
        self.change(0, |total, was| was && !ends(total, thresholds));
    }

    /// An overload ends, whatever conns there are.
    pub fn end_overload(&self) {
        self.0.fetch_and(!OVERLOADED, Ordering::Relaxed);
    }

    fn change(&self, change: u64, is_overloaded: impl Fn(u32, bool) -> bool) {
        let changed = |before: u64| {
            let counts = (before & !OVERLOADED).wrapping_add(change);
            let (active, inactive) = split(counts);
            let overloaded = is_overloaded(active + inactive, before & OVERLOADED != 0);
            Some(counts | if overloaded { OVERLOADED } else { 0 })
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // It never refuses a change.
        let _ = self.0.fetch_update(set, fetch, changed);
    }
}

const fn one(active: bool) -> u64 {
    if active { ACTIVE } else { INACTIVE }
}

fn split(word: u64) -> (u32, u32) {
    (((word & !OVERLOADED) >> 32) as u32, word as u32)
}

fn begins(total: u32, Thresholds { upper, .. }: Thresholds) -> bool {
    upper != 0 && total >= upper
}

/// Kernel `ip_vs_unbind_dest`.
fn ends(total: u32, Thresholds { upper, lower }: Thresholds) -> bool {
    match (lower, upper) {
        (0, 0) => true,
        (0, _) => u64::from(total) * 4 < u64::from(upper) * 3,
        (_, _) => total < lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_exceed_a_threshold_by_less_than_one_conn_each() {
        const WORKERS: u32 = 4;
        let thresholds = Thresholds { upper: 8, lower: 0 };
        let count = ConnCount::default();
        let work = || {
            let mut most = 0;
            for round in 0..20_000 {
                if count.is_overloaded() {
                    continue;
                }
                let active = round % 2 == 0;
                count.opened(active, thresholds);
                let (a, i) = count.active_and_inactive();
                most = most.max(a + i);
                count.became(!active);
                count.ended(!active, thresholds);
            }
            most
        };
        let most = std::thread::scope(|scope| {
            let workers = [(); WORKERS as usize].map(|()| scope.spawn(work));
            workers.map(|worker| worker.join().expect("no panic"))
        });
        assert!(most.iter().all(|most| *most < 8 + WORKERS), "{most:?}");
        assert_eq!(count.active_and_inactive(), (0, 0));
        assert!(!count.is_overloaded(), "an overload ends with the conns");
    }

    #[test]
    fn as_many_workers_as_can_look_before_one_counts_exceed_it_by_so_many_and_no_more() {
        let thresholds = Thresholds { upper: 3, lower: 0 };
        let count = ConnCount::default();
        count.opened(false, thresholds);
        count.opened(true, thresholds);
        let may = [(); 4].map(|()| !count.is_overloaded());
        assert_eq!(may, [true; 4]);
        (0..4).for_each(|_| count.opened(false, thresholds));
        assert_eq!(count.active_and_inactive(), (1, 5), "upper + workers - 1");
        assert!(count.is_overloaded());
    }
}

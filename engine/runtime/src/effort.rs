//! How much a worker has to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lb_model::Time;

/// What turns are told apart by: under load they take some tens of microseconds, and one of milliseconds was kept from its
/// packets by something.
pub const TURN_BOUNDS: [Duration; 8] = [
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

const LENGTHS: usize = TURN_BOUNDS.len() + 1;

/// How much a worker has to do, as of some recent turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Turns, those that received nothing included.
    pub turns: u64,
    /// Turns that received something.
    pub busy_turns: u64,
    /// Time spent in those.
    pub busy: Duration,
    /// How many of them took no longer than each of [`TURN_BOUNDS`] and longer than the one before; the last ones took longer
    /// than all.
    pub lengths: [u64; LENGTHS],
    /// The longest of them.
    pub longest: Duration,
    /// Conns in its table.
    pub conns: u64,
    /// Packets that wait for the MAC of their next hop.
    pub held: u64,
}

/// A worker's work as others see it, in cache lines that no other worker writes into.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SharedEffort {
    turns: AtomicU64,
    busy_turns: AtomicU64,
    busy_nanos: AtomicU64,
    lengths: [AtomicU64; LENGTHS],
    longest_nanos: AtomicU64,
    conns: AtomicU64,
    held: AtomicU64,
}

impl SharedEffort {
    /// As of some recent turn.
    pub fn load(&self) -> Effort {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Effort {
            turns: of(&self.turns),
            busy_turns: of(&self.busy_turns),
            busy: Duration::from_nanos(of(&self.busy_nanos)),
            lengths: std::array::from_fn(|at| of(&self.lengths[at])),
            longest: Duration::from_nanos(of(&self.longest_nanos)),
            conns: of(&self.conns),
            held: of(&self.held),
        }
    }

    pub(crate) fn store(&self, work: &Effort) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for (shared, value) in [
            (&self.turns, work.turns),
            (&self.busy_turns, work.busy_turns),
            (&self.busy_nanos, nanos(work.busy)),
            (&self.longest_nanos, nanos(work.longest)),
            (&self.conns, work.conns),
            (&self.held, work.held),
        ] {
            shared.store(value, Ordering::Relaxed);
        }
        for (shared, value) in self.lengths.iter().zip(work.lengths) {
            shared.store(value, Ordering::Relaxed);
        }
    }
}

/// Adds turns up. A turn that received something is followed by the next without a pause, so it ends when that begins.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub effort: Effort,
    busy_since: Option<Time>,
}

impl Meter {
    #[inline]
    pub fn turn_begins(&mut self, now: Time) {
        if let Some(since) = self.busy_since.take() {
            let length = now.since(since);
            let bound = TURN_BOUNDS.iter().position(|bound| length <= *bound);
            self.effort.lengths[bound.unwrap_or(TURN_BOUNDS.len())] += 1;
            self.effort.longest = self.effort.longest.max(length);
            self.effort.busy += length;
        }
    }

    #[inline]
    pub fn turn_ends(&mut self, began: Time, received: usize) {
        self.effort.turns += 1;
        if received > 0 {
            self.effort.busy_turns += 1;
            self.busy_since = Some(began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_that_received_something_count_as_busy() {
        let mut meter = Meter::default();
        let at = Time::from_nanos;
        for (begins, received) in [
            (0, 64),
            (40_000, 3),
            (50_000, 0),
            (900_000, 1),
            (300_900_000, 0),
        ] {
            meter.turn_begins(at(begins));
            meter.turn_ends(at(begins), received);
        }
        let work = meter.effort;
        assert_eq!((work.turns, work.busy_turns), (5, 3));
        assert_eq!(work.busy, Duration::from_micros(50 + 300_000));
        assert_eq!(work.longest, Duration::from_millis(300));
        assert_eq!(work.lengths, [1, 1, 0, 0, 0, 0, 0, 0, 1]);
        let shared = SharedEffort::default();
        shared.store(&work);
        assert_eq!(shared.load(), work);
    }
}

//! What is counted about packets that go from one worker to another.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What one worker has handed to another. Only the one who hands writes, so that a load and a store will do; and no other
/// writes into these cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct HandOvers {
    from: u16,
    to: u16,
    packets: AtomicU64,
    most_waiting: AtomicU32,
    capacity: u32,
}

impl HandOvers {
    pub(crate) fn new(from: u16, to: u16, capacity: u32) -> HandOvers {
        HandOvers {
            from,
            to,
            packets: AtomicU64::new(0),
            most_waiting: AtomicU32::new(0),
            capacity,
        }
    }

    /// The worker that hands.
    pub fn from(&self) -> u16 {
        self.from
    }

    /// The worker that takes.
    pub fn to(&self) -> u16 {
        self.to
    }

    /// Packets handed over.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// The most packets that have waited to be taken at the end of a turn.
    pub fn most_waiting(&self) -> u32 {
        self.most_waiting.load(Ordering::Relaxed)
    }

    /// How many can wait; what comes then is dropped.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(crate) fn add(&self, packets: u64) {
        let sum = self.packets() + packets;
        self.packets.store(sum, Ordering::Relaxed);
    }

    /// So many wait, at the end of a turn.
    pub(crate) fn saw_waiting(&self, packets: u32) {
        let most = self.most_waiting().max(packets);
        self.most_waiting.store(most, Ordering::Relaxed);
    }
}

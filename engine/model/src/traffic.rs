//! What services and servers carry, and where workers count it.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::sync::{Arc, Mutex, PoisonError};

/// What IPVS counts of a service or a server (kernel `struct ip_vs_kstats`), as totals or per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Conns opened.
    pub conns: u64,
    /// Packets of clients.
    pub in_packets: u64,
    /// Packets of servers, where they pass the balancer.
    pub out_packets: u64,
    /// Bytes of clients, with IP headers.
    pub in_bytes: u64,
    /// Bytes of servers.
    pub out_bytes: u64,
}

impl Traffic {
    /// Every number of both, joined by `join`.
    pub fn zip(self, other: Traffic, join: impl Fn(u64, u64) -> u64) -> Traffic {
        Traffic {
            conns: join(self.conns, other.conns),
            in_packets: join(self.in_packets, other.in_packets),
            out_packets: join(self.out_packets, other.out_packets),
            in_bytes: join(self.in_bytes, other.in_bytes),
            out_bytes: join(self.out_bytes, other.out_bytes),
        }
    }
}

impl Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        self.zip(other, u64::wrapping_add)
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        *self = *self + other;
    }
}

impl Sub for Traffic {
    type Output = Traffic;

    /// What was added since `other`; numbers that only grow may pass their end.
    fn sub(self, other: Traffic) -> Traffic {
        self.zip(other, u64::wrapping_sub)
    }
}

/// A line in the books of all workers, for one server. It is given back when the server is no more, conns included.
pub struct Slot {
    number: u32,
    slots: Slots,
}

impl Slot {
    /// Its number, from 1; 0 is nobody's.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock(|free| free.returned.push(self.number));
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.number)
    }
}

/// All slots, taken and free.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<FreeSlots>>);

#[derive(Default)]
struct FreeSlots {
    /// The highest number that was ever taken.
    highest: u32,
    returned: Vec<u32>,
}

impl Slots {
    /// A slot that nobody else has.
    pub fn take(&self) -> Slot {
        let number = self.lock(|free| {
            free.returned.pop().unwrap_or_else(|| {
                free.highest += 1;
                free.highest
            })
        });
        Slot {
            number,
            slots: self.clone(),
        }
    }

    fn lock<T>(&self, with: impl FnOnce(&mut FreeSlots) -> T) -> T {
        // Each use leaves a sound list, whatever happened to its user.
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_servers_until_that_is_gone() {
        let slots = Slots::default();
        let (first, second) = (slots.take(), slots.take());
        assert_eq!((first.number(), second.number()), (1, 2));
        drop(first);
        assert_eq!(slots.take().number(), 1);
        assert_eq!(slots.take().number(), 1, "it was given back at once");
        assert_eq!(second.number(), 2);
    }
}

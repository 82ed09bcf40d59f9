//! What a worker counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_model::{DropReason, PuntReason};

/// One thing that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Packets received from the port.
    Rx,
    /// Bytes received from the port, Ethernet headers included.
    RxBytes,
    /// Packets given to the port to send.
    Tx,
    /// Bytes given to the port to send.
    TxBytes,
    /// Conns opened.
    ConnOpen,
    /// Conns ended by their time-out.
    ConnExpire,
    /// Half-open conns ended before their time, to make room in a full table.
    ConnEvict,
    /// Packets that had to wait for the MAC of their next hop; each is counted again as it ends.
    Held,
    /// ICMP errors of our own; each is a packet more than was received.
    IcmpSent,
    /// ICMP errors that were not sent because there were too many.
    IcmpLimited,
    /// Packets that went on without what should have told their server of the client: they had no room for it.
    NoRoomForClientAddress,
    /// Fragments that became part of a datagram, but for the last of each: that goes on as the datagram.
    Joined,
    /// Fragments that packets were taken apart into, but for the first of each; so many more packets than were received.
    Split,
    /// Keys of conns for which there was no room to tell other workers whose they are: their packets are not handed over.
    ConnUnclaimed,
    /// Packets of conns of other workers that were handed to those.
    HandedOver,
    /// Packets that other workers handed over.
    TakenOver,
    /// Packets left to the kernel, by reason.
    Punt(PuntReason),
    /// Packets that ended here, by reason.
    Drop(DropReason),
}

const PLAIN: [Counter; 16] = [
    Counter::Rx,
    Counter::RxBytes,
    Counter::Tx,
    Counter::TxBytes,
    Counter::ConnOpen,
    Counter::ConnExpire,
    Counter::ConnEvict,
    Counter::Held,
    Counter::IcmpSent,
    Counter::IcmpLimited,
    Counter::NoRoomForClientAddress,
    Counter::Joined,
    Counter::Split,
    Counter::HandedOver,
    Counter::TakenOver,
    Counter::ConnUnclaimed,
];
const FIRST_PUNT: usize = PLAIN.len();
const FIRST_DROP: usize = FIRST_PUNT + PuntReason::ALL.len();
const COUNT: usize = FIRST_DROP + DropReason::ALL.len();

impl Counter {
    /// Every counter, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Counter> {
        let punts = PuntReason::ALL.iter().map(|reason| Counter::Punt(*reason));
        let drops = DropReason::ALL.iter().map(|reason| Counter::Drop(*reason));
        PLAIN.into_iter().chain(punts).chain(drops)
    }

    const fn index(self) -> usize {
        match self {
            Counter::Rx => 0,
            Counter::RxBytes => 1,
            Counter::Tx => 2,
            Counter::TxBytes => 3,
            Counter::ConnOpen => 4,
            Counter::ConnExpire => 5,
            Counter::ConnEvict => 6,
            Counter::Held => 7,
            Counter::IcmpSent => 8,
            Counter::IcmpLimited => 9,
            Counter::NoRoomForClientAddress => 10,
            Counter::Joined => 11,
            Counter::Split => 12,
            Counter::HandedOver => 13,
            Counter::TakenOver => 14,
            Counter::ConnUnclaimed => 15,
            Counter::Punt(reason) => FIRST_PUNT + reason as usize,
            Counter::Drop(reason) => FIRST_DROP + reason as usize,
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counter::Rx => f.pad("rx"),
            Counter::RxBytes => f.pad("rx_bytes"),
            Counter::Tx => f.pad("tx"),
            Counter::TxBytes => f.pad("tx_bytes"),
            Counter::ConnOpen => f.pad("conn.open"),
            Counter::ConnExpire => f.pad("conn.expire"),
            Counter::ConnEvict => f.pad("conn.evict"),
            Counter::Held => f.pad("held"),
            Counter::IcmpSent => f.pad("icmp.sent"),
            Counter::IcmpLimited => f.pad("icmp.limited"),
            Counter::NoRoomForClientAddress => f.pad("client_address.no_room"),
            Counter::Joined => f.pad("fragment.joined"),
            Counter::Split => f.pad("fragment.split"),
            Counter::HandedOver => f.pad("handed.over"),
            Counter::TakenOver => f.pad("handed.taken"),
            Counter::ConnUnclaimed => f.pad("conn.unclaimed"),
            Counter::Punt(reason) => f.pad(&format!("punt.{reason}")),
            Counter::Drop(reason) => f.pad(&format!("drop.{reason}")),
        }
    }
}

/// The counters of one worker, or a sum of several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters([u64; COUNT]);

impl Counters {
    /// The value of one counter.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0[counter.index()]
    }

    /// All packets that ended here, whatever the reason.
    pub fn dropped(&self) -> u64 {
        self.0[FIRST_DROP..].iter().sum()
    }

    /// All packets left to the kernel, whatever the reason.
    pub fn punted(&self) -> u64 {
        self.0[FIRST_PUNT..FIRST_DROP].iter().sum()
    }

    /// Packets that have not ended: those that wait for the MAC of their next hop, and fragments that wait for others.
    /// Nothing else stays inside between turns: received + taken over + made here = transmitted + punted + dropped +
    /// handed over + joined + waiting. Of several workers, packets between two of them are left out.
    pub fn waiting(&self) -> u64 {
        let came = self.of(Counter::Rx) + self.of(Counter::TakenOver);
        let made = self.of(Counter::IcmpSent) + self.of(Counter::Split);
        let sent = self.of(Counter::Tx) + self.of(Counter::HandedOver);
        let ended = self.punted() + self.dropped() + self.of(Counter::Joined);
        came + made - sent - ended
    }

    /// The counters above zero, in listing order.
    pub fn nonzero(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::all()
            .map(|counter| (counter, self.of(counter)))
            .filter(|(_, value)| *value > 0)
    }

    /// Adds another worker's counters.
    pub fn add(&mut self, other: &Counters) {
        for (sum, value) in self.0.iter_mut().zip(other.0) {
            *sum += value;
        }
    }

    #[inline]
    pub(crate) fn count(&mut self, counter: Counter, by: u64) {
        self.0[counter.index()] += by;
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters([0; COUNT])
    }
}

/// A worker's counters as others see them, renewed at the end of each turn, in cache lines that no other worker writes into.
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedCounters([AtomicU64; COUNT]);

impl SharedCounters {
    /// The counters at the end of some recent turn.
    pub fn load(&self) -> Counters {
        Counters(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }

    pub(crate) fn store(&self, counters: &Counters) {
        for (shared, value) in self.0.iter().zip(counters.0) {
            shared.store(value, Ordering::Relaxed);
        }
    }
}

impl Default for SharedCounters {
    fn default() -> SharedCounters {
        SharedCounters(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_and_a_name_of_its_own() {
        let places: Vec<usize> = Counter::all().map(Counter::index).collect();
        assert_eq!(places, (0..COUNT).collect::<Vec<_>>());
        let mut names: Vec<String> = Counter::all().map(|c| c.to_string()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), COUNT);
    }
}

//! Where a worker counts what the servers' conns carry: its own memory, which others only read.
//!
//! The worker is the only one that writes, so that a load and a store will do: no locked instruction, and no cache line
//! that two workers write.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_conn::Sign;
use lb_model::{Conduct, Traffic};

/// Lines of a page, which is 64 KiB.
const PAGE: usize = 1024;
/// Four times as many servers as the steering program has room for; further ones are not counted.
const PAGES: usize = 1024;

/// One server's line; a cache line, so that servers do not share one.
#[derive(Default)]
#[repr(align(64))]
struct Line {
    conns: AtomicU64,
    in_packets: AtomicU64,
    out_packets: AtomicU64,
    in_bytes: AtomicU64,
    out_bytes: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
    resets: AtomicU64,
}

/// What one worker has counted, by the servers' [slots](lb_model::Slot).
pub struct TrafficBook {
    pages: Box<[OnceLock<Box<[Line; PAGE]>>; PAGES]>,
}

impl TrafficBook {
    /// The numbers in a server's line.
    pub fn load(&self, slot: u32) -> Traffic {
        let Some(line) = self.line(slot) else {
            return Traffic::default();
        };
        Traffic {
            conns: line.conns.load(Ordering::Relaxed),
            in_packets: line.in_packets.load(Ordering::Relaxed),
            out_packets: line.out_packets.load(Ordering::Relaxed),
            in_bytes: line.in_bytes.load(Ordering::Relaxed),
            out_bytes: line.out_bytes.load(Ordering::Relaxed),
        }
    }

    /// What a server's line says of how it treats its conns.
    pub fn conduct(&self, slot: u32) -> Conduct {
        let Some(line) = self.line(slot) else {
            return Conduct::default();
        };
        Conduct {
            answered: line.answered.load(Ordering::Relaxed),
            unanswered: line.unanswered.load(Ordering::Relaxed),
            resets: line.resets.load(Ordering::Relaxed),
        }
    }

    /// Makes room for the slots up to `highest`, so that counting never has to.
    pub(crate) fn reserve(&self, highest: u32) {
        for page in self.pages.iter().take(highest as usize / PAGE + 1) {
            page.get_or_init(|| Box::new(array::from_fn(|_| Line::default())));
        }
    }

    #[inline]
    pub(crate) fn opened(&self, slot: u32) {
        if let Some(line) = self.line(slot) {
            add(&line.conns, 1);
        }
    }

    #[inline]
    pub(crate) fn inbound(&self, slot: u32, bytes: u64) {
        if let Some(line) = self.line(slot) {
            add(&line.in_packets, 1);
            add(&line.in_bytes, bytes);
        }
    }

    #[inline]
    pub(crate) fn outbound(&self, slot: u32, bytes: u64) {
        if let Some(line) = self.line(slot) {
            add(&line.out_packets, 1);
            add(&line.out_bytes, bytes);
        }
    }

    pub(crate) fn showed(&self, slot: u32, sign: Sign) {
        let Some(line) = self.line(slot) else { return };
        match sign {
            Sign::Answered => add(&line.answered, 1),
            Sign::Unanswered => add(&line.unanswered, 1),
            Sign::Refused => {
                add(&line.answered, 1);
                add(&line.resets, 1);
            }
            Sign::Reset => add(&line.resets, 1),
        }
    }

    #[inline]
    fn line(&self, slot: u32) -> Option<&Line> {
        let slot = slot as usize;
        let page = self.pages.get(slot / PAGE)?.get()?;
        Some(&page[slot % PAGE])
    }
}

impl Default for TrafficBook {
    fn default() -> TrafficBook {
        TrafficBook {
            pages: Box::new(array::from_fn(|_| OnceLock::new())),
        }
    }
}

/// By the only one who writes.
#[inline]
fn add(number: &AtomicU64, by: u64) {
    number.store(
        number.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_apart_and_only_where_there_is_room() {
        let book = TrafficBook::default();
        book.reserve(1024);
        book.inbound(1023, 40);
        book.outbound(1024, 60);
        book.opened(1024);
        book.inbound(2048, 40);
        book.inbound(u32::MAX, 40);
        assert_eq!(
            (book.load(1023).in_packets, book.load(1023).in_bytes),
            (1, 40)
        );
        let second = book.load(1024);
        assert_eq!(
            (second.conns, second.out_packets, second.out_bytes),
            (1, 1, 60)
        );
        assert_eq!(second.in_packets, 0);
        assert_eq!(book.load(2048), Traffic::default());
    }
}

//! Another worker, as one sees it: the rings to and from it, and who owes whom how many frames.

use std::sync::Arc;

use lb_model::{Frame, InterfaceId, Packet, Port, Reassembled};
use rtrb::{Consumer, Producer, RingBuffer};

use super::hand_overs::HandOvers;
use super::seat::Seat;

/// Packets that may wait between two workers: half a millisecond at two million in a second. More would only add delay,
/// and keep frames from being received into.
const RING: usize = 1024;

/// Frames that are paid at a time, unless there is nothing else to do: the ring's cache lines are best moved full.
const PAYMENT: u32 = 16;

/// A packet between two workers.
pub struct Handed {
    pub frame: Frame,
    pub ingress: InterfaceId,
    pub reassembled: Option<Reassembled>,
}

/// Another worker.
pub struct Other {
    seat: Arc<Seat>,
    to: Producer<Handed>,
    from: Consumer<Handed>,
    pay: Producer<Frame>,
    paid: Consumer<Frame>,
    /// Frames that were taken from it and not yet made good for.
    pub owed: u32,
    /// Packets that were put on the ring in this turn.
    put: u32,
    pub handed: Arc<HandOvers>,
}

impl Other {
    /// What each of two workers has to know of the other: the first what it has to know of the second, and then the
    /// other way round.
    pub fn pair([(a, seat_of_a), (b, seat_of_b)]: [(u16, &Arc<Seat>); 2]) -> [Other; 2] {
        let (a_to_b, b_from_a) = RingBuffer::new(RING);
        let (b_to_a, a_from_b) = RingBuffer::new(RING);
        let (a_pays_b, b_paid_by_a) = RingBuffer::new(RING);
        let (b_pays_a, a_paid_by_b) = RingBuffer::new(RING);
        let other = |seat: &Arc<Seat>, (from, to), (put, take), (pay, paid)| Other {
            seat: Arc::clone(seat),
            to: put,
            from: take,
            pay,
            paid,
            owed: 0,
            put: 0,
            handed: Arc::new(HandOvers::new(from, to, RING as u32)),
        };
        [
            other(
                seat_of_b,
                (a, b),
                (a_to_b, a_from_b),
                (a_pays_b, a_paid_by_b),
            ),
            other(
                seat_of_a,
                (b, a),
                (b_to_a, b_from_a),
                (b_pays_a, b_paid_by_a),
            ),
        ]
    }

    /// Whether it takes one more packet.
    #[inline]
    pub fn has_room(&self) -> bool {
        !self.to.is_full()
    }

    /// Hands it a packet; there [has to be room](Other::has_room).
    #[inline]
    pub fn put(&mut self, packet: Packet) {
        let Packet {
            frame,
            ingress,
            reassembled,
            ..
        } = packet;
        let handed = Handed {
            frame,
            ingress,
            reassembled,
        };
        let put = self.to.push(handed);
        debug_assert!(put.is_ok(), "the caller asks for room first");
        self.put += 1;
    }

    /// The next packet that it has handed over.
    #[inline]
    pub fn take(&mut self) -> Option<Handed> {
        self.from.pop().ok()
    }

    /// Whether it has handed over or paid something.
    pub fn has_brought(&self) -> bool {
        !self.from.is_empty() || !self.paid.is_empty()
    }

    /// Makes the frames free that it has paid.
    #[inline]
    pub fn collect<P: Port>(&mut self, port: &mut P) {
        while let Ok(frame) = self.paid.pop() {
            port.adopt(&frame);
            port.release(frame);
        }
    }

    /// Pays what is owed, as far as frames are free and enough to be worth it.
    #[inline]
    pub fn pay<P: Port>(&mut self, port: &mut P, is_idle: bool) {
        if self.owed == 0 || (self.owed < PAYMENT && !is_idle) {
            return;
        }
        let before = self.owed;
        while self.owed > 0
            && !self.pay.is_full()
            && let Some(frame) = port.spare()
        {
            port.give_away(&frame);
            let paid = self.pay.push(frame);
            debug_assert!(paid.is_ok(), "there was room");
            self.owed -= 1;
        }
        if self.owed < before {
            // It may have none left to receive into.
            self.seat.wake();
        }
    }

    /// Wakes it, if it sleeps and was handed something.
    #[inline]
    pub fn finish_turn(&mut self) {
        if self.put > 0 {
            self.seat.wake();
            let waiting = RING - self.to.slots();
            self.handed.add(self.put.into(), waiting as u32);
            self.put = 0;
        }
    }
}

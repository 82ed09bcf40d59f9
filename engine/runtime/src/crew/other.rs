//! Another worker, as one sees it: the rings to and from it, and who owes whom how many frames.

use std::iter;
use std::sync::Arc;

use lb_model::{BATCH, Frame, Port};
use rtrb::{Consumer, Producer, RingBuffer};

use super::hand_overs::HandOvers;
use super::handed::Handed;
use super::seat::Seat;

/// Packets that may wait between two workers: half a millisecond at two million in a second. More would only add delay,
/// and keep frames from being received into.
const RING: usize = 1024;

/// Frames that are paid at a time, unless there is nothing else to do: the ring's cache lines are best moved full.
const PAYMENT: u32 = 16;

/// Too many packets wait between two workers already.
pub struct Busy;

/// Another worker.
///
/// All that goes to it in a turn goes at the turn's end, at once: each word that says how full a ring is moves between
/// two CPUs once a turn then, and not once a packet.
pub struct Other {
    seat: Arc<Seat>,
    to: Producer<Handed>,
    from: Consumer<Handed>,
    pay: Producer<Frame>,
    paid: Consumer<Frame>,
    /// Frames that were taken from it and not yet made good for.
    pub owed: u32,
    /// Packets that it gets at the end of this turn.
    handing: Vec<Handed>,
    /// How many may be there: what the ring had room for when it was last looked at.
    room: usize,
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
            handing: Vec::with_capacity(BATCH),
            room: RING,
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

    /// Whether it can be handed one more packet.
    #[inline(always)]
    pub fn has_room(&mut self) -> Result<(), Busy> {
        if self.handing.len() >= self.room {
            self.room = self.to.slots();
            if self.handing.len() >= self.room {
                return Err(Busy);
            }
        }
        Ok(())
    }

    /// Hands it a packet, for which it [has room](Other::has_room).
    #[inline(always)]
    pub fn hand(&mut self, mut packet: Handed) {
        // Where packets go both ways, their frames make good for each other.
        packet.pays = self.owed > 0 && !packet.is_reassembled();
        self.owed -= u32::from(packet.pays);
        self.handing.push(packet);
    }

    /// The packets that it has handed over, up to `limit`.
    #[inline]
    pub fn take(&mut self, limit: usize) -> impl Iterator<Item = Handed> {
        let waiting = self.from.slots().min(limit);
        self.from.read_chunk(waiting).into_iter().flatten()
    }

    /// Whether it has handed over or paid something.
    pub fn has_brought(&self) -> bool {
        !self.from.is_empty() || !self.paid.is_empty()
    }

    /// Makes the frames free that it has paid.
    #[inline]
    pub fn collect<P: Port>(&mut self, port: &mut P) {
        let paid = self.paid.slots();
        for frame in self.paid.read_chunk(paid).into_iter().flatten() {
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
        let due = self.pay.slots().min(self.owed as usize);
        let spare = || {
            let frame = port.spare()?;
            port.give_away(&frame);
            Some(frame)
        };
        let paid = (self.pay.write_chunk_uninit(due))
            .map_or(0, |chunk| chunk.fill_from_iter(iter::from_fn(spare)));
        if paid > 0 {
            self.owed -= paid as u32;
            // It may have none left to receive into.
            self.seat.wake();
        }
    }

    /// Lets it have what it was handed in this turn, and wakes it if it sleeps.
    #[inline]
    pub fn finish_turn(&mut self) {
        if self.handing.is_empty() {
            return;
        }
        let packets = self.handing.len();
        let put = (self.to.write_chunk_uninit(packets))
            .map_or(0, |chunk| chunk.fill_from_iter(self.handing.drain(..)));
        debug_assert_eq!(put, packets, "the other side only makes more room");
        self.seat.wake();
        self.room = self.to.slots();
        self.handed.add(packets as u64, (RING - self.room) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{InterfaceId, Packet, Reassembled};

    fn packet(reassembled: Option<Reassembled>) -> Handed {
        let frame = Frame::new(Box::leak(Box::new([0; 60])), 60, 0);
        let mut packet = Packet::received(frame, InterfaceId(0));
        packet.reassembled = reassembled;
        Handed::from(&mut packet)
    }

    fn taken(other: &mut Other) -> Vec<bool> {
        other.take(RING).map(|packet| packet.pays).collect()
    }

    #[test]
    fn a_packet_pays_for_one_that_came_from_where_it_goes() {
        let seats = [Arc::default(), Arc::default()];
        let [mut b_for_a, mut a_for_b] = Other::pair([(0, &seats[0]), (1, &seats[1])]);
        let datagram = Reassembled {
            longest: 1500,
            part: 1480,
            payload_len: 2000,
            dont_fragment: false,
        };
        a_for_b.owed = 2;
        for reassembled in [None, Some(datagram), None, None] {
            a_for_b.hand(packet(reassembled));
        }
        a_for_b.finish_turn();
        assert_eq!(taken(&mut b_for_a), [true, false, true, false]);
        assert_eq!(a_for_b.owed, 0);
    }
}

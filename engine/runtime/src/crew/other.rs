//! Another worker, as one sees it: the rings to and from it, and who owes whom how many frames.

use std::iter;
use std::sync::Arc;

use arrayvec::ArrayVec;
use lb_model::{BATCH, Frame, Packet, Port};
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

/// Another worker; in cache lines of its own, in pairs as processors fetch them.
///
/// All that goes to it in a turn goes at the turn's end, at once: each word that says how full a ring is moves between
/// two CPUs once a turn then, and not once a packet.
#[repr(align(128))]
pub struct Other {
    seat: Arc<Seat>,
    to: Producer<Handed>,
    from: Consumer<Handed>,
    pay: Producer<Frame>,
    paid: Consumer<Frame>,
    /// Frames that were taken from it and not yet made good for.
    pub owed: u32,
    /// Where in the batch the packets are that it gets at the end of this turn.
    handing: ArrayVec<u8, BATCH>,
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
            handing: ArrayVec::new(),
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

    /// Notes that it is to be handed the packet at this place of the batch; not if too many wait for it already.
    #[inline(always)]
    pub fn note(&mut self, position: u8) -> Result<(), Busy> {
        if self.handing.len() >= self.room {
            self.room = self.to.slots();
            if self.handing.len() >= self.room {
                return Err(Busy);
            }
        }
        self.handing.try_push(position).map_err(|_| Busy)
    }

    /// Hands it all packets of the batch that were [noted](Other::note), straight onto the ring, and wakes it if it
    /// sleeps; how many.
    #[inline]
    pub fn hand(&mut self, packets: &mut [Packet], mut give_away: impl FnMut(&Packet)) -> usize {
        let noted = self.handing.len();
        if noted == 0 {
            return 0;
        }
        let owed = &mut self.owed;
        let handed = self.handing.iter().map(|position| {
            let packet = &mut packets[usize::from(*position)];
            give_away(packet);
            // Where packets go both ways, their frames make good for each other.
            let pays = *owed > 0 && packet.reassembled.is_none();
            *owed -= u32::from(pays);
            Handed::from(packet, pays)
        });
        let put =
            (self.to.write_chunk_uninit(noted)).map_or(0, |chunk| chunk.fill_from_iter(handed));
        debug_assert_eq!(put, noted, "the other side only makes more room");
        self.handing.clear();
        self.seat.wake();
        self.handed.add(put as u64);
        // How many have been taken is looked at only if it matters.
        self.room = self.to.cached_slots();
        if RING - self.room > self.handed.most_waiting() as usize {
            self.room = self.to.slots();
            self.handed.saw_waiting((RING - self.room) as u32);
        }
        put
    }

    /// Takes the packets that it has handed over, up to `limit`.
    #[inline(always)]
    pub fn take(&mut self, limit: usize, take: impl FnMut(Handed)) {
        take_off(&mut self.from, limit, take);
    }

    /// Whether it has handed over or paid something.
    pub fn has_brought(&self) -> bool {
        !self.from.is_empty() || !self.paid.is_empty()
    }

    /// Makes the frames free that it has paid.
    #[inline]
    pub fn collect<P: Port>(&mut self, port: &mut P) {
        take_off(&mut self.paid, RING, |frame| {
            port.adopt(&frame);
            port.release(frame);
        });
    }

    /// Pays what is owed, as far as frames are free and enough to be worth it.
    #[inline]
    pub fn pay<P: Port>(&mut self, port: &mut P, is_idle: bool) {
        if self.owed == 0 || (self.owed < PAYMENT && !is_idle) {
            return;
        }
        let mut due = self.owed as usize;
        if self.pay.cached_slots() < due {
            due = self.pay.slots().min(due);
        }
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
}

/// What is on a ring, up to `limit`. The other side's word is read only if more may be there than is known of, and it is
/// told only when something was taken: each such word is a cache line from another CPU.
#[inline(always)]
fn take_off<T>(ring: &mut Consumer<T>, limit: usize, take: impl FnMut(T)) {
    let mut waiting = ring.cached_slots();
    if waiting < limit {
        waiting = ring.slots();
    }
    let waiting = waiting.min(limit);
    if waiting > 0
        && let Ok(some) = ring.read_chunk(waiting)
    {
        some.into_iter().for_each(take);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{InterfaceId, Reassembled};

    fn packet(reassembled: Option<Reassembled>) -> Packet {
        let frame = Frame::new(Box::leak(Box::new([0; 60])), 60, 0);
        let mut packet = Packet::received(frame, InterfaceId(0));
        packet.reassembled = reassembled;
        packet
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
        let mut packets = [None, Some(datagram), None, None].map(packet);
        for position in 0..4 {
            assert!(a_for_b.note(position).is_ok());
        }
        let mut given_away = 0;
        assert_eq!(a_for_b.hand(&mut packets, |_| given_away += 1), 4);
        let mut pays = Vec::new();
        b_for_a.take(RING, |packet| pays.push(packet.pays));
        assert_eq!(pays, [true, false, true, false]);
        assert_eq!((a_for_b.owed, given_away), (0, 4));
        assert_eq!(a_for_b.hand(&mut packets, |_| given_away += 1), 0);
    }
}

//! Packets handed from the worker that received them to the one that has their conn.
//!
//! Between any two workers lie two rings in each direction, with one who puts on and one who takes off:
//!
//! ```text
//!            packets of B's conns
//!   worker A ────────────────────> worker B
//!            <────────────────────
//!            as many free frames, in return
//! ```
//!
//! A packet moves as its [`Frame`], no byte of it is copied. So frames would pile up with whoever has the conns, and
//! the others run out of them: for each frame that a worker takes it owes one, and pays as soon as it has one free, or
//! with that of a packet which it hands over itself.
//! Nobody waits: what does not fit on a ring is dropped and counted, or paid later.

mod hand_overs;
mod handed;
mod other;
mod seat;

use std::sync::Arc;

use ahash::RandomState;
use lb_conn::{Claims, MAX_WORKERS};
use lb_model::{Batch, Packet, Port};
use lb_wire::{Fragment, IpHeader};

pub use hand_overs::HandOvers;
pub use other::Busy;
use other::Other;
use seat::Seat;

use crate::fragments::Fragments;

/// A worker's place among all workers: made for all at once, and taken up by a [`Worker`](crate::Worker) each.
pub struct Place {
    pub(crate) number: u16,
    pub(crate) claims: Option<Claims>,
    pub(crate) crew: Crew,
}

impl Place {
    /// That of the only worker.
    pub fn alone() -> Place {
        Place {
            number: 0,
            claims: None,
            crew: Crew::new(Arc::default(), Vec::new(), RandomState::new()),
        }
    }

    /// Those of so many workers, with room for `capacity` conns each.
    ///
    /// # Panics
    /// If there are none, or more than [`MAX_WORKERS`].
    pub fn for_all(workers: u16, capacity: u32) -> Vec<Place> {
        assert!(
            (1..=MAX_WORKERS).contains(&workers),
            "a worker's number fits where its conns are claimed"
        );
        if workers == 1 {
            return vec![Place::alone()];
        }
        let seats: Vec<Arc<Seat>> = (0..workers).map(|_| Arc::default()).collect();
        let mut others: Vec<Vec<Option<Other>>> = seats.iter().map(|_| Vec::new()).collect();
        for a in 0..workers {
            others[usize::from(a)].push(None);
            for b in a + 1..workers {
                let ends = [a, b].map(|number| (number, &seats[usize::from(number)]));
                let [b_for_a, a_for_b] = Other::pair(ends);
                others[usize::from(a)].push(Some(b_for_a));
                others[usize::from(b)].push(Some(a_for_b));
            }
        }
        let claims = Claims::for_all(workers, capacity).into_iter();
        let crews = seats.into_iter().zip(others);
        let spread = RandomState::new();
        let place = |((number, claims), (seat, others))| Place {
            number,
            claims: Some(claims),
            crew: Crew::new(seat, others, spread.clone()),
        };
        (0..workers).zip(claims).zip(crews).map(place).collect()
    }

    /// The worker's number, from 0.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// How many workers there are.
    pub fn workers(&self) -> u16 {
        // No more than MAX_WORKERS.
        self.crew.others.len().max(1) as u16
    }

    /// What the worker hands to each other, also while it works on another thread.
    pub fn hand_overs(&self) -> Vec<Arc<HandOvers>> {
        let others = self.crew.others.iter().flatten();
        others.map(|other| Arc::clone(&other.handed)).collect()
    }
}

/// The other workers, as one of them sees them.
pub struct Crew {
    seat: Arc<Seat>,
    /// By their numbers; nobody in the own place.
    others: Vec<Option<Other>>,
    /// Whose packets are taken first; it changes every turn, so that a busy one starves no other.
    first: usize,
    /// All workers' alike, and nobody else's.
    spread: RandomState,
}

impl Crew {
    fn new(seat: Arc<Seat>, others: Vec<Option<Other>>, spread: RandomState) -> Crew {
        Crew {
            seat,
            others,
            first: 0,
            spread,
        }
    }

    /// The worker can be woken through its port from now on.
    pub fn sit_down<P: Port>(&mut self, port: &P) {
        if let Some(waker) = port.waker() {
            self.seat.let_wake(waker);
        }
    }

    /// Puts up to `limit` packets that others handed over into `batch`; how many.
    #[inline]
    pub fn take<P: Port>(
        &mut self,
        batch: &mut Batch,
        limit: usize,
        port: &mut P,
        fragments: &mut Fragments,
    ) -> usize {
        let before = batch.len();
        let (later, sooner) = self.others.split_at_mut(self.first);
        for other in sooner.iter_mut().chain(later).flatten() {
            let mut taken = 0;
            let limit = (limit + before - batch.len()).min(batch.room());
            other.take(limit, |handed| {
                if handed.is_reassembled() {
                    fragments.adopt();
                } else {
                    port.adopt(handed.frame());
                    taken += u32::from(!handed.pays);
                }
                batch.push_handed(handed.into_packet());
            });
            other.owed += taken;
        }
        batch.len() - before
    }

    /// Notes that the packet at this place of the batch is to be handed to its conn's worker; not if that has too many
    /// waiting already.
    #[inline(always)]
    pub fn note(&mut self, to: u16, position: usize) -> Result<(), Busy> {
        let other = self.others.get_mut(usize::from(to));
        // No more than BATCH.
        (other.and_then(Option::as_mut).ok_or(Busy)?).note(position as u8)
    }

    /// Hands over all packets that were [noted](Crew::note), and wakes who gets some: what is left of them has no frame.
    /// How many.
    pub fn hand<P: Port>(
        &mut self,
        packets: &mut [Packet],
        port: &mut P,
        fragments: &mut Fragments,
    ) -> usize {
        let mut handed = 0;
        for other in self.others.iter_mut().flatten() {
            handed += other.hand(packets, |packet| match packet.reassembled {
                None => port.give_away(&packet.frame),
                Some(_) => fragments.give_away(),
            });
        }
        handed
    }

    /// The end of a turn: frames that are owed are paid as far as any are free, and those paid by others are free from
    /// now on.
    #[inline]
    pub fn settle<P: Port>(&mut self, port: &mut P, is_idle: bool) {
        for other in self.others.iter_mut().flatten() {
            other.collect(port);
            other.pay(port, is_idle);
        }
        self.first = (self.first + 1) % self.others.len().max(1);
    }

    /// Lets `sleep` happen, unless something was handed over, and lets others end it.
    pub fn rest(&mut self, sleep: impl FnOnce()) {
        if self.others.is_empty() {
            return sleep();
        }
        self.seat.bell.lie_down();
        if !self.others.iter().flatten().any(Other::has_brought) {
            sleep();
        }
        self.seat.bell.rise();
    }

    /// The end of the worker, and of all others: the packets that it was handed last, for the worker to drop, when all
    /// free frames that others paid are its own.
    pub fn clear<P: Port>(
        &mut self,
        batch: &mut Batch,
        port: &mut P,
        fragments: &mut Fragments,
    ) -> usize {
        for other in self.others.iter_mut().flatten() {
            other.collect(port);
        }
        self.take(batch, batch.room(), port, fragments)
    }

    /// Which worker puts together the datagram of a fragment: its fragments need not all come in on one queue.
    pub fn gatherer(&self, fragment: &Fragment<'_>) -> u16 {
        let (protocol, id) = (fragment.protocol, fragment.id);
        let hash = match fragment.ip {
            IpHeader::V4(ip) => (self.spread).hash_one((ip.source, ip.destination, protocol, id)),
            IpHeader::V6(ip) => (self.spread).hash_one((ip.source, ip.destination, protocol, id)),
        };
        // No more than MAX_WORKERS.
        (hash % self.others.len().max(1) as u64) as u16
    }
}

//! A conn's end: by its time-out, for its server's removal, or for a new conn.

use arrayvec::ArrayVec;
use lb_model::{ConnId, ConnState, Direction, FlowHash, Time};

use super::key::Key;
use super::{ConnTable, NONE};
use crate::entry::Life;
use crate::fifo::Fifo;
use crate::sign::{Owes, Sign};
use crate::wheel::MOVES;

/// Entries that a turn looks at in search of conns whose servers were removed. All may be such, and to end one takes some
/// three cache lines from memory, besides those that end by their time-outs.
const SWEEP_PER_TURN: usize = 64;

/// Conns that end together: the places in the index of all of them are asked for before those of the first are needed.
const TOGETHER: usize = 16;

type Together = ArrayVec<(u32, Hashes), TOGETHER>;

/// Of the flows that a conn is found by, in [`DIRECTIONS`].
type Hashes = [Option<FlowHash>; 2];

const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

impl ConnTable {
    /// Ends conns whose time-out is over at `now`, as many as it finds by looking at `limit` of them, and templates likewise,
    /// by looking at half as many; returns how many conns.
    pub fn expire(&mut self, now: Time, limit: usize) -> usize {
        let (mut looked_at, mut ended) = (0, 0);
        let mut moves = MOVES;
        while looked_at < limit {
            let most = TOGETHER.min(limit - looked_at);
            let mut over = self.half_open_and_over(now, most);
            if over.is_empty() {
                self.wheel
                    .advance(&mut self.entries.timed(now), now, &mut moves);
                over = self.due(now, most);
            }
            if over.is_empty() {
                break;
            }
            looked_at += over.len();
            for (id, hashes) in over {
                let entry = self.entries.get(id);
                if entry.is_over(now) {
                    if entry.state == ConnState::SynRecv && entry.owes == Owes::Answer {
                        let slot = self.dest(ConnId(id)).slot();
                        self.signs.show(slot, Sign::Unanswered);
                    }
                    self.end(ConnId(id), hashes, now);
                    ended += 1;
                } else {
                    self.wheel.set(&mut self.entries.timed(now), id);
                }
            }
        }
        self.at_limit = looked_at == limit;
        self.sweep(now);
        self.vacate(now);
        self.templates.expire(now, limit.div_ceil(2), &mut moves);
        ended
    }

    /// The half-open conns that have been quiet for longest, as far as their time is over.
    fn half_open_and_over(&self, now: Time, most: usize) -> Together {
        let mut over = Together::new();
        let mut next = self.half_open.first();
        while let Some(id) = next
            && over.len() < most
            && self.entries.get(id).is_over(now)
        {
            over.push((id, self.asked_for(id)));
            next = Fifo::after(&self.entries.get(id).link);
        }
        over
    }

    /// Takes conns out of the wheel whose time was over when they were put there.
    fn due(&mut self, now: Time, most: usize) -> Together {
        let mut due = Together::new();
        while due.len() < most
            && let Some(id) = self.wheel.take_due(&mut self.entries.timed(now))
        {
            due.push((id, self.asked_for(id)));
        }
        due
    }

    /// The hashes of a conn's keys, whose places in the index are asked for.
    fn asked_for(&self, id: u32) -> Hashes {
        let hashes = self.hashes(ConnId(id));
        for hash in hashes.into_iter().flatten() {
            self.prefetch(self.place(hash));
        }
        hashes
    }

    /// Whether the last [`expire`](ConnTable::expire) had more to do than it may at once.
    pub fn is_behind(&self) -> bool {
        self.at_limit
            || self.wheel.is_behind()
            || self.sweep.is_some()
            || self.templates.is_behind()
    }

    /// Makes the places of conns that have ended free for others.
    fn vacate(&mut self, now: Time) {
        while self.retired != NONE {
            self.vacate_last(now);
        }
    }

    /// The place of the one that has ended last.
    fn vacate_last(&mut self, now: Time) {
        let id = self.retired;
        self.retired = self.entries.get(id).link.next;
        let conn = self.conn(ConnId(id));
        let (local, rip, protocol) = (conn.local(), conn.rip(), conn.protocol());
        if local.is_some() {
            conn.dest().port_returned();
        }
        self.return_port(local, rip, protocol, now);
        self.dests.let_go(self.entries.get(id).record.dest());
        self.entries.vacate(id);
    }

    /// Ends all conns whose server was removed, and the templates that lead there and hold no conn (kernel
    /// `ip_vs_expire_nodest_conn_flush`): some hundred at the next [`expire`](ConnTable::expire), the others with
    /// those after it.
    pub fn retire_of_removed_dests(&mut self) {
        self.sweep = Some(0);
    }

    fn sweep(&mut self, now: Time) {
        let Some(start) = self.sweep else { return };
        let mut ids = self.entries.used_from(start);
        for _ in 0..SWEEP_PER_TURN / TOGETHER {
            let mut gone = Together::new();
            for id in ids.by_ref().take(TOGETHER) {
                let is_found = self.entries.get(id).life == Life::Found;
                if is_found && !self.dest(ConnId(id)).is_available() {
                    gone.push((id, self.asked_for(id)));
                }
            }
            for (id, hashes) in gone {
                self.end(ConnId(id), hashes, now);
            }
        }
        self.sweep = ids.next();
        if self.sweep.is_none() {
            // Now that no conn of theirs holds them.
            self.templates.end_of_removed_dests();
        }
    }

    /// Ends a conn now: it is not found and not counted any more. Ids of it stay good until the next
    /// [`expire`](ConnTable::expire).
    pub fn retire(&mut self, id: ConnId) {
        // To take a timer out of its list, the time does not matter.
        self.retire_at(id, Time::ZERO);
    }

    fn retire_at(&mut self, id: ConnId, now: Time) {
        let hashes = self.hashes(id);
        self.end(id, hashes, now);
    }

    /// Ends a conn that nobody knows of yet, and makes its place free.
    #[cold]
    pub(super) fn undo(&mut self, id: ConnId, now: Time) {
        self.retire_at(id, now);
        self.vacate_last(now);
    }

    fn hashes(&self, id: ConnId) -> Hashes {
        let conn = self.conn(id);
        let hash = |flow| self.flow_hash(&flow);
        [Some(hash(conn.flow())), conn.reply().map(hash)]
    }

    /// Ends the conn at `id`, of whose keys these are the hashes.
    fn end(&mut self, id: ConnId, hashes: Hashes, now: Time) {
        let entry = self.entries.get(id.0);
        if entry.life != Life::Found {
            return;
        }
        let (state, template) = (entry.state, entry.template());
        self.dest(id).conn_ended(state.is_active());
        for (hash, direction) in hashes.into_iter().zip(DIRECTIONS) {
            let Some(hash) = hash else { continue };
            // A conn for one packet never was in the index, one that found no room only in part.
            let place = Key::new(id, direction).0;
            let removed = self.index.remove(self.place(hash), place);
            if let Some(claims) = &self.claims
                && removed
            {
                claims.give_up(hash.0);
            }
        }
        if let Some(template) = template {
            self.templates.let_go(template);
        }
        self.unset_timer(id, state, now);
        let entry = self.entries.get_mut(id.0);
        entry.life = Life::Retired;
        entry.link.next = std::mem::replace(&mut self.retired, id.0);
        self.found -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACK, SYN, at, conn, dest, inbound, table};
    use super::*;
    use lb_model::{Hit, Protocol};
    use lb_wire::TcpFlags;
    use std::sync::Arc;

    #[test]
    fn a_retired_conn_is_gone_for_all_but_the_batch_that_still_names_it() {
        let mut table = table(1);
        let dest = dest();
        let old = conn(1, Protocol::Tcp, &dest, true);
        let flow = old.flow;
        let id = table.open(old, None, SYN, at(0)).expect("room");
        table.retire(id);
        table.retire(id);
        table.packet(
            Hit {
                conn: id,
                direction: Direction::Outbound,
            },
            ACK,
            at(0),
        );
        assert_eq!((table.find(&flow), dest.total(), table.len()), (None, 0, 0));
        assert_eq!(table.conn(id).flow(), flow);
        let new = table
            .open(old, None, SYN, at(0))
            .expect("there are spare places");
        assert_ne!(new, id);
        table.expire(at(0), 9);
        assert_eq!(table.find(&flow).map(|hit| hit.conn), Some(new));
    }

    #[test]
    fn half_open_conns_end_by_their_last_packet() {
        let (mut table, dest) = (table(2), dest());
        let mut hits = [1, 2].map(|cport| {
            let conn = conn(cport, Protocol::Tcp, &dest, true);
            inbound(table.open(conn, None, SYN, at(0)).expect("room"))
        });
        table.packet(hits[0], SYN, at(30));
        assert_eq!(table.expire(at(59), 9), 0);
        assert_eq!(table.expire(at(61), 9), 1);
        hits.reverse();
        assert_eq!(table.state(hits[1].conn), ConnState::SynRecv);
        assert_eq!(table.expire(at(91), 9), 1);
    }

    #[test]
    fn conns_whose_time_is_over_end_a_number_at_a_time_until_none_is_behind() {
        const CONNS: u16 = 1_500;
        const LIMIT: usize = 256;
        let (mut table, dest) = (table(CONNS.into()), dest());
        for cport in 0..CONNS {
            let conn = conn(cport, Protocol::Udp, &dest, false);
            table
                .open(conn, None, TcpFlags::default(), at(0))
                .expect("room");
        }
        let mut ended = Vec::new();
        while ended.is_empty() || table.is_behind() {
            ended.push(table.expire(at(400), LIMIT));
        }
        assert!(ended.iter().all(|ended| *ended <= LIMIT), "{ended:?}");
        assert_eq!(ended.iter().sum::<usize>(), CONNS.into());
        assert!(table.is_empty());
    }

    #[test]
    fn conns_of_a_removed_server_end_a_number_at_a_time() {
        const CONNS: u16 = 3 * SWEEP_PER_TURN as u16 / 2;
        let (mut table, gone, stays) = (table(2 * u32::from(CONNS)), dest(), dest());
        for cport in 0..CONNS {
            for dest in [&gone, &stays] {
                let mut conn = conn(cport, Protocol::Tcp, dest, false);
                conn.flow.destination.port = if Arc::ptr_eq(dest, &gone) { 80 } else { 81 };
                table.open(conn, None, SYN, at(0)).expect("room");
            }
        }
        gone.removed();
        table.retire_of_removed_dests();
        for left in [2, 1, 0] {
            table.expire(at(0), 9);
            let expected = u32::from(CONNS) * left / 3;
            assert_eq!((gone.total(), stays.total()), (expected, CONNS.into()));
        }
        assert_eq!(table.len(), CONNS.into());
    }
}

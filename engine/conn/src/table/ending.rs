//! A conn's end: by its time-out, for its server's removal, or for a new conn.

use lb_model::{ConnId, Direction, Time};

use super::key::Key;
use super::{ConnTable, NONE};
use crate::entry::Life;
use crate::sign::{Owes, Sign};

/// Entries that a turn looks at in search of conns whose servers were removed. All may be such, and to end one takes some
/// three cache lines from memory: altogether that is to stay below 50 microseconds.
const SWEEP_PER_TURN: usize = 256;

impl ConnTable {
    /// Ends conns whose time-out is over at `now`, at most `limit` of them, and templates likewise; returns how many
    /// conns.
    pub fn expire(&mut self, now: Time, limit: usize) -> usize {
        let mut ended = 0;
        while ended < limit
            && let Some(id) = self.half_open.first()
            && self.entries.get(id).is_over(now)
        {
            let entry = self.entries.get(id);
            if entry.owes == Owes::Answer {
                let slot = self.dests.get(entry.record.dest()).slot();
                self.signs.show(slot, Sign::Unanswered);
            }
            self.retire_at(ConnId(id), now);
            ended += 1;
        }
        self.wheel.advance(&mut self.entries.timed(now), now);
        while ended < limit
            && let Some(id) = self.wheel.take_due(&mut self.entries.timed(now))
        {
            if self.entries.get(id).is_over(now) {
                self.retire_at(ConnId(id), now);
                ended += 1;
            } else {
                self.wheel.set(&mut self.entries.timed(now), id);
            }
        }
        self.at_limit = ended == limit;
        self.sweep(now);
        self.vacate(now);
        self.templates.expire(now, limit);
        ended
    }

    /// Whether the last [`expire`](ConnTable::expire) had more to do than it may at once.
    pub fn is_behind(&self) -> bool {
        self.at_limit || self.wheel.is_behind() || self.sweep.is_some()
    }

    /// Makes the places of conns that have ended free for others.
    fn vacate(&mut self, now: Time) {
        while self.retired != NONE {
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
        for id in ids.by_ref().take(SWEEP_PER_TURN) {
            let entry = self.entries.get(id);
            let dest = || self.dests.get(entry.record.dest());
            if entry.life == Life::Found && !dest().is_available() {
                self.retire_at(ConnId(id), now);
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
        let entry = self.entries.get(id.0);
        if entry.life != Life::Found {
            return;
        }
        let (state, template) = (entry.state, entry.template());
        let conn = self.conn(id);
        let keys = [
            (Some(conn.flow()), Direction::Inbound),
            (conn.reply(), Direction::Outbound),
        ];
        conn.dest().conn_ended(state.is_active());
        for (flow, direction) in keys {
            if let Some(flow) = flow {
                let hash = self.hash(&flow);
                // A conn for one packet never was in the index, one that found no room only in part.
                let removed = self.index.remove(hash, Key::new(id, direction).0);
                if let Some(claims) = &self.claims
                    && removed
                {
                    claims.give_up(self.hasher.hash(&flow));
                }
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
    use lb_model::{ConnState, Hit, Protocol};
    use lb_wire::TcpFlags;
    use std::sync::Arc;

    #[test]
    fn a_retired_conn_is_gone_for_all_but_the_batch_that_still_names_it() {
        let mut table = table(1);
        let dest = dest();
        let old = conn(1, Protocol::Tcp, &dest, true);
        let flow = old.flow;
        let id = table.open(old.clone(), None, SYN, at(0)).expect("room");
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

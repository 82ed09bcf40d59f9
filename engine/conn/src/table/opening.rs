//! A conn's beginning: an entry, its keys in the index, its count at its server.

use lb_model::{ConnId, ConnState, Direction, Endpoint, FlowHash, NewConn, Protocol, Time};
use lb_wire::TcpFlags;

use super::ConnTable;
use super::key::Key;
use crate::entry::{Born, Life, Stamp};
use crate::sign::Owes;
use crate::{TemplateId, next_state};

/// Why a conn was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many conns as the table was made for.
    Full,
    /// Another conn's outbound packets look the same.
    ReplyTaken,
}

/// A conn whose outbound packets are not found yet.
#[derive(Clone, Copy)]
#[must_use = "a conn that is begun has to be completed"]
pub struct Begun {
    /// The conn.
    pub conn: ConnId,
    reply: Option<FlowHash>,
}

impl Begun {
    /// What they hash to, if there are any.
    #[inline]
    pub fn reply(&self) -> Option<FlowHash> {
        self.reply
    }
}

impl ConnTable {
    /// Opens a conn for its first packet, which carries `flags` and comes in at `now`; `template` is the one that
    /// made it. A full table ends the half-open conn that has been quiet for longest to make room, but never another.
    ///
    /// Its flow must not be in the table. The local port that it has leased is its own until it ends, also if that is now.
    pub fn open(
        &mut self,
        conn: NewConn<'_>,
        template: Option<TemplateId>,
        flags: TcpFlags,
        now: Time,
    ) -> Result<ConnId, Refused> {
        let begun = self.begin(self.flow_hash(&conn.flow), &conn, template, flags, now)?;
        let id = begun.conn;
        self.complete(begun, now)?;
        Ok(id)
    }

    /// The first half of [`open`](ConnTable::open), by who knows the hash of its flow already: all but that the conn's outbound
    /// packets are found. The memory that this takes is asked for. Other conns may begin before it is
    /// [completed](ConnTable::complete), but none may be looked for by its outbound flow.
    #[inline]
    pub fn begin(
        &mut self,
        hash: FlowHash,
        conn: &NewConn<'_>,
        template: Option<TemplateId>,
        flags: TcpFlags,
        now: Time,
    ) -> Result<Begun, Refused> {
        let reply = conn.reply().map(|reply| self.flow_hash(&reply));
        if let Some(hash) = reply {
            self.prefetch(self.place(hash));
            if let Some(claims) = &self.claims {
                claims.prefetch(hash.0);
            }
        }
        let id = self.insert(conn, template, flags, now)?;
        let conn = ConnId(id);
        if !self.enter(hash, Key::new(conn, Direction::Inbound)) {
            self.undo(conn, now);
            return Err(Refused::Full);
        }
        Ok(Begun { conn, reply })
    }

    /// The second half: from now on the conn's outbound packets are found, if there are any. A conn that is refused has never
    /// been there, and ids of it are void.
    #[inline]
    pub fn complete(&mut self, begun: Begun, now: Time) -> Result<(), Refused> {
        let Begun { conn, reply } = begun;
        let Some(hash) = reply else { return Ok(()) };
        if self.entries.get(conn.0).life != Life::Found {
            // It has made room for another one already.
            return Ok(());
        }
        let place = self.place(hash);
        let is_the_same = |key| {
            let reply = self.conn(conn).reply();
            reply.is_some_and(|reply| self.is_of(key, &reply))
        };
        let refused = if self.index.find(place, is_the_same).is_some() {
            Refused::ReplyTaken
        } else if !self.enter(hash, Key::new(conn, Direction::Outbound)) {
            Refused::Full
        } else {
            return Ok(());
        };
        self.undo(conn, now);
        Err(refused)
    }

    /// Opens a conn for one packet only (one-packet scheduling): it is never found, and counted just for a moment.
    pub fn begin_for_one_packet(
        &mut self,
        conn: &NewConn<'_>,
        template: Option<TemplateId>,
        now: Time,
    ) -> Result<Begun, Refused> {
        let conn = ConnId(self.insert(conn, template, TcpFlags::default(), now)?);
        self.retire(conn);
        Ok(Begun { conn, reply: None })
    }

    /// Has a conn found under this hash; false if there is no room.
    fn enter(&mut self, hash: FlowHash, key: Key) -> bool {
        let entered = self.index.insert(self.place(hash), key.0);
        if let Some(claims) = &self.claims
            && entered
            && !claims.claim(hash.0)
        {
            self.unclaimed += 1;
        }
        entered
    }

    /// Makes the entry of a conn in the state that its first packet brings it into, counts it, and sets its timer.
    #[inline]
    fn insert(
        &mut self,
        conn: &NewConn<'_>,
        template: Option<TemplateId>,
        flags: TcpFlags,
        now: Time,
    ) -> Result<u32, Refused> {
        if self.found == self.capacity {
            self.make_room();
        }
        let unborn = match conn.flow.protocol {
            Protocol::Tcp | Protocol::Sctp => ConnState::None,
            Protocol::Udp => ConnState::Udp,
        };
        let two_way = conn.replies.pass_through_us();
        let state = next_state(unborn, Direction::Inbound, flags, two_way, self.secure_tcp);
        let born = Born {
            state,
            owes: Owes::at_first(state, flags, two_way),
            stamp: Stamp::of(now),
            timeout: self.timeouts_ms[state as usize],
            template,
        };
        let dest = self.dests.hold(conn.dest);
        let id = (self.found < self.capacity)
            .then(|| self.entries.insert(conn, dest, &born))
            .flatten();
        let Some(id) = id else {
            self.dests.let_go(dest);
            self.return_port(conn.local, conn.rip, conn.flow.protocol, now);
            return Err(Refused::Full);
        };
        self.found += 1;
        conn.dest.conn_opened(state.is_active());
        if conn.local.is_some() {
            conn.dest.port_leased();
        }
        if let Some(template) = template {
            self.templates.hold(template, now);
            if state == ConnState::Established {
                self.templates.assure(template);
            }
        }
        let mut timed = self.entries.timed(now);
        if state == ConnState::SynRecv {
            self.half_open.push(&mut timed, id);
        } else {
            let due = timed.after(born.timeout);
            self.wheel.add_due(&mut timed, id, due);
        }
        Ok(id)
    }

    /// Ends the half-open conn that has been quiet for longest, if there is one.
    #[inline(never)]
    fn make_room(&mut self) {
        if let Some(oldest) = self.half_open.first() {
            self.retire(ConnId(oldest));
            self.evicted += 1;
        }
    }

    pub(super) fn return_port(
        &mut self,
        local: Option<Endpoint>,
        rip: Endpoint,
        protocol: Protocol,
        now: Time,
    ) {
        if let Some(local) = local {
            self.ports.give_back(local, rip, protocol, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACK, SYN, at, conn, dest, inbound, table};
    use super::*;
    use lb_model::{Addr, Replies};

    #[test]
    fn a_full_table_refuses_and_a_place_is_used_again() {
        let mut table = table(2);
        let dest = dest();
        for cport in [1, 2] {
            table
                .open(conn(cport, Protocol::Udp, &dest, true), None, SYN, at(0))
                .expect("room");
        }
        assert_eq!(
            table.open(conn(3, Protocol::Udp, &dest, true), None, SYN, at(0)),
            Err(Refused::Full)
        );
        assert_eq!(table.expire(at(400), 1), 1, "the limit holds");
        table
            .open(conn(3, Protocol::Udp, &dest, true), None, SYN, at(400))
            .expect("room again");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn two_conns_cannot_share_a_reply_tuple() {
        let mut table = table(4);
        let dest = dest();
        table
            .open(conn(1, Protocol::Tcp, &dest, true), None, SYN, at(0))
            .expect("room");
        let mut other = conn(1, Protocol::Tcp, &dest, true);
        other.flow.destination.port = 81;
        assert_eq!(
            table.open(other, None, SYN, at(0)),
            Err(Refused::ReplyTaken)
        );
        assert_eq!((table.len(), dest.active()), (1, 1), "nothing half opened");
    }

    #[test]
    fn conns_begin_together_and_one_whose_reply_is_taken_leaves_nothing() {
        let (mut table, dest) = (table(4), dest());
        // More often than there are places.
        for round in 0..200 {
            let first = conn(1, Protocol::Udp, &dest, true);
            let mut second = first;
            second.flow.destination.port = 81;
            let begun = [first, second].map(|conn| {
                let hash = table.flow_hash(&conn.flow);
                let begun = table.begin(hash, &conn, None, TcpFlags::default(), at(round));
                begun.map(|begun| (begun, conn)).expect("room")
            });
            let found = |table: &ConnTable, conn: &NewConn<'_>| {
                let reply = conn.reply().expect("two-way");
                [conn.flow, reply].map(|flow| table.find(&flow).is_some())
            };
            assert_eq!(found(&table, &begun[0].1), [true, false]);
            let completed = begun.map(|(begun, _)| table.complete(begun, at(round)));
            assert_eq!(completed, [Ok(()), Err(Refused::ReplyTaken)]);
            assert_eq!(found(&table, &first), [true, true]);
            assert_eq!(found(&table, &second), [false, true], "that of the first");
            assert_eq!((table.len(), dest.total()), (1, 1));
            table.retire(begun[0].0.conn);
            table.expire(at(round), 9);
        }
    }

    #[test]
    fn a_conn_that_makes_room_before_it_is_complete_is_not_found() {
        let (mut table, dest) = (table(1), dest());
        let begun = [1, 2].map(|cport| {
            let conn = conn(cport, Protocol::Tcp, &dest, true);
            let begun = table.begin(table.flow_hash(&conn.flow), &conn, None, SYN, at(0));
            (begun.expect("room, or made"), conn)
        });
        for (begun, _) in &begun {
            assert_eq!(table.complete(*begun, at(0)), Ok(()));
        }
        let found = begun.map(|(_, conn)| {
            let reply = conn.reply().expect("two-way");
            [conn.flow, reply].map(|flow| table.find(&flow).is_some())
        });
        assert_eq!(found, [[false; 2], [true; 2]]);
        assert_eq!((table.len(), dest.total()), (1, 1));
    }

    #[test]
    fn a_full_table_ends_the_half_open_conn_that_is_quiet_for_longest_and_no_other() {
        let (mut table, dest) = (table(3), dest());
        let open = |table: &mut ConnTable, cport, second| {
            let conn = conn(cport, Protocol::Tcp, &dest, true);
            let flow = conn.flow;
            let opened = table.open(conn, None, SYN, at(second));
            table.expire(at(second), 9);
            opened.map(|id| (flow, inbound(id)))
        };
        let (flows, hits): (Vec<_>, Vec<_>) = (1..=3)
            .map(|cport| open(&mut table, cport, 0).expect("room"))
            .unzip();
        // The first is established, the second has sent its SYN again.
        table.packet(hits[0], ACK, at(1));
        table.packet(hits[1], SYN, at(1));
        let found = |table: &ConnTable| {
            flows
                .iter()
                .map(|flow| table.find(flow).is_some())
                .collect::<Vec<_>>()
        };
        let (_, fourth) = open(&mut table, 4, 2).expect("in place of the third");
        assert_eq!(found(&table), [true, true, false]);
        let (_, fifth) = open(&mut table, 5, 3).expect("in place of the second");
        assert_eq!(found(&table), [true, false, false]);
        assert_eq!((table.take_evicted(), table.take_evicted()), (2, 0));
        for hit in [fourth, fifth] {
            table.packet(hit, ACK, at(4));
        }
        assert!(matches!(open(&mut table, 6, 5), Err(Refused::Full)));
        assert_eq!(
            (table.len(), dest.active(), table.take_evicted()),
            (3, 3, 0)
        );
    }

    #[test]
    fn a_conn_for_one_packet_is_never_found_and_counted_by_nobody_after_it() {
        let (mut table, dest) = (table(1), dest());
        let conn = conn(1, Protocol::Udp, &dest, false);
        let flow = conn.flow;
        let id = table.begin_for_one_packet(&conn, None, at(0));
        let id = id.expect("room").conn;
        assert_eq!(table.conn(id).flow(), flow);
        assert_eq!((table.find(&flow), dest.total()), (None, 0));
        table.expire(at(0), 9);
        assert!(table.is_empty());
    }

    #[test]
    fn a_local_port_is_leased_until_its_conn_has_ended_or_was_refused() {
        let (mut table, dest) = (table(1), dest());
        let locals = [Addr::v4([10, 1, 0, 2])];
        let open = |table: &mut ConnTable, cport| {
            let lease = table.ports_mut();
            let leased = lease.lease(&locals, 0, &dest.rip(), Protocol::Tcp, at(0));
            let (lip, port) = leased.expect("a free port");
            let mut conn = conn(cport, Protocol::Tcp, &dest, true);
            conn.local = Some(Endpoint::new(*lip, port));
            conn.replies = Replies::ToLocalAddress;
            table.open(conn, None, SYN, at(0))
        };
        let id = open(&mut table, 1).expect("room");
        let reply = table.conn(id).reply().expect("two-way");
        assert_eq!(reply.destination, Endpoint::new(locals[0], 1024));
        assert_eq!(dest.leased(), 1);
        table.packet(inbound(id), ACK, at(0));
        // Each takes the one port that is left, and gives it back.
        for cport in [2, 3] {
            assert_eq!(open(&mut table, cport), Err(Refused::Full));
        }
        table.retire(id);
        assert_eq!((table.find(&reply), dest.leased()), (None, 1));
        table.expire(at(0), 9);
        assert_eq!(dest.leased(), 0);
        let id = open(&mut table, 4).expect("room");
        assert_eq!(table.conn(id).local(), Some(Endpoint::new(locals[0], 1025)));
    }

    #[test]
    fn a_table_takes_all_the_conns_it_was_made_for_and_not_one_more() {
        let dest = dest();
        let new = |number: u32| {
            let [.., high, low] = number.to_be_bytes();
            let mut conn = conn(1024, Protocol::Udp, &dest, true);
            conn.flow.source.addr = Addr::v4([192, 0, high, low]);
            conn
        };
        // Each draws its own hash function.
        for capacity in (1..=40).chain([100, 300]) {
            for _ in 0..20 {
                let mut table = table(capacity);
                let mut open = |number: u32, second| {
                    table.expire(at(second), usize::MAX);
                    while table.is_behind() {
                        table.expire(at(second), usize::MAX);
                    }
                    table.open(new(number), None, TcpFlags::default(), at(second))
                };
                // Those of the first round have ended when those of the next come.
                for (round, second) in [(0, 0), (1, 400), (2, 800)] {
                    let numbers = round * capacity..(round + 1) * capacity;
                    let refused = numbers.filter(|number| open(*number, second).is_err());
                    assert_eq!(refused.count(), 0, "of {capacity}");
                    assert_eq!(open(u32::MAX, second), Err(Refused::Full));
                }
            }
        }
    }
}

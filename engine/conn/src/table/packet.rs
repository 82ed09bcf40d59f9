//! What a packet changes of its conn: state, time-out, timer.

use lb_model::{Conn, ConnId, ConnState, Direction, Hit, Time};
use lb_wire::TcpFlags;

use super::ConnTable;
use crate::entry::{End, Life, Stamp};
use crate::next_state;
use crate::sign::Sign;

impl ConnTable {
    /// Notes a packet that is [plain](lb_wire::Parsed::is_plain), which an established conn only lives longer for; the conn.
    /// `None`, and nothing noted, if more may follow from it: [`packet`](ConnTable::packet) does the same for any.
    #[inline(always)]
    pub fn prolong(&mut self, hit: Hit, stamp: Stamp) -> Option<Conn<'_>> {
        let (conn, direction) = (hit.conn, hit.direction);
        let timeouts = &self.timeouts_ms;
        let (record, wide) = self.entries.prolong(conn.0, direction, stamp, timeouts)?;
        Some(Conn::new(record, wide, self.dests.get(record.dest())))
    }

    /// Notes a packet of a conn: its state moves as the flags say and its time-out starts anew.
    pub fn packet(&mut self, hit: Hit, flags: TcpFlags, now: Time) {
        self.note(hit.conn, hit.direction, flags, now);
    }

    #[inline(always)]
    fn note(&mut self, id: ConnId, direction: Direction, flags: TcpFlags, now: Time) {
        let entry = self.entries.get_mut(id.0);
        if entry.life != Life::Found {
            return;
        }
        let before = entry.state;
        let two_way = entry.record.replies().pass_through_us();
        let state = next_state(before, direction, flags, two_way, self.secure_tcp);
        if state != before && state.is_active() != before.is_active() {
            let dest = self.dests.get(entry.record.dest());
            dest.conn_became(state.is_active());
        }
        if entry.assures && state.is_answered_by(direction) {
            entry.assures = false;
            if let Some(template) = entry.template() {
                self.templates.assure(template);
            }
        }
        if state != before || before == ConnState::SynRecv {
            let quiet_ms = entry.quiet_ms(now);
            if let Some(sign) = entry.owes.note(before, direction, flags, quiet_ms) {
                let slot = self.dests.get(entry.record.dest()).slot();
                self.signs.show(slot, sign);
            }
        }
        entry.state = state;
        // A timer that stands too early is set anew when it fires; one that stands too late must move now.
        let end = entry.touch(now, self.timeouts_ms[state as usize]);
        let queued = ConnState::SynRecv;
        if state == before && end == End::Same {
            // As for the packet that has just opened the conn.
            return;
        }
        if end == End::Earlier || before == queued || state == queued {
            self.unset_timer(id, before, now);
            let mut timed = self.entries.timed(now);
            if state == queued {
                self.half_open.push(&mut timed, id.0);
            } else {
                self.wheel.add(&mut timed, id.0);
            }
        }
    }

    /// What servers have shown since this was last asked, with their slots; to be asked once a turn.
    pub fn signs(&mut self) -> impl Iterator<Item = (u32, Sign)> {
        self.signs.drain()
    }

    pub(super) fn unset_timer(&mut self, id: ConnId, state: ConnState, now: Time) {
        let mut timed = self.entries.timed(now);
        if state == ConnState::SynRecv {
            self.half_open.remove(&mut timed, id.0);
        } else {
            self.wheel.clear(&mut timed, id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACK, SYN, at, conn, dest, table};
    use super::*;
    use crate::Timeouts;
    use lb_model::Protocol;
    use std::time::Duration;

    #[test]
    fn packets_keep_a_conn_alive_and_a_close_shortens_its_life() {
        let mut table = table(4);
        let dest = dest();
        let id = table
            .open(conn(4000, Protocol::Tcp, &dest, true), None, SYN, at(0))
            .expect("room");
        let inbound = Hit {
            conn: id,
            direction: Direction::Inbound,
        };
        assert_eq!((table.state(id), dest.active()), (ConnState::SynRecv, 1));
        table.packet(inbound, ACK, at(1));
        assert_eq!(table.expire(at(62), 9), 0, "established lives 900 s");
        table.packet(inbound, ACK, at(800));
        assert_eq!(table.expire(at(1000), 9), 0);
        table.packet(inbound, TcpFlags::RST, at(1000));
        assert_eq!(
            (table.state(id), dest.active(), dest.inactive()),
            (ConnState::Close, 0, 1)
        );
        assert_eq!(table.expire(at(1009), 9), 0);
        assert_eq!(table.expire(at(1011), 9), 1);
    }

    #[test]
    fn a_template_is_assured_by_an_answer() {
        let (mut table, dest) = (table(2), dest());
        let conn = conn(1, Protocol::Udp, &dest, true);
        let key = crate::TemplateKey {
            client: conn.flow.source.addr,
            asked: crate::Asked::Mark(1),
        };
        let minute = Duration::from_secs(60);
        let template = table
            .templates_mut()
            .open(key, &dest, |_| true, minute, at(0));
        let template = template.expect("room");
        let id = table.open(conn, Some(template), SYN, at(0)).expect("room");
        for (direction, assured) in [(Direction::Inbound, false), (Direction::Outbound, true)] {
            let hit = Hit {
                conn: id,
                direction,
            };
            table.packet(hit, ACK, at(1));
            assert_eq!(table.templates().get(template).assured, assured);
        }
    }

    #[test]
    fn other_time_outs_count_from_the_next_packet_on() {
        let (mut table, dest) = (table(2), dest());
        let mut ids = [1, 2].map(|cport| {
            table
                .open(conn(cport, Protocol::Udp, &dest, true), None, SYN, at(0))
                .expect("room")
        });
        table.set_timeouts(Timeouts::default().with(ConnState::Udp, Duration::from_secs(5)));
        ids.reverse();
        table.packet(
            Hit {
                conn: ids[0],
                direction: Direction::Inbound,
            },
            TcpFlags::default(),
            at(1),
        );
        assert_eq!(table.expire(at(7), 9), 1);
        assert_eq!(table.expire(at(299), 9), 0);
        assert_eq!(table.expire(at(301), 9), 1);
    }
}

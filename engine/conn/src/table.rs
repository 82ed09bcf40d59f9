//! The table: a slab of entries, an index of flow keys over it, a wheel of time-outs beside it.

use std::time::Duration;

use lb_model::{Conn, ConnId, ConnState, Direction, FlowKey, Hit, Protocol, Time};
use lb_wire::TcpFlags;

use crate::hash::FlowHasher;
use crate::index::{Hash, Index};
use crate::mem::prefetch;
use crate::wheel::Wheel;
use crate::{LocalPorts, TemplateId, Templates, Timeouts, next_state};

/// Why a conn was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many conns as the table was made for.
    Full,
    /// Another conn's outbound packets look the same.
    ReplyTaken,
}

struct Entry {
    conn: Conn,
    state: ConnState,
    last_packet: Time,
    /// The time-out of its state when its last packet came.
    timeout: Duration,
    /// The template that made it.
    template: Option<TemplateId>,
    life: Life,
}

#[derive(PartialEq, Eq)]
enum Life {
    /// Found by its flows and counted by its server.
    Found,
    /// Ended within this batch: neither found nor counted, but ids in the batch may still name it.
    Retired,
}

/// A conn as listings show it.
pub struct ConnView<'a> {
    /// The conn.
    pub conn: &'a Conn,
    /// Its state.
    pub state: ConnState,
    /// How long it lives on without a packet.
    pub expires_in: Duration,
}

/// The conns of one worker.
pub struct ConnTable {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Places are [`Key`]s.
    index: Index,
    hasher: FlowHasher,
    wheel: Wheel,
    timeouts: Timeouts,
    secure_tcp: bool,
    templates: Templates,
    ports: LocalPorts,
    retired: Vec<ConnId>,
}

/// One of a conn's keys: its place in the slab, shifted, and which of its two flows is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(u32);

impl Key {
    fn new(id: ConnId, direction: Direction) -> Key {
        Key(id.0 << 1 | u32::from(direction == Direction::Outbound))
    }

    #[inline(always)]
    fn hit(self) -> Hit {
        let direction = if self.0 & 1 == 0 {
            Direction::Inbound
        } else {
            Direction::Outbound
        };
        Hit {
            conn: ConnId(self.0 >> 1),
            direction,
        }
    }
}

/// The flow a key stands for; `None` for a key that no conn has, which the index never holds.
#[inline(always)]
fn flow_of(entries: &[Option<Entry>], key: Key) -> Option<FlowKey> {
    let Hit { conn, direction } = key.hit();
    let conn = &entries[conn.0 as usize].as_ref()?.conn;
    match direction {
        Direction::Inbound => Some(conn.flow),
        Direction::Outbound => conn.reply(),
    }
}

/// Whether a key stands for `flow`; looks at no more of the conn than it takes to know.
#[inline(always)]
fn is_flow_of(entries: &[Option<Entry>], key: Key, flow: &FlowKey) -> bool {
    let Hit { conn, direction } = key.hit();
    let Some(Entry { conn, .. }) = &entries[conn.0 as usize] else {
        return false;
    };
    match direction {
        Direction::Inbound => conn.flow == *flow,
        Direction::Outbound => {
            conn.rip == flow.source
                && conn.source() == flow.destination
                && conn.flow.protocol == flow.protocol
        }
    }
}

impl ConnTable {
    /// A table for `capacity` conns, with its memory reserved, whose conns lease `ports`.
    ///
    /// # Panics
    /// If `capacity` is above 2^30.
    pub fn new(capacity: u32, timeouts: Timeouts, ports: LocalPorts) -> ConnTable {
        assert!(
            capacity <= 1 << 30,
            "a conn's place and a direction fit the 31 bits of the index"
        );
        let mut entries = Vec::new();
        entries.resize_with(capacity as usize, || None);
        ConnTable {
            entries,
            free: (0..capacity).rev().collect(),
            index: Index::new(2 * u64::from(capacity)),
            hasher: FlowHasher::new(),
            wheel: Wheel::new(capacity as usize),
            timeouts,
            secure_tcp: false,
            templates: Templates::new(capacity),
            ports,
            retired: Vec::new(),
        }
    }

    /// Whether half-open conns are dealt with as in a flood of them, from their next packets on.
    pub fn set_secure_tcp(&mut self, secure: bool) {
        self.secure_tcp = secure;
    }

    /// Other time-outs, for every conn from its next packet on (ipvsadm `--set`).
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// The time-outs in force.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The persistence templates.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The persistence templates.
    pub fn templates_mut(&mut self) -> &mut Templates {
        &mut self.templates
    }

    /// The local ports that conns lease. [`open`](ConnTable::open) takes over a lease.
    pub fn ports_mut(&mut self) -> &mut LocalPorts {
        &mut self.ports
    }

    /// Every conn that can be found, in no particular order.
    pub fn iter(&self, now: Time) -> impl Iterator<Item = ConnView<'_>> {
        let found = |entry: &&Entry| entry.life == Life::Found;
        self.entries
            .iter()
            .flatten()
            .filter(found)
            .map(move |entry| ConnView {
                conn: &entry.conn,
                state: entry.state,
                expires_in: entry.timeout.saturating_sub(now.since(entry.last_packet)),
            })
    }

    /// How many conns it holds.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len() - self.retired.len()
    }

    /// Whether nothing in it will end by itself: no conns, no templates.
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.templates.is_empty()
    }

    /// How many conns it was made for.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The conn that a packet of this flow belongs to.
    #[inline]
    pub fn find(&self, flow: &FlowKey) -> Option<Hit> {
        self.find_hashed(self.hash(flow), flow)
    }

    /// What [`find_hashed`](ConnTable::find_hashed) wants to know of a flow.
    ///
    /// A batch is looked up in three rounds, so that its waits for memory overlap: hash all and
    /// [`prefetch`](ConnTable::prefetch), [`prefetch_conn`](ConnTable::prefetch_conn) for all, then find.
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> Hash {
        self.index.hash(self.hasher.hash(flow))
    }

    /// Asks for the memory in which a flow of this hash will be looked up.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.index.prefetch(hash);
    }

    /// Asks for the memory of the conn that will most likely be found under this hash.
    #[inline(always)]
    pub fn prefetch_conn(&self, hash: Hash) {
        if let Some(key) = self.index.guess(hash)
            && let Some(entry) = self.entries.get(Key(key).hit().conn.0 as usize)
        {
            prefetch(entry);
        }
    }

    /// The conn that a packet of this flow belongs to; `hash` is the [flow's](ConnTable::hash).
    #[inline(always)]
    pub fn find_hashed(&self, hash: Hash, flow: &FlowKey) -> Option<Hit> {
        let is_it = |key| is_flow_of(&self.entries, Key(key), flow);
        self.index.find(hash, is_it).map(|key| Key(key).hit())
    }

    /// The conn at `id`.
    ///
    /// # Panics
    /// If it has ended: an id is valid until the next [`expire`](ConnTable::expire).
    #[inline]
    pub fn conn(&self, id: ConnId) -> &Conn {
        &self.entry(id).conn
    }

    /// The state of the conn at `id`. Panics as [`conn`](ConnTable::conn) does.
    pub fn state(&self, id: ConnId) -> ConnState {
        self.entry(id).state
    }

    /// Whether a SYN on the conn at `id` is taken for a new connection rather than for one of its own packets (kernel
    /// `is_new_conn_expected`); `reuse_mode` is `net.ipv4.vs.conn_reuse_mode`.
    pub fn expects_new(&self, id: ConnId, reuse_mode: u8) -> bool {
        let entry = self.entry(id);
        if entry.template.is_some() || reuse_mode == 0 {
            return false;
        }
        let one_way = !entry.conn.replies.pass_through_us();
        match entry.state {
            ConnState::TimeWait | ConnState::Close => true,
            ConnState::FinWait => one_way && reuse_mode & 2 != 0,
            _ => false,
        }
    }

    /// Opens a conn for its first packet, which carries `flags` and comes in at `now`; `template` is the one that
    /// made it.
    ///
    /// Its flow must not be in the table. The local port that it has leased is its own until it ends, also if that is now.
    pub fn open(
        &mut self,
        conn: Conn,
        template: Option<TemplateId>,
        flags: TcpFlags,
        now: Time,
    ) -> Result<ConnId, Refused> {
        if conn
            .reply()
            .is_some_and(|reply| self.find(&reply).is_some())
        {
            self.return_port(&conn, now);
            return Err(Refused::ReplyTaken);
        }
        let id = self.insert(conn, template, now)?;
        let conn = &self.entry(id).conn;
        let keys = [
            Some((conn.flow, Direction::Inbound)),
            conn.reply().map(|reply| (reply, Direction::Outbound)),
        ];
        for (flow, direction) in keys.into_iter().flatten() {
            let hash = self.hash(&flow);
            if !self.index.insert(hash, Key::new(id, direction).0) {
                self.retire(id);
                return Err(Refused::Full);
            }
        }
        self.packet(
            Hit {
                conn: id,
                direction: Direction::Inbound,
            },
            flags,
            now,
        );
        Ok(id)
    }

    /// Opens a conn for one packet only (one-packet scheduling): it is never found, and counted just for a moment.
    pub fn open_for_one_packet(
        &mut self,
        conn: Conn,
        template: Option<TemplateId>,
        now: Time,
    ) -> Result<ConnId, Refused> {
        let id = self.insert(conn, template, now)?;
        self.packet(
            Hit {
                conn: id,
                direction: Direction::Inbound,
            },
            TcpFlags::default(),
            now,
        );
        self.retire(id);
        Ok(id)
    }

    fn insert(
        &mut self,
        conn: Conn,
        template: Option<TemplateId>,
        now: Time,
    ) -> Result<ConnId, Refused> {
        let Some(id) = self.free.pop().map(ConnId) else {
            self.return_port(&conn, now);
            return Err(Refused::Full);
        };
        let state = match conn.flow.protocol {
            Protocol::Tcp | Protocol::Sctp => ConnState::None,
            Protocol::Udp => ConnState::Udp,
        };
        let timeout = self.timeouts.of(state);
        // As the kernel's ip_vs_bind_dest: a conn is born inactive, and its first packet may make it active.
        conn.dest.conn_opened(false);
        if conn.local.is_some() {
            conn.dest.port_leased();
        }
        if let Some(template) = template {
            self.templates.hold(template, now);
        }
        self.entries[id.0 as usize] = Some(Entry {
            conn,
            state,
            last_packet: now,
            timeout,
            template,
            life: Life::Found,
        });
        self.wheel.set(id.0, now + timeout);
        Ok(id)
    }

    fn return_port(&mut self, conn: &Conn, now: Time) {
        if let Some(local) = conn.local {
            self.ports
                .give_back(local, conn.rip, conn.flow.protocol, now);
        }
    }

    /// Notes a packet of a conn: its state moves as the flags say and its time-out starts anew.
    /// Panics as [`conn`](ConnTable::conn) does.
    #[inline]
    pub fn packet(&mut self, hit: Hit, flags: TcpFlags, now: Time) {
        let entry = self.entries[hit.conn.0 as usize].as_mut().expect(LIVE);
        if entry.life == Life::Retired {
            return;
        }
        entry.last_packet = now;
        let next = next_state(
            entry.state,
            hit.direction,
            flags,
            entry.conn.replies.pass_through_us(),
            self.secure_tcp,
        );
        if next.is_active() != entry.state.is_active() {
            entry.conn.dest.conn_became(next.is_active());
        }
        if let Some(template) = entry.template
            && matches!(next, ConnState::Established | ConnState::Udp)
        {
            self.templates.assure(template);
        }
        entry.state = next;
        let timeout = self.timeouts.of(next);
        if timeout != entry.timeout {
            entry.timeout = timeout;
            // A timer that stands too early is set anew when it fires; one that stands too late must move now.
            let deadline = now + timeout;
            if !self.wheel.fires_by(hit.conn.0, deadline) {
                self.wheel.set(hit.conn.0, deadline);
            }
        }
    }

    /// Ends conns whose time-out is over at `now`, at most `limit` of them, and templates likewise; returns how many
    /// conns.
    pub fn expire(&mut self, now: Time, limit: usize) -> usize {
        self.wheel.advance(now);
        let mut ended = 0;
        while ended < limit
            && let Some(id) = self.wheel.take_due()
        {
            let entry = self.entry(ConnId(id));
            let deadline = entry.last_packet + entry.timeout;
            if deadline <= now {
                self.retire(ConnId(id));
                ended += 1;
            } else {
                self.wheel.set(id, deadline);
            }
        }
        while let Some(id) = self.retired.pop() {
            if let Some(entry) = self.entries[id.0 as usize].take() {
                if entry.conn.local.is_some() {
                    entry.conn.dest.port_returned();
                }
                self.return_port(&entry.conn, now);
            }
            self.free.push(id.0);
        }
        self.templates.expire(now, limit);
        ended
    }

    /// Ends all conns whose server was removed, and the templates that lead there and hold no conn (kernel
    /// `ip_vs_expire_nodest_conn_flush`).
    pub fn retire_of_removed_dests(&mut self) {
        for id in 0..self.entries.len() as u32 {
            let gone = |entry: &Entry| entry.life == Life::Found && !entry.conn.dest.is_available();
            if self.entries[id as usize].as_ref().is_some_and(gone) {
                self.retire(ConnId(id));
            }
        }
        self.templates.end_of_removed_dests();
    }

    /// Ends a conn now: it is not found and not counted any more. Ids of it stay good until the next
    /// [`expire`](ConnTable::expire). Panics as [`conn`](ConnTable::conn) does.
    pub fn retire(&mut self, id: ConnId) {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let key = Key::new(id, direction);
            if let Some(flow) = flow_of(&self.entries, key) {
                let hash = self.hash(&flow);
                // A conn for one packet never was in the index, one that found no room only in part.
                self.index.remove(hash, key.0);
            }
        }
        let entry = self.entries[id.0 as usize].as_mut().expect(LIVE);
        if entry.life == Life::Retired {
            return;
        }
        entry.life = Life::Retired;
        entry.conn.dest.conn_ended(entry.state.is_active());
        if let Some(template) = entry.template {
            self.templates.let_go(template);
        }
        self.wheel.clear(id.0);
        self.retired.push(id);
    }

    #[inline]
    fn entry(&self, id: ConnId) -> &Entry {
        self.entries[id.0 as usize].as_ref().expect(LIVE)
    }
}

/// Places are given back in [`ConnTable::expire`] only, and that takes the table for itself between batches.
const LIVE: &str = "an id from this batch names a live conn";

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Addr, Dest, Endpoint, Introduction, Replies};
    use std::sync::Arc;
    use std::time::Duration;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;

    fn dest() -> Arc<Dest> {
        Arc::new(Dest::new("10.1.0.11:8080".parse().expect("valid"), 1))
    }

    fn conn(cport: u16, protocol: Protocol, dest: &Arc<Dest>, two_way: bool) -> Conn {
        let client = format!("192.0.2.1:{cport}").parse().expect("valid");
        let flow = FlowKey {
            source: client,
            destination: "10.0.0.100:80".parse().expect("valid"),
            protocol,
        };
        Conn {
            flow,
            dest: Arc::clone(dest),
            rip: dest.rip(),
            local: None,
            replies: if two_way {
                Replies::ToClient
            } else {
                Replies::Direct
            },
            introduction: Introduction::Nothing.into(),
            mode: 0,
        }
    }

    fn table(capacity: u32) -> ConnTable {
        let ports = LocalPorts::new(1024..=1025, 0);
        ConnTable::new(capacity, Timeouts::default(), ports)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_conn_is_found_from_both_directions_until_it_ends() {
        let mut table = table(4);
        let dest = dest();
        let conn = conn(4000, Protocol::Udp, &dest, true);
        let (flow, reply) = (conn.flow, conn.reply().expect("two-way"));
        let id = table
            .open(conn, None, TcpFlags::default(), at(0))
            .expect("room");
        assert_eq!(
            table.find(&flow),
            Some(Hit {
                conn: id,
                direction: Direction::Inbound
            })
        );
        assert_eq!(
            table.find(&reply),
            Some(Hit {
                conn: id,
                direction: Direction::Outbound
            })
        );
        assert_eq!(table.find(&flow.reversed()), None);
        assert_eq!(
            (dest.active(), dest.inactive()),
            (0, 1),
            "UDP conns are inactive"
        );
        assert_eq!(table.expire(at(300), usize::MAX), 0);
        assert_eq!(table.expire(at(301), usize::MAX), 1);
        assert_eq!(
            (table.find(&flow), table.find(&reply), table.len()),
            (None, None, 0)
        );
        assert_eq!((dest.active(), dest.inactive()), (0, 0));
    }

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
        assert_eq!(table.conn(id).flow, flow);
        assert_eq!(
            table.open(old.clone(), None, SYN, at(0)),
            Err(Refused::Full),
            "its place is not free yet"
        );
        table.expire(at(0), 9);
        assert!(table.open(old, None, SYN, at(0)).is_ok());
    }

    #[test]
    fn a_syn_is_expected_as_the_kernel_expects_it() {
        let (mut table, dest) = (table(2), dest());
        let fin = TcpFlags::FIN;
        for (two_way, expected) in [
            (true, [false, true, true, true]),
            (false, [false, false, true, true]),
        ] {
            let mut seen = Vec::new();
            let conn = conn(1, Protocol::Tcp, &dest, two_way);
            let id = table.open(conn, None, SYN, at(0)).expect("room");
            seen.push(table.expects_new(id, 1));
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                ACK,
                at(0),
            );
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                fin,
                at(0),
            );
            if two_way {
                table.packet(
                    Hit {
                        conn: id,
                        direction: Direction::Outbound,
                    },
                    fin,
                    at(0),
                );
            }
            seen.extend([table.expects_new(id, 1), table.expects_new(id, 3)]);
            assert!(!table.expects_new(id, 0));
            table.packet(
                Hit {
                    conn: id,
                    direction: Direction::Inbound,
                },
                TcpFlags::RST,
                at(0),
            );
            seen.push(table.expects_new(id, 1));
            assert_eq!(seen, expected, "two-way: {two_way}");
            table.retire(id);
        }
    }

    #[test]
    fn a_conn_for_one_packet_is_never_found_and_counted_by_nobody_after_it() {
        let (mut table, dest) = (table(1), dest());
        let conn = conn(1, Protocol::Udp, &dest, false);
        let flow = conn.flow;
        let id = table.open_for_one_packet(conn, None, at(0)).expect("room");
        assert_eq!(table.conn(id).flow, flow);
        assert_eq!((table.find(&flow), dest.total()), (None, 0));
        table.expire(at(0), 9);
        assert!(table.is_empty());
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

    #[test]
    fn a_local_port_is_leased_until_its_conn_has_ended_or_was_refused() {
        let (mut table, dest) = (table(1), dest());
        let lip = Addr::v4([10, 1, 0, 2]);
        let open = |table: &mut ConnTable, cport| {
            let lease = table.ports_mut();
            let local = lease.lease(&[lip], 0, dest.rip(), Protocol::Tcp, at(0));
            let mut conn = conn(cport, Protocol::Tcp, &dest, true);
            conn.local = Some(local.expect("a free port"));
            conn.replies = Replies::ToLocalAddress;
            table.open(conn, None, SYN, at(0))
        };
        let id = open(&mut table, 1).expect("room");
        let reply = table.conn(id).reply().expect("two-way");
        assert_eq!(reply.destination, Endpoint::new(lip, 1024));
        assert_eq!(dest.leased(), 1);
        // Each takes the one port that is left, and gives it back.
        for cport in [2, 3] {
            assert_eq!(open(&mut table, cport), Err(Refused::Full));
        }
        table.retire(id);
        assert_eq!((table.find(&reply), dest.leased()), (None, 1));
        table.expire(at(0), 9);
        assert_eq!(dest.leased(), 0);
        let id = open(&mut table, 4).expect("room");
        assert_eq!(table.conn(id).local, Some(Endpoint::new(lip, 1025)));
    }
}

//! The table: a slab of entries, an index of flow keys over it, a wheel of time-outs beside it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lb_model::{
    BATCH, Conn, ConnId, ConnState, Dest, Direction, Endpoint, FlowKey, Hit, NewConn, Protocol,
    Time,
};
use lb_wire::TcpFlags;

use crate::claims::Claims;
use crate::dests::ConnDests;
use crate::entry::{Entries, Life, Millis};
use crate::fifo::Fifo;
use crate::hash::FlowHasher;
use crate::index::{Hash, Index};
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

/// A conn as listings show it.
pub struct ConnView<'a> {
    /// The conn.
    pub conn: Conn<'a>,
    /// Its state.
    pub state: ConnState,
    /// How long it lives on without a packet.
    pub expires_in: Duration,
}

/// The conns of one worker.
pub struct ConnTable {
    entries: Entries,
    /// Conns that can be found.
    found: u32,
    capacity: u32,
    /// Places are [`Key`]s.
    index: Index,
    hasher: FlowHasher,
    dests: ConnDests,
    /// All conns but those in the next.
    wheel: Wheel,
    /// TCP conns of which the server's SYN was not answered: by their last packet, which is by their end, too.
    half_open: Fifo,
    /// The last conn that ended in this batch; its link leads to the one before.
    retired: u32,
    /// Where the search for conns whose servers were removed goes on.
    sweep: Option<u32>,
    /// Whether as many conns ended at once as were allowed to.
    at_limit: bool,
    evicted: u64,
    timeouts: Timeouts,
    secure_tcp: bool,
    timeouts_ms: [Millis; ConnState::ALL.len()],
    templates: Templates,
    ports: LocalPorts,
    /// Where other workers ask for the owners of conns, if there are any.
    claims: Option<Claims>,
    unclaimed: u64,
}

/// Conns that a table can be made for: a conn's number and a direction have to fit the 31 bits of a place in the index.
pub const MAX_CAPACITY: u32 = 1_000_000_000;

/// Entries beyond the capacity, for conns that end within a batch and may still be named there: one for each packet
/// that opens a conn in place of another.
const SPARE: u32 = BATCH as u32;

/// Entries that a turn looks at in search of conns whose servers were removed. All may be such, and to end one takes some
/// three cache lines from memory: altogether that is to stay below 50 microseconds.
const SWEEP_PER_TURN: usize = 256;

const NONE: u32 = u32::MAX;

/// Where a flow probably is in the table that was asked.
#[derive(Clone, Copy, Debug)]
pub struct Guess(u32);

impl Guess {
    /// Nowhere.
    pub const NONE: Guess = Guess(NONE);
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

impl ConnTable {
    /// A table for `capacity` conns, with its memory reserved, whose conns lease `ports`.
    ///
    /// # Panics
    /// If `capacity` is above [`MAX_CAPACITY`].
    pub fn new(capacity: u32, timeouts: Timeouts, ports: LocalPorts) -> ConnTable {
        assert!(
            capacity <= MAX_CAPACITY,
            "a conn's place and a direction fit the 31 bits of the index"
        );
        ConnTable {
            entries: Entries::new(capacity + SPARE),
            found: 0,
            capacity,
            index: Index::new(2 * u64::from(capacity)),
            hasher: FlowHasher::new(),
            dests: ConnDests::new(),
            wheel: Wheel::new(),
            half_open: Fifo::new(),
            retired: NONE,
            sweep: None,
            at_limit: false,
            evicted: 0,
            timeouts_ms: in_millis(&timeouts),
            timeouts,
            secure_tcp: false,
            templates: Templates::new(capacity),
            ports,
            claims: None,
            unclaimed: 0,
        }
    }

    /// The table, still empty, of one of several workers: others can find out that a conn is in it.
    #[must_use]
    pub fn with_claims(mut self, claims: Claims) -> ConnTable {
        self.hasher = claims.hasher.clone();
        self.templates.share(Arc::clone(&claims.agreed));
        self.claims = Some(claims);
        self
    }

    /// Which other worker may have the conn of `flow`, which is not in this table.
    #[inline]
    pub fn owner(&self, flow: &FlowKey) -> Option<u16> {
        self.claims.as_ref()?.owner(flow)
    }

    /// How many keys of conns could not be claimed since this was last asked: other workers do not find their owner.
    pub fn take_unclaimed(&mut self) -> u64 {
        std::mem::take(&mut self.unclaimed)
    }

    /// Takes its memory from the kernel now, rather than bit by bit while packets wait for it; that for IPv6 addresses is
    /// still taken as it is needed.
    pub fn populate(&mut self) {
        self.index.populate();
        self.entries.populate();
    }

    /// Whether half-open conns are dealt with as in a flood of them, from their next packets on.
    pub fn set_secure_tcp(&mut self, secure: bool) {
        self.secure_tcp = secure;
    }

    /// Other time-outs, for every conn from its next packet on (ipvsadm `--set`).
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts_ms = in_millis(&timeouts);
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
        self.slice(0..self.places(), now)
    }

    /// How many places there are for conns.
    pub fn places(&self) -> u32 {
        self.capacity + SPARE
    }

    /// The conns that can be found in these [`places`](ConnTable::places). A conn keeps its place, so who goes through all
    /// places meets every conn that was there all the while, once.
    pub fn slice(&self, places: Range<u32>, now: Time) -> impl Iterator<Item = ConnView<'_>> {
        let found = |id: &u32| self.entries.get(*id).life == Life::Found;
        let used = self.entries.used_from(places.start);
        used.take_while(move |id| *id < places.end)
            .filter(found)
            .map(move |id| self.view(ConnId(id), now))
    }

    /// The conn at `id` as listings show it. Panics as [`conn`](ConnTable::conn) does.
    pub fn view(&self, id: ConnId, now: Time) -> ConnView<'_> {
        let entry = self.entries.get(id.0);
        ConnView {
            conn: self.conn(id),
            state: entry.state,
            expires_in: entry.expires_in(now),
        }
    }

    /// How many conns it holds.
    pub fn len(&self) -> usize {
        self.found as usize
    }

    /// Whether nothing in it will end by itself: no conns, no templates.
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.templates.is_empty()
    }

    /// How many conns it was made for.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many conns had to end before their time since this was last asked, because the table was full.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
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
    /// [`prefetch`](ConnTable::prefetch), [`guess`](ConnTable::guess) for all, then [`confirm`](ConnTable::confirm) or find.
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> Hash {
        self.index.hash(self.hasher.hash(flow))
    }

    /// Asks for the memory in which a flow of this hash will be looked up.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.index.prefetch(hash);
    }

    /// The conn that will most likely be found under this hash, and whose memory is asked for.
    #[inline(always)]
    pub fn guess(&self, hash: Hash) -> Guess {
        let guess = self.index.guess(hash);
        if let Some(key) = guess {
            self.entries.prefetch(Key(key).hit().conn.0);
        }
        Guess(guess.unwrap_or(NONE))
    }

    /// The conn that was [guessed](ConnTable::guess), if a packet of this flow belongs to it.
    #[inline(always)]
    pub fn confirm(&self, guess: Guess, flow: &FlowKey) -> Option<Hit> {
        (guess.0 != NONE && self.is_of(guess.0, flow)).then(|| Key(guess.0).hit())
    }

    /// Whether this place in the index is that of the flow.
    #[inline(always)]
    fn is_of(&self, key: u32, flow: &FlowKey) -> bool {
        let Hit { conn, direction } = Key(key).hit();
        let record = &self.entries.get(conn.0).record;
        record.is(direction, flow, self.entries.wide(conn.0))
    }

    /// The conn that a packet of this flow belongs to; `hash` is the [flow's](ConnTable::hash).
    pub fn find_hashed(&self, hash: Hash, flow: &FlowKey) -> Option<Hit> {
        let found = self.index.find(hash, |key| self.is_of(key, flow));
        found.map(|key| Key(key).hit())
    }

    /// The conn at `id`, which is valid until the next [`expire`](ConnTable::expire).
    #[inline(always)]
    pub fn conn(&self, id: ConnId) -> Conn<'_> {
        let record = &self.entries.get(id.0).record;
        Conn::new(
            record,
            self.entries.wide(id.0),
            self.dests.get(record.dest()),
        )
    }

    /// The server of the conn at `id`.
    #[inline(always)]
    pub fn dest(&self, id: ConnId) -> &Arc<Dest> {
        self.dests.get(self.entries.get(id.0).record.dest())
    }

    /// The state of the conn at `id`.
    pub fn state(&self, id: ConnId) -> ConnState {
        self.entries.get(id.0).state
    }

    /// Whether a SYN on the conn at `id` is taken for a new connection rather than for one of its own packets (kernel
    /// `is_new_conn_expected`); `reuse_mode` is `net.ipv4.vs.conn_reuse_mode`.
    pub fn expects_new(&self, id: ConnId, reuse_mode: u8) -> bool {
        let entry = self.entries.get(id.0);
        if entry.template().is_some() || reuse_mode == 0 {
            return false;
        }
        let one_way = !entry.record.replies().pass_through_us();
        match entry.state {
            ConnState::TimeWait | ConnState::Close => true,
            ConnState::FinWait => one_way && reuse_mode & 2 != 0,
            _ => false,
        }
    }

    /// Opens a conn for its first packet, which carries `flags` and comes in at `now`; `template` is the one that
    /// made it. A full table ends the half-open conn that has been quiet for longest to make room, but never another.
    ///
    /// Its flow must not be in the table. The local port that it has leased is its own until it ends, also if that is now.
    pub fn open(
        &mut self,
        conn: NewConn,
        template: Option<TemplateId>,
        flags: TcpFlags,
        now: Time,
    ) -> Result<ConnId, Refused> {
        let reply = conn.reply().map(|reply| (self.hasher.hash(&reply), reply));
        let is_there = |(hash, reply)| self.find_hashed(self.index.hash(hash), &reply).is_some();
        if reply.is_some_and(is_there) {
            self.return_port(conn.local, conn.rip, conn.flow.protocol, now);
            return Err(Refused::ReplyTaken);
        }
        let keys = [
            Some((self.hasher.hash(&conn.flow), Direction::Inbound)),
            reply.map(|(hash, _)| (hash, Direction::Outbound)),
        ];
        let id = self.insert(conn, template, now)?;
        for (hash, direction) in keys.into_iter().flatten() {
            let key = Key::new(id, direction).0;
            if !self.index.insert(self.index.hash(hash), key) {
                self.retire(id);
                return Err(Refused::Full);
            }
            if let Some(claims) = &self.claims
                && !claims.claim(hash)
            {
                self.unclaimed += 1;
            }
        }
        self.note::<true>(id, Direction::Inbound, flags, now);
        Ok(id)
    }

    /// Opens a conn for one packet only (one-packet scheduling): it is never found, and counted just for a moment.
    pub fn open_for_one_packet(
        &mut self,
        conn: NewConn,
        template: Option<TemplateId>,
        now: Time,
    ) -> Result<ConnId, Refused> {
        let id = self.insert(conn, template, now)?;
        self.note::<true>(id, Direction::Inbound, TcpFlags::default(), now);
        self.retire(id);
        Ok(id)
    }

    fn insert(
        &mut self,
        conn: NewConn,
        template: Option<TemplateId>,
        now: Time,
    ) -> Result<ConnId, Refused> {
        if self.found == self.capacity
            && let Some(oldest) = self.half_open.first()
        {
            self.retire(ConnId(oldest));
            self.evicted += 1;
        }
        let state = match conn.flow.protocol {
            Protocol::Tcp | Protocol::Sctp => ConnState::None,
            Protocol::Udp => ConnState::Udp,
        };
        let dest = self.dests.hold(&conn.dest);
        let id = (self.found < self.capacity)
            .then(|| self.entries.insert(&conn, dest, state, template))
            .flatten();
        let Some(id) = id else {
            self.dests.let_go(dest);
            self.return_port(conn.local, conn.rip, conn.flow.protocol, now);
            return Err(Refused::Full);
        };
        self.found += 1;
        // As the kernel's ip_vs_bind_dest: a conn is born inactive, and its first packet may make it active.
        conn.dest.conn_opened(false);
        if conn.local.is_some() {
            conn.dest.port_leased();
        }
        if let Some(template) = template {
            self.templates.hold(template, now);
        }
        Ok(ConnId(id))
    }

    fn return_port(
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

    /// Notes a packet of a conn: its state moves as the flags say and its time-out starts anew. The answer is the conn's
    /// mode and its server.
    #[inline(always)]
    pub fn packet(&mut self, hit: Hit, flags: TcpFlags, now: Time) -> (u8, &Arc<Dest>) {
        let record = &self.entries.get(hit.conn.0).record;
        let (mode, dest) = (record.mode(), record.dest());
        self.note::<false>(hit.conn, hit.direction, flags, now);
        (mode, self.dests.get(dest))
    }

    /// `FIRST`: the packet opens the conn, of which no list knows yet.
    #[inline(always)]
    fn note<const FIRST: bool>(
        &mut self,
        id: ConnId,
        direction: Direction,
        flags: TcpFlags,
        now: Time,
    ) {
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
        let answered = match state {
            ConnState::Established => true,
            ConnState::Udp => direction == Direction::Outbound,
            _ => false,
        };
        if let Some(template) = entry.template()
            && answered
        {
            self.templates.assure(template);
        }
        entry.state = state;
        // A timer that stands too early is set anew when it fires; one that stands too late must move now.
        let ends_earlier = entry.touch(now, self.timeouts_ms[state as usize]);
        let queued = ConnState::SynRecv;
        if FIRST || ends_earlier || before == queued || state == queued {
            if !FIRST {
                self.unset_timer(id, before, now);
            }
            let mut timed = self.entries.timed(now);
            if state == queued {
                self.half_open.push(&mut timed, id.0);
            } else {
                self.wheel.set(&mut timed, id.0);
            }
        }
    }

    fn unset_timer(&mut self, id: ConnId, state: ConnState, now: Time) {
        let mut timed = self.entries.timed(now);
        if state == ConnState::SynRecv {
            self.half_open.remove(&mut timed, id.0);
        } else {
            self.wheel.clear(&mut timed, id.0);
        }
    }

    /// Ends conns whose time-out is over at `now`, at most `limit` of them, and templates likewise; returns how many
    /// conns.
    pub fn expire(&mut self, now: Time, limit: usize) -> usize {
        let mut ended = 0;
        while ended < limit
            && let Some(id) = self.half_open.first()
            && self.entries.get(id).is_over(now)
        {
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

fn in_millis(timeouts: &Timeouts) -> [Millis; ConnState::ALL.len()] {
    ConnState::ALL.map(|state| timeouts.of(state).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Addr, Endpoint, Introduction, Replies};
    use std::time::Duration;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;

    fn dest() -> Arc<Dest> {
        Arc::new(Dest::new("10.1.0.11:8080".parse().expect("valid"), 1))
    }

    fn conn(cport: u16, protocol: Protocol, dest: &Arc<Dest>, two_way: bool) -> NewConn {
        let client = format!("192.0.2.1:{cport}").parse().expect("valid");
        let flow = FlowKey {
            source: client,
            destination: "10.0.0.100:80".parse().expect("valid"),
            protocol,
        };
        NewConn {
            flow,
            dest: Arc::clone(dest),
            rip: dest.rip(),
            local: None,
            replies: if two_way {
                Replies::ToClient
            } else {
                Replies::Direct
            },
            introduction: Introduction::Nothing,
            mode: 0,
        }
    }

    fn table(capacity: u32) -> ConnTable {
        let ports = LocalPorts::new(1024..=1025, 0);
        ConnTable::new(capacity, Timeouts::default(), ports)
    }

    fn inbound(conn: ConnId) -> Hit {
        Hit {
            conn,
            direction: Direction::Inbound,
        }
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
        assert_eq!(table.conn(id).flow(), flow);
        let new = table
            .open(old, None, SYN, at(0))
            .expect("there are spare places");
        assert_ne!(new, id);
        table.expire(at(0), 9);
        assert_eq!(table.find(&flow).map(|hit| hit.conn), Some(new));
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

    #[test]
    fn a_conn_takes_80_bytes_in_all() {
        const CONNS: usize = 1 << 20;
        let entries = CONNS * size_of::<crate::entry::Entry>();
        let index = Index::new(2 * CONNS as u64).bytes();
        assert!(entries + index <= 80 * CONNS + 4_096);
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
        assert_eq!(table.conn(id).flow(), flow);
        assert_eq!((table.find(&flow), dest.total()), (None, 0));
        table.expire(at(0), 9);
        assert!(table.is_empty());
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
        assert_eq!(table.conn(id).local(), Some(Endpoint::new(lip, 1025)));
    }
}

//! One entry of the table, a cache line, and the slab of all of them.

use std::cmp::Ordering;
use std::time::Duration;

use lb_model::{ConnRecord, ConnState, Direction, NewConn, Time, WideEnds};
use zerocopy::FromZeros;

use crate::TemplateId;
use crate::looks;
use crate::mem::{populate, prefetch, refuse_huge_pages, zeroed, zeroed_in_huge_pages};
use crate::sign::Owes;
use crate::wheel::{Link, Timers};

/// What a table notes of a conn. Memory that was never used is zero, and that is a vacant entry.
#[derive(FromZeros)]
#[repr(C, align(64))]
pub struct Entry {
    pub record: ConnRecord,
    /// Its place in the wheel, in the queue of half-open conns, among the retired or among the vacant.
    pub link: Link,
    /// When its last packet came, in milliseconds, modulo 2^32: 49 days.
    last_packet: u32,
    /// The time-out of its state when its last packet came, in milliseconds.
    timeout: u32,
    /// The template that made it, plus one; 0 for none.
    template: u32,
    pub state: ConnState,
    pub life: Life,
    pub owes: Owes,
    /// Whether its template waits for a word of the server's.
    pub assures: bool,
}

/// What its first packet makes of a conn.
pub struct Born {
    pub state: ConnState,
    pub owes: Owes,
    pub stamp: Stamp,
    pub timeout: Millis,
    /// The template that made it.
    pub template: Option<TemplateId>,
}

/// Where an entry is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(u8)]
pub enum Life {
    /// No conn.
    Vacant,
    /// Found by its flows and counted by its server.
    Found,
    /// Ended within this batch: neither found nor counted, but ids in the batch may still name it.
    Retired,
}

/// When a conn ends after a packet, next to when it would have ended without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Earlier,
    Same,
    Later,
}

impl Entry {
    /// Notes a packet at `now`, after which the conn lives for `timeout`; returns what that does to its end.
    #[inline(always)]
    pub fn touch(&mut self, now: Time, timeout: Millis) -> End {
        let stamp = Stamp::of(now);
        let left = self.timeout.saturating_sub(self.passed(stamp));
        (self.last_packet, self.timeout) = (stamp.0, timeout.0);
        match timeout.0.cmp(&left) {
            Ordering::Less => End::Earlier,
            Ordering::Equal => End::Same,
            Ordering::Greater => End::Later,
        }
    }

    /// [`touch`](Entry::touch) for a packet that can only prolong an established conn's life; false, and nothing noted, if more
    /// than that follows from it: the conn is not established, its time-out has changed, or its template hears of it.
    #[inline(always)]
    fn prolong(&mut self, direction: Direction, stamp: Stamp, timeouts: &TimeoutsOfStates) -> bool {
        let is_usual = matches!(self.state, ConnState::Established | ConnState::Udp)
            && self.timeout == timeouts[self.state as usize].0
            && !(self.assures && self.state.is_answered_by(direction));
        if is_usual {
            self.last_packet = stamp.0;
        }
        is_usual
    }

    /// How long it lives on without a packet.
    pub fn expires_in(&self, now: Time) -> Duration {
        let left = self.timeout.saturating_sub(self.passed(Stamp::of(now)));
        Duration::from_millis(left.into())
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Time) -> bool {
        let whole = (now.as_nanos() / NANOS_PER_MILLI) as u32;
        self.passed(Stamp(whole)) >= self.timeout
    }

    /// Milliseconds from its last packet to `now`.
    pub fn quiet_ms(&self, now: Time) -> u32 {
        self.passed(Stamp::of(now))
    }

    /// Milliseconds from its last packet to `stamp`; none if `stamp` is earlier.
    #[inline(always)]
    fn passed(&self, stamp: Stamp) -> u32 {
        let passed = stamp.0.wrapping_sub(self.last_packet);
        if passed > Millis::MAX.0 { 0 } else { passed }
    }

    /// The template that made it.
    pub fn template(&self) -> Option<TemplateId> {
        self.template.checked_sub(1).map(TemplateId)
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The time as entries note it. Rounded up, so that nothing ends early; whole differences stay what they are.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(u32);

impl Stamp {
    /// This time's.
    #[inline(always)]
    pub fn of(now: Time) -> Stamp {
        Stamp(now.as_nanos().div_ceil(NANOS_PER_MILLI) as u32)
    }
}

/// A time-out as entries note it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Millis(u32);

impl Millis {
    /// A minute less than the stamps' circle of 49 days: a packet that seems to come so long after the last one has come
    /// before it.
    const MAX: Millis = Millis(u32::MAX - 60_000);
}

impl From<Duration> for Millis {
    /// Longer ones are as long as can be.
    fn from(timeout: Duration) -> Millis {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        Millis(millis.min(Millis::MAX.0))
    }
}

/// A time-out for each state.
pub type TimeoutsOfStates = [Millis; ConnState::ALL.len()];

/// All entries of a table.
pub struct Entries {
    entries: Box<[Entry]>,
    /// The wide ends of the entry with the same number. Entries with such are taken from the upper end, so that this
    /// takes no memory where there are none, and little more than it must otherwise.
    wide: Box<[WideEnds]>,
    /// The last vacated entry below and the last one above those never used; each names the one before it.
    vacant: [u32; 2],
    /// Entries from here to `upper` were never used.
    lower: u32,
    upper: u32,
}

/// Whose vacant entries are meant.
const LOWER: usize = 0;
const UPPER: usize = 1;

const NONE: u32 = u32::MAX;

impl Entries {
    /// Room for `capacity` conns; that for wide ends takes no memory until it is used.
    pub fn new(capacity: u32) -> Entries {
        let mut wide = zeroed(capacity as usize);
        refuse_huge_pages(&mut wide);
        Entries {
            entries: zeroed_in_huge_pages(capacity as usize),
            wide,
            vacant: [NONE; 2],
            lower: 0,
            upper: capacity,
        }
    }

    /// Takes the memory of all entries but for their wide ends, which may never be used.
    pub fn populate(&self) {
        populate(&self.entries);
    }

    /// The numbers of all entries that were ever used, from `start` on.
    pub fn used_from(&self, start: u32) -> impl Iterator<Item = u32> + use<> {
        (start..self.lower).chain(self.upper.max(start)..self.entries.len() as u32)
    }

    /// Makes an entry of a conn whose server has the number `dest`.
    #[inline]
    pub fn insert(&mut self, conn: &NewConn<'_>, dest: u32, born: &Born) -> Option<u32> {
        let narrow = conn.is_v4();
        let id = self.take_vacant(narrow)?;
        let at = id as usize;
        let wide = if narrow {
            None
        } else {
            Some(&mut self.wide[at])
        };
        looks::count();
        self.entries[at] = Entry {
            record: ConnRecord::new(conn, dest, wide),
            link: Link::UNSET,
            last_packet: born.stamp.0,
            timeout: born.timeout.0,
            template: born.template.map_or(0, |template| template.0 + 1),
            state: born.state,
            life: Life::Found,
            owes: born.owes,
            assures: born.template.is_some(),
        };
        Some(id)
    }

    fn take_vacant(&mut self, narrow: bool) -> Option<u32> {
        let (own, others) = if narrow {
            (LOWER, UPPER)
        } else {
            (UPPER, LOWER)
        };
        self.take_used(own)
            .or_else(|| self.take_unused(narrow))
            .or_else(|| self.take_used(others))
    }

    fn take_used(&mut self, side: usize) -> Option<u32> {
        let id = self.vacant[side];
        (id != NONE).then(|| {
            let next = self.get(id).link.next;
            self.vacant[side] = next;
            if next != NONE {
                // The next one to be taken: nobody has looked at it for long.
                prefetch(self.get(next));
            }
            id
        })
    }

    fn take_unused(&mut self, narrow: bool) -> Option<u32> {
        (self.lower < self.upper).then(|| {
            if narrow {
                self.lower += 1;
                self.lower - 1
            } else {
                self.upper -= 1;
                self.upper
            }
        })
    }

    /// Makes entry `id`, which is in no list, vacant.
    pub fn vacate(&mut self, id: u32) {
        let side = if id < self.lower { LOWER } else { UPPER };
        let next = std::mem::replace(&mut self.vacant[side], id);
        let entry = self.get_mut(id);
        entry.life = Life::Vacant;
        entry.link = Link {
            next,
            ..Link::UNSET
        };
    }

    /// Entry `id`.
    #[inline(always)]
    pub fn get(&self, id: u32) -> &Entry {
        looks::count();
        &self.entries[id as usize]
    }

    /// Entry `id`.
    #[inline(always)]
    pub fn get_mut(&mut self, id: u32) -> &mut Entry {
        looks::count();
        &mut self.entries[id as usize]
    }

    /// [`Entry::prolong`] of entry `id`, and what is in it of the conn.
    #[inline(always)]
    pub fn prolong(
        &mut self,
        id: u32,
        direction: Direction,
        stamp: Stamp,
        timeouts: &TimeoutsOfStates,
    ) -> Option<(&ConnRecord, &WideEnds)> {
        looks::count();
        let entry = &mut self.entries[id as usize];
        entry
            .prolong(direction, stamp, timeouts)
            .then_some((&entry.record, &self.wide[id as usize]))
    }

    /// The record of entry `id`, if there is such an entry.
    #[inline(always)]
    pub fn record(&self, id: u32) -> Option<&ConnRecord> {
        looks::count();
        Some(&self.entries.get(id as usize)?.record)
    }

    /// Asks for the memory of entry `id`.
    #[inline(always)]
    pub fn prefetch(&self, id: u32) {
        prefetch(self.get(id));
        // With hardly an exception, such entries have wide ends.
        if id >= self.upper {
            prefetch(self.wide(id));
        }
    }

    /// The wide ends of entry `id`, if it has such.
    #[inline(always)]
    pub fn wide(&self, id: u32) -> &WideEnds {
        &self.wide[id as usize]
    }

    /// The entries as what a wheel times at `now`.
    #[inline]
    pub fn timed(&mut self, now: Time) -> Timed<'_> {
        Timed {
            entries: self,
            now_ms: now.as_nanos().div_ceil(NANOS_PER_MILLI),
        }
    }
}

/// Entries whose due times count from `now`.
pub struct Timed<'a> {
    entries: &'a mut Entries,
    /// Rounded up, as stamps are.
    now_ms: u64,
}

impl Timed<'_> {
    /// When an entry is due that lives for `timeout` from now.
    #[inline]
    pub fn after(&self, timeout: Millis) -> Time {
        let due_ms = self.now_ms + u64::from(timeout.0);
        Time::from_nanos(due_ms.saturating_mul(NANOS_PER_MILLI))
    }
}

impl Timers for Timed<'_> {
    fn link(&mut self, id: u32) -> &mut Link {
        &mut self.entries.get_mut(id).link
    }

    fn due(&self, id: u32) -> Time {
        let entry = self.entries.get(id);
        // Stamps are cut to 32 bits; how long ago the last packet came says which time was meant.
        let passed = entry.passed(Stamp(self.now_ms as u32));
        let due_ms = self.now_ms.saturating_sub(passed.into()) + u64::from(entry.timeout);
        Time::from_nanos(due_ms.saturating_mul(NANOS_PER_MILLI))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::{Dest, Endpoint, FlowKey, Introduction, Protocol, Replies};
    use std::sync::Arc;

    fn conn(dest: &Arc<Dest>) -> NewConn<'_> {
        let vip = dest.rip();
        NewConn {
            flow: FlowKey {
                source: vip,
                destination: vip,
                protocol: Protocol::Udp,
            },
            dest,
            rip: vip,
            local: None,
            replies: Replies::Direct,
            introduction: Introduction::Nothing,
            mode: 0,
        }
    }

    fn insert(entries: &mut Entries, vip: &str) -> Option<u32> {
        let vip: Endpoint = vip.parse().expect("valid");
        let dest = Arc::new(Dest::new(vip, 1));
        entries.insert(&conn(&dest), 0, &born(None))
    }

    fn born(template: Option<TemplateId>) -> Born {
        Born {
            state: ConnState::Udp,
            owes: Owes::Nothing,
            stamp: Stamp(0),
            timeout: Millis(0),
            template,
        }
    }

    #[test]
    fn an_entry_is_a_cache_line() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (64, 64));
    }

    #[test]
    fn wide_entries_come_from_the_other_end_while_there_is_room() {
        let mut entries = Entries::new(5);
        let (v4, v6) = ("10.0.0.1:80", "[2001:db8::1]:80");
        let ids = [v4, v6, v4, v6].map(|vip| insert(&mut entries, vip));
        assert_eq!(ids, [Some(0), Some(4), Some(1), Some(3)]);
        for id in [4, 1] {
            entries.vacate(id);
        }
        let ids = [v6, v4, v4, v4].map(|vip| insert(&mut entries, vip));
        assert_eq!(ids, [Some(4), Some(1), Some(2), None]);
        entries.vacate(3);
        assert_eq!(insert(&mut entries, v4), Some(3));
        assert!(entries.used_from(0).eq(0..5));
    }

    #[test]
    fn time_is_never_over_early_and_whole_differences_are_exact() {
        let mut entries = Entries::new(1);
        let id = insert(&mut entries, "10.0.0.1:80").expect("room");
        let entry = entries.get_mut(id);
        let start = 3_600_000_400_001;
        let at = |nanos| Time::from_nanos(start + nanos);
        entry.touch(at(0), Duration::from_secs(60).into());
        assert_eq!(entry.expires_in(at(0)), Duration::from_secs(60));
        assert_eq!(
            entry.expires_in(at(20_000_000_000)),
            Duration::from_secs(40)
        );
        assert!(!entry.is_over(at(59_999_999_999)));
        assert!(entry.is_over(at(60_001_000_000)));
        assert!(!entry.is_over(Time::from_nanos(start - 5_000_000_000)));
    }

    #[test]
    fn only_the_life_of_an_established_conn_is_prolonged_and_nothing_else_about_it() {
        let timeouts: TimeoutsOfStates = ConnState::ALL.map(|state| state.default_timeout().into());
        let at = |second| Time::ZERO + Duration::from_secs(second);
        for state in ConnState::ALL {
            let mut entries = Entries::new(1);
            let id = insert(&mut entries, "10.0.0.1:80").expect("room");
            let entry = entries.get_mut(id);
            entry.state = state;
            entry.touch(at(0), timeouts[state as usize]);
            let mut prolong = |second, direction| {
                let stamp = Stamp::of(at(second));
                entries.prolong(id, direction, stamp, &timeouts).is_some()
            };
            let prolonged = prolong(1, Direction::Inbound);
            let established = matches!(state, ConnState::Established | ConnState::Udp);
            assert_eq!(prolonged, established, "{state}");
            let lived = if established { 0 } else { 1 };
            let left = state.default_timeout() - Duration::from_secs(lived);
            assert_eq!(entries.get(id).expires_in(at(1)), left, "{state}");
        }
    }

    #[test]
    fn a_conn_whose_template_waits_for_an_answer_is_not_prolonged_by_one() {
        let timeouts: TimeoutsOfStates = ConnState::ALL.map(|state| state.default_timeout().into());
        let mut entries = Entries::new(1);
        let template = Some(TemplateId(0));
        let dest = Arc::new(Dest::new("10.0.0.1:80".parse().expect("valid"), 1));
        let id = entries.insert(&conn(&dest), 0, &born(template));
        let id = id.expect("room");
        entries
            .get_mut(id)
            .touch(Time::ZERO, timeouts[ConnState::Udp as usize]);
        let now = Stamp::of(Time::ZERO);
        let mut prolongs = |direction| entries.prolong(id, direction, now, &timeouts).is_some();
        assert!(prolongs(Direction::Inbound));
        assert!(!prolongs(Direction::Outbound));
        entries.get_mut(id).assures = false;
        assert!(
            entries
                .prolong(id, Direction::Outbound, now, &timeouts)
                .is_some()
        );
    }

    #[test]
    fn a_packet_tells_whether_the_end_comes_nearer() {
        let mut entries = Entries::new(1);
        let id = insert(&mut entries, "10.0.0.1:80").expect("room");
        let entry = entries.get_mut(id);
        let mut touch = |second, timeout| {
            let now = Time::ZERO + Duration::from_secs(second);
            entry.touch(now, Duration::from_secs(timeout).into())
        };
        assert_eq!(touch(0, 900), End::Later);
        assert_eq!(touch(0, 900), End::Same);
        assert_eq!(touch(10, 900), End::Later);
        assert_eq!(touch(20, 120), End::Earlier);
        assert_eq!(touch(30, 120), End::Later);
        assert_eq!(touch(145, 10), End::Later);
    }
}

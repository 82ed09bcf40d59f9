//! A hierarchical timer wheel whose links lie in the entries that it times.
//!
//! Three levels of 256 slots; a tick is 2^24 ns, about 17 ms, so the levels span 4 s, 18 minutes and 78 hours. Setting,
//! moving and clearing a timer take constant time and no memory. A timer fires within one tick after it is due, never
//! before; when more fire at once than a turn may see to, the rest follow in the next turns.
//!
//! The wheel keeps no due times: it asks for them. So a timer whose due time has moved away needs no call: it is moved on,
//! or taken and set again, when its old place comes up. Only one that must fire earlier has to be [set](Wheel::set) again.

use lb_model::Time;
use zerocopy::FromZeros;

const LEVELS: u32 = 3;
const SLOT_BITS: u32 = 8;
const SLOTS: u32 = 1 << SLOT_BITS;
const TICK_BITS: u32 = 24;

/// Timers that are moved at most before packets have their turn again. Where there are many, each is a line of memory that
/// names the next one: altogether that is to stay below 25 microseconds. On its way down to the first level a timer moves
/// twice, so that is enough for as many as may fire.
pub const MOVES: usize = 128;

/// The list of timers that are due and not yet taken.
const DUE: u32 = LEVELS * SLOTS;

const NONE: u32 = u32::MAX;

/// With this bit, what comes before a timer is not another one, but the head of the list with this number.
const HEAD: u32 = 1 << 31;

/// A timer's neighbours in its list.
#[derive(Clone, Copy, Debug, FromZeros)]
pub struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Link {
    /// No timer is set.
    pub const UNSET: Link = Link {
        previous: NONE,
        next: NONE,
    };
}

/// The entries that a wheel times.
pub trait Timers {
    /// The link of entry `id`; [`Link::UNSET`] in a new entry.
    fn link(&mut self, id: u32) -> &mut Link;

    /// When entry `id` is due.
    fn due(&self, id: u32) -> Time;
}

/// The heads of all lists, and how far the clock has come.
pub struct Wheel {
    heads: Box<[u32; DUE as usize + 1]>,
    /// All ticks before this one have fired, and this one but for `levels_left`.
    tick: u32,
    /// The levels whose timers of this tick still have to be put where they belong.
    levels_left: u32,
    set: usize,
}

fn tick_of(time: Time) -> u32 {
    // 2^32 ticks are 834 days; a balancer that runs longer needs the wrapping arithmetic below, not more bits.
    (time.as_nanos() >> TICK_BITS) as u32
}

impl Wheel {
    /// A wheel at time zero, with no timer set.
    pub fn new() -> Wheel {
        Wheel {
            heads: Box::new([NONE; DUE as usize + 1]),
            tick: 0,
            levels_left: 0,
            set: 0,
        }
    }

    /// Sets the timer of entry `id` for when it is due; one that was set before is moved.
    pub fn set(&mut self, timers: &mut impl Timers, id: u32) {
        self.clear(timers, id);
        self.add(timers, id);
    }

    /// Sets the timer of entry `id`, which has none, for when it is due.
    pub fn add(&mut self, timers: &mut impl Timers, id: u32) {
        let due = timers.due(id);
        self.add_due(timers, id, due);
    }

    /// [`add`](Wheel::add), by who knows already when it is due.
    #[inline]
    pub fn add_due(&mut self, timers: &mut impl Timers, id: u32, due: Time) {
        self.link(timers, id, due);
        self.set += 1;
    }

    /// Unsets the timer of entry `id`.
    pub fn clear(&mut self, timers: &mut impl Timers, id: u32) {
        if timers.link(id).previous != NONE {
            self.unlink(timers, id);
            self.set -= 1;
        }
    }

    /// Moves the clock towards `now`, as far as it comes by so many `moves` of timers, of which it takes what it needs, and
    /// no further than to timers that are due and were not [taken](Wheel::take_due).
    pub fn advance(&mut self, timers: &mut impl Timers, now: Time, moves: &mut usize) {
        let now = tick_of(now);
        if self.set == 0 {
            // Nothing to fire on the way.
            if (now.wrapping_sub(self.tick) as i32) > 0 {
                (self.tick, self.levels_left) = (now, 0);
            }
            return;
        }
        loop {
            while let Some(level) = self.levels_left.checked_sub(1) {
                let list = slot(level, self.tick);
                if level == 0 && !self.fire(timers, list) {
                    return;
                }
                let turns = self.tick & ((1 << (SLOT_BITS * level)) - 1) == 0;
                while turns && self.heads[list as usize] != NONE {
                    if *moves == 0 {
                        return;
                    }
                    *moves -= 1;
                    let id = self.heads[list as usize];
                    self.unlink(timers, id);
                    let due = timers.due(id);
                    self.link(timers, id, due);
                }
                self.levels_left = level;
            }
            let behind = now.wrapping_sub(self.tick);
            if (behind as i32) <= 0 {
                return;
            }
            let idle = self.idle_ticks(behind - 1);
            self.tick = self.tick.wrapping_add(1 + idle);
            self.levels_left = LEVELS;
        }
    }

    /// After how many ticks from the next one on, and at most after so many, there may be something to do again.
    fn idle_ticks(&self, at_most: u32) -> u32 {
        let next = slot(0, self.tick.wrapping_add(1)) as usize;
        if next == 0 {
            // Timers may come down from the other levels.
            return 0;
        }
        let heads = self.heads[next..SLOTS as usize].iter();
        let idle = heads.take(at_most as usize);
        idle.take_while(|head| **head == NONE).count() as u32
    }

    /// Whether the clock has not come to where it was to be moved, or something that is due was not taken.
    pub fn is_behind(&self) -> bool {
        self.levels_left > 0 || self.heads[DUE as usize] != NONE
    }

    /// Takes one entry that was due when it was last set or moved, and unsets its timer. Who takes it looks whether it still
    /// is, and sets it again otherwise.
    pub fn take_due(&mut self, timers: &mut impl Timers) -> Option<u32> {
        let id = self.heads[DUE as usize];
        (id != NONE).then(|| {
            self.clear(timers, id);
            id
        })
    }

    /// Makes a whole list the one that is due; false if there still is another one.
    fn fire(&mut self, timers: &mut impl Timers, list: u32) -> bool {
        let first = self.heads[list as usize];
        if first == NONE {
            return true;
        }
        let free = self.heads[DUE as usize] == NONE;
        if free {
            timers.link(first).previous = HEAD | DUE;
            self.heads[DUE as usize] = first;
            self.heads[list as usize] = NONE;
        }
        free
    }

    #[inline]
    fn link(&mut self, timers: &mut impl Timers, id: u32, due: Time) {
        // The tick after the one in which it is due has it behind it for certain.
        let due = tick_of(due).wrapping_add(1);
        let ahead = due.wrapping_sub(self.tick);
        let list = if ahead as i32 <= 0 {
            DUE
        } else {
            let level = (ahead.ilog2() / SLOT_BITS).min(LEVELS - 1);
            // Further than the last level reaches: as far as it reaches, to be linked again from there.
            let reach = ahead.min((1 << (SLOT_BITS * LEVELS)) - 1);
            slot(level, self.tick.wrapping_add(reach))
        };
        let next = std::mem::replace(&mut self.heads[list as usize], id);
        if next != NONE {
            timers.link(next).previous = id;
        }
        *timers.link(id) = Link {
            previous: HEAD | list,
            next,
        };
    }

    fn unlink(&mut self, timers: &mut impl Timers, id: u32) {
        let Link { previous, next } = std::mem::replace(timers.link(id), Link::UNSET);
        if previous & HEAD == 0 {
            timers.link(previous).next = next;
        } else {
            self.heads[(previous & !HEAD) as usize] = next;
        }
        if next != NONE {
            timers.link(next).previous = previous;
        }
    }
}

fn slot(level: u32, tick: u32) -> u32 {
    level * SLOTS + ((tick >> (SLOT_BITS * level)) & (SLOTS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    const TICK: u64 = 1 << TICK_BITS;

    struct Entries {
        entries: Vec<(Link, Time)>,
        /// How many links were looked at.
        looks: usize,
    }

    impl Entries {
        fn new(entries: usize) -> Entries {
            Entries {
                entries: vec![(Link::UNSET, Time::ZERO); entries],
                looks: 0,
            }
        }
    }

    impl Timers for Entries {
        fn link(&mut self, id: u32) -> &mut Link {
            self.looks += 1;
            &mut self.entries[id as usize].0
        }

        fn due(&self, id: u32) -> Time {
            self.entries[id as usize].1
        }
    }

    fn set(wheel: &mut Wheel, entries: &mut Entries, id: u32, at: Time) {
        entries.entries[id as usize].1 = at;
        wheel.set(entries, id);
    }

    /// All that are due at `now`.
    fn due_at(wheel: &mut Wheel, entries: &mut Entries, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        loop {
            wheel.advance(entries, now, &mut { MOVES });
            due.extend(std::iter::from_fn(|| wheel.take_due(entries)));
            if !wheel.is_behind() {
                due.sort_unstable();
                return due;
            }
        }
    }

    #[test]
    fn a_timer_fires_within_a_tick_after_it_is_due_and_never_before() {
        for seconds in [1, 4, 5, 60, 900, 1100, 86_400, 400_000] {
            let (mut wheel, mut entries) = (Wheel::new(), Entries::new(1));
            let at = Time::ZERO + Duration::from_secs(seconds);
            set(&mut wheel, &mut entries, 0, at);
            assert_eq!(due_at(&mut wheel, &mut entries, at), [], "{seconds}");
            let later = Time::from_nanos(at.as_nanos() + TICK);
            assert_eq!(due_at(&mut wheel, &mut entries, later), [0], "{seconds}");
        }
    }

    #[test]
    fn a_timer_in_the_past_fires_at_the_next_tick() {
        let (mut wheel, mut entries) = (Wheel::new(), Entries::new(2));
        let tick = |number| Time::from_nanos(number * TICK);
        set(&mut wheel, &mut entries, 0, tick(1));
        assert_eq!(due_at(&mut wheel, &mut entries, tick(1000)), [0]);
        set(&mut wheel, &mut entries, 1, tick(1));
        assert_eq!(due_at(&mut wheel, &mut entries, tick(1001)), [1]);
    }

    #[test]
    fn a_timer_whose_due_time_moved_away_fires_then() {
        let (mut wheel, mut entries) = (Wheel::new(), Entries::new(1));
        let second = |number| Time::ZERO + Duration::from_secs(number);
        set(&mut wheel, &mut entries, 0, second(60));
        entries.entries[0].1 = second(90);
        assert_eq!(due_at(&mut wheel, &mut entries, second(89)), []);
        assert_eq!(due_at(&mut wheel, &mut entries, second(91)), [0]);
    }

    #[test]
    fn a_crowd_of_timers_is_moved_a_few_at_a_time_and_none_is_lost() {
        const CROWD: u32 = 10 * MOVES as u32;
        let (mut wheel, mut entries) = (Wheel::new(), Entries::new(CROWD as usize));
        let at = Time::ZERO + Duration::from_secs(900);
        for id in 0..CROWD {
            set(&mut wheel, &mut entries, id, at);
        }
        let later = at + Duration::from_secs(1);
        let mut fired = Vec::new();
        while fired.is_empty() || wheel.is_behind() {
            entries.looks = 0;
            wheel.advance(&mut entries, later, &mut { MOVES });
            assert!(entries.looks <= 4 * MOVES + 1);
            fired.extend(std::iter::from_fn(|| wheel.take_due(&mut entries)));
        }
        fired.sort_unstable();
        assert!(fired.into_iter().eq(0..CROWD));
    }

    #[derive(Debug, Clone)]
    enum Op {
        Set(u32, u64),
        Clear(u32),
        Advance(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (
                0..16u32,
                prop_oneof![0..600u64, 0..200_000u64, 0..40_000_000u64]
            )
                .prop_map(|(id, ticks)| Op::Set(id, ticks)),
            (0..16u32).prop_map(Op::Clear),
            prop_oneof![0..10u64, 0..1000u64, 0..300_000u64].prop_map(Op::Advance),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(ops in prop::collection::vec(op(), 1..60)) {
            let (mut wheel, mut entries) = (Wheel::new(), Entries::new(16));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Set(id, ticks) => {
                        set(&mut wheel, &mut entries, id, Time::from_nanos((now + ticks) * TICK));
                        model.insert(id, now + ticks + 1);
                    }
                    Op::Clear(id) => {
                        wheel.clear(&mut entries, id);
                        model.remove(&id);
                    }
                    Op::Advance(ticks) => {
                        now += ticks;
                        let fired = due_at(&mut wheel, &mut entries, Time::from_nanos(now * TICK));
                        let due: Vec<u32> = model.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(fired, due);
                    }
                }
            }
        }
    }
}

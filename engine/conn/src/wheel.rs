//! A hierarchical timer wheel over the slots of a slab.
//!
//! Three levels of 256 slots; a tick is 2^24 ns, about 17 ms, so the levels span 4 s, 18 minutes and 78 hours. Setting,
//! moving and clearing a timer take constant time and no memory: each slab slot has one link here from the start. A
//! timer fires within one tick after it is due, never before.

use lb_model::Time;

const LEVELS: usize = 3;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const TICK_BITS: u32 = 24;

/// The list of timers that are due and not yet taken.
const DUE: u32 = (LEVELS * SLOTS) as u32;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
    /// The list it is in; `NONE` if no timer is set.
    list: u32,
    /// The tick at which it is due.
    due: u32,
}

const UNSET: Link = Link {
    previous: NONE,
    next: NONE,
    list: NONE,
    due: 0,
};

pub struct Wheel {
    heads: Box<[u32; LEVELS * SLOTS + 1]>,
    links: Vec<Link>,
    /// All ticks up to this one have fired.
    tick: u32,
    set: usize,
}

fn tick_of(time: Time) -> u32 {
    // 2^32 ticks are 834 days; a balancer that runs longer needs the wrapping arithmetic below, not more bits.
    (time.as_nanos() >> TICK_BITS) as u32
}

impl Wheel {
    /// A wheel for timers `0..capacity`, none of them set.
    pub fn new(capacity: usize) -> Wheel {
        Wheel {
            heads: Box::new([NONE; LEVELS * SLOTS + 1]),
            links: vec![UNSET; capacity],
            tick: 0,
            set: 0,
        }
    }

    /// Sets timer `id` to fire at `at`; one that was set before is moved.
    pub fn set(&mut self, id: u32, at: Time) {
        self.clear(id);
        self.links[id as usize].due = tick_of(at).wrapping_add(1);
        self.link(id);
        self.set += 1;
    }

    /// Whether timer `id` fires at `at` or before.
    pub fn fires_by(&self, id: u32, at: Time) -> bool {
        let link = &self.links[id as usize];
        link.list != NONE && link.due.wrapping_sub(tick_of(at).wrapping_add(1)) as i32 <= 0
    }

    /// Unsets timer `id`.
    pub fn clear(&mut self, id: u32) {
        if self.links[id as usize].list != NONE {
            self.unlink(id);
            self.set -= 1;
        }
    }

    /// Moves the clock to `now`; what is due then can be [taken](Wheel::take_due).
    pub fn advance(&mut self, now: Time) {
        let now = tick_of(now);
        if self.set == 0 {
            // Nothing to fire on the way.
            if (now.wrapping_sub(self.tick) as i32) > 0 {
                self.tick = now;
            }
            return;
        }
        while (now.wrapping_sub(self.tick) as i32) > 0 {
            self.tick = self.tick.wrapping_add(1);
            for level in (1..LEVELS as u32).rev() {
                if self.tick & ((1 << (SLOT_BITS * level)) - 1) == 0 {
                    self.relink_list(slot(level, self.tick));
                }
            }
            self.relink_list(slot(0, self.tick));
        }
    }

    /// Takes one timer that is due and unsets it.
    pub fn take_due(&mut self) -> Option<u32> {
        let id = self.heads[DUE as usize];
        (id != NONE).then(|| {
            self.clear(id);
            id
        })
    }

    /// Puts every timer of a list where it belongs now.
    fn relink_list(&mut self, list: u32) {
        let mut id = std::mem::replace(&mut self.heads[list as usize], NONE);
        while id != NONE {
            let next = self.links[id as usize].next;
            self.link(id);
            id = next;
        }
    }

    fn link(&mut self, id: u32) {
        let due = self.links[id as usize].due;
        let ahead = due.wrapping_sub(self.tick);
        let list = if ahead as i32 <= 0 {
            DUE
        } else {
            let level = (ahead.ilog2() / SLOT_BITS).min(LEVELS as u32 - 1);
            // Further than the last level reaches: as far as it reaches, to be linked again from there.
            let reach = self
                .tick
                .wrapping_add(ahead.min((1 << (SLOT_BITS * LEVELS as u32)) - 1));
            slot(level, reach)
        };
        let head = std::mem::replace(&mut self.heads[list as usize], id);
        if head != NONE {
            self.links[head as usize].previous = id;
        }
        self.links[id as usize] = Link {
            previous: NONE,
            next: head,
            list,
            due,
        };
    }

    fn unlink(&mut self, id: u32) {
        let Link {
            previous,
            next,
            list,
            ..
        } = self.links[id as usize];
        match previous {
            NONE => self.heads[list as usize] = next,
            _ => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        self.links[id as usize] = UNSET;
    }
}

fn slot(level: u32, tick: u32) -> u32 {
    level * SLOTS as u32 + ((tick >> (SLOT_BITS * level)) & (SLOTS as u32 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    const TICK: u64 = 1 << TICK_BITS;

    fn taken(wheel: &mut Wheel) -> Vec<u32> {
        let mut ids: Vec<u32> = std::iter::from_fn(|| wheel.take_due()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_timer_fires_within_a_tick_after_it_is_due_and_never_before() {
        for seconds in [1, 4, 5, 60, 900, 1100, 86_400, 400_000] {
            let mut wheel = Wheel::new(1);
            let at = Time::ZERO + Duration::from_secs(seconds);
            wheel.set(0, at);
            wheel.advance(at);
            assert_eq!(taken(&mut wheel), [], "{seconds}");
            wheel.advance(Time::from_nanos(at.as_nanos() + TICK));
            assert_eq!(taken(&mut wheel), [0], "{seconds}");
        }
    }

    #[test]
    fn a_timer_in_the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::new(2);
        wheel.set(0, Time::from_nanos(TICK));
        wheel.advance(Time::from_nanos(1000 * TICK));
        assert_eq!(taken(&mut wheel), [0]);
        wheel.set(1, Time::from_nanos(TICK));
        wheel.advance(Time::from_nanos(1001 * TICK));
        assert_eq!(taken(&mut wheel), [1]);
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
            let mut wheel = Wheel::new(16);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Set(id, ticks) => {
                        wheel.set(id, Time::from_nanos((now + ticks) * TICK));
                        model.insert(id, now + ticks + 1);
                    }
                    Op::Clear(id) => {
                        wheel.clear(id);
                        model.remove(&id);
                    }
                    Op::Advance(ticks) => {
                        now += ticks;
                        wheel.advance(Time::from_nanos(now * TICK));
                        let due: Vec<u32> = model.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(taken(&mut wheel), due);
                    }
                }
            }
        }
    }
}

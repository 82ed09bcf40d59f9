//! Weighted round robin (kernel `net/netfilter/ipvs/ip_vs_wrr.c`).
//!
//! ```text
//! step := the greatest common divisor of the weights; top := the greatest weight - (step - 1)
//! level := top; the position := before the head
//! for dest in the places after the position, and again from the head after each end of the list:
//!     at each end of the list: level := level - step, or top if that is not positive
//!     if weight(dest) >= level and it is not overloaded: the position := dest; return dest
//!     if all dests were passed over on the lowest level: return none
//! ```
//!
//! Levels end with 1, so that a weight that is being lowered is met. A server added, removed or edited sends the
//! position back before the head and leaves the level, if it still is one.

use lb_model::{Dests, Request, Scheduler, Time};

use crate::divisor::greatest_common_divisor;

/// The `wrr` scheduler.
#[derive(Clone, Default)]
pub struct WeightedRoundRobin {
    /// The last choice's position; `None` before the head.
    last: Option<usize>,
    /// What a server must weigh in this round of the list.
    level: i64,
    top: i64,
    step: i64,
}

impl Scheduler for WeightedRoundRobin {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        if self.top == 0 {
            return None;
        }
        let start = self.last;
        // The last place to look at, once the round on the lowest level has begun in the middle of the list.
        let mut stop = None;
        let (mut lowest, mut from_top) = (false, false);
        loop {
            for at in self.last.map_or(0, |last| last + 1)..dests.len() {
                let dest = &dests[at];
                self.last = Some(at);
                if !dest.is_overloaded() && i64::from(dest.weight()) >= self.level {
                    return Some(at);
                }
                if self.last == stop {
                    return None;
                }
            }
            self.last = None;
            self.level -= self.step;
            if self.level <= 0 {
                self.level = self.top;
                if lowest || start.is_none() {
                    return None;
                }
                from_top = true;
            }
            lowest = self.level <= self.step;
            if lowest && from_top && start.is_some() {
                stop = start;
            }
        }
    }

    fn dests_changed(&mut self, dests: &Dests, _now: Time) {
        let weights = || dests.iter().map(|dest| dest.weight());
        self.last = None;
        self.step = i64::from(greatest_common_divisor(weights()).max(1));
        self.top = i64::from(weights().max().unwrap_or(0)) - (self.step - 1);
        if self.level > self.top || self.level == 0 {
            self.level = self.top;
        } else if self.step > 1 {
            self.level = self.level / self.step * self.step + 1;
        }
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, overload};

    #[test]
    fn heavier_servers_come_more_often_and_first() {
        let mut service = Service::of("wrr", &[1, 3, 2]);
        let round = [Some(1), Some(1), Some(2), Some(0), Some(1), Some(2)];
        assert_eq!(service.choices(6), round);
        assert_eq!(service.choices(6), round);
    }

    #[test]
    fn none_is_chosen_when_all_are_overloaded_and_the_search_ends() {
        for chosen_before in 0..4 {
            let mut service = Service::of("wrr", &[4, 2, 0]);
            service.choices(chosen_before);
            overload(&service.dests[0]);
            overload(&service.dests[1]);
            assert_eq!(service.choices(2), [None, None]);
        }
        assert_eq!(Service::of("wrr", &[0, 0]).choice(), None);
        assert_eq!(Service::of("wrr", &[]).choice(), None);
    }

    #[test]
    fn an_edit_sends_the_position_back_and_keeps_the_level() {
        let mut service = Service::of("wrr", &[1, 3]);
        assert_eq!(service.choices(3), [Some(1), Some(1), Some(0)]);
        service.edit(|_| ());
        assert_eq!(service.choice(), Some(0), "level 1, from the head");
        service.edit(|dests| dests[1].set_weight(8));
        assert_eq!(service.choices(3), [Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn a_level_on_a_new_step_is_raised_so_that_the_last_one_is_1() {
        let mut service = Service::of("wrr", &[4, 2]);
        assert_eq!(service.choice(), Some(0), "level 3");
        service.edit(|dests| {
            dests[0].set_weight(6);
            dests[1].set_weight(3);
        });
        assert_eq!(service.choices(3), [Some(0), Some(0), Some(1)]);
    }
}

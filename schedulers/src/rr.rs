//! Round robin (kernel `net/netfilter/ipvs/ip_vs_rr.c`).
//!
//! ```text
//! for dest in the places after the last choice, then from the head up to and with the last choice:
//!     if weight(dest) > 0 and it is not overloaded: the last choice := dest; return dest
//! return none
//! ```
//!
//! A server that is removed while it is the last choice hands that place to the server before it.

use std::sync::Arc;

use lb_model::{Dest, Dests, Request, Scheduler, Time};

/// The `rr` scheduler.
#[derive(Clone, Default)]
pub struct RoundRobin {
    order: Vec<Arc<Dest>>,
    /// The last choice's position; `None` before the first, at the list's head.
    last: Option<usize>,
}

impl Scheduler for RoundRobin {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let mut at = self.last.map_or(0, |last| last + 1);
        for _ in 0..dests.len() {
            at = if at < dests.len() { at } else { 0 };
            if dests[at].takes_conns() {
                self.last = Some(at);
                return self.last;
            }
            at += 1;
        }
        None
    }

    fn dests_changed(&mut self, dests: &Dests, _now: Time) {
        self.last = self.last.and_then(|last| {
            // Backwards from the last choice to a server that is still there.
            self.order[..=last]
                .iter()
                .rev()
                .find_map(|old| dests.iter().position(|new| Arc::ptr_eq(old, new)))
        });
        self.order = dests.to_vec();
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, dests, overload};

    #[test]
    fn every_server_takes_its_turn_from_the_head() {
        let mut service = Service::of("rr", &[1, 9, 1]);
        assert_eq!(service.choices(4), [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn quiesced_and_overloaded_servers_are_passed_over() {
        let mut service = Service::of("rr", &[1, 0, 1, 1]);
        overload(&service.dests[3]);
        assert_eq!(service.choices(3), [Some(0), Some(2), Some(0)]);
        assert_eq!(Service::of("rr", &[0, 0]).choice(), None);
        assert_eq!(Service::of("rr", &[]).choice(), None);
    }

    #[test]
    fn removing_the_last_choice_steps_back_one_place() {
        let mut service = Service::of("rr", &[1, 1, 1, 1]);
        assert_eq!(service.choices(2), [Some(0), Some(1)]);
        service.replace(|dests| {
            dests.remove(1);
        });
        assert_eq!(service.choice(), Some(1), "the one after the removed");
        service.replace(|servers| servers.insert(0, dests(&[1]).remove(0)));
        assert_eq!(
            service.choice(),
            Some(3),
            "a new head does not move the position"
        );
    }
}

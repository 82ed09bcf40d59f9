//! Round robin: each server in turn (kernel `net/netfilter/ipvs/ip_vs_rr.c`).
//!
//! ```text
//! for dest in the places after the last choice, then from the head up to and with the last choice:
//!     if weight(dest) > 0: the last choice := dest; return dest
//! return none
//! ```
//!
//! A server that is removed while it is the last choice hands that place to the server before it.

use std::sync::Arc;

use lb_model::{Dest, FlowKey, Scheduler};

/// The `rr` scheduler.
#[derive(Default)]
pub struct RoundRobin {
    order: Vec<Arc<Dest>>,
    /// The last choice's position; `None` before the first, at the list's head.
    last: Option<usize>,
}

impl Scheduler for RoundRobin {
    fn schedule(&mut self, _flow: &FlowKey, dests: &[Arc<Dest>]) -> Option<usize> {
        let after_last = self.last.map_or(0, |last| last + 1);
        let choice = (after_last..dests.len())
            .chain(0..after_last)
            .find(|at| dests[*at].weight() > 0)?;
        self.last = Some(choice);
        Some(choice)
    }

    fn dests_changed(&mut self, dests: &[Arc<Dest>]) {
        self.last = self.last.and_then(|last| {
            // Backwards from the last choice to a server that is still there.
            self.order[..=last]
                .iter()
                .rev()
                .find_map(|old| dests.iter().position(|new| Arc::ptr_eq(old, new)))
        });
        self.order = dests.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Endpoint;

    fn servers(weights: &[u16]) -> Vec<Arc<Dest>> {
        let rip = |i: usize| {
            format!("10.1.0.{}:80", i + 1)
                .parse::<Endpoint>()
                .expect("valid")
        };
        weights
            .iter()
            .enumerate()
            .map(|(i, weight)| Arc::new(Dest::new(rip(i), *weight)))
            .collect()
    }

    fn choices(rr: &mut RoundRobin, dests: &[Arc<Dest>], count: usize) -> Vec<Option<usize>> {
        (0..count)
            .map(|_| rr.schedule(&FlowKey::UNKNOWN, dests))
            .collect()
    }

    #[test]
    fn every_server_takes_its_turn_from_the_head() {
        let dests = servers(&[1, 1, 1]);
        let mut rr = RoundRobin::default();
        rr.dests_changed(&dests);
        assert_eq!(
            choices(&mut rr, &dests, 4),
            [Some(0), Some(1), Some(2), Some(0)]
        );
    }

    #[test]
    fn a_quiesced_server_is_passed_over_and_none_is_chosen_when_all_are() {
        let dests = servers(&[1, 0, 1]);
        let mut rr = RoundRobin::default();
        rr.dests_changed(&dests);
        assert_eq!(choices(&mut rr, &dests, 3), [Some(0), Some(2), Some(0)]);
        let mut rr = RoundRobin::default();
        assert_eq!(choices(&mut rr, &servers(&[0, 0]), 1), [None]);
        assert_eq!(choices(&mut rr, &[], 1), [None]);
    }

    #[test]
    fn removing_the_last_choice_steps_back_one_place() {
        let mut dests = servers(&[1, 1, 1, 1]);
        let mut rr = RoundRobin::default();
        rr.dests_changed(&dests);
        assert_eq!(choices(&mut rr, &dests, 2), [Some(0), Some(1)]);
        dests.remove(1);
        rr.dests_changed(&dests);
        assert_eq!(
            choices(&mut rr, &dests, 1),
            [Some(1)],
            "the one after the removed"
        );
        dests.insert(0, servers(&[1]).remove(0));
        rr.dests_changed(&dests);
        assert_eq!(
            choices(&mut rr, &dests, 1),
            [Some(3)],
            "a new head does not move the position"
        );
    }
}

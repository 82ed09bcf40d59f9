//! Weighted fail-over (kernel `net/netfilter/ipvs/ip_vs_fo.c`).
//!
//! ```text
//! return the dest with the greatest weight among those with weight > 0 and not overloaded,
//!     of equals the first; none if there is none
//! ```

use lb_model::{Dest, Dests, Request, Scheduler};

/// The `fo` scheduler.
#[derive(Clone, Default)]
pub struct Failover;

impl Scheduler for Failover {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        heaviest(dests, Dest::takes_conns)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

/// The heaviest of the servers that `may` get the conn, of equals the first.
pub fn heaviest(dests: &Dests, may: impl Fn(&Dest) -> bool) -> Option<usize> {
    let mut heaviest = None;
    let mut weight = 0;
    for (at, dest) in dests.iter().enumerate() {
        if dest.weight() > weight && may(dest) {
            (heaviest, weight) = (Some(at), dest.weight());
        }
    }
    heaviest
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, overload};

    #[test]
    fn the_greatest_weight_takes_all_until_it_is_gone() {
        let mut service = Service::of("fo", &[2, 5, 5]);
        assert_eq!(service.choices(2), [Some(1), Some(1)]);
        overload(&service.dests[1]);
        assert_eq!(service.choice(), Some(2));
        service.dests[2].set_weight(0);
        assert_eq!(service.choice(), Some(0));
        service.dests[0].set_weight(0);
        assert_eq!(service.choice(), None);
    }
}

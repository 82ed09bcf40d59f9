//! Weighted least conns (kernel `net/netfilter/ipvs/ip_vs_wlc.c`).
//!
//! ```text
//! load(dest) := 256 * active(dest) + inactive(dest)
//! return the dest with the least load(dest) / weight(dest) among those with weight > 0 and not overloaded,
//!     of equals the first; none if there is none
//! ```

use lb_model::{Dest, Dests, Request, Scheduler};

use crate::least::least_loaded;

/// The `wlc` scheduler.
#[derive(Clone, Default)]
pub struct WeightedLeastConns;

impl Scheduler for WeightedLeastConns {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        least_loaded(dests.iter().enumerate(), Dest::overhead)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns};

    #[test]
    fn conns_are_weighed_against_weights() {
        let mut service = Service::of("wlc", &[1, 3, 2]);
        conns(&service.dests[0], 1, 0);
        conns(&service.dests[1], 3, 0);
        conns(&service.dests[2], 2, 1);
        assert_eq!(service.choice(), Some(0), "of equals the first");
        conns(&service.dests[0], 0, 1);
        assert_eq!(service.choice(), Some(1));
        service.dests[1].set_weight(0);
        assert_eq!(service.choice(), Some(2));
    }
}

//! Never queue (kernel `net/netfilter/ipvs/ip_vs_nq.c`).
//!
//! ```text
//! candidates: dests with weight > 0 and not overloaded
//! if one has no active conn: return the first such
//! return the dest with the least (active(dest) + 1) / weight(dest), as sed does; none if there is none
//! ```

use lb_model::{Dests, Request, Scheduler};

use crate::least::least_loaded;
use crate::sed::with_one_more;

/// The `nq` scheduler.
#[derive(Clone, Default)]
pub struct NeverQueue;

impl Scheduler for NeverQueue {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        dests
            .iter()
            .position(|dest| dest.takes_conns() && dest.active() == 0)
            .or_else(|| least_loaded(dests.iter().enumerate(), with_one_more))
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns};

    #[test]
    fn an_idle_server_comes_first_whatever_its_weight() {
        let mut service = Service::of("nq", &[9, 1, 0]);
        conns(&service.dests[0], 1, 0);
        conns(&service.dests[1], 0, 100);
        assert_eq!(service.choice(), Some(1));
        conns(&service.dests[1], 1, 0);
        assert_eq!(service.choice(), Some(0));
    }
}

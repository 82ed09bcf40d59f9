//! Least conns (kernel `net/netfilter/ipvs/ip_vs_lc.c`).
//!
//! ```text
//! return the dest with the least 256 * active + inactive among those with weight > 0 and not overloaded,
//!     of equals the first; none if there is none
//! ```
//!
//! Apart from 0, weights do not count.

use lb_model::{Dests, Request, Scheduler};

/// The `lc` scheduler.
#[derive(Clone, Default)]
pub struct LeastConns;

impl Scheduler for LeastConns {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let taking = dests.iter().enumerate().filter(|(_, d)| d.takes_conns());
        taking.min_by_key(|(_, d)| d.overhead()).map(|(at, _)| at)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns};

    #[test]
    fn an_active_conn_is_as_much_as_256_inactive_ones() {
        let mut service = Service::of("lc", &[1, 9, 9]);
        conns(&service.dests[0], 1, 0);
        conns(&service.dests[1], 0, 256);
        conns(&service.dests[2], 0, 257);
        assert_eq!(service.choice(), Some(0), "of equals the first");
        service.dests[0].conn_ended(true);
        service.dests[2].set_weight(0);
        conns(&service.dests[0], 0, 300);
        assert_eq!(service.choice(), Some(1), "quiesced servers are left out");
    }
}

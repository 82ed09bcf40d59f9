//! Weighted overflow (kernel `net/netfilter/ipvs/ip_vs_ovf.c`).
//!
//! ```text
//! return the dest with the greatest weight among those with weight > 0, not overloaded, and active <= weight,
//!     of equals the first; none if there is none
//! ```
//!
//! The weight is how many conns a server holds before they flow over to the next; as in the kernel it is one more.

use lb_model::{Dests, Request, Scheduler};

use crate::fo::heaviest;

/// The `ovf` scheduler.
#[derive(Clone, Default)]
pub struct Overflow;

impl Scheduler for Overflow {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        heaviest(dests, |dest| {
            dest.takes_conns() && dest.active() <= dest.weight()
        })
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns};

    #[test]
    fn a_server_takes_one_conn_more_than_its_weight_before_the_next_gets_any() {
        let mut service = Service::of("ovf", &[1, 2]);
        let mut next = || {
            let choice = service.choice()?;
            conns(&service.dests[choice], 1, 0);
            Some(choice)
        };
        let choices: Vec<_> = (0..6).map(|_| next()).collect();
        assert_eq!(choices, [Some(1), Some(1), Some(1), Some(0), Some(0), None]);
    }
}

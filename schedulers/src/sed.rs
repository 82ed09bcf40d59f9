//! Shortest expected delay (kernel `net/netfilter/ipvs/ip_vs_sed.c`).
//!
//! ```text
//! delay(dest) := (active(dest) + 1) / weight(dest), as if the new conn were there already
//! return the dest with the least delay(dest) among those with weight > 0 and not overloaded,
//!     of equals the first; none if there is none
//! ```

use lb_model::{Dest, Dests, Request, Scheduler};

use crate::least::least_loaded;

/// The `sed` scheduler.
#[derive(Clone, Default)]
pub struct ShortestExpectedDelay;

impl Scheduler for ShortestExpectedDelay {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        least_loaded(dests.iter().enumerate(), with_one_more)
    }

    fn copy(&self) -> Option<Box<dyn Scheduler>> {
        Some(Box::new(self.clone()))
    }
}

/// The active conns of `dest` if it got the new one.
pub fn with_one_more(dest: &Dest) -> u64 {
    u64::from(dest.active()) + 1
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns};

    #[test]
    fn idle_servers_wait_while_a_strong_one_is_sooner_done() {
        let mut service = Service::of("sed", &[1, 3]);
        let mut next = || {
            let choice = service.choice().expect("a server");
            conns(&service.dests[choice], 1, 5);
            choice
        };
        assert_eq!([next(), next(), next(), next()], [1, 1, 0, 1]);
    }
}

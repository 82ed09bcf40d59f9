//! Locality-based least conns (kernel `net/netfilter/ipvs/ip_vs_lblc.c`).
//!
//! ```text
//! dest := what is remembered of the request's destination address
//! if it is remembered, is a server of the service still, has weight > 0,
//!         and not (active(dest) > weight(dest) and some server has 2 * active < weight):
//!     return dest
//! dest := the choice of wlc; return none if there is none
//! remember it of the destination address
//! return dest
//! ```
//!
//! A remembered server is used even over its upper threshold. What is remembered is so for all workers, as it is for all
//! CPUs of the kernel; how long stands in `locality.rs`.

use std::sync::Arc;
use std::time::Duration;

use lb_model::{Dest, Dests, Prepared, Request, Scheduler, SchedulerKind, Time};
use parking_lot::Mutex;

use crate::SchedulerOptions;
use crate::least::least_loaded;
use crate::locality::{Member, Shared, should_share};

/// The `lblc` scheduler.
pub struct Lblc {
    expiration: Duration,
    servers: Shared<Member>,
}

impl Lblc {
    /// With the expiration in `options`.
    pub fn new(options: &SchedulerOptions) -> Lblc {
        Lblc {
            expiration: options.lblc_expiration,
            servers: Shared::default(),
        }
    }
}

impl SchedulerKind for Lblc {
    fn worker(&self) -> Box<dyn Scheduler> {
        Box::new(Worker {
            servers: Arc::clone(&self.servers),
        })
    }

    fn prepare(&self, _dests: &[Arc<Dest>]) -> Option<Prepared> {
        Some(Arc::new(self.expiration))
    }
}

struct Worker {
    servers: Shared<Member>,
}

impl Scheduler for Worker {
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let now = request.now;
        let mut servers = self.servers.lock();
        servers.expire(now, *dests.prepared::<Duration>()?);

        let destination = request.flow.destination.addr;
        let remembered = servers.find(&destination, now);
        let position = remembered.and_then(|member| member.position(dests));
        let usable = |at: &usize| dests[*at].weight() > 0 && !should_share(&dests[*at], dests);
        if let Some(at) = position.filter(usable) {
            return Some(at);
        }
        let at = least_loaded(dests.iter().enumerate(), Dest::overhead)?;
        if position != Some(at) {
            servers.remember(destination, Member::new(at, dests), now);
        }
        Some(at)
    }

    fn dests_changed(&mut self, _dests: &Dests, now: Time) {
        self.servers.lock().start(now);
    }

    fn copy_for(&self, request: &Request<'_>) -> Option<Box<dyn Scheduler>> {
        let known = self.servers.lock().only(&request.flow.destination.addr);
        let servers = Arc::new(Mutex::new(known));
        Some(Box::new(Worker { servers }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Service, conns, overload};

    const A: &str = "198.51.100.1:80";
    const B: &str = "198.51.100.2:80";

    #[test]
    fn a_destination_stays_with_its_server_until_that_is_busy_and_another_is_not() {
        let mut service = Service::of("lblc", &[2, 4]);
        let to = |service: &mut Service, vip| service.choice_for("192.0.2.1:1", vip);
        assert_eq!(to(&mut service, A), Some(0));
        conns(&service.dests[0], 2, 0);
        assert_eq!(to(&mut service, B), Some(1));
        assert_eq!(to(&mut service, A), Some(0), "not busier than its weight");
        conns(&service.dests[0], 1, 0);
        conns(&service.dests[1], 2, 0);
        assert_eq!(to(&mut service, A), Some(0), "no other is half idle");
        service.dests[1].conn_ended(true);
        assert_eq!(to(&mut service, A), Some(1));
        overload(&service.dests[1]);
        assert_eq!(to(&mut service, A), Some(1), "even over its threshold");
    }

    #[test]
    fn a_server_that_comes_back_is_remembered() {
        let mut service = Service::of("lblc", &[1, 1]);
        let to = |service: &mut Service, vip| service.choice_for("192.0.2.1:1", vip);
        conns(&service.dests[0], 1, 0);
        assert_eq!(to(&mut service, A), Some(1));
        let removed = service.replace(|dests| dests.remove(1));
        assert_eq!(to(&mut service, B), Some(0));
        service.replace(|dests| dests.insert(0, removed));
        assert_eq!(to(&mut service, A), Some(0));
    }
}

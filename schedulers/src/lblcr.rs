//! Locality-based least conns with replication (kernel `net/netfilter/ipvs/ip_vs_lblcr.c`).
//!
//! ```text
//! set := what is remembered of the request's destination address, the last added server first
//! if set is remembered:
//!     dest := the choice of wlc among those in set that are servers of the service still
//!     if set has several servers and did not change for longer than the expiration:
//!         take the one with the greatest load, as wlc weighs it, out of set; of equals the first
//!     if there is a dest and not (active(dest) > weight(dest) and some server has 2 * active < weight):
//!         return dest
//! dest := the choice of wlc among all servers; return none if there is none
//! add it to set, or remember a set of it
//! return dest
//! ```
//!
//! Sets are those of all workers. How long one is remembered stands in `locality.rs`.

use std::sync::Arc;
use std::time::Duration;

use lb_model::{Dest, Dests, Prepared, Request, Scheduler, SchedulerKind, Time};
use parking_lot::Mutex;

use crate::SchedulerOptions;
use crate::least::least_loaded;
use crate::locality::{Member, Shared, should_share};

/// The `lblcr` scheduler.
pub struct Lblcr {
    expiration: Duration,
    sets: Shared<ServerSet>,
}

impl Lblcr {
    /// With the expiration in `options`.
    pub fn new(options: &SchedulerOptions) -> Lblcr {
        Lblcr {
            expiration: options.lblcr_expiration,
            sets: Shared::default(),
        }
    }
}

impl SchedulerKind for Lblcr {
    fn worker(&self) -> Box<dyn Scheduler> {
        Box::new(Worker {
            sets: Arc::clone(&self.sets),
        })
    }

    fn prepare(&self, _dests: &[Arc<Dest>]) -> Option<Prepared> {
        Some(Arc::new(self.expiration))
    }
}

struct Worker {
    sets: Shared<ServerSet>,
}

impl Scheduler for Worker {
    fn schedule(&mut self, request: &Request<'_>, dests: &Dests) -> Option<usize> {
        let now = request.now;
        let expiration = *dests.prepared::<Duration>()?;
        let mut sets = self.sets.lock();
        sets.expire(now, expiration);

        let destination = request.flow.destination.addr;
        let all = || least_loaded(dests.iter().enumerate(), Dest::overhead);
        let Some(set) = sets.find(&destination, now) else {
            let at = all()?;
            let set = ServerSet::of(Member::new(at, dests), now);
            sets.remember(destination, set, now);
            return Some(at);
        };
        let least = set.least(dests);
        if set.servers.len() > 1 && now > set.changed + expiration {
            set.shrink(now);
        }
        if let Some(at) = least.filter(|at| !should_share(&dests[*at], dests)) {
            return Some(at);
        }
        let at = all()?;
        set.add(Member::new(at, dests), now);
        Some(at)
    }

    fn dests_changed(&mut self, _dests: &Dests, now: Time) {
        self.sets.lock().start(now);
    }

    fn copy_for(&self, request: &Request<'_>) -> Option<Box<dyn Scheduler>> {
        let known = self.sets.lock().only(&request.flow.destination.addr);
        let sets = Arc::new(Mutex::new(known));
        Some(Box::new(Worker { sets }))
    }
}

/// The servers of one destination address.
#[derive(Clone)]
struct ServerSet {
    /// The last added first; removed servers stay, and count again when they come back.
    servers: Vec<Member>,
    changed: Time,
}

impl ServerSet {
    fn of(server: Member, now: Time) -> ServerSet {
        ServerSet {
            servers: vec![server],
            changed: now,
        }
    }

    fn add(&mut self, server: Member, now: Time) {
        let is_new = |other: &Member| !Arc::ptr_eq(other.dest(), server.dest());
        if self.servers.iter().all(is_new) {
            self.servers.insert(0, server);
            self.changed = now;
        }
    }

    /// The position of the least loaded server.
    fn least(&mut self, dests: &Dests) -> Option<usize> {
        let present = self
            .servers
            .iter_mut()
            .filter_map(|member| member.position(dests))
            .map(|at| (at, &dests[at]));
        least_loaded(present, Dest::overhead)
    }

    /// Takes the most loaded server out, whether it is a server of the service still or not.
    fn shrink(&mut self, now: Time) {
        let mut most: Option<(usize, u64, u64)> = None;
        for (at, member) in self.servers.iter().enumerate() {
            let (load, weight) = (member.dest().overhead(), u64::from(member.dest().weight()));
            if weight > 0 && most.is_none_or(|(_, most, of)| most * weight < load * of) {
                most = Some((at, load, weight));
            }
        }
        if let Some((at, ..)) = most {
            self.servers.remove(at);
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::SchedulerOptions;
    use crate::testing::{Service, conns};

    const VIP: &str = "198.51.100.1:80";

    fn service() -> Service {
        let options = SchedulerOptions {
            lblcr_expiration: Duration::from_secs(10),
            ..SchedulerOptions::default()
        };
        Service::with("lblcr", &[1, 4], &options)
    }

    fn choice(service: &mut Service) -> Option<usize> {
        service.choice_for("192.0.2.1:1", VIP)
    }

    #[test]
    fn a_busy_destination_gets_more_servers() {
        let mut service = service();
        assert_eq!(choice(&mut service), Some(0));
        conns(&service.dests[0], 2, 0);
        assert_eq!(choice(&mut service), Some(1), "a half idle one joins");
        conns(&service.dests[1], 8, 0);
        assert_eq!(choice(&mut service), Some(1), "of equals the last added");
        conns(&service.dests[1], 1, 0);
        assert_eq!(choice(&mut service), Some(0), "the least loaded of both");
    }

    #[test]
    fn a_set_that_did_not_change_for_long_loses_its_most_loaded_server() {
        let mut service = service();
        choice(&mut service);
        conns(&service.dests[0], 2, 0);
        choice(&mut service);
        conns(&service.dests[1], 12, 0);
        service.wait(10);
        assert_eq!(choice(&mut service), Some(0));
        service.wait(1);
        assert_eq!(choice(&mut service), Some(0), "the other one is taken out");
        conns(&service.dests[0], 5, 0);
        assert_eq!(choice(&mut service), Some(0), "although it has less to do");
    }
}

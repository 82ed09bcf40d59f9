//! Virtual services and their real servers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Endpoint, Mode, Protocol, SchedulerFactory};

/// What names a virtual service: VIP:vport and protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceKey {
    /// VIP:vport.
    pub vip: Endpoint,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.vip)
    }
}

/// A virtual service: VIP:vport:protocol, a scheduler, a mode, its real servers.
#[derive(Clone)]
pub struct VirtualService {
    key: ServiceKey,
    scheduler_name: String,
    scheduler: SchedulerFactory,
    mode_id: u8,
    mode: Arc<dyn Mode>,
    dests: Vec<Arc<Dest>>,
}

impl VirtualService {
    /// A service; `mode_id` is the mode's number in the engine's registry, `servers` are in the order in which they
    /// were added.
    pub fn new(
        key: ServiceKey,
        scheduler: (String, SchedulerFactory),
        mode: (u8, Arc<dyn Mode>),
        servers: Vec<Arc<Dest>>,
    ) -> VirtualService {
        let dests = servers.into_iter().rev().collect();
        VirtualService {
            key,
            scheduler_name: scheduler.0,
            scheduler: scheduler.1,
            mode_id: mode.0,
            mode: mode.1,
            dests,
        }
    }

    /// What names it.
    pub fn key(&self) -> ServiceKey {
        self.key
    }

    /// Its scheduler's name.
    pub fn scheduler_name(&self) -> &str {
        &self.scheduler_name
    }

    /// Makes its scheduler for one worker.
    pub fn scheduler(&self) -> &SchedulerFactory {
        &self.scheduler
    }

    /// Its mode's number in the engine's registry.
    pub fn mode_id(&self) -> u8 {
        self.mode_id
    }

    /// Its mode.
    pub fn mode(&self) -> &dyn Mode {
        &*self.mode
    }

    /// Its real servers in IPVS's list order: the one added last comes first.
    pub fn dests(&self) -> &[Arc<Dest>] {
        &self.dests
    }
}

impl fmt::Debug for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {:?}",
            self.key,
            self.scheduler_name,
            self.mode.name(),
            self.dests
        )
    }
}

/// A real server in one service: RIP:rport with its weight and its conns, shared by all workers.
///
/// The counts are touched when a conn opens, changes between active and inactive, or ends: never per packet.
#[derive(Debug)]
pub struct Dest {
    rip: Endpoint,
    weight: AtomicU32,
    active: AtomicU32,
    inactive: AtomicU32,
}

impl Dest {
    /// A server without conns.
    pub fn new(rip: Endpoint, weight: u16) -> Dest {
        Dest {
            rip,
            weight: AtomicU32::new(weight.into()),
            active: AtomicU32::new(0),
            inactive: AtomicU32::new(0),
        }
    }

    /// RIP:rport.
    pub fn rip(&self) -> Endpoint {
        self.rip
    }

    /// Its weight, 0 to 65535; 0 quiesces it: no new conns, old ones live on.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Changes the weight, from the next scheduling decision on.
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight.into(), Ordering::Relaxed);
    }

    /// Conns in an active state (ipvsadm's ActiveConn).
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// All other conns (ipvsadm's InActConn).
    pub fn inactive(&self) -> u32 {
        self.inactive.load(Ordering::Relaxed)
    }

    /// A conn opened, in an active state or not.
    pub fn conn_opened(&self, active: bool) {
        self.count(active).fetch_add(1, Ordering::Relaxed);
    }

    /// A conn ended that was counted as `active` says.
    pub fn conn_ended(&self, active: bool) {
        self.count(active).fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, active: bool) -> &AtomicU32 {
        if active { &self.active } else { &self.inactive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_conns_between_active_and_inactive() {
        let dest = Dest::new("10.0.0.1:80".parse().expect("valid"), 1);
        dest.conn_opened(true);
        dest.conn_opened(false);
        dest.conn_ended(true);
        dest.conn_opened(false);
        assert_eq!((dest.active(), dest.inactive()), (0, 2));
    }
}

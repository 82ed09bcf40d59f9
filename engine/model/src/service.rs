//! Virtual services.

use std::fmt;
use std::sync::Arc;

use crate::{Dest, Endpoint, Mode, Protocol, SchedulerFactory};

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

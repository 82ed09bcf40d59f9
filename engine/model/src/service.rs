//! Virtual services.

use std::fmt;
use std::sync::Arc;

use crate::{Dests, Endpoint, Mode, Protocol, SchedulerKind};

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
    scheduler: Arc<dyn SchedulerKind>,
    mode_id: u8,
    mode: Arc<dyn Mode>,
    dests: Arc<Dests>,
}

impl VirtualService {
    /// A service; `mode_id` is the mode's number in the engine's registry.
    ///
    /// Whether two services have the same [`Dests`] object tells their schedulers whether a server was added, removed
    /// or edited.
    pub fn new(
        key: ServiceKey,
        scheduler: (String, Arc<dyn SchedulerKind>),
        mode: (u8, Arc<dyn Mode>),
        dests: Arc<Dests>,
    ) -> VirtualService {
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

    /// What makes its schedulers.
    pub fn scheduler(&self) -> &Arc<dyn SchedulerKind> {
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

    /// Its real servers.
    pub fn dests(&self) -> &Arc<Dests> {
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
            &self.dests[..]
        )
    }
}

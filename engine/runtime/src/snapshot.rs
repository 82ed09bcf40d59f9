//! The configuration as workers see it: never changed, only replaced.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::{Mode, ServiceKey, VirtualService};

/// All virtual services, and the modes that conns refer to by number.
#[derive(Clone, Default)]
pub struct Snapshot {
    services: Vec<VirtualService>,
    by_key: HashMap<ServiceKey, u32, RandomState>,
    modes: Vec<Arc<dyn Mode>>,
}

impl Snapshot {
    /// A snapshot; of two services with one key, the first counts.
    pub fn new(services: Vec<VirtualService>, modes: Vec<Arc<dyn Mode>>) -> Snapshot {
        let mut by_key = HashMap::with_capacity_and_hasher(services.len(), RandomState::new());
        for (position, service) in (0..).zip(&services) {
            by_key.entry(service.key()).or_insert(position);
        }
        Snapshot {
            services,
            by_key,
            modes,
        }
    }

    /// The services, in the configuration's order.
    pub fn services(&self) -> &[VirtualService] {
        &self.services
    }

    /// The modes, by their numbers.
    pub fn modes(&self) -> &[Arc<dyn Mode>] {
        &self.modes
    }

    /// The position of the service with this key.
    #[inline]
    pub fn find(&self, key: &ServiceKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }
}

//! The interfaces that local addresses are put on: by the configuration, or by `ipvsadm -P -F DEV`.

use std::collections::BTreeMap;

use lb_model::{Addr, ServiceId, VirtualService};

use super::ServiceTable;
use crate::Config;

/// The interface of each that is on one because of us.
#[derive(Default)]
pub(super) struct Places {
    by_hand: BTreeMap<(ServiceId, Addr), String>,
    configured: BTreeMap<(ServiceId, Addr), String>,
}

impl Places {
    pub(super) fn forget(&mut self, id: ServiceId, lip: Addr) {
        self.by_hand.remove(&(id, lip));
    }
}

impl ServiceTable {
    /// Notes that a local address is to be on this interface for as long as the service has it.
    #[cfg(feature = "live")]
    pub(crate) fn place_local_address(&mut self, id: ServiceId, lip: Addr, interface: &str) {
        let interface = interface.to_owned();
        self.places.by_hand.insert((id, lip), interface);
    }

    /// Notes what the configuration puts on interfaces.
    pub(crate) fn places_are_of(&mut self, config: &Config) {
        let services = config.services.iter();
        let placed = services.flat_map(|service| {
            let places = service.local_interfaces.iter();
            places.map(|(lip, interface)| ((service.id, *lip), interface.clone()))
        });
        self.places.configured = placed.collect();
    }

    /// The interface on which a local address of the service was put.
    pub fn place_of(&self, id: ServiceId, lip: Addr) -> Option<&str> {
        let key = (id, lip);
        let places = &self.places;
        let place = places.by_hand.get(&key).or(places.configured.get(&key));
        place.map(String::as_str)
    }

    /// The interfaces on which local addresses of the service were put.
    pub(super) fn places_of(&self, service: &VirtualService) -> BTreeMap<Addr, String> {
        let lips = service.settings().local_addresses.iter();
        let places = lips.filter_map(|lip| Some((*lip, self.place_of(service.id(), *lip)?)));
        places
            .map(|(lip, interface)| (lip, interface.to_owned()))
            .collect()
    }

    /// What is to be on interfaces by hand: where, and which.
    #[cfg(feature = "live")]
    pub(crate) fn placed(&mut self) -> Vec<(String, Addr)> {
        let services = &self.services;
        self.places.by_hand.retain(|(id, lip), _| {
            let service = services.named(id);
            service.is_some_and(|service| service.settings().local_addresses.contains(lip))
        });
        let places = self.places.by_hand.iter();
        places
            .map(|((_, lip), interface)| (interface.clone(), *lip))
            .collect()
    }
}

//! How far local ports are used.

use lb_conn::LocalUse;
use lb_model::{Addr, Endpoint, ServiceId, VirtualService};

use super::Engine;

/// The local ports towards one server of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalPortsOf {
    /// RIP:rport.
    pub server: Endpoint,
    /// Those that conns of the service have leased.
    pub leased: u32,
    /// All that there are, for every service that shares the addresses.
    pub capacity: u64,
}

impl Engine {
    /// How a local address, or in ENAT a VIP, is used by the conns of all services.
    pub fn local_use(&self, local: Addr) -> LocalUse {
        self.local_uses.of(local)
    }

    /// How many local ports each server's conns of a service have leased, and how many there are for them.
    pub fn local_ports_of(&self, id: ServiceId) -> Vec<LocalPortsOf> {
        let table = self.table.lock();
        let service = table.service(id);
        service
            .iter()
            .flat_map(|service| self.ports_of(service))
            .collect()
    }

    /// The same of every service's servers to which there are such conns.
    pub fn local_ports_in_use(&self) -> Vec<(ServiceId, LocalPortsOf)> {
        let table = self.table.lock();
        let services = table.services().iter();
        services
            .flat_map(|service| {
                let used = self.ports_of(service).filter(|ports| ports.leased > 0);
                used.map(|ports| (service.id(), ports))
            })
            .collect()
    }

    fn ports_of(&self, service: &VirtualService) -> impl Iterator<Item = LocalPortsOf> {
        let lips = service.settings().local_addresses.len() as u64;
        let capacity = self.local_ports.len() as u64 * lips.max(1);
        service.dests().iter().map(move |dest| LocalPortsOf {
            server: dest.rip(),
            leased: dest.leased(),
            capacity,
        })
    }
}

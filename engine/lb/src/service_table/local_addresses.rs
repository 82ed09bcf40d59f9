//! The local addresses of services, one by one.

use std::sync::Arc;

use lb_model::{Addr, ServiceId, VirtualService};

use super::{Refusal, ServiceTable};

impl ServiceTable {
    /// Lets a service use a local address (`ipvsadm -P`, as DPVS has it).
    pub fn add_local_address(&mut self, id: ServiceId, lip: Addr) -> Result<(), Refusal> {
        let mut list = self.service(id)?.settings().local_addresses.to_vec();
        if id.is_v4() != lip.is_v4() {
            return Err(Refusal::OtherFamily);
        }
        if list.contains(&lip) {
            return Err(Refusal::LocalAddressExists);
        }
        list.push(lip);
        self.renew_local_addresses(id, list)
    }

    /// Takes a local address from a service (`ipvsadm -Q`). Conns that use it live on.
    pub fn delete_local_address(&mut self, id: ServiceId, lip: Addr) -> Result<(), Refusal> {
        let mut list = self.service(id)?.settings().local_addresses.to_vec();
        let place = list.iter().position(|other| *other == lip);
        list.remove(place.ok_or(Refusal::NoSuchLocalAddress)?);
        self.places.forget(id, lip);
        self.renew_local_addresses(id, list)
    }

    fn renew_local_addresses(&mut self, id: ServiceId, list: Vec<Addr>) -> Result<(), Refusal> {
        let service = self.service(id)?;
        let mut settings = service.settings().clone();
        settings.local_addresses = list.into();
        let dests = Arc::clone(service.dests());
        self.services.put(VirtualService::new(id, settings, dests));
        Ok(())
    }
}

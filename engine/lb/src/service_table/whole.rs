//! The table as a whole: from and to what a configuration says.

use std::collections::{HashMap, HashSet};

use lb_model::{Dest, ServiceId, VirtualService};

use super::{Refusal, ServerSpec, ServiceSpec, ServiceTable};
use crate::{ServerConfig, ServiceConfig};

impl ServiceTable {
    /// Makes these the services and servers, each with its servers in the order of adding: what is there already and
    /// stays as it is is not touched. A server that is being drained stays so, and has its new weight afterwards.
    pub fn replace(&mut self, wanted: &[(ServiceSpec, Vec<ServerSpec>)]) -> Result<(), Refusal> {
        let named: HashSet<ServiceId> = wanted.iter().map(|(spec, _)| spec.id).collect();
        let present = self.services.iter().map(VirtualService::id);
        let gone: Vec<ServiceId> = present.filter(|id| !named.contains(id)).collect();
        for id in gone {
            self.delete_service(id)?;
        }
        for (service, servers) in wanted {
            match self.service(service.id) {
                Ok(_) => self.edit_service(service)?,
                Err(_) => self.add_service(service)?,
            }
            self.replace_servers(service.id, servers)?;
        }
        Ok(())
    }

    fn replace_servers(&mut self, id: ServiceId, wanted: &[ServerSpec]) -> Result<(), Refusal> {
        let running = self.service(id)?.dests().to_vec();
        let running = running
            .iter()
            .filter(|dest| !self.holds.is_stand_in(id, dest.rip()));
        let running: Vec<_> = running.cloned().collect();
        let out: Vec<ServerSpec> = self.holds.out(id).map(|(spec, _)| spec).collect();
        let present = running.iter().map(|dest| dest.rip());
        for rip in present.chain(out.iter().map(|spec| spec.rip)) {
            if !wanted.iter().any(|spec| spec.rip == rip) {
                self.delete_server(id, rip)?;
            }
        }
        for spec in wanted {
            let dest = running.iter().find(|dest| dest.rip() == spec.rip);
            let out = out.iter().find(|out| out.rip == spec.rip);
            match (dest, out) {
                (None, None) => self.add_server(id, spec)?,
                (Some(dest), _) if self.is_as_wanted(id, dest, spec) => {}
                (None, Some(out)) if out == spec => {}
                (Some(_), _) | (_, Some(_)) => self.edit_and_keep_drained(id, spec)?,
            }
        }
        Ok(())
    }

    /// Unlike an administrator, a file that gives a weight does not end a drain.
    fn edit_and_keep_drained(&mut self, id: ServiceId, spec: &ServerSpec) -> Result<(), Refusal> {
        let drained = self.holds.is_drained(id, spec.rip);
        self.edit_server(id, spec)?;
        if drained {
            self.drain_server(id, spec.rip);
        }
        Ok(())
    }

    fn is_as_wanted(&self, id: ServiceId, dest: &Dest, spec: &ServerSpec) -> bool {
        self.mode_of(spec) == Ok(dest.mode())
            && self.holds.given(id, dest.rip(), dest.weight()) == spec.weight
            && dest.thresholds() == spec.thresholds
            && dest.tunnel() == spec.tunnel
    }

    /// The services as a configuration says them, in the order of adding, as their servers. `applied` tells what is
    /// not kept here.
    pub(crate) fn configs(&self, applied: &[ServiceConfig]) -> Vec<ServiceConfig> {
        let applied: HashMap<ServiceId, &ServiceConfig> =
            applied.iter().map(|config| (config.id, config)).collect();
        let services = self.services.iter();
        services
            .map(|service| self.config_of(service, applied.get(&service.id()).copied()))
            .collect()
    }

    fn config_of(
        &self,
        service: &VirtualService,
        applied: Option<&ServiceConfig>,
    ) -> ServiceConfig {
        let settings = service.settings();
        let dests = service.dests();
        let mode = match (applied, dests.last()) {
            (Some(applied), _) => &applied.mode,
            (None, Some(first)) => self.mode_name(first),
            (None, None) if !settings.local_addresses.is_empty() => "fnat",
            // As ipvsadm's servers get it if nothing else is said.
            (None, None) => "dr",
        };
        let id = service.id();
        let present = dests.iter().rev();
        let present = present.filter(|dest| !self.holds.is_stand_in(id, dest.rip()));
        let present = present.map(|dest| {
            let (rip, spec) = (dest.rip(), self.spec_of(dest));
            let weight = self.holds.given(id, rip, spec.weight);
            (
                ServerSpec { weight, ..spec },
                self.holds.is_drained(id, rip),
            )
        });
        let servers = present
            .chain(self.holds.out(id))
            .map(|(spec, drained)| ServerConfig {
                rip: spec.rip,
                weight: spec.weight,
                mode: (spec.mode != mode).then_some(spec.mode),
                thresholds: spec.thresholds,
                tunnel: spec.tunnel,
                drained,
                held: false,
            });
        let servers: Vec<ServerConfig> = servers.collect();
        let own_modes = servers.iter().filter_map(|server| server.mode.as_deref());
        let is_full_nat = own_modes.chain([mode]).any(|mode| mode == "fnat");
        ServiceConfig {
            id,
            scheduler: settings.scheduler_name.clone(),
            scheduler_flags: settings.scheduler_flags,
            persistence: settings.persistence,
            one_packet: settings.one_packet,
            servers,
            mode: mode.to_owned(),
            vip_interface: applied.and_then(|applied| applied.vip_interface.clone()),
            local_addresses: settings.local_addresses.to_vec(),
            awaits_local_addresses: is_full_nat && settings.local_addresses.is_empty(),
            client_address: settings.client_address,
            local_interfaces: self.places_of(service),
        }
    }
}

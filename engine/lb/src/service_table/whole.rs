//! The table as a whole: from and to what a configuration says.

use lb_model::{Dest, ServiceId, VirtualService};

use super::{Refusal, ServerSpec, ServiceSpec, ServiceTable};
use crate::{ServerConfig, ServiceConfig};

impl ServiceTable {
    /// Makes these the services and servers, each with its servers in the order of adding: what is there already and
    /// stays as it is is not touched. A server that is being drained stays so, and has its new weight afterwards.
    pub fn replace(&mut self, wanted: &[(ServiceSpec, Vec<ServerSpec>)]) -> Result<(), Refusal> {
        let unwanted = |id| !wanted.iter().any(|(spec, _)| spec.id == id);
        let gone: Vec<ServiceId> = self
            .services
            .iter()
            .map(VirtualService::id)
            .filter(|id| unwanted(*id))
            .collect();
        for id in gone {
            self.delete_service(id)?;
        }
        for (service, servers) in wanted {
            match self.position(service.id) {
                Ok(_) => self.edit_service(service)?,
                Err(_) => self.add_service(service)?,
            }
            self.replace_servers(service.id, servers)?;
        }
        Ok(())
    }

    fn replace_servers(&mut self, id: ServiceId, wanted: &[ServerSpec]) -> Result<(), Refusal> {
        let running = self.services[self.position(id)?].dests().to_vec();
        for dest in &running {
            if !wanted.iter().any(|spec| spec.rip == dest.rip()) {
                self.delete_server(id, dest.rip())?;
            }
        }
        for spec in wanted {
            match running.iter().find(|dest| dest.rip() == spec.rip) {
                None => self.add_server(id, spec)?,
                Some(dest) if self.is_as_wanted(id, dest, spec) => {}
                Some(_) if self.drains.weight_of(id, spec.rip).is_some() => {
                    let weight = 0;
                    let edited = ServerSpec {
                        weight,
                        ..spec.clone()
                    };
                    self.edit_server(id, &edited)?;
                    self.drains.begin(id, spec.rip, spec.weight);
                }
                Some(_) => self.edit_server(id, spec)?,
            }
        }
        Ok(())
    }

    fn is_as_wanted(&self, id: ServiceId, dest: &Dest, spec: &ServerSpec) -> bool {
        let drained = self.drains.weight_of(id, dest.rip());
        let weight = drained.map_or(dest.weight(), u32::from);
        self.mode_of(spec) == Ok(dest.mode())
            && weight == spec.weight
            && dest.thresholds() == spec.thresholds
            && dest.tunnel() == spec.tunnel
    }

    /// The services as a configuration says them, in the order of adding, as their servers. `applied` tells what is
    /// not kept here.
    pub(crate) fn configs(&self, applied: &[ServiceConfig]) -> Vec<ServiceConfig> {
        let services = self.services.iter();
        services
            .map(|service| {
                let applied = applied.iter().find(|config| config.id == service.id());
                self.config_of(service, applied)
            })
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
        let servers = dests.iter().rev().map(|dest| {
            let (rip, own) = (dest.rip(), self.mode_name(dest));
            let drained = self.drains.weight_of(service.id(), rip);
            ServerConfig {
                rip,
                weight: drained.map_or(dest.weight(), u32::from),
                mode: (own != mode).then(|| own.to_owned()),
                thresholds: dest.thresholds(),
                tunnel: dest.tunnel(),
                drained: drained.is_some(),
            }
        });
        ServiceConfig {
            id: service.id(),
            scheduler: settings.scheduler_name.clone(),
            scheduler_flags: settings.scheduler_flags,
            persistence: settings.persistence,
            one_packet: settings.one_packet,
            servers: servers.collect(),
            mode: mode.to_owned(),
            vip_interface: applied.and_then(|applied| applied.vip_interface.clone()),
            local_addresses: settings.local_addresses.to_vec(),
            client_address: settings.client_address,
            local_interface: applied.and_then(|applied| applied.local_interface.clone()),
        }
    }
}

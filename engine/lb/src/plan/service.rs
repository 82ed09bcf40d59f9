//! What can be wrong with a service and its servers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_model::{Addr, Endpoint, Mode, Persistence, Protocol, ServiceId, Tunnel};
use lb_schedulers::SchedulerOptions;

use super::Planner;
use crate::{FullNatSpec, ServerConfig, ServerSpec, ServiceConfig, ServiceSpec};

const MAX_WEIGHT: u32 = 65_535;
/// ipvsadm's `MAX_TIMEOUT`.
const LONGEST_PERSISTENCE: Duration = Duration::from_secs(31 * 24 * 3600);

impl Planner<'_> {
    pub(super) fn service(
        &mut self,
        path: &str,
        service: &ServiceConfig,
    ) -> Option<(ServiceSpec, Vec<ServerSpec>)> {
        self.name(path, service);
        let scheduler = self
            .registry
            .scheduler(&service.scheduler, &SchedulerOptions::default());
        if scheduler.is_none() {
            let allowed = self.registry.scheduler_names();
            self.error(
                format!("{path}.scheduler"),
                format!("\"{}\", allowed: {allowed}", service.scheduler),
            );
        }
        if let Some(persistence) = &service.persistence {
            self.persistence(&format!("{path}.persistence"), service.id, persistence);
        }
        let mode = self.mode(&format!("{path}.mode"), &service.mode);
        self.local_addresses(path, service);
        let mut first_of: HashMap<Endpoint, usize> = HashMap::new();
        let mut servers = Vec::new();
        for (position, server) in service.servers.iter().enumerate() {
            let path = format!("{path}.server[{position}]");
            let first = *first_of.entry(server.rip).or_insert(position);
            if first != position {
                self.error(
                    format!("{path}.rip"),
                    format!("{} is server[{first}] of this service already", server.rip),
                );
            }
            servers.extend(self.server(&path, service, server));
        }
        (scheduler.is_some() && mode.is_some()).then(|| {
            let spec = ServiceSpec {
                id: service.id,
                scheduler: service.scheduler.clone(),
                scheduler_flags: service.scheduler_flags,
                persistence: service.persistence,
                persistence_engine: None,
                one_packet: service.one_packet,
                full_nat: Some(FullNatSpec {
                    local_addresses: service.local_addresses.clone(),
                    client_address: service.client_address,
                }),
            };
            (spec, servers)
        })
    }

    /// What names a service, and what can be said of one so named.
    fn name(&mut self, path: &str, service: &ServiceConfig) {
        match service.id {
            ServiceId::Address(key) => {
                let path = format!("{path}.vip");
                self.host(&path, key.vip);
                if key.vip.port == 0 && service.persistence.is_none() {
                    let problem = format!(
                        "{}, allowed: ports 1..=65535, or with persistence 0 for every port",
                        key.vip
                    );
                    self.error(path, problem);
                }
            }
            ServiceId::Mark(mark) => {
                if mark.mark == 0 {
                    self.error(format!("{path}.mark"), "0, allowed 1..=4294967295".into());
                }
                if service.vip_interface.is_some() {
                    self.error(
                        format!("{path}.vip_interface"),
                        "allowed with a vip only: a mark is no address".into(),
                    );
                }
            }
        }
        let is_tcp = matches!(service.id, ServiceId::Address(key) if key.protocol == Protocol::Tcp);
        if service.one_packet && is_tcp {
            self.error(
                format!("{path}.one_packet"),
                "true, allowed for protocol \"udp\" and for marks".into(),
            );
        }
    }

    fn persistence(&mut self, path: &str, id: ServiceId, persistence: &Persistence) {
        let timeout = persistence.timeout;
        if timeout.is_zero() || timeout > LONGEST_PERSISTENCE || timeout.subsec_nanos() > 0 {
            self.error(
                format!("{path}.timeout"),
                format!("{timeout:?}, allowed: whole seconds, from 1 s to 31 days"),
            );
        }
        if persistence.netmask.is_v4() != id.is_v4() {
            self.error(
                format!("{path}.netmask"),
                format!(
                    "{}, allowed: one of the service's family",
                    persistence.netmask
                ),
            );
        }
    }

    fn mode(&mut self, path: &str, name: &str) -> Option<std::sync::Arc<dyn Mode>> {
        let mode = self.registry.mode(name).map(|(_, mode)| mode);
        if mode.is_none() {
            let allowed = self.registry.mode_names();
            self.error(path.to_owned(), format!("\"{name}\", allowed: {allowed}"));
        }
        mode
    }

    fn server(
        &mut self,
        path: &str,
        service: &ServiceConfig,
        server: &ServerConfig,
    ) -> Option<ServerSpec> {
        let name = server.mode.as_ref().unwrap_or(&service.mode);
        let mode = match &server.mode {
            Some(own) => self.mode(&format!("{path}.mode"), own),
            None => self.registry.mode(name).map(|(_, mode)| mode),
        };
        self.rip(
            &format!("{path}.rip"),
            service,
            server.rip,
            name,
            mode.as_deref(),
        );
        let weight = Some(server.weight).filter(|weight| *weight <= MAX_WEIGHT);
        if weight.is_none() {
            self.error(
                format!("{path}.weight"),
                format!("{}, allowed 0..={MAX_WEIGHT}", server.weight),
            );
        }
        let thresholds = server.thresholds;
        if thresholds.lower > thresholds.upper {
            self.error(
                format!("{path}.lower_threshold"),
                format!(
                    "{}, allowed 0..={}, the upper one",
                    thresholds.lower, thresholds.upper
                ),
            );
        }
        if server.tunnel != Tunnel::default() && mode.is_some_and(|mode| !mode.tunnels()) {
            let problem = format!(
                "{}, allowed in mode tun: mode {name} does not tunnel",
                server.tunnel
            );
            self.error(format!("{path}.tunnel"), problem);
        }
        Some(ServerSpec {
            rip: server.rip,
            mode: name.clone(),
            weight: weight?,
            thresholds,
            tunnel: server.tunnel,
        })
    }

    fn rip(
        &mut self,
        path: &str,
        service: &ServiceConfig,
        rip: Endpoint,
        name: &str,
        mode: Option<&dyn Mode>,
    ) {
        self.host(path, rip);
        let Some(mode) = mode else { return };
        let port = service.id.port();
        if !mode.maps_ports() && rip.port != port {
            let problem =
                format!("{rip}, allowed: port {port}, the service's: mode {name} cannot map ports");
            self.error(path.to_owned(), problem);
        }
        let is_v4 = service.id.is_v4();
        if !mode.crosses_families() && rip.addr.is_v4() != is_v4 {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            let problem = format!(
                "{rip}, allowed: {family} addresses, like the service's: mode {name} cannot change the family"
            );
            self.error(path.to_owned(), problem);
        }
    }

    fn host(&mut self, path: &str, endpoint: Endpoint) {
        if !is_host(endpoint.addr) {
            self.error(
                path.to_owned(),
                format!("{endpoint}, allowed: the unicast address of a host"),
            );
        }
    }
}

/// Whether packets can go to `addr` from another link.
pub(super) fn is_host(addr: Addr) -> bool {
    let addr = IpAddr::from(addr);
    let good_on_one_link = match addr {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(good_on_one_link || addr.is_multicast() || addr.is_unspecified())
}

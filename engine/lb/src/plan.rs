//! From a configuration as written to the services that it asks for, or to a list of all that is wrong with it.

use std::net::IpAddr;

use lb_model::{Endpoint, ServiceKey, Thresholds};
use lb_schedulers::SchedulerOptions;

use crate::{
    Config, ConfigError, Registry, ServerConfig, ServerSpec, ServiceConfig, ServiceSpec, Workers,
};

/// Conns per worker: a conn's place and its direction share 32 bits.
const CAPACITY: std::ops::RangeInclusive<u32> = 1..=1 << 30;
const MAX_WEIGHT: u32 = 65_535;

/// A configuration found good: the services and servers that it asks for.
pub type Plan = Vec<(ServiceSpec, Vec<ServerSpec>)>;

/// Checks `config`; all that is wrong with it otherwise.
pub fn plan(config: &Config, registry: &Registry) -> Result<Plan, Vec<ConfigError>> {
    let mut planner = Planner {
        registry,
        errors: Vec::new(),
    };
    planner.engine(config);
    let mut plan = Plan::new();
    for (position, service) in config.services.iter().enumerate() {
        let path = format!("service[{position}]");
        let key = ServiceKey {
            vip: service.vip,
            protocol: service.protocol,
        };
        if let Some(first) = config.services[..position]
            .iter()
            .position(|s| (s.vip, s.protocol) == (key.vip, key.protocol))
        {
            planner.error(
                format!("{path}.vip"),
                format!("{key} is service[{first}] already"),
            );
        }
        plan.extend(planner.service(&path, key, service));
    }
    if planner.errors.is_empty() {
        Ok(plan)
    } else {
        Err(planner.errors)
    }
}

struct Planner<'a> {
    registry: &'a Registry,
    errors: Vec<ConfigError>,
}

impl Planner<'_> {
    fn error(&mut self, path: String, problem: String) {
        self.errors.push(ConfigError::new(path, problem));
    }

    fn engine(&mut self, config: &Config) {
        let engine = &config.engine;
        if !CAPACITY.contains(&engine.capacity) {
            let (low, high) = (CAPACITY.start(), CAPACITY.end());
            self.error(
                "engine.capacity".into(),
                format!("{}, allowed {low}..={high}", engine.capacity),
            );
        }
        if engine.workers == Workers::Count(0) {
            self.error(
                "engine.workers".into(),
                "0, allowed: \"auto\" or a number from 1".into(),
            );
        }
        for (position, name) in engine.interfaces.iter().enumerate() {
            if engine.interfaces[..position].contains(name) {
                self.error(
                    format!("engine.interfaces[{position}]"),
                    format!("\"{name}\" is listed twice"),
                );
            }
        }
    }

    fn service(
        &mut self,
        path: &str,
        key: ServiceKey,
        service: &ServiceConfig,
    ) -> Option<(ServiceSpec, Vec<ServerSpec>)> {
        self.endpoint(&format!("{path}.vip"), service.vip);
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
        let mode = self.registry.mode(&service.mode);
        if mode.is_none() {
            let allowed = self.registry.mode_names();
            self.error(
                format!("{path}.mode"),
                format!("\"{}\", allowed: {allowed}", service.mode),
            );
        }
        let maps_ports = mode.as_ref().is_none_or(|(_, mode)| mode.maps_ports());
        let crosses_families = mode.as_ref().is_none_or(|(_, m)| m.crosses_families());
        let mut servers = Vec::new();
        for (position, server) in service.servers.iter().enumerate() {
            let path = format!("{path}.server[{position}]");
            if let Some(first) = service.servers[..position]
                .iter()
                .position(|s| s.rip == server.rip)
            {
                self.error(
                    format!("{path}.rip"),
                    format!("{} is server[{first}] of this service already", server.rip),
                );
            }
            if !maps_ports && server.rip.port != service.vip.port {
                let problem = format!(
                    "{}, allowed: port {}, the service's: mode {} cannot map ports",
                    server.rip, service.vip.port, service.mode
                );
                self.error(format!("{path}.rip"), problem);
            }
            let vip_is_v4 = service.vip.addr.is_v4();
            if !crosses_families && server.rip.addr.is_v4() != vip_is_v4 {
                let problem = format!(
                    "{}, allowed: {} addresses, like the service's: mode {} cannot change the family",
                    server.rip,
                    if vip_is_v4 { "IPv4" } else { "IPv6" },
                    service.mode
                );
                self.error(format!("{path}.rip"), problem);
            }
            servers.extend(self.server(&path, &service.mode, server));
        }
        mode?;
        let spec = ServiceSpec {
            id: key.into(),
            scheduler: scheduler.map(|_| service.scheduler.clone())?,
            scheduler_flags: 0,
            persistence: None,
            one_packet: false,
        };
        Some((spec, servers))
    }

    fn server(&mut self, path: &str, mode: &str, server: &ServerConfig) -> Option<ServerSpec> {
        self.endpoint(&format!("{path}.rip"), server.rip);
        let weight = u16::try_from(server.weight).ok();
        if weight.is_none() {
            self.error(
                format!("{path}.weight"),
                format!("{}, allowed 0..={MAX_WEIGHT}", server.weight),
            );
        }
        Some(ServerSpec {
            rip: server.rip,
            mode: mode.to_owned(),
            weight: weight?,
            thresholds: Thresholds::default(),
        })
    }

    fn endpoint(&mut self, path: &str, endpoint: Endpoint) {
        if !is_host(endpoint.addr.into()) {
            self.error(
                path.to_owned(),
                format!("{endpoint}, allowed: the unicast address of a host"),
            );
        }
        if endpoint.port == 0 {
            self.error(
                path.to_owned(),
                format!("{endpoint}, allowed: ports 1..=65535"),
            );
        }
    }
}

/// Whether packets can go to `addr` from another link.
fn is_host(addr: IpAddr) -> bool {
    let good_on_one_link = match addr {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(good_on_one_link || addr.is_multicast() || addr.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineConfig;
    use lb_model::Protocol;

    fn service(vip: &str, mode: &str, servers: &[(&str, u32)]) -> ServiceConfig {
        let service = ServiceConfig::new(vip.parse().expect("valid"), Protocol::Tcp, "rr", mode);
        servers.iter().fold(service, |s, (rip, weight)| {
            s.with_server(rip.parse().expect("valid"), *weight)
        })
    }

    fn errors(config: &Config) -> Vec<String> {
        let plan = plan(config, &Registry::builtin());
        plan.err()
            .unwrap_or_default()
            .iter()
            .map(ConfigError::to_string)
            .collect()
    }

    #[test]
    fn every_error_names_its_place_its_value_and_what_is_allowed() {
        let mut config = Config {
            engine: EngineConfig {
                interfaces: vec!["eth0".into(), "eth0".into()],
                workers: Workers::Count(0),
                capacity: 0,
            },
            services: vec![
                service(
                    "10.0.0.100:80",
                    "dr",
                    &[
                        ("10.1.0.11:8080", 70_000),
                        ("10.1.0.12:80", 1),
                        ("10.1.0.12:80", 1),
                    ],
                ),
                service(
                    "10.0.0.100:80",
                    "nat",
                    &[("224.0.0.1:80", 1), ("10.1.0.11:0", 1)],
                ),
                service("[2001:db8::1]:443", "fnta", &[]),
                service(
                    "[2001:db8::2]:443",
                    "nat",
                    &[
                        ("10.1.0.11:80", 1),
                        ("[fe80::1]:80", 1),
                        ("[ff02::1]:80", 1),
                    ],
                ),
                service("10.0.0.101:80", "dr", &[("[2001:db8::11]:80", 1)]),
                service(
                    "[2001:db8::3]:80",
                    "tun",
                    &[("10.1.0.11:80", 1), ("[2001:db8::11]:80", 1)],
                ),
            ],
            ..Config::default()
        };
        config.services[2].scheduler = "wrrr".into();
        assert_eq!(
            errors(&config),
            [
                "engine.capacity: 0, allowed 1..=1073741824",
                "engine.workers: 0, allowed: \"auto\" or a number from 1",
                "engine.interfaces[1]: \"eth0\" is listed twice",
                "service[0].server[0].rip: 10.1.0.11:8080, allowed: port 80, the service's: mode dr cannot map ports",
                "service[0].server[0].weight: 70000, allowed 0..=65535",
                "service[0].server[2].rip: 10.1.0.12:80 is server[1] of this service already",
                "service[1].vip: tcp 10.0.0.100:80 is service[0] already",
                "service[1].server[0].rip: 224.0.0.1:80, allowed: the unicast address of a host",
                "service[1].server[1].rip: 10.1.0.11:0, allowed: ports 1..=65535",
                "service[2].scheduler: \"wrrr\", allowed: rr, wrr, lc, wlc, sh, dh, lblc, lblcr, sed, nq, fo, ovf, mh",
                "service[2].mode: \"fnta\", allowed: dr, nat, tun",
                "service[3].server[0].rip: 10.1.0.11:80, allowed: IPv6 addresses, like the service's: mode nat cannot change the family",
                "service[3].server[1].rip: [fe80::1]:80, allowed: the unicast address of a host",
                "service[3].server[2].rip: [ff02::1]:80, allowed: the unicast address of a host",
                "service[4].server[0].rip: [2001:db8::11]:80, allowed: IPv4 addresses, like the service's: mode dr cannot change the family",
            ]
        );
    }
}

//! From a configuration as written to the services that it asks for, or to a list of all that is wrong with it.

mod local_addresses;
mod service;

use std::collections::HashMap;

use lb_conn::MAX_WORKERS;
use lb_model::ServiceId;

use crate::{Config, ConfigError, Registry, ServerSpec, ServiceSpec, Workers};

/// Conns per worker: a conn's place and its direction share 32 bits.
const CAPACITY: std::ops::RangeInclusive<u32> = 1..=lb_conn::MAX_CAPACITY;

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
    let mut first_of: HashMap<ServiceId, usize> = HashMap::new();
    for (position, service) in config.services.iter().enumerate() {
        let path = format!("service[{position}]");
        let first = *first_of.entry(service.id).or_insert(position);
        if first != position {
            let key = match service.id {
                ServiceId::Address(_) => "vip",
                ServiceId::Mark(_) => "mark",
            };
            planner.error(
                format!("{path}.{key}"),
                format!("{} is service[{first}] already", service.id),
            );
        }
        plan.extend(planner.service(&path, service));
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
        if let Workers::Count(count) = engine.workers
            && !(1..=MAX_WORKERS).contains(&count)
        {
            self.error(
                "engine.workers".into(),
                format!("{count}, allowed: \"auto\" or a number from 1 to {MAX_WORKERS}"),
            );
        }
        if *engine.local_ports.start() == 0 || engine.local_ports.is_empty() {
            let (first, last) = (engine.local_ports.start(), engine.local_ports.end());
            self.error(
                "engine.local_ports".into(),
                format!("{first}-{last}, allowed: FIRST-LAST within 1-65535"),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineConfig, ServiceConfig};
    use lb_model::{Protocol, Tunnel};

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
                local_ports: 0..=9,
                busy_poll: false,
                peers: Vec::new(),
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
        config.services[4].servers[0].tunnel = Tunnel::Gre {
            checksum: Default::default(),
        };
        assert_eq!(
            errors(&config),
            [
                "engine.capacity: 0, allowed 1..=1000000000",
                "engine.workers: 0, allowed: \"auto\" or a number from 1 to 1023",
                "engine.local_ports: 0-9, allowed: FIRST-LAST within 1-65535",
                "engine.interfaces[1]: \"eth0\" is listed twice",
                "service[0].server[0].rip: 10.1.0.11:8080, allowed: port 80, the service's: mode dr cannot map ports",
                "service[0].server[0].weight: 70000, allowed 0..=65535",
                "service[0].server[2].rip: 10.1.0.12:80 is server[1] of this service already",
                "service[1].vip: tcp 10.0.0.100:80 is service[0] already",
                "service[1].server[0].rip: 224.0.0.1:80, allowed: the unicast address of a host",
                "service[2].scheduler: \"wrrr\", allowed: rr, wrr, lc, wlc, sh, dh, lblc, lblcr, sed, nq, fo, ovf, mh",
                "service[2].mode: \"fnta\", allowed: dr, nat, tun, fnat, enat",
                "service[3].server[0].rip: 10.1.0.11:80, allowed: IPv6 addresses, like the service's: mode nat cannot change the family",
                "service[3].server[1].rip: [fe80::1]:80, allowed: the unicast address of a host",
                "service[3].server[2].rip: [ff02::1]:80, allowed: the unicast address of a host",
                "service[4].server[0].rip: [2001:db8::11]:80, allowed: IPv4 addresses, like the service's: mode dr cannot change the family",
                "service[4].server[0].tunnel: gre, allowed in mode tun: mode dr does not tunnel",
            ]
        );
    }
}

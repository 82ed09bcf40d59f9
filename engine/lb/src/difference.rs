//! What another configuration would change.

use std::collections::HashMap;
use std::fmt;

use lb_model::{Endpoint, ServiceId};

use crate::{Config, ConfigError, ServerConfig, ServiceConfig};

/// What another configuration would change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Services that come, go or change, the latter also by their servers.
    pub services: Vec<ServiceDifference>,
    /// Of the rest, sections that change: `peers`, `ipvs`, `timeouts`, `mark`, `interface`.
    pub sections: Vec<&'static str>,
    /// What cannot change while the balancer runs; not empty: nothing will.
    pub restart: Vec<ConfigError>,
}

/// What changes about a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceDifference {
    /// The service.
    pub id: ServiceId,
    /// Whether it comes, goes or stays.
    pub change: Change,
    /// Its servers that come, go or change.
    pub servers: Vec<ServerDifference>,
}

/// What changes about a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerDifference {
    /// The server.
    pub rip: Endpoint,
    /// Whether it comes, goes or stays.
    pub change: Change,
    /// Its conns now. They are lost if it goes; otherwise they stay with it.
    pub conns: u32,
}

/// Whether something comes, goes or stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It stays, with other settings or, if there are none, with other servers.
    Changed(Vec<SettingDifference>),
}

/// One setting that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingDifference {
    /// Its key in the configuration file.
    pub key: &'static str,
    /// As it is.
    pub from: String,
    /// As it will be.
    pub to: String,
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.sections.is_empty() && self.restart.is_empty()
    }

    /// Conns of servers that go.
    pub fn conns_lost(&self) -> u64 {
        let servers = self.services.iter().flat_map(|service| &service.servers);
        let gone = servers.filter(|server| server.change == Change::Removed);
        gone.map(|server| u64::from(server.conns)).sum()
    }

    /// From `running` to `wanted`; `conns` tells how many a server has.
    pub(crate) fn between(
        running: &Config,
        wanted: &Config,
        conns: impl Fn(ServiceId, Endpoint) -> u32,
    ) -> Difference {
        let before: HashMap<ServiceId, &ServiceConfig> =
            running.services.iter().map(|s| (s.id, s)).collect();
        let after: HashMap<ServiceId, &ServiceConfig> =
            wanted.services.iter().map(|s| (s.id, s)).collect();
        let gone = running
            .services
            .iter()
            .filter(|s| !after.contains_key(&s.id));
        let gone = gone.map(|service| service_difference(Some(service), None, &conns));
        let rest = wanted.services.iter().map(|service| {
            service_difference(before.get(&service.id).copied(), Some(service), &conns)
        });
        Difference {
            services: gone.chain(rest).flatten().collect(),
            sections: sections(running, wanted),
            restart: restart(running, wanted),
        }
    }
}

/// Sections other than services that change, by their names in the file.
fn sections(running: &Config, wanted: &Config) -> Vec<&'static str> {
    let changes = [
        ("peers", running.engine.peers != wanted.engine.peers),
        ("ipvs", running.ipvs != wanted.ipvs),
        ("timeouts", running.timeouts != wanted.timeouts),
        ("mark", running.marks != wanted.marks),
        ("interface", running.network != wanted.network),
    ];
    let changed = changes.into_iter().filter(|(_, changes)| *changes);
    changed.map(|(section, _)| section).collect()
}

/// What only a restart can change.
fn restart(running: &Config, wanted: &Config) -> Vec<ConfigError> {
    let (running, wanted) = (&running.engine, &wanted.engine);
    let fixed = [
        (
            "engine.interfaces",
            format!("{:?}", running.interfaces),
            format!("{:?}", wanted.interfaces),
        ),
        (
            "engine.workers",
            running.workers.to_string(),
            wanted.workers.to_string(),
        ),
        (
            "engine.local_ports",
            format!("{:?}", running.local_ports),
            format!("{:?}", wanted.local_ports),
        ),
        (
            "engine.capacity",
            running.capacity.to_string(),
            wanted.capacity.to_string(),
        ),
        (
            "engine.busy_poll",
            running.busy_poll.to_string(),
            wanted.busy_poll.to_string(),
        ),
    ];
    let changed = fixed.into_iter().filter(|(_, from, to)| from != to);
    changed
        .map(|(path, from, to)| ConfigError::restart(path, &from, &to))
        .collect()
}

fn service_difference(
    before: Option<&ServiceConfig>,
    after: Option<&ServiceConfig>,
    conns: &impl Fn(ServiceId, Endpoint) -> u32,
) -> Option<ServiceDifference> {
    let service = before.or(after)?;
    let change = match (before, after) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(before), Some(after)) => {
            Change::Changed(changed(service_settings(before), service_settings(after)))
        }
    };
    let servers = server_differences(before, after, conns);
    let nothing = change == Change::Changed(Vec::new()) && servers.is_empty();
    (!nothing).then_some(ServiceDifference {
        id: service.id,
        change,
        servers,
    })
}

fn server_differences(
    before: Option<&ServiceConfig>,
    after: Option<&ServiceConfig>,
    conns: &impl Fn(ServiceId, Endpoint) -> u32,
) -> Vec<ServerDifference> {
    let (old, new) = (by_rip(before), by_rip(after));
    let gone = servers(before).filter(|(_, server)| !new.contains_key(&server.rip));
    gone.chain(servers(after))
        .filter_map(|(service, server)| {
            let rip = server.rip;
            let change = match (old.get(&rip), new.get(&rip)) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                (Some(old), Some(new)) => {
                    let settings = server_changes(*old, *new);
                    (!settings.is_empty()).then_some(Change::Changed(settings))?
                }
            };
            Some(ServerDifference {
                rip,
                change,
                conns: conns(service.id, rip),
            })
        })
        .collect()
}

fn servers(
    service: Option<&ServiceConfig>,
) -> impl Iterator<Item = (&ServiceConfig, &ServerConfig)> {
    service
        .into_iter()
        .flat_map(|service| service.servers.iter().map(move |server| (service, server)))
}

fn by_rip(service: Option<&ServiceConfig>) -> HashMap<Endpoint, (&ServiceConfig, &ServerConfig)> {
    servers(service)
        .map(|(service, server)| (server.rip, (service, server)))
        .collect()
}

fn server_changes(
    (old_service, old): (&ServiceConfig, &ServerConfig),
    (new_service, new): (&ServiceConfig, &ServerConfig),
) -> Vec<SettingDifference> {
    let mut settings = changed(
        server_settings(old_service, old),
        server_settings(new_service, new),
    );
    // A file begins a drain and never ends one.
    if new.drained && !old.drained {
        settings.push(SettingDifference {
            key: "drained",
            from: "false".into(),
            to: "true".into(),
        });
    }
    settings
}

type Settings = Vec<(&'static str, String)>;

fn changed(before: Settings, after: Settings) -> Vec<SettingDifference> {
    let pairs = before.into_iter().zip(after);
    let changed = pairs.filter(|((_, from), (_, to))| from != to);
    changed
        .map(|((key, from), (_, to))| SettingDifference { key, from, to })
        .collect()
}

/// All that can change about a service but its servers; its mode is that of its servers.
fn service_settings(service: &ServiceConfig) -> Settings {
    let ServiceConfig {
        id: _,
        scheduler,
        scheduler_flags,
        persistence,
        one_packet,
        mode: _,
        vip_interface,
        local_addresses,
        awaits_local_addresses: _,
        local_interfaces,
        client_address,
        servers: _,
    } = service;
    let local_addresses = local_addresses.iter();
    let local_addresses = local_addresses.map(|lip| match local_interfaces.get(lip) {
        Some(interface) => format!("{lip} dev {interface}"),
        None => lip.to_string(),
    });
    let local_addresses: Vec<String> = local_addresses.collect();
    let interface = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
    let persistence = persistence.map(|p| format!("{:?} {}", p.timeout, p.netmask));
    vec![
        ("scheduler", scheduler.clone()),
        ("scheduler_flags", scheduler_flags.shown(scheduler)),
        ("persistence", persistence.unwrap_or_else(|| "none".into())),
        ("one_packet", one_packet.to_string()),
        ("vip_interface", interface(vip_interface)),
        ("local_addresses", local_addresses.join(", ")),
        (
            "client_address",
            client_address.map_or_else(|| "the mode's".into(), |one| one.to_string()),
        ),
    ]
}

/// All that can change about a server.
fn server_settings(service: &ServiceConfig, server: &ServerConfig) -> Settings {
    let ServerConfig {
        rip: _,
        weight,
        mode,
        thresholds,
        tunnel,
        drained: _,
        held: _,
    } = server;
    vec![
        ("weight", weight.to_string()),
        ("mode", mode.as_ref().unwrap_or(&service.mode).clone()),
        ("upper_threshold", thresholds.upper.to_string()),
        ("lower_threshold", thresholds.lower.to_string()),
        ("tunnel", format!("{tunnel:?}")),
    ]
}

impl fmt::Display for Difference {
    /// In one line: `+2 services, -1 server, 3 weights`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = |wanted: fn(&Change) -> bool| {
            let services = self.services.iter().map(|service| &service.change);
            services.filter(|change| wanted(change)).count()
        };
        // Those of services that come and go are part of that.
        let staying = self
            .services
            .iter()
            .filter(|service| matches!(service.change, Change::Changed(_)));
        let servers: Vec<&Change> = staying
            .flat_map(|service| service.servers.iter().map(|server| &server.change))
            .collect();
        let servers =
            |wanted: fn(&Change) -> bool| servers.iter().filter(|change| wanted(change)).count();
        let parts = [
            counted("+", services(|c| *c == Change::Added), "service"),
            counted("-", services(|c| *c == Change::Removed), "service"),
            counted("~", services(has_other_settings), "service"),
            counted("+", servers(|c| *c == Change::Added), "server"),
            counted("-", servers(|c| *c == Change::Removed), "server"),
            counted(
                "~",
                servers(|c| has_other_settings(c) && !is_of_weight(c)),
                "server",
            ),
            counted("", servers(is_of_weight), "weight"),
        ];
        let sections = self.sections.iter().map(|section| format!("[{section}]"));
        let parts: Vec<String> = parts.into_iter().flatten().chain(sections).collect();
        match &parts[..] {
            [] => f.write_str("nothing changes"),
            parts => f.write_str(&parts.join(", ")),
        }
    }
}

fn has_other_settings(change: &Change) -> bool {
    matches!(change, Change::Changed(settings) if !settings.is_empty())
}

fn is_of_weight(change: &Change) -> bool {
    matches!(change, Change::Changed(settings) if settings.iter().all(|s| s.key == "weight") && !settings.is_empty())
}

fn counted(sign: &str, number: usize, thing: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("{sign}1 {thing}")),
        _ => Some(format!("{sign}{number} {thing}s")),
    }
}

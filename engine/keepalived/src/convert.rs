//! From keepalived's services to lbd's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb::{
    Config, Endpoint, Mark, Persistence, Protocol, Registry, ServerConfig, ServiceConfig,
    ServiceId, ServiceKey, Thresholds,
};
use lb_config::{Control, Metrics, Settings};

use crate::group::{self, Member};
use crate::lines::Place;
use crate::real_server::RealServer;
use crate::report::{Kind, Report};
use crate::virtual_server::{Granularity, Name, VirtualServer};
use crate::{File, Options, checks, global};

/// keepalived's scheduler where nobody names one.
const SCHEDULER: &str = "wlc";

/// Everything that `file` says about balancing.
pub fn settings(file: &File, options: &Options, report: &mut Report) -> Settings {
    let mut balancer = Config::default();
    balancer.engine.interfaces = match options.interfaces.is_empty() {
        true => file.vrrp.interfaces(),
        false => options.interfaces.clone(),
    };
    for (name, timeout) in &file.global.timeouts {
        balancer.timeouts = balancer.timeouts.with(global::state(name), *timeout);
    }
    if let Some(daemon) = &file.global.sync_daemon {
        let id = daemon.id.as_deref().unwrap_or("0");
        let reason = format!(
            "start it in the notify scripts: lbctl ipvsadm --start-daemon master|backup --mcast-interface {} --syncid {id}",
            daemon.interface
        );
        report.add(Kind::Changed, &daemon.place, "lvs_sync_daemon", reason);
    }
    let mut health = BTreeMap::new();
    let mut origins = Vec::new();
    for service in &file.virtual_servers {
        for id in ids(file, service, report) {
            let config = one(service, id, report);
            if let Some(checked) = checks::health(service, &config, report) {
                health.insert(id, checked);
            }
            balancer.services.push(config);
            origins.push(service);
        }
    }
    for error in lb::Engine::new(&balancer).err().unwrap_or_default() {
        let service = position(&error.path, "service[").and_then(|at| origins.get(at));
        let server = position(&error.path, ".server[");
        let place = service.map(|service| {
            let server = server.and_then(|at| service.servers.get(at));
            server.map_or(&service.place, |server| &server.place)
        });
        let place = place.cloned().unwrap_or_else(|| start(file));
        report.add(Kind::Error, &place, error.path, error.problem);
    }
    if balancer.engine.interfaces.is_empty() {
        let reason = "keepalived.conf does not say on which interfaces to balance: put them into [engine], or import \
                      with --interface";
        report.add(Kind::Changed, &start(file), "interfaces", reason);
    }
    Settings {
        balancer,
        health,
        control: Control::default(),
        metrics: Metrics::default(),
    }
}

/// The number in brackets after `key` in the path of a configuration's field.
fn position(path: &str, key: &str) -> Option<usize> {
    let (_, rest) = path.split_once(key)?;
    rest.split(']').next()?.parse().ok()
}

/// For what is not said in any one line.
fn start(file: &File) -> Place {
    let first = file.virtual_servers.first();
    Place {
        file: first.map_or("".into(), |service| Arc::clone(&service.place.file)),
        line: 1,
    }
}

/// All that one `virtual_server` stands for.
fn ids(file: &File, service: &VirtualServer, report: &mut Report) -> Vec<ServiceId> {
    if service.protocol == Protocol::Sctp {
        let reason = "lbd balances TCP and UDP: SCTP stays with the kernel";
        report.add(Kind::Unused, &service.place, "protocol SCTP", reason);
        return Vec::new();
    }
    let members = match &service.name {
        Name::Address(addr, port) => vec![Member::Address(*addr, *port)],
        Name::Mark(mark) => vec![Member::Mark {
            mark: *mark,
            v6: service.v6,
        }],
        Name::Group(name) => match file.groups.iter().find(|group| group.name == *name) {
            Some(group) => group.members.clone(),
            None => {
                let reason = format!("there is no virtual_server_group {name}");
                report.add(Kind::Error, &service.place, "virtual_server", reason);
                return Vec::new();
            }
        },
    };
    let servers_v6 = service.servers.first().is_some_and(|s| !s.addr.is_v4());
    let mut ids = Vec::new();
    for member in members {
        ids.push(match member {
            Member::Address(addr, port) => ServiceKey {
                vip: Endpoint::new(addr, port),
                protocol: service.protocol,
            }
            .into(),
            Member::Mark { mark, v6 } => {
                let reason = format!(
                    "lbd has no netfilter in front of it: say in [[mark]] rules what has mark {mark}"
                );
                report.add(Kind::Changed, &service.place, format!("fwmark {mark}"), reason);
                ServiceId::Mark(Mark {
                    mark,
                    v6: v6.or(service.v6).unwrap_or(servers_v6),
                })
            }
        });
    }
    ids
}

fn one(service: &VirtualServer, id: ServiceId, report: &mut Report) -> ServiceConfig {
    let scheduler = service.scheduler.as_deref().unwrap_or(SCHEDULER);
    let scheduler = match Registry::builtin().has_scheduler(scheduler) {
        true => scheduler,
        false => {
            let reason = format!("lbd has no such scheduler: {SCHEDULER} in its place");
            let key = format!("lvs_sched {scheduler}");
            report.add(Kind::Changed, &service.place, key, reason);
            SCHEDULER
        }
    };
    let mut config = ServiceConfig::of(id, scheduler, service.method.mode);
    config.scheduler_flags = service.scheduler_flags;
    config.one_packet = service.one_packet && service.protocol == Protocol::Udp;
    if service.one_packet && !config.one_packet {
        let reason = "only datagrams can be scheduled one by one";
        report.add(Kind::Unused, &service.place, "ops", reason);
    }
    config.persistence = persistence(service, id, report);
    let servers = service.servers.iter();
    let servers = servers.map(|server| self::server(service, server, id, report));
    config.servers = servers.collect();
    config
}

fn persistence(service: &VirtualServer, id: ServiceId, report: &mut Report) -> Option<Persistence> {
    let Some(seconds) = service.persistence else {
        if service.granularity.is_some() {
            let reason = "without persistence_timeout there is nothing to be granular about";
            report.add(
                Kind::Unused,
                &service.place,
                "persistence_granularity",
                reason,
            );
        }
        return None;
    };
    let v4 = id.is_v4();
    let netmask = match service.granularity {
        None => group::mask(v4, 128),
        Some(Granularity::Prefix(len)) if !v4 => group::mask(v4, len),
        Some(Granularity::Mask(mask)) if v4 => mask,
        Some(_) => {
            let reason = format!("allowed: a mask for IPv4, 1..=128 for IPv6; {id} is another");
            report.add(
                Kind::Error,
                &service.place,
                "persistence_granularity",
                reason,
            );
            group::mask(v4, 128)
        }
    };
    Some(Persistence {
        timeout: Duration::from_secs(seconds.into()),
        netmask,
    })
}

fn server(
    service: &VirtualServer,
    server: &RealServer,
    id: ServiceId,
    report: &mut Report,
) -> ServerConfig {
    let method = server.method.unwrap_or(service.method);
    let mut port = server.port.unwrap_or(id.port());
    if method.mode != "nat" && port != id.port() {
        let reason = format!("{} keeps the service's port {}", method.mode, id.port());
        let key = format!("real_server {} {port}", server.addr);
        report.add(Kind::Changed, &server.place, key, reason);
        port = id.port();
    }
    ServerConfig {
        mode: (method.mode != service.method.mode).then(|| method.mode.to_owned()),
        thresholds: Thresholds {
            upper: server.upper_threshold,
            lower: server.lower_threshold,
        },
        tunnel: method.tunnel,
        ..ServerConfig::new(Endpoint::new(server.addr, port), server.weight)
    }
}

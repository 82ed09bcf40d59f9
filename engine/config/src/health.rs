//! All that a service says of its servers' health: its checks, those of single servers, and passive ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lb::{Config, ConfigError, Endpoint, Protocol, ServerConfig, ServiceConfig, ServiceId, Tunnel};
use lb_checks::{Check, Policy, Probe, ServiceHealth};

use super::fault::Faults;
use super::lines::Lines;
use super::section::Section;
use super::{Settings, check, passive, policy};

/// The tables, not yet read.
pub struct Tables<'d> {
    /// `[service.check]`, or all `[[service.check]]`.
    pub checks: Vec<Section<'d>>,
    /// `[service.server.check]`, or all `[[service.server.check]]`, of each server.
    pub own_checks: Vec<(Endpoint, Vec<Section<'d>>)>,
    /// `[service.passive]`.
    pub passive: Option<Section<'d>>,
}

/// What they say of `service`, whose servers are known already.
pub fn read(
    tables: Tables<'_>,
    service: &ServiceConfig,
    faults: &mut Faults<'_>,
) -> Option<ServiceHealth> {
    let own: Vec<Endpoint> = tables
        .own_checks
        .iter()
        .filter(|(_, sections)| !sections.is_empty())
        .map(|(rip, _)| *rip)
        .collect();
    let mut rips = service.servers.iter().map(|server| server.rip);
    let nameless = rips.find(|rip| rip.port == 0 && !own.contains(rip));
    let mut service_policy = Policy::default();
    let mut checks = Vec::new();
    for (at, mut section) in tables.checks.into_iter().enumerate() {
        let check = check::read(&mut section, nameless, faults);
        let asked = service
            .servers
            .iter()
            .filter(|server| !own.contains(&server.rip));
        refuse_vip(check.as_ref(), &section, service, asked, faults);
        match at {
            0 => service_policy = policy::read(&mut section, service, faults),
            _ => {
                let allowed = "nothing: for the whole service this stands in its first check";
                refuse_policy(&mut section, allowed, faults);
            }
        }
        checks.extend(finished(check, section, faults));
    }
    let mut own_checks = BTreeMap::new();
    for (rip, sections) in tables.own_checks {
        let nameless = Some(rip).filter(|rip| rip.port == 0);
        let mut own = Vec::new();
        for mut section in sections {
            let check = check::read(&mut section, nameless, faults);
            let asked = service.servers.iter().filter(|server| server.rip == rip);
            refuse_vip(check.as_ref(), &section, service, asked, faults);
            let allowed = "nothing: this is for the whole service, in [service.check]";
            refuse_policy(&mut section, allowed, faults);
            own.extend(finished(check, section, faults));
        }
        if !own.is_empty() {
            own_checks.insert(rip, own);
        }
    }
    let passive = tables.passive.map(|section| passive::read(section, faults));
    let says_something = !checks.is_empty() || !own_checks.is_empty() || passive.is_some();
    says_something.then_some(ServiceHealth {
        checks,
        own_checks,
        passive,
        policy: service_policy,
    })
}

/// A check of the VIP that would ask something else.
fn refuse_vip<'s>(
    check: Option<&Check>,
    section: &Section<'_>,
    service: &ServiceConfig,
    mut asked: impl Iterator<Item = &'s ServerConfig>,
    faults: &mut Faults<'_>,
) {
    if check.is_none_or(|check| check.probe != Probe::Vip) {
        return;
    }
    let key = match service.id {
        ServiceId::Address(key) if key.protocol == Protocol::Tcp => key,
        _ => {
            let allowed = "another, for \"vip\" takes a service with a VIP and protocol \"tcp\"";
            return section.reproach("type", allowed, faults);
        }
    };
    let is_out_of_reach = |server: &&ServerConfig| {
        let mode = server.mode.as_ref().unwrap_or(&service.mode);
        let other_family = server.rip.addr.is_v4() != key.vip.addr.is_v4();
        mode == "tun" && (server.tunnel != Tunnel::Ipip || other_family)
    };
    if let Some(server) = asked.find(is_out_of_reach) {
        let allowed = format!(
            "another, for \"vip\" asks through a tunnel of type \"ipip\" within one family only, and not {}",
            server.rip
        );
        section.reproach("type", &allowed, faults);
    }
}

fn refuse_policy(section: &mut Section<'_>, allowed: &str, faults: &mut Faults<'_>) {
    for key in policy::KEYS {
        section.refuse(key, allowed, faults);
    }
}

fn finished(
    check: Option<Check>,
    section: Section<'_>,
    faults: &mut Faults<'_>,
) -> Option<Arc<Check>> {
    // Without its type nobody knows which keys it may have.
    let check = check?;
    section.end(faults);
    Some(Arc::new(check))
}

/// The configuration with sorry servers as if they were servers, so that the same is asked of them; they come last.
pub fn with_sorry_servers(settings: &Settings) -> Config {
    let mut config = settings.balancer.clone();
    for service in &mut config.services {
        let health = settings.health.get(&service.id);
        if let Some(sorry) = health.and_then(|health| health.policy.sorry_server.as_ref()) {
            service.servers.push(ServerConfig {
                mode: Some(sorry.mode.clone()),
                tunnel: sorry.tunnel,
                ..ServerConfig::new(sorry.rip, 1)
            });
        }
    }
    config
}

/// The error at its place in the file, if it is one of [those](with_sorry_servers) sorry servers'.
pub fn of_sorry_server(error: ConfigError, settings: &Settings) -> ConfigError {
    let services = settings.balancer.services.iter().enumerate();
    for (at, service) in services {
        let health = settings.health.get(&service.id);
        let first = match health.is_some_and(|health| health.checks.len() > 1) {
            true => "check[0]",
            false => "check",
        };
        let last = format!("service[{at}].server[{}].", service.servers.len());
        if let Some(key) = error.path.strip_prefix(&last) {
            let path = format!("service[{at}].{first}.sorry_server.{key}");
            return ConfigError { path, ..error };
        }
    }
    error
}

/// What a service says of checks for all of its servers: names of tables, and what is in them.
pub fn written(health: &ServiceHealth, service: &ServiceConfig) -> Vec<(String, Lines)> {
    let mut tables = tables("service.check", &health.checks);
    if let Some((_, first)) = tables.first_mut() {
        policy::write(&health.policy, service, first);
    }
    let passive = health.passive.as_ref().map(passive::written);
    tables.extend(passive.map(|lines| ("[service.passive]".to_owned(), lines)));
    tables
}

/// What it says of those for one.
pub fn written_of_server(health: &ServiceHealth, rip: Endpoint) -> Vec<(String, Lines)> {
    let own = health.own_checks.get(&rip);
    tables("service.server.check", own.map_or(&[], Vec::as_slice))
}

fn tables(name: &str, checks: &[Arc<Check>]) -> Vec<(String, Lines)> {
    let header = match checks {
        [_] => format!("[{name}]"),
        _ => format!("[[{name}]]"),
    };
    let table = |check: &Arc<Check>| (header.clone(), check::written(check));
    checks.iter().map(table).collect()
}

/// What differs between the checks of two files, a line for each key, as plans show it.
pub fn changed_checks(running: &Settings, wanted: &Settings) -> Vec<String> {
    let (before, after) = (all_lines(running), all_lines(wanted));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |key: &(ServiceId, String)| {
        let shown =
            |lines: &BTreeMap<_, String>| lines.get(key).map_or("none".to_owned(), String::clone);
        let (from, to, (id, key)) = (shown(&before), shown(&after), key);
        (from != to).then(|| format!("~ {id}: {key}: {from} -> {to}"))
    };
    keys.into_iter().filter_map(change).collect()
}

fn all_lines(settings: &Settings) -> BTreeMap<(ServiceId, String), String> {
    let mut all = BTreeMap::new();
    for service in &settings.balancer.services {
        let Some(health) = settings.health.get(&service.id) else {
            continue;
        };
        let mut add = |of: &str, checks: Vec<(String, Lines)>| {
            let several = checks
                .iter()
                .filter(|(header, _)| header.starts_with("[["))
                .count()
                > 1;
            for (at, (header, lines)) in checks.into_iter().enumerate() {
                let name = header.trim_matches(['[', ']']);
                let name = name.rsplit('.').next().unwrap_or(name);
                let number = match several && header.starts_with("[[") {
                    true => format!("[{at}]"),
                    false => String::new(),
                };
                for (key, value) in lines.0 {
                    all.insert((service.id, format!("{of}{name}{number}.{key}")), value);
                }
            }
        };
        add("", written(health, service));
        for rip in health.own_checks.keys() {
            add(&format!("server {rip}: "), written_of_server(health, *rip));
        }
    }
    all
}

//! Which keys there are, and what values they take. `docs/configuration.md` tells the same to people.

use lb::{Config, Endpoint, EngineConfig, Protocol, ServerConfig, ServiceConfig, Workers};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Faults;
use super::section::{Kind, Section};
use super::{ipvs, mark, network};

/// The configuration in `document`; with faults it is not complete.
pub fn read(document: &Spanned<DeTable<'_>>, faults: &mut Faults<'_>) -> Config {
    let mut file = Section::root(document);
    let engine = file.required_table("engine", faults);
    let services = file.tables("service", faults);
    let ipvs = file.table("ipvs", faults);
    let marks = file.tables("mark", faults);
    let network = network::read(&mut file, faults);
    file.end(faults);
    Config {
        engine: engine.map(|s| engine_config(s, faults)).unwrap_or_default(),
        ipvs: ipvs.map(|s| ipvs::read(s, faults)).unwrap_or_default(),
        marks: marks
            .into_iter()
            .filter_map(|s| mark::read(s, faults))
            .collect(),
        network,
        services: services
            .into_iter()
            .filter_map(|s| service_config(s, faults))
            .collect(),
    }
}

pub const NAME: Kind<String> = Kind {
    allowed: "an interface's name, like \"eth0\"",
    parse: |value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned),
};

const WORKERS: Kind<Workers> = Kind {
    allowed: "\"auto\" or a number from 1",
    parse: |value| match value.as_str() {
        Some("auto") => Some(Workers::Auto),
        Some(_) => None,
        None => number(value)
            .and_then(|n| u16::try_from(n).ok())
            .map(Workers::Count),
    },
};

const CAPACITY: Kind<u32> = Kind {
    allowed: "a number from 1",
    parse: number,
};

const ENDPOINT: Kind<Endpoint> = Kind {
    allowed: "ADDRESS:PORT, like \"10.0.0.100:80\" or \"[2001:db8::1]:443\"",
    parse: |value| value.as_str()?.parse().ok(),
};

pub const PROTOCOL: Kind<Protocol> = Kind {
    allowed: "\"tcp\" or \"udp\"",
    parse: |value| value.as_str()?.parse().ok(),
};

const SCHEDULER: Kind<String> = Kind {
    allowed: "a scheduler's name, like \"rr\"",
    parse: |value| value.as_str().map(str::to_owned),
};

const MODE: Kind<String> = Kind {
    allowed: "a forwarding mode's name, like \"nat\"",
    parse: |value| value.as_str().map(str::to_owned),
};

const WEIGHT: Kind<u32> = Kind {
    allowed: "0..=65535",
    parse: number,
};

fn engine_config(mut section: Section<'_>, faults: &mut Faults<'_>) -> EngineConfig {
    let defaults = EngineConfig::default();
    let config = EngineConfig {
        interfaces: section.required_list("interfaces", &NAME, faults),
        workers: section
            .value("workers", &WORKERS, faults)
            .unwrap_or(defaults.workers),
        capacity: section
            .value("capacity", &CAPACITY, faults)
            .unwrap_or(defaults.capacity),
    };
    section.end(faults);
    config
}

fn service_config(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<ServiceConfig> {
    let vip = section.required("vip", &ENDPOINT, faults);
    let protocol = section.required("protocol", &PROTOCOL, faults);
    let scheduler = section.required("scheduler", &SCHEDULER, faults);
    let mode = section.required("mode", &MODE, faults);
    let vip_interface = section.value("vip_interface", &NAME, faults);
    let servers = section.tables("server", faults);
    section.end(faults);
    let servers = servers
        .into_iter()
        .filter_map(|s| server_config(s, faults))
        .collect();
    Some(ServiceConfig {
        vip: vip?,
        protocol: protocol?,
        scheduler: scheduler?,
        mode: mode?,
        vip_interface,
        servers,
    })
}

fn server_config(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<ServerConfig> {
    let rip = section.required("rip", &ENDPOINT, faults);
    let weight = section.value("weight", &WEIGHT, faults);
    section.end(faults);
    Some(ServerConfig {
        rip: rip?,
        weight: weight.unwrap_or(1),
    })
}

pub fn number(value: &DeValue<'_>) -> Option<u32> {
    let integer = value.as_integer()?;
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

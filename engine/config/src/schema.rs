//! Which tables there are. `docs/configuration.md` tells the same to people.

use std::net::SocketAddr;
use std::path::PathBuf;

use lb::{Config, EngineConfig, Timeouts, Workers};
use lb_document::Document;

use super::duration::{self, DURATION};
use super::fault::Faults;
use super::section::{Kind, Section};
pub use super::section::{NAME, number};
use super::{Control, Metrics, Settings, ipvs, mark, network, service};

/// The configuration in `document`; with faults it is not complete.
pub fn read(document: &Document<'_>, faults: &mut Faults<'_>) -> Settings {
    let mut file = Section::root(document);
    let engine = file.required_table("engine", faults);
    let control = file.table("control", faults);
    let metrics = file.table("metrics", faults);
    let services = file.tables("service", faults);
    let timeouts = file.table("timeouts", faults);
    let ipvs = file.table("ipvs", faults);
    let marks = file.tables("mark", faults);
    let network = network::read(&mut file, faults);
    file.end(faults);
    let services = services
        .into_iter()
        .filter_map(|s| service::read(s, faults));
    let (services, health): (Vec<_>, Vec<_>) = services.unzip();
    let ids = services.iter().map(|service| service.id);
    let health = ids
        .zip(health)
        .filter_map(|(id, health)| Some((id, health?)));
    let health = health.collect();
    let balancer = Config {
        engine: engine.map(|s| engine_config(s, faults)).unwrap_or_default(),
        timeouts: timeouts
            .map(|s| conn_timeouts(s, faults))
            .unwrap_or_default(),
        ipvs: ipvs.map(|s| ipvs::read(s, faults)).unwrap_or_default(),
        marks: marks
            .into_iter()
            .filter_map(|s| mark::read(s, faults))
            .collect(),
        network,
        services,
    };
    Settings {
        balancer,
        health,
        control: control
            .map(|s| control_socket(s, faults))
            .unwrap_or_default(),
        metrics: metrics
            .map(|s| metrics_address(s, faults))
            .unwrap_or_default(),
    }
}

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

const PATH: Kind<PathBuf> = Kind {
    allowed: "an absolute path, like \"/run/lbd.sock\"",
    parse: |value| {
        let path = PathBuf::from(value.as_str()?);
        path.is_absolute().then_some(path)
    },
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
        local_ports: section
            .value("local_ports", &mark::PORTS, faults)
            .unwrap_or(defaults.local_ports),
        busy_poll: section
            .value("busy_poll", &service::SWITCH, faults)
            .unwrap_or(defaults.busy_poll),
        peers: section.list("peers", &network::MAC, faults),
    };
    section.end(faults);
    config
}

fn control_socket(mut section: Section<'_>, faults: &mut Faults<'_>) -> Control {
    let socket = section.value("socket", &PATH, faults);
    section.end(faults);
    Control { socket }
}

fn metrics_address(mut section: Section<'_>, faults: &mut Faults<'_>) -> Metrics {
    let address = section.value("address", &LISTEN, faults);
    section.end(faults);
    Metrics { address }
}

const LISTEN: Kind<SocketAddr> = Kind {
    allowed: "ADDRESS:PORT, like \"127.0.0.1:9100\"",
    parse: |value| value.as_str()?.parse().ok(),
};

fn conn_timeouts(mut section: Section<'_>, faults: &mut Faults<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for (key, state) in duration::SETTABLE {
        if let Some(timeout) = section.value(key, &DURATION, faults) {
            timeouts = timeouts.with(state, timeout);
        }
    }
    section.end(faults);
    timeouts
}

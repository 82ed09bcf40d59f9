//! The keys of `[service.check]` that say what follows.

use lb::{Endpoint, ServiceConfig};
use lb_checks::{Initial, OnFailure, Policy, SorryServer};

use super::check::{SPAN_OR_NONE, command};
use super::fault::Faults;
use super::lines::{Lines, list, quoted, shown};
use super::schema::number;
use super::section::{Kind, Section};
use super::service::{MODE, SERVER};
use super::tunnel;

/// All of them.
pub const KEYS: [&str; 7] = [
    "on_failure",
    "initial",
    "quorum",
    "hysteresis",
    "slow_start",
    "notify",
    "sorry_server",
];

const ON_FAILURE: Kind<OnFailure> = Kind {
    allowed: "\"quiesce\" or \"remove\"",
    parse: |value| match value.as_str()? {
        "quiesce" => Some(OnFailure::Quiesce),
        "remove" => Some(OnFailure::Remove),
        _ => None,
    },
};

const INITIAL: Kind<Initial> = Kind {
    allowed: "\"up\" or \"down\"",
    parse: |value| match value.as_str()? {
        "up" => Some(Initial::Up),
        "down" => Some(Initial::Down),
        _ => None,
    },
};

const WEIGHT: Kind<u32> = Kind {
    allowed: "0..=4294967295",
    parse: number,
};

/// What follows from the checks of a service, in the section of the first.
pub fn read(section: &mut Section<'_>, service: &ServiceConfig, faults: &mut Faults<'_>) -> Policy {
    let defaults = Policy::default();
    let value = |from: Option<u32>, default| from.unwrap_or(default);
    Policy {
        on_failure: section
            .value("on_failure", &ON_FAILURE, faults)
            .unwrap_or(defaults.on_failure),
        initial: section
            .value("initial", &INITIAL, faults)
            .unwrap_or(defaults.initial),
        quorum: value(section.value("quorum", &WEIGHT, faults), defaults.quorum),
        hysteresis: value(
            section.value("hysteresis", &WEIGHT, faults),
            defaults.hysteresis,
        ),
        slow_start: section
            .value("slow_start", &SPAN_OR_NONE, faults)
            .unwrap_or(defaults.slow_start),
        notify: match section.has("notify") {
            true => command("notify", section, faults).unwrap_or_default(),
            false => {
                section.knows(&["notify"]);
                Vec::new()
            }
        },
        sorry_server: section
            .table("sorry_server", faults)
            .and_then(|table| sorry_server(table, service, faults)),
    }
}

fn sorry_server(
    mut section: Section<'_>,
    service: &ServiceConfig,
    faults: &mut Faults<'_>,
) -> Option<SorryServer> {
    let rip = section.required("rip", &SERVER, faults);
    let mode = section.value("mode", &MODE, faults);
    let tunnel = section.table("tunnel", faults);
    let tunnel = tunnel.and_then(|section| tunnel::read(section, faults));
    let (addr, port) = rip?;
    let rip = Endpoint::new(addr, port.unwrap_or_else(|| service.id.port()));
    if service.servers.iter().any(|server| server.rip == rip) {
        section.reproach("rip", "an address that is no server of the service", faults);
    }
    section.end(faults);
    Some(SorryServer {
        rip,
        mode: mode.unwrap_or_else(|| service.mode.clone()),
        tunnel: tunnel.unwrap_or_default(),
    })
}

/// The lines that [`read`] reads as `policy` of `service`; what has its default is left out.
pub fn write(policy: &Policy, service: &ServiceConfig, lines: &mut Lines) {
    let Policy {
        on_failure,
        initial,
        quorum,
        hysteresis,
        sorry_server,
        slow_start,
        notify,
    } = policy;
    let removes = *on_failure == OnFailure::Remove;
    lines.unless(!removes, "on_failure", || quoted("remove"));
    let up = *initial == Initial::Up;
    lines.unless(up, "initial", || quoted("down"));
    lines.unless(*quorum == 1, "quorum", || quorum.to_string());
    lines.unless(*hysteresis == 0, "hysteresis", || hysteresis.to_string());
    lines.unless(slow_start.is_zero(), "slow_start", || shown(*slow_start));
    lines.unless(notify.is_empty(), "notify", || list(notify));
    let sorry_server = sorry_server.as_ref().map(|sorry| {
        let SorryServer { rip, mode, tunnel } = sorry;
        let mode = match *mode == service.mode {
            true => String::new(),
            false => format!(", mode = {}", quoted(mode)),
        };
        let tunnel = tunnel::written(*tunnel);
        let tunnel = tunnel.map_or(String::new(), |tunnel| format!(", tunnel = {tunnel}"));
        format!("{{ rip = {}{mode}{tunnel} }}", quoted(rip))
    });
    lines.some("sorry_server", sorry_server);
}

//! `[[interface]]`, `[[route]]`, `[[neighbour]]`: what the kernel tells a running lbd, and a replay must be told.

use std::net::IpAddr;

use lb::{Addr, InterfaceConfig, Mac, NeighbourConfig, NetworkConfig, Prefix, RouteConfig};

use super::fault::Faults;
use super::schema::{NAME, number};
use super::section::{Kind, Section};

const ADDRESS: Kind<Addr> = Kind {
    allowed: "an address, like \"10.0.0.1\" or \"2001:db8::1\"",
    parse: |value| address(value.as_str()?),
};

const WITH_PREFIX: Kind<(Addr, u8)> = Kind {
    allowed: "an address with its prefix, like \"10.20.0.1/16\" or \"2001:db8:20::1/64\"",
    parse: |value| with_prefix(value.as_str()?),
};

pub const PREFIX: Kind<Prefix> = Kind {
    allowed: "a prefix, like \"10.20.0.0/16\" or \"0.0.0.0/0\"",
    parse: |value| with_prefix(value.as_str()?).map(|(addr, len)| Prefix::new(addr, len)),
};

pub const MAC: Kind<Mac> = Kind {
    allowed: "six bytes, like \"02:00:00:00:00:01\"",
    parse: |value| value.as_str()?.parse().ok(),
};

const MTU: Kind<u32> = Kind {
    allowed: "68..=65535",
    parse: |value| number(value).filter(|mtu| (68..=65_535).contains(mtu)),
};

/// Ethernet's.
const DEFAULT_MTU: u32 = 1500;

fn address(text: &str) -> Option<Addr> {
    text.parse::<IpAddr>().ok().map(Addr::from)
}

fn with_prefix(text: &str) -> Option<(Addr, u8)> {
    let (addr, len) = text.split_once('/')?;
    let (addr, len) = (address(addr)?, len.parse().ok()?);
    (len <= addr.bits()).then_some((addr, len))
}

pub fn read(file: &mut Section<'_>, faults: &mut Faults<'_>) -> NetworkConfig {
    let interfaces = file.tables("interface", faults);
    let routes = file.tables("route", faults);
    let neighbours = file.tables("neighbour", faults);
    NetworkConfig {
        interfaces: interfaces
            .into_iter()
            .filter_map(|s| interface(s, faults))
            .collect(),
        routes: routes
            .into_iter()
            .filter_map(|s| route(s, faults))
            .collect(),
        neighbours: neighbours
            .into_iter()
            .filter_map(|s| neighbour(s, faults))
            .collect(),
    }
}

fn interface(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<InterfaceConfig> {
    let name = section.required("name", &NAME, faults);
    let mac = section.required("mac", &MAC, faults);
    let mtu = section.value("mtu", &MTU, faults);
    let addresses = section.list("addresses", &WITH_PREFIX, faults);
    section.end(faults);
    Some(InterfaceConfig {
        name: name?,
        mac: mac?,
        mtu: mtu.unwrap_or(DEFAULT_MTU),
        addresses,
    })
}

fn route(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<RouteConfig> {
    let destination = section.required("destination", &PREFIX, faults);
    let via = section.value("via", &ADDRESS, faults);
    let interface = section.required("interface", &NAME, faults);
    section.end(faults);
    Some(RouteConfig {
        destination: destination?,
        via,
        interface: interface?,
    })
}

fn neighbour(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<NeighbourConfig> {
    let ip = section.required("ip", &ADDRESS, faults);
    let mac = section.required("mac", &MAC, faults);
    let interface = section.required("interface", &NAME, faults);
    section.end(faults);
    Some(NeighbourConfig {
        ip: ip?,
        mac: mac?,
        interface: interface?,
    })
}

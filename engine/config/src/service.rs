//! `[[service]]` and `[[service.server]]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb::{
    Addr, ClientAddress, Endpoint, Mark, Persistence, Protocol, SchedulerFlags, ServerConfig,
    ServiceConfig, ServiceId, ServiceKey, Thresholds,
};
use lb_checks::ServiceHealth;

use super::duration::DURATION;
use super::fault::Faults;
use super::mark::MARK;
use super::schema::{NAME, number};
use super::section::{Kind, Section};
use super::{health, tunnel};

const ENDPOINT: Kind<Endpoint> = Kind {
    allowed: "ADDRESS:PORT, like \"10.0.0.100:80\" or \"[2001:db8::1]:443\"",
    parse: |value| value.as_str()?.parse().ok(),
};

/// An address and the interface it is put on, if it names one, as `ip route` and keepalived write it.
const LOCAL_ADDRESS: Kind<(Addr, Option<String>)> = Kind {
    allowed: "an address, like \"10.1.0.2\" or \"2001:db8::2\", or one to put on an interface, like \"10.1.0.2 dev eth1\"",
    parse: |value| {
        let words: Vec<&str> = value.as_str()?.split_whitespace().collect();
        let (addr, interface) = match words[..] {
            [addr] => (addr, None),
            [addr, "dev", interface] => (addr, Some(interface.to_owned())),
            _ => return None,
        };
        let addr: IpAddr = addr.parse().ok()?;
        Some((addr.into(), interface))
    },
};

const CLIENT_ADDRESS: Kind<ClientAddress> = Kind {
    allowed: "\"none\", \"toa\", \"uoa\" or \"proxy-v2\"",
    parse: |value| value.as_str()?.parse().ok(),
};

/// A server may be named by its address alone; it has its service's port then.
pub const SERVER: Kind<(Addr, Option<u16>)> = Kind {
    allowed: "ADDRESS:PORT or ADDRESS, like \"10.0.0.100:80\", \"[2001:db8::1]:443\" or \"10.0.0.100\"",
    parse: |value| server_address(value.as_str()?),
};

pub const PROTOCOL: Kind<Protocol> = Kind {
    allowed: "\"tcp\" or \"udp\"",
    parse: |value| value.as_str()?.parse().ok(),
};

/// Of a service; SCTP is kept and listed, as ipvsadm asks for it, and left to the kernel.
const SERVICE_PROTOCOL: Kind<Protocol> = Kind {
    allowed: "\"tcp\", \"udp\" or \"sctp\"",
    parse: |value| match value.as_str()? {
        "sctp" => Some(Protocol::Sctp),
        other => other.parse().ok(),
    },
};

/// Whether the family is IPv6.
const FAMILY: Kind<bool> = Kind {
    allowed: "4 or 6",
    parse: |value| match number(value)? {
        4 => Some(false),
        6 => Some(true),
        _ => None,
    },
};

const SCHEDULER: Kind<String> = Kind {
    allowed: "a scheduler's name, like \"rr\"",
    parse: |value| value.as_str().map(str::to_owned),
};

pub const MODE: Kind<String> = Kind {
    allowed: "a forwarding mode's name, like \"nat\"",
    parse: |value| value.as_str().map(str::to_owned),
};

pub const SWITCH: Kind<bool> = Kind {
    allowed: "true or false",
    parse: |value| value.as_bool(),
};

/// A flag and the scheduler that alone has it, if it is one's own.
const FLAG: Kind<(SchedulerFlags, Option<&str>)> = Kind {
    allowed: "\"sh-fallback\", \"sh-port\", \"mh-fallback\", \"mh-port\", \"flag-1\", \"flag-2\" or \"flag-3\"",
    parse: |value| {
        let name = value.as_str()?;
        let mut names = SchedulerFlags::NAMES.iter();
        names
            .find(|(known, ..)| *known == name)
            .map(|(_, owner, flag)| (*flag, *owner))
    },
};

const NETMASK: Kind<Netmask> = Kind {
    allowed: "the length of a prefix, like 24, or for IPv4 a mask, like \"255.255.255.0\"",
    parse: |value| match value.as_str() {
        Some(text) => text.parse().ok().map(Netmask::Bits),
        None => number(value)
            .and_then(|len| u8::try_from(len).ok())
            .filter(|len| (1..=128).contains(len))
            .map(Netmask::Prefix),
    },
};

enum Netmask {
    Prefix(u8),
    Bits(Ipv4Addr),
}

const WEIGHT: Kind<u32> = Kind {
    allowed: "0..=65535",
    parse: number,
};

const CONNS: Kind<u32> = Kind {
    allowed: "0..=4294967295",
    parse: number,
};

fn server_address(text: &str) -> Option<(Addr, Option<u16>)> {
    if let Ok(Endpoint { addr, port }) = text.parse() {
        return Some((addr, Some(port)));
    }
    let addr: IpAddr = text.parse().ok()?;
    Some((addr.into(), None))
}

pub fn read(
    mut section: Section<'_>,
    faults: &mut Faults<'_>,
) -> Option<(ServiceConfig, Option<ServiceHealth>)> {
    let id = service_id(&mut section, faults);
    let scheduler = section.required("scheduler", &SCHEDULER, faults);
    let scheduler_flags = flags(&mut section, scheduler.as_deref(), faults);
    let persistence = match section.table("persistence", faults) {
        Some(table) => persistence(table, id, faults),
        None => None,
    };
    let one_packet = section.value("one_packet", &SWITCH, faults);
    let mode = section.required("mode", &MODE, faults);
    let vip_interface = section.value("vip_interface", &NAME, faults);
    let names_local_addresses = section.has("local_addresses");
    let (local_addresses, local_interfaces) = local_addresses(&mut section, faults);
    let client_address = section.value("client_address", &CLIENT_ADDRESS, faults);
    let servers = section.tables("server", faults);
    let checks = section.table_or_tables("check", faults);
    let passive = section.table("passive", faults);
    section.end(faults);
    let port = id.map_or(0, |id| id.port());
    let servers = servers.into_iter().filter_map(|s| server(s, port, faults));
    let (servers, own_checks): (Vec<_>, Vec<_>) = servers
        .map(|(server, checks)| {
            let rip = server.rip;
            (server, (rip, checks))
        })
        .unzip();
    let service = ServiceConfig {
        id: id?,
        scheduler: scheduler?,
        scheduler_flags,
        persistence,
        one_packet: one_packet.unwrap_or_default(),
        mode: mode?,
        vip_interface,
        awaits_local_addresses: names_local_addresses && local_addresses.is_empty(),
        local_addresses,
        local_interfaces,
        client_address,
        servers,
    };
    let tables = health::Tables {
        checks,
        own_checks,
        passive,
    };
    let health = health::read(tables, &service, faults);
    Some((service, health))
}

/// `vip` and `protocol`, or `mark` and `family` in their place.
fn service_id(section: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<ServiceId> {
    if !section.has("mark") {
        let vip = section.required("vip", &ENDPOINT, faults);
        let protocol = section.required("protocol", &SERVICE_PROTOCOL, faults);
        section.knows(&["mark", "family"]);
        let (vip, protocol) = (vip?, protocol?);
        return Some(ServiceKey { vip, protocol }.into());
    }
    let mark = section.value("mark", &MARK, faults);
    let v6 = section.value("family", &FAMILY, faults).unwrap_or(false);
    for key in ["vip", "protocol"] {
        section.refuse(key, "nothing: the service has a mark", faults);
    }
    Some(ServiceId::Mark(Mark { mark: mark?, v6 }))
}

/// The local addresses, and the interfaces of those that are put on one.
fn local_addresses(
    section: &mut Section<'_>,
    faults: &mut Faults<'_>,
) -> (Vec<Addr>, BTreeMap<Addr, String>) {
    let listed = section.list("local_addresses", &LOCAL_ADDRESS, faults);
    let usual = section.value("local_interface", &NAME, faults);
    if listed.is_empty() && usual.is_some() {
        let allowed = "nothing: there are no local_addresses to put there";
        section.reproach("local_interface", allowed, faults);
    }
    let addresses = listed.iter().map(|(addr, _)| *addr).collect();
    let placed = listed
        .into_iter()
        .filter_map(|(addr, own)| Some((addr, own.or_else(|| usual.clone())?)));
    (addresses, placed.collect())
}

fn flags(
    section: &mut Section<'_>,
    scheduler: Option<&str>,
    faults: &mut Faults<'_>,
) -> SchedulerFlags {
    let mut all = SchedulerFlags::default();
    for (flag, owner) in section.list("scheduler_flags", &FLAG, faults) {
        all = all.union(flag);
        if let (Some(owner), Some(scheduler)) = (owner, scheduler)
            && owner != scheduler
        {
            let allowed = format!("flags that begin with \"{owner}-\" for scheduler {owner} only");
            section.reproach("scheduler_flags", &allowed, faults);
        }
    }
    all
}

fn persistence(
    mut section: Section<'_>,
    id: Option<ServiceId>,
    faults: &mut Faults<'_>,
) -> Option<Persistence> {
    /// As ipvsadm's `-p` without a number.
    const TIMEOUT: Duration = Duration::from_secs(360);
    let timeout = section.value("timeout", &DURATION, faults);
    let netmask = section.value("netmask", &NETMASK, faults);
    let is_v4 = id?.is_v4();
    let ones = |len| match is_v4 {
        true => Addr::from(Ipv4Addr::BROADCAST).masked(len),
        false => Addr::v6([0xff; 16]).masked(len),
    };
    let netmask = match netmask {
        None => ones(128),
        Some(Netmask::Bits(mask)) if is_v4 => mask.into(),
        Some(Netmask::Prefix(len)) if !is_v4 || len <= 32 => ones(len),
        Some(_) => {
            let allowed = if is_v4 { "1..=32" } else { "1..=128" };
            section.reproach("netmask", allowed, faults);
            ones(128)
        }
    };
    section.end(faults);
    Some(Persistence {
        timeout: timeout.unwrap_or(TIMEOUT),
        netmask,
    })
}

/// A server, and the tables of its own checks.
fn server<'d>(
    mut section: Section<'d>,
    port: u16,
    faults: &mut Faults<'_>,
) -> Option<(ServerConfig, Vec<Section<'d>>)> {
    let rip = section.required("rip", &SERVER, faults);
    let weight = section.value("weight", &WEIGHT, faults);
    let mode = section.value("mode", &MODE, faults);
    let upper = section.value("upper_threshold", &CONNS, faults);
    let lower = section.value("lower_threshold", &CONNS, faults);
    let tunnel = section.table("tunnel", faults);
    let drained = section.value("drained", &SWITCH, faults);
    let checks = section.table_or_tables("check", faults);
    section.end(faults);
    let tunnel = tunnel.and_then(|section| tunnel::read(section, faults));
    let (addr, own_port) = rip?;
    let server = ServerConfig {
        rip: Endpoint::new(addr, own_port.unwrap_or(port)),
        weight: weight.unwrap_or(1),
        mode,
        thresholds: Thresholds {
            upper: upper.unwrap_or(0),
            lower: lower.unwrap_or(0),
        },
        tunnel: tunnel.unwrap_or_default(),
        drained: drained.unwrap_or_default(),
        held: false,
    };
    Some((server, checks))
}

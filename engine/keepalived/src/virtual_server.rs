//! `virtual_server`.

use lb::{Addr, Protocol, SchedulerFlags};

use crate::block::Entry;
use crate::checker::Timing;
use crate::lines::Place;
use crate::real_server::{self, RealServer};
use crate::report::Report;
use crate::value::{self, Method};

/// A service, with its servers.
#[derive(Clone, PartialEq, Debug)]
pub struct VirtualServer {
    pub place: Place,
    pub name: Name,
    /// `ip_family`, which marks may have.
    pub v6: Option<bool>,
    pub scheduler: Option<String>,
    pub scheduler_flags: SchedulerFlags,
    pub one_packet: bool,
    pub method: Method,
    /// Seconds.
    pub persistence: Option<u32>,
    pub granularity: Option<Granularity>,
    pub protocol: Protocol,
    pub timing: Timing,
    pub inhibit: Option<bool>,
    pub virtual_host: Option<String>,
    pub quorum: Option<u32>,
    pub hysteresis: Option<u32>,
    pub quorum_up: Option<Vec<String>>,
    pub quorum_down: Option<Vec<String>>,
    pub sorry_server: Option<RealServer>,
    pub servers: Vec<RealServer>,
}

/// What a service is called by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    Address(Addr, u16),
    Mark(u32),
    Group(String),
}

/// `persistence_granularity`: a mask, or for IPv6 a prefix's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granularity {
    Mask(Addr),
    Prefix(u8),
}

/// The service that `entry` describes.
pub fn read(entry: &Entry, report: &mut Report) -> Option<VirtualServer> {
    let mut service = VirtualServer {
        place: entry.place.clone(),
        name: name(entry, entry.values(), report)?,
        v6: None,
        scheduler: None,
        scheduler_flags: SchedulerFlags::default(),
        one_packet: false,
        method: Method::default(),
        persistence: None,
        granularity: None,
        protocol: Protocol::Tcp,
        timing: Timing::default(),
        inhibit: None,
        virtual_host: None,
        quorum: None,
        hysteresis: None,
        quorum_up: None,
        quorum_down: None,
        sorry_server: None,
        servers: Vec::new(),
    };
    for entry in entry.entries() {
        service.take(entry, report);
    }
    let says_method = entry
        .entries()
        .iter()
        .any(|entry| matches!(entry.key(), "lvs_method" | "lb_kind"));
    if !says_method {
        report.changed(
            entry,
            "no lvs_method: keepalived's NAT, where ipvsadm would take DR",
        );
    }
    Some(service)
}

/// An address with a port, a mark, or a group's name.
pub fn name(entry: &Entry, values: &[String], report: &mut Report) -> Option<Name> {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    match values[..] {
        ["fwmark", mark] => {
            let mark = mark.parse().ok().filter(|mark| *mark > 0);
            if mark.is_none() {
                report.error(entry, "allowed: a mark, 1..=4294967295");
            }
            mark.map(Name::Mark)
        }
        ["group", name] => Some(Name::Group(name.to_owned())),
        [addr, ref port @ ..] if port.len() <= 1 => {
            let addr = value::address(entry, addr, report)?;
            let port = value::port(entry, port.first().copied(), report)?;
            Some(Name::Address(addr, port.unwrap_or(0)))
        }
        _ => {
            report.error(
                entry,
                "allowed: ADDRESS [PORT], fwmark NUMBER or group NAME",
            );
            None
        }
    }
}

impl VirtualServer {
    fn take(&mut self, entry: &Entry, report: &mut Report) {
        /// keepalived's, where nobody says how long.
        const PERSISTENCE: u32 = 360;
        if self.timing.take(entry, report) {
            return;
        }
        let flag = SchedulerFlags::NAMES
            .iter()
            .find(|(name, ..)| *name == entry.key());
        if let Some((.., flag)) = flag {
            self.scheduler_flags = self.scheduler_flags.union(*flag);
            return;
        }
        match entry.key() {
            "lvs_sched" | "lb_algo" => self.scheduler = Some(entry.value().to_owned()),
            "lvs_method" | "lb_kind" => {
                self.method = value::method(entry, report).unwrap_or_default();
            }
            "ops" => self.one_packet = true,
            "persistence_timeout" => {
                self.persistence = match entry.values() {
                    [] => Some(PERSISTENCE),
                    _ => value::number(entry, 1..=31 * 24 * 3600, report),
                };
            }
            "persistence_granularity" => self.granularity = granularity(entry, report),
            "persistence_engine" => {
                report.unused(entry, "clients are told apart by their addresses")
            }
            "protocol" => match entry.value().to_uppercase().as_str() {
                "TCP" => self.protocol = Protocol::Tcp,
                "UDP" => self.protocol = Protocol::Udp,
                "SCTP" => self.protocol = Protocol::Sctp,
                _ => report.error(entry, "allowed: TCP, UDP or SCTP"),
            },
            "ip_family" => match entry.value() {
                "inet" => self.v6 = Some(false),
                "inet6" => self.v6 = Some(true),
                _ => report.error(entry, "allowed: inet or inet6"),
            },
            "inhibit_on_failure" => self.inhibit = value::switch(entry, report),
            "virtualhost" => self.virtual_host = Some(entry.value().to_owned()),
            "quorum" => self.quorum = value::number(entry, 1..=u32::MAX, report),
            "hysteresis" => self.hysteresis = value::number(entry, 0..=u32::MAX, report),
            "quorum_up" => self.quorum_up = value::script(entry, report),
            "quorum_down" => self.quorum_down = value::script(entry, report),
            "sorry_server" => self.sorry_server = real_server::named(entry, report),
            "sorry_server_lvs_method" => {
                if let Some(server) = &mut self.sorry_server {
                    server.method = value::method(entry, report);
                }
            }
            "real_server" => self.servers.extend(real_server::read(entry, report)),
            "sorry_server_inhibit" => {
                report.unused(entry, "a sorry server is there or it is not");
            }
            "ha_suspend" => {
                report.unused(entry, "lbd checks servers whether it holds the VIP or not")
            }
            "omega" => report.unused(entry, "lbd runs no notifications when it ends"),
            "smtp_alert" => report.unused(entry, "lbd sends no mail: use notify"),
            "snmp_name" => report.unused(entry, "lbd has no SNMP: its numbers are in the metrics"),
            _ => report.unused(entry, "unknown in virtual_server"),
        }
    }
}

fn granularity(entry: &Entry, report: &mut Report) -> Option<Granularity> {
    if let Ok(len) = entry.value().parse::<u8>()
        && (1..=128).contains(&len)
    {
        return Some(Granularity::Prefix(len));
    }
    let mask: Option<std::net::Ipv4Addr> = value::parsed(
        entry,
        "a mask, like 255.255.255.0, or for IPv6 1..=128",
        report,
    );
    mask.map(|mask| Granularity::Mask(mask.into()))
}

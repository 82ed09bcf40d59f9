//! `real_server` and `sorry_server`.

use lb::Addr;

use crate::block::Entry;
use crate::checker::{self, Checker, Timing};
use crate::lines::Place;
use crate::report::Report;
use crate::value::{self, Method};

/// A server, with its checkers.
#[derive(Clone, PartialEq, Debug)]
pub struct RealServer {
    pub place: Place,
    pub addr: Addr,
    pub port: Option<u16>,
    pub weight: u32,
    pub method: Option<Method>,
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    pub inhibit: Option<bool>,
    pub timing: Timing,
    pub virtual_host: Option<String>,
    pub notify_up: Option<Vec<String>>,
    pub notify_down: Option<Vec<String>>,
    pub checkers: Vec<Checker>,
}

/// The server that `entry` describes.
pub fn read(entry: &Entry, report: &mut Report) -> Option<RealServer> {
    let mut server = named(entry, report)?;
    for entry in entry.entries() {
        server.take(entry, report);
    }
    Some(server)
}

/// A server without more than its address, which is the value of `entry`.
pub fn named(entry: &Entry, report: &mut Report) -> Option<RealServer> {
    let port = entry.values().get(1).map(String::as_str);
    Some(RealServer {
        place: entry.place.clone(),
        addr: value::address(entry, entry.value(), report)?,
        port: value::port(entry, port, report)?,
        weight: 1,
        method: None,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit: None,
        timing: Timing::default(),
        virtual_host: None,
        notify_up: None,
        notify_down: None,
        checkers: Vec::new(),
    })
}

impl RealServer {
    fn take(&mut self, entry: &Entry, report: &mut Report) {
        const CONNS: std::ops::RangeInclusive<u32> = 0..=u32::MAX;
        if self.timing.take(entry, report) {
            return;
        }
        if let Some(checker) = checker::read(entry, report) {
            self.checkers.push(checker);
            return;
        }
        match entry.key() {
            "weight" => self.weight = value::number(entry, 0..=65535, report).unwrap_or(1),
            "lvs_method" | "lb_kind" => self.method = value::method(entry, report),
            "uthreshold" => {
                self.upper_threshold = value::number(entry, CONNS, report).unwrap_or(0);
            }
            "lthreshold" => {
                self.lower_threshold = value::number(entry, CONNS, report).unwrap_or(0);
            }
            "inhibit_on_failure" => self.inhibit = value::switch(entry, report),
            "virtualhost" => self.virtual_host = Some(entry.value().to_owned()),
            "notify_up" => self.notify_up = value::script(entry, report),
            "notify_down" => self.notify_down = value::script(entry, report),
            "smtp_alert" => report.unused(entry, "lbd sends no mail: use notify"),
            "snmp_name" => report.unused(entry, "lbd has no SNMP: its numbers are in the metrics"),
            _ => report.unused(entry, "unknown in real_server"),
        }
    }
}

//! `global_defs`, as far as it is about LVS.

use std::time::Duration;

use crate::block::Entry;
use crate::lines::Place;
use crate::report::{Kind, Report};

/// What is said for all services.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Global {
    /// `tcp`, `tcpfin`, `udp`, and what they are set to.
    pub timeouts: Vec<(String, Duration)>,
    /// `lvs_sync_daemon`.
    pub sync_daemon: Option<SyncDaemon>,
    /// Whether keepalived may name interfaces that are not there.
    pub dynamic_interfaces: bool,
}

/// Conns shared between balancers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncDaemon {
    pub place: Place,
    pub interface: String,
    pub id: Option<String>,
}

impl Global {
    pub fn read(&mut self, global: &Entry, report: &mut Report) {
        for entry in global.entries() {
            match entry.key() {
                "lvs_timeouts" => self.timeouts(entry, report),
                "lvs_sync_daemon" => self.sync_daemon = sync_daemon(entry, report),
                "lvs_flush" | "lvs_flush_on_stop" | "lvs_flush_onstop" => {
                    report.unused(entry, "lbd's tables are its own, and end with it");
                }
                key if key.starts_with("lvs_") || key.starts_with("checker_") => {
                    report.unused(entry, "about keepalived's own checks and the kernel's IPVS");
                }
                "nftables_ipvs" => {
                    report.unused(entry, "lbd needs no marks to serve many addresses");
                }
                "smtp_alert" | "smtp_alert_checker" => {
                    report.unused(entry, "lbd sends no mail about servers: use notify");
                }
                key => {
                    self.dynamic_interfaces |= key == "dynamic_interfaces";
                    let reason = "about keepalived itself";
                    report.add(Kind::Left, &entry.place, entry.shown(), reason);
                }
            }
        }
    }

    fn timeouts(&mut self, entry: &Entry, report: &mut Report) {
        for pair in entry.values().chunks(2) {
            let timeout = match pair {
                [name, seconds] if matches!(name.as_str(), "tcp" | "tcpfin" | "udp") => {
                    let seconds = seconds.parse().ok();
                    let seconds = seconds.filter(|seconds| (1..=31 * 24 * 3600).contains(seconds));
                    seconds.map(|seconds| (name.clone(), Duration::from_secs(seconds)))
                }
                _ => None,
            };
            match timeout {
                Some(timeout) => self.timeouts.push(timeout),
                None => report.error(
                    entry,
                    "allowed: tcp, tcpfin and udp, each with seconds up to 31 days",
                ),
            }
        }
    }
}

/// `INTERFACE [VRRP_INSTANCE] [id N] [maxlen N] ...`
fn sync_daemon(entry: &Entry, report: &mut Report) -> Option<SyncDaemon> {
    if entry.value().is_empty() {
        report.error(entry, "allowed: INTERFACE [VRRP_INSTANCE] [id NUMBER]");
        return None;
    }
    let values = entry.values();
    let id = values.iter().position(|word| word == "id");
    Some(SyncDaemon {
        place: entry.place.clone(),
        interface: entry.value().to_owned(),
        id: id.and_then(|at| values.get(at + 1)).cloned(),
    })
}

/// The keys of lbd's `[timeouts]` that keepalived's names stand for.
pub fn state(name: &str) -> lb::ConnState {
    match name {
        "tcp" => lb::ConnState::Established,
        "tcpfin" => lb::ConnState::FinWait,
        _ => lb::ConnState::Udp,
    }
}

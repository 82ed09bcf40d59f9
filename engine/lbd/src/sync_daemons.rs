//! The synchronisation daemons as ipvsadm starts, stops and lists them (kernel `ip_vs_sync.c`, `start_sync_thread`).
//!
//! A master tells of the conns of all workers every second ([`teller`]), a backup gives what it hears to all of them
//! ([`listener`]). Both are threads beside the workers, which they ask as anybody does: a packet costs nothing more.

mod backup;
#[cfg(test)]
mod bad_network;
mod heard;
mod listener;
mod master;
mod multicast;
mod teller;
mod thread;

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use lb::Engine;

use lb_ipvsadm::{Daemon, Refusal, Role};
use parking_lot::Mutex;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use heard::Heard;
use thread::Thread;

const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 81));
const PORT: u16 = 8848;
const TTL: u8 = 1;

/// What a master assumes of every network; a backup looks at its own.
const ETHERNET_MTU: u32 = 1500;

/// Headers of IP and UDP.
const HEADERS: u32 = 20 + 8;
const HEADERS_V6: u32 = 40 + 8;

/// Those that were started.
#[derive(Default)]
pub struct SyncDaemons {
    /// Whose conns they tell of, and take in; none where only what is typed and listed matters.
    engine: Option<Arc<Engine>>,
    running: Mutex<Vec<Running>>,
    heard: Heard,
}

/// One at work; dropped, it ends.
struct Running {
    daemon: Daemon,
    _thread: Option<Thread>,
}

impl SyncDaemons {
    /// Those of a balancer at work.
    pub fn of(engine: Arc<Engine>) -> SyncDaemons {
        SyncDaemons {
            engine: Some(engine),
            ..SyncDaemons::default()
        }
    }

    pub fn start(&self, daemon: &Daemon) -> Result<(), Refusal> {
        let mut running = self.running.lock();
        if running.iter().any(|other| other.daemon.role == daemon.role) {
            return Err(Refusal::DaemonRuns);
        }
        let mtu = mtu(&daemon.interface).ok_or(Refusal::NoDevice)?;
        let daemon = completed(daemon, mtu);
        let thread = match &self.engine {
            Some(engine) => {
                let started = Thread::start(&daemon, Arc::clone(engine), self.heard.clone());
                let refused = |error: std::io::Error| Refusal::Other(error.to_string());
                Some(started.map_err(refused)?)
            }
            None => None,
        };
        running.push(Running {
            daemon,
            _thread: thread,
        });
        running.sort_by_key(|running| running.daemon.role == Role::Backup);
        Ok(())
    }

    pub fn stop(&self, role: Role) -> Result<(), Refusal> {
        let mut running = self.running.lock();
        let at = running
            .iter()
            .position(|running| running.daemon.role == role);
        let ended = running.remove(at.ok_or(Refusal::NoDaemon)?);
        drop(running);
        let name = role.name();
        drop(ended);
        if role == Role::Backup {
            self.heard.forget();
        }
        tracing::info!("{name} sync daemon ended");
        Ok(())
    }

    pub fn list(&self) -> Vec<Daemon> {
        let running = self.running.lock();
        running
            .iter()
            .map(|running| running.daemon.clone())
            .collect()
    }
}

/// With the kernel's defaults and limits, for an interface of this MTU.
fn completed(daemon: &Daemon, mtu: u32) -> Daemon {
    let group = daemon.group.unwrap_or(GROUP);
    let headers = if group.is_ipv4() { HEADERS } else { HEADERS_V6 };
    let longest = u32::from(u16::MAX) - headers;
    let (shortest, usual) = match daemon.role {
        Role::Master => (1, ETHERNET_MTU),
        Role::Backup => (1024, mtu.clamp(ETHERNET_MTU, u16::MAX.into())),
    };
    let max_length = match daemon.max_length {
        None | Some(0) => usual - headers,
        Some(length) => u32::from(length).clamp(shortest, longest),
    };
    Daemon {
        max_length: u16::try_from(max_length).ok(),
        group: Some(group),
        port: Some(daemon.port.filter(|port| *port > 0).unwrap_or(PORT)),
        ttl: Some(daemon.ttl.filter(|ttl| *ttl > 0).unwrap_or(TTL)),
        ..daemon.clone()
    }
}

/// The number of an interface of this network namespace.
fn index(interface: &str) -> Option<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    name_to_index(&any, interface).ok()
}

/// Of an interface of this network namespace.
fn mtu(interface: &str) -> Option<u32> {
    index(interface)?;
    // The files may be another namespace's, where the MTU is that of most networks for all we know.
    let file = fs::read_to_string(format!("/sys/class/net/{interface}/mtu"));
    let mtu = file.ok().and_then(|text| text.trim().parse().ok());
    Some(mtu.unwrap_or(ETHERNET_MTU))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(role: Role, max_length: Option<u16>) -> Daemon {
        Daemon {
            role,
            interface: "lo".to_owned(),
            sync_id: 7,
            max_length,
            group: None,
            port: None,
            ttl: None,
        }
    }

    #[test]
    fn lengths_are_the_kernels() {
        let length = |role, asked, mtu| completed(&daemon(role, asked), mtu).max_length;
        assert_eq!(length(Role::Master, None, 9000), Some(1472));
        assert_eq!(length(Role::Backup, None, 9000), Some(8972));
        assert_eq!(length(Role::Backup, None, 576), Some(1472));
        assert_eq!(length(Role::Master, Some(10), 1500), Some(10));
        assert_eq!(length(Role::Backup, Some(10), 1500), Some(1024));
        assert_eq!(length(Role::Master, Some(65_535), 1500), Some(65_507));
        let group = Some("ff02::81".parse().expect("valid"));
        let v6 = Daemon {
            group,
            ..daemon(Role::Master, None)
        };
        assert_eq!(completed(&v6, 1500).max_length, Some(1452));
    }

    #[test]
    fn there_is_one_of_each_and_only_where_an_interface_is() {
        let daemons = SyncDaemons::default();
        assert_eq!(daemons.start(&daemon(Role::Backup, None)), Ok(()));
        assert_eq!(daemons.start(&daemon(Role::Master, None)), Ok(()));
        assert_eq!(
            daemons.start(&daemon(Role::Master, None)),
            Err(Refusal::DaemonRuns)
        );
        let roles: Vec<Role> = daemons.list().iter().map(|daemon| daemon.role).collect();
        assert_eq!(roles, [Role::Master, Role::Backup]);
        assert_eq!(daemons.stop(Role::Master), Ok(()));
        assert_eq!(daemons.stop(Role::Master), Err(Refusal::NoDaemon));
        for interface in ["nosuch0", "", "..", "lo/../lo"] {
            let elsewhere = Daemon {
                interface: interface.to_owned(),
                ..daemon(Role::Master, None)
            };
            assert_eq!(
                daemons.start(&elsewhere),
                Err(Refusal::NoDevice),
                "{interface}"
            );
        }
    }
}

//! The synchronisation daemons as ipvsadm starts, stops and lists them (kernel `ip_vs_sync.c`, `start_sync_thread`).
//!
//! Their settings are kept; conns are not sent or taken in yet, and the log says so.

use std::fs;
use std::net::IpAddr;

use lb_ipvsadm::{Daemon, Refusal, Role};
use parking_lot::Mutex;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

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
pub struct SyncDaemons(Mutex<Vec<Daemon>>);

impl SyncDaemons {
    pub fn start(&self, daemon: &Daemon) -> Result<(), Refusal> {
        let mut running = self.0.lock();
        if running.iter().any(|other| other.role == daemon.role) {
            return Err(Refusal::DaemonRuns);
        }
        let mtu = mtu(&daemon.interface).ok_or(Refusal::NoDevice)?;
        tracing::warn!(
            "{} sync daemon: kept and listed, but this version does not synchronise conns",
            daemon.role.name()
        );
        running.push(completed(daemon, mtu));
        running.sort_by_key(|daemon| daemon.role == Role::Backup);
        Ok(())
    }

    pub fn stop(&self, role: Role) -> Result<(), Refusal> {
        let mut running = self.0.lock();
        let at = running.iter().position(|daemon| daemon.role == role);
        running.remove(at.ok_or(Refusal::NoDaemon)?);
        Ok(())
    }

    pub fn list(&self) -> Vec<Daemon> {
        self.0.lock().clone()
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

/// Of an interface of this network namespace.
fn mtu(interface: &str) -> Option<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    name_to_index(&any, interface).ok()?;
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

//! The VIPs and LIPs that the configuration wants on interfaces, while it does.

use lb_model::{Addr, ServiceId};
use lb_netlink::{AddedAddress, NetlinkError, Origin};
use parking_lot::Mutex;

use crate::engine::Companion;
use crate::{Config, ConfigError};

/// The addresses that are on interfaces because of us; dropped, they are taken off.
#[derive(Default)]
pub struct Addresses {
    /// By the configuration.
    configured: Mutex<Vec<AddedAddress>>,
    /// By hand.
    placed: Mutex<Vec<AddedAddress>>,
}

/// One that is wanted, and the key that wants it.
struct Wanted<'a> {
    path: String,
    interface: &'a str,
    addr: Addr,
}

impl Addresses {
    /// Takes all of them off.
    pub fn clear(&self) {
        self.configured.lock().clear();
        self.placed.lock().clear();
    }
}

impl Companion for Addresses {
    fn prepare(&self, config: &Config) -> Result<(), ConfigError> {
        let mut held = self.configured.lock();
        let before = held.len();
        for wanted in wanted(config) {
            if held.iter().any(|address| is(address, &wanted)) {
                continue;
            }
            match add(wanted.interface, wanted.addr) {
                Ok(address) => held.push(address),
                Err(error) => {
                    held.truncate(before);
                    return Err(ConfigError::new(wanted.path, error.to_string()));
                }
            }
        }
        Ok(())
    }

    fn settle(&self, config: &Config) {
        let wanted = wanted(config);
        let mut held = self.configured.lock();
        held.retain(|address| {
            let stays = wanted.iter().any(|wanted| is(address, wanted));
            if !stays {
                tracing::info!("{} leaves {}", address.addr(), address.interface());
            }
            stays
        });
    }

    fn hold(&self, placed: &[(String, Addr)]) {
        self.placed.lock().retain(|address| {
            let stays = placed.iter().any(|(interface, addr)| {
                address.addr() == *addr && address.interface() == interface.as_str()
            });
            if !stays {
                tracing::info!("{} leaves {}", address.addr(), address.interface());
            }
            stays
        });
    }

    fn place(&self, interface: &str, lip: Addr) -> Result<(), String> {
        let is_there = |held: &[AddedAddress]| {
            let mut held = held.iter();
            held.any(|address| address.addr() == lip && address.interface() == interface)
        };
        if is_there(&self.configured.lock()) || is_there(&self.placed.lock()) {
            return Ok(());
        }
        let added = add(interface, lip).map_err(|error| error.to_string())?;
        self.placed.lock().push(added);
        Ok(())
    }
}

fn is(address: &AddedAddress, wanted: &Wanted<'_>) -> bool {
    address.addr() == wanted.addr && address.interface() == wanted.interface
}

fn wanted(config: &Config) -> Vec<Wanted<'_>> {
    let mut all = Vec::new();
    for (position, service) in config.services.iter().enumerate() {
        for (at, lip) in service.local_addresses.iter().enumerate() {
            if let Some(interface) = service.local_interfaces.get(lip) {
                all.push(Wanted {
                    path: format!("service[{position}].local_addresses[{at}]"),
                    interface,
                    addr: *lip,
                });
            }
        }
        if let (Some(interface), ServiceId::Address(key)) = (&service.vip_interface, service.id) {
            all.push(Wanted {
                path: format!("service[{position}].vip_interface"),
                interface,
                addr: key.vip.addr,
            });
        }
    }
    all
}

fn add(interface: &str, addr: Addr) -> Result<AddedAddress, NetlinkError> {
    let address = AddedAddress::new(interface, addr)?;
    match address.origin() {
        Origin::Added => tracing::info!("{addr} added to {interface}"),
        Origin::Adopted => {
            tracing::info!("{addr} was on {interface} since an earlier run of ours")
        }
        Origin::Foreign => {
            tracing::info!("{addr} was on {interface} already, and stays there at the end")
        }
    }
    Ok(address)
}

//! The network around a balancer as a configuration tells it: for a replay, which has no kernel to ask.

use lb_model::{Addr, Interface, InterfaceId, Mac, NextHops, Prefix};

use crate::{Config, ConfigError};

/// `[[interface]]`, `[[route]]` and `[[neighbour]]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NetworkConfig {
    /// `[[interface]]`
    pub interfaces: Vec<InterfaceConfig>,
    /// `[[route]]`
    pub routes: Vec<RouteConfig>,
    /// `[[neighbour]]`
    pub neighbours: Vec<NeighbourConfig>,
}

/// `[[interface]]`: what the kernel would say of one of the engine's interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name in `[engine] interfaces`.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u32,
    /// The balancer's addresses on it, each with the length of the prefix that is on-link.
    pub addresses: Vec<(Addr, u8)>,
}

/// `[[route]]`: the way to a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Where it leads.
    pub destination: Prefix,
    /// Through this gateway; `None`: on-link.
    pub via: Option<Addr>,
    /// By this interface.
    pub interface: String,
}

/// `[[neighbour]]`: who has which MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourConfig {
    /// The neighbour's address.
    pub ip: Addr,
    /// Its MAC.
    pub mac: Mac,
    /// The interface it is reached by.
    pub interface: String,
}

impl Config {
    /// The next hops that `[[interface]]`, `[[route]]` and `[[neighbour]]` describe; addresses of an interface make their
    /// prefixes on-link, as in the kernel.
    pub fn next_hops(&self) -> Result<NextHops, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let network = &self.network;
        let mut interfaces = Vec::new();
        for (at, name) in self.engine.interfaces.iter().enumerate() {
            match network
                .interfaces
                .iter()
                .find(|interface| interface.name == *name)
            {
                Some(interface) => interfaces.push(Interface {
                    name: name.clone(),
                    mac: interface.mac,
                    mtu: interface.mtu,
                    addresses: interface.addresses.iter().map(|(addr, _)| *addr).collect(),
                }),
                None => errors.push(ConfigError::new(
                    format!("engine.interfaces[{at}]"),
                    format!("\"{name}\", without an [[interface]] that says its MAC and addresses"),
                )),
            }
        }
        let mut known = |path: String, name: &str| {
            let position = self
                .engine
                .interfaces
                .iter()
                .position(|other| other == name);
            if position.is_none() {
                let allowed = self.engine.interfaces.join(", ");
                errors.push(ConfigError::new(
                    path,
                    format!("\"{name}\", allowed: {allowed}"),
                ));
            }
            position.map(|at| InterfaceId(at as u16))
        };
        let mut hops = NextHops::new(interfaces);
        for (at, interface) in network.interfaces.iter().enumerate() {
            let Some(id) = known(format!("interface[{at}].name"), &interface.name) else {
                continue;
            };
            for (addr, len) in &interface.addresses {
                hops.set_local(*addr);
                hops.set_route(Prefix::new(*addr, *len), Some(id), None);
                hops.set_source(Prefix::new(*addr, *len), *addr);
            }
        }
        for (at, route) in network.routes.iter().enumerate() {
            if let Some(id) = known(format!("route[{at}].interface"), &route.interface) {
                hops.set_route(route.destination, Some(id), route.via);
            }
        }
        for (at, neighbour) in network.neighbours.iter().enumerate() {
            if let Some(id) = known(format!("neighbour[{at}].interface"), &neighbour.interface) {
                hops.set_neighbour(id, neighbour.ip, neighbour.mac);
            }
        }
        if errors.is_empty() {
            Ok(hops)
        } else {
            Err(errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Resolution;

    fn config() -> Config {
        let mut config = Config::on(&["c", "r"]);
        let interface = |name: &str, addr| InterfaceConfig {
            name: name.into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![(Addr::v4(addr), 24)],
        };
        config.network.interfaces = vec![
            interface("c", [198, 18, 0, 1]),
            interface("r", [10, 20, 0, 1]),
        ];
        config.network.routes.push(RouteConfig {
            destination: Prefix::new(Addr::UNSPECIFIED_V4, 0),
            via: Some(Addr::v4([198, 18, 0, 254])),
            interface: "c".into(),
        });
        config.network.neighbours.push(NeighbourConfig {
            ip: Addr::v4([198, 18, 0, 254]),
            mac: Mac([2, 0, 0, 0, 0, 9]),
            interface: "c".into(),
        });
        config
    }

    #[test]
    fn addresses_make_their_prefixes_on_link_and_routes_lead_beyond() {
        let hops = config().next_hops().expect("complete");
        let server = Addr::v4([10, 20, 0, 7]);
        let unresolved = Resolution::Unresolved {
            egress: InterfaceId(1),
            next_hop: server,
        };
        assert_eq!(hops.resolve(server), unresolved);
        assert!(matches!(
            hops.resolve(Addr::v4([8, 8, 8, 8])),
            Resolution::Reachable(_)
        ));
        assert!(hops.is_local(Addr::v4([10, 20, 0, 1])));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let mut config = config();
        config.engine.interfaces[1] = "s".into();
        let errors: Vec<String> = config
            .next_hops()
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "engine.interfaces[1]: \"s\", without an [[interface]] that says its MAC and addresses",
                "interface[1].name: \"r\", allowed: c, s",
            ]
        );
    }
}

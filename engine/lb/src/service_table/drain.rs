//! Servers that are being emptied: no new conns until somebody ends the drain, and the weight is not forgotten.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lb_model::{Addr, Dest, Endpoint, ServiceId};

use super::{Refusal, ServiceTable};

/// Which server is meant: a host with all its ports, or one port of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerAddress {
    /// RIP.
    pub addr: Addr,
    /// rport; `None`: any.
    pub port: Option<u16>,
}

impl ServerAddress {
    /// Whether `rip` is meant.
    pub fn names(&self, rip: Endpoint) -> bool {
        self.addr == rip.addr && self.port.is_none_or(|port| port == rip.port)
    }
}

/// The text was no server's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseServerAddressError;

impl fmt::Display for ParseServerAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "allowed: ADDRESS or ADDRESS:PORT, like 10.0.0.11, 10.0.0.11:80 or [2001:db8::1]:80",
        )
    }
}

impl std::error::Error for ParseServerAddressError {}

impl FromStr for ServerAddress {
    type Err = ParseServerAddressError;

    fn from_str(text: &str) -> Result<ServerAddress, ParseServerAddressError> {
        if let Ok(Endpoint { addr, port }) = text.parse() {
            let port = Some(port);
            return Ok(ServerAddress { addr, port });
        }
        let addr: IpAddr = text.parse().map_err(|_| ParseServerAddressError)?;
        Ok(ServerAddress {
            addr: addr.into(),
            port: None,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => Endpoint::new(self.addr, port).fmt(f),
            None => self.addr.fmt(f),
        }
    }
}

/// A server being drained, in one of its services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drain {
    /// The service.
    pub service: ServiceId,
    /// The server.
    pub rip: Endpoint,
    /// The weight that it has again afterwards.
    pub weight: u32,
    /// Its conns in an active state.
    pub active: u32,
    /// All its other conns.
    pub inactive: u32,
    /// Clients that persistence still leads to it.
    pub persistent: u32,
}

impl ServiceTable {
    /// Takes new conns from a server in all services that have it, until the drain is [ended](ServiceTable::undrain);
    /// what is being drained now.
    pub fn drain(&mut self, server: &ServerAddress) -> Result<Vec<Drain>, Refusal> {
        let named = self.named(server)?;
        for (id, rip) in &named {
            self.drain_server(*id, *rip);
        }
        let drains = self.drains().into_iter();
        Ok(drains.filter(|drain| server.names(drain.rip)).collect())
    }

    /// Gives a server its weight back in all services where it is being drained; where that was.
    pub fn undrain(&mut self, server: &ServerAddress) -> Result<Vec<Drain>, Refusal> {
        self.named(server)?;
        let drains = self.drains().into_iter();
        let ended: Vec<Drain> = drains.filter(|drain| server.names(drain.rip)).collect();
        for Drain { service, rip, .. } in &ended {
            self.set_drained(*service, *rip, false);
        }
        Ok(ended)
    }

    /// All drains, with the conns that are left.
    pub fn drains(&self) -> Vec<Drain> {
        let drains = self.holds.drained();
        drains
            .map(|(service, rip, weight)| {
                let dest = self.server(service, rip);
                let count = |of: fn(&Dest) -> u32| dest.map_or(0, |dest| of(dest));
                Drain {
                    service,
                    rip,
                    weight,
                    active: count(Dest::active),
                    inactive: count(Dest::inactive),
                    persistent: count(Dest::persistent),
                }
            })
            .collect()
    }

    pub(crate) fn drain_server(&mut self, id: ServiceId, rip: Endpoint) {
        self.set_drained(id, rip, true);
    }

    fn set_drained(&mut self, id: ServiceId, rip: Endpoint, drained: bool) {
        if let Some(dest) = self.server(id, rip) {
            let before = dest.weight();
            let weight = self.holds.set_drained(id, rip, before, drained);
            if weight != before {
                self.set_weight(id, rip, weight);
            }
        } else if self.holds.out_mut(id, rip).is_some() {
            self.holds.set_drained(id, rip, 0, drained);
        }
    }

    fn named(&self, server: &ServerAddress) -> Result<Vec<(ServiceId, Endpoint)>, Refusal> {
        let all = self.services.iter().flat_map(|service| {
            let present = service.dests().iter().map(|dest| dest.rip());
            let out = self.holds.out(service.id()).map(|(spec, _)| spec.rip);
            let id = service.id();
            present.chain(out).map(move |rip| (id, rip))
        });
        let named: Vec<_> = all.filter(|(_, rip)| server.names(*rip)).collect();
        if named.is_empty() {
            return Err(Refusal::NoSuchServer);
        }
        Ok(named)
    }

    pub(super) fn set_weight(&mut self, id: ServiceId, rip: Endpoint, weight: u32) {
        if let Some(dest) = self.server(id, rip) {
            dest.set_weight(weight);
            // The service is there, for its server is.
            let _ = self.server_edited(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_or_without_its_port() {
        for (text, names, spares) in [
            ("10.0.0.11", "10.0.0.11:80", "10.0.0.12:80"),
            ("10.0.0.11:80", "10.0.0.11:80", "10.0.0.11:81"),
            ("2001:db8::1", "[2001:db8::1]:80", "[2001:db8::2]:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:81"),
        ] {
            let address: ServerAddress = text.parse().expect("valid");
            assert_eq!(address.to_string(), text);
            assert!(address.names(names.parse().expect("valid")), "{text}");
            assert!(!address.names(spares.parse().expect("valid")), "{text}");
        }
        for text in [
            "",
            "server",
            "10.0.0.11:",
            "10.0.0.11:70000",
            "[2001:db8::1]",
        ] {
            assert_eq!(text.parse::<ServerAddress>(), Err(ParseServerAddressError));
        }
    }
}

//! A lab in either family: the same hosts, the same packets.

use std::net::IpAddr;

use lb::{Endpoint, Protocol, ServiceConfig};
use lb_testkit::{PacketBuilder, pkt};

use super::*;

/// One of the two families: client, VIP, LIP, and the servers' addresses.
#[derive(Clone, Copy)]
pub struct Family {
    pub cip: IpAddr,
    pub vip: IpAddr,
    pub lip: IpAddr,
    pub rip: fn(u8) -> IpAddr,
}

pub const V4: Family = Family {
    cip: IpAddr::V4(CIP),
    vip: IpAddr::V4(VIP),
    lip: IpAddr::V4(LIP),
    rip: |server| rip(server).into(),
};
pub const V6: Family = Family {
    cip: IpAddr::V6(CIP6),
    vip: IpAddr::V6(VIP6),
    lip: IpAddr::V6(LIP6),
    rip: |server| rip6(server).into(),
};

impl Family {
    /// As servers see it in ENAT: the VIP is the source of what they get.
    pub fn with_vip_as_source(self) -> Family {
        Family {
            lip: self.vip,
            ..self
        }
    }

    /// A service in `mode` with servers `0..servers` on another port.
    pub fn service(self, mode: &str, protocol: Protocol, servers: u8) -> ServiceConfig {
        let service = service_at(self.vip, mode, protocol);
        (0..servers).fold(service, |service, server| {
            service.with_server(Endpoint::new((self.rip)(server).into(), 8080), 1)
        })
    }

    pub fn client_sends(self) -> PacketBuilder {
        pkt().ethernet(CLIENT_MAC, ETH0_MAC).ip(self.cip, self.vip)
    }

    pub fn server_gets(self, server: u8) -> PacketBuilder {
        pkt()
            .ethernet(ETH1_MAC, rip_mac(server))
            .ip(self.lip, (self.rip)(server))
            .ttl(63)
    }

    pub fn server_sends(self, server: u8) -> PacketBuilder {
        pkt()
            .ethernet(rip_mac(server), ETH1_MAC)
            .ip((self.rip)(server), self.lip)
    }

    pub fn client_gets(self) -> PacketBuilder {
        pkt()
            .ethernet(ETH0_MAC, CLIENT_MAC)
            .ip(self.vip, self.cip)
            .ttl(63)
    }
}

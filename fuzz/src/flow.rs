//! One conn of each mode, in both families and by both protocols.

use std::net::IpAddr;

use lb::{ClientAddress, Endpoint, Protocol, ServiceConfig, Tunnel, TunnelChecksum};
use lb_testkit::{PacketBuilder, pkt};

use crate::{CIP, CIP6, DIP6, LIP, LIP6, RIP, RIP6, VIP, VIP6};

/// A client's port 4000 at a service of its own.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    mode: usize,
    is_v4: bool,
    is_udp: bool,
}

const GUE: Tunnel = Tunnel::Gue {
    port: 6080,
    checksum: TunnelChecksum::Present,
};
const GRE: Tunnel = Tunnel::Gre {
    checksum: TunnelChecksum::Present,
};

/// A tunnel leads to a server of the other family in the last two.
const MODES: [(&str, Tunnel); 9] = [
    ("dr", Tunnel::Ipip),
    ("nat", Tunnel::Ipip),
    ("fnat", Tunnel::Ipip),
    ("enat", Tunnel::Ipip),
    ("tun", Tunnel::Ipip),
    ("tun", GUE),
    ("tun", GRE),
    ("tun", Tunnel::Ipip),
    ("tun", GUE),
];
const FIRST_TO_OTHER_FAMILY: usize = 7;

impl Flow {
    /// The flow that a byte stands for.
    pub fn chosen(choice: u8) -> Flow {
        Flow {
            mode: usize::from(choice >> 2) % MODES.len(),
            is_v4: choice & 1 == 0,
            is_udp: choice & 2 != 0,
        }
    }

    pub fn all() -> impl Iterator<Item = Flow> {
        (0..4 * MODES.len() as u8).map(Flow::chosen)
    }

    pub fn service(self) -> ServiceConfig {
        let (mode, tunnel) = MODES[self.mode];
        let protocol = if self.is_udp {
            Protocol::Udp
        } else {
            Protocol::Tcp
        };
        let [_, (vip, vport)] = self.here();
        let rport = if mode == "dr" || mode == "tun" {
            vport
        } else {
            self.there()[1].1
        };
        let mut service =
            ServiceConfig::new(Endpoint::new(vip.into(), vport), protocol, "rr", mode)
                .with_server(Endpoint::new(self.rip().into(), rport), 1);
        service.servers[0].tunnel = tunnel;
        if mode == "fnat" {
            service.client_address = self.is_udp.then_some(ClientAddress::ProxyV2);
            service = service.with_local_address(self.there()[0].0.into());
        }
        service
    }

    /// A packet of the client's.
    pub fn sent(self) -> PacketBuilder {
        self.between(self.here())
    }

    /// The server's answer to what it gets.
    pub fn answered(self) -> PacketBuilder {
        let [from, to] = self.there();
        self.between([to, from]).syn_ack()
    }

    /// About an answer as the client gets it.
    pub fn error_from_clients_side(self, error: (u8, u8, u32)) -> PacketBuilder {
        let [client, vip] = self.here();
        let quoted = self.between([vip, client]);
        pkt().ip(client.0, vip.0).icmp_error(error, &quoted, 60)
    }

    /// About this frame, which went to the server.
    pub fn error_from_servers_side(
        self,
        (kind, code, rest): (u8, u8, u32),
        frame: &[u8],
    ) -> PacketBuilder {
        let rip = self.rip();
        let source = match (MODES[self.mode].0, rip) {
            ("tun", IpAddr::V4(_)) => [10, 1, 0, 1].into(),
            ("tun", IpAddr::V6(_)) => DIP6.into(),
            _ => self.there()[0].0,
        };
        let protocol = if rip.is_ipv4() { 1 } else { 58 };
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(&frame[14..]);
        pkt().ip(rip, source).carrying_bytes(protocol, message)
    }

    fn between(self, [from, to]: [(IpAddr, u16); 2]) -> PacketBuilder {
        let packet = pkt().ip(from.0, to.0).payload(b"hello");
        match self.is_udp {
            true => packet.udp(from.1, to.1),
            false => packet.tcp(from.1, to.1),
        }
    }

    /// Both ends as the client knows them.
    fn here(self) -> [(IpAddr, u16); 2] {
        let vport = 5000 + self.mode as u16;
        match self.is_v4 {
            true => [(CIP.into(), 4000), (VIP.into(), vport)],
            false => [(CIP6.into(), 4000), (VIP6.into(), vport)],
        }
    }

    /// Both ends as the server knows them.
    fn there(self) -> [(IpAddr, u16); 2] {
        let [client, vip] = self.here();
        // Of several servers at one address, so that no two flows look the same from there.
        let rport = 8000 + self.mode as u16;
        let lip = if self.is_v4 { LIP.into() } else { LIP6.into() };
        match MODES[self.mode].0 {
            "nat" => [client, (self.rip(), rport)],
            "fnat" => [(lip, 1024), (self.rip(), rport)],
            "enat" => [(vip.0, 1024), (self.rip(), rport)],
            _ => [client, vip],
        }
    }

    fn rip(self) -> IpAddr {
        match self.is_v4 == (self.mode < FIRST_TO_OTHER_FAMILY) {
            true => RIP.into(),
            false => RIP6.into(),
        }
    }
}

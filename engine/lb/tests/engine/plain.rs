//! Nearly all packets take a short way through the engine. What it makes of them is what the long way makes, which a packet
//! takes whose checksum was left to a device.

use crate::lab::*;
use lb::{Addr, Endpoint, Protocol, ServiceConfig, Traffic};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::{IpHeader, TcpFlags};

const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: &'static str,
    protocol: Protocol,
    v6: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        let modes = ["dr", "nat", "fnat", "enat", "tun"].into_iter();
        let protocols = [Protocol::Tcp, Protocol::Udp];
        let kinds = move |mode| protocols.map(|protocol| (mode, protocol));
        let cases = modes.flat_map(kinds);
        cases.flat_map(|(mode, protocol)| [false, true].map(|v6| Case { mode, protocol, v6 }))
    }

    fn family(self) -> Family {
        if self.v6 { V6 } else { V4 }
    }

    fn service(self) -> ServiceConfig {
        let family = self.family();
        let mut service = service_at(family.vip, self.mode, self.protocol);
        if self.mode == "fnat" {
            service.local_addresses = vec![family.lip.into()];
        }
        service.with_server(Endpoint::new((family.rip)(0).into(), 80), 1)
    }

    fn sees_replies(self) -> bool {
        matches!(self.mode, "nat" | "fnat")
    }

    fn packet(self, from: PacketBuilder, ports: (u16, u16), flags: TcpFlags) -> PacketBuilder {
        let packet = from.payload(b"something odd");
        match self.protocol {
            Protocol::Tcp => {
                // The server's first number is 1, which all but its own SYN are to be past.
                let acknowledged = if flags == TcpFlags::ACK { 1000 } else { 2 };
                let tcp = packet.tcp(ports.0, ports.1).flags(flags);
                tcp.numbers(1, acknowledged)
            }
            _ => packet.udp(ports.0, ports.1),
        }
    }

    fn ask(self, flags: TcpFlags) -> PacketBuilder {
        self.packet(self.family().client_sends(), (4000, 80), flags)
    }

    /// From whom, and to whom, this was forwarded.
    fn answer(self, forwarded: &[u8], flags: TcpFlags) -> PacketBuilder {
        let parsed = lb_wire::parse(forwarded).expect("it was forwarded");
        let (source, destination) = match parsed.ip {
            IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
            IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
        };
        let from = pkt().ethernet(rip_mac(0), ETH1_MAC);
        let from = from.ip(destination.into(), source.into());
        let ports = (parsed.destination_port, parsed.source_port);
        self.packet(from, ports, flags)
    }
}

/// What becomes of a packet, and what is counted of it.
fn outcome(
    lab: &mut Lab,
    ingress: lb::InterfaceId,
    packet: &PacketBuilder,
) -> ((lb::InterfaceId, Vec<u8>), Traffic) {
    let id = lab.config.services[0].id;
    let totals = |lab: &Lab| {
        let counted = lab.engine.look(|table| table.traffic_of_service(id));
        counted.expect("a service").totals
    };
    let before = totals(lab);
    assert!(lab.port().inject(ingress, &packet.bytes()), "a free frame");
    lab.turn();
    let sent = lab.port().take_sent().expect("it is forwarded");
    (sent, totals(lab) - before)
}

#[test]
fn a_plain_packet_leaves_as_one_that_is_looked_at_closely() {
    for case in Case::all() {
        let mut lab = Lab::new(vec![case.service()]);
        let ((_, forwarded), _) = outcome(&mut lab, ETH0, &case.ask(TcpFlags::SYN));
        if case.sees_replies() {
            outcome(&mut lab, ETH1, &case.answer(&forwarded, SYN_ACK));
        }
        // Established, and the server is told of the client no more.
        for _ in 0..4 {
            outcome(&mut lab, ETH0, &case.ask(TcpFlags::ACK));
        }
        let mut same = |ingress, packet: PacketBuilder| {
            let plain = outcome(&mut lab, ingress, &packet);
            let closely = outcome(&mut lab, ingress, &packet.partial_checksum());
            assert_eq!(plain, closely, "{case:?}");
            assert_eq!(plain.1.in_packets + plain.1.out_packets, 1, "{case:?}");
        };
        same(ETH0, case.ask(TcpFlags::ACK));
        if case.sees_replies() {
            same(ETH1, case.answer(&forwarded, TcpFlags::ACK));
        }
    }
}

#[test]
fn a_datagram_that_opens_a_conn_leaves_as_one_that_is_looked_at_closely() {
    // The other modes' local ports differ from lab to lab.
    let cases = Case::all().filter(|case| matches!(case.mode, "dr" | "nat" | "tun"));
    for case in cases.filter(|case| case.protocol == Protocol::Udp) {
        let [plain, closely] = [false, true].map(|is_partial| {
            let mut lab = Lab::new(vec![case.service()]);
            let none = TcpFlags::default();
            // From here on the next hop is known.
            outcome(&mut lab, ETH0, &case.ask(none));
            let first = case.packet(case.family().client_sends(), (4001, 80), none);
            let first = match is_partial {
                true => first.partial_checksum(),
                false => first,
            };
            let outcome = outcome(&mut lab, ETH0, &first);
            assert_eq!(outcome.1.conns, 1, "{case:?}");
            outcome
        });
        assert_eq!(plain, closely, "{case:?}");
    }
}

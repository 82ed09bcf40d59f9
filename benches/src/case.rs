//! One case: a mode, a family, a protocol, a direction, and whether the packets' flows are known.

use std::fmt;
use std::time::Duration;

use lb::{Addr, Endpoint, InterfaceId, Protocol, Time};
use lb_testkit::pkt;
use lb_wire::{IpHeader, TcpFlags};

use crate::Scenario;
use crate::scenario::{CLIENT_SIDE, SERVER_SIDE, VIP, VIP6, client, client_v6, service};

/// Packets in a case.
pub const PACKETS: u64 = TURNS as u64 * 64;
/// Turns that they take.
pub const TURNS: u32 = 256;
/// Flows that are known beforehand.
const FLOWS: u32 = 1_000;
/// A turn begins so long after the one before.
const TURN: Duration = Duration::from_micros(10);

/// What the packets are.
#[derive(Clone, Copy)]
pub struct Case {
    mode: &'static str,
    v6: bool,
    protocol: Protocol,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From clients, of known flows.
    In,
    /// From servers, of known flows.
    Out,
    /// From clients, each the first of its flow.
    New,
}

impl Case {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Case> {
        let modes = ["dr", "nat", "fnat", "enat", "tun"];
        let families = [false, true];
        let protocols = [Protocol::Udp, Protocol::Tcp];
        modes.into_iter().flat_map(move |mode| {
            let kinds: &[Kind] = match mode {
                "nat" | "fnat" => &[Kind::In, Kind::Out, Kind::New],
                _ => &[Kind::In, Kind::New],
            };
            families.into_iter().flat_map(move |v6| {
                protocols.into_iter().flat_map(move |protocol| {
                    let case = move |kind: &Kind| Case {
                        mode,
                        v6,
                        protocol,
                        kind: *kind,
                    };
                    kinds.iter().map(case)
                })
            })
        })
    }

    /// Whether every packet is the first of its flow.
    pub fn opens(&self) -> bool {
        self.kind == Kind::New
    }

    /// A worker with known flows, and the case's packets about to arrive.
    pub fn scenario(&self) -> Scenario {
        let service = service(self.mode, self.protocol, self.v6, self.v6);
        let mut scenario = Scenario::serving(service, FLOWS + PACKETS as u32);
        let known: Vec<(InterfaceId, Vec<u8>)> = (0..FLOWS)
            .map(|flow| self.open(&mut scenario, flow))
            .collect();
        let packet = |number: u32| match self.kind {
            Kind::New => self.inbound(FLOWS + number, TcpFlags::SYN, 0),
            // In an order that no cache of branches remembers.
            Kind::In | Kind::Out => {
                known[(number.wrapping_mul(0x9e37_79b9) % FLOWS) as usize].clone()
            }
        };
        scenario.deliver((0..PACKETS as u32).map(packet));
        scenario
    }

    /// When these turns are.
    pub fn times() -> impl Iterator<Item = Time> {
        (1..=TURNS).map(|number| Time::ZERO + TURN * number)
    }

    /// Opens a conn, and lets it come so far that its next packets, of which the answer is one, are like most.
    fn open(&self, scenario: &mut Scenario, flow: u32) -> (InterfaceId, Vec<u8>) {
        let mut send = |packet| {
            scenario.deliver([packet]);
            scenario.worker.turn(Time::ZERO);
            scenario.worker.port().sent_last().to_vec()
        };
        let forwarded = send(self.inbound(flow, TcpFlags::SYN, 0));
        if self.protocol == Protocol::Tcp {
            if matches!(self.mode, "nat" | "fnat") {
                send(self.reply(&forwarded, TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0)));
            }
            // The server's first number is 1, as that of every packet here.
            send(self.inbound(flow, TcpFlags::ACK, 2));
        }
        match self.kind {
            Kind::Out => self.reply(&forwarded, TcpFlags::ACK),
            Kind::In | Kind::New => self.inbound(flow, TcpFlags::ACK, 1_000),
        }
    }

    /// From a client, with as much payload as makes it the shortest frame there is, over IPv4.
    fn inbound(&self, flow: u32, flags: TcpFlags, acknowledged: u32) -> (InterfaceId, Vec<u8>) {
        let (client, vip) = match self.v6 {
            true => (client_v6(flow), VIP6.into()),
            false => (client(flow), VIP.into()),
        };
        let bytes = self.packet(client, Endpoint::new(vip, 80), flags, acknowledged);
        (CLIENT_SIDE, bytes)
    }

    /// The server's answer to what was forwarded to it.
    fn reply(&self, forwarded: &[u8], flags: TcpFlags) -> (InterfaceId, Vec<u8>) {
        let parsed = lb_wire::parse(forwarded).expect("it was forwarded");
        let (source, destination) = match parsed.ip {
            IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
            IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
        };
        let here = Endpoint::new(source, parsed.source_port);
        let there = Endpoint::new(destination, parsed.destination_port);
        (SERVER_SIDE, self.packet(there, here, flags, 1_000))
    }

    fn packet(&self, from: Endpoint, to: Endpoint, flags: TcpFlags, acknowledged: u32) -> Vec<u8> {
        let packet = pkt().ip(from.addr.into(), to.addr.into());
        let packet = match self.protocol {
            Protocol::Tcp => packet
                .tcp(from.port, to.port)
                .flags(flags)
                .numbers(1, acknowledged),
            Protocol::Udp | Protocol::Sctp => packet.udp(from.port, to.port).payload(&[0; 18]),
        };
        packet.bytes()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.v6 { "v6" } else { "v4" };
        let kind = match self.kind {
            Kind::In => "in",
            Kind::Out => "out",
            Kind::New => "new",
        };
        write!(f, "{}-{family}-{}-{kind}", self.mode, self.protocol)
    }
}

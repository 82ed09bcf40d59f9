//! One case: a mode, a family, a protocol, a direction, and whether the packets' flows are known.

use std::fmt;
use std::time::Duration;

use lb::{Addr, Batch, Endpoint, InterfaceId, Port, Protocol, Time};
use lb_benches::{CLIENT_SIDE, SERVER_SIDE, Scenario, VIP, VIP6, client, client_v6, service};
use lb_testkit::pkt;
use lb_wire::{IpHeader, TcpFlags};

/// Packets that are counted over.
pub const PACKETS: u64 = BATCHES * 64;
const BATCHES: u64 = 256;
/// Flows that are known beforehand.
const FLOWS: u32 = 1_000;
/// A turn begins so long after the one before.
const TURN: Duration = Duration::from_micros(10);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A worker's whole turn.
    Turn,
    /// What the port, which is in memory, takes of that.
    Port,
}

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

    /// Counts nothing by itself: what is to be counted happens in [`counted`].
    pub fn run(&self, part: Part) {
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
        match part {
            Part::Turn => counted(|now| assert_eq!(scenario.worker.turn(now).received, 64)),
            Part::Port => {
                let (port, mut batch) = (scenario.worker.port_mut(), Batch::new());
                counted(|_| {
                    port.receive(&mut batch);
                    for packet in batch.drain() {
                        assert!(port.transmit(packet.ingress, packet.frame).is_ok());
                    }
                });
            }
        }
        let counters = scenario.worker.counters();
        assert_eq!((counters.dropped(), counters.punted()), (0, 0));
        let opened = if self.kind == Kind::New && part == Part::Turn {
            PACKETS as usize
        } else {
            0
        };
        assert_eq!(scenario.worker.conns().len(), FLOWS as usize + opened);
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

/// What callgrind counts.
#[inline(never)]
fn counted(mut turn: impl FnMut(Time)) {
    for number in 1..=BATCHES as u32 {
        turn(Time::ZERO + TURN * number);
    }
}

//! What comes in: a mix of everything, decided by a seed.

use std::collections::VecDeque;

use lb::{Addr, Endpoint, InterfaceId, Protocol};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::{IpHeader, TcpFlags};

use super::Vip;
use super::regulars::Regulars;
use crate::{CLIENT_SIDE, SERVER_SIDE};

/// A network of clients that do not answer to neighbour resolution: its first address.
pub const UNREACHABLE: [u8; 4] = [203, 0, 113, 0];

/// What comes in one turn at most.
const BATCH: u32 = 64;
/// Packets that were sent, and clients that were seen, that later ones refer to.
const REMEMBERED: usize = 1024;

/// Where packets come from.
pub struct Traffic {
    random: u64,
    vips: Vec<Vip>,
    /// Clients that came, and may go on.
    guests: VecDeque<(Endpoint, Vip)>,
    sent: VecDeque<(InterfaceId, Vec<u8>)>,
}

impl Traffic {
    /// To these services.
    pub fn new(seed: u64, vips: Vec<Vip>) -> Traffic {
        Traffic {
            random: seed,
            vips,
            guests: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    /// A number below `limit`; not below one of 0, of course.
    pub fn below(&mut self, limit: u32) -> u32 {
        // SplitMix64: every seed is a good one.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) >> 32;
        ((number * u64::from(limit)) >> 32) as u32
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Notes what was sent: servers answer, routers complain about it.
    pub fn was_sent(&mut self, egress: InterfaceId, packet: Vec<u8>) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((egress, packet));
    }

    /// What comes in the next turn.
    pub fn next(&mut self, regulars: &Regulars) -> Vec<(InterfaceId, Vec<u8>)> {
        let count = 1 + self.below(BATCH);
        let mut packets = Vec::with_capacity(BATCH as usize);
        let kind = self.below(100);
        while packets.len() < count as usize {
            match kind {
                0..40 => packets.extend(regulars.packet(self.below(1 << 16)).cloned()),
                40..60 => packets.push(self.guest()),
                60..75 => packets.extend(self.guest_again()),
                75..83 => packets.push(self.flood()),
                83..91 => packets.extend(self.reply()),
                91..94 => packets.extend(self.icmp_error()),
                94..97 => packets.extend(self.fragments()),
                _ => packets.push(self.garbage()),
            }
            if packets.is_empty() {
                // Nobody has been here yet.
                return packets;
            }
        }
        packets
    }

    fn vip(&mut self) -> Vip {
        let which = self.below(self.vips.len() as u32);
        self.vips[which as usize]
    }

    /// Somebody new.
    fn guest(&mut self) -> (InterfaceId, Vec<u8>) {
        let vip = self.vip();
        let network = if self.one_in(16) {
            UNREACHABLE
        } else {
            let [high, low] = (self.below(1 << 16) as u16).to_be_bytes();
            [172, 16, high, low]
        };
        let client = addressed(vip.0.addr, network, self.below(60_000) + 1024);
        if self.guests.len() == REMEMBERED {
            self.guests.pop_front();
        }
        self.guests.push_back((client, vip));
        let packet = segment(client, vip.0, vip.1).syn().numbers(1, 0);
        (CLIENT_SIDE, packet.bytes())
    }

    /// Somebody who was here before.
    fn guest_again(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        let which = self.below(self.guests.len() as u32);
        let (client, vip) = *self.guests.get(which as usize)?;
        let flags = [
            TcpFlags::SYN,
            TcpFlags::ACK,
            TcpFlags::ACK,
            TcpFlags::ACK,
            TcpFlags::FIN.with(TcpFlags::ACK),
            TcpFlags::RST,
        ][self.below(6) as usize];
        let packet = segment(client, vip.0, vip.1)
            .flags(flags)
            .numbers(1, 1 + self.below(2))
            .payload(&vec![7; self.below(1400) as usize]);
        Some((CLIENT_SIDE, packet.bytes()))
    }

    /// One of countless SYNs.
    fn flood(&mut self) -> (InterfaceId, Vec<u8>) {
        let (vip, protocol) = self.vip();
        let [_, b, c, d] = self.below(u32::MAX).to_be_bytes();
        let client = addressed(vip.addr, [198, b, c, d], self.below(60_000) + 1024);
        (CLIENT_SIDE, segment(client, vip, protocol).syn().bytes())
    }

    fn remembered(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        let which = self.below(self.sent.len() as u32);
        self.sent.get(which as usize).cloned()
    }

    /// What the receiver of some packet answers. A server does not end the connections of regulars.
    fn reply(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        let flags = if self.one_in(2) {
            TcpFlags::SYN.with(TcpFlags::ACK)
        } else {
            TcpFlags::ACK
        };
        let (egress, packet) = self.remembered()?;
        let (_, reply) = reply_to(&packet, flags)?;
        Some((egress, reply))
    }

    /// What a router on the way of some packet, or its receiver, finds wrong with it.
    fn icmp_error(&mut self) -> Option<(InterfaceId, Vec<u8>)> {
        let (egress, packet) = self.remembered()?;
        let (from, to, protocol) = ends(&packet)?;
        let error = match (from.addr.as_v4().is_some(), self.below(3)) {
            (true, 0) => (3, 1, 0),
            (true, 1) => (3, 4, 600 + self.below(900)),
            (true, _) => (11, 0, 0),
            (false, 0) => (1, 0, 0),
            (false, 1) => (2, 0, 1280 + self.below(200)),
            (false, _) => (3, 0, 0),
        };
        let quoted = segment(from, to, protocol);
        let at_most = 28 + self.below(100) as usize;
        let packet = pkt().ip(to.addr.into(), from.addr.into());
        Some((egress, packet.icmp_error(error, &quoted, at_most).bytes()))
    }

    /// A datagram that did not fit, not always whole and in any order.
    fn fragments(&mut self) -> Vec<(InterfaceId, Vec<u8>)> {
        let vip = self.vip();
        let network = [172, 31, 0, self.below(256) as u8];
        let client = addressed(vip.0.addr, network, 1024 + self.below(1000));
        let datagram = segment(client, vip.0, Protocol::Udp)
            .id(self.below(1 << 16) as u16, false)
            .payload(&vec![7; 1500 + self.below(2000) as usize]);
        let mut parts: Vec<(InterfaceId, Vec<u8>)> = datagram
            .split(1000)
            .iter()
            .map(|part| (CLIENT_SIDE, part.bytes()))
            .collect();
        let (one, other) = (self.below(2) as usize, parts.len() - 1);
        parts.swap(one.min(other), other);
        if self.one_in(4) {
            parts.pop();
        }
        parts
    }

    /// A packet that something has happened to.
    fn garbage(&mut self) -> (InterfaceId, Vec<u8>) {
        let (ingress, mut packet) = self.flood();
        for _ in 0..=self.below(3) {
            let at = self.below(packet.len() as u32) as usize;
            packet[at] = self.below(256) as u8;
        }
        packet.truncate(self.below(2 * packet.len() as u32) as usize);
        let ingress = if self.one_in(4) { SERVER_SIDE } else { ingress };
        (ingress, packet)
    }
}

/// An end in the family of `like`: an IPv6 address for each IPv4 one.
pub fn addressed(like: Addr, v4: [u8; 4], port: u32) -> Endpoint {
    let addr = match like.as_v4() {
        Some(_) => Addr::v4(v4),
        None => {
            let mut v6 = [0; 16];
            v6[..6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0x0c]);
            v6[12..].copy_from_slice(&v4);
            Addr::v6(v6)
        }
    };
    Endpoint::new(addr, port as u16)
}

/// A packet between two ends.
pub fn segment(from: Endpoint, to: Endpoint, protocol: Protocol) -> PacketBuilder {
    let packet = pkt().ip(from.addr.into(), to.addr.into());
    match protocol {
        Protocol::Tcp => packet.tcp(from.port, to.port),
        Protocol::Udp | Protocol::Sctp => packet.udp(from.port, to.port).payload(&[0; 18]),
    }
}

/// The answer to a packet that was forwarded, if that is one that can be understood here; a server's arrives on the
/// servers' side.
pub fn reply_to(packet: &[u8], flags: TcpFlags) -> Option<(InterfaceId, Vec<u8>)> {
    let (from, to, protocol) = ends(packet)?;
    let reply = segment(to, from, protocol).flags(flags).numbers(1, 1000);
    Some((SERVER_SIDE, reply.bytes()))
}

fn ends(packet: &[u8]) -> Option<(Endpoint, Endpoint, Protocol)> {
    let parsed = lb_wire::parse(packet).ok()?;
    let (source, destination) = match parsed.ip {
        IpHeader::V4(ip) => (Addr::v4(ip.source), Addr::v4(ip.destination)),
        IpHeader::V6(ip) => (Addr::v6(ip.source), Addr::v6(ip.destination)),
    };
    let from = Endpoint::new(source, parsed.source_port);
    let to = Endpoint::new(destination, parsed.destination_port);
    Some((from, to, Protocol::from_number(parsed.protocol)?))
}

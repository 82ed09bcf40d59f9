//! Tunnelling (ipvsadm `-i`): the packet goes to the server untouched, inside another IP packet.
//!
//! ```text
//!  client                  balancer                         server (VIP on lo, decapsulates)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> | DIP > RIP [                    |
//!    |                        |   CIP:cport > VIP:vport ]      |
//!    |                        | -----------------------------> |
//!    | VIP:vport > CIP:cport                                   |
//!    | <------------------------------------------------------ |
//! ```
//!
//! The server may be anywhere that IP reaches, and of the other address family: IPv4 and IPv6 are carried by either.
//! Replies do not pass through us, and ports cannot be mapped.
//!
//! The outer header as IPVS makes it (kernel `ip_vs_prepare_tunneled_skb`): TTL, DSCP and "don't fragment" are the inner
//! packet's; so is ECN, but "congestion experienced" goes out as ECT(0) and is left to the inner header to say.

use lb_model::{Addr, DropReason, Mode, NextHops, Packet, Protocol, Replies, Resolution};
use lb_model::{Verdict, Work};
use lb_wire::checksum::{fold, sum};
use lb_wire::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4Header, Ipv6Header, PROTOCOL_IPV4, PROTOCOL_IPV6,
    TcpHeader, UdpHeader,
};
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// The `tun` mode.
pub struct Tunnel;

impl Mode for Tunnel {
    fn name(&self) -> &'static str {
        "tun"
    }

    fn maps_ports(&self) -> bool {
        false
    }

    fn crosses_families(&self) -> bool {
        true
    }

    fn replies(&self) -> Replies {
        Replies::Direct
    }

    fn rewrite(&self, group: &mut [Work<'_>], next_hops: &NextHops) {
        for work in group {
            let rip = work.conn.rip.addr;
            work.packet.route_to = rip;
            let done = match next_hops.source_for(rip) {
                Some(dip) => encapsulate(work.packet, dip, rip),
                None if next_hops.resolve(rip) == Resolution::Unreachable => {
                    Err(DropReason::NoRoute)
                }
                None => Err(DropReason::NoSource),
            };
            if let Err(reason) = done {
                work.packet.verdict = Some(Verdict::Drop(reason));
            }
        }
    }
}

/// What the outer header takes over from the packet inside.
struct Inner {
    protocol: u8,
    /// DSCP and ECN.
    class: u8,
    hops: u8,
    may_be_fragmented: bool,
    /// What tells the packet from others of its sender, as far as one word can.
    id: u16,
}

fn encapsulate(packet: &mut Packet, dip: Addr, rip: Addr) -> Result<(), DropReason> {
    let inner = read(packet).ok_or(DropReason::Malformed)?;
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    match (dip.as_v4(), rip.as_v4()) {
        (Some(dip), Some(rip)) => {
            let outer = outer_v4(&inner, dip, rip, end - l3);
            prepend(packet, ETHERTYPE_IPV4, outer.as_bytes())
        }
        _ => {
            let outer = outer_v6(&inner, dip, rip, end - l3);
            prepend(packet, ETHERTYPE_IPV6, outer.as_bytes())
        }
    }
}

/// `None` if the frame does not hold the headers that the parser found in it.
fn read(packet: &Packet) -> Option<Inner> {
    let (l3, l4) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.l4),
    );
    let frame = packet.frame.bytes();
    let checksum = match packet.flow.protocol {
        Protocol::Tcp => TcpHeader::at(frame, l4)?.checksum,
        Protocol::Udp => UdpHeader::at(frame, l4)?.checksum,
    };
    if packet.flow.source.addr.is_v4() {
        let ip = Ipv4Header::at(frame, l3)?;
        Some(Inner {
            protocol: PROTOCOL_IPV4,
            class: ip.tos,
            hops: ip.ttl,
            may_be_fragmented: !ip.dont_fragment(),
            id: fold(u64::from(checksum.get()) + u64::from(ip.id.get())),
        })
    } else {
        let ip = Ipv6Header::at(frame, l3)?;
        Some(Inner {
            protocol: PROTOCOL_IPV6,
            class: ip.traffic_class(),
            hops: ip.hop_limit,
            // Its sender cannot know that there is IPv4 on the way. IPVS allows it, too.
            may_be_fragmented: true,
            id: checksum.get(),
        })
    }
}

fn outer_v4(inner: &Inner, dip: [u8; 4], rip: [u8; 4], inner_len: usize) -> Ipv4Header {
    // An id matters where routers may fragment, and then must not come again soon (RFC 6864 section 4.3). A counter
    // would be one more thing for workers to share; the inner packet's own checksum and id differ as well as any.
    let (id, flags_offset) = if inner.may_be_fragmented {
        (inner.id, 0)
    } else {
        (0, Ipv4Header::DONT_FRAGMENT)
    };
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        tos: outer_class(inner.class),
        total_len: U16::new((Ipv4Header::LEN + inner_len) as u16),
        id: U16::new(id),
        flags_offset: U16::new(flags_offset),
        ttl: inner.hops,
        protocol: inner.protocol,
        checksum: U16::ZERO,
        source: dip,
        destination: rip,
    };
    header.checksum = U16::new(!fold(sum(header.as_bytes())));
    header
}

fn outer_v6(inner: &Inner, dip: Addr, rip: Addr, inner_len: usize) -> Ipv6Header {
    Ipv6Header {
        version_class_flow: U32::new(6 << 28 | u32::from(outer_class(inner.class)) << 20),
        payload_len: U16::new(inner_len as u16),
        next_header: inner.protocol,
        hop_limit: inner.hops,
        source: *dip.octets(),
        destination: *rip.octets(),
    }
}

const ECN: u8 = 0b11;
const ECN_CE: u8 = 0b11;
const ECN_ECT_0: u8 = 0b10;

fn outer_class(inner: u8) -> u8 {
    if inner & ECN == ECN_CE {
        inner & !ECN | ECN_ECT_0
    } else {
        inner
    }
}

/// Moves the IP packet down and puts `outer` in front of it.
fn prepend(packet: &mut Packet, ethertype: u16, outer: &[u8]) -> Result<(), DropReason> {
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    let (inner_at, new_end) = (l3 + outer.len(), end + outer.len());
    if !packet.frame.resize(new_end) {
        return Err(DropReason::TooBig);
    }
    let frame = packet.frame.bytes_mut();
    frame.copy_within(l3..end, inner_at);
    frame[l3..inner_at].copy_from_slice(outer);
    // The two bytes before the IP header are the ethertype, whatever tags came before them.
    frame[l3 - 2..l3].copy_from_slice(&ethertype.to_be_bytes());
    packet.headers.l4 = inner_at as u16;
    packet.headers.end = new_end as u16;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_congestion_experienced_is_left_to_the_inner_header() {
        for (inner, outer) in [(0, 0), (0xb8, 0xb8), (1, 1), (2, 2), (3, 2), (0xff, 0xfe)] {
            assert_eq!(outer_class(inner), outer);
        }
    }
}

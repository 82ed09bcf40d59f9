//! ICMP errors about packets of conns: they follow the conn, and quote what the other side has seen (kernel
//! `ip_vs_nat_icmp`, `ip_vs_in_icmp`).
//!
//! An error goes the other way than the packet that it quotes. So it is addressed like a packet of that direction, and
//! what it quotes is what its receiver had sent.

use lb_model::{Addr, Conn, Direction, DropReason, Endpoint, Mode, Packet, Related};
use lb_wire::checksum::{Change, fold, pseudo_header_v6, sum};
use lb_wire::{IcmpHeader, Ipv4Header, Ipv6Header, PROTOCOL_ICMP_V6, icmp_v4, icmp_v6};
use zerocopy::network_endian::U16;

use crate::answer::{Message, turn_round};

/// Whether the mode's own rewriting brings an error of this conn on its way: where it replaces no address, there is
/// nothing to translate.
pub fn is_carried(conn: Conn<'_>, mode: &dyn Mode) -> bool {
    mode.endpoints(conn, Direction::Inbound) == (conn.client(), conn.vip())
}

/// Whether the ICMP checksum of the packet, which is parsed and in one piece, is right.
pub fn is_intact(packet: &Packet) -> bool {
    let (l3, l4, end) = places(packet);
    let frame = packet.frame.bytes();
    let Some(message) = frame.get(l4..end) else {
        return false;
    };
    let pseudo = if packet.flow.source.addr.is_v4() {
        0
    } else {
        let ip = Ipv6Header::at(frame, l3);
        ip.map_or(0, |ip| {
            pseudo_header_v6(ip, PROTOCOL_ICMP_V6, (end - l4) as u16)
        })
    };
    fold(pseudo + sum(message)) == 0xffff
}

/// Translates an error that travels in this direction of `conn`, whose mode replaces addresses.
pub fn translate(
    packet: &mut Packet,
    related: Related,
    conn: Conn<'_>,
    mode: &dyn Mode,
    direction: Direction,
) -> Result<(), DropReason> {
    let (source, destination) = mode.endpoints(conn, direction);
    let received = match direction {
        Direction::Inbound => conn.client(),
        Direction::Outbound => mode.endpoints(conn, Direction::Inbound).1,
    };
    // A router's own address stays where the mode lets the client's stay.
    let source_addr = (source.addr != received.addr).then_some(source.addr);
    if direction == Direction::Outbound {
        make_room(packet, conn, mode.overhead(conn, Direction::Inbound) as u32);
    }
    packet.route_to = destination.addr;
    let is_v4 = destination.addr.is_v4();
    replace(
        packet,
        related,
        (source_addr, destination.addr),
        (destination, source),
    )
    .filter(|()| is_v4 == packet.flow.source.addr.is_v4())
    .ok_or(DropReason::Malformed)
}

/// What came in was smaller than what was too big for the path: the client is told of so much less, and what need not be
/// said of it is said no more. The checksum is the caller's.
fn make_room(packet: &mut Packet, conn: Conn<'_>, overhead: u32) {
    let l4 = usize::from(packet.headers.l4);
    let is_v4 = packet.flow.source.addr.is_v4();
    let Some(icmp) = IcmpHeader::at_mut(packet.frame.bytes_mut(), l4) else {
        return;
    };
    let too_big = match is_v4 {
        true => (
            icmp_v4::DESTINATION_UNREACHABLE,
            icmp_v4::FRAGMENTATION_NEEDED,
        ),
        false => (icmp_v6::PACKET_TOO_BIG, icmp.code),
    };
    if (icmp.kind, icmp.code) == too_big {
        icmp.rest.set(icmp.rest.get().saturating_sub(overhead));
        conn.introduced(conn.introduction().shortened());
    }
}

/// `None` if the frame does not hold the headers that were found in it.
fn replace(
    packet: &mut Packet,
    related: Related,
    outer: (Option<Addr>, Addr),
    quoted: (Endpoint, Endpoint),
) -> Option<()> {
    let (l3, l4, end) = places(packet);
    let is_v4 = packet.flow.source.addr.is_v4();
    let frame = packet.frame.bytes_mut();
    replace_addresses(frame, l3, outer.0, Some(outer.1), is_v4)?;
    replace_addresses(
        frame,
        related.l3.into(),
        Some(quoted.0.addr),
        Some(quoted.1.addr),
        is_v4,
    )?;
    let ports = usize::from(related.l4);
    let place = frame.get_mut(ports..ports + 4)?;
    place[..2].copy_from_slice(&quoted.0.port.to_be_bytes());
    place[2..].copy_from_slice(&quoted.1.port.to_be_bytes());
    IcmpHeader::at_mut(frame, l4)?.checksum = U16::ZERO;
    let pseudo = if is_v4 {
        0
    } else {
        pseudo_header_v6(
            Ipv6Header::at(frame, l3)?,
            PROTOCOL_ICMP_V6,
            (end - l4) as u16,
        )
    };
    let checksum = !fold(pseudo + sum(frame.get(l4..end)?));
    IcmpHeader::at_mut(frame, l4)?.checksum = U16::new(checksum);
    Some(())
}

fn replace_addresses(
    frame: &mut [u8],
    at: usize,
    source: Option<Addr>,
    destination: Option<Addr>,
    is_v4: bool,
) -> Option<()> {
    if is_v4 {
        let ip = Ipv4Header::at_mut(frame, at)?;
        let replaced = |_: Change| ();
        if let Some(source) = source {
            replaced(ip.replace_source(source.as_v4()?));
        }
        if let Some(destination) = destination {
            replaced(ip.replace_destination(destination.as_v4()?));
        }
    } else {
        let ip = Ipv6Header::at_mut(frame, at)?;
        if let Some(source) = source {
            ip.source = *source.octets();
        }
        if let Some(destination) = destination {
            ip.destination = *destination.octets();
        }
    }
    Some(())
}

/// Makes of an error about a tunnel's packet one about the client's packet inside, from the service to the client: what a
/// router on the way would have sent, had there been no tunnel. `known_mtu` is what the way to the server took until now,
/// `overhead` what the tunnel adds.
///
/// The answer is the MTU that the error tells of, if it does.
pub fn unwrap_tunnel(
    packet: &mut Packet,
    related: Related,
    known_mtu: u32,
    overhead: u32,
) -> Result<Option<u32>, DropReason> {
    let (_, l4, end) = places(packet);
    let frame = packet.frame.bytes();
    let icmp = *IcmpHeader::at(frame, l4).ok_or(DropReason::Malformed)?;
    let inner = usize::from(related.l3);
    let ip = Ipv4Header::at(frame, inner).ok_or(DropReason::Malformed)?;
    let vip = Addr::v4(ip.destination);
    let too_big =
        icmp.kind == icmp_v4::DESTINATION_UNREACHABLE && icmp.code == icmp_v4::FRAGMENTATION_NEEDED;
    let message = Message {
        kind: icmp.kind,
        code: icmp.code,
        // As IPVS: what it knew before. The next large packet is told what is known from now on.
        rest: if too_big {
            known_mtu.saturating_sub(overhead)
        } else {
            icmp.rest.get()
        },
    };
    let learned = too_big.then_some(icmp.rest.get() & 0xffff);
    if turn_round(packet, vip, inner..end, message) {
        Ok(learned)
    } else {
        Err(DropReason::TooBig)
    }
}

fn places(packet: &Packet) -> (usize, usize, usize) {
    let headers = &packet.headers;
    (headers.l3.into(), headers.l4.into(), headers.end.into())
}

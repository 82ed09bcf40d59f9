//! ICMP errors about packets of conns: they follow the conn, and quote what the other side has seen (kernel
//! `ip_vs_nat_icmp`, `ip_vs_in_icmp`).
//!
//! An error goes the other way than the packet that it quotes. So it is addressed like a packet of that direction, and
//! what it quotes is what its receiver had sent. One about a tunnel's packet is told to the client by ourselves: it had sent
//! none.

use lb_model::{Addr, Conn, Direction, DropReason, Endpoint, Mode, Packet, Related, Tunnel};
use lb_wire::checksum::{Change, fold, pseudo_header_v6, sum};
use lb_wire::{IcmpHeader, IpHeader, Ipv4Header, Ipv6Header, UdpHeader, icmp_v4, icmp_v6};
use lb_wire::{PROTOCOL_GRE, PROTOCOL_ICMP_V6, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP};
use zerocopy::network_endian::U16;

use crate::answer::{Message, turn_round};
use crate::paths::LEAST_MTU_V6;

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
    let pseudo = match Ipv6Header::at(frame, l3) {
        Some(ip) if ip.version() == 6 => pseudo_header_v6(ip, PROTOCOL_ICMP_V6, (end - l4) as u16),
        _ => 0,
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
        let v4 = |addr: Option<Addr>| match addr {
            Some(addr) => addr.as_v4().map(Some),
            None => Some(None),
        };
        // The ICMP checksum is computed anew.
        let _: Change = ip.replace_ends(v4(source)?, v4(destination)?);
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

/// Whether what an error quotes at `at` is a packet to `rip` through this tunnel.
pub fn is_of_tunnel(packet: &Packet, at: u16, rip: Addr, tunnel: Tunnel) -> bool {
    let frame = packet.frame.bytes();
    let Some(outer) = lb_wire::quoted_header(frame, at.into()) else {
        return false;
    };
    let to = match outer.ip {
        IpHeader::V4(ip) => Addr::v4(ip.destination),
        IpHeader::V6(ip) => Addr::v6(ip.destination),
    };
    let is_the_tunnels = match tunnel {
        Tunnel::Ipip => matches!(outer.protocol, PROTOCOL_IPV4 | PROTOCOL_IPV6),
        Tunnel::Gre { .. } => outer.protocol == PROTOCOL_GRE,
        Tunnel::Gue { port, .. } => {
            let udp = UdpHeader::at(frame, outer.l4);
            outer.protocol == PROTOCOL_UDP && udp.is_some_and(|udp| udp.destination.get() == port)
        }
    };
    to == rip && is_the_tunnels
}

/// The MTU that an error about a tunnel's packet tells of, if it does.
pub fn told_mtu(packet: &Packet) -> Option<u32> {
    let (l3, l4, _) = places(packet);
    let frame = packet.frame.bytes();
    let icmp = IcmpHeader::at(frame, l4)?;
    let is_v4 = frame.get(l3)? >> 4 == 4;
    match (is_v4, icmp.kind, icmp.code) {
        (true, icmp_v4::DESTINATION_UNREACHABLE, icmp_v4::FRAGMENTATION_NEEDED) => {
            Some(icmp.rest.get() & 0xffff)
        }
        (false, icmp_v6::PACKET_TOO_BIG, _) => Some(icmp.rest.get()),
        _ => None,
    }
}

/// What the client is told by an error about a tunnel's packet: in ICMP over IPv4 and in ICMPv6 over IPv6, whatever the
/// tunnel goes through. `fits` is the largest packet of the client's that is known to fit. `None` if there is nothing to tell.
pub fn message_to_client(packet: &Packet, fits: u32) -> Option<Message> {
    let (l3, l4, _) = places(packet);
    let frame = packet.frame.bytes();
    let icmp = IcmpHeader::at(frame, l4)?;
    let is_v4 = frame.get(l3)? >> 4 == 4;
    let client_is_v4 = packet.flow.source.addr.is_v4();
    let is_too_big = told_mtu(packet).is_some();
    let (kind, code, rest) = match (is_too_big, client_is_v4, is_v4) {
        (true, true, _) => (
            icmp_v4::DESTINATION_UNREACHABLE,
            icmp_v4::FRAGMENTATION_NEEDED,
            fits,
        ),
        (true, false, _) => (icmp_v6::PACKET_TOO_BIG, 0, fits.max(LEAST_MTU_V6)),
        (false, true, true) | (false, false, false) => (icmp.kind, icmp.code, icmp.rest.get()),
        // Whatever did not let the tunnel's packet through, the host that the client knows is out of reach (RFC 2473
        // section 8, RFC 4213 section 3.4).
        (false, true, false) => match icmp.kind {
            icmp_v6::TIME_EXCEEDED => (icmp_v4::TIME_EXCEEDED, icmp.code, 0),
            _ => (
                icmp_v4::DESTINATION_UNREACHABLE,
                icmp_v4::HOST_UNREACHABLE,
                0,
            ),
        },
        (false, false, true) => match icmp.kind {
            icmp_v4::TIME_EXCEEDED => (icmp_v6::TIME_EXCEEDED, icmp.code, 0),
            // ICMPv6 has no such thing.
            icmp_v4::SOURCE_QUENCH => return None,
            _ => (
                icmp_v6::DESTINATION_UNREACHABLE,
                icmp_v6::ADDRESS_UNREACHABLE,
                0,
            ),
        },
    };
    Some(Message { kind, code, rest })
}

/// Makes of an error about a tunnel's packet one about the client's packet inside, from the service to the client: what a
/// router on the way would have sent, had there been no tunnel.
pub fn unwrap_tunnel(
    packet: &mut Packet,
    related: Related,
    message: Message,
) -> Result<(), DropReason> {
    let (_, _, end) = places(packet);
    let vip = packet.flow.destination.addr;
    match turn_round(packet, vip, related.l3.into()..end, message) {
        true => Ok(()),
        false => Err(DropReason::TooBig),
    }
}

fn places(packet: &Packet) -> (usize, usize, usize) {
    let headers = &packet.headers;
    (headers.l3.into(), headers.l4.into(), headers.end.into())
}

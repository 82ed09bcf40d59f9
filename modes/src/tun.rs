//! Tunnelling (ipvsadm `-i`): the packet goes to the server untouched, inside another IP packet; what is between the two
//! IP headers is the server's [`Tunnel`](lb_model::Tunnel).
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

mod outer;

use std::ops::Range;

use lb_model::{
    Addr, Conn, Direction, DropReason, Frame, HopCache, Mode, Packet, Replies, Resolution, Tunnel,
    Verdict,
};

use lb_wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, Ipv4Header, Ipv6Header};
use zerocopy::IntoBytes;

use self::outer::{Inner, Wrapping};

/// The `tun` mode.
pub struct Tunnelling;

impl Mode for Tunnelling {
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

    fn tunnels(&self) -> bool {
        true
    }

    fn overhead(&self, conn: Conn<'_>, _direction: Direction) -> usize {
        conn.dest().tunnel().overhead(conn.rip().addr.is_v4())
    }

    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        _direction: Direction,
        hops: &mut HopCache,
    ) {
        let rip = conn.rip().addr;
        let done = match hops.source_for(rip) {
            Some(dip) => encapsulate(packet, conn.dest().tunnel(), dip, rip),
            None if hops.resolve(rip) == Resolution::Unreachable => Err(DropReason::NoRoute),
            None => Err(DropReason::NoSource),
        };
        if let Err(reason) = done {
            packet.verdict = Some(Verdict::Drop(reason));
        }
    }
}

#[inline(always)]
fn encapsulate(
    packet: &mut Packet,
    tunnel: Tunnel,
    dip: Addr,
    rip: Addr,
) -> Result<(), DropReason> {
    match (tunnel, dip.as_v4(), rip.as_v4()) {
        // A header alone is copied in a few moves, as its length is known.
        (Tunnel::Ipip, Some(dip), Some(rip)) => {
            let inner = Inner::read(packet).ok_or(DropReason::Malformed)?;
            let ip = outer::bare_v4(&inner, dip, rip);
            prepend(packet, ip.as_bytes(), Ipv4Header::LEN, ETHERTYPE_IPV4)
        }
        (Tunnel::Ipip, ..) => bare_v6(packet, dip, rip),
        _ => wrap(packet, tunnel, dip, rip),
    }
}

#[inline(never)]
fn bare_v6(packet: &mut Packet, dip: Addr, rip: Addr) -> Result<(), DropReason> {
    let inner = Inner::read(packet).ok_or(DropReason::Malformed)?;
    let ip = outer::bare_v6(&inner, dip, rip);
    prepend(packet, ip.as_bytes(), Ipv6Header::LEN, ETHERTYPE_IPV6)
}

#[inline(never)]
fn wrap(packet: &mut Packet, tunnel: Tunnel, dip: Addr, rip: Addr) -> Result<(), DropReason> {
    let inner = Inner::read(packet).ok_or(DropReason::Malformed)?;
    let wrapping = Wrapping::new(&inner, tunnel, dip, rip);
    let (ip_len, ethertype) = (wrapping.ip_len(), wrapping.ethertype());
    prepend(packet, wrapping.bytes(), ip_len, ethertype)
}

/// Puts the outer headers between the Ethernet header and the IP packet.
#[inline(always)]
fn prepend(
    packet: &mut Packet,
    outer: &[u8],
    ip_len: usize,
    ethertype: u16,
) -> Result<(), DropReason> {
    let (l3, end) = (
        usize::from(packet.headers.l3),
        usize::from(packet.headers.end),
    );
    if packet.frame.grow_front(outer.len()) {
        lift(packet.frame.bytes_mut(), outer.len(), l3);
    } else if !lower(&mut packet.frame, outer.len(), l3..end) {
        return Err(DropReason::TooBig);
    }
    let inner_at = l3 + outer.len();
    let headers = &mut packet.frame.bytes_mut()[..inner_at];
    headers[l3..].copy_from_slice(outer);
    // The two bytes before the IP header are the ethertype, whatever tags came before them.
    headers[l3 - 2..l3].copy_from_slice(&ethertype.to_be_bytes());
    packet.headers.l4 = (l3 + ip_len) as u16;
    packet.headers.end = (end + outer.len()) as u16;
    Ok(())
}

/// Moves the Ethernet header, which begins at `from`, to where the frame begins now.
#[inline(always)]
fn lift(frame: &mut [u8], from: usize, len: usize) {
    const UNTAGGED: usize = EthernetHeader::LEN;
    match frame.get(from..).and_then(<[u8]>::first_chunk::<UNTAGGED>) {
        // Of a known length it is two moves and no call.
        Some(header) if len == UNTAGGED => {
            let header = *header;
            frame[..UNTAGGED].copy_from_slice(&header);
        }
        _ => frame.copy_within(from..from + len, 0),
    }
}

/// Where there is no room before the frame, the IP packet moves down; `false` if there is none behind it either.
#[inline(never)]
fn lower(frame: &mut Frame, by: usize, ip: Range<usize>) -> bool {
    let has_room = frame.resize(ip.end + by);
    if has_room {
        let to = ip.start + by;
        frame.bytes_mut().copy_within(ip, to);
    }
    has_room
}
